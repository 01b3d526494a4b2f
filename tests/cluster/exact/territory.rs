//! Which namespace belongs to which Environment is read from labels, and followed at once.

use serde_json::json;

use super::{Stage, VIEW};
use crate::support::access::Matrix;

/// Ada looks at dev and staging, bob at prod.
async fn stage() -> (Stage, Matrix) {
    let mut stage = Stage::new().await;
    let view = |stage: &Stage, names: &[&str]| json!([stage.entry(names, json!({"clusterRoles": ["view"]}))]);
    stage.role("early", view(&stage, &["dev", "staging"])).await;
    stage.role("late", view(&stage, &["prod"])).await;
    let all = &ada(&stage, &["dev-pay", "dev-web", "staging-pay", "staging-web"]) | &bob(&stage, &["prod-pay", "prod-web"]);
    stage
        .step("bound", all.clone(), async |stage| {
            stage.bind("ada", "early", &["ada"], json!({})).await;
            stage.bind("bob", "late", &["bob"], json!({})).await;
        })
        .await;
    (stage, all)
}

fn ada(stage: &Stage, places: &[&str]) -> Matrix {
    stage.cells(&["ada"], places, VIEW)
}

fn bob(stage: &Stage, places: &[&str]) -> Matrix {
    stage.cells(&["bob"], places, VIEW)
}

#[tokio::test]
async fn a_namespace_that_gets_or_loses_the_label_follows() {
    let (mut stage, all) = stage().await;
    let more = &all | &bob(&stage, &["free"]);
    stage.step("in", more.clone(), async |stage| stage.label("free", Some("prod"), "pay").await).await;
    let moved = &all | &ada(&stage, &["free"]);
    stage.step("to another", moved.clone(), async |stage| stage.label("free", Some("dev"), "pay").await).await;
    stage.step("within hers", moved, async |stage| stage.label("free", Some("staging"), "pay").await).await;
    stage.step("out", all.clone(), async |stage| stage.label("free", None, "pay").await).await;
    let less = &all - &ada(&stage, &["dev-pay"]);
    stage.step("one of the first out", less, async |stage| stage.label("dev-pay", None, "pay").await).await;
    stage.step("and in", all, async |stage| stage.label("dev-pay", Some("dev"), "pay").await).await;
}

#[tokio::test]
async fn an_entry_that_chooses_by_label_follows_that_label() {
    let mut stage = Stage::new().await;
    let choice = json!({"namespaces": {"matchLabels": {"team": "pay"}}, "clusterRoles": ["view"]});
    stage.role("pay", json!([stage.entry(&["dev"], choice)])).await;
    let after = ada(&stage, &["dev-pay"]);
    stage.step("bound", after, async |stage| stage.bind("ada", "pay", &["ada"], json!({})).await).await;
    let after = ada(&stage, &["dev-pay", "dev-web"]);
    stage.step("the team's", after, async |stage| stage.label("dev-web", Some("dev"), "pay").await).await;
    let after = ada(&stage, &["dev-web"]);
    stage.step("not the team's", after, async |stage| stage.label("dev-pay", Some("dev"), "web").await).await;
}

/// What two Environments match belongs to neither, both say so, and when one lets go the other has it.
#[tokio::test]
async fn a_contested_namespace_belongs_to_neither() {
    let (mut stage, all) = stage().await;
    let less = &all - &(&ada(&stage, &["dev-pay"]) | &bob(&stage, &["prod-pay"]));
    let greedy = json!({"namespaces": {"matchLabels": {"team": "pay", "stage": stage.name("dev")}}});
    let without = &all - &ada(&stage, &["dev-pay"]);
    stage.step("two match", without, async |stage| stage.environment("greedy", greedy).await).await;
    for (one, other) in [("dev", "greedy"), ("greedy", "dev")] {
        let said = stage.says("Environment", one, "Accepted", ("False", "Conflict")).await;
        let expected = format!("namespace {} matches uenv/{} too", stage.name("dev-pay"), stage.name(other));
        assert!(said.contains(&expected), "{said}");
        stage.says("Environment", one, "Stalled", ("True", "Conflict")).await;
    }
    let wider = json!({"namespaces": {"matchExpressions": [
        {"key": "stage", "operator": "In", "values": stage.names(&["dev", "prod"])},
        {"key": "team", "operator": "In", "values": ["pay"]},
    ]}});
    stage.step("a wider one", less, async |stage| stage.environment("greedy", wider).await).await;
    stage.step("settled", all, async |stage| stage.delete("Environment", "greedy").await).await;
    stage.says("Environment", "dev", "Ready", ("True", "AsPlanned")).await;
}

#[tokio::test]
async fn the_selector_of_an_environment_follows_each_edit() {
    let (mut stage, all) = stage().await;
    let only_web = json!({"namespaces": {"matchLabels": {"stage": stage.name("dev"), "team": "web"}}});
    let less = &all - &ada(&stage, &["dev-pay"]);
    stage.step("narrower", less, async |stage| stage.environment("dev", only_web).await).await;
    stage.step("as before", all.clone(), async |stage| stage.environment("dev", json!({})).await).await;
    let none = &all - &ada(&stage, &["dev-pay", "dev-web"]);
    stage.step("no selector", none, async |stage| stage.environment("dev", json!({"namespaces": null})).await).await;
    stage.step("with one", all, async |stage| stage.environment("dev", json!({})).await).await;
}

/// Whatever the labels: who may label a namespace does not open the system's.
#[tokio::test]
async fn system_namespaces_are_never_shared() {
    let mut stage = Stage::new().await;
    let view = json!([stage.entry(&["odd"], json!({"clusterRoles": ["view"]}))]);
    stage.role("odd", view).await;
    stage.bind("odd", "odd", &["ada"], json!({})).await;
    let all = json!({"namespaces": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In",
        "values": ["kube-system", "kube-public", "default", "usher-identities", "usher-system", stage.name("free")]}]}});
    let after = ada(&stage, &["free"]);
    stage.step("by name", after, async |stage| stage.environment("odd", all).await).await;
    let said = stage.says("Environment", "odd", "Ready", ("True", "AsPlanned")).await;
    assert_eq!(said, "");
    let ada = stage.subject("ada").await;
    for place in ["kube-system", "kube-public", "default", "usher-identities", "usher-system"] {
        let can = crate::support::access::can(&stage.client, &ada, "get", "pods", Some(place)).await;
        assert!(!can, "ada in {place}");
    }
}
