//! The four figures: what they follow from is noticed as it happens, and Scorecards tell what came of it, once a minute at most.
//!
//! Nothing is told before everything was looked at since the start: what is the same as before is not written then.

mod card;
mod denials;
mod hands;
mod ledgers;
mod notice;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::api::Developer;
use crate::api::scorecard::TouchpointKind;
use crate::plan::change::Step;
use crate::plan::scorecard;
use crate::plan::scorecard::ledger::{Denial, Ledger, Touch};

use super::context::Context;
use super::queue::{Lane, Queue};

pub use self::card::Scorecards;
pub use self::denials::{Sink, judge};
pub use self::hands::Hands;
pub use self::ledgers::{Ledgers, flush};
pub use self::notice::notice;

/// The one key of each queue.
const ALL: &str = "all";
/// How soon after a change the figures are looked at: one change is seldom alone.
const SOON: Duration = Duration::from_secs(1);
/// The least time between two writes of the ledger.
const LEDGER_GAP: Duration = Duration::from_secs(1);

/// What the four figures follow from, and what was told of them.
#[derive(Debug)]
pub struct Figures {
    /// Looks at the figures.
    pub queue: Queue,
    /// Writes of the ledger.
    pub ledgers: Queue,
    /// What hands are changing.
    pub hands: Hands,
    /// How long what was denied may wait to be written down: one who is denied asks again and again.
    every: Duration,
    kept: Mutex<Kept>,
    /// Held while the ledger is written: what is older never replaces what is newer.
    pen: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    /// What is remembered; nothing before it was read.
    ledger: Option<Ledger>,
    /// What happened before it was read.
    early: Vec<(Happened, Timestamp)>,
    /// How often something was added to it, and how much of that is written down.
    changes: u64,
    written: u64,
    /// Whether all Roles were compared with the clusters since the start.
    compared: bool,
    told: BTreeMap<String, scorecard::Figures>,
}

#[derive(Debug)]
enum Happened {
    Touch(Touch),
    Denial(Denial),
}

/// So much is remembered at most before the ledger was read.
const MOST_EARLY: usize = 100;

impl Kept {
    fn take_in(&mut self, happened: Happened, now: Timestamp) {
        let Some(ledger) = &mut self.ledger else {
            if self.early.len() < MOST_EARLY {
                self.early.push((happened, now));
            }
            return;
        };
        self.changes += 1;
        match happened {
            Happened::Touch(touch) => ledger.touch(touch, now),
            Happened::Denial(denial) => ledger.deny(denial, now),
        }
    }

    /// What is remembered, as it is to be written; and as of which change, if that is not written yet.
    fn for_writing(&mut self, now: Timestamp) -> Option<(Ledger, Option<u64>)> {
        let ledger = self.ledger.as_mut()?;
        let news = (self.changes > self.written).then_some(self.changes);
        if news.is_some() {
            ledger.shrink(now);
        }
        Some((ledger.clone(), news))
    }

    fn read(&mut self, ledger: Ledger) {
        self.ledger = Some(ledger);
        for (happened, at) in std::mem::take(&mut self.early) {
            self.take_in(happened, at);
        }
    }
}

impl Figures {
    /// Nothing noticed yet. `every` is the least time between two writes of a Scorecard.
    pub fn new(every: SignedDuration) -> Self {
        let every = Duration::try_from(every).unwrap_or_default();
        Self {
            queue: Queue::new(every),
            ledgers: Queue::new(LEDGER_GAP),
            hands: Hands::default(),
            every,
            kept: Mutex::default(),
            pen: tokio::sync::Mutex::default(),
        }
    }

    /// Has what is remembered read.
    pub fn begin(&self) {
        self.ledgers.push(ALL, Lane::Sweep);
    }

    /// Something changed from which figures follow. Before everything is known no look is asked for, as the next one would have to wait its time.
    pub fn changed(&self) {
        let kept = self.kept.lock();
        let known = kept.compared && kept.ledger.is_some();
        drop(kept);
        if known {
            self.queue.push_after(ALL, Lane::Sweep, SOON);
        }
    }

    /// All Roles were compared with the clusters.
    pub fn compared(&self) {
        self.kept.lock().compared = true;
        self.changed();
    }

    /// Remembers that something was done by hand.
    pub fn touch(&self, touch: Touch, now: Timestamp) {
        tracing::info!(kind = ?touch.kind, what = touch.what, "done by hand");
        self.kept.lock().take_in(Happened::Touch(touch), now);
        self.ledgers.push_after(ALL, Lane::Sweep, SOON / 2);
        self.changed();
    }

    /// Remembers that a request was denied although a Role allows it.
    pub fn deny(&self, denial: Denial, now: Timestamp) {
        self.kept.lock().take_in(Happened::Denial(denial), now);
        self.ledgers.push_after(ALL, Lane::Sweep, self.every);
        self.changed();
    }

    /// What was last told by each Scorecard.
    pub fn told(&self) -> BTreeMap<String, scorecard::Figures> {
        self.kept.lock().told.clone()
    }
}

/// What a hand did was put back.
pub fn repaired(context: &Context, step: &Step, teams: Vec<String>) {
    let (meta, kind) = (step.change.meta(), step.change.kind());
    let place = meta.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let what = format!("{kind} {place}{} was changed by hand, and put back", meta.name.as_deref().unwrap_or_default());
    context.figures.touch(Touch { kind: TouchpointKind::HandRepair, teams, what }, context.now());
}

/// An account that was as it should be was changed by hand at its system, and put back.
pub fn account_repaired(context: &Context, provider: &str, who: &str) {
    let teams = context.memory.read(|content, _| content.world.teams_of(who).to_vec());
    let what = format!("the account of dev/{who} at uprov/{provider} was changed by hand, and put back");
    context.figures.touch(Touch { kind: TouchpointKind::HandRepair, teams, what }, context.now());
}

/// Whether a Developer tells something else than before.
fn differs(old: Option<&Developer>, new: Option<&Developer>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return true };
    old.spec != new.spec || old.status != new.status || old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_before_the_ledger_was_read_is_added_to_what_is_in_it() {
        let (now, window) = (Timestamp::UNIX_EPOCH, SignedDuration::from_hours(24));
        let touch = || Touch { kind: TouchpointKind::Waiver, teams: Vec::new(), what: "something".to_owned() };
        let (mut kept, mut before) = (Kept::default(), Ledger::default());
        before.touch(touch(), now);
        kept.take_in(Happened::Touch(touch()), now);
        assert!(kept.for_writing(now).is_none(), "there is nothing to write yet that would not lose what was there");
        kept.read(before);
        assert_eq!(kept.ledger.as_ref().map(|ledger| ledger.counts(None, window, now).waiver), Some(2));
        let (ledger, news) = kept.for_writing(now).expect("it was read");
        assert_eq!((ledger.counts(None, window, now).waiver, news), (2, Some(1)), "what is told is what is written");
        assert!(kept.for_writing(now).is_some_and(|(_, news)| news.is_some()), "a write that is given up is made by the next one");
        kept.take_in(Happened::Touch(touch()), now);
        kept.written = 1;
        assert!(kept.for_writing(now).is_some_and(|(_, news)| news == Some(2)), "it came while that was written");
        kept.written = 2;
        assert!(kept.for_writing(now).is_some_and(|(_, news)| news.is_none()));
    }
}
