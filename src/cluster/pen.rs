//! Who may write, and whose turn it is: only while this replica leads, only so many at once, and the more urgent first.
//!
//! An API server that is busy answers everybody late. So few requests are under way at once, and when one is answered the most urgent goes next: somebody who
//! leaves waits for one answer at most, not for all that was asked before her, and there is room for her beside the others. How many are under way follows what
//! the API server says of itself: fewer when it says that there are too many
//! (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>), more again while it does not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use kube::Resource;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::plan::lane::{LANES, Lane};
use crate::telemetry::metrics::Metrics;

use super::error::{Error, too_many};
use super::leader::Mandate;

/// How many writes are under way at once: at first and at most, and at least.
const MOST: usize = 16;
const LEAST: usize = 2;
/// So many answers without a complaint allow one more.
const CALM: usize = 64;
/// The complaints of so long are one.
const ONE_COMPLAINT: Duration = Duration::from_secs(1);
/// Others wait so long for an answer about who leaves: it may hang.
const SLOW: Duration = Duration::from_millis(500);
/// So long a pass that began with somebody's leaving goes on with other work, while the next one waits.
const OTHER_WORK: Duration = Duration::from_millis(50);
/// Each so many turns one goes to whoever has waited longest, however urgent the others are: nobody starves.
const OLDEST_EVERY: u64 = 8;

tokio::task_local! {
    static URGENCY: Arc<Urgency>;
}

/// How urgent the work of a task is, and whether it should make way for something more urgent about the same object.
#[derive(Debug)]
pub struct Urgency {
    lane: AtomicU8,
    makes_way: AtomicBool,
    /// How urgent it is but for who leaves.
    otherwise: Lane,
    /// Whether it is about somebody's leaving, and since when it goes on with other work.
    leaving: AtomicBool,
    eased: Mutex<Option<Instant>>,
    /// Told when it is to make way.
    told: Notify,
}

impl Urgency {
    /// The urgency of a pass.
    pub fn new(lane: Lane) -> Arc<Self> {
        let (otherwise, leaving) = (lane.max(Lane::Expiry), AtomicBool::new(lane == Lane::Departure));
        Arc::new(Self {
            lane: AtomicU8::new(lane as u8),
            makes_way: AtomicBool::new(false),
            otherwise,
            leaving,
            eased: Mutex::default(),
            told: Notify::new(),
        })
    }

    /// Lets the writes of a task be as urgent as this.
    pub async fn during<T>(self: Arc<Self>, work: impl Future<Output = T>) -> T {
        URGENCY.scope(self, work).await
    }

    /// From now on it is as urgent as a lane at least.
    pub fn raise(&self, lane: Lane) {
        self.lane.fetch_min(lane as u8, Ordering::SeqCst);
    }

    /// From now on a pass takes from somebody who leaves, however it began: nothing is as urgent, and it makes way for nobody.
    pub fn leave() {
        // Outside of a pass nothing is urgent.
        let _ = URGENCY.try_with(|urgency| {
            *urgency.eased.lock() = None;
            urgency.leaving.store(true, Ordering::SeqCst);
            urgency.lane.store(Lane::Departure as u8, Ordering::SeqCst);
        });
    }

    /// Whoever leaves has lost what this pass takes from her: what is left of it is no more urgent than what expires.
    pub fn ease() {
        let _ = URGENCY.try_with(|urgency| {
            if urgency.leaving.load(Ordering::SeqCst) {
                urgency.lane.store(urgency.otherwise as u8, Ordering::SeqCst);
                urgency.eased.lock().get_or_insert_with(Instant::now);
            }
        });
    }

