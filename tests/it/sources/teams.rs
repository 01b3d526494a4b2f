//! Groups that tell of nobody, and groups that are called the same.

use std::collections::BTreeSet;

use serde_json::json;
use usher::api::Reason;
use usher::plan::source::{Found, Person, Read, SourcePlan};

use super::model::{Cluster, at, follow, follow_beside, person, read, source};
use super::set;

fn told(plan: &SourcePlan, reason: Reason) -> Vec<&str> {
    plan.findings.iter().filter(|finding| finding.reason == reason).map(|finding| finding.message.as_str()).collect()
}

/// Ada and Bob are in payments, Eve is in search.
fn staffed() -> (Cluster, [Person; 3]) {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    let people = [person("1", "ada", &["payments"]), person("2", "bob", &["payments", "guild"]), person("3", "eve", &["search"])];
    follow(&mut cluster, &hr, &read(0, &people));
    (cluster, people)
}

#[test]
fn whom_an_empty_group_had_keeps_its_team_until_that_lasts() {
    let hr = source("hr", &json!({}));
    let (mut cluster, mut people) = staffed();
    people[0].groups.clear();
    people[1].groups.remove("/payments");
    for hour in [1, 24] {
        let plan = follow(&mut cluster, &hr, &read(hour, &people));
        assert_eq!(
            (cluster.0["ada"].teams(), cluster.0["bob"].teams()),
            (set(&["payments"]), set(&["guild", "payments"])),
            "after {hour} h"
        );
        assert!(plan.losing.is_empty() && plan.doubts, "and it is no past that could come back");
        assert!(told(&plan, Reason::Incomplete)[0].contains("1 teams any more: payments"), "{:?}", plan.findings);
    }
    let plan = follow(&mut cluster, &hr, &read(25, &people));
    assert_eq!((cluster.0["ada"].teams(), cluster.0["bob"].teams(), plan.losing.len()), (set(&[]), set(&["guild"]), 2));
    let settled = follow(&mut cluster, &hr, &read(26, &people));
    assert!(settled.findings.is_empty() && !settled.doubts && settled.emptied.is_empty() && settled.writes.is_empty());
}

#[test]
fn that_no_group_at_all_has_anybody_takes_nobodys_team() {
    let hr = source("hr", &json!({}));
    let (mut cluster, mut people) = staffed();
    people.iter_mut().for_each(|person| person.groups.clear());
    let plan = follow(&mut cluster, &hr, &read(1, &people));
    assert!(plan.writes.is_empty() && told(&plan, Reason::Incomplete)[0].contains("guild, payments, search"), "{:?}", plan.findings);
    // One of them is told of again, so its own time begins anew.
    people[2].groups.insert("/search".to_owned());
    follow(&mut cluster, &hr, &read(2, &people));
    people[2].groups.clear();
    follow(&mut cluster, &hr, &read(3, &people));
    follow(&mut cluster, &hr, &read(25, &people));
    assert_eq!((cluster.0["ada"].teams(), cluster.0["eve"].teams()), (set(&[]), set(&["search"])));
}

#[test]
fn who_leaves_a_group_that_others_are_in_or_moves_to_another_loses_the_team_at_once() {
    let hr = source("hr", &json!({}));
    let (mut cluster, mut people) = staffed();
    people[0].groups.clear();
    people[2].groups = BTreeSet::from(["/ops".to_owned()]);
    let plan = follow(&mut cluster, &hr, &read(1, &people));
    assert_eq!((cluster.0["ada"].teams(), cluster.0["eve"].teams()), (set(&[]), set(&["ops"])));
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);
}

#[test]
fn a_word_empties_exactly_these_teams_at_once_and_so_does_the_spec() {
    let hr = source("hr", &json!({}));
    let (mut cluster, mut people) = staffed();
    people[2].groups.clear();
    let plan = follow(&mut cluster, &hr, &read(1, &people));
    let word = told(&plan, Reason::Incomplete)[0].split("usher.dev/release=").nth(1).expect("a word").to_owned();
    follow_beside(&mut cluster, &[&hr], &read(2, &people), Some("sha256:another"));
    assert_eq!(cluster.0["eve"].teams(), set(&["search"]));
    follow_beside(&mut cluster, &[&hr], &read(2, &people), Some(&word));
    assert_eq!(cluster.0["eve"].teams(), set(&[]));

    // Whoever takes groups out of the spec means it.
    let without = source("hr", &json!({"teams": [{"group": "/guild", "team": "guild"}]}));
    follow(&mut cluster, &without, &read(3, &people));
    assert_eq!((cluster.0["ada"].teams(), cluster.0["bob"].teams()), (set(&[]), set(&["guild"])));
}

/// Below one entry of a directory two groups may have one cn: whoever may make one would be in the other one's team.
#[test]
fn two_groups_of_one_name_put_nobody_into_a_team_and_take_nobody_out() {
    let hr = source("hr", &json!({"teams": [{"group": "payments", "team": "payments"}, {"group": "ops", "team": "ops"}]}));
    let mut cluster = Cluster::default();
    let reading = |hour: i64, groups: &[(&str, &str)], of_ada: &[&str], of_bob: &[&str]| {
        let (mut ada, mut bob) = (person("1", "ada", &[]), person("2", "bob", &[]));
        ada.groups = of_ada.iter().map(|it| (*it).to_owned()).collect();
        bob.groups = of_bob.iter().map(|it| (*it).to_owned()).collect();
        let groups = groups.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect();
        Read::new(at(hour), Found { people: vec![ada, bob], groups, ..Found::default() }, BTreeSet::new())
    };
    let (real, forged, ops) =
        (("cn=payments,ou=groups", "payments"), ("cn=payments,ou=mine,ou=groups", "payments"), ("cn=ops,ou=groups", "ops"));
    follow(&mut cluster, &hr, &reading(0, &[real, ops], &[real.0], &[ops.0]));
    let plan = follow(&mut cluster, &hr, &reading(1, &[real, forged, ops], &[real.0], &[forged.0, ops.0]));
    assert_eq!((cluster.0["ada"].teams(), cluster.0["bob"].teams()), (set(&["payments"]), set(&["ops"])));
    let message = told(&plan, Reason::Conflict)[0];
    assert!(message.contains(real.0) && message.contains(forged.0) && message.contains("rename all but one"), "{message}");
    assert!(plan.writes.is_empty());
    follow(&mut cluster, &hr, &reading(2, &[real, forged, ops], &[], &[forged.0, ops.0]));
    assert_eq!(cluster.0["ada"].teams(), set(&["payments"]), "as long as it is not known which one is meant");
    follow(&mut cluster, &hr, &reading(3, &[real, ops], &[], &[real.0, ops.0]));
    assert_eq!((cluster.0["ada"].teams(), cluster.0["bob"].teams()), (set(&[]), set(&["ops", "payments"])));
}
