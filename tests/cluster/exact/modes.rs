//! Observed and paused: nothing changes and it is said, but who leaves loses everything all the same.

use serde_json::{Value, json};

use super::{DEVELOP, Stage, VIEW};
use crate::support::access::Matrix;
use crate::support::audit::Audit;
use crate::support::wait_until;

const DEV: &[&str] = &["dev-pay", "dev-web"];
const SOON: std::time::Duration = std::time::Duration::from_mins(1);

async fn viewer(stage: &Stage, cluster_role: &str) {
    stage.role("viewer", json!([stage.entry(&["dev"], json!({"clusterRoles": [cluster_role]}))])).await;
}

/// Ada and bob look at dev.
async fn stage() -> (Stage, Matrix) {
    let mut stage = Stage::new().await;
    viewer(&stage, "view").await;
    let all = stage.cells(&["ada", "bob"], DEV, VIEW);
    stage.step("bound", all.clone(), async |stage| stage.bind("all", "viewer", &["ada", "bob"], json!({})).await).await;
    (stage, all)
}

/// Waits for what an Environment says is still to be written.
async fn pending(stage: &Stage, environment: &str, wanted: &str) {
    wait_until(&format!("{environment} has {wanted}"), SOON, async || {
        let row = stage.columns("uenv", &stage.name(environment)).await;
        if row["PENDING"] == wanted { Ok(()) } else { Err(format!("{row:?}")) }
    })
    .await;
}

#[tokio::test]
async fn an_observed_environment_tells_what_would_change_and_changes_nothing() {
    let mut stage = Stage::alone().await;
    let observe = |mode: &str| json!({"mode": mode, "workspace": {"quota": {"pods": "5"}}});
    stage.environment("staging", json!({"mode": "Observe", "workspace": {"quota": {"pods": "5"}}})).await;
    stage.role("viewer", json!([stage.entry(&["dev", "staging"], json!({"clusterRoles": ["view"]}))])).await;
    let dev = stage.cells(&["ada"], DEV, VIEW);
    let audit = Audit::from_now(stage.plane());
    stage.step("bound", dev.clone(), async |stage| stage.bind("all", "viewer", &["ada"], json!({})).await).await;
    // A workspace each with its quota, policy and owner's binding for four people, and a binding in two shared namespaces.
    pending(&stage, "staging", "+18 ~0 -0").await;
    stage.says("Environment", "staging", "Ready", ("True", "Observing")).await;
    stage.says("Developer", "ada", "Ready", ("True", "AsPlanned")).await;
    let touched: Vec<_> = audit.writes().into_iter().filter(|event| event.namespace.starts_with("staging")).collect();
    assert_eq!(touched, []);
    let made = stage.plane().kubectl(&["get", "namespaces", "-l", "usher.dev/workspace", "-o", "name"]).await.ok();
    assert!(!made.contains("namespace/staging-"), "{made}");

    let all = &dev | &stage.cells(&["ada"], &["staging-pay", "staging-web"], VIEW);
    stage.step("enforced", all.clone(), async |stage| stage.environment("staging", observe("Enforce")).await).await;
    pending(&stage, "staging", "+0 ~0 -0").await;
    stage.says("Environment", "staging", "Ready", ("True", "AsPlanned")).await;
    let made = stage.plane().kubectl(&["get", "namespaces", "-l", "usher.dev/workspace", "-o", "name"]).await.ok();
    assert_eq!(made.lines().filter(|name| name.contains("/staging-")).count(), 4, "{made}");

    // Observed again, what is there stays, and what would go is counted.
    let edit = async |stage: &Stage| {
        stage.environment("staging", observe("Observe")).await;
        stage.says("Environment", "staging", "Ready", ("True", "Observing")).await;
        stage.role("viewer", json!([stage.entry(&["dev"], json!({"clusterRoles": ["view"]}))])).await;
        pending(stage, "staging", "+0 ~0 -2").await;
    };
    stage.step("observed again", all.clone(), edit).await;
    stage.step("and enforced", dev, async |stage| stage.environment("staging", observe("Enforce")).await).await;
}

/// Waits until an object says that it is paused.
async fn paused(stage: &Stage, kind: &str, what: &str) {
    stage.pause(kind, what, true).await;
    let said = stage.says(kind, what, "Ready", ("False", "Paused")).await;
    assert!(said.contains("usher.dev/paused"), "{said}");
}

/// Makes an edit that has no effect while something is paused, and has it afterwards.
async fn held_back(stage: &mut Stage, (kind, what): (&str, &str), after: Matrix, edit: impl AsyncFnOnce(&Stage)) {
    paused(stage, kind, what).await;
    let before = stage.now().clone();
    let waiting = async |stage: &Stage| {
        edit(stage).await;
        stage.seen(kind, what).await;
    };
    stage.step(&format!("{kind} {what} is paused"), before, waiting).await;
    stage.step(&format!("{kind} {what} goes on"), after, async |stage| stage.pause(kind, what, false).await).await;
    stage.says(kind, what, "Ready", ("True", "AsPlanned")).await;
}

