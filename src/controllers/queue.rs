//! Objects that wait for a pass: each at most once, at most one pass at a time, the more urgent first.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::cluster::pen::Urgency;
use crate::plan::cluster::ClusterKey;
pub use crate::plan::lane::{LANES, Lane};

#[derive(Debug, Default)]
struct Inner {
    /// Waiting now: by lane and arrival.
    ready: BTreeMap<(Lane, u64), (String, Instant)>,
    /// Where each waiting key stands.
    places: HashMap<String, (Lane, u64)>,
    /// Waiting for a time.
    later: BTreeSet<(Instant, String)>,
    times: HashMap<String, (Instant, Lane)>,
    /// Each with how urgent its pass is.
    running: HashMap<String, Arc<Urgency>>,
    /// Asked for while running.
    again: HashMap<String, Lane>,
    not_before: HashMap<String, Instant>,
    /// Waiting for no burst to be over.
    prompt: HashSet<String>,
    arrivals: u64,
    /// Whether a pass stops writing as soon as somebody's leaving asks for another.
    yields: bool,
}

/// A queue of names.
#[derive(Clone, Debug)]
pub struct Queue {
    inner: Arc<Mutex<Inner>>,
    wake: Arc<Notify>,
    /// The least time between the starts of two passes over one object: bursts become one.
    gap: Duration,
    /// Those of other clusters, which are asked for the same.
    followers: Arc<Mutex<BTreeMap<ClusterKey, Queue>>>,
}

impl Queue {
    /// An empty queue. `gap` is the least time between the starts of two passes over one object.
    pub fn new(gap: Duration) -> Self {
        Self { inner: Arc::default(), wake: Arc::default(), gap, followers: Arc::default() }
    }

    /// The same; a pass that is not about somebody's leaving makes way as soon as one is asked for that is. It is for objects of many people.
    pub fn yielding(gap: Duration) -> Self {
        let queue = Self::new(gap);
        queue.inner.lock().yields = true;
        queue
    }

    /// From now on whoever asks for a pass here asks for one there, too.
    pub fn follow(&self, cluster: &ClusterKey, follower: &Self) {
        self.followers.lock().insert(cluster.clone(), follower.clone());
    }

    /// That is over.
    pub fn unfollow(&self, cluster: &ClusterKey) {
        self.followers.lock().remove(cluster);
    }

    /// Asks for a pass, as soon as possible, in every cluster.
    pub fn push(&self, key: &str, lane: Lane) {
        self.push_here(key, lane);
        self.followers.lock().values().for_each(|follower| follower.push_here(key, lane));
    }

    /// Asks for a pass, as soon as possible, in this queue's cluster only.
    pub fn push_here(&self, key: &str, lane: Lane) {
        self.inner.lock().push(key, lane, Instant::now());
        self.wake.notify_one();
    }

    /// Asks for a pass that waits for no burst to be over, in every cluster: somebody changed the object itself.
    pub fn push_promptly(&self, key: &str, lane: Lane) {
        self.push_promptly_here(key, lane);
        self.followers.lock().values().for_each(|follower| follower.push_promptly_here(key, lane));
    }

    fn push_promptly_here(&self, key: &str, lane: Lane) {
        let mut inner = self.inner.lock();
        inner.prompt.insert(key.to_owned());
        inner.push(key, lane, Instant::now());
        drop(inner);
        self.wake.notify_one();
    }

    /// Lets a burst of changes of an object last for so long from now on. What costs much is done less often.
    pub fn rest(&self, key: &str, time: Duration) {
        let (mut inner, until) = (self.inner.lock(), Instant::now() + time);
        let at = inner.not_before.entry(key.to_owned()).or_insert(until);
        *at = until.max(*at);
    }

    /// Asks for a pass at a time, unless one is due sooner.
    pub fn push_after(&self, key: &str, lane: Lane, delay: Duration) {
        self.inner.lock().delay(key, lane, Instant::now() + delay);
        self.wake.notify_one();
    }

    /// How urgent the pass over a name is that runs now. Who asks for a more urgent one meanwhile raises it.
    pub fn urgency(&self, key: &str) -> Option<Arc<Urgency>> {
        self.inner.lock().running.get(key).cloned()
    }

