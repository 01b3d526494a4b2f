//! Whether a complete read is believed.

use std::collections::BTreeMap;

use serde_json::json;
use usher::api::Source;
use usher::plan::source::belief::{Belief, MOST_STATES, Remembered, judge};
use usher::plan::source::{Found, Person, Read};

use super::model::{at, person, read, source};

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
    Read::new(at(hour), Found { people: people.to_vec(), versions })
}

#[test]
fn nobody_at_all_or_somebody_without_an_id_is_not_believed() {
    let (hr, mut knows) = (source("hr", &json!({})), Knows::default());
    assert!(knows.judge(&hr, &read(0, &[])).expect("nobody").contains("it tells of nobody"));
    let mut people = team("a");
    people[1].attributes.remove("id");
    let why = knows.judge(&hr, &read(0, &people)).expect("one without an id");
    assert!(why.contains("spec.people.personId") && why.contains("among them 2"), "{why}");
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
