//! How it goes with a Provider's system: when it is asked again after it failed, and what is told of it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::departure::TargetState;
use crate::api::provider::{AccountCounts, OrphanedAccount, ProviderBrake, ProviderState, ProviderSummary, RecentRemovals};
use crate::api::{ConditionType, Departure, Developer, Mode, Provider, ProviderStatus, Reason};

use super::access::paused;
use super::account::Capability;
use super::developer::seconds;
use super::finding::Finding;
use super::status::conditions;
use super::target::provider_target;

/// The conditions of a Provider.
pub const PROVIDER_CONDITIONS: [ConditionType; 2] = [ConditionType::Accepted, ConditionType::Connected];

/// How a Provider's system was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Why it does not answer as it should; nothing while it does.
    pub trouble: Option<(Reason, String)>,
    /// How often it failed in a row.
    pub failures: u32,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
    /// How many accounts wait for it.
    pub waiting: usize,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// How many accounts of which sort there are, once they were counted.
    pub accounts: Option<AccountCounts>,
    /// Some of those that are nobody's, counted with them.
    pub orphans: Vec<OrphanedAccount>,
    /// Whether removals are held.
    pub brake: Option<ProviderBrake>,
    /// What is remembered of removals over a restart.
    pub removals: Option<RecentRemovals>,
    /// Whether it answered at least once.
    pub known: bool,
}

/// After this many failures in a row a system is asked less often, and that is told.
pub const QUARANTINED_AFTER: u32 = 5;

/// How soon a system that failed is tried again, and how late at most.
const FIRST_TRY: Duration = Duration::from_secs(1);
const LAST_TRY: Duration = Duration::from_mins(5);
/// What only a change can mend is tried again after this all the same: not every change is seen.
const ON_CHANGE: Duration = Duration::from_mins(10);

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After a while that grows.
    Backoff,
    /// After this long, as the system asks for it.
    After(Duration),
    /// When somebody has changed something.
    OnChange,
}

/// What a system is asked. Each fails by itself: that a system lets itself be read says nothing of whether it takes changes. The first is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Whether it is well.
    Probe,
    /// For one account.
    Look,
    /// To change one.
    Change,
    /// For all accounts.
    List,
}

/// A moment by a clock that only goes forward: how long it is after some beginning.
pub type Moment = Duration;

#[derive(Clone, Debug)]
struct Failing {
    times: u32,
    reason: Reason,
    message: String,
}

/// How it went with a system of late: what fails, how often in a row, and until when it is left alone.
#[derive(Clone, Debug, Default)]
pub struct Course {
    failing: BTreeMap<Call, Failing>,
    /// When the last try failed. What was sent before is of the same try, whatever comes of it and when.
    failed_at: Option<Moment>,
    /// Until then it is left alone.
    until: Option<Moment>,
    /// Whether it said since then that it is well.
    well: bool,
    /// Whether it answered at least once.
    known: bool,
}

impl Course {
    /// What was sent at `began` failed. Many that fail at once are one try. Returns how long it is until the next one, if that is news. `chance` is from 0 to 1:
    /// many that wait for the same do not all come back at the same moment.
    pub fn failed(
        &mut self,
        call: Call,
        (reason, message): (Reason, String),
        retry: Retry,
        (began, now): (Moment, Moment),
        chance: f64,
    ) -> Option<Duration> {
        let same = self.failed_at.is_some_and(|at| began <= at);
        let own = self.failing.get(&call).map_or(0, |it| it.times);
        let asked = matches!(retry, Retry::After(_));
        if same && own > 0 && !asked {
            return None;
        }
        // Who is not even well fails in all that failed before.
        let before = if call == Call::Probe { self.failures() } else { own };
        let times = if same && own > 0 { own } else { before.saturating_add(1) };
        let failing = self.failing.entry(call).or_insert_with(|| Failing { times, reason, message: String::new() });
        *failing = Failing { times, reason, message };
        if !same {
            self.failed_at = Some(now);
        }
        let wait = match retry {
            Retry::Backoff => backoff(times).mul_f64(0.5f64.mul_add(chance, 0.75)),
            Retry::After(wait) => wait.max(FIRST_TRY),
            Retry::OnChange => ON_CHANGE,
        };
        // That it does not list keeps nobody from being looked at; who asks for patience means all.
        if call == Call::List && !asked {
            return Some(wait);
        }
        self.well = false;
        let until = self.until.map_or(now + wait, |until| until.max(now + wait));
        self.until = Some(until);
        Some(until.saturating_sub(now))
    }

