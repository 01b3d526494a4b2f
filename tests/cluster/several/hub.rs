//! People at home in another cluster than usher: the one where usher is may be a management cluster, in which nobody has anything.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;
use serde_json::{Value, json};

use super::{NOTHING, SOON, Several, file};
use crate::support::client::{explain, ready};
use crate::support::people::{declare, developer, edit, kubeconfig, namespace, reaches, remove, workspace};
use crate::support::tools;
use crate::support::{name, wait_until};

/// What the Role of the test gives: nothing where usher is.
const ELSEWHERE: [&[&str]; 3] = [&[], &["get pods", "create configmaps"], &["get pods"]];

impl Several {
    /// Makes staging the home of all people, and lets nobody have a workspace where usher is; or dev, as before.
    async fn at_home_in(&self, place: &str) {
        if place == "staging" {
            edit(self.home(), "Environment", "dev", json!({"home": false, "workspace": null})).await;
            edit(self.home(), "Environment", "staging", json!({"home": true})).await;
        } else {
            edit(self.home(), "Environment", "staging", json!({"home": false})).await;
            edit(self.home(), "Environment", "dev", json!({"home": true, "workspace": {}})).await;
        }
    }
}

#[tokio::test]
async fn people_may_be_at_home_in_another_cluster_than_usher() {
    let several = Several::take().await;
    several.at_home_in("staging").await;
    let home = several.home();
    let (role, person) = (name("role"), name("ada"));
    let access = json!([
        {"name": "work", "environments": ["staging"], "clusterRoles": ["edit"]},
        {"name": "look", "environments": ["prod"], "clusterRoles": ["view"]},
    ]);
    declare(home, "Role", &role, json!({"access": access})).await;
    developer(home, &person, json!({})).await;
    declare(home, "Binding", &role, json!({"role": role, "developers": [person]})).await;
    let ada = ready(home, &person).await;
    several.settle(&ada, ELSEWHERE).await;
    let hers = format!("staging-{person}");
    assert_eq!(workspace(&ada), hers);
    assert!(namespace(home, &format!("dev-{person}")).await.is_none(), "she has a workspace where usher is");
    assert!(namespace(home, &hers).await.is_none());

    // Her credentials are there, and lead to where her Role gives something; the command finds them.
    let there = &several.clients[1];
    let text = kubeconfig(there, &hers).await;
    let printed = several.all.home.usher(&["kubeconfig", &person]).await.ok();
    assert_eq!(printed.trim(), text.trim());
    let config: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(config["current-context"], "staging");
    let path = file(&several, &format!("{person}.kubeconfig"), &text);
    let mut command = tools::command(tools::tool("kubectl"), several.all.home.dir());
    command.env("KUBECONFIG", &path).args(["create", "configmap", "mine"]);
    tools::run(command, "").await.ok();
    std::fs::remove_file(path).expect("it is there");
    let made = Api::<ConfigMap>::namespaced(there.clone(), &hers).get_opt("mine").await.expect("an answer");
    assert!(made.is_some(), "what she makes without a namespace is in her workspace");

    // She leaves: it goes there, too.
    edit(home, "Developer", &person, json!({"state": "Departed"})).await;
    several.settle(&ada, NOTHING).await;
    let secrets = Api::<Secret>::namespaced(there.clone(), &hers);
    wait_until("her kubeconfig is gone", SOON, async || match secrets.get_opt("usher-kubeconfig").await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err("it is there".to_owned()),
        Err(error) => Err(explain(&error)),
    })
    .await;
    let refused = several.all.home.usher(&["kubeconfig", &person]).await;
    assert!(!refused.success && refused.stderr.contains("has no kubeconfig now"), "{refused:?}");
    reaches(home, "Developer", &person, "/status/state", "Departed").await;

    remove(home, "Binding", &role).await;
    remove(home, "Role", &role).await;
    several.at_home_in("dev").await;
}
