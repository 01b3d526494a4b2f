//! Requests that the API server denied, as its audit webhook tells: whether they were errors of access is judged by the replica that works.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::api::Role;
use crate::cluster::memory::Memory;
use crate::plan::revision::in_place_since;
use crate::plan::scorecard::denied::{Existing, Record, Request, error, needed, person};
use crate::plan::scorecard::ledger::Denial;
use crate::plan::why::Question;
use crate::telemetry::metrics::Metrics;

use super::super::context::Context;

/// So many requests wait to be judged at most; what comes beyond is not judged.
const MOST: usize = 1_000;
/// So many are looked at before others may have the memory.
const CHUNK: usize = 100;
/// What an existing ClusterRole allows is read again after this.
const FRESH: Duration = Duration::from_mins(1);
/// An access that was just given may be denied by what the API server has not seen yet, so a request is judged when the status that tells of it is there, too:
/// so long after it came, whatever the clock of the API server says.
const LATER: Duration = Duration::from_secs(1);

/// Where denied requests go.
#[derive(Debug)]
pub struct Sink {
    waiting: Mutex<Waiting>,
    came: Notify,
    leads: AtomicBool,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
}

impl Sink {
    /// One that is empty.
    pub fn new(memory: Arc<Memory>, metrics: Arc<Metrics>) -> Self {
        Self { waiting: Mutex::default(), came: Notify::new(), leads: AtomicBool::new(false), memory, metrics }
    }

    /// Takes requests in. Returns whether this replica works: what another one is told it knows nothing of.
    pub fn take(&self, requests: Vec<Request>) -> bool {
        if !self.leads.load(Ordering::SeqCst) {
            return false;
        }
        for some in requests.chunks(CHUNK) {
            // Whoever is nobody's to judge takes no place from those who are.
            let hers: Vec<&Request> =
                self.memory.read(|_, scene| some.iter().filter(|request| person(scene, &request.user).is_some()).collect());
            let mut waiting = self.waiting.lock();
            for request in hers {
                if !waiting.add(request.clone(), Instant::now()) {
                    self.metrics.audit_dropped();
                }
            }
        }
        self.came.notify_one();
        true
    }

    /// Whether this replica works.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::SeqCst)
    }

    /// The request that came first, when it is time to judge it.
    async fn next(&self) -> Request {
        loop {
            let first = self.waiting.lock().first();
            match first {
                None => self.came.notified().await,
                Some(came) => {
                    sleep_until(came + LATER).await;
                    if let Some(request) = self.waiting.lock().pop() {
                        return request;
                    }
                }
            }
        }
    }
}

/// Requests that wait to be judged, in the order in which they came. One who is denied asks again and again: the same is judged once.
#[derive(Debug, Default)]
struct Waiting {
    places: BTreeMap<(String, Question), u64>,
    requests: BTreeMap<u64, (Instant, Request)>,
    count: u64,
}

impl Waiting {
    /// Returns whether there was room.
    fn add(&mut self, request: Request, now: Instant) -> bool {
        let key = (request.user.clone(), request.question.clone());
        if let Some((_, same)) = self.places.get(&key).and_then(|place| self.requests.get_mut(place)) {
            same.times = same.times.saturating_add(request.times);
            same.at = same.at.min(request.at);
            return true;
        }
        if self.requests.len() >= MOST {
            return false;
        }
        self.count += 1;
        self.places.insert(key, self.count);
        self.requests.insert(self.count, (now, request));
        true
    }

    /// When the first came.
    fn first(&self) -> Option<Instant> {
        self.requests.first_key_value().map(|(_, (came, _))| *came)
    }

    fn pop(&mut self) -> Option<Request> {
        let (_, (_, request)) = self.requests.pop_first()?;
        self.places.remove(&(request.user.clone(), request.question.clone()));
        Some(request)
    }
}

/// Judges one request after another, for ever.
pub async fn judge(context: Arc<Context>, sink: Arc<Sink>) {
    sink.leads.store(true, Ordering::SeqCst);
    let mut known = Known { existing: Existing::new(), since: Instant::now() };
    loop {
        let request = sink.next().await;
        known.read(&context, &request).await;
        context.metrics.audit_denied(request.times);
        if let Some(denial) = judged(&context, &request, &known.existing) {
            tracing::warn!(developer = denial.developer, target = denial.target, what = denial.what, "denied although a Role allows it");
            context.figures.deny(denial, context.now());
        }
    }
}

