//! Access that is replaced has at no instant a gap or an excess. Few questions, asked as fast as the API server answers, while the edit is made.

use serde_json::{Value, json};

use super::{DEVELOP, GET, MAKE, Stage, VIEW};
use crate::support::audit::{Audit, Event};
use crate::support::wait_until;

const DEV: &[&str] = &["dev-pay", "dev-web"];

/// Inline rules on widgets.
fn widgets(verbs: &[&str]) -> Value {
    json!([{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": verbs}])
}

/// What view gives of pods, written as inline rules.
fn pods() -> Value {
    json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}])
}

/// A Role, and ada and bob who hold it, which gives them this in dev.
async fn stage(first: Value, gives: &[&str]) -> Stage {
    stage_in(first, DEV, gives).await
}

/// The same for a Role that gives in these namespaces only.
async fn stage_in(first: Value, places: &[&str], gives: &[&str]) -> Stage {
    let mut stage = Stage::new().await;
    let entry = stage.entry(&["dev"], first);
    stage.role("backend", json!([entry])).await;
    stage.bind("all", "backend", &["ada", "bob"], json!({})).await;
    stage.ask_often(&["ada", "bob"], DEV, &["get pods", "create pods", GET[0], MAKE[0]]).await;
    // The Role and both people were Ready before the Binding was there.
    stage.stands(stage.cells(&["ada", "bob"], places, gives)).await;
    stage
}

/// Moves the Role's one entry from each of these to the next, back and forth.
async fn moves(stage: &mut Stage, between: [(Value, &[&str]); 2]) {
    for round in 0..6 {
        let (more, gives) = &between[(round + 1) % 2];
        let after = stage.cells(&["ada", "bob"], DEV, gives);
        let entry = stage.entry(&["dev"], more.clone());
        stage.step(&format!("to {more}"), after, async |stage| stage.role("backend", json!([entry])).await).await;
    }
}

#[tokio::test]
async fn from_one_cluster_role_to_another() {
    let view = json!({"clusterRoles": ["view"]});
    let mut stage = stage(view.clone(), VIEW).await;
    moves(&mut stage, [(view, VIEW), (json!({"clusterRoles": ["usher-developer"]}), DEVELOP)]).await;
}

/// The same by the API server's own record of what the operator wrote: in each namespace the new binding is made before the old one goes.
#[tokio::test]
async fn bindings_are_made_before_those_they_replace_go() {
    let mut stage = stage(json!({"clusterRoles": ["view"]}), VIEW).await;
    let audit = Audit::from_now(stage.plane());
    let entry = stage.entry(&["dev"], json!({"clusterRoles": ["usher-developer"]}));
    let after = stage.cells(&["ada", "bob"], DEV, DEVELOP);
    stage.step("another ClusterRole", after, async |stage| stage.role("backend", json!([entry])).await).await;
    // By when each was asked for: an answer may be heard before its line is written.
    let written = || -> Vec<(String, String)> {
        let here = audit.writes().into_iter().filter(|event| stage.names(DEV).contains(&event.namespace));
        let mut bindings: Vec<_> = here.filter(|event| event.resource == "rolebindings" && event.code < 300).collect();
        bindings.sort_by_key(Event::at);
        bindings.into_iter().map(|event| (event.namespace, event.verb)).collect()
    };
    let written = wait_until("two made and two deleted", std::time::Duration::from_mins(1), async || {
        let written = written();
        let deleted = written.iter().filter(|(_, verb)| verb == "delete").count();
        if deleted == 2 && written.len() >= 4 { Ok(written) } else { Err(format!("{written:?}")) }
    })
    .await;
    for namespace in stage.names(DEV) {
        let verbs: Vec<_> = written.iter().filter(|(place, _)| *place == namespace).map(|(_, verb)| verb).collect();
        assert!(verbs.len() == 2 && verbs[0] != "delete" && verbs[1] == "delete", "{namespace}: {verbs:?}");
    }
}

#[tokio::test]
async fn from_inline_rules_to_a_cluster_role() {
    let view = json!({"clusterRoles": ["view"]});
    let mut stage = stage(view.clone(), VIEW).await;
    moves(&mut stage, [(view, VIEW), (json!({"rules": pods()}), VIEW)]).await;
}