    /// What was sent at `began` was answered. It ends no wait, and says nothing of other calls. Returns whether something is to be told.
    pub fn answered(&mut self, call: Call, (began, now): (Moment, Moment)) -> bool {
        let news = !std::mem::replace(&mut self.known, true);
        if self.waits(now) || self.failed_at.is_some_and(|at| began <= at) {
            return news;
        }
        self.well |= call == Call::Probe;
        self.cleared(&[call]) || news
    }

    /// Nobody waits for it any more, and nothing is under way: what failed was done since, or is not asked for any more. Returns whether that is news.
    pub fn rests(&mut self, now: Moment) -> bool {
        self.ready(now) && self.cleared(&[Call::Look, Call::Change])
    }

    fn cleared(&mut self, calls: &[Call]) -> bool {
        let before = self.failing.len();
        self.failing.retain(|call, _| !calls.contains(call));
        let over = before > 0 && self.failing.is_empty();
        if over {
            (self.failed_at, self.until) = (None, None);
        }
        over
    }

    /// Something changed that may be what was wrong: it is tried at once.
    pub const fn tried_anew(&mut self) {
        (self.until, self.well) = (None, false);
    }

    /// Whether it is left alone.
    pub fn waits(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Until when it is left alone.
    pub const fn until(&self) -> Option<Moment> {
        self.until
    }

    /// Whether it may be worked with: it is not left alone, and said that it is well since it last failed.
    pub fn ready(&self, now: Moment) -> bool {
        self.well && !self.waits(now)
    }

    /// How often it failed in a row.
    pub fn failures(&self) -> u32 {
        self.failing.values().map(|it| it.times).max().unwrap_or_default()
    }

    /// Whether it failed so often to tell of all accounts that nobody should wait for it.
    pub fn lists_no_more(&self) -> bool {
        self.failing.get(&Call::List).is_some_and(|it| it.times >= QUARANTINED_AFTER)
    }

    /// Why it does not answer as it should.
    pub fn trouble(&self) -> Option<(Reason, String)> {
        self.failing.values().next().map(|it| (it.reason, it.message.clone()))
    }

    /// Whether it answered at least once.
    pub const fn known(&self) -> bool {
        self.known
    }
}

/// How long to wait after so many failures in a row.
pub fn backoff(failures: u32) -> Duration {
    FIRST_TRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST_TRY)
}

/// Of the requests that a system allows, one in so many may look whether somebody pushed for the first time.
pub const PUSHES_SHARE: u32 = 10;
/// How soon it is looked whether somebody pushed for the first time, and how late at most.
const FIRST_LOOK: Duration = Duration::from_secs(5);
const LAST_LOOK: Duration = Duration::from_hours(6);

/// How long it is until it is looked again whether somebody pushed who has been there for so long: the longer she has not, the less often.
pub fn until_push(age: Duration) -> Duration {
    (age / 10).clamp(FIRST_LOOK, LAST_LOOK)
}

/// Whether somebody's status says already what there is to say of her account while its system does not answer: that it was as it should be when it was last
/// seen, or that it waits for the system for the same reason. A start of usher in the middle of an outage tells nothing new.
pub fn told_already(developer: &Developer, provider: &str, wanted: bool, reason: Reason) -> bool {
    let Some(status) = &developer.status else { return false };
    let told = status.accounts.iter().find(|account| account.provider == provider);
    let stands = |state: &str| if wanted { state == "Active" } else { matches!(state, "Disabled" | "Absent") };
    let waits = status.conditions.iter().any(|condition| {
        condition.type_ == ConditionType::AccountsSynced.to_string()
            && condition.reason == reason.as_str()
            && condition.message.contains(&format!("uprov/{provider}: "))
    });
    told.is_some_and(|account| stands(&account.state) || waits)
}

/// The same of a receipt: it tells what was found, or that the system was out of reach.
pub fn told_in_receipt(departure: &Departure, provider: &str) -> bool {
    let target = provider_target(provider);
    let told = departure.status.iter().flat_map(|status| &status.targets).find(|it| it.target == target);
    told.is_some_and(|it| it.state != TargetState::Pending)
}

impl Health {
    /// Whether it failed so often that it is asked less often.
    pub const fn quarantined(&self) -> bool {
        self.failures >= QUARANTINED_AFTER
    }
}

