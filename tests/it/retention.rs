//! What is deleted when its time is over, and what never is.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;
use serde_json::{Value, json};
use usher::api::{Departure, Grant};
use usher::plan::purge::{Ran, purge_departures, purge_grants, purge_revisions};

use crate::cluster_model::Model;
use crate::worlds::{later, model, noon};

/// Everything is kept for an hour.
fn strict() -> Model {
    let mut model = model(noon());
    model.settings.audit.retention = SignedDuration::from_hours(1);
    model
}

/// It names the revision that only [`the_revision_that_a_grant_names_is_kept`] has.
fn grant(name: &str, role: &str, since: i64, ended: Option<i64>) -> Arc<Grant> {
    let ended = ended.map(|at| json!({"at": later(at).to_string(), "by": "sue", "cause": "BindingEdited"}));
    let grant = json!({
        "metadata": {"name": name},
        "spec": {
            "developer": {"name": "ada", "uid": "u"}, "role": role, "roleRevision": 9, "grantedBy": "bill", "since": later(since).to_string(),
            "state": if ended.is_some() { "Ended" } else { "Active" }, "ended": ended, "summary": {"targets": "", "via": "", "until": ""},
        },
    });
    Arc::new(serde_json::from_value(grant).expect("a Grant"))
}

fn names<K: ResourceExt>(records: &[Arc<K>]) -> Vec<String> {
    records.iter().map(|record| record.name_any()).collect()
}

#[test]
fn grants_go_when_they_ended_long_ago_and_running_ones_never() {
    let grants = [
        grant("runs", "r", -9_000, None),
        grant("new", "r", -100, Some(-30)),
        grant("old", "r", -100, Some(-60)),
        grant("older", "r", -100, Some(-90)),
    ];
    let at = |now: Timestamp| strict().read(|scene| purge_grants(scene, grants.iter().cloned(), now));
    let purge = at(noon());
    assert_eq!((names(&purge.due), purge.next), (vec!["older".to_owned(), "old".to_owned()], Some(later(30))));
    assert_eq!(names(&at(later(-1)).due), ["older"], "to the second");
    let end = at(later(1_000_000));
    assert_eq!((names(&end.due).len(), end.next), (3, None));
    let mut forever = strict();
    forever.settings.audit.retention = SignedDuration::MAX;
    assert!(forever.read(|scene| purge_grants(scene, grants.iter().cloned(), later(1_000_000))).due.is_empty());
}

fn departure(name: &str, status: &Value) -> Arc<Departure> {
    let departure = json!({
        "metadata": {"name": name}, "status": status,
        "spec": {"developer": {"name": "ada", "uid": "uid-of-ada"}, "requestedBy": "sue", "requestedAt": later(-500).to_string()},
    });
    Arc::new(serde_json::from_value(departure).expect("a Departure"))
}

#[test]
fn a_departure_goes_when_nothing_of_it_goes_on() {
    let all = [
        departure("debts", &json!({"state": "Incomplete"})),
        departure("complete", &json!({"state": "Complete", "completedAt": later(-60).to_string()})),
        departure("fresh", &json!({"state": "Complete", "completedAt": later(-59).to_string()})),
        departure("returned", &json!({"state": "Incomplete", "returnedAt": later(-60).to_string()})),
        departure("returned-late", &json!({"completedAt": later(-90).to_string(), "returnedAt": later(-10).to_string()})),
    ];
    let due = |model: &Model| names(&model.read(|scene| purge_departures(scene, all.iter(), noon())).due);
    let mut model = strict();
    assert_eq!(due(&model), ["complete", "returned"]);
    let mut ada = json!({"kind": "Developer", "metadata": {"name": "ada"}, "spec": {"email": "ada@x", "state": "Departed"}});
    model.add(&ada);
    assert_eq!(due(&model), ["returned"], "a departed person who is still written would only depart again");
    ada["metadata"]["uid"] = json!("somebody-else");
    model.add(&ada);
    assert_eq!(due(&model), ["complete", "returned"], "another person of that name");
}