#[tokio::test]
async fn from_rules_to_rules_of_which_some_stay() {
    let mut stage = stage(json!({"rules": widgets(&["get"])}), GET).await;
    moves(&mut stage, [(json!({"rules": widgets(&["get"])}), GET), (json!({"rules": widgets(&["get", "create"])}), &[GET[0], MAKE[0]])])
        .await;
}

/// Rules and ClusterRole change places in one edit: what both give stays, and nothing that neither gives appears.
#[tokio::test]
async fn from_rules_and_a_cluster_role_to_others_at_once() {
    let one = json!({"rules": widgets(&["get", "create"]), "clusterRoles": ["view"]});
    let two = json!({"rules": widgets(&["get"]), "clusterRoles": ["usher-developer"]});
    let mut stage = stage(one.clone(), &[VIEW[0], GET[0], MAKE[0]]).await;
    moves(&mut stage, [(one, &[VIEW[0], GET[0], MAKE[0]]), (two, &[DEVELOP[0], DEVELOP[1], GET[0]])]).await;
}

/// Rules are changed while the place they are given in moves.
#[tokio::test]
async fn from_rules_here_to_other_rules_there() {
    let first = json!({"rules": widgets(&["get"]), "namespaces": {"matchLabels": {"team": "pay"}}});
    let mut stage = stage_in(first, &["dev-pay"], GET).await;
    for (verbs, team, gives) in [(["create"], "web", MAKE), (["get"], "pay", GET), (["create"], "web", MAKE)] {
        let place = format!("dev-{team}");
        let after = stage.cells(&["ada", "bob"], &[&place], gives);
        let more = json!({"rules": widgets(&verbs), "namespaces": {"matchLabels": {"team": team}}});
        let entry = stage.entry(&["dev"], more);
        stage.step(&format!("{verbs:?} in {team}"), after, async |stage| stage.role("backend", json!([entry])).await).await;
    }
}

/// An entry's new name is a new ClusterRole.
#[tokio::test]
async fn from_an_entry_to_one_of_another_name() {
    let mut stage = stage(json!({"rules": widgets(&["get"])}), GET).await;
    let after = stage.cells(&["ada", "bob"], DEV, GET);
    for name in ["renamed", "work", "other"] {
        let entry = stage.entry(&["dev"], json!({"name": name, "rules": widgets(&["get"])}));
        let edit = async |stage: &Stage| {
            stage.role("backend", json!([entry])).await;
            stage.says("Role", "backend", "AccessApplied", ("True", "AsPlanned")).await;
        };
        stage.step(name, after.clone(), edit).await;
    }
}

/// From what a Role includes to its own entry and back: two Roles, each with a plan of its own.
#[tokio::test]
async fn from_an_included_role_to_its_own_entry_and_back() {
    let mut stage = stage(json!({"clusterRoles": ["view"]}), VIEW).await;
    stage.role("viewer", json!([stage.entry(&["dev"], json!({"clusterRoles": ["view"]}))])).await;
    stage.says("Role", "viewer", "Ready", ("True", "AsPlanned")).await;
    let after = stage.cells(&["ada", "bob"], DEV, VIEW);
    for round in 0..6 {
        let access = stage.entry(&["dev"], json!({"clusterRoles": ["view"]}));
        let spec = match round % 2 {
            0 => json!({"includes": [stage.name("viewer")], "access": []}),
            _ => json!({"includes": [], "access": [access]}),
        };
        let what = spec.to_string();
        let edit = async |stage: &Stage| {
            stage.put("Role", "backend", spec).await;
            stage.says("Role", "backend", "AccessApplied", ("True", "AsPlanned")).await;
            stage.says("Role", "viewer", "AccessApplied", ("True", "AsPlanned")).await;
        };
        stage.step(&what, after.clone(), edit).await;
    }
}

#[tokio::test]
async fn from_one_role_to_another_by_the_binding() {
    let mut stage = stage(json!({"clusterRoles": ["view"], "rules": widgets(&["get"])}), &[VIEW[0], GET[0]]).await;
    stage.role("other", json!([stage.entry(&["dev"], json!({"clusterRoles": ["usher-developer"]}))])).await;
    stage.says("Role", "other", "Ready", ("True", "AsPlanned")).await;
    for round in 0..6 {
        let (role, gives): (&str, &[&str]) = if round % 2 == 0 { ("other", DEVELOP) } else { ("backend", &[VIEW[0], GET[0]]) };
        let after = stage.cells(&["ada", "bob"], DEV, gives);
        stage.step(role, after, async |stage| stage.bind("all", role, &["ada", "bob"], json!({})).await).await;
    }
}

