//! Who holds a Binding: names, teams, suspension and back.

use serde_json::{Value, json};

use super::{DEVELOP, GET, Stage, VIEW};

const DEV: &[&str] = &["dev-pay", "dev-web"];

/// A Role that gives this in dev.
async fn role(stage: &Stage, what: &str, more: Value) {
    stage.role(what, json!([stage.entry(&["dev"], more)])).await;
}

#[tokio::test]
async fn subjects_of_a_binding_follow_each_edit() {
    let mut stage = Stage::new().await;
    role(&stage, "viewer", json!({"clusterRoles": ["view"]})).await;
    let steps: [&[&str]; 6] = [&["ada"], &["ada", "bob", "cyd"], &["bob", "cyd"], &["cyd"], &["ada", "bob"], &["ada"]];
    for people in steps {
        let after = stage.cells(people, DEV, VIEW);
        let edit = async |stage: &Stage| stage.bind("all", "viewer", people, json!({})).await;
        stage.step(&format!("{people:?}"), after, edit).await;
    }
}

#[tokio::test]
async fn teams_follow_each_edit() {
    let mut stage = Stage::new().await;
    role(&stage, "viewer", json!({"clusterRoles": ["view"]})).await;
    let rules = json!([{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]);
    role(&stage, "getter", json!({"rules": rules})).await;
    let (pay, web) = (stage.name("pay"), stage.name("web"));
    let view = |stage: &Stage, people: &[&str]| stage.cells(people, DEV, VIEW);
    let get = |stage: &Stage, people: &[&str]| stage.cells(people, DEV, GET);

    stage.bind("pay", "viewer", &[], json!({"teams": [pay]})).await;
    stage.bind("web", "getter", &["bob"], json!({"teams": [web]})).await;
    let after = get(&stage, &["bob"]);
    stage.step("nobody is in a team", after, async |_| {}).await;
    let after = &view(&stage, &["ada"]) | &get(&stage, &["bob"]);
    stage.step("ada joins", after, async |stage| stage.developer("ada", json!({"teams": [pay]})).await).await;
    let after = &view(&stage, &["ada", "cyd"]) | &get(&stage, &["ada", "bob"]);
    stage
        .step("ada joins the other, and cyd", after, async |stage| {
            stage.developer("ada", json!({"teams": [pay, web]})).await;
            stage.developer("cyd", json!({"teams": [pay]})).await;
        })
        .await;
    let after = &view(&stage, &["cyd"]) | &get(&stage, &["ada", "bob"]);
    stage.step("ada leaves one", after, async |stage| stage.developer("ada", json!({"teams": [web]})).await).await;
    let after = &view(&stage, &["ada"]) | &get(&stage, &["bob", "cyd"]);
    stage
        .step("the Bindings change teams", after, async |stage| {
            stage.bind("pay", "viewer", &[], json!({"teams": [web]})).await;
            stage.bind("web", "getter", &["bob"], json!({"teams": [pay]})).await;
        })
        .await;
    let after = &view(&stage, &["ada"]) | &get(&stage, &["bob"]);
    stage.step("no team", after, async |stage| stage.bind("web", "getter", &["bob"], json!({})).await).await;
}

#[tokio::test]
async fn suspension_takes_everything_from_one_and_gives_it_back() {
    let mut stage = Stage::new().await;
    role(&stage, "developer", json!({"clusterRoles": ["usher-developer"]})).await;
    role(&stage, "viewer", json!({"clusterRoles": ["view"]})).await;
    let team = stage.name("pay");
    stage.developer("cyd", json!({"teams": [team]})).await;
    let all = stage.cells(&["ada", "bob"], DEV, DEVELOP);
    let all = &all | &stage.cells(&["cyd"], DEV, VIEW);
    stage
        .step("bound", all.clone(), async |stage| {
            stage.bind("work", "developer", &["ada", "bob"], json!({})).await;
            stage.bind("look", "viewer", &["ada"], json!({"teams": [team]})).await;
        })
        .await;
    for person in ["ada", "bob", "cyd"] {
        let mine = |more: Value| {
            let mut spec = if person == "cyd" { json!({"teams": [team]}) } else { json!({}) };
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            spec
        };
        let without = all.iter().filter(|cell| cell.person != person).cloned().collect();
        let edit = async |stage: &Stage| stage.developer(person, mine(json!({"state": "Suspended"}))).await;
        stage.step(&format!("{person} is suspended"), without, edit).await;
        stage.says("Developer", person, "Ready", ("True", "Suspended")).await;
        let edit = async |stage: &Stage| stage.developer(person, mine(json!({}))).await;
        stage.step(&format!("{person} is back"), all.clone(), edit).await;
        stage.says("Developer", person, "Ready", ("True", "AsPlanned")).await;
    }
}

/// The last three ways to leave; others have them in full.
#[tokio::test]
async fn the_departed_and_the_deleted_hold_nothing_and_the_others_all() {
    let mut stage = Stage::new().await;
    role(&stage, "developer", json!({"clusterRoles": ["usher-developer"]})).await;
    let held = |stage: &Stage, people: &[&str]| stage.cells(people, DEV, DEVELOP);
    let after = held(&stage, &["ada", "bob", "cyd"]);
    stage.step("bound", after, async |stage| stage.bind("work", "developer", &["ada", "bob", "cyd"], json!({})).await).await;
    let after = held(&stage, &["bob", "cyd"]);
    let edit = async |stage: &Stage| stage.developer("ada", json!({"state": "Departed"})).await;
    stage.step("ada departs", after, edit).await;
    let after = held(&stage, &["cyd"]);
    stage.step("bob is deleted", after, async |stage| stage.delete("Developer", "bob").await).await;
    let after = held(&stage, &["ada", "cyd"]);
    stage.step("ada comes back", after, async |stage| stage.developer("ada", json!({"state": "Active"})).await).await;
}