/// The error that a request is, if it is one.
fn judged(context: &Context, request: &Request, existing: &Existing) -> Option<Denial> {
    let now = context.now();
    context.memory.read(|content, scene| {
        let developer = person(scene, &request.user)?;
        let grants = content.grants.of(&developer.name_any());
        let unchanged = |role: &Role| in_place_since(scene.settings, role, &content.revisions.of(&role.name_any()));
        error(scene, request, existing, Record { grants: &grants, unchanged: &unchanged }, now)
    })
}

/// What existing ClusterRoles allow.
struct Known {
    existing: Existing,
    since: Instant,
}

impl Known {
    /// Reads what a request may be allowed by. One that cannot be read allows nothing: no error is told that may be none.
    async fn read(&mut self, context: &Context, request: &Request) {
        if self.since.elapsed() > FRESH {
            *self = Self { existing: Existing::new(), since: Instant::now() };
        }
        let now = context.now();
        let wanted = context.memory.read(|_, scene| needed(scene, request, now));
        let api: Api<ClusterRole> = Api::all(context.client.clone());
        for name in wanted {
            if let Entry::Vacant(place) = self.existing.entry(name) {
                let found: Option<Vec<PolicyRule>> = api.get_opt(place.key()).await.ok().flatten().and_then(|role| role.rules);
                place.insert(found.unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::{SignedDuration, Timestamp};

    use crate::api::metadata::IDENTITIES_NAMESPACE;
    use crate::api::{Developer, DeveloperSpec};
    use crate::plan::cluster::ClusterKey;
    use crate::plan::settings::Settings;

    use super::*;

    fn request(user: &str, verb: &str, at: Timestamp) -> Request {
        let question = Question { verb: verb.to_owned(), resource: "pods".to_owned(), ..Question::default() };
        Request { user: user.to_owned(), question, at, times: 1 }
    }

    fn memory() -> Arc<Memory> {
        let settings = Settings::of("usher-system", "here");
        let memory = Memory::new(settings, [ClusterKey::Home]);
        memory.put(&ClusterKey::Home, Developer::new("ada", DeveloperSpec::default()));
        Arc::new(memory)
    }

    /// How ada is known to the cluster: her account is not there yet, or was hers before.
    fn ada() -> String {
        format!("system:serviceaccount:{IDENTITIES_NAMESPACE}:{}", crate::plan::identity::service_account("ada", &person_of_ada()))
    }

    fn person_of_ada() -> crate::plan::person::Person {
        crate::plan::person::Person::own(&Developer::new("ada", DeveloperSpec::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_take_no_place_and_nobody_waits_longer_than_a_second_after_she_came() {
        let sink = Sink::new(memory(), Arc::new(Metrics::default()));
        let now = Timestamp::UNIX_EPOCH;
        assert!(!sink.take(vec![request(&ada(), "get", now)]), "another replica works");
        sink.leads.store(true, Ordering::SeqCst);
        sink.take((0..3 * MOST).map(|number| request("system:anonymous", &format!("v{number}"), now)).collect());
        let ahead = now + SignedDuration::from_hours(24 * 365);
        sink.take(["get", "list", "watch"].map(|verb| request(&ada(), verb, ahead)).to_vec());
        let began = Instant::now();
        let verbs = [sink.next().await.question.verb, sink.next().await.question.verb, sink.next().await.question.verb];
        assert_eq!(verbs, ["get", "list", "watch"]);
        assert_eq!(began.elapsed(), LATER, "all of them came at once");
    }

    #[test]
    fn what_is_asked_again_and_again_is_judged_once_and_counted() {
        let (mut waiting, now, first) = (Waiting::default(), Instant::now(), Timestamp::UNIX_EPOCH);
        for second in (0..2_000).rev() {
            assert!(waiting.add(request("ada", "get", first + SignedDuration::from_secs(second)), now));
        }
        let others: BTreeMap<bool, usize> = (0..MOST).fold(BTreeMap::new(), |mut counts, number| {
            *counts.entry(waiting.add(request("ada", &format!("v{number}"), first), now)).or_default() += 1;
            counts
        });
        assert_eq!(others, BTreeMap::from([(true, MOST - 1), (false, 1)]));
        let same = waiting.pop().expect("it came first");
        assert_eq!((same.question.verb.as_str(), same.times, same.at), ("get", 2_000, first), "by then all of them had to be allowed");
        assert!(waiting.add(same, now), "there is room again");
    }
}
