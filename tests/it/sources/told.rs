//! Who is told of only half, twice, or by something else than before.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::{Value, json};
use usher::api::{Developer, DeveloperSpec, Source};
use usher::plan::source::claim::{Claim, Effect, Write};
use usher::plan::source::{Person, Read, SourcePlan, known, plan_source};

use super::model::{Cluster, HAND, follow, follow_beside, person, plan, read, source};
use super::set;

/// A read that began when these Developers were there.
fn begun(cluster: &Cluster, read: Read) -> Read {
    Read { known: known(&cluster.world(&[])), ..read }
}

#[test]
fn whoever_was_deleted_since_a_read_began_is_not_made_by_it() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    let people = [person("1", "ada", &["payments"]), person("2", "bob", &[])];
    follow(&mut cluster, &hr, &read(0, &people));
    let mut old = begun(&cluster, read(1, &[people[0].clone(), people[1].clone(), person("3", "eve", &[])]));
    cluster.0.remove("ada");
    follow(&mut cluster, &hr, &old);
    assert!(!cluster.0.contains_key("ada") && cluster.0.contains_key("eve"));
    // And whom it made it makes once.
    old.known.insert("3".to_owned());
    cluster.0.remove("eve");
    assert!(follow(&mut cluster, &hr, &old).writes.is_empty());
    let new = begun(&cluster, read(2, &people));
    follow(&mut cluster, &hr, &new);
    assert!(cluster.0.contains_key("ada"), "a read that began later tells of her still");
}

#[test]
fn a_read_is_of_use_for_a_while_only() {
    let read = read(0, &[]);
    let after = |minutes: i64| read.is_fresh(read.at + jiff::SignedDuration::from_mins(minutes));
    assert!(after(0) && after(10) && !after(11));
}

#[test]
fn another_address_counts_as_a_loss() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    follow(&mut cluster, &hr, &read(0, &[person("1", "ada", &[])]));
    let mut moved = person("1", "ada", &[]);
    moved.attributes.insert("email".to_owned(), "ada@other.example".to_owned());
    let plan = follow(&mut cluster, &hr, &read(1, std::slice::from_ref(&moved)));
    assert_eq!((plan.losing, plan.writes[0].effect), (BTreeSet::from(["ada".to_owned()]), Effect::Readdresses));
    assert_eq!(cluster.0["ada"].text("email"), "ada@other.example");
    cluster.by_hand("ada", &json!({"email": "ada@hand.example"}));
    moved.attributes.insert("email".to_owned(), "ada@third.example".to_owned());
    assert!(follow(&mut cluster, &hr, &read(2, &[moved])).losing.is_empty(), "what is somebody else's does not change");
}

/// Where a cluster knows people by their address, of two with the same one only the older has any access: in many directories people write their own.
#[test]
fn nobody_gets_an_address_that_somebody_else_has_or_gets() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    let mut people = [person("1", "ada", &[]), person("2", "bob", &[]), person("3", "eve", &[])];
    follow(&mut cluster, &hr, &read(0, &people));
    cluster.by_hand("root", &json!({"email": "root@example.com"}));
    let mut hour = 0;
    let mut after = |addresses: [&str; 3], conflicts: usize| {
        for (person, address) in people.iter_mut().zip(addresses) {
            person.attributes.insert("email".to_owned(), address.to_owned());
        }
        hour += 1;
        let plan = follow(&mut cluster, &hr, &read(hour, &people));
        assert_eq!(plan.problems.iter().filter(|it| it.reason == "Conflict").count(), conflicts, "{addresses:?}: {:?}", plan.problems);
        assert!(follow(&mut cluster, &hr, &read(hour, &people)).writes.is_empty(), "{addresses:?}");
        ["ada", "bob", "eve"].map(|name| cluster.0[name].text("email").to_owned())
    };
    assert_eq!(
        after(["Bob@example.com", "bob@example.com", "root@example.com"], 2),
        ["ada@example.com", "bob@example.com", "eve@example.com"]
    );
    assert_eq!(
        after(["new@example.com", "new@example.com", "eve@example.com"], 2),
        ["ada@example.com", "bob@example.com", "eve@example.com"]
    );
    assert_eq!(
        after(["ada@example.com", "bob@example.com", "eve@new.example"], 0),
        ["ada@example.com", "bob@example.com", "eve@new.example"]
    );
}

