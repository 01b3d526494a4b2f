//! Deleting a Role, Binding or Environment ends the access that it gave, and no other.

use serde_json::json;

use super::{DEVELOP, Stage, VIEW};
use crate::support::access::Matrix;
use crate::support::client::explain;
use crate::support::wait_until;

const DEV: &[&str] = &["dev-pay", "dev-web"];
const PROD: &[&str] = &["prod-pay", "prod-web"];

/// Ada develops in dev, which includes looking at dev and prod; bob looks.
async fn stage() -> (Stage, Matrix) {
    let mut stage = Stage::new().await;
    stage.role("viewer", json!([stage.entry(&["dev", "prod"], json!({"clusterRoles": ["view"]}))])).await;
    let work = json!([stage.entry(&["dev"], json!({"clusterRoles": ["usher-developer"]}))]);
    stage.put("Role", "developer", json!({"includes": [stage.name("viewer")], "access": work})).await;
    let all = &stage.cells(&["ada"], DEV, DEVELOP) | &stage.cells(&["ada", "bob"], &[DEV, PROD].concat(), VIEW);
    stage
        .step("bound", all.clone(), async |stage| {
            stage.bind("ada", "developer", &["ada"], json!({})).await;
            stage.bind("bob", "viewer", &["bob"], json!({})).await;
        })
        .await;
    (stage, all)
}

/// A finalizer holds nothing up: what was deleted is gone soon.
async fn gone(stage: &Stage, kind: &str, what: &str) {
    let api = stage.api(kind).await;
    wait_until(&format!("{kind} {what} is gone"), std::time::Duration::from_mins(1), async || {
        match api.get_opt(&stage.name(what)).await.map_err(|error| explain(&error))? {
            None => Ok(()),
            Some(object) => Err(format!("{:?}", object.metadata.finalizers)),
        }
    })
    .await;
}

#[tokio::test]
async fn a_deleted_binding_ends_what_it_gave() {
    let (mut stage, all) = stage().await;
    let bob = stage.cells(&["bob"], &[DEV, PROD].concat(), VIEW);
    stage
        .step("deleted", bob, async |stage| {
            stage.delete("Binding", "ada").await;
            gone(stage, "Binding", "ada").await;
        })
        .await;
    stage.step("made again", all, async |stage| stage.bind("ada", "developer", &["ada"], json!({})).await).await;
}

#[tokio::test]
async fn a_deleted_role_ends_what_it_gave_and_what_it_included() {
    let (mut stage, all) = stage().await;
    let bob = stage.cells(&["bob"], &[DEV, PROD].concat(), VIEW);
    stage
        .step("deleted", bob, async |stage| {
            stage.delete("Role", "developer").await;
            gone(stage, "Role", "developer").await;
        })
        .await;
    let said = stage.says("Binding", "ada", "ReferencesResolved", ("False", "RoleNotFound")).await;
    assert!(said.contains(&format!("urole/{} does not exist", stage.name("developer"))), "{said}");
    let work = json!([stage.entry(&["dev"], json!({"clusterRoles": ["usher-developer"]}))]);
    let spec = json!({"includes": [stage.name("viewer")], "access": work});
    stage.step("made again", all, async |stage| drop(stage.put("Role", "developer", spec).await)).await;
}

#[tokio::test]
async fn a_deleted_included_role_ends_only_its_own() {
    let (mut stage, _) = stage().await;
    let ada = stage.cells(&["ada"], DEV, DEVELOP);
    stage
        .step("deleted", ada, async |stage| {
            stage.delete("Role", "viewer").await;
            gone(stage, "Role", "viewer").await;
        })
        .await;
    stage.says("Role", "developer", "ReferencesResolved", ("False", "RoleNotFound")).await;
    stage.says("Binding", "bob", "ReferencesResolved", ("False", "RoleNotFound")).await;
}

#[tokio::test]
async fn a_deleted_environment_ends_access_there() {
    let (mut stage, all) = stage().await;
    let prod = stage.cells(&["ada", "bob"], PROD, VIEW);
    stage
        .step("deleted", prod, async |stage| {
            stage.delete("Environment", "dev").await;
            gone(stage, "Environment", "dev").await;
        })
        .await;
    stage.says("Role", "viewer", "ReferencesResolved", ("False", "EnvironmentNotFound")).await;
    stage.step("made again", all, async |stage| stage.environment("dev", json!({})).await).await;
    stage.says("Role", "viewer", "Ready", ("True", "AsPlanned")).await;
}

/// Nothing that usher made for a Role outlives it.
#[tokio::test]
async fn a_deleted_role_leaves_no_object() {
    let (mut stage, _) = stage().await;
    let rules = json!([{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]);
    stage.role("viewer", json!([stage.entry(&["dev"], json!({"rules": rules}))])).await;
    stage.says("Role", "viewer", "AccessApplied", ("True", "AsPlanned")).await;
    let list = async |stage: &Stage| {
        let label = format!("usher.dev/role={}", stage.name("viewer"));
        let kinds = "rolebindings,clusterroles,clusterrolebindings";
        stage.plane().kubectl(&["get", kinds, "-A", "-l", &label, "-o", "name"]).await.ok()
    };
    assert_eq!(list(&stage).await.lines().count(), 3, "two bindings and a ClusterRole: {}", list(&stage).await);
    let now = &stage.cells(&["ada"], DEV, DEVELOP) | &stage.cells(&["ada", "bob"], DEV, super::GET);
    stage.stands(now).await;
    let ada = stage.cells(&["ada"], DEV, DEVELOP);
    stage
        .step("deleted", ada, async |stage| {
            stage.delete("Role", "viewer").await;
            gone(stage, "Role", "viewer").await;
        })
        .await;
    assert_eq!(list(&stage).await, "");
}
