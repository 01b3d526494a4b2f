//! Edits of a Role: what its access entries give and where, what it includes.

use std::time::Duration;

use serde_json::json;

use super::{DEVELOP, EDIT, GET, MAKE, Stage, VIEW};
use crate::support::access::Matrix;
use crate::support::wait_until;

/// An inline rule on widgets.
fn widgets(verbs: &[&str]) -> serde_json::Value {
    json!([{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": verbs}])
}

#[tokio::test]
async fn inline_rules_follow_each_edit() {
    let mut stage = Stage::new().await;
    let at = ["dev-pay", "dev-web", "prod-pay", "prod-web"];
    let people = ["ada", "bob"];
    let both = stage.cells(&people, &at, &[GET[0], MAKE[0]]);
    let get = stage.cells(&people, &at, GET);
    let make = stage.cells(&people, &at, MAKE);
    let rules = async |stage: &Stage, verbs: &[&str]| {
        stage.role("backend", json!([stage.entry(&["dev", "prod"], json!({"rules": widgets(verbs)}))])).await;
    };
    stage
        .step("bound", get.clone(), async |stage| {
            rules(stage, &["get"]).await;
            stage.bind("all", "backend", &people, json!({})).await;
        })
        .await;
    stage.step("a verb more", both, async |stage| rules(stage, &["get", "create"]).await).await;
    stage.step("a verb less", make, async |stage| rules(stage, &["create"]).await).await;
    stage.step("another verb", get, async |stage| rules(stage, &["get"]).await).await;
    let gears = stage.cells(&people, &at, &["list gears.example.com"]);
    stage
        .step("another kind", gears, async |stage| {
            let rules = json!([{"apiGroups": ["example.com"], "resources": ["gears"], "verbs": ["list"]}]);
            stage.role("backend", json!([stage.entry(&["dev", "prod"], json!({"rules": rules}))])).await;
        })
        .await;
    stage.step("no entry", Matrix::new(), async |stage| stage.role("backend", json!([])).await).await;
}

#[tokio::test]
async fn inline_rules_may_name_single_objects() {
    let stage = Stage::new().await;
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"], "verbs": ["get"]}]);
    stage.role("backend", json!([stage.entry(&["dev"], json!({"rules": rules}))])).await;
    stage.bind("all", "backend", &["bob"], json!({})).await;
    stage.says("Role", "backend", "Ready", ("True", "AsPlanned")).await;
    let (user, place) = (format!("--as=oidc:{}", stage.name("bob")), format!("--namespace={}", stage.name("dev-pay")));
    for (object, allowed) in [("configmap/one", true), ("configmap/two", false)] {
        // What is Ready is written; the API server's own authorizer may be a little behind that.
        wait_until(&format!("get {object} is allowed: {allowed}"), Duration::from_secs(20), async || {
            let answer = stage.plane().kubectl(&["auth", "can-i", "get", object, &user, &place]).await;
            if answer.success == allowed { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }
}

#[tokio::test]
async fn cluster_roles_follow_each_edit() {
    let mut stage = Stage::new().await;
    let at = ["dev-pay", "dev-web", "staging-pay", "staging-web"];
    let give = async |stage: &Stage, names: &[&str]| {
        let entry = stage.entry(&["dev", "staging"], json!({"clusterRoles": names}));
        stage.role("backend", json!([entry])).await;
    };
    let steps: [(&[&str], &[&str]); 7] = [
        (&["view"], VIEW),
        (&["view", "usher-developer"], DEVELOP),
        (&["usher-developer"], DEVELOP),
        (&["usher-developer", "edit"], EDIT),
        (&["edit"], EDIT),
        (&["view"], VIEW),
        (&["edit", "view"], EDIT),
    ];
    give(&stage, &["view"]).await;
    let first = stage.cells(&["ada", "bob"], &at, VIEW);
    stage
        .step("bound", first, async |stage| {
            stage.bind("all", "backend", &["ada", "bob"], json!({})).await;
        })
        .await;
    for (names, gives) in steps {
        let after = stage.cells(&["ada", "bob"], &at, gives);
        stage.step(&format!("{names:?}"), after, async |stage| give(stage, names).await).await;
    }
    let nothing = stage.cells(&[], &[], &[]);
    stage.step("no entry", nothing, async |stage| stage.role("backend", json!([])).await).await;
}

#[tokio::test]
async fn entries_give_what_they_say_together() {
    let mut stage = Stage::new().await;
    let look = |stage: &Stage| stage.entry(&["dev", "staging", "prod"], json!({"name": "look", "clusterRoles": ["view"]}));
    let work = |stage: &Stage, at: &[&str]| stage.entry(at, json!({"clusterRoles": ["usher-developer"], "rules": widgets(&["get"])}));
    let everywhere = ["dev-pay", "dev-web", "staging-pay", "staging-web", "prod-pay", "prod-web"];
    let seen = stage.cells(&["cyd"], &everywhere, VIEW);
    let worked = |stage: &Stage, at: &[&str]| stage.cells(&["cyd"], at, &[DEVELOP, GET].concat());
    stage.bind("all", "backend", &["cyd"], json!({})).await;
    stage.step("one", seen.clone(), async |stage| stage.role("backend", json!([look(stage)])).await).await;
    let after = &seen | &worked(&stage, &["dev-pay", "dev-web"]);
    stage.step("two", after, async |stage| stage.role("backend", json!([look(stage), work(stage, &["dev"])])).await).await;
    let after = &seen | &worked(&stage, &["prod-pay", "prod-web"]);
    stage.step("moved", after, async |stage| stage.role("backend", json!([look(stage), work(stage, &["prod"])])).await).await;
    let after = worked(&stage, &["prod-pay", "prod-web"]);
    stage.step("the other", after, async |stage| stage.role("backend", json!([work(stage, &["prod"])])).await).await;
}

#[tokio::test]
async fn namespaces_of_an_entry_follow_each_edit() {
    let mut stage = Stage::new().await;
    stage.bind("all", "backend", &["ada", "bob"], json!({})).await;
    let choices: [(serde_json::Value, &[&str]); 8] = [
        (json!({"matchLabels": {"team": "pay"}}), &["dev-pay", "prod-pay"]),
        (json!({"matchLabels": {"team": "web"}}), &["dev-web", "prod-web"]),
        (json!({"names": stage.names(&["dev-pay", "prod-web"])}), &["dev-pay", "prod-web"]),
        // Outside the Environment's own selector a name gives nothing.
        (json!({"names": stage.names(&["dev-pay", "staging-pay", "free"])}), &["dev-pay"]),
        (json!(null), &["dev-pay", "dev-web", "prod-pay", "prod-web"]),
        (json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["pay"]}]}), &["dev-web", "prod-web"]),
        (json!({"matchLabels": {"team": "nobody"}}), &[]),
        (
            json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["pay", "web"]}]}),
            &["dev-pay", "dev-web", "prod-pay", "prod-web"],
        ),
    ];
    for (choice, gives) in choices {
        let after = stage.cells(&["ada", "bob"], gives, &[VIEW, MAKE].concat());
        let what = choice.to_string();
        stage
            .step(&what, after, async |stage| {
                let more = json!({"namespaces": choice, "clusterRoles": ["view"], "rules": widgets(&["create"])});
                stage.role("backend", json!([stage.entry(&["dev", "prod"], more)])).await;
            })
            .await;
    }
}

