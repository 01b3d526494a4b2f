//! Whether a complete read is believed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use usher::api::{Source, SourceStatus};
use usher::plan::source::belief::{Belief, MOST_STATES, Remembered, judge};
use usher::plan::source::{Found, Person, Read};

use super::model::{at, found, person, read, source};

/// What a Source has come to know.
#[derive(Default)]
struct Knows {
    remembered: Remembered,
    versions: BTreeMap<String, String>,
    word: Option<String>,
}

impl Knows {
    /// Judges a read: nothing if it is believed, else why not.
    fn judge(&mut self, source: &Source, read: &Read) -> Option<String> {
        match judge(&source.spec, read, &self.versions, &self.remembered, self.word.as_deref()) {
            Belief::Believed(remembered) => {
                self.remembered = remembered;
                self.versions = read.found.versions.clone();
                None
            }
            Belief::Doubted(why, remembered) => {
                self.remembered = remembered;
                Some(why)
            }
        }
    }
}

fn team(name: &str) -> Vec<Person> {
    vec![person("1", "ada", &[name]), person("2", "bob", &[])]
}

fn versioned(hour: i64, people: &[Person], version: &str) -> Read {
    let versions = people.iter().map(|person| (person.id.clone(), version.to_owned())).collect();
    Read::new(at(hour), Found { versions, ..found(people) }, BTreeSet::new())
}

#[test]
fn nobody_at_all_or_most_without_an_id_is_not_believed() {
    let (hr, mut knows) = (source("hr", &json!({})), Knows::default());
    assert!(knows.judge(&hr, &read(0, &[])).expect("nobody").contains("it tells of nobody"));
    let mut people = team("a");
    people[1].attributes.remove("id");
    assert_eq!(knows.judge(&hr, &read(0, &people)), None, "one of them is her own matter");
    people[0].attributes.remove("id");
    let why = knows.judge(&hr, &read(0, &people)).expect("nobody has an id");
    assert!(why.contains("spec.people.personId") && why.contains("among them 1, 2"), "{why}");
    assert_eq!(knows.judge(&hr, &read(0, &team("a"))), None);
}

#[test]
fn yesterdays_state_is_not_believed_until_it_lasts() {
    let (hr, mut knows) = (source("hr", &json!({})), Knows::default());
    for (hour, name) in [(0, "a"), (1, "a"), (2, "b"), (3, "b")] {
        assert_eq!(knows.judge(&hr, &read(hour, &team(name))), None);
    }
    for hour in [4, 10, 27] {
        assert!(knows.judge(&hr, &read(hour, &team("a"))).expect("a copy of the past").contains("copy of the past"));
    }
    assert_eq!(knows.judge(&hr, &read(28, &team("a"))), None, "a day later it is the truth");
    assert!(knows.judge(&hr, &read(29, &team("b"))).is_some(), "and the other one is the past");
    assert_eq!(knows.judge(&hr, &read(30, &team("c"))), None, "anything else is news");
}

#[test]
fn between_two_returns_of_the_past_the_day_begins_anew() {
    let (hr, mut knows) = (source("hr", &json!({})), Knows::default());
    for (hour, name, believed) in
        [(0, "a", true), (1, "b", true), (2, "a", false), (20, "b", true), (21, "a", false), (30, "a", false), (45, "a", true)]
    {
        assert_eq!(knows.judge(&hr, &read(hour, &team(name))).is_none(), believed, "{name} after {hour} h");
    }
}

#[test]
fn a_word_makes_exactly_this_return_true() {
    let (hr, mut knows) = (source("hr", &json!({})), Knows::default());
    for (hour, name) in [(0, "a"), (1, "b")] {
        knows.judge(&hr, &read(hour, &team(name)));
    }
    let why = knows.judge(&hr, &read(2, &team("a"))).expect("doubted");
    let word = why.split("usher.dev/release=").nth(1).expect("a word").to_owned();
    knows.word = Some(word);
    assert_eq!(knows.judge(&hr, &read(3, &team("a"))), None);
    knows.judge(&hr, &read(4, &team("c")));
    assert!(knows.judge(&hr, &read(5, &team("a"))).is_some(), "another return takes another word");
}

#[test]
fn where_entries_have_versions_they_decide() {
    let (hr, mut knows) = (source("hr", &json!({})), Knows::default());
    assert_eq!(knows.judge(&hr, &versioned(0, &team("a"), "1")), None);
    assert_eq!(knows.judge(&hr, &versioned(1, &team("b"), "2")), None);
    assert!(knows.judge(&hr, &versioned(2, &team("a"), "1")).expect("older").contains("older than they were"));
    assert!(knows.judge(&hr, &versioned(2, &team("x"), "1")).is_some(), "also what was never seen");
    assert_eq!(knows.judge(&hr, &versioned(3, &team("a"), "3")), None, "who was moved back is moved back at once");
    for (hour, name, believed) in [(4, "x", false), (20, "y", false), (28, "z", true)] {
        assert_eq!(knows.judge(&hr, &versioned(hour, &team(name), "2")).is_none(), believed, "a restored directory that goes on: {name}");
    }
}

