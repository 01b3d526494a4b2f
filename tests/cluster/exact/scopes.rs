//! The intersection of an entry's Environments, the Binding's and those that exist.

use serde_json::{Value, json};

use super::{DEVELOP, Stage, VIEW};

const ALL: &[&str] = &["dev-pay", "dev-web", "staging-pay", "staging-web", "prod-pay", "prod-web"];

fn view(stage: &Stage, environments: &[&str]) -> Value {
    json!([stage.entry(environments, json!({"clusterRoles": ["view"]}))])
}

/// The shared namespaces of Environments.
fn within(environments: &[&str]) -> Vec<&'static str> {
    let inside = |place: &&str| environments.iter().any(|environment| place.starts_with(environment));
    ALL.iter().copied().filter(inside).collect()
}

#[tokio::test]
async fn environments_of_an_entry_follow_each_edit() {
    let mut stage = Stage::new().await;
    stage.bind("all", "viewer", &["ada", "bob"], json!({})).await;
    let steps: [&[&str]; 6] = [&["dev"], &["dev", "staging", "prod"], &["staging", "prod"], &["dev"], &["prod", "missing"], &["missing"]];
    for environments in steps {
        let after = stage.cells(&["ada", "bob"], &within(environments), VIEW);
        let edit = async |stage: &Stage| stage.role("viewer", view(stage, environments)).await;
        stage.step(&format!("{environments:?}"), after, edit).await;
    }
}

#[tokio::test]
async fn environments_of_a_binding_only_narrow() {
    let mut stage = Stage::new().await;
    stage.role("viewer", view(&stage, &["dev", "staging"])).await;
    let steps: [(Option<&[&str]>, &[&str]); 7] = [
        (None, &["dev", "staging"]),
        (Some(&["dev"]), &["dev"]),
        (Some(&["staging", "prod"]), &["staging"]),
        (Some(&["prod"]), &[]),
        (Some(&["dev", "staging", "prod"]), &["dev", "staging"]),
        (Some(&["missing"]), &[]),
        (None, &["dev", "staging"]),
    ];
    for (narrowed, gives) in steps {
        let after = stage.cells(&["ada", "bob"], &within(gives), VIEW);
        let environments = narrowed.map_or(Value::Null, |names| json!(stage.names(names)));
        let edit = async |stage: &Stage| stage.bind("all", "viewer", &["ada", "bob"], json!({"environments": environments})).await;
        stage.step(&format!("{narrowed:?}"), after, edit).await;
    }
}

/// One Binding's narrowing is no other's: each person has what her own Bindings give.
#[tokio::test]
async fn bindings_with_different_environments_stay_apart() {
    let mut stage = Stage::new().await;
    stage.role("viewer", view(&stage, &["dev", "staging", "prod"])).await;
    stage.role("developer", json!([stage.entry(&["dev", "staging", "prod"], json!({"clusterRoles": ["usher-developer"]}))])).await;
    let only = |stage: &Stage, names: &[&str]| json!({"environments": stage.names(names)});
    let view = |stage: &Stage, person, names| stage.cells(&[person], &within(names), VIEW);
    let work = |stage: &Stage, person, names| stage.cells(&[person], &within(names), DEVELOP);

    let after = &(&view(&stage, "ada", &["dev"]) | &view(&stage, "bob", &["prod"])) | &work(&stage, "ada", &["staging"]);
    stage
        .step("bound", after.clone(), async |stage| {
            stage.bind("one", "viewer", &["ada"], only(stage, &["dev"])).await;
            stage.bind("two", "viewer", &["bob"], only(stage, &["prod"])).await;
            stage.bind("three", "developer", &["ada"], only(stage, &["staging"])).await;
        })
        .await;
    let more = &after | &view(&stage, "ada", &["prod"]);
    stage
        .step("ada in another's too", more, async |stage| stage.bind("two", "viewer", &["ada", "bob"], only(stage, &["prod"])).await)
        .await;
    stage.step("and out", after, async |stage| stage.bind("two", "viewer", &["bob"], only(stage, &["prod"])).await).await;
}

/// A Binding narrows what its Role includes as well, and the person's other way to that Role it does not.
#[tokio::test]
async fn a_binding_narrows_what_its_role_includes() {
    let mut stage = Stage::new().await;
    stage.role("viewer", view(&stage, &["dev", "staging", "prod"])).await;
    let work = json!([stage.entry(&["dev", "staging"], json!({"clusterRoles": ["usher-developer"]}))]);
    stage.put("Role", "developer", json!({"includes": [stage.name("viewer")], "access": work})).await;
    let after = stage.cells(&["ada"], &within(&["dev"]), DEVELOP);
    let only = json!({"environments": [stage.name("dev")]});
    stage.step("narrowed", after.clone(), async |stage| stage.bind("one", "developer", &["ada"], only).await).await;
    let after = &after | &stage.cells(&["ada"], &within(&["prod"]), VIEW);
    let only = json!({"environments": [stage.name("prod")]});
    stage.step("a second way", after, async |stage| stage.bind("two", "viewer", &["ada"], only).await).await;
}