/// The Role that takes has two bindings to change and the one that gives has many to make, so taking has to wait.
#[tokio::test]
async fn from_one_role_to_another_that_has_more_to_write() {
    let first = json!({"clusterRoles": ["view"], "namespaces": {"matchLabels": {"team": "web"}}});
    let mut stage = stage_in(first, &["dev-web"], VIEW).await;
    for number in 0..60 {
        stage.label(&format!("a{number}"), Some("dev"), "many").await;
    }
    stage.role("other", json!([stage.entry(&["dev"], json!({"clusterRoles": ["usher-developer"]}))])).await;
    stage.says("Role", "other", "Ready", ("True", "AsPlanned")).await;
    for round in 0..4 {
        let (role, gives, at): (&str, &[&str], &[&str]) = match round % 2 {
            0 => ("other", DEVELOP, DEV),
            _ => ("backend", VIEW, &["dev-web"]),
        };
        let after = stage.cells(&["ada", "bob"], at, gives);
        stage.step(role, after, async |stage| stage.bind("all", role, &["ada", "bob"], json!({})).await).await;
    }
}

#[tokio::test]
async fn from_one_team_to_another() {
    let mut stage = stage(json!({"clusterRoles": ["view"]}), VIEW).await;
    stage.role("other", json!([stage.entry(&["dev"], json!({"clusterRoles": ["usher-developer"]}))])).await;
    let (pay, web) = (stage.name("pay"), stage.name("web"));
    stage.developer("ada", json!({"teams": [pay]})).await;
    stage.bind("all", "backend", &["bob"], json!({"teams": [pay]})).await;
    stage.bind("web", "other", &[], json!({"teams": [web]})).await;
    stage.says("Role", "other", "Ready", ("True", "AsPlanned")).await;
    let bob = stage.cells(&["bob"], DEV, VIEW);
    stage.stands(&bob | &stage.cells(&["ada"], DEV, VIEW)).await;
    for round in 0..6 {
        let (team, gives) = if round % 2 == 0 { (&web, DEVELOP) } else { (&pay, VIEW) };
        let after = &bob | &stage.cells(&["ada"], DEV, gives);
        stage.step(team, after, async |stage| stage.developer("ada", json!({"teams": [team]})).await).await;
    }
}

/// The same as her Role gives by another Environment's namespaces: a namespace that moves to an Environment where she has the same keeps it.
#[tokio::test]
async fn from_one_environment_to_another_by_a_label() {
    let mut stage = Stage::new().await;
    let entry = stage.entry(&["dev", "staging"], json!({"clusterRoles": ["view"]}));
    stage.role("viewer", json!([entry])).await;
    stage.bind("all", "viewer", &["ada", "bob"], json!({})).await;
    stage.says("Role", "viewer", "Ready", ("True", "AsPlanned")).await;
    stage.ask_often(&["ada", "bob"], &["dev-pay", "dev-web"], &["get pods"]).await;
    let after = stage.cells(&["ada", "bob"], &["dev-pay", "dev-web"], VIEW);
    stage.stands(after.clone()).await;
    let count = async |stage: &Stage, environment: &str| {
        let label = format!("usher.dev/environment={}", stage.name(environment));
        let place = stage.name("dev-pay");
        let text = stage.plane().kubectl(&["get", "rolebindings", "-n", &place, "-l", &label, "-o", "name"]).await.ok();
        text.lines().count()
    };
    for (from, to) in [("dev", "staging"), ("staging", "dev"), ("dev", "staging")] {
        let edit = async |stage: &Stage| {
            stage.label("dev-pay", Some(to), "pay").await;
            wait_until("the binding of the other", std::time::Duration::from_mins(1), async || {
                let seen = (count(stage, from).await, count(stage, to).await);
                if seen == (0, 1) { Ok(()) } else { Err(format!("{seen:?}")) }
            })
            .await;
        };
        stage.step(&format!("to {to}"), after.clone(), edit).await;
    }
}
