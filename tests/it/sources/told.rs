//! Who is told of only half, twice, or by something else than before.

use std::collections::BTreeSet;

use serde_json::json;
use usher::plan::source::claim::Effect;
use usher::plan::source::{Read, known};

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
    assert_eq!(plan_missing(&cluster, &hr, &people), BTreeSet::from(["gus".to_owned()]));
}

fn plan_missing(cluster: &Cluster, hr: &usher::api::Source, people: &[usher::plan::source::Person]) -> BTreeSet<String> {
    plan(cluster, &[hr], &read(2, people), None).missing
}
