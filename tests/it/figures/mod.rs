//! The four figures: each is forced to a known value, and rules hold whatever the facts are.

mod denied;
mod properties;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::{Value, json};
use usher::api::environment::DifferenceKind;
use usher::api::scorecard::{TouchpointKind, WrongKind};
use usher::api::{Developer, Scorecard, ScorecardSpec, ScorecardStatus};
use usher::plan::consistency::{Fault, Figure, Tally};
use usher::plan::scorecard::cells::Wrong;
use usher::plan::scorecard::ledger::{Denial, Ledger, Touch};
use usher::plan::scorecard::{Facts, Person, figures, next_change, observed, upkeep};
use usher::plan::world::World;

use crate::worlds::noon;

/// What is known, to be asked for figures.
#[derive(Default)]
struct Known {
    world: World,
    wrong: Vec<Wrong>,
    alike: BTreeMap<String, Figure>,
    ledger: Ledger,
}

/// So many minutes before noon.
fn ago(minutes: i64) -> Timestamp {
    noon() - SignedDuration::from_mins(minutes)
}

impl Known {
    /// Somebody of team payments, declared an hour ago, with everything in two Environments and at a forge.
    fn with(mut self, name: &str, change: impl FnOnce(&mut Value)) -> Self {
        let mut object = json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": "Developer",
            "metadata": {"name": name, "uid": name, "creationTimestamp": ago(60)},
            "spec": {"email": "x@example.com", "teams": ["payments"]},
            "status": {
                "state": "Active",
                "summary": {"accounts": "1/1"},
                "conditions": [],
                "workspaces": [{"environment": "dev", "namespace": format!("dev-{name}"), "home": true}],
                "roles": [{"name": "backend", "via": ["payments"], "environments": ["dev", "prod"]}],
                "accounts": [{"provider": "forge", "state": "Active"}],
                "timeline": {
                    "declaredAt": ago(60), "accessReadyAt": ago(60) + SignedDuration::from_secs(2),
                    "accountsReadyAt": ago(60) + SignedDuration::from_secs(5), "readyAt": ago(60) + SignedDuration::from_secs(5),
                    "firstCommitAt": ago(50),
                },
            },
        });
        change(&mut object);
        let developer: Developer = serde_json::from_value(object).expect("a Developer");
        self.world.set_developer(name, Some(Arc::new(developer)));
        self
    }

    fn wrong(mut self, developer: &str, environment: &str, kind: DifferenceKind) -> Self {
        let fault = Fault { kind, message: "why".into() };
        self.wrong.push(Wrong { developer: developer.to_owned(), environment: environment.to_owned(), fault });
        self
    }

    fn people(&self, now: Timestamp) -> Vec<Person> {
        self.world.developers().map(|(_, developer)| Person::of(&self.world, developer, now)).collect()
    }

    fn status(&self, team: Option<&str>, now: Timestamp) -> ScorecardStatus {
        let spec = ScorecardSpec { team: team.map(str::to_owned), ..ScorecardSpec::default() };
        let people = self.people(now);
        figures(&spec, &Facts { people: &people, wrong: &self.wrong, alike: &self.alike, ledger: &self.ledger, now }).status
    }

    fn all(&self) -> ScorecardStatus {
        self.status(None, noon())
    }
}

fn condition(kind: &str, message: &str, since: Timestamp) -> Value {
    json!({"type": kind, "status": "False", "reason": "Unreachable", "message": message, "lastTransitionTime": since})
}

/// What her status says fails in a target.
fn fails(target: &str, since: Timestamp) -> Value {
    json!({"target": target, "since": since, "message": "it does not answer"})
}

fn errors(status: &ScorecardStatus) -> (i64, i64, Option<&str>) {
    let rate = &status.access_error_rate;
    (rate.errors, rate.expected, rate.value.as_deref())
}

#[test]
fn of_nobody_there_are_no_figures_but_counts_of_nothing() {
    let status = Known::default().all();
    assert_eq!(status, ScorecardStatus::default());
}

#[test]
fn everything_in_order_reads_so() {
    let status = Known::default().with("ada", |_| {}).all();
    assert_eq!(status.people, 1);
    assert_eq!((status.time_to_access.p50.as_deref(), status.time_to_access.count), (Some("5s"), 1));
    assert_eq!(status.time_to_first_commit.p90.as_deref(), Some("10m0s"));
    assert_eq!(status.time_to_first_push.p50.as_deref(), Some("9m55s"));
    assert_eq!(errors(&status), (0, 3, Some("0%")));
    assert_eq!((status.manual_touchpoints.per_person.as_deref(), status.manual_touchpoints.total), (Some("0"), 0));
}

