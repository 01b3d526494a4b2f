//! Too many accounts, or people of a Source, that would lose something at once: those above the limit wait until somebody says that it was meant.

use std::collections::{BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::api::provider::{BrakeLimits, ProviderBrake, RecentRemovals};

use super::developer::seconds;
use super::settings::BRAKE_WINDOW;

/// At most this many of those who wait are named.
const SAMPLE: usize = 10;
/// At most this many of those who were let through are remembered over a restart.
const KEPT: usize = 500;

/// Who lost something lately, and who waits to. Who waits does so until a word is said, however long that takes.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Who lost something, when it began.
    lately: VecDeque<(Timestamp, String)>,
    /// Who waits.
    held: BTreeSet<String>,
    /// Since when somebody waits: another batch of the same people is another one.
    since: Option<Timestamp>,
    /// Since when the last batch waited. Times are told in whole seconds, and the next one is given another.
    last: Option<Timestamp>,
    /// Who was let through.
    released: BTreeSet<String>,
    /// Until then everybody waits: something was held before a restart, and who lost something then is not known any more.
    closed_until: Option<Timestamp>,
    /// What is remembered over a restart: how many lost something lately, rounded up so that not each of them is a write, and when that was.
    count: usize,
    counted_at: Option<Timestamp>,
    /// And who was let through, as long as one of them is not done.
    kept: Vec<String>,
    /// What was told before a restart of those who wait, until everybody was looked at.
    before: Option<ProviderBrake>,
}

impl Ledger {
    /// A ledger that goes on after a restart, given what was told of those who waited, and what was remembered.
    pub fn resumed(told: Option<&ProviderBrake>, remembered: Option<&RecentRemovals>, now: Timestamp) -> Self {
        let mut ledger = Self::default();
        if let Some(told) = told {
            ledger.before = Some(told.clone());
            ledger.since = Some(told.since.parse().unwrap_or(now));
            ledger.last = ledger.since;
            ledger.closed_until = now.checked_add(BRAKE_WINDOW).ok();
        }
        if let Some(remembered) = remembered {
            ledger.kept.clone_from(&remembered.let_through);
            ledger.released = remembered.let_through.iter().cloned().collect();
            ledger.count = usize::try_from(remembered.lately).unwrap_or_default();
            ledger.counted_at = remembered.as_of.parse().ok();
            // Nobody knows any more who they were, nor when exactly.
            let latest = ledger.counted_at.and_then(|at| at.checked_add(BRAKE_WINDOW / 2).ok()).map(|at| at.min(now));
            ledger.lately.extend(latest.iter().flat_map(|at| std::iter::repeat_n((*at, String::new()), ledger.count)));
        }
        ledger
    }

    /// What must be known after a restart.
    pub fn remembered(&self) -> Option<RecentRemovals> {
        (self.counted_at.is_some() || !self.kept.is_empty()).then(|| RecentRemovals {
            lately: i64::try_from(self.count).unwrap_or(i64::MAX),
            as_of: self.counted_at.map(seconds).unwrap_or_default(),
            let_through: self.kept.clone(),
        })
    }

    fn count(&mut self, who: &str, now: Timestamp) {
        self.lately.push_back((now, who.to_owned()));
        let old = self.counted_at.is_none_or(|at| now.duration_since(at) > BRAKE_WINDOW / 2);
        if old || self.lately.len() > self.count {
            // What was rounded up before a restart is not rounded up again: many restarts would make few into many.
            let resumed = self.lately.iter().filter(|(_, name)| name.is_empty()).count();
            (self.count, self.counted_at) = (resumed + (self.lately.len() - resumed).next_power_of_two(), Some(now));
        }
    }

    /// Whether somebody may lose something now; if not she waits. `population` counts the accounts that usher keeps there.
    pub fn admits(&mut self, who: &str, limits: BrakeLimits, population: usize, now: Timestamp) -> bool {
        self.pass_time(now);
        if self.is_settled(who) {
            return true;
        }
        let open = self.is_open(now);
        if open && !self.held.contains(who) && self.lately.len() < limit(limits, population) {
            self.count(who, now);
            return true;
        }
        self.hold(who, open, now);
        false
    }