/// The status of a Provider.
pub fn provider_status(provider: &Provider, health: &Health, now: Timestamp) -> ProviderStatus {
    let previous = provider.status.clone().unwrap_or_default();
    let findings = findings(provider, health);
    let observes = provider.spec.mode == Mode::Observe;
    let ready = if observes {
        (Reason::Observing, "nothing is changed here; set mode: Enforce when the pending changes are what you want")
    } else {
        (Reason::AsPlanned, "")
    };
    let conditions = conditions(&PROVIDER_CONDITIONS, &findings, ready, provider.metadata.generation, (&previous.conditions, now));
    let message = conditions.first().filter(|it| it.status != "True").map(|it| it.message.clone()).unwrap_or_default();
    let system = provider.spec.system();
    let managed = health.accounts.or(previous.accounts).map(|accounts| accounts.managed.to_string()).unwrap_or_default();
    let mut capabilities: Vec<String> = health.capabilities.iter().map(|it| format!("{it:?}")).collect();
    if capabilities.is_empty() {
        capabilities = previous.capabilities;
    }
    ProviderStatus {
        observed_generation: provider.metadata.generation,
        state: state(health, observes).or(previous.state.filter(|_| health.trouble.is_none())),
        summary: Some(ProviderSummary {
            kind: system.map(|system| system.name().to_owned()).unwrap_or_default(),
            accounts: managed,
            url: system.map(|system| system.url().to_owned()).unwrap_or_default(),
            queue: if health.trouble.is_some() { health.waiting } else { 0 }.to_string(),
            next_try: health.next_try.map(seconds).unwrap_or_default(),
            message,
        }),
        conditions,
        capabilities,
        accounts: health.accounts.or(previous.accounts),
        orphans: if health.accounts.is_some() { health.orphans.clone() } else { previous.orphans },
        brake: health.brake.clone(),
        removals: health.removals.clone(),
    }
}

fn state(health: &Health, observes: bool) -> Option<ProviderState> {
    if health.trouble.is_some() {
        return Some(if health.quarantined() { ProviderState::Quarantined } else { ProviderState::Unreachable });
    }
    if health.brake.is_some() {
        return Some(ProviderState::Braked);
    }
    health.known.then_some(if observes { ProviderState::Observing } else { ProviderState::Connected })
}