    /// Nothing more is written for it but for who leaves. Where people leave one after another there is a little time for other work after each.
    pub fn make_way(&self) {
        self.makes_way.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    /// Waits for something that is no write, unless the work is to make way meanwhile.
    ///
    /// # Errors
    /// When it makes way.
    pub async fn unless_it_makes_way<T>(something: impl Future<Output = T>) -> Result<T, Error> {
        // Outside of a pass nothing makes way.
        let Ok(urgency) = URGENCY.try_with(Clone::clone) else { return Ok(something.await) };
        tokio::select! {
            biased;
            done = something => Ok(done),
            () = urgency.made_way() => Err(Error::MadeWay),
        }
    }

    async fn made_way(&self) {
        loop {
            let told = self.told.notified();
            if self.makes_way() {
                return;
            }
            let soon = self.eased.lock().filter(|_| self.makes_way.load(Ordering::SeqCst)).map(|since| since + OTHER_WORK);
            match soon {
                Some(soon) => sleep_until(soon).await,
                None => told.await,
            }
        }
    }

    /// Whether it makes way.
    pub fn makes_way(&self) -> bool {
        let other_work = match *self.eased.lock() {
            Some(since) => since.elapsed() >= OTHER_WORK,
            None => !self.leaving.load(Ordering::SeqCst),
        };
        other_work && self.makes_way.load(Ordering::SeqCst)
    }

    fn lane(&self) -> Lane {
        LANES.get(usize::from(self.lane.load(Ordering::SeqCst))).copied().unwrap_or(Lane::Sweep)
    }
}

/// What every write needs. All that write to one cluster share one.
#[derive(Clone, Debug)]
pub struct Pen {
    mandate: Mandate,
    desk: Arc<Desk>,
    metrics: Arc<Metrics>,
}

impl Pen {
    /// One for a replica with a mandate.
    pub fn new(mandate: Mandate, metrics: Arc<Metrics>) -> Self {
        Self { mandate, desk: Arc::default(), metrics }
    }

    /// Refuses once this replica may not write any more.
    pub fn may(&self) -> Result<(), Error> {
        self.mandate.check()
    }

    /// Sends a write when it is its turn, and counts it by kind and verb.
    ///
    /// # Errors
    /// When this replica may not write any more, or the work makes way for something more urgent. What the API server says is the value.
    pub async fn write<K: Resource<DynamicType = ()>, T>(
        &self,
        verb: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<kube::Result<T>, Error> {
        let urgency = URGENCY.try_with(Clone::clone).ok();
        // What is written outside of a pass is somebody's command, or what a pass waits for.
        let _turn = Urgency::unless_it_makes_way(self.desk.turn(urgency.as_ref().map_or(Lane::New, |urgency| urgency.lane()))).await?;
        if urgency.is_some_and(|urgency| urgency.makes_way()) {
            return Err(Error::MadeWay);
        }
        // It may have waited: what counts is whether it still may.
        self.mandate.check()?;
        let answer = request.await;
        self.desk.answered(answer.as_ref().is_err_and(too_many));
        if answer.is_ok() {
            self.metrics.wrote(&K::kind(&()), verb);
        }
        Ok(answer)
    }
}

/// Where writes wait for their turn.
#[derive(Debug, Default)]
struct Desk {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many may be under way.
    limit: usize,
    under_way: usize,
    /// How many of those are of people who leave, and when the last of them began.
    leaving: usize,
    left: Option<Instant>,
    /// By lane and arrival.
    waiting: BTreeMap<(Lane, u64), oneshot::Sender<Turn>>,
    arrivals: u64,
    turns: u64,
    /// Answers without a complaint.
    calm: usize,
    complained: Option<Instant>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            limit: MOST,
            under_way: 0,
            leaving: 0,
            left: None,
            waiting: BTreeMap::new(),
            arrivals: 0,
            turns: 0,
            calm: 0,
            complained: None,
        }
    }
}

/// A write under way. The next has its turn when this is dropped.
#[derive(Debug)]
struct Turn {
    desk: Arc<Desk>,
    lane: Lane,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.desk.state.lock().ended(self.lane);
        self.desk.call();
    }
}

