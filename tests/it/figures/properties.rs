//! Rules that hold whatever the facts are.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;
use usher::api::environment::DifferenceKind;
use usher::api::scorecard::TouchpointKind;
use usher::api::{ScorecardSpec, ScorecardStatus};
use usher::plan::consistency::Fault;
use usher::plan::scorecard::cells::{Failing, Wrong};
use usher::plan::scorecard::ledger::{Ledger, Touch};
use usher::plan::scorecard::{Facts, Person, figures, observed};

use crate::worlds::{ago_of, noon};

const TEAMS: [&str; 3] = ["payments", "search", "web"];
const TARGETS: [&str; 3] = ["environment/dev", "environment/prod", "provider/forge"];

fn moment() -> impl Strategy<Value = jiff::Timestamp> {
    (0..90 * 24 * 60_i64).prop_map(ago_of)
}

fn person(name: usize) -> impl Strategy<Value = Person> {
    let teams = proptest::sample::subsequence(TEAMS.to_vec(), 0..=3);
    let expected = proptest::sample::subsequence(TARGETS.to_vec(), 0..=3);
    let failing = proptest::collection::vec((proptest::sample::select(TARGETS.to_vec()), moment()), 0..3);
    let times = (moment(), proptest::option::of(0..100_000_i64), proptest::option::of(0..100_000_i64));
    (teams, any::<bool>(), times, expected, failing).prop_map(move |(teams, stays, (declared, ready, pushed), expected, failing)| Person {
        name: format!("p{name}"),
        teams: teams.into_iter().map(str::to_owned).collect(),
        stays,
        declared,
        made: declared,
        ready: ready.map(|seconds| declared + SignedDuration::from_secs(seconds)),
        pushed: pushed.map(|seconds| declared + SignedDuration::from_secs(seconds)),
        expected: expected.into_iter().map(str::to_owned).collect(),
        failing: failing
            .into_iter()
            .map(|(target, since)| Failing { target: target.to_owned(), since, message: "why".to_owned() })
            .collect(),
    })
}

fn people() -> impl Strategy<Value = Vec<Person>> {
    proptest::collection::vec(any::<u8>(), 0..8).prop_flat_map(|some| (0..some.len()).map(person).collect::<Vec<_>>())
}

fn wrong() -> impl Strategy<Value = Vec<Wrong>> {
    let kinds = proptest::sample::select(vec![DifferenceKind::More, DifferenceKind::Missing, DifferenceKind::Unseen]);
    let one = (0..10_usize, proptest::sample::select(vec!["dev", "prod", "lab"]), kinds).prop_map(|(person, environment, kind)| Wrong {
        developer: format!("p{person}"),
        environment: environment.to_owned(),
        fault: Fault { kind, message: "why".into() },
    });
    proptest::collection::vec(one, 0..12)
}

fn touches() -> impl Strategy<Value = Vec<(usize, i64)>> {
    proptest::collection::vec((0..TEAMS.len(), 0..60 * 24 * 60_i64), 0..20)
}

fn status(team: Option<&str>, people: &[Person], wrong: &[Wrong], ledger: &Ledger) -> ScorecardStatus {
    let spec = ScorecardSpec { team: team.map(str::to_owned), ..ScorecardSpec::default() };
    figures(&spec, &Facts { people, wrong, alike: &BTreeMap::new(), ledger, now: noon() }).status
}

fn ledger(touches: &[(usize, i64)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (team, minutes) in touches {
        let touch = Touch { kind: TouchpointKind::HandRepair, teams: vec![TEAMS[*team].to_owned()], what: "x".to_owned() };
        ledger.touch(touch, ago_of(*minutes));
    }
    ledger
}

proptest! {
    #[test]
    fn errors_are_among_the_cells_and_teams_among_all(people in people(), wrong in wrong(), touches in touches()) {
        let ledger = ledger(&touches);
        let all = status(None, &people, &wrong, &ledger);
        prop_assert!(all.access_error_rate.errors <= all.access_error_rate.expected);
        prop_assert_eq!(all.access_error_rate.errors == 0, all.access_error_rate.worst.is_empty());
        prop_assert_eq!(all.access_error_rate.value.as_deref() == Some("0%"), all.access_error_rate.errors == 0 && all.access_error_rate.expected > 0);
        prop_assert!(all.access_error_rate.worst.len() <= 10 && all.manual_touchpoints.latest.len() <= 10);
        for team in TEAMS {
            let part = status(Some(team), &people, &wrong, &ledger);
            prop_assert!(part.people <= all.people);
            prop_assert!(part.time_to_access.count <= all.time_to_access.count);
            prop_assert!(part.access_error_rate.errors <= all.access_error_rate.errors);
            prop_assert!(part.access_error_rate.expected <= all.access_error_rate.expected);
            prop_assert!(part.manual_touchpoints.total <= all.manual_touchpoints.total);
        }
    }

    #[test]
    fn the_order_of_facts_does_not_matter(people in people(), wrong in wrong()) {
        let ledger = Ledger::default();
        let (mut turned, mut round) = (people.clone(), wrong.clone());
        turned.reverse();
        round.reverse();
        prop_assert_eq!(status(None, &people, &wrong, &ledger), status(None, &turned, &round, &ledger));
    }

    #[test]
    fn what_is_told_is_small_and_told_once(people in people(), wrong in wrong(), touches in touches()) {
        let ledger = ledger(&touches);
        let first = observed(None, status(None, &people, &wrong, &ledger), noon());
        prop_assert!(serde_json::to_string(&first).expect("JSON").len() < 16 * 1024);
        let again = observed(Some(&first), status(None, &people, &wrong, &ledger), noon() + SignedDuration::from_hours(1));
        prop_assert_eq!(first, again, "nothing is written when nothing changed");
    }

    #[test]
    fn what_was_kept_counts_the_same_after_a_start(touches in touches()) {
        let ledger = ledger(&touches);
        let read = Ledger::read(&ledger.text()).expect("what was written");
        prop_assert_eq!(status(None, &[], &[], &ledger), status(None, &[], &[], &read));
    }
}
