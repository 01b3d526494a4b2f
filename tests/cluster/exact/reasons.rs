//! Two reasons for one grant: taking one away leaves it, without a gap (pains.md, 14).

use serde_json::{Value, json};

use super::{Stage, VIEW};
use crate::support::wait_until;

const DEV: &[&str] = &["dev-pay", "dev-web"];

/// Ada looks at dev because of `first` and `second`, two Bindings of Roles that give the same.
async fn stage(roles: [&str; 2]) -> Stage {
    let mut stage = Stage::new().await;
    for role in ["viewer", "other"] {
        stage.role(role, json!([stage.entry(&["dev"], json!({"clusterRoles": ["view"]}))])).await;
    }
    stage.bind("first", roles[0], &["ada"], json!({})).await;
    stage.bind("second", roles[1], &["ada"], json!({})).await;
    for role in roles {
        stage.says("Role", role, "Ready", ("True", "AsPlanned")).await;
        via(&stage, role, |_| true).await;
    }
    stage.ask_often(&["ada"], DEV, &["get pods"]).await;
    let both = stage.cells(&["ada"], DEV, VIEW);
    stage.stands(both).await;
    stage
}

/// Waits until the Bindings by which ada holds a Role, as her status says, are as wanted.
async fn via(stage: &Stage, role: &str, wanted: impl Fn(&[String]) -> bool) {
    let api = stage.api("Developer").await;
    let role = stage.name(role);
    wait_until(&format!("ada's status on {role}"), std::time::Duration::from_mins(1), async || {
        let ada = api.get(&stage.name("ada")).await.map_err(|error| error.to_string())?;
        let held = ada.data["status"]["roles"].as_array().cloned().unwrap_or_default();
        let held = held.into_iter().find(|held| held["name"] == role).unwrap_or_default();
        let via: Vec<String> = serde_json::from_value(held["via"].clone()).unwrap_or_default();
        if wanted(&via) { Ok(()) } else { Err(format!("{via:?}")) }
    })
    .await;
}

/// Makes an edit that takes one reason away: access stays, and the status tells that one is left.
async fn leaves_it(stage: &mut Stage, what: &str, role: &str, edit: impl AsyncFnOnce(&Stage)) {
    let after = stage.cells(&["ada"], DEV, VIEW);
    stage
        .step(what, after, async |stage| {
            edit(stage).await;
            via(stage, role, |via| via == [stage.name("second")]).await;
        })
        .await;
}

#[tokio::test]
async fn one_of_two_bindings_of_one_role_goes() {
    let mut stage = stage(["viewer", "viewer"]).await;
    leaves_it(&mut stage, "deleted", "viewer", async |stage| stage.delete("Binding", "first").await).await;
}

#[tokio::test]
async fn one_of_two_bindings_of_one_role_no_longer_names_her() {
    let mut stage = stage(["viewer", "viewer"]).await;
    leaves_it(&mut stage, "edited", "viewer", async |stage| stage.bind("first", "viewer", &["bob"], json!({})).await).await;
}

#[tokio::test]
async fn her_name_or_her_team_goes() {
    let mut stage = stage(["viewer", "viewer"]).await;
    let team = stage.name("pay");
    let held = |stage: &Stage| stage.cells(&["ada"], DEV, VIEW);
    let after = held(&stage);
    stage
        .step("both in one Binding", after.clone(), async |stage| {
            stage.developer("ada", json!({"teams": [team]})).await;
            stage.bind("first", "viewer", &["ada"], json!({"teams": [team]})).await;
            stage.delete("Binding", "second").await;
            via(stage, "viewer", |via| via == [stage.name("first")]).await;
        })
        .await;
    stage
        .step("her name goes", after.clone(), async |stage| {
            stage.bind("first", "viewer", &[], json!({"teams": [team]})).await;
            stage.says("Binding", "first", "Ready", ("True", "AsPlanned")).await;
        })
        .await;
    stage
        .step("her team goes", after, async |stage| {
            stage.bind("first", "viewer", &["ada"], json!({"teams": [team]})).await;
            stage.says("Binding", "first", "Ready", ("True", "AsPlanned")).await;
            stage.developer("ada", json!({})).await;
            stage.says("Developer", "ada", "Ready", ("True", "AsPlanned")).await;
        })
        .await;
}

/// By two Roles there are two RoleBindings. The one goes, the other gives the same.
#[tokio::test]
async fn one_of_two_roles_that_give_the_same_goes() {
    let mut stage = stage(["other", "viewer"]).await;
    let after = stage.cells(&["ada"], DEV, VIEW);
    stage
        .step("deleted", after, async |stage| {
            stage.delete("Role", "other").await;
            via(stage, "other", <[String]>::is_empty).await;
        })
        .await;
}

#[tokio::test]
async fn one_of_two_entries_that_give_the_same_goes() {
    let mut stage = stage(["viewer", "viewer"]).await;
    let entry = |stage: &Stage, name: &str| stage.entry(&["dev"], json!({"name": name, "clusterRoles": ["view"]}));
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let inline = stage.entry(&["dev"], json!({"name": "inline", "rules": rules}));
    let steps: Vec<Vec<Value>> = vec![
        vec![entry(&stage, "work"), entry(&stage, "twice")],
        vec![entry(&stage, "twice")],
        vec![entry(&stage, "twice"), inline.clone()],
        vec![inline],
    ];
    let after = stage.cells(&["ada"], DEV, VIEW);
    for access in steps {
        let what = json!(access).to_string();
        let edit = async |stage: &Stage| {
            stage.role("viewer", json!(access)).await;
            stage.says("Role", "viewer", "AccessApplied", ("True", "AsPlanned")).await;
        };
        stage.step(&what, after.clone(), edit).await;
    }
}

/// Held by a Binding of her own and through a Role that includes it.
#[tokio::test]
async fn one_of_two_ways_to_an_included_role_goes() {
    let mut stage = stage(["viewer", "viewer"]).await;
    let after = stage.cells(&["ada"], DEV, VIEW);
    stage
        .step("a second way", after.clone(), async |stage| {
            stage.put("Role", "lead", json!({"includes": [stage.name("viewer")]})).await;
            stage.bind("second", "lead", &["ada"], json!({})).await;
            via(stage, "lead", |via| via == [stage.name("second")]).await;
        })
        .await;
    leaves_it(&mut stage, "the direct one goes", "viewer", async |stage| stage.delete("Binding", "first").await).await;
}
