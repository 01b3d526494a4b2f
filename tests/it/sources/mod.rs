//! People from a source: what becomes of Developers by what is read (DESIGN.md, "Sources").

mod belief;
mod forced;
pub mod model;
mod properties;
mod teams;
mod told;

use std::collections::BTreeSet;

use serde_json::json;

use self::model::{Cluster, at, follow, person, plan, read, source};

fn set<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
    names.iter().copied().collect()
}

#[test]
fn people_become_developers_and_a_settled_source_writes_nothing() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    let people = [person("1", "Ada.L", &["payments"]), person("2", "bob", &[])];
    let plan = follow(&mut cluster, &hr, &read(0, &people));
    assert_eq!((plan.writes.len(), plan.losing.len()), (2, 0));
    let ada = &cluster.0["ada-l"];
    assert_eq!((ada.text("email"), ada.text("personId"), ada.text("displayName")), ("Ada.L@example.com", "1", "Ada.L X"));
    assert_eq!((ada.teams(), ada.state()), (set(&["payments"]), "Active"));
    assert!(follow(&mut cluster, &hr, &read(1, &people)).writes.is_empty());
}

#[test]
fn who_moves_changes_teams_within_one_read_and_keeps_those_of_others() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    follow(&mut cluster, &hr, &read(0, &[person("1", "ada", &["payments"])]));
    cluster.by_hand("ada", &json!({"teams": ["oncall"], "sshKeys": []}));
    let plan = follow(&mut cluster, &hr, &read(1, &[person("1", "ada", &["search"])]));
    assert_eq!(cluster.0["ada"].teams(), set(&["oncall", "search"]));
    assert_eq!(plan.losing, BTreeSet::from(["ada".to_owned()]), "to lose a team counts");
}

#[test]
fn what_somebody_else_owns_stays_and_comes_back_when_it_is_given_up() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    follow(&mut cluster, &hr, &read(0, &[person("1", "ada", &[])]));
    cluster.by_hand("ada", &json!({"displayName": "The Countess", "state": "Suspended"}));
    let renamed = [person("1", "ada-king", &[])];
    follow(&mut cluster, &hr, &read(1, &renamed));
    let ada = &cluster.0["ada"];
    assert_eq!((ada.text("displayName"), ada.state()), ("The Countess", "Suspended"), "hers and her manager's word");
    assert_eq!(ada.text("email"), "ada-king@example.com", "and the rest follows; her name is given once");
    assert!(!cluster.0.contains_key("ada-king"));
    cluster.0.get_mut("ada").expect("she is there").values.remove("displayName");
    cluster.0.get_mut("ada").expect("she is there").owners.remove("displayName");
    follow(&mut cluster, &hr, &read(2, &renamed));
    assert_eq!(cluster.0["ada"].text("displayName"), "ada-king X");
}

#[test]
fn who_is_deactivated_has_nothing_whatever_somebody_wrote_and_is_back_with_the_source() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    let (there, mut off) = ([person("1", "ada", &["payments"])], [person("1", "ada", &["payments"]), person("2", "new", &[])]);
    off.iter_mut().for_each(|person| person.active = Some(false));
    follow(&mut cluster, &hr, &read(0, &there));
    cluster.by_hand("ada", &json!({"state": "Suspended"}));
    cluster.by_hand("ada", &json!({"state": "Active"}));
    let plan = follow(&mut cluster, &hr, &read(1, &off));
    assert_eq!((cluster.0["ada"].state(), plan.losing.len()), ("Suspended", 1));
    assert!(!cluster.0.contains_key("new"), "who may have nothing and never had is not made");
    assert!(follow(&mut cluster, &hr, &read(2, &off)).writes.is_empty());
    follow(&mut cluster, &hr, &read(3, &there));
    assert_eq!(cluster.0["ada"].state(), "Active");
}

