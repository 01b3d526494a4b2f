//! A kubeconfig that cannot be used, or that allows too little, is said with what to do about it; another one is taken without a restart.

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{FULL, NOTHING, PROD_SECRET, SOON, Several, page};
use crate::support::install::NAMESPACE;
use crate::support::people::edit;
use crate::support::wait_until;

#[tokio::test]
async fn what_is_wrong_with_a_kubeconfig_is_said_and_another_is_taken_without_a_restart() {
    let several = Several::take().await;
    let home = several.home();
    let (role, person, ada) = several.holder().await;
    let pid = several.operator().await.pid();

    // A right that is missing is named.
    let roles = Api::<ClusterRole>::all(several.clients[2].clone());
    let mut usher = roles.get("usher").await.unwrap();
    let rules = usher.rules.clone();
    for rule in usher.rules.iter_mut().flatten().filter(|rule| rule.resources.iter().flatten().any(|resource| resource == "rolebindings")) {
        rule.verbs.retain(|verb| verb != "create" && verb != "delete");
    }
    usher.metadata.managed_fields = None;
    roles.replace("usher", &PostParams::default(), &usher).await.unwrap();
    several.staging_and_dev_work(&role, &ada).await;
    // Whatever fails there is a reason to ask what is allowed.
    several.refused("prod", "Unauthorized", "create, delete rolebindings.rbac.authorization.k8s.io").await;
    let mut usher = roles.get("usher").await.unwrap();
    usher.rules = rules;
    roles.replace("usher", &PostParams::default(), &usher).await.unwrap();
    several.environment("prod", "Connected", "True", "AsPlanned").await;
    several.give_all(&role).await;
    several.settle(&ada, FULL).await;

    // Credentials that were revoked, and new ones in the same Secret.
    let accounts = Api::<ServiceAccount>::namespaced(several.clients[2].clone(), NAMESPACE);
    accounts.delete("usher", &DeleteParams::default()).await.unwrap();
    several.refused("prod", "Unauthorized", "usher remote kubeconfig").await;
    several.staging_and_dev_work(&role, &ada).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "usher", "namespace": NAMESPACE}});
    accounts.patch("usher", &PatchParams::apply("helm"), &Patch::Apply(&account)).await.unwrap();
    let good = several.prod().kubeconfig().await;
    several.put_secret(PROD_SECRET, &good).await;
    several.environment("prod", "Connected", "True", "AsPlanned").await;
    several.give_all(&role).await;
    several.settle(&ada, FULL).await;

    // Credentials that may more than usher needs, programs, other clusters' kubeconfigs, none at all.
    several.put_secret(PROD_SECRET, &several.strong_kubeconfig().await).await;
    several.refused("prod", "InvalidSpec", "may more there than usher needs: * *").await;
    let mut bad: serde_json::Value = serde_json::from_str(&good).unwrap();
    bad["users"][0]["user"] =
        json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/false", "interactiveMode": "Never"}});
    several.put_secret(PROD_SECRET, &bad.to_string()).await;
    several.refused("prod", "InvalidSpec", "runs a program").await;
    several.put_secret(PROD_SECRET, &several.staging().kubeconfig().await).await;
    several.refused("prod", "Conflict", "the same cluster as staging-kubeconfig").await;
    // One that is there and lacks the key was not taken away.
    let secrets = Api::<Secret>::namespaced(home.clone(), NAMESPACE);
    let other = json!({"stringData": {"other": good}, "data": {"kubeconfig": null}});
    secrets.patch(PROD_SECRET, &PatchParams::default(), &Patch::Merge(&other)).await.unwrap();
    several.refused("prod", "InvalidSpec", "it has no such key").await;
    secrets.delete(PROD_SECRET, &DeleteParams::default()).await.unwrap();
    several.refused("prod", "SecretNotFound", "usher-system/prod-kubeconfig").await;
    several.put_secret(PROD_SECRET, &good).await;
    several.environment("prod", "Ready", "True", "AsPlanned").await;
    several.settle(&ada, FULL).await;

    // One whose token ends within a week is taken, and that is said.
    let short = ["remote", "kubeconfig", "--namespace", NAMESPACE, "--duration", "2h"];
    several.put_secret(PROD_SECRET, &several.prod().plane.usher(&short).await.ok()).await;
    several.prod_says("usher's token for it ends at ").await;
    several.put_secret(PROD_SECRET, &good).await;
    several.prod_says("").await;

    // As the page says to do it before a token ends.
    page::rotate(&several.all.home, &several.staging().plane).await;
    edit(home, "Role", &role, json!({"access": [{"name": "look", "environments": ["*"], "clusterRoles": ["view"]}]})).await;
    several.settle(&ada, [&["get pods"]; 3]).await;
    several.environment("staging", "Ready", "True", "AsPlanned").await;

    let operator = several.operator().await;
    assert!(operator.is_alive() && operator.pid() == pid, "it is the same process");
    drop(operator);
    edit(home, "Developer", &person, json!({"state": "Departed"})).await;
    several.settle(&ada, NOTHING).await;
}

impl Several {
    /// Waits until the condition that prod is connected says something more, or nothing, and an Event the same.
    async fn prod_says(&self, words: &str) {
        wait_until(&format!("that prod is connected says {words:?} more"), SOON, async || {
            let message = self.environment("prod", "Connected", "True", "AsPlanned").await;
            if message.starts_with(words) && message.is_empty() == words.is_empty() { Ok(()) } else { Err(message) }
        })
        .await;
        if !words.is_empty() {
            let events = ["get", "events.events.k8s.io", "-A", "-o", "jsonpath={.items[?(@.reason=='TokenEnds')].note}"];
            wait_until("an Event says it, too", SOON, async || {
                let said = self.all.home.kubectl(&events).await.ok();
                if said.contains(words) { Ok(()) } else { Err(said) }
            })
            .await;
        }
    }

    /// A kubeconfig for prod by which one may do anything there.
    async fn strong_kubeconfig(&self) -> String {
        let prod = &self.prod().plane;
        for command in [
            format!("create serviceaccount strong -n {NAMESPACE}"),
            format!("create clusterrolebinding strong --clusterrole=cluster-admin --serviceaccount={NAMESPACE}:strong"),
        ] {
            prod.kubectl(&command.split(' ').collect::<Vec<_>>()).await.ok();
        }
        prod.usher(&["remote", "kubeconfig", "--namespace", NAMESPACE, "--service-account", "strong"]).await.ok()
    }

    /// Changes what a Role gives, in all clusters, and waits until that is so in dev and staging.
    async fn staging_and_dev_work(&self, role: &str, ada: &kube::api::DynamicObject) {
        let look = json!([{"name": "look", "environments": ["*"], "clusterRoles": ["edit"]}]);
        edit(self.home(), "Role", role, json!({"access": look})).await;
        let known = crate::support::people::subject(ada);
        let questions = crate::support::access::Questions::new(&[("she", known)], &[super::SHARED], &super::PROBES);
        let expected = questions.cells(&["she"], &[super::SHARED], &["get pods", "create configmaps"]);
        for client in &self.clients[..2] {
            questions.settle(client, super::SOON, &expected).await;
        }
    }
}