#[test]
fn everything_is_in_place_when_it_first_was_whatever_she_is_given_later() {
    let unready = |it: &mut Value| it["status"]["timeline"]["readyAt"] = Value::Null;
    assert_eq!(Known::default().with("ada", unready).all().time_to_access.count, 0, "the account is on its way");
    let later = |it: &mut Value| {
        it["status"]["timeline"]["readyAt"] = json!(ago(60) + SignedDuration::from_secs(2));
        it["status"]["timeline"]["accountsReadyAt"] = json!(ago(5));
    };
    let status = Known::default().with("ada", later).all();
    assert_eq!(status.time_to_access.p50.as_deref(), Some("2s"), "her Role came to give an account long after");
    let under_way = |it: &mut Value| {
        later(it);
        it["status"]["timeline"]["accountsReadyAt"] = Value::Null;
    };
    assert_eq!(Known::default().with("ada", under_way).all().time_to_access.count, 1, "nobody is a newcomer twice");
}

#[test]
fn who_came_before_the_window_or_pushed_before_she_was_declared_is_no_newcomer() {
    let old = |it: &mut Value| {
        it["status"]["timeline"]["declaredAt"] = json!(noon() - SignedDuration::from_hours(24 * 31));
    };
    let early = |it: &mut Value| it["status"]["timeline"]["firstCommitAt"] = json!(ago(61));
    let status = Known::default().with("ada", old).with("bob", early).all();
    assert_eq!((status.people, status.time_to_access.count, status.time_to_first_commit.count), (2, 1, 0));
}

#[test]
fn a_cell_that_was_found_wrong_is_an_error_once_whatever_else_is_wrong_with_it() {
    let known = Known::default().with("ada", |_| {}).with("bob", |_| {});
    let known = known.wrong("ada", "dev", DifferenceKind::Missing).wrong("ada", "dev", DifferenceKind::More);
    let status = known.all();
    assert_eq!(errors(&status), (1, 6, Some("16.67%")));
    let worst = &status.access_error_rate.worst[0];
    assert_eq!((worst.kind, worst.developer.as_str(), worst.target.as_str()), (WrongKind::Excess, "ada", "environment/dev"));
}

#[test]
fn what_should_be_empty_and_is_not_is_a_cell_too() {
    let leaver = |it: &mut Value| it["spec"]["state"] = json!("Departed");
    let known = Known::default().with("ada", leaver).with("bob", |_| {}).wrong("ada", "prod", DifferenceKind::More);
    let known = known.wrong("oidc:nobody", "prod", DifferenceKind::More);
    assert_eq!(errors(&known.all()), (2, 5, Some("40%")));
    assert_eq!(known.all().people, 1, "who has left is nobody's to count");
    assert_eq!(errors(&known.status(Some("payments"), noon())), (1, 4, Some("25%")), "a name that nobody is known by is in no team");
}

#[test]
fn what_fails_is_an_error_after_five_minutes_and_says_where() {
    let failing = |minutes| {
        move |it: &mut Value| {
            it["status"]["conditions"] = json!([
                condition("Ready", "uprov/forge: it does not answer", ago(minutes)),
                condition("AccountsSynced", "uprov/forge: it does not answer", ago(minutes)),
            ]);
            it["status"]["failing"] = json!([fails("provider/forge", ago(minutes))]);
        }
    };
    assert_eq!(errors(&Known::default().with("ada", failing(4)).all()), (0, 3, Some("0%")));
    let status = Known::default().with("ada", failing(5)).all();
    assert_eq!(errors(&status), (1, 3, Some("33.34%")));
    assert_eq!(
        (status.access_error_rate.worst[0].kind, status.access_error_rate.worst[0].target.as_str()),
        (WrongKind::Failing, "provider/forge")
    );
    let known = Known::default().with("ada", failing(4));
    let due = next_change(&known.people(noon()), &[SignedDuration::from_hours(720)].into(), noon());
    assert_eq!(due, Some(noon() + SignedDuration::from_mins(1)), "somebody has to look when it becomes one");
}

#[test]
fn a_text_that_names_places_makes_no_cells() {
    let known = Known::default().with("ada", |it| {
        let text = "uprov/forge: the system says \"see uprov/other and uenv/lab\"";
        it["status"]["conditions"] = json!([condition("AccountsSynced", text, ago(9))]);
        it["status"]["failing"] = json!([fails("provider/forge", ago(9))]);
    });
    assert_eq!(errors(&known.all()), (1, 3, Some("33.34%")));
}