#[tokio::test]
async fn includes_follow_each_edit() {
    let mut stage = Stage::new().await;
    let give = |stage: &Stage, more| json!([stage.entry(&["dev"], more)]);
    let put = async |stage: &Stage, role: &str, includes: &[&str], access| {
        stage.put("Role", role, json!({"includes": stage.names(includes), "access": access})).await;
    };
    let at = ["dev-pay", "dev-web"];
    for (role, verb) in [("getter", "get"), ("maker", "create")] {
        put(&stage, role, &[], give(&stage, json!({"rules": widgets(&[verb])}))).await;
    }
    put(&stage, "middle", &["getter"], json!([])).await;
    let looks = give(&stage, json!({"clusterRoles": ["view"]}));
    let given = |stage: &Stage, more: &[&str]| stage.cells(&["ada", "bob"], &at, &[VIEW, more].concat());
    let steps: [(&str, &str, &[&str], &[&str]); 6] = [
        ("through another", "lead", &["middle"], GET),
        ("both", "lead", &["middle", "maker"], &[GET[0], MAKE[0]]),
        ("one less", "lead", &["maker"], MAKE),
        ("none", "lead", &[], &[]),
        ("again", "lead", &["middle"], GET),
        ("none in the middle", "middle", &[], &[]),
    ];
    let after = given(&stage, &[]);
    stage
        .step("bound", after, async |stage| {
            put(stage, "lead", &[], looks.clone()).await;
            stage.bind("all", "lead", &["ada", "bob"], json!({})).await;
        })
        .await;
    for (what, role, includes, more) in steps {
        let after = given(&stage, more);
        let access = if role == "lead" { looks.clone() } else { json!([]) };
        stage.step(what, after, async |stage| put(stage, role, includes, access).await).await;
    }
    let after = given(&stage, MAKE);
    stage.step("one of the middle", after, async |stage| put(stage, "middle", &["maker"], json!([])).await).await;
}