fn findings(provider: &Provider, health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |condition, reason, message: String| findings.push(Finding::new(condition, reason, message));
    if let Some((reason, message)) = &health.trouble {
        let patient = health.quarantined() && matches!(reason, Reason::Unreachable | Reason::RateLimited);
        let reason = if patient { Reason::Quarantined } else { *reason };
        add(ConditionType::Connected, reason, message.clone());
    }
    if let Some(brake) = &health.brake {
        add(
            ConditionType::Ready,
            Reason::Braked,
            format!(
                "{} of {} accounts would lose something at once; annotate usher.dev/release={} if that is meant",
                brake.removals, brake.population, brake.digest
            ),
        );
    }
    if paused(provider) {
        let name = provider.name_any();
        add(ConditionType::Ready, Reason::Paused, format!("uprov/{name} is paused; remove the annotation usher.dev/paused to go on"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(second: u64) -> Moment {
        Duration::from_secs(second)
    }

    fn silent() -> (Reason, String) {
        (Reason::Unreachable, "no answer".to_owned())
    }

    fn patience() -> (Reason, String) {
        (Reason::RateLimited, "wait".to_owned())
    }

    /// A system that was found to be well.
    fn well() -> Course {
        let mut course = Course::default();
        assert!(course.answered(Call::Probe, (at(0), at(0))) && course.ready(at(0)));
        course
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept_whatever_is_answered_meanwhile() {
        let mut course = well();
        assert_eq!(course.failed(Call::Change, patience(), Retry::After(at(60)), (at(9), at(10)), 0.5), Some(at(60)));
        course.answered(Call::Look, (at(9), at(11)));
        course.answered(Call::Change, (at(9), at(11)));
        course.answered(Call::Probe, (at(12), at(13)));
        assert!(course.waits(at(69)) && !course.waits(at(70)) && !course.ready(at(70)));
        assert_eq!(course.trouble().map(|it| it.0), Some(Reason::RateLimited));
        assert_eq!(course.failed(Call::Look, silent(), Retry::Backoff, (at(9), at(12)), 0.5), Some(at(58)), "no wait is shortened");
        assert_eq!(
            course.failed(Call::Look, patience(), Retry::After(at(90)), (at(9), at(12)), 0.5),
            Some(at(90)),
            "the longer one counts"
        );
        assert!(course.waits(at(101)) && course.failures() == 1);
        course.tried_anew();
        assert!(!course.waits(at(20)), "another credential is tried at once");
    }

    #[test]
    fn what_fails_at_once_is_one_try() {
        let mut course = well();
        for (call, began, failed) in
            [(Call::Look, 0, 20), (Call::Look, 3, 20), (Call::Change, 5, 25), (Call::Look, 19, 39), (Call::List, 1, 21)]
        {
            course.failed(call, silent(), Retry::Backoff, (at(began), at(failed)), 0.5);
        }
        assert_eq!(course.failures(), 1, "{course:?}");
        for try_ in 2..=5 {
            let began = at(try_ * 100);
            assert!(!course.waits(began));
            course.failed(Call::Probe, silent(), Retry::Backoff, (began, began + at(20)), 0.5);
            assert_eq!(u64::from(course.failures()), try_);
        }
    }

    #[test]
    fn reading_says_nothing_of_changing() {
        let mut course = well();
        let mut now = at(1);
        for failures in 1..=7 {
            course.failed(Call::Change, patience(), Retry::Backoff, (now, now), 0.5);
            assert_eq!(course.failures(), failures);
            now = course.until().expect("it waits") + at(1);
            assert!(!course.ready(now), "it is asked first whether it is well");
            course.answered(Call::Probe, (now, now));
            course.answered(Call::Look, (now, now));
            course.answered(Call::List, (now, now));
            assert!(course.ready(now) && course.trouble().is_some());
            now += at(1);
        }
        assert!(course.answered(Call::Change, (now, now)) && course.trouble().is_none() && course.failures() == 0);
    }

    #[test]
    fn a_system_that_does_not_list_is_told_and_works_on() {
        let mut course = well();
        for failures in 1..=QUARANTINED_AFTER {
            let now = at(u64::from(failures) * 1000);
            assert!(!course.lists_no_more());
            course.failed(Call::List, silent(), Retry::Backoff, (now, now), 0.5);
            course.answered(Call::Look, (now + at(1), now + at(1)));
            course.answered(Call::Change, (now + at(1), now + at(1)));
            assert!(course.ready(now) && course.trouble().is_some() && course.failures() == failures);
            assert!(!course.rests(now + at(2)));
        }
        assert!(course.lists_no_more());
        course.failed(Call::List, patience(), Retry::After(at(30)), (at(9000), at(9000)), 0.5);
        assert!(course.waits(at(9029)), "patience is for all");
        course.answered(Call::Probe, (at(9031), at(9031)));
        assert!(course.answered(Call::List, (at(9032), at(9040))) && course.trouble().is_none());
    }

    #[test]
    fn what_nobody_waits_for_any_more_fails_no_more() {
        let mut course = well();
        course.failed(Call::Change, silent(), Retry::Backoff, (at(1), at(1)), 0.5);
        assert!(!course.rests(at(1)) && !course.rests(at(5)), "it was not tried again yet");
        course.answered(Call::Probe, (at(5), at(5)));
        assert!(course.rests(at(6)) && course.trouble().is_none());
    }

    #[test]
    fn each_wait_is_longer_by_chance_and_within_bounds() {
        let wait = |failures: u32, chance: f64| {
            let mut course = well();
            let mut wait = None;
            for number in 0..failures {
                let now = at(u64::from(number) * 10_000 + 1);
                wait = course.failed(Call::Probe, silent(), Retry::Backoff, (now, now), chance);
            }
            wait.expect("a wait")
        };
        let waits: Vec<Duration> = (1..=12).map(|failures| wait(failures, 0.5)).collect();
        assert!(waits.windows(2).all(|pair| pair[0] < pair[1] || pair[0] == LAST_TRY), "{waits:?}");
        assert_eq!((waits[0], waits[11]), (FIRST_TRY, LAST_TRY));
        for failures in 1..12 {
            assert!(wait(failures, 0.0) < wait(failures, 0.5) && wait(failures, 0.5) < wait(failures, 1.0));
            assert!(wait(failures, 1.0) <= wait(failures, 0.0) * 2);
        }
    }
}