#[test]
fn each_target_fails_since_its_own_time() {
    let known = Known::default().with("ada", |it| {
        it["status"]["conditions"] =
            json!([condition("AccessApplied", "urole/backend in uenv/dev waits: x; urole/backend in uenv/prod waits: x", ago(9))]);
        it["status"]["failing"] = json!([fails("environment/dev", ago(9)), fails("environment/prod", ago(2))]);
    });
    let status = known.all();
    assert_eq!(errors(&status), (1, 3, Some("33.34%")));
    assert_eq!(status.access_error_rate.worst[0].target, "environment/dev");
}

#[test]
fn an_account_that_she_is_not_to_have_is_no_cell_and_an_environment_that_does_not_answer_is_one() {
    let known = Known::default().with("ada", |it| {
        it["status"]["accounts"] = json!([{"provider": "forge", "state": "Disabled"}]);
        it["status"]["failing"] = json!([fails("provider/forge", ago(9)), fails("environment/far", ago(9))]);
    });
    let status = known.all();
    assert_eq!(errors(&status), (1, 3, Some("33.34%")), "dev, prod, and far, of which it is not known what she has there");
    assert_eq!(status.access_error_rate.worst[0].target, "environment/far");
}

#[test]
fn a_message_that_changes_is_no_figure_that_changes() {
    let failing = |next: &'static str| {
        let text = format!("uprov/forge: it does not answer; next try at {next}");
        let known = Known::default().with("ada", move |it| {
            it["status"]["conditions"] = json!([condition("AccountsSynced", &text, ago(9))]);
            it["status"]["failing"] = json!([{"target": "provider/forge", "since": ago(9), "message": text}]);
        });
        known.all()
    };
    let first = observed(None, failing("12:01:00"), noon());
    assert_eq!(first.access_error_rate.errors, 1);
    assert_eq!(observed(Some(&first), failing("12:02:00"), noon() + SignedDuration::from_mins(1)), first);
    assert_eq!(first.access_error_rate.worst[0].message, "uprov/forge: it does not answer", "when it is tried next changes with each try");
}

#[test]
fn what_is_not_there_yet_of_a_newcomer_is_on_its_way() {
    let newcomer = |minutes| {
        move |it: &mut Value| {
            it["metadata"]["creationTimestamp"] = json!(ago(minutes));
            it["status"]["timeline"] = json!({"declaredAt": ago(minutes)});
        }
    };
    let known = |minutes| Known::default().with("ada", newcomer(minutes)).wrong("ada", "dev", DifferenceKind::Missing);
    assert_eq!(errors(&known(4).all()).0, 0);
    assert_eq!(errors(&known(6).all()).0, 1);
    let recorded = |it: &mut Value| {
        newcomer(4)(it);
        it["status"]["timeline"]["declaredAt"] = json!(ago(3 * 24 * 60));
    };
    let known = Known::default().with("ada", recorded).wrong("ada", "dev", DifferenceKind::Missing);
    assert_eq!(errors(&known.all()).0, 0, "her Source knew her long before usher could make anything for her");
    let due = next_change(&known.people(noon()), &[SignedDuration::from_hours(720)].into(), noon());
    assert_eq!(due, Some(noon() + SignedDuration::from_mins(1)));
}

#[test]
fn what_cannot_be_seen_is_told_by_the_index_and_by_her_own_condition() {
    let known = Known::default().with("ada", |_| {}).wrong("ada", "dev", DifferenceKind::Unseen);
    assert_eq!(errors(&known.all()).0, 0);
}

#[test]
fn denied_requests_make_their_cell_an_error_and_are_counted() {
    let mut known = Known::default().with("ada", |_| {});
    for (what, times) in [("list pods in namespace shop was denied", 3), ("get pods web in namespace shop was denied", 1)] {
        let denial = Denial { developer: "ada".to_owned(), target: "environment/dev".to_owned(), what: what.to_owned(), times };
        known.ledger.deny(denial, noon());
    }
    let status = known.all();
    assert_eq!((errors(&status), status.access_error_rate.denied), ((1, 3, Some("33.34%")), 4));
    assert_eq!(status.access_error_rate.worst[0].kind, WrongKind::Denied);
    assert_eq!(known.status(Some("search"), noon()).access_error_rate.denied, 0);
}