#[test]
fn an_address_that_is_given_up_is_another_ones_after_that() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    let mut people = [person("1", "ada", &[]), person("2", "bob", &[])];
    follow(&mut cluster, &hr, &read(0, &people));
    for (person, address) in people.iter_mut().zip(["bob@example.com", "robert@example.com"]) {
        person.attributes.insert("email".to_owned(), address.to_owned());
    }
    let first = plan(&cluster, &[&hr], &read(1, &people), None);
    assert_eq!(first.writes.iter().map(|write| write.name.as_str()).collect::<Vec<_>>(), ["bob"], "never both of them at once");
    follow(&mut cluster, &hr, &read(1, &people));
    assert_eq!((cluster.0["ada"].text("email"), cluster.0["bob"].text("email")), ("bob@example.com", "robert@example.com"));
}

#[test]
fn that_it_is_not_told_whether_she_may_log_in_changes_nothing() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    let mut ada = person("1", "ada", &["payments"]);
    ada.active = None;
    follow(&mut cluster, &hr, &read(0, std::slice::from_ref(&ada)));
    assert_eq!(cluster.0["ada"].state(), "Active");
    ada.active = Some(false);
    follow(&mut cluster, &hr, &read(1, std::slice::from_ref(&ada)));
    ada.active = None;
    follow(&mut cluster, &hr, &read(2, std::slice::from_ref(&ada)));
    assert_eq!(cluster.0["ada"].state(), "Suspended");
    ada.active = Some(true);
    follow(&mut cluster, &hr, &read(3, std::slice::from_ref(&ada)));
    ada.active = None;
    let plan = follow(&mut cluster, &hr, &read(4, std::slice::from_ref(&ada)));
    assert_eq!((cluster.0["ada"].state(), plan.writes.len()), ("Active", 0));
}

#[test]
fn whoever_moves_from_one_source_to_another_is_not_suspended() {
    let (hr, ops) = (source("hr", &json!({})), source("ops", &json!({})));
    let mut cluster = Cluster::default();
    let (ada, bob, eve) = (person("1", "ada", &["payments"]), person("2", "bob", &[]), person("3", "eve", &[]));
    follow_beside(&mut cluster, &[&hr, &ops], &read(0, &[ada.clone(), bob.clone()]), None);
    let there = [person("1", "ada", &["oncall"]), eve];
    let plan = follow_beside(&mut cluster, &[&ops, &hr], &read(1, &there), None);
    assert!(plan.problems[0].message.contains("usource/hr"), "as long as both tell of her: {:?}", plan.problems);
    follow_beside(&mut cluster, &[&hr, &ops], &read(2, std::slice::from_ref(&bob)), None);
    follow_beside(&mut cluster, &[&ops, &hr], &read(3, &there), None);
    let moved = &cluster.0["ada"];
    assert_eq!((moved.source.as_deref(), moved.missing_since.as_ref(), moved.teams()), (Some("ops"), None, set(&["oncall"])));
    let plan = follow_beside(&mut cluster, &[&hr, &ops], &read(50, &[bob]), None);
    assert_eq!((cluster.0["ada"].state(), plan.missing.len()), ("Active", 0));
}

#[test]
fn what_somebody_says_as_well_stays_when_a_source_that_is_gone_is_followed_by_another() {
    let (old, new) = (source("old", &json!({})), source("new", &json!({})));
    let mut cluster = Cluster::default();
    follow(&mut cluster, &old, &read(0, &[person("1", "ada", &["payments"])]));
    for field in ["displayName", "email", "team:payments"] {
        cluster.0.get_mut("ada").expect("she is there").owners.get_mut(field).expect("owned").insert(HAND.to_owned());
    }
    follow(&mut cluster, &new, &read(1, &[person("1", "king", &["search"])]));
    let ada = &cluster.0["ada"];
    assert_eq!((ada.text("displayName"), ada.text("email")), ("ada X", "ada@example.com"));
    assert_eq!((ada.teams(), ada.source.as_deref()), (set(&["payments", "search"]), Some("new")));
    assert!(follow(&mut cluster, &new, &read(2, &[person("1", "king", &["search"])])).writes.is_empty());
}

/// Another directory, of another company, has people, too.
#[test]
fn that_none_of_several_is_told_of_is_too_many_however_few_they_are() {
    let hr = source("hr", &json!({"brake": {"maxRemovals": 1000}}));
    let (ada, bob, eve) = (person("1", "ada", &[]), person("2", "bob", &[]), person("3", "eve", &[]));
    let brakes = |plan: &SourcePlan| (plan.strange, plan.limits(hr.spec.brake).max_removals);
    for (there, told, strange) in [
        (vec![&ada, &bob], vec![&eve], true),
        (vec![&ada, &bob], vec![&bob, &eve], false),
        (vec![&ada], vec![&eve], false),
        (vec![], vec![&eve], false),
    ] {
        let (mut cluster, told): (_, Vec<Person>) = (Cluster::default(), told.into_iter().cloned().collect());
        follow(&mut cluster, &hr, &read(0, &there.iter().copied().cloned().collect::<Vec<_>>()));
        let plan = follow(&mut cluster, &hr, &read(1, &told));
        assert_eq!(brakes(&plan), (strange, if strange { 0 } else { 1000 }), "{there:?} {told:?}");
        // Once it was said that this is meant they are missing like anybody.
        assert_eq!(brakes(&plan_of(&cluster, &hr, &told)), (false, 1000));
    }
}

