//! What a Source makes of what was pushed, by the same rules as of what it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use usher::api::Source;
use usher::plan::scim::people::{found, spent};
use usher::plan::scim::record::{Id, Record};
use usher::plan::scim::{Attributes, ResourceKind};
use usher::plan::source::belief::{Belief, Remembered, judge};
use usher::plan::source::claim::Effect;
use usher::plan::source::mapping::Mapping;
use usher::plan::source::{Found, Read};

use super::kept::{HR, id};
use crate::sources::model::{Cluster, at, follow_beside, plan};

pub fn source(more: &Value) -> Source {
    let mut spec = json!({
        "scim": {"tokenSecret": {"name": "push", "key": "token"}},
        "teams": [{"group": "Team {team}", "team": "{team}"}],
    });
    spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let mut source = Source::new("hr", serde_json::from_value(spec).expect("a spec"));
    source.metadata.uid = Some("uid-of-hr".to_owned());
    source
}

pub fn attributes(value: Value) -> Attributes {
    value.as_object().cloned().expect("an object")
}

pub fn person(number: u16, login: &str, more: Value) -> Record {
    let mut all = attributes(json!({"userName": format!("{login}@example.com"), "externalId": format!("e-{number}"), "active": true}));
    all.extend(attributes(more));
    Record::new((ResourceKind::User, HR, id(number)), &all, Vec::new(), "2026-11-23T08:00:00Z")
}

pub fn group(number: u16, name: &str, members: &[u16]) -> Record {
    let members: Vec<Id> = members.iter().map(|member| id(*member)).collect();
    Record::new((ResourceKind::Group, HR, id(number)), &attributes(json!({"displayName": name})), members, "2026-11-23T08:00:00Z")
}

pub fn shared(records: &[Record]) -> Vec<Arc<Record>> {
    records.iter().cloned().map(Arc::new).collect()
}

fn told(source: &Source, records: &[Record]) -> Found {
    found(&shared(records), &Mapping::of(&source.spec))
}

pub fn read(hour: i64, source: &Source, records: &[Record]) -> Read {
    Read::new(at(hour), told(source, records), BTreeSet::new())
}

fn attribute(source: &Source, record: &Record, key: &str) -> Option<String> {
    let found = told(source, std::slice::from_ref(record));
    found.people[0].attributes.get(key).cloned()
}

pub fn states(cluster: &Cluster) -> Vec<&str> {
    cluster.0.values().map(super::super::sources::model::Object::state).collect()
}

#[test]
fn a_person_is_known_by_what_senders_say_in_different_ways() {
    let source = source(&json!({"people": {"displayName": "{displayName} {department} {emails} {name.givenName} {manager.value} {id}"}}));
    let ada = person(
        1,
        "ada",
        json!({
            "name": {"givenName": "Ada", "familyName": "Lovelace"},
            "emails": [{"type": "home", "value": "ada@home.example"}, {"type": "work", "value": "ada@work.example"}],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "Engines", "manager": {"value": "m"}},
        }),
    );
    for (key, value) in [
        ("login", "ada"),
        ("email", "ada@work.example"),
        ("displayName", "Ada Lovelace"),
        ("externalId", "e-1"),
        ("department", "Engines"),
        ("emails", "ada@home.example"),
        ("name.givenName", "Ada"),
        ("manager.value", "m"),
        ("id", &id(1).to_string()),
    ] {
        assert_eq!(attribute(&source, &ada, key).as_deref(), Some(value), "{key}");
    }
    let plain = person(2, "bob", json!({}));
    assert_eq!(attribute(&source, &plain, "email").as_deref(), Some("bob@example.com"), "a login that is an address");
    assert_eq!(attribute(&source, &plain, "displayName"), None);
    let primary =
        person(3, "cyd", json!({"emails": [{"type": "work", "value": "a@x.example"}, {"value": "b@x.example", "primary": true}]}));
    assert_eq!(attribute(&source, &primary, "email").as_deref(), Some("b@x.example"));
}

#[test]
fn who_is_pushed_becomes_a_developer_and_her_groups_her_teams() {
    let source = source(&json!({}));
    let mut cluster = Cluster::default();
    let records = [person(1, "ada", json!({})), group(8, "Team pay", &[1]), group(9, "Others", &[1])];
    follow_beside(&mut cluster, &[&source], &read(0, &source, &records), None);
    let ada = &cluster.0["ada"];
    assert_eq!((ada.text("email"), ada.text("personId"), ada.teams()), ("ada@example.com", "e-1", BTreeSet::from(["pay"])));
}

