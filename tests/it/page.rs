//! What the web page shows, of the model: the matrix, one person, and what is left out for want of a permission.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use usher::api::metadata::ROLE;
use usher::api::{Departure, Grant, Scorecard};
use usher::plan::cluster::ClusterKey;
use usher::plan::page::checks::Checks;
use usher::plan::page::figures::figures;
use usher::plan::page::matrix::Draft;
use usher::plan::page::person::{EventKind, PersonView, person};
use usher::plan::page::receipts::receipts;
use usher::plan::page::rights::{Kind, Reader};

use crate::cluster_model::Model;
use crate::record::{Grants, record};
use crate::worlds::{later, model, noon};

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// Ada holds urole/backend by her team, in dev and prod; bob is there and has nothing.
fn company() -> (Model, Grants) {
    let mut company = model(noon());
    for environment in ["dev", "prod"] {
        company.add(&object("Environment", environment, &json!({"namespaces": {"matchLabels": {"env": environment}}})));
        company.add(&json!({"kind": "Namespace", "metadata": {"name": format!("shop-{environment}"), "labels": {"env": environment}}}));
    }
    let access = json!([{"name": "look", "environments": ["dev", "prod"], "clusterRoles": ["view"]}]);
    company.add(&object("Role", "backend", &json!({"access": access})));
    company.add(&object("Developer", "ada", &json!({"email": "ada@x", "displayName": "Ada Lovelace", "teams": ["payments"]})));
    company.add(&object("Developer", "bob", &json!({"email": "bob@x", "teams": ["platform"]})));
    company.add(&object("Binding", "payments", &json!({"role": "backend", "teams": ["payments"], "reason": "Works on payments"})));
    company.settle();
    let mut grants = Grants::new();
    record(&company, &mut grants);
    (company, grants)
}

fn all() -> Reader {
    Reader { user: "alice".to_owned(), may_list: Kind::ALL.into_iter().collect() }
}

fn only(kinds: &[Kind]) -> Reader {
    Reader { user: "alice".to_owned(), may_list: kinds.iter().copied().collect() }
}

fn looked_at(company: &Model, grants: &[Arc<Grant>]) -> Checks {
    let mut checks = Checks::default();
    for role in grants.iter().map(|grant| &grant.spec.role).collect::<BTreeSet<_>>() {
        company.read(|scene| checks.look(scene, role, company.now));
    }
    checks
}

/// The matrix, as the page fetches it.
fn matrix(company: &Model, grants: &Grants, reader: &Reader) -> Value {
    let mut draft = Draft::default();
    grants.values().for_each(|grant| draft.take_in(grant));
    let checks = looked_at(company, &grants.values().cloned().collect::<Vec<_>>());
    assert!(draft.roles().iter().all(|role| grants.values().any(|grant| grant.spec.role == *role)));
    json!(company.read(|scene| draft.finish(scene, &checks, reader)))
}

fn shown(company: &Model, grants: &Grants, name: &str, reader: &Reader) -> Option<PersonView> {
    let hers: Vec<Arc<Grant>> = grants.values().filter(|grant| grant.spec.developer.name == name).cloned().collect();
    let checks = looked_at(company, &hers);
    company.read(|scene| person(scene, name, (&hers, &checks), reader, company.now))
}

#[test]
fn a_row_says_what_somebody_has_in_each_place_since_when_and_whether_it_was_verified() {
    let (company, grants) = company();
    let since = noon().as_second();
    assert_eq!(
        matrix(&company, &grants, &all()),
        json!({
            "places": [{"kind": "environment", "name": "dev"}, {"kind": "environment", "name": "prod"}],
            "roles": ["backend"],
            "teams": ["payments", "platform"],
            "people": [
                ["ada", "Ada Lovelace", "", [0], [[0, [[0, since, 1]]], [1, [[0, since, 1]]]]],
                ["bob", "", "", [1], []],
            ],
            "missing": [],
        })
    );
}

#[test]
fn what_is_not_in_the_cluster_as_it_should_be_is_not_verified_and_says_why() {
    let (mut company, grants) = company();
    let state = company.clusters.get_mut(&ClusterKey::Home).expect("the home cluster");
    let bound = state.role_bindings.iter().find(|((namespace, _), bound)| namespace == "shop-prod" && bound.labels().contains_key(ROLE));
    let key = bound.map(|(key, _)| key.clone()).expect("a binding of the Role");
    state.set_role_binding(&key, None);
    let seen = matrix(&company, &grants, &all());
    assert_eq!((&seen["people"][0][4][0][1][0][2], &seen["people"][0][4][1][1][0][2]), (&json!(1), &json!(0)), "{seen}");
    let ada = shown(&company, &grants, "ada", &all()).expect("somebody");
    let prod = ada.grants[0].targets.iter().find(|target| target.name == "environment/prod").expect("prod");
    assert!(!prod.verified && prod.fault.contains("ClusterRole view in namespace shop-prod"), "{prod:?}");
}

#[test]
fn whoever_may_not_list_developers_sees_what_grants_say_and_no_more() {
    let (company, grants) = company();
    let reader = only(&[Kind::Grants]);
    let seen = matrix(&company, &grants, &reader);
    assert_eq!((&seen["people"][0][1], &seen["people"][0][3], &seen["teams"]), (&json!(""), &json!([0]), &json!(["payments"])), "{seen}");
    assert_eq!(seen["people"].as_array().map(Vec::len), Some(1), "bob has nothing, and is nobody's to know");
    assert!(seen["missing"][0].as_str().is_some_and(|it| it.contains("developers.usher.dev")), "{seen}");
    let ada = shown(&company, &grants, "ada", &reader).expect("somebody");
    assert_eq!((ada.display_name.as_str(), ada.teams, ada.missing.len()), ("", vec!["payments".to_owned()], 3));
    assert_eq!(shown(&company, &grants, "bob", &reader), None);
    assert!(shown(&company, &grants, "bob", &all()).is_some_and(|bob| bob.grants.is_empty() && bob.events.is_empty()));
}