#[test]
fn one_without_an_id_stops_nobody_and_is_not_taken_for_gone() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    let mut people = vec![person("1", "ada", &["payments"]), person("2", "bob", &[]), person("3", "eve", &[]), person("4", "gus", &[])];
    follow(&mut cluster, &hr, &read(0, &people));
    people[0].attributes.remove("id");
    people[0].groups.clear();
    people[1].attributes.remove("id");
    people[1].attributes.remove("username");
    people[2] = person("3", "eve", &["search"]);
    people.push(person("5", "new", &[]));
    let plan = follow(&mut cluster, &hr, &read(1, &people));
    assert_eq!((cluster.0["eve"].teams(), cluster.0.contains_key("new")), (set(&["search"]), true));
    assert!(plan.missing.is_empty() && cluster.0["ada"].teams() == set(&["payments"]), "{:?}", plan.missing);
    let told: Vec<(&str, &str)> = plan.problems.iter().map(|it| (it.person.as_str(), it.reason.as_str())).collect();
    assert_eq!(told, [("1", "InvalidPerson"), ("2", "InvalidPerson")]);
    // Who is not there at all is missing all the same.
    people.remove(3);
    assert_eq!(plan_of(&cluster, &hr, &people).missing, BTreeSet::from(["gus".to_owned()]));
}

fn plan_of(cluster: &Cluster, hr: &Source, people: &[Person]) -> SourcePlan {
    plan(cluster, &[hr], &read(2, people), None)
}

/// Whoever edits Developers chooses the name under which the API server writes that down.
#[test]
fn who_writes_under_the_name_of_a_source_is_none() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    let people = [person("1", "ada", &["payments"])];
    follow(&mut cluster, &hr, &read(0, &people));
    let entry = |operation: &str, subresource: &str, spec: Value| ManagedFieldsEntry {
        manager: Some("usher-source/other".to_owned()),
        operation: Some(operation.to_owned()),
        subresource: Some(subresource.to_owned()),
        fields_v1: Some(FieldsV1(json!({"f:spec": spec}))),
        ..ManagedFieldsEntry::default()
    };
    for (what, entry, former) in [
        ("another Source", entry("Apply", "", json!({"f:email": {}, "f:teams": {"v:\"payments\"": {}}})), true),
        ("an edit", entry("Update", "", json!({"f:email": {}})), false),
        ("a status", entry("Apply", "status", json!({"f:email": {}})), false),
        ("more than a Source says", entry("Apply", "", json!({"f:email": {}, "f:sshKeys": {}})), false),
    ] {
        let mut world = cluster.world(&[&hr]);
        let mut ada = world.developer("ada").expect("she is there").as_ref().clone();
        ada.metadata.managed_fields.get_or_insert_default().push(entry);
        world.set_developer("ada", Some(Arc::new(ada)));
        let plan = plan_source(&hr, &world, &read(1, &people), (&[], None));
        let effects: Vec<Effect> = plan.writes.iter().map(|write| write.effect).collect();
        assert_eq!(effects, if former { vec![Effect::TakesOver] } else { vec![] }, "{what}");
    }
}

#[test]
fn when_the_source_recorded_her_is_said_when_she_is_made_and_stays_said() {
    let (hr, cluster, at) = (source("hr", &json!({})), Cluster::default(), "2026-11-23T08:00:00Z");
    let ada = Person { recorded_at: Some(at.parse().expect("a time")), ..person("1", "ada", &[]) };
    let made = plan_of(&cluster, &hr, &[ada]);
    let told = |write: &Write| write.body("hr")["metadata"]["annotations"]["usher.dev/recorded-at"].clone();
    assert_eq!(told(&made.writes[0]), at);
    let mut developer = Developer::new("ada", DeveloperSpec::default());
    developer.metadata.annotations = Some([("usher.dev/recorded-at".to_owned(), at.to_owned())].into());
    assert_eq!(told(&Claim::found_again(&hr, &developer)), at, "what is not said again is given up");
    assert_eq!(told(&Claim::found_again(&hr, &Developer::new("bob", DeveloperSpec::default()))), Value::Null);
}