#[test]
fn who_is_not_active_is_suspended_at_once_and_who_is_deleted_has_departed() {
    let source = source(&json!({}));
    let mut cluster = Cluster::default();
    let (ada, bob) = (person(1, "ada", json!({})), person(2, "bob", json!({})));
    follow_beside(&mut cluster, &[&source], &read(0, &source, &[ada.clone(), bob.clone()]), None);
    let off = person(1, "ada", json!({"active": false}));
    let gone = bob.deleted("2026-11-23T09:00:00Z");
    let told = read(1, &source, &[off, gone.clone()]);
    let plan = plan(&cluster, &[&source], &told, None);
    assert_eq!(plan.losing, BTreeSet::from(["ada".to_owned(), "bob".to_owned()]), "the brake counts both");
    assert!(plan.writes.iter().all(|write| write.effect == Effect::Ends), "{:?}", plan.writes);
    follow_beside(&mut cluster, &[&source], &told, None);
    assert_eq!(states(&cluster), ["Suspended", "Departed"]);
    // Both come back by a word that says so.
    let back = [ada, person(3, "bob", json!({"externalId": "e-2"})), gone];
    follow_beside(&mut cluster, &[&source], &read(2, &source, &back), None);
    assert_eq!(states(&cluster), ["Active", "Active"]);
}

#[test]
fn who_is_not_said_to_be_active_or_not_keeps_what_she_has() {
    let source = source(&json!({}));
    let mut cluster = Cluster::default();
    let told = |active: Value| person(1, "ada", json!({"active": active}));
    let silent = || {
        let mut all = told(json!(true)).attributes();
        all.remove("active");
        Record::new((ResourceKind::User, HR, id(1)), &all, Vec::new(), "2026-11-23T08:00:00Z")
    };
    follow_beside(&mut cluster, &[&source], &read(0, &source, &[silent()]), None);
    assert_eq!(cluster.0["ada"].state(), "Active");
    follow_beside(&mut cluster, &[&source], &read(1, &source, &[told(json!(false))]), None);
    follow_beside(&mut cluster, &[&source], &read(2, &source, &[silent()]), None);
    assert_eq!(cluster.0["ada"].state(), "Suspended", "silence does not let her in either");
}

/// A directory that tells of an empty group may be wrong; a sender has taken each member out by a word of her own.
#[test]
fn the_last_one_of_a_team_leaves_it_at_once() {
    let source = source(&json!({}));
    let mut cluster = Cluster::default();
    let ada = person(1, "ada", json!({}));
    follow_beside(&mut cluster, &[&source], &read(0, &source, &[ada.clone(), group(8, "Team pay", &[1])]), None);
    assert_eq!(cluster.0["ada"].teams().len(), 1);
    let told = read(1, &source, &[ada.clone(), group(8, "Team pay", &[])]);
    assert_eq!(plan(&cluster, &[&source], &told, None).losing.len(), 1, "the brake counts her");
    follow_beside(&mut cluster, &[&source], &told, None);
    assert!(cluster.0["ada"].teams().is_empty());
}

#[test]
fn what_is_taken_back_is_no_copy_of_the_past_and_nobody_at_all_is_no_fault() {
    let source = source(&json!({}));
    let (on, off) = (person(1, "ada", json!({})), person(1, "ada", json!({"active": false})));
    let mut remembered = Remembered::default();
    for (hour, records) in [(0, vec![]), (1, vec![on.clone()]), (2, vec![off]), (3, vec![on]), (4, vec![])] {
        match judge(&source.spec, &read(hour, &source, &records), &BTreeMap::new(), &remembered, None) {
            Belief::Believed(now) => remembered = now,
            Belief::Doubted(why, _) => panic!("at {hour}: {why}"),
        }
    }
}

#[test]
fn who_is_missing_without_a_word_keeps_what_she_has_for_the_time_of_absence() {
    let source = source(&json!({}));
    let mut cluster = Cluster::default();
    let (ada, bob) = (person(1, "ada", json!({})), person(2, "bob", json!({})));
    follow_beside(&mut cluster, &[&source], &read(0, &source, &[ada.clone(), bob]), None);
    // As when somebody deletes its object by hand.
    follow_beside(&mut cluster, &[&source], &read(1, &source, std::slice::from_ref(&ada)), None);
    assert_eq!(cluster.0["bob"].state(), "Active");
    follow_beside(&mut cluster, &[&source], &read(30, &source, std::slice::from_ref(&ada)), None);
    assert_eq!(cluster.0["bob"].state(), "Suspended");
}

#[test]
fn a_note_that_somebody_was_deleted_stays_until_she_has_departed() {
    let source = source(&json!({}));
    let mapping = Mapping::of(&source.spec);
    let gone = shared(&[person(1, "ada", json!({})).deleted("2026-11-23T09:00:00Z")]);
    let noon = "2026-11-23T12:00:00Z".parse().expect("a time");
    assert!(spent(&gone, &mapping, |id| id == "e-1", noon).is_empty(), "her Developer is there");
    assert_eq!(spent(&gone, &mapping, |_| false, noon).len(), 1);
    let soon = "2026-11-23T09:01:00Z".parse().expect("a time");
    assert!(spent(&gone, &mapping, |_| false, soon).is_empty(), "her Developer may only just be made");
}