#[tokio::test]
async fn a_paused_role_stays_as_it_is() {
    let (mut stage, _) = stage().await;
    let after = stage.cells(&["ada", "bob", "cyd"], DEV, DEVELOP);
    held_back(&mut stage, ("Role", "viewer"), after, async |stage| {
        viewer(stage, "usher-developer").await;
        stage.bind("all", "viewer", &["ada", "bob", "cyd"], json!({})).await;
    })
    .await;
    let after = stage.cells(&["bob"], DEV, DEVELOP);
    held_back(&mut stage, ("Role", "viewer"), after, async |stage| stage.bind("all", "viewer", &["bob"], json!({})).await).await;
}

#[tokio::test]
async fn a_paused_binding_stays_as_it_is() {
    let (mut stage, _) = stage().await;
    let after = stage.cells(&["bob", "cyd"], DEV, VIEW);
    held_back(&mut stage, ("Binding", "all"), after, async |stage| {
        stage.bind("all", "viewer", &["bob", "cyd"], json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn a_paused_developer_keeps_what_she_has_and_gets_nothing() {
    let (mut stage, all) = stage().await;
    stage.role("other", json!([stage.entry(&["prod"], json!({"clusterRoles": ["view"]}))])).await;
    let after = &stage.cells(&["bob"], DEV, VIEW) | &stage.cells(&["ada"], &["prod-pay", "prod-web"], VIEW);
    assert_ne!(all, after);
    held_back(&mut stage, ("Developer", "ada"), after, async |stage| {
        stage.bind("prod", "other", &["ada"], json!({})).await;
        stage.bind("all", "viewer", &["bob"], json!({})).await;
    })
    .await;
}

/// What her Role gives moves on without her: she keeps the old until she goes on, rather than having neither.
#[tokio::test]
async fn a_paused_developer_keeps_what_her_role_gave() {
    let (mut stage, _) = stage().await;
    paused(&stage, "Developer", "ada").await;
    let after = &stage.cells(&["ada"], DEV, VIEW) | &stage.cells(&["bob"], DEV, DEVELOP);
    let edit = async |stage: &Stage| {
        viewer(stage, "usher-developer").await;
        stage.seen("Role", "viewer").await;
    };
    stage.step("her Role is edited", after, edit).await;
    let after = stage.cells(&["ada", "bob"], DEV, DEVELOP);
    stage.step("she goes on", after, async |stage| stage.pause("Developer", "ada", false).await).await;
}

#[tokio::test]
async fn a_paused_environment_stays_as_it_is_and_the_others_follow() {
    let (mut stage, all) = stage().await;
    paused(&stage, "Environment", "dev").await;
    let some = &all | &stage.cells(&["ada", "bob"], &["prod-pay", "prod-web"], DEVELOP);
    let edit = async |stage: &Stage| {
        stage.role("viewer", json!([stage.entry(&["dev", "prod"], json!({"clusterRoles": ["usher-developer"]}))])).await;
    };
    stage.step("paused", some, edit).await;
    let after = stage.cells(&["ada", "bob"], &["dev-pay", "dev-web", "prod-pay", "prod-web"], DEVELOP);
    stage.step("it goes on", after, async |stage| stage.pause("Environment", "dev", false).await).await;
    stage.says("Environment", "dev", "Ready", ("True", "AsPlanned")).await;
}

/// Whatever is paused, who is suspended, departs or is deleted loses everything; and who leaves is not held up.
#[tokio::test]
async fn whatever_is_paused_who_leaves_has_nothing() {
    let (mut stage, _) = stage().await;
    let all = stage.cells(&["ada", "bob", "cyd"], DEV, VIEW);
    stage.step("three", all, async |stage| stage.bind("all", "viewer", &["ada", "bob", "cyd"], json!({})).await).await;
    for (kind, what) in [("Role", "viewer"), ("Binding", "all"), ("Environment", "dev")] {
        paused(&stage, kind, what).await;
    }
    for person in ["ada", "bob", "cyd"] {
        paused(&stage, "Developer", person).await;
    }
    let (two, one) = (stage.cells(&["bob", "cyd"], DEV, VIEW), stage.cells(&["cyd"], DEV, VIEW));
    let state = |state: &str| -> Value { json!({"state": state}) };
    stage.step("suspended", two, async |stage| stage.developer("ada", state("Suspended")).await).await;
    stage.says("Developer", "ada", "AccessApplied", ("True", "AsPlanned")).await;
    stage.step("departed", one, async |stage| stage.developer("bob", state("Departed")).await).await;
    stage.step("deleted", Matrix::new(), async |stage| stage.delete("Developer", "cyd").await).await;
    let api = stage.api("Developer").await;
    wait_until("cyd is gone", SOON, async || if api.get_opt(&stage.name("cyd")).await.unwrap().is_none() { Ok(()) } else { Err("there") })
        .await;
}

/// A paused Role, Binding or Environment that is deleted ends what it gave.
#[tokio::test]
async fn what_is_paused_and_deleted_gives_nothing() {
    for (kind, what) in [("Role", "viewer"), ("Binding", "all"), ("Environment", "dev")] {
        let (mut stage, _) = stage().await;
        paused(&stage, kind, what).await;
        stage.step(&format!("{kind} deleted"), Matrix::new(), async |stage| stage.delete(kind, what).await).await;
    }
}