    /// Whether all of these may lose something now; if not all of them wait who were not let through before, and whoever waited and is none of them waits no
    /// more. `keeps` are others for whom a word that was said still counts.
    pub fn admits_all(
        &mut self,
        (who, keeps): (&BTreeSet<String>, &BTreeSet<String>),
        limits: BrakeLimits,
        population: usize,
        now: Timestamp,
    ) -> bool {
        self.pass_time(now);
        let known = self.held.iter().chain(&self.released);
        let over: Vec<String> = known.filter(|name| !who.contains(*name) && !keeps.contains(*name)).cloned().collect();
        over.iter().for_each(|name| self.forget(name));
        // Who is kept has nothing to wait for now.
        self.held.retain(|name| who.contains(name));
        let new: Vec<&String> = who.iter().filter(|name| !self.is_settled(name)).collect();
        let open = self.is_open(now);
        if open && self.held.is_empty() && self.lately.len() + new.len() <= limit(limits, population) {
            new.iter().for_each(|name| self.count(name, now));
            return true;
        }
        new.iter().for_each(|name| self.hold(name, open, now));
        new.is_empty()
    }

    fn pass_time(&mut self, now: Timestamp) {
        while self.lately.front().is_some_and(|(at, _)| now.duration_since(*at) > BRAKE_WINDOW) {
            self.lately.pop_front();
        }
    }

    /// Whether somebody was counted or let through already, until it is done: what fails at first is still meant.
    fn is_settled(&self, who: &str) -> bool {
        let counted = || self.lately.iter().any(|(_, name)| name == who);
        self.released.contains(who) || !self.held.contains(who) && counted()
    }

    fn is_open(&self, now: Timestamp) -> bool {
        self.closed_until.is_none_or(|until| until <= now)
    }

    fn hold(&mut self, who: &str, open: bool, now: Timestamp) {
        if self.held.is_empty() && open {
            self.since = None;
        }
        if self.since.is_none() {
            let after = self.last.and_then(|last| last.checked_add(SignedDuration::from_secs(1)).ok());
            self.since = after.map_or(Some(now), |after| Some(after.max(now)));
            self.last = self.since;
        }
        self.held.insert(who.to_owned());
    }

    /// Somebody waits no more: there is nothing to take from her.
    pub fn forget(&mut self, who: &str) {
        if self.released.remove(who) && self.released.is_empty() {
            self.kept.clear();
        }
        if self.held.remove(who) && self.held.is_empty() {
            self.since = None;
        }
    }

    /// Lets those through who wait now, if that digest names exactly them. Returns who they are.
    pub fn release(&mut self, word: &str) -> Vec<String> {
        if self.held.is_empty() || word != self.digest() {
            return Vec::new();
        }
        let freed: Vec<String> = std::mem::take(&mut self.held).into_iter().collect();
        self.released.extend(freed.iter().cloned());
        self.kept = self.released.iter().take(KEPT).cloned().collect();
        (self.since, self.closed_until, self.before) = (None, None, None);
        freed
    }

    /// Everybody was looked at, so that it is known who waits.
    pub fn looked(&mut self) {
        self.before = None;
    }

    /// What is told of those who wait. A restart changes nothing.
    pub fn told(&self, population: usize) -> Option<ProviderBrake> {
        if self.before.is_some() {
            return self.before.clone();
        }
        let since = self.since.filter(|_| !self.held.is_empty())?;
        Some(ProviderBrake {
            digest: self.digest(),
            removals: i64::try_from(self.held.len()).unwrap_or(i64::MAX),
            population: i64::try_from(population).unwrap_or(i64::MAX),
            since: seconds(since),
            sample: self.held.iter().take(SAMPLE).cloned().collect(),
        })
    }

    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        // With its time: the word for one batch is none for the same people another day.
        hash.update(self.since.map(seconds).unwrap_or_default().as_bytes());
        hash.update(b"\n");
        for name in &self.held {
            hash.update(name.as_bytes());
            hash.update(b"\n");
        }
        format!("sha256:{}", data_encoding::HEXLOWER.encode(&hash.finalize()))
    }
}