impl Desk {
    async fn turn(self: &Arc<Self>, lane: Lane) -> Turn {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state.lock();
            state.arrivals += 1;
            let place = (lane, state.arrivals);
            state.waiting.insert(place, sender);
        }
        self.call();
        match receiver.await {
            Ok(turn) => turn,
            // Nobody takes a place away; but if so, going on is better than waiting for ever.
            Err(_) => {
                self.state.lock().begun(lane);
                Turn { desk: self.clone(), lane }
            }
        }
    }

    /// Calls whoever is next, as long as there is room.
    fn call(self: &Arc<Self>) {
        loop {
            let (lane, sender) = {
                let mut state = self.state.lock();
                let Some((lane, sender)) = state.next() else { return };
                state.begun(lane);
                (lane, sender)
            };
            // Who waits no more gives the turn back by dropping it, which calls the next.
            drop(sender.send(Turn { desk: self.clone(), lane }));
        }
    }

    /// Takes in how the API server does.
    fn answered(&self, complains: bool) {
        self.state.lock().answered(complains, Instant::now());
    }
}

impl State {
    /// Whose turn it is, if there is room.
    fn next(&mut self) -> Option<(Lane, oneshot::Sender<Turn>)> {
        let number = self.turns + 1;
        let urgent = self.waiting.keys().next().copied()?;
        if !self.room(urgent.0) {
            return None;
        }
        let oldest = || self.waiting.keys().min_by_key(|(_, arrival)| *arrival).copied();
        let place = if number.is_multiple_of(OLDEST_EVERY) { oldest()? } else { urgent };
        self.turns = number;
        Some((place.0, self.waiting.remove(&place)?))
    }

    /// For who leaves there is as much room again as for others, and while she does few others begin: what the API server does for them it does not for her.
    fn room(&self, lane: Lane) -> bool {
        match lane {
            Lane::Departure => self.under_way < self.limit * 2,
            _ if self.leaving > 0 && self.left.is_some_and(|since| since.elapsed() < SLOW) => self.under_way - self.leaving < LEAST,
            _ => self.under_way < self.limit,
        }
    }

    fn begun(&mut self, lane: Lane) {
        self.under_way += 1;
        if lane == Lane::Departure {
            self.leaving += 1;
            self.left = Some(Instant::now());
        }
    }

    fn ended(&mut self, lane: Lane) {
        self.under_way -= 1;
        self.leaving -= usize::from(lane == Lane::Departure);
    }