#[test]
fn touchpoints_are_counted_by_kind_and_per_person() {
    let mut known = Known::default().with("ada", |_| {}).with("bob", |it| it["spec"]["teams"] = json!(["search"]));
    let kinds = [TouchpointKind::Waiver, TouchpointKind::Conflict, TouchpointKind::Conflict, TouchpointKind::HandRepair];
    for kind in kinds {
        known.ledger.touch(Touch { kind, teams: vec!["payments".to_owned()], what: "something".to_owned() }, noon());
    }
    let status = known.all();
    let counts = status.manual_touchpoints.by_kind;
    assert_eq!((counts.waiver, counts.release, counts.conflict, counts.hand_repair, counts.hand_made_access), (1, 0, 2, 1, 0));
    assert_eq!((status.manual_touchpoints.total, status.manual_touchpoints.per_person.as_deref()), (4, Some("2")));
    let team = |team| known.status(Some(team), noon()).manual_touchpoints.per_person;
    assert_eq!((team("payments").as_deref(), team("search").as_deref()), (Some("4"), Some("0")));
}

#[test]
fn the_index_is_that_of_the_team() {
    let mut known = Known::default().with("ada", |_| {});
    let tally = |right, cells| Tally { right, cells };
    let teams = BTreeMap::from([("payments".to_owned(), tally(1, 2))]);
    known.alike.insert("dev".to_owned(), Figure { tally: tally(5, 6), teams, ..Figure::default() });
    known.alike.insert("prod".to_owned(), Figure { tally: tally(2, 2), ..Figure::default() });
    known.alike.insert("alone".to_owned(), Figure::default());
    let index = known.all().consistency;
    assert_eq!(
        (index.value.as_deref(), index.right, index.cells, index.environments),
        (Some("87.5%"), 7, 8, vec!["dev".to_owned(), "prod".to_owned()])
    );
    let index = known.status(Some("payments"), noon()).consistency;
    assert_eq!((index.value.as_deref(), index.environments), (Some("50%"), vec!["dev".to_owned()]));
}

fn scorecard(team: Option<&str>, window: &str) -> Arc<Scorecard> {
    let name = team.map_or_else(|| "all".to_owned(), |team| format!("team-{team}"));
    Arc::new(Scorecard::new(&name, ScorecardSpec { team: team.map(str::to_owned), window: window.parse().expect("a length of time") }))
}

#[test]
fn everybody_and_each_team_that_somebody_is_in_has_a_scorecard() {
    let leaver = |it: &mut Value| {
        it["spec"] = json!({"email": "x@example.com", "teams": ["gone"], "state": "Departed"});
    };
    let known = Known::default().with("ada", |_| {}).with("bob", leaver);
    let kept = |there: &[Arc<Scorecard>]| {
        let kept = upkeep(&known.people(noon()), &"30d".parse().expect("a length of time"), there.iter());
        let names = |all: &[Arc<Scorecard>]| all.iter().map(|it| it.name_any()).collect::<Vec<_>>();
        let make: Vec<String> = kept.make.iter().map(ResourceExt::name_any).collect();
        (make, names(&kept.correct), names(&kept.remove))
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (all, payments) = (scorecard(None, "30d"), scorecard(Some("payments"), "30d"));
    assert_eq!(kept(&[]), (words(&["all", "team-payments"]), vec![], vec![]));
    assert_eq!(kept(std::slice::from_ref(&all)), (words(&["team-payments"]), vec![], vec![]));
    assert_eq!(kept(&[all.clone(), payments.clone()]), (vec![], vec![], vec![]));
    let others = [scorecard(None, "7d"), payments, scorecard(Some("gone"), "7d"), scorecard(Some("never"), "7d")];
    assert_eq!(kept(&others), (vec![], words(&["all", "team-gone"]), words(&["team-never"])), "bob is still there to be counted");
}

#[test]
fn of_very_many_teams_the_first_have_scorecards_and_keep_them() {
    let teams: Vec<String> = (0..300).map(|number| format!("t{number:03}")).collect();
    let known = Known::default().with("ada", |it| it["spec"]["teams"] = json!(teams));
    let window = "30d".parse().expect("a length of time");
    let there = [scorecard(None, "30d"), scorecard(Some("t299"), "30d")];
    let kept = upkeep(&known.people(noon()), &window, there.iter());
    assert_eq!((kept.make.len(), kept.remove.len()), (199, 0));
    assert_eq!(kept.make[198].spec.team.as_deref(), Some("t198"));
}