#[test]
fn who_is_missing_is_suspended_after_two_reads_far_enough_apart_and_comes_back() {
    for (action, state) in [("Suspend", "Suspended"), ("Depart", "Departed"), ("Report", "Active")] {
        let (hr, mut cluster) = (source("hr", &json!({"absence": {"action": action, "after": "24h"}})), Cluster::default());
        let (ada, bob) = (person("1", "ada", &["payments"]), person("2", "bob", &[]));
        follow(&mut cluster, &hr, &read(0, &[ada.clone(), bob.clone()]));
        for hour in [1, 24] {
            let plan = follow(&mut cluster, &hr, &read(hour, std::slice::from_ref(&bob)));
            assert_eq!(plan.missing, BTreeSet::from(["ada".to_owned()]));
            assert_eq!(plan.losing.is_empty(), hour > 1, "who is newly missing counts for the brake at once, and once");
            assert_eq!((cluster.0["ada"].state(), cluster.0["ada"].teams()), ("Active", set(&["payments"])), "{action} after {hour} h");
        }
        follow(&mut cluster, &hr, &read(25, std::slice::from_ref(&bob)));
        assert_eq!(cluster.0["ada"].state(), state);
        let again = follow(&mut cluster, &hr, &read(26, std::slice::from_ref(&bob)));
        assert_eq!((again.writes.len(), again.losing.len()), (0, 0), "{action}");
        follow(&mut cluster, &hr, &read(50, &[ada, bob]));
        let back = &cluster.0["ada"];
        assert_eq!((back.state(), back.missing_since.as_ref()), ("Active", None), "{action}: by her personId she is the same");
    }
}

#[test]
fn who_departed_by_somebodys_word_stays_so() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    let mut people = [person("1", "ada", &[])];
    follow(&mut cluster, &hr, &read(0, &people));
    cluster.by_hand("ada", &json!({"state": "Departed"}));
    for hour in 1..3 {
        follow(&mut cluster, &hr, &read(hour, &people));
        people[0].active = Some(false);
        assert_eq!(cluster.0["ada"].state(), "Departed");
    }
    let plan = follow(&mut cluster, &hr, &read(100, &[person("2", "bob", &[])]));
    assert!(plan.missing.is_empty(), "who has departed is not missed");
}

#[test]
fn a_clash_is_a_conflict_and_never_a_merge() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    cluster.by_hand("eve", &json!({"email": "eve@elsewhere.example"}));
    cluster.by_hand("known", &json!({"email": "known@example.com", "personId": "9"}));
    let people = [
        person("1", "a.b", &[]),
        person("2", "a-b", &[]),
        person("3", "eve", &[]),
        person("4", "KNOWN", &[]),
        person("5", "twin", &[]),
        person("5", "twin2", &[]),
        person("6", "fine", &[]),
        person("9", "other", &["payments"]),
    ];
    let plan = follow(&mut cluster, &hr, &read(0, &people));
    let told: Vec<(&str, &str)> = plan.problems.iter().map(|it| (it.person.as_str(), it.reason.as_str())).collect();
    assert_eq!(
        told,
        [("1", "Conflict"), ("2", "Conflict"), ("3", "Conflict"), ("4", "Conflict"), ("5", "Conflict")],
        "{:#?}",
        plan.problems
    );
    assert_eq!(cluster.0.keys().collect::<Vec<_>>(), ["eve", "fine", "known"]);
    assert_eq!(cluster.0["eve"].source, None, "a stranger's stays a stranger's");
    let known = &cluster.0["known"];
    assert_eq!((known.teams(), known.text("email")), (set(&["payments"]), "known@example.com"), "the same personId is the same person");
    assert!(plan.problems[2].message.contains("set spec.personId: 3"), "{}", plan.problems[2].message);
    assert!(plan.missing.is_empty());
}

