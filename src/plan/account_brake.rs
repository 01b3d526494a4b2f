//! Too many accounts that would lose something at once, because of an edit: those above the limit wait until somebody says that it was meant.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::api::provider::{BrakeLimits, ProviderBrake};

use super::developer::seconds;
use super::settings::BRAKE_WINDOW;

/// At most this many of those who wait are named.
const SAMPLE: usize = 10;

/// Who lost something lately, and who waits to.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Who lost something, when it began.
    lately: VecDeque<(Timestamp, String)>,
    /// Who waits, since when.
    held: BTreeMap<String, Timestamp>,
    /// Who was let through.
    released: BTreeSet<String>,
}

impl Ledger {
    /// Whether somebody may lose something now; if not she waits. `population` counts the accounts that usher keeps there.
    pub fn admits(&mut self, who: &str, limits: BrakeLimits, population: usize, now: Timestamp) -> bool {
        while self.lately.front().is_some_and(|(at, _)| now.duration_since(*at) > BRAKE_WINDOW) {
            self.lately.pop_front();
        }
        let counted = self.lately.iter().any(|(_, name)| name == who);
        if counted || self.released.remove(who) {
            self.held.remove(who);
            return true;
        }
        if self.lately.len() < limit(limits, population) {
            self.held.remove(who);
            self.lately.push_back((now, who.to_owned()));
            return true;
        }
        self.held.entry(who.to_owned()).or_insert(now);
        false
    }

    /// Somebody waits no more: there is nothing to take from her.
    pub fn forget(&mut self, who: &str) {
        self.held.remove(who);
        self.released.remove(who);
    }

    /// Lets those through who wait now, if that digest names exactly them. Returns who they are.
    pub fn release(&mut self, word: &str) -> Vec<String> {
        if self.held.is_empty() || word != self.digest() {
            return Vec::new();
        }
        let freed: Vec<String> = std::mem::take(&mut self.held).into_keys().collect();
        self.released.extend(freed.iter().cloned());
        freed
    }

    /// What is told of those who wait.
    pub fn told(&self, population: usize) -> Option<ProviderBrake> {
        let since = self.held.values().min()?;
        Some(ProviderBrake {
            digest: self.digest(),
            removals: i64::try_from(self.held.len()).unwrap_or(i64::MAX),
            population: i64::try_from(population).unwrap_or(i64::MAX),
            since: seconds(*since),
            sample: self.held.keys().take(SAMPLE).cloned().collect(),
        })
    }

    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for name in self.held.keys() {
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
    }

    #[test]
    fn time_and_size_allow_more() {
        let mut ledger = Ledger::default();
        assert!((0..2).all(|number| ledger.admits(&number.to_string(), LIMITS, 5, at(0))));
        assert!(!ledger.admits("x", LIMITS, 5, at(9)));
        assert!(ledger.admits("x", LIMITS, 5, at(11)), "the window is over");
        assert!(ledger.told(5).is_none());
        assert!((0..10).all(|number| ledger.admits(&format!("y{number}"), LIMITS, 200, at(30))), "a tenth of 200");
    }
}
