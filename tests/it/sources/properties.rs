//! What must hold whatever a source tells, and whatever people write beside it.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use usher::api::Source;
use usher::plan::source::Person;

use super::model::{Cluster, Object, at, follow, person, plan, read, source};

const IDS: [&str; 5] = ["1", "2", "3", "4", "5"];
const LOGINS: [&str; 5] = ["ada", "a.da", "A-da", "bob", "eve"];
const TEAMS: [&str; 3] = ["payments", "search", "ops"];

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    Read(Vec<Person>),
    Hand(&'static str, Value),
}

fn people() -> impl Strategy<Value = Vec<Person>> {
    let one = (select(&IDS[..]), select(&LOGINS[..]), subsequence(&TEAMS[..], 0..=3), any::<bool>(), prop::bool::weighted(0.9));
    let one = one.prop_map(|(id, login, teams, active, mail)| {
        let mut person = person(id, login, &teams);
        person.active = match (id, active) {
            ("2", true) => None,
            (_, true) | ("1", _) => Some(true),
            _ => Some(false),
        };
        if !mail {
            person.attributes.remove("email");
        }
        person
    });
    vec(one, 0..6)
}

fn hand() -> impl Strategy<Value = Event> {
    let spec = prop_oneof![
        select(&["Active", "Suspended", "Departed"][..]).prop_map(|state| json!({"state": state})),
        select(&TEAMS[..]).prop_map(|team| json!({"teams": [team]})),
        Just(json!({"displayName": "By hand"})),
        Just(json!({"email": "hand@example.com"})),
    ];
    (select(&["ada", "a-da", "bob", "eve"][..]), spec).prop_map(|(name, spec)| Event::Hand(name, spec))
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    vec(prop_oneof![3 => people().prop_map(Event::Read), 1 => hand()], 1..8)
}

fn absence() -> impl Strategy<Value = Source> {
    select(&["Suspend", "Depart", "Report"][..]).prop_map(|action| source("hr", &json!({"absence": {"action": action, "after": "2h"}})))
}

/// A hand-made Developer has an address.
fn by_hand(cluster: &mut Cluster, name: &str, spec: &Value) {
    if !cluster.0.contains_key(name) {
        cluster.by_hand(name, &json!({"email": format!("{name}@hand.example")}));
    }
    cluster.by_hand(name, spec);
}

/// What other people own of somebody, but that she has something: the stricter word about that counts.
fn of_others(object: &Object) -> BTreeSet<(String, String)> {
    let owned = object.values.iter().filter(|(field, _)| *field != "state" && object.is_by_hand(field));
    owned.map(|(field, value)| (field.clone(), value.to_string())).collect()
}

proptest! {
    #![proptest_config(crate::properties::config())]

    #[test]
    fn a_read_settles_keeps_what_others_own_and_hurts_nobody_it_tells_of((hr, events) in (absence(), events())) {
        let mut cluster = Cluster::default();
        for (hour, event) in (0..).zip(events) {
            let people = match event {
                Event::Hand(name, spec) => {
                    by_hand(&mut cluster, name, &spec);
                    continue;
                }
                Event::Read(people) => people,
            };
            let before = cluster.clone();
            let plan = follow(&mut cluster, &hr, &read(hour, &people));
            let ids: BTreeSet<&str> = people.iter().map(|person| person.id.as_str()).collect();
            for (name, object) in &before.0 {
                let after = &cluster.0[name];
                prop_assert!(of_others(after).is_superset(&of_others(object)), "{name}: {object:?} {after:?}");
                let known_by = object.source.is_some() && object.text("email") != after.text("email");
                let lost = object.source.is_some() && !after.teams().is_superset(&object.teams()) || object.state() == "Active" && after.state() != "Active" || known_by;
                prop_assert!(!lost || plan.losing.contains(name), "{name} loses something that is not counted");
                let told = ids.contains(object.text("personId"));
                prop_assert!(!(told && plan.missing.contains(name)), "{name} is told of");
                let since = object.missing_since.as_ref().map(|since| since.parse().expect("a time"));
                let due = since.is_some_and(|since| at(hour).duration_since(since) >= SignedDuration::from_hours(2));
                let ended = object.state() == "Active" && after.state() != "Active";
                let off = people.iter().any(|person| person.id == object.text("personId") && person.active == Some(false));
                prop_assert!(!ended || due || off, "{name} is ended too early");
                prop_assert!(object.source.is_some() || after.source.is_none() || told && !object.text("personId").is_empty(), "{name} is a stranger's");
            }
            for (name, object) in cluster.0.iter().filter(|(_, object)| object.source.is_some()) {
                let hers: Vec<&Person> = people.iter().filter(|person| person.id == object.text("personId")).collect();
                if let [only] = hers.as_slice() {
                    prop_assert!(only.active != Some(false) || object.state() != "Active", "{name} was deactivated");
                }
            }
            let again = super::model::plan(&cluster, &[&hr], &read(hour, &people), None);
            prop_assert_eq!(again.writes, vec![], "it settles");
            prop_assert!(again.losing.is_empty());
        }
    }

    #[test]
    fn the_order_of_people_does_not_matter((people, shift) in (people(), 0_usize..6)) {
        let (hr, mut turned) = (source("hr", &json!({})), people.clone());
        turned.rotate_left(shift % people.len().max(1));
        let (one, other) = (read(0, &people), read(0, &turned));
        prop_assert_eq!(&one.digest, &other.digest);
        let mut cluster = Cluster::default();
        cluster.by_hand("bob", &json!({"email": "bob@example.com", "personId": "2"}));
        let (one, other) = (plan(&cluster, &[&hr], &one, None), plan(&cluster, &[&hr], &other, None));
        prop_assert_eq!((one.writes, one.problems), (other.writes, other.problems));
    }
}
