//! A start, and another replica that takes over: what was owed, and which cluster is which, is not forgotten, and nothing is concluded from what was not read.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams};
use serde_json::json;

use super::silent::{elsewhere, unreachable};
use super::{FULL, NOTHING, SOON, Several};
use crate::support::audit::Audit;
use crate::support::client::{explain, kind, ready};
use crate::support::install::NAMESPACE;
use crate::support::operator::Operator;
use crate::support::people::{ask_to_delete, declare, developer, edit, grants, kubeconfig, reaches, remove, secret};
use crate::support::{name, wait_until};

#[tokio::test]
async fn what_is_owed_to_a_silent_cluster_outlives_a_start() {
    let several = Several::take().await;
    let home = several.home();
    let (role, other, stays, rests) = (name("role"), name("other"), name("ada"), name("bob"));
    several.role(&role).await;
    several.role(&other).await;
    for person in [&stays, &rests] {
        developer(home, person, json!({})).await;
    }
    declare(home, "Binding", &role, json!({"role": role, "developers": [stays, rests]})).await;
    declare(home, "Binding", &other, json!({"role": other, "developers": [stays]})).await;
    let (ada, bob) = (ready(home, &stays).await, ready(home, &rests).await);
    several.settle(&ada, FULL).await;
    several.settle(&bob, FULL).await;
    let workspace = format!("dev-{stays}");
    wait_until("all contexts are in her kubeconfig", SOON, async || {
        let text = kubeconfig(home, &workspace).await;
        if ["\"dev\"", "\"staging\"", "\"prod\""].iter().all(|name| text.contains(name)) { Ok(()) } else { Err("not yet") }
    })
    .await;
    let before = secret(home, &workspace).await.expect("her kubeconfig").metadata.resource_version;

    let paused = several.staging().pause();
    several.environment("staging", "Connected", "False", "Unreachable").await;
    edit(home, "Developer", &rests, json!({"state": "Suspended"})).await;
    elsewhere(&several, &bob, NOTHING).await;
    unreachable(&several, "Developer", &rests).await;
    several.restart().await;
    ask_to_delete(home, "Role", &other).await;
    several.environment("staging", "Connected", "False", "Unreachable").await;
    unreachable(&several, "Developer", &rests).await;
    unreachable(&several, "Role", &other).await;
    let held = grants(home, &rests).await;
    let runs = held.iter().flat_map(|grant| &grant.targets).any(|target| target.name == "environment/staging" && target.until.is_none());
    assert!(runs, "what he may have in staging is not over: {held:?}");
    assert_eq!(secret(home, &workspace).await.expect("her kubeconfig").metadata.resource_version, before, "it has all its contexts");

    drop(paused);
    several.environment("staging", "Ready", "True", "AsPlanned").await;
    several.settle(&bob, NOTHING).await;
    several.settle(&ada, FULL).await;
    reaches(home, "Developer", &rests, "/status/state", "Suspended").await;
    wait_until("the Role goes when nothing of it is left", SOON, async || {
        let gone = kind(home, "Role").await.get_opt(&other).await.map_err(|error| explain(&error))?.is_none();
        let over = grants(home, &rests).await.iter().all(|grant| grant.ended.is_some());
        if gone && over { Ok(()) } else { Err(format!("Role gone: {gone}; Grants over: {over}")) }
    })
    .await;
    for person in [&stays, &rests] {
        edit(home, "Developer", person, json!({"state": "Departed"})).await;
    }
    several.settle(&ada, NOTHING).await;
}

#[tokio::test]
async fn of_two_secrets_to_one_cluster_the_same_is_let_in_at_every_start() {
    let several = Several::take().await;
    let home = several.home();
    let (environment, double) = (name("lab"), name("double"));
    several.put_secret(&double, &several.staging().kubeconfig().await).await;
    let spec = json!({"cluster": {"kubeconfigSecret": {"name": double, "key": "kubeconfig"}}});
    declare(home, "Environment", &environment, spec).await;
    for _ in 0..2 {
        several.refused(&environment, "Conflict", "the same cluster as staging-kubeconfig").await;
        several.environment("staging", "Ready", "True", "AsPlanned").await;
        several.restart().await;
    }
    remove(home, "Environment", &environment).await;
    let secrets = Api::<Secret>::namespaced(home.clone(), NAMESPACE);
    secrets.delete(&double, &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn whoever_takes_over_reads_every_cluster_anew() {
    let several = Several::take().await;
    let home = several.home();
    let (role, person, ada) = several.holder().await;

    let mut second = Operator::start(&several.all.install).await;
    second.ready().await;
    wait_until("the second has read all clusters", SOON, async || {
        let read = second.log().matches("the cluster is read").count();
        if read >= 3 { Ok(()) } else { Err(read) }
    })
    .await;
    let audit = Audit::from_now(&several.staging().plane);
    several.operator().await.kill();
    // The Lease of the one that was killed lasts for a minute here.
    wait_until("the second reads staging anew", Duration::from_mins(2), async || {
        let listed = |event: &crate::support::audit::Event| matches!(event.verb.as_str(), "list") && event.resource == "rolebindings";
        if audit.operator().iter().any(listed) { Ok(()) } else { Err("it does not") }
    })
    .await;
    let look = json!([{"name": "look", "environments": ["*"], "clusterRoles": ["view"]}]);
    edit(home, "Role", &role, json!({"access": look})).await;
    several.settle(&ada, [&["get pods"]; 3]).await;
    second.terminate().await;
    several.restart().await;
    several.give_all(&role).await;
    several.settle(&ada, FULL).await;
    edit(home, "Developer", &person, json!({"state": "Departed"})).await;
    several.settle(&ada, NOTHING).await;
}