#[test]
fn a_departure_stays_as_long_as_the_workspace_that_it_speaks_of() {
    let all = [departure("complete", &json!({"state": "Complete", "completedAt": later(-60).to_string()}))];
    let mut model = strict();
    model.add(&json!({"kind": "Environment", "metadata": {"name": "dev"}, "spec": {"workspace": {}}}));
    model.add(&json!({"kind": "Developer", "metadata": {"name": "ada"}, "spec": {"email": "ada@x"}}));
    model.settle();
    model.add(&json!({"kind": "Developer", "metadata": {"name": "ada"}, "spec": {"email": "ada@x", "state": "Departed"}}));
    model.settle();
    model.set_developer("ada", None);
    let due = |model: &Model| names(&model.read(|scene| purge_departures(scene, all.iter(), noon())).due).len();
    assert_eq!(due(&model), 0);
    model.set_namespace(&usher::plan::cluster::ClusterKey::Home, "dev-ada", None);
    assert_eq!(due(&model), 1);
}

fn ran(grants: &[Arc<Grant>]) -> Vec<Ran> {
    grants.iter().map(|grant| Ran::from(grant.as_ref())).collect()
}

fn revision(role: &str, number: i64, created: i64) -> Arc<ControllerRevision> {
    let revision = json!({
        "metadata": {
            "name": format!("{role}-{number}"), "creationTimestamp": later(created).to_string(),
            "labels": {"usher.dev/role": role}, "annotations": {"usher.dev/role-uid": format!("uid-of-{role}")},
        },
        "revision": number, "data": "digest",
    });
    Arc::new(serde_json::from_value(revision).expect("a revision"))
}

#[test]
fn a_revision_goes_when_it_was_replaced_long_ago_and_no_grant_needs_it() {
    let mut model = strict();
    model.add(&json!({"kind": "Role", "metadata": {"name": "r"}, "spec": {}}));
    let revisions =
        [revision("r", 1, -900), revision("r", 2, -600), revision("r", 3, -300), revision("r", 4, -30), revision("gone", 1, -900)];
    let due = |grants: &[Arc<Grant>]| {
        let mut due = names(&model.read(|scene| purge_revisions(scene, revisions.iter(), ran(grants).iter(), noon())).due);
        due.sort();
        due
    };
    assert_eq!(due(&[]), ["gone-1", "r-1", "r-2"], "r-3 was replaced half an hour ago, r-4 is what the Role contains");
    assert_eq!(due(&[grant("g", "r", -500, None)]), ["gone-1", "r-1"], "it began while r-2 was in force");
    assert_eq!(due(&[grant("g", "r", -800, Some(-700))]), ["gone-1", "r-2"], "it ran while r-1 was in force");
    assert_eq!(due(&[grant("g", "r", -800, Some(-500)), grant("h", "gone", -10, None)]), Vec::<String>::new());
}

#[test]
fn beyond_the_greatest_number_the_oldest_revisions_go_and_never_the_present_one() {
    let mut model = strict();
    model.settings.audit.revisions_per_role = 1;
    model.add(&json!({"kind": "Role", "metadata": {"name": "r"}, "spec": {}}));
    let revisions = [revision("r", 1, -9), revision("r", 2, -8), revision("r", 3, -7)];
    let grants = [grant("g", "r", -9, None)];
    let due = model.read(|scene| purge_revisions(scene, revisions.iter(), ran(&grants).iter(), noon())).due;
    assert_eq!(names(&due), ["r-1", "r-2"]);
}

/// Times are in seconds: a Role that is edited in the second in which a Grant begins.
#[test]
fn the_revision_that_a_grant_names_is_kept() {
    let mut model = strict();
    model.add(&json!({"kind": "Role", "metadata": {"name": "r"}, "spec": {}}));
    let revisions = [revision("r", 8, -900), revision("r", 9, -900), revision("r", 10, -900), revision("r", 11, -300)];
    let due = |since: i64| {
        let grants = [grant("g", "r", since, None)];
        names(&model.read(|scene| purge_revisions(scene, revisions.iter(), ran(&grants).iter(), noon())).due)
    };
    assert_eq!(due(-900), Vec::<String>::new());
    assert_eq!(due(-200), ["r-8", "r-10"]);
}
