//! Everything that works at home works everywhere, from one object.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

use super::{ENVIRONMENTS, FULL, NOTHING, SHARED, SOON, Several, file};
use crate::support::audit::Audit;
use crate::support::client::{explain, ready};
use crate::support::people::{declare, edit, grants, kubeconfig, namespace, reaches, workspace};
use crate::support::tools::{self};
use crate::support::wait_until;

#[tokio::test]
async fn one_person_gets_keeps_and_loses_everything_in_three_clusters() {
    let several = Several::take().await;
    let home = several.home();
    let (role, person, ada) = several.holder().await;
    for environment in ENVIRONMENTS {
        several.environment(environment, "Ready", "True", "AsPlanned").await;
    }

    // Her workspaces: at home, where her credentials are, and in staging, where they are not.
    assert_eq!(workspace(&ada), format!("dev-{person}"));
    let there = format!("staging-{person}");
    let made = namespace(&several.clients[1], &there).await.expect("her workspace in staging");
    assert_eq!(made.labels()["usher.dev/workspace"], person);
    assert!(namespace(&several.clients[2], &format!("prod-{person}")).await.is_none(), "prod makes none");

    three_contexts(&several, &person, &format!("dev-{person}")).await;
    drift_is_repaired(&several, &person).await;

    // A Role's edits reach all clusters.
    let look = json!([{"name": "look", "environments": ["*"], "clusterRoles": ["view"]}]);
    edit(home, "Role", &role, json!({"access": look})).await;
    several.settle(&ada, [&["get pods"]; 3]).await;
    edit(home, "Role", &role, json!({"access": [{"name": "look", "environments": ["prod"], "clusterRoles": ["view"]}]})).await;
    several.settle(&ada, [&[], &[], &["get pods"]]).await;
    several.give_all(&role).await;
    several.settle(&ada, FULL).await;
    // A Grant is written after the access is there.
    wait_until("her Grant tells of all three", SOON, async || {
        let running = grants(home, &person).await.into_iter().flat_map(|grant| grant.targets).filter(|target| target.until.is_none());
        let running: BTreeSet<String> = running.map(|target| target.name).collect();
        if running == ENVIRONMENTS.map(|name| format!("environment/{name}")).into() { Ok(()) } else { Err(format!("{running:?}")) }
    })
    .await;

    // A Lock takes everything everywhere, and gives it back.
    declare(home, "Lock", &person, json!({"developer": person, "reason": "a test"})).await;
    several.settle(&ada, NOTHING).await;
    reaches(home, "Lock", &person, "/status/state", "Applied").await;
    edit(home, "Lock", &person, json!({"lifted": true})).await;
    several.settle(&ready(home, &person).await, FULL).await;

    leave(&several, &person).await;
}

/// One context for each Environment, each of which works, and home's is the current one.
async fn three_contexts(several: &Several, person: &str, workspace: &str) {
    let text = wait_until("all contexts are in her kubeconfig", SOON, async || {
        let text = kubeconfig(several.home(), workspace).await;
        let config: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let contexts = config["contexts"].as_array().map_or(0, Vec::len);
        if contexts == 3 { Ok(text) } else { Err(format!("{contexts} contexts")) }
    })
    .await;
    let config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(config["current-context"], "dev");
    let path = file(several, &format!("{person}.kubeconfig"), &text);
    let kubectl = async |arguments: &[&str]| {
        let mut command = tools::command(tools::tool("kubectl"), several.all.home.dir());
        command.env("KUBECONFIG", &path).args(arguments);
        tools::run(command, "").await
    };
    for (environment, may_write) in ENVIRONMENTS.into_iter().zip([true, true, false]) {
        kubectl(&["--context", environment, "-n", SHARED, "get", "pods"]).await.ok();
        let wrote = kubectl(&["--context", environment, "-n", SHARED, "create", "configmap", person]).await;
        assert_eq!(wrote.success, may_write, "{environment}: {wrote:?}");
    }
    // Without a namespace it is her workspace where she has one.
    kubectl(&["--context", "staging", "create", "configmap", "mine"]).await.ok();
    std::fs::remove_file(path).expect("it is there");
}

/// What somebody takes away by hand in another cluster is back at once.
async fn drift_is_repaired(several: &Several, person: &str) {
    let bindings = Api::<RoleBinding>::namespaced(several.clients[1].clone(), SHARED);
    let all = bindings.list(&ListParams::default().labels("app.kubernetes.io/managed-by=usher")).await.expect("a list").items;
    let hers = all.iter().find(|binding| binding.subjects.iter().flatten().any(|subject| subject.name.starts_with(&format!("{person}-"))));
    let (name, uid) = hers.map(|binding| (binding.name_any(), binding.uid())).expect("a binding of hers");
    bindings.delete(&name, &DeleteParams::default()).await.expect("an administrator may");
    wait_until("the binding is back", SOON, async || match bindings.get_opt(&name).await {
        Ok(Some(binding)) if binding.uid() != uid => Ok(()),
        Ok(_) => Err("it is not".to_owned()),
        Err(error) => Err(explain(&error)),
    })
    .await;
}

/// She leaves: nothing anywhere, and the receipt tells of each cluster.
async fn leave(several: &Several, person: &str) {
    let home = several.home();
    let ada = ready(home, person).await;
    let audit = Audit::from_now(&several.staging().plane);
    edit(home, "Developer", person, json!({"state": "Departed"})).await;
    several.settle(&ada, NOTHING).await;
    let receipt = wait_until("her receipt is complete", Duration::from_mins(2), async || {
        let api = crate::support::client::kind(home, "Departure").await;
        let all =
            api.list(&ListParams::default().fields(&format!("spec.developer.name={person}"))).await.map_err(|error| explain(&error))?;
        let receipt = all.items.into_iter().next().ok_or("no receipt")?;
        if receipt.data["status"]["state"] == "Complete" { Ok(receipt) } else { Err(receipt.data["status"].to_string()) }
    })
    .await;
    let targets = receipt.data["status"]["targets"].as_array().expect("targets");
    let told: Vec<(&str, &str)> = targets
        .iter()
        .map(|target| (target["target"].as_str().unwrap_or_default(), target["state"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(told, [("environment/dev", "Retained"), ("environment/prod", "Gone"), ("environment/staging", "Retained")]);
    for (client, environment) in several.clients.iter().zip(ENVIRONMENTS) {
        let accounts = Api::<k8s_openapi::api::core::v1::ServiceAccount>::namespaced(client.clone(), "usher-identities");
        let left = accounts.list(&ListParams::default().labels(&format!("usher.dev/developer={person}"))).await.expect("a list");
        assert!(left.items.is_empty(), "she has an identity in {environment}");
    }
    let workspace = namespace(&several.clients[1], &format!("staging-{person}")).await.expect("her data is kept");
    assert!(workspace.annotations().contains_key("usher.dev/departed-at"));
    let asked = audit.operator().into_iter().any(|event| event.verb == "create" && event.resource == "tokenreviews");
    assert!(asked, "staging's API server was asked whether it refuses her token");
}