#[test]
fn so_many_states_are_remembered_and_no_more() {
    let (hr, mut knows) = (source("hr", &json!({})), Knows::default());
    for number in 0..i64::try_from(MOST_STATES).expect("few") + 5 {
        assert_eq!(knows.judge(&hr, &read(number, &team(&format!("t{number}")))), None);
    }
    assert_eq!(knows.remembered.states.len(), MOST_STATES);
    assert_eq!(knows.judge(&hr, &read(90, &team("t0"))), None, "it was forgotten");
    assert!(knows.judge(&hr, &read(91, &team("t30"))).is_some());
}

/// Who left yesterday is back, as old as she was, and nothing else is older.
#[test]
fn an_old_entry_that_is_back_is_no_news() {
    let (hr, mut knows) = (source("hr", &json!({})), Knows::default());
    let versions = |read: Read, versions: &[(&str, &str)]| {
        let versions = versions.iter().map(|(id, version)| ((*id).to_owned(), (*version).to_owned())).collect();
        Read { found: Found { versions, ..read.found.clone() }, ..read }
    };
    let (both, ada) = (team("a"), &team("a")[..1]);
    assert_eq!(knows.judge(&hr, &versions(read(0, &both), &[("1", "5"), ("2", "3")])), None);
    assert_eq!(knows.judge(&hr, &versions(read(1, ada), &[("1", "5")])), None);
    let why = knows.judge(&hr, &versions(read(2, &both), &[("1", "5"), ("2", "3")])).expect("yesterday");
    assert!(why.contains("copy of the past"), "{why}");
    assert_eq!(knows.judge(&hr, &versions(read(3, &both), &[("1", "5"), ("2", "6")])), None, "she was made again");
}

/// What is remembered stands in the status, as the operator writes it.
fn written_down(source: &mut Source, knows: &mut Knows) {
    let Remembered { states, returned, reads, newest, emptied } = knows.remembered.clone();
    source.status = Some(SourceStatus { states, returned, reads, newest, emptied, ..SourceStatus::default() });
    *knows = Knows { remembered: Remembered::of(source), ..Knows::default() };
}

#[test]
fn a_restart_or_another_spec_makes_no_past_the_present() {
    let (mut hr, mut knows) = (source("hr", &json!({})), Knows::default());
    knows.remembered = Remembered::of(&hr);
    for (hour, name, version) in [(0, "a", "1"), (1, "b", "2")] {
        assert_eq!(knows.judge(&hr, &versioned(hour, &team(name), version)), None);
    }
    written_down(&mut hr, &mut knows);
    assert!(knows.judge(&hr, &versioned(2, &team("x"), "1")).expect("older").contains("older than they were"), "after a restart");
    for (more, believed) in [(json!({"every": "1m"}), false), (json!({"people": {"name": "{email}"}}), false), (json!({}), true)] {
        let (mut edited, mut knows) = (source("hr", &more), Knows::default());
        edited.status.clone_from(&hr.status);
        edited.metadata.generation = Some(9);
        knows.remembered = Remembered::of(&edited);
        let now = versioned(2, &team("x"), if believed { "3" } else { "1" });
        assert_eq!(knows.judge(&edited, &now).is_none(), believed, "{more}");
    }
}

/// A directory that was restored tells the same people, all of them older, and goes on from there.
#[test]
fn what_is_restored_is_believed_once_it_lasts_and_from_then_on() {
    let (mut hr, mut knows) = (source("hr", &json!({})), Knows::default());
    knows.remembered = Remembered::of(&hr);
    for (hour, version, believed) in [(0, "2", true), (1, "1", false), (24, "1", false), (25, "1", true), (26, "1", true)] {
        assert_eq!(knows.judge(&hr, &versioned(hour, &team("a"), version)).is_none(), believed, "after {hour} h");
    }
    written_down(&mut hr, &mut knows);
    assert_eq!(knows.judge(&hr, &versioned(27, &team("a"), "1")), None, "after a restart");
}

#[test]
fn states_are_remembered_over_a_restart_and_another_spec_as_far_as_they_can_be_compared() {
    for (more, believed) in
        [(json!({}), false), (json!({"every": "1m", "brake": {"maxRemovals": 3}}), false), (json!({"people": {"name": "{email}"}}), true)]
    {
        let (mut hr, mut knows) = (source("hr", &json!({})), Knows::default());
        knows.remembered = Remembered::of(&hr);
        for (hour, name) in [(0, "a"), (1, "b")] {
            assert_eq!(knows.judge(&hr, &read(hour, &team(name))), None);
        }
        written_down(&mut hr, &mut knows);
        let mut edited = source("hr", &more);
        edited.status.clone_from(&hr.status);
        knows.remembered = Remembered::of(&edited);
        assert_eq!(knows.judge(&edited, &read(2, &team("a"))).is_none(), believed, "{more}");
    }
}