/// How many may lose something within the window.
fn limit(limits: BrakeLimits, population: usize) -> usize {
    let percent = usize::try_from(limits.max_percent).unwrap_or_default();
    usize::try_from(limits.max_removals).unwrap_or_default().max(population * percent / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BrakeLimits = BrakeLimits { max_removals: 2, max_percent: 10 };

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).expect("in range")
    }

    #[test]
    fn what_is_above_the_limit_waits_until_exactly_it_is_released() {
        let mut ledger = Ledger::default();
        let answers: Vec<bool> = ["a", "b", "c", "d"].iter().map(|who| ledger.admits(who, LIMITS, 5, at(0))).collect();
        assert_eq!(answers, [true, true, false, false]);
        assert!(ledger.admits("a", LIMITS, 5, at(1)), "who was counted is not counted again");
        let told = ledger.told(5).expect("braked");
        assert_eq!((told.removals, told.sample.as_slice()), (2, ["c".to_owned(), "d".to_owned()].as_slice()));
        assert!(!ledger.admits("e", LIMITS, 5, at(2)));
        assert_eq!(ledger.release(&told.digest), Vec::<String>::new(), "another batch by now");
        let told = ledger.told(5).expect("braked");
        assert_eq!(ledger.release(&told.digest), ["c", "d", "e"]);
        assert!(ledger.admits("c", LIMITS, 5, at(3)) && !ledger.admits("f", LIMITS, 5, at(3)));
        assert!(ledger.admits("c", LIMITS, 5, at(4)), "what failed at first is still meant");
        ledger.forget("c");
        assert!(!ledger.admits("c", LIMITS, 5, at(4)), "but no later edit");
    }

    #[test]
    fn the_word_for_one_batch_is_none_for_the_same_people_later() {
        let mut ledger = Ledger::default();
        let mut held = |minute| {
            let admitted = ["a", "b", "c", "d"].iter().filter(|who| ledger.admits(who, LIMITS, 5, at(minute))).count();
            assert_eq!(admitted, 2);
            let word = ledger.told(5).expect("braked").digest;
            let freed = ledger.release(&word);
            ["a", "b", "c", "d"].iter().for_each(|who| ledger.forget(who));
            assert_eq!(freed, ["c", "d"]);
            word
        };
        let words = [held(0), held(0), held(60)];
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), 3, "not even within a second: {words:?}");
    }

    #[test]
    fn who_waits_goes_on_waiting_over_time_and_over_a_restart() {
        let mut ledger = Ledger::default();
        assert!(ledger.admits("a", LIMITS, 5, at(0)) && ledger.admits("b", LIMITS, 5, at(0)) && !ledger.admits("c", LIMITS, 5, at(0)));
        assert!(!ledger.admits("c", LIMITS, 5, at(500)), "time alone is no word");
        let told = ledger.told(5);
        let mut resumed = Ledger::resumed(told.as_ref(), ledger.remembered().as_ref(), at(501));
        assert_eq!(resumed.told(0), told, "whoever was found so far");
        assert!(!resumed.admits("c", LIMITS, 5, at(501)));
        resumed.looked();
        assert_eq!(resumed.told(5), told, "and the word for it is the same");
        assert_eq!(resumed.release(&told.clone().expect("braked").digest), ["c"]);
        assert!(resumed.admits("c", LIMITS, 5, at(502)) && resumed.admits("d", LIMITS, 5, at(502)));
        let mut reverted = Ledger::resumed(told.as_ref(), ledger.remembered().as_ref(), at(501));
        reverted.looked();
        assert!(reverted.told(5).is_none(), "nobody waits any more");
    }

    #[test]
    fn a_word_outlasts_a_restart_until_all_are_done() {
        let mut ledger = Ledger::default();
        let held = ["a", "b", "c", "d", "e"].iter().filter(|who| !ledger.admits(who, LIMITS, 5, at(0))).count();
        assert_eq!(held, 3);
        let word = ledger.told(5).expect("braked").digest;
        assert_eq!(ledger.release(&word), ["c", "d", "e"]);
        ledger.forget("c");
        assert!(ledger.told(5).is_none(), "nobody waits, so nothing else tells of it");
        let mut resumed = Ledger::resumed(None, ledger.remembered().as_ref(), at(1));
        assert_eq!(resumed.remembered(), ledger.remembered(), "a restart writes nothing");
        // What was done is seen to be done.
        resumed.forget("c");
        assert!(resumed.admits("d", LIMITS, 5, at(1)) && resumed.admits("e", LIMITS, 5, at(1)));
        assert!(!resumed.admits("c", LIMITS, 5, at(1)) && !resumed.admits("f", LIMITS, 5, at(1)));
        resumed.forget("d");
        resumed.forget("e");
        assert!(resumed.remembered().is_none_or(|it| it.let_through.is_empty()));
    }

    #[test]
    fn a_restart_is_no_fresh_allowance() {
        let limits = BrakeLimits { max_removals: 4, max_percent: 0 };
        for used in 0..=4 {
            for minute in [1, 4, 9] {
                let mut ledger = Ledger::default();
                let mut written = BTreeSet::new();
                for number in 0..used {
                    assert!(ledger.admits(&number.to_string(), limits, 0, at(number * minute / 4)));
                    written.insert(ledger.remembered().map(|it| (it.lately, it.as_of)));
                }
                assert!(written.len() <= 4, "{written:?}");
                let mut resumed = Ledger::resumed(None, ledger.remembered().as_ref(), at(minute));
                let more = (0..9).filter(|number| resumed.admits(&format!("x{number}"), limits, 0, at(minute))).count();
                assert!(more <= 4 - usize::try_from(used).expect("small"), "{more} after {used} within {minute} minutes");
                let mut later = Ledger::resumed(None, ledger.remembered().as_ref(), at(minute + 16));
                assert!(later.admits("y", limits, 0, at(minute + 16)), "that is over");
            }
        }
    }

    #[test]
    fn many_restarts_do_not_make_few_into_many() {
        let limits = BrakeLimits { max_removals: 40, max_percent: 0 };
        let mut ledger = Ledger::default();
        for number in 0..20 {
            assert!(ledger.admits(&number.to_string(), limits, 0, at(0)), "{number} of 40: {:?}", ledger.remembered());
            ledger = Ledger::resumed(None, ledger.remembered().as_ref(), at(0));
        }
    }

    #[test]
    fn of_a_batch_all_go_or_nobody_does() {
        let batch = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let (few, many, nobody) = (batch(&["a", "b"]), batch(&["c", "d", "e"]), batch(&[]));
        let mut ledger = Ledger::default();
        assert!(
            ledger.admits_all((&few, &nobody), LIMITS, 5, at(0)) && ledger.admits_all((&few, &nobody), LIMITS, 5, at(1)),
            "counted once"
        );
        assert!(!ledger.admits_all((&batch(&["c"]), &nobody), LIMITS, 5, at(2)), "two were counted lately");
        assert!(ledger.admits_all((&nobody, &nobody), LIMITS, 5, at(3)) && ledger.told(5).is_none(), "nobody would lose anything any more");
        assert!(!ledger.admits_all((&many, &nobody), LIMITS, 5, at(60)) && !ledger.admits_all((&many, &nobody), LIMITS, 5, at(600)));
        let told = ledger.told(5).expect("braked");
        assert_eq!((told.removals, ledger.release(&told.digest).len()), (3, 3));
        assert!(ledger.admits_all((&many, &nobody), LIMITS, 5, at(601)));
        assert!(
            ledger.admits_all((&nobody, &many), LIMITS, 5, at(602)) && ledger.admits_all((&many, &many), LIMITS, 5, at(3000)),
            "they are kept"
        );
        assert!(ledger.admits_all((&nobody, &nobody), LIMITS, 5, at(3001)) && !ledger.admits_all((&many, &nobody), LIMITS, 5, at(3002)));
        let mut resumed = Ledger::resumed(ledger.told(5).as_ref(), ledger.remembered().as_ref(), at(3003));
        assert!(!resumed.admits_all((&batch(&["c"]), &nobody), LIMITS, 5, at(3003)), "a restart is no word");
    }

    #[test]
    fn time_and_size_allow_more() {
        let mut ledger = Ledger::default();
        assert!((0..2).all(|number| ledger.admits(&number.to_string(), LIMITS, 5, at(0))));
        assert!(!ledger.admits("x", LIMITS, 5, at(9)));
        ledger.forget("x");
        assert!(ledger.told(5).is_none());
        assert!(ledger.admits("x", LIMITS, 5, at(11)), "the window is over");
        assert!((0..10).all(|number| ledger.admits(&format!("y{number}"), LIMITS, 200, at(30))), "a tenth of 200");
    }
}