#[test]
fn a_grant_is_told_with_its_binding_its_team_and_its_reason() {
    let (company, grants) = company();
    let ada = shown(&company, &grants, "ada", &all()).expect("somebody");
    let grant = &ada.grants[0];
    assert_eq!((ada.people, grant.role.as_str(), grant.active, grant.reason.as_str()), (1, "backend", true, "Works on payments"));
    assert_eq!((grant.via[0].binding.as_str(), grant.via[0].team.as_str()), ("payments", "payments"));
    assert!(grant.targets.iter().all(|target| target.verified && target.fault.is_empty()), "{grant:?}");
    assert_eq!(ada.events.len(), 1, "{:?}", ada.events);
    assert_eq!(ada.events[0].note, "environment/dev, environment/prod: Works on payments");
}

#[test]
fn a_timeline_goes_back_from_the_end_to_the_beginning() {
    let (mut company, mut grants) = company();
    company.now = later(10);
    let lock = json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": "Lock", "spec": {"developer": "ada", "reason": "laptop stolen"},
        "metadata": {"name": "stolen", "creationTimestamp": "2026-09-23T12:05:00Z", "annotations": {"usher.dev/requested-by": "eve"}},
    });
    let lock: usher::api::Lock = serde_json::from_value(lock).expect("a Lock");
    company.world.set_lock("stolen", Some(Arc::new(lock)));
    company.settle();
    record(&company, &mut grants);
    let departure = json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": "Departure", "metadata": {"name": "ada-1"},
        "spec": {"developer": {"name": "ada", "uid": "u"}, "requestedBy": "alice", "requestedAt": "2096-11-28T09:00:00Z"},
        "status": {"state": "Complete", "accessGoneMs": 1_234, "completedAt": "2096-11-28T09:00:20Z"},
    });
    let departure: Departure = serde_json::from_value(departure).expect("a Departure");
    company.world.set_departure("ada-1", Some(Arc::new(departure)));
    let ada = shown(&company, &grants, "ada", &all()).expect("somebody");
    let kinds: BTreeSet<EventKind> = ada.events.iter().map(|event| event.kind).collect();
    for kind in [
        EventKind::GrantBegan,
        EventKind::GrantEnded,
        EventKind::Locked,
        EventKind::DepartureBegan,
        EventKind::AccessGone,
        EventKind::DepartureCompleted,
    ] {
        assert!(kinds.contains(&kind), "{kind:?} is not in {:?}", ada.events);
    }
    assert!(ada.events.is_sorted_by(|one, next| one.at >= next.at), "{:?}", ada.events);
    assert_eq!((ada.events[0].kind, ada.events[0].note.as_str()), (EventKind::DepartureCompleted, "Complete"));
    assert_eq!((ada.events[1].at.as_str(), ada.events[1].note.as_str()), ("2096-11-28T09:00:01Z", "after 1.2s"));
    assert!(ada.grants.iter().all(|grant| !grant.active && grant.ended_why == "DeveloperLocked"), "{:?}", ada.grants);
    let locked = ada.events.iter().find(|event| event.kind == EventKind::Locked).expect("a Lock");
    assert_eq!((locked.object.as_str(), locked.by.as_str(), locked.note.as_str()), ("ulock/stolen", "eve", "laptop stolen"));
    let less = shown(&company, &grants, "ada", &only(&[Kind::Grants])).expect("somebody");
    assert!(less.events.iter().all(|event| matches!(event.kind, EventKind::GrantBegan | EventKind::GrantEnded)), "{:?}", less.events);
}

#[test]
fn receipts_are_the_newest_first_and_what_takes_too_long_is_marked() {
    let departure = |name: &str, at: &str, status: Value| -> Departure {
        let object = json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": "Departure", "metadata": {"name": name},
            "spec": {"developer": {"name": "ada", "uid": "u"}, "requestedBy": "alice", "requestedAt": at}, "status": status,
        });
        serde_json::from_value(object).expect("a Departure")
    };
    let left = json!({"state": "Incomplete", "leftovers": [{"target": "provider/forge", "object": "key laptop", "reason": "refused"}], "leftoverCount": 40});
    let all = [departure("old", "2026-01-01T00:00:00Z", left), departure("new", "2026-01-02T00:00:00Z", json!({"state": "Complete"}))];
    let told = receipts(&all, "2026-01-02T00:20:00Z".parse().expect("a time"));
    let names: Vec<(&str, bool, i64)> = told.departures.iter().map(|it| (it.name.as_str(), it.overdue, it.leftover_count)).collect();
    assert_eq!((told.total, names), (2, vec![("new", false, 0), ("old", true, 40)]));
}

#[test]
fn the_figures_of_everybody_come_before_those_of_teams() {
    let scorecard = |name: &str, team: Option<&str>| -> Scorecard {
        let object = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Scorecard", "metadata": {"name": name}, "spec": {"team": team}});
        serde_json::from_value(object).expect("a Scorecard")
    };
    let all = [scorecard("team-a", Some("a")), scorecard("all", None)];
    let names: Vec<String> = figures(&all).scorecards.into_iter().map(|card| card.name).collect();
    assert_eq!(names, ["all", "team-a"]);
}