#[test]
fn who_is_there_twice_has_nothing_once_both_are_deactivated() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    let mut twins = [person("1", "ada", &["payments"]), person("1", "ada-king", &["search"])];
    follow(&mut cluster, &hr, &read(0, &twins[..1]));
    for (hour, off, state) in [(1, 0, "Active"), (2, 1, "Active"), (3, 2, "Suspended")] {
        twins.iter_mut().take(off).for_each(|person| person.active = Some(false));
        let plan = follow(&mut cluster, &hr, &read(hour, &twins));
        assert_eq!(
            (plan.problems.len(), cluster.0["ada"].state(), cluster.0["ada"].teams()),
            (1, state, set(&["payments"])),
            "{off} of two"
        );
    }
    assert!(follow(&mut cluster, &hr, &read(4, &twins)).writes.is_empty());
}

#[test]
fn who_has_a_name_keeps_it_when_another_wants_it() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    follow(&mut cluster, &hr, &read(0, &[person("1", "a.b", &[])]));
    let plan = follow(&mut cluster, &hr, &read(1, &[person("1", "a.b", &[]), person("2", "a-b", &["payments"])]));
    assert_eq!((plan.problems.len(), plan.problems[0].person.as_str()), (1, "2"));
    assert_eq!((cluster.0["a-b"].text("personId"), cluster.0["a-b"].teams()), ("1", set(&[])));
}

#[test]
fn somebody_of_another_source_is_left_alone_as_long_as_that_is_there() {
    let (hr, ops) = (source("hr", &json!({})), source("ops", &json!({})));
    let mut cluster = Cluster::default();
    follow(&mut cluster, &ops, &read(0, &[person("1", "ada", &["oncall", "search"])]));
    cluster.by_hand("ada", &json!({"displayName": "The Countess", "teams": ["guild"]}));
    let reading = read(1, &[person("1", "ada-king", &["payments", "search"])]);
    let plan = plan(&cluster, &[&hr, &ops], &reading, None);
    assert!(plan.writes.is_empty() && plan.problems[0].message.contains("usource/ops"), "{plan:?}");
    follow(&mut cluster, &hr, &reading);
    let ada = &cluster.0["ada"];
    assert_eq!(
        (ada.source.as_deref(), ada.teams()),
        (Some("hr"), set(&["guild", "payments", "search"])),
        "what the one that is gone gave goes"
    );
    assert_eq!((ada.text("email"), ada.text("displayName")), ("ada-king@example.com", "The Countess"));
    assert!(follow(&mut cluster, &hr, &reading).writes.is_empty());
}

#[test]
fn what_lacks_is_told_with_the_remedy_and_nobody_is_missing_for_it() {
    let (hr, mut cluster) = (source("hr", &json!({})), Cluster::default());
    let mut people = [person("1", "ada", &[]), person("2", "bob", &[]), person("3", &"x".repeat(39), &[])];
    follow(&mut cluster, &hr, &read(0, &people));
    people[0].attributes.remove("email");
    people[1].groups = (0..17).map(|number| format!("/team-{number}")).collect();
    let plan = follow(&mut cluster, &hr, &read(1, &people));
    let told: Vec<(&str, &str, bool)> =
        plan.problems.iter().map(|it| (it.person.as_str(), it.reason.as_str(), it.message.contains("set spec.people"))).collect();
    assert_eq!(told, [("1", "InvalidPerson", true), ("2", "InvalidPerson", false), ("3", "InvalidPerson", true)]);
    assert!(plan.writes.is_empty() && plan.missing.is_empty());
    follow(&mut cluster, &hr, &read(2, &people[1..]));
    assert!(cluster.0["ada"].missing_since.is_some());
    follow(&mut cluster, &hr, &read(3, &people));
    assert!(cluster.0["ada"].missing_since.is_none(), "she is told of, whatever is wrong with her");
    assert_eq!(cluster.0["bob"].teams(), set(&[]), "none of them rather than some");
    assert!(at(1) > at(0));
}