    fn answered(&mut self, complains: bool, now: Instant) {
        if complains {
            self.calm = 0;
            if self.complained.is_none_or(|since| now.duration_since(since) >= ONE_COMPLAINT) {
                self.complained = Some(now);
                self.limit = (self.limit / 2).max(LEAST);
            }
            return;
        }
        self.calm += 1;
        if self.calm >= CALM {
            self.calm = 0;
            self.limit = (self.limit + 1).min(MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;

    use super::*;

    async fn waits(desk: &Arc<Desk>, lane: Lane) -> tokio::task::JoinHandle<Turn> {
        let desk = desk.clone();
        let task = tokio::spawn(async move { desk.turn(lane).await });
        tokio::task::yield_now().await;
        task
    }

    /// A desk at which all of so many places are taken, and those who have them.
    async fn busy(limit: usize) -> (Arc<Desk>, Vec<Turn>) {
        let desk = Arc::new(Desk::default());
        desk.state.lock().limit = limit;
        let mut turns = Vec::new();
        for _ in 0..limit {
            turns.push(desk.turn(Lane::New).await);
        }
        (desk, turns)
    }

    #[tokio::test]
    async fn who_leaves_goes_before_who_came_earlier() {
        let (desk, mut turns) = busy(2).await;
        let new = waits(&desk, Lane::New).await;
        for _ in 0..2 {
            turns.push(waits(&desk, Lane::Departure).await.await.expect("there is room beside the others"));
        }
        let leaver = waits(&desk, Lane::Departure).await;
        assert!(!new.is_finished() && !leaver.is_finished(), "all places are taken");
        turns.pop();
        let leaver = leaver.await.expect("her turn");
        turns.truncate(2);
        drop(leaver);
        tokio::task::yield_now().await;
        assert!(!new.is_finished(), "there is no room for others where she was");
        turns.pop();
        new.await.expect("then the other");
    }

    #[tokio::test]
    async fn while_somebody_leaves_few_others_begin() {
        let desk = Arc::new(Desk::default());
        let leaver = desk.turn(Lane::Departure).await;
        let mut others = Vec::new();
        for _ in 0..=LEAST {
            others.push(waits(&desk, Lane::New).await);
        }
        assert_eq!(others.iter().filter(|other| other.is_finished()).count(), LEAST);
        drop(leaver);
        tokio::task::yield_now().await;
        assert!(others.iter().all(tokio::task::JoinHandle::is_finished), "all, when she has left");
    }

    #[tokio::test]
    async fn nobody_starves() {
        let (desk, _turns) = busy(MOST).await;
        let sweep = waits(&desk, Lane::Sweep).await;
        let mut leavers = Vec::new();
        for _ in 0..OLDEST_EVERY {
            leavers.push(waits(&desk, Lane::Departure).await);
        }
        sweep.await.expect("it had its turn among leavers, though there was room for them only");
    }

    #[tokio::test]
    async fn who_waits_no_more_takes_nobodys_place() {
        let (desk, mut turns) = busy(MOST).await;
        let gone = waits(&desk, Lane::Expiry).await;
        let other = waits(&desk, Lane::New).await;
        gone.abort();
        turns.pop();
        other.await.expect("the place was free");
        turns.clear();
        tokio::task::yield_now().await;
        assert_eq!(desk.state.lock().under_way, 0);
    }

    #[test]
    fn complaints_halve_what_is_under_way_and_calm_brings_it_back() {
        let (mut state, start) = (State::default(), Instant::now());
        state.answered(true, start);
        state.answered(true, start + ONE_COMPLAINT / 2);
        assert_eq!(state.limit, MOST / 2, "complaints at once are one");
        (1..10).for_each(|times| state.answered(true, start + ONE_COMPLAINT * times));
        assert_eq!(state.limit, LEAST);
        (0..CALM).for_each(|_| state.answered(false, start));
        assert_eq!(state.limit, LEAST + 1);
        (0..CALM * MOST).for_each(|_| state.answered(false, start));
        assert_eq!(state.limit, MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn what_follows_a_leaving_is_less_urgent_and_makes_way_a_little_later() {
        let (leaving, drift) = (Urgency::new(Lane::Departure), Urgency::new(Lane::Drift));
        leaving.make_way();
        assert!(!leaving.makes_way(), "that is what it is about");
        leaving.clone().during(async { Urgency::ease() }).await;
        assert_eq!(leaving.lane(), Lane::Expiry);
        assert!(!leaving.makes_way(), "or nothing would ever be added while one after another leaves");
        tokio::time::advance(OTHER_WORK).await;
        assert!(leaving.makes_way());
        drift.clone().during(async { Urgency::ease() }).await;
        assert_eq!(drift.lane(), Lane::Drift);
        drift.make_way();
        assert!(drift.makes_way());
    }

    #[tokio::test]
    async fn what_makes_way_waits_for_no_turn() {
        let pen = Pen::new(Mandate::default(), Arc::default());
        let mut turns = Vec::new();
        for _ in 0..MOST {
            turns.push(pen.desk.turn(Lane::New).await);
        }
        let urgency = Urgency::new(Lane::New);
        let write = urgency.clone().during(async { pen.write::<Namespace, _>("create", async { kube::Result::Ok(()) }).await });
        let make_way = async {
            tokio::task::yield_now().await;
            urgency.make_way();
        };
        let (answer, ()) = tokio::join!(write, make_way);
        assert!(matches!(answer, Err(Error::MadeWay)), "{answer:?}");
        turns.clear();
        assert_eq!(pen.desk.state.lock().under_way, 0, "nobody holds a turn that she does not use");
    }

    #[tokio::test]
    async fn what_makes_way_writes_nothing_more() {
        let pen = Pen::new(Mandate::default(), Arc::default());
        let urgency = Urgency::new(Lane::New);
        urgency.make_way();
        let answer = urgency.during(pen.write::<Namespace, _>("create", async { kube::Result::Ok(()) })).await;
        assert!(matches!(answer, Err(Error::MadeWay)), "{answer:?}");
        let answer = pen.write::<Namespace, _>("create", async { kube::Result::Ok(()) }).await;
        assert!(matches!(answer, Err(Error::NotLeading)), "{answer:?}");
    }
}