    /// Takes the most urgent name, when there is one. [`Self::done`] must follow.
    pub async fn next(&self) -> (String, Lane) {
        loop {
            let (found, until) = self.inner.lock().take(Instant::now(), self.gap);
            if let Some(found) = found {
                return found;
            }
            match until {
                Some(until) => {
                    tokio::select! {
                        () = sleep_until(until) => {}
                        () = self.wake.notified() => {}
                    }
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// Says that the pass is over.
    pub fn done(&self, key: &str) {
        let mut inner = self.inner.lock();
        inner.running.remove(key);
        if let Some(lane) = inner.again.remove(key) {
            inner.push(key, lane, Instant::now());
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// The names that wait now and came after another arrival, and which was the last of all. Whoever asks again and again need not look at all of them.
    pub fn arrived_after(&self, seen: u64) -> (Vec<String>, u64) {
        let inner = self.inner.lock();
        let names = LANES.iter().flat_map(|lane| inner.ready.range((*lane, seen.saturating_add(1))..=(*lane, u64::MAX)));
        (names.map(|(_, (name, _))| name.clone()).collect(), inner.arrivals)
    }

    /// Waits until a name is asked for.
    pub async fn arrival(&self) {
        self.wake.notified().await;
    }

    /// How many names wait now.
    pub fn backlog(&self) -> usize {
        self.inner.lock().ready.len()
    }

    /// How many names wait now or are being passed over.
    pub fn unfinished(&self) -> usize {
        let inner = self.inner.lock();
        inner.ready.len() + inner.running.len()
    }

    /// How many names wait in each lane, by its word, and how long the first of it has. It looks at each name, so it is for who asks now and then.
    pub fn lanes(&self) -> Vec<(&'static str, usize, Duration)> {
        let inner = self.inner.lock();
        let told = LANES.map(|lane| {
            let oldest = inner.lane(lane).map(|(_, (_, since))| since.elapsed()).max();
            (lane.word(), inner.lane(lane).count(), oldest.unwrap_or_default())
        });
        told.to_vec()
    }
}

impl Inner {
    fn lane(&self, lane: Lane) -> impl Iterator<Item = (&(Lane, u64), &(String, Instant))> {
        self.ready.range((lane, 0)..=(lane, u64::MAX))
    }

    fn push(&mut self, key: &str, lane: Lane, now: Instant) {
        if let Some(urgency) = self.running.get(key) {
            urgency.raise(lane);
            if lane == Lane::Departure && self.yields {
                urgency.make_way();
            }
            let again = self.again.entry(key.to_owned()).or_insert(lane);
            *again = lane.min(*again);
            return;
        }
        let mut since = now;
        if let Some(place) = self.places.get(key).copied() {
            if place.0 <= lane {
                return;
            }
            since = self.ready.remove(&place).map_or(now, |(_, since)| since);
        }
        self.arrivals += 1;
        let place = (lane, self.arrivals);
        self.ready.insert(place, (key.to_owned(), since));
        self.places.insert(key.to_owned(), place);
    }

    fn delay(&mut self, key: &str, lane: Lane, at: Instant) {
        if let Some((earlier, urgent)) = self.times.get(key).copied() {
            if earlier <= at && urgent <= lane {
                return;
            }
            self.later.remove(&(earlier, key.to_owned()));
            self.set_time(key, lane.min(urgent), at.min(earlier));
        } else {
            self.set_time(key, lane, at);
        }
    }

    fn set_time(&mut self, key: &str, lane: Lane, at: Instant) {
        self.times.insert(key.to_owned(), (at, lane));
        self.later.insert((at, key.to_owned()));
    }

    fn take(&mut self, now: Instant, gap: Duration) -> (Option<(String, Lane)>, Option<Instant>) {
        while let Some((at, key)) = self.later.first().cloned().filter(|(at, _)| *at <= now) {
            self.later.remove(&(at, key.clone()));
            if let Some((_, lane)) = self.times.remove(&key) {
                self.push(&key, lane, now);
            }
        }
        let mut soonest = self.later.first().map(|(at, _)| *at);
        let held = |inner: &Self, key: &String| inner.not_before.get(key).copied().filter(|at| *at > now);
        let mut chosen = None;
        for (place, (key, _)) in &self.ready {
            // Whoever leaves waits for no burst to be over: more of it becomes the next pass.
            match held(self, key).filter(|_| place.0 > Lane::Departure && !self.prompt.contains(key)) {
                None => {
                    chosen = Some((*place, key.clone()));
                    break;
                }
                Some(at) => soonest = Some(soonest.map_or(at, |soonest| soonest.min(at))),
            }
        }
        let Some((place, key)) = chosen else { return (None, soonest) };
        self.ready.remove(&place);
        self.places.remove(&key);
        self.prompt.remove(&key);
        self.running.insert(key.clone(), Urgency::new(place.0));
        if gap > Duration::ZERO {
            self.not_before.retain(|_, at| *at > now);
            self.not_before.insert(key.clone(), now + gap);
        }
        (Some((key, place.0)), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue::new(Duration::ZERO)
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_urgent_goes_first() {
        let queue = queue();
        LANES.iter().rev().for_each(|lane| queue.push(lane.word(), *lane));
        for word in ["departure", "expiry", "new", "drift", "sweep"] {
            assert_eq!(queue.next().await.0, word);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_waits_once_in_its_most_urgent_lane() {
        let queue = queue();
        queue.push("ada", Lane::Sweep);
        queue.push("bob", Lane::New);
        queue.push("ada", Lane::Departure);
        assert_eq!(queue.next().await, ("ada".to_owned(), Lane::Departure));
        assert_eq!(queue.next().await.0, "bob");
        assert_eq!(queue.backlog(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_never_taken_twice_at_once_and_comes_again_when_asked_for_meanwhile() {
        let queue = queue();
        queue.push("ada", Lane::New);
        assert_eq!(queue.next().await.0, "ada");
        queue.push("ada", Lane::Drift);
        assert_eq!(queue.backlog(), 0);
        queue.done("ada");
        assert_eq!(queue.next().await, ("ada".to_owned(), Lane::Drift));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_makes_way_for_who_leaves_and_the_next_one_does_not() {
        for (queue, makes_way) in [(Queue::yielding(Duration::ZERO), true), (queue(), false)] {
            queue.push("role", Lane::New);
            queue.next().await;
            let urgency = queue.urgency("role").expect("it runs");
            queue.push("role", Lane::New);
            assert!(!urgency.makes_way());
            queue.push("role", Lane::Departure);
            assert_eq!(urgency.makes_way(), makes_way);
            queue.done("role");
            assert_eq!(queue.next().await, ("role".to_owned(), Lane::Departure));
            queue.push("role", Lane::Departure);
            assert!(!queue.urgency("role").expect("it runs").makes_way());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_came_since_are_told_apart() {
        let queue = queue();
        queue.push("ada", Lane::Sweep);
        queue.push("bob", Lane::New);
        let (mut first, seen) = queue.arrived_after(0);
        first.sort();
        assert_eq!(first, ["ada", "bob"]);
        queue.push("eve", Lane::Departure);
        queue.push("bob", Lane::New);
        assert_eq!(queue.arrived_after(seen).0, ["eve"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_becomes_one_pass_per_gap() {
        let queue = Queue::new(Duration::from_millis(100));
        let start = Instant::now();
        queue.push("role", Lane::New);
        assert_eq!(queue.next().await.0, "role");
        queue.push("role", Lane::New);
        queue.done("role");
        queue.push("role", Lane::New);
        assert_eq!(queue.next().await.0, "role");
        assert_eq!(start.elapsed(), Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_waits_for_no_gap() {
        let queue = Queue::new(Duration::from_millis(100));
        let start = Instant::now();
        queue.push("role", Lane::New);
        queue.next().await;
        queue.push("role", Lane::Departure);
        queue.done("role");
        assert_eq!(queue.next().await, ("role".to_owned(), Lane::Departure));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_costs_much_rests_longer_and_an_edit_waits_for_none_of_it() {
        let queue = Queue::new(Duration::from_millis(100));
        let start = Instant::now();
        queue.push("role", Lane::New);
        queue.next().await;
        queue.rest("role", Duration::from_secs(1));
        queue.push("role", Lane::New);
        queue.done("role");
        assert_eq!(queue.next().await.0, "role");
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        queue.rest("role", Duration::from_secs(1));
        queue.push_promptly("role", Lane::New);
        queue.done("role");
        assert_eq!(queue.next().await.0, "role");
        assert_eq!(start.elapsed(), Duration::from_secs(1), "also where it was asked for while it ran");
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_is_set_earlier_wins() {
        let queue = queue();
        let start = Instant::now();
        queue.push_after("ada", Lane::Expiry, Duration::from_mins(1));
        queue.push_after("ada", Lane::Expiry, Duration::from_secs(10));
        queue.push_after("ada", Lane::Expiry, Duration::from_secs(30));
        assert_eq!(queue.next().await.0, "ada");
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }
}
