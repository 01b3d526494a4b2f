//! Which people's targets are not as they should be.
//!
//! A cell is a person and a target: an Environment or a Provider in which she is to have something. It is verified wrong by what was compared in the clusters
//! ([`crate::plan::consistency`]), and fails by what her own status tells.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::environment::DifferenceKind;
use crate::api::scorecard::{ErrorRate, WrongCell, WrongKind};
use crate::api::{ConditionType, Developer, DeveloperStatus};

use super::super::cell::lasting;
use super::super::consistency::Fault;
use super::super::failing::TELLING;
use super::super::target::{environment_of, environment_target, provider_of, provider_target};
use super::ledger::Ledger;
use super::{Crowd, Person};

/// What fails is an error after this time; what lasts less is work that is under way, or a system that restarts.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// So many cells are named.
const MOST_WORST: usize = 10;

/// Something of a person that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Where.
    pub target: String,
    /// Since when.
    pub since: Timestamp,
    /// What, in words.
    pub message: String,
}

/// A cell that was found wrong in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The Developer, or the name that nobody is known by.
    pub developer: String,
    /// The Environment.
    pub environment: String,
    /// What is wrong.
    pub fault: Fault,
}

/// The targets in which a person has something or is about to, as her status tells.
pub fn expected(developer: &Developer) -> BTreeSet<String> {
    let Some(status) = &developer.status else { return BTreeSet::new() };
    let roles = status.roles.iter().flat_map(|role| &role.environments);
    let own = status.workspaces.iter().map(|workspace| &workspace.environment);
    // Who is to have none at a Provider has one that is locked out, or none.
    let accounts = status.accounts.iter().filter(|account| !matches!(account.state.as_str(), "Disabled" | "Absent"));
    let environments = roles.chain(own).map(|name| environment_target(name));
    // Of a cluster that does not answer it is not known what she has there.
    let unseen = status.failing.iter().filter(|failing| environment_of(&failing.target).is_some()).map(|failing| failing.target.clone());
    environments.chain(accounts.map(|account| provider_target(&account.provider))).chain(unseen).collect()
}

/// What fails of that which a person is to have. Her status keeps since when, so no start makes it younger.
pub fn failing(developer: &Developer, expected: &BTreeSet<String>) -> Vec<Failing> {
    let Some(status) = &developer.status else { return Vec::new() };
    let failing = status.failing.iter().filter(|failing| expected.contains(&failing.target));
    let told =
        failing.map(|failing| Failing { target: failing.target.clone(), since: failing.since.0, message: words(status, &failing.target) });
    told.collect()
}

/// What is told of a target. Where it is told of nothing but this target, that says it; else the condition that names it.
fn words(status: &DeveloperStatus, target: &str) -> String {
    let provider = provider_of(target);
    let account = status.accounts.iter().find(|account| Some(account.provider.as_str()) == provider);
    if let Some(message) = account.and_then(|account| account.message.as_deref()) {
        return lasting(message);
    }
    let name = provider.map(|name| format!("uprov/{name}")).or_else(|| Some(format!("uenv/{}", environment_of(target)?)));
    let accounts = ConditionType::AccountsSynced.to_string();
    let about = |condition: &&Condition| condition.status == "False" && (condition.type_ == accounts) == provider.is_some();
    let telling = |condition: &&Condition| TELLING.iter().any(|kind| kind.to_string() == condition.type_);
    let told: Vec<&Condition> = status.conditions.iter().filter(telling).filter(about).collect();
    let names = |condition: &&&Condition| name.as_ref().is_some_and(|name| condition.message.contains(name.as_str()));
    let found = told.iter().find(names).or_else(|| told.first());
    found.map(|condition| lasting(&condition.message)).unwrap_or_default()
}

/// When something that fails, and is no error yet, becomes one.
pub fn next_error<'a>(people: impl Iterator<Item = &'a Person>, now: Timestamp) -> Option<Timestamp> {
    let newcomers = people.flat_map(|person| {
        let patience = person.newcomer().then_some(person.made);
        person.failing.iter().map(|it| it.since).chain(patience).collect::<Vec<_>>()
    });
    newcomers.filter_map(|since| since.checked_add(PATIENCE).ok()).filter(|at| *at > now).min()
}

/// The access error rate of a crowd.
pub fn error_rate(crowd: &Crowd<'_>, wrong: &[Wrong], ledger: &Ledger, (window, now): (SignedDuration, Timestamp)) -> ErrorRate {
    let mut sheet = Sheet::default();
    for person in crowd.people() {
        sheet.expected.extend(person.expected.iter().map(|target| (person.name.as_str(), target.clone())));
        for failing in person.failing.iter().filter(|failing| late(failing.since, now)) {
            sheet.blame(&person.name, failing.target.clone(), WrongKind::Failing, &failing.message);
        }
    }
    for cell in wrong.iter().filter(|cell| crowd.concerns(&cell.developer)) {
        let newcomer = crowd.person(&cell.developer).is_some_and(|person| person.newcomer() && !late(person.made, now));
        let kind = match cell.fault.kind {
            DifferenceKind::More => WrongKind::Excess,
            DifferenceKind::Missing if !newcomer => WrongKind::Missing,
            // What is not seen fails: her own condition says since when.
            DifferenceKind::Missing | DifferenceKind::Unseen => continue,
        };
        sheet.blame(&cell.developer, environment_target(&cell.environment), kind, &cell.fault.message);
    }
    let mut denied = if crowd.everybody() { ledger.denied_besides(window, now) } else { 0 };
    for ((developer, target), (count, what)) in ledger.denied(window, now) {
        if crowd.concerns(developer) {
            denied += count;
            let what = if what.is_empty() { "requests were denied" } else { what };
            sheet.blame(developer, target.to_owned(), WrongKind::Denied, what);
        }
    }
    sheet.told(denied)
}

fn late(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since) >= PATIENCE
}

/// What is expected, and what of it is in error; of several errors of a cell the worst.
#[derive(Default)]
struct Sheet<'a> {
    expected: BTreeSet<(&'a str, String)>,
    wrong: BTreeMap<(&'a str, String), (WrongKind, &'a str)>,
}

impl<'a> Sheet<'a> {
    fn blame(&mut self, developer: &'a str, target: String, kind: WrongKind, message: &'a str) {
        let fault = (kind, message);
        let cell = self.wrong.entry((developer, target)).or_insert(fault);
        *cell = fault.min(*cell);
    }

    fn told(mut self, denied: i64) -> ErrorRate {
        // What should be empty and is not is a cell as well.
        self.expected.extend(self.wrong.keys().cloned());
        let (errors, expected) = (self.wrong.len(), self.expected.len());
        let mut worst: Vec<WrongCell> = self
            .wrong
            .into_iter()
            .map(|((developer, target), (kind, message))| WrongCell {
                kind,
                developer: developer.to_owned(),
                target,
                message: message.to_owned(),
            })
            .collect();
        worst.sort();
        worst.truncate(MOST_WORST);
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        ErrorRate { value: super::share(errors, expected), errors: count(errors), expected: count(expected), denied, worst }
    }
}
