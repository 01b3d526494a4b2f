//! Watches that keep the memory true. One watch per kind; what nobody reads is dropped on arrival.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::{Stream, StreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace, ResourceQuota, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::ResetTimerBackoff;
use kube::runtime::watcher::{self, Config, Event, ExponentialBackoff, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::api::metadata::{ACCOUNTS_SECRET, IDENTITIES_NAMESPACE, KUBECONFIG_SECRET, MANAGED_BY, MANAGER, SCIM, WELCOME_CONFIG_MAP};
use crate::api::{Binding, Departure, Developer, Environment, Grant, Lock, Provider, Role, Scorecard, Source};
use crate::plan::change::ours;
use crate::plan::cluster::{ClusterKey, Key};
use crate::plan::name::fingerprint;
use crate::plan::revision::remembered;
use crate::plan::scim::record::Record;
use crate::telemetry::metrics::Metrics;

use super::crds;
use super::error::not_found;
use super::memory::{Kept, Memory, key_of, version};

/// How soon an interrupted watch tries again, how late at most, and after how much calm it is as impatient as at first. The latest decides how long it
/// takes to notice that CRDs are back, so it is short; a dozen requests every few seconds hurt no API server.
const SOONEST: Duration = Duration::from_millis(500);
const LATEST: Duration = Duration::from_secs(5);
const CALM: Duration = Duration::from_mins(1);
/// How many objects a list brings at once, how many lists are read at once, and how long one waits for another at most, which may hang. When the history is gone
/// that watches go on from, all of them list, and what a list brings is in memory beside what is kept.
const PAGE: u32 = 100;
const LISTS: usize = 2;
const TURN: Duration = Duration::from_secs(10);

/// The time until the next try: longer each time, and not the same for all.
fn patience() -> ResetTimerBackoff<ExponentialBackoff> {
    let builder = ExponentialBuilder::default().with_min_delay(SOONEST).with_max_delay(LATEST).without_max_times().with_jitter();
    ResetTimerBackoff::new(ExponentialBackoff::from(builder), CALM)
}

/// The watches of one cluster.
pub struct Watches {
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
    cluster: ClusterKey,
    client: watch::Sender<Client>,
    waiting: Arc<AtomicUsize>,
    complete: Arc<Notify>,
    relisted: Arc<Notify>,
    lists: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Watches {
    /// No watch yet.
    pub fn new(memory: Arc<Memory>, metrics: Arc<Metrics>, cluster: ClusterKey, client: Client) -> Self {
        Self {
            memory,
            metrics,
            cluster,
            client: watch::Sender::new(client),
            waiting: Arc::default(),
            complete: Arc::default(),
            relisted: Arc::default(),
            lists: Arc::new(Semaphore::new(LISTS)),
            tasks: JoinSet::new(),
        }
    }

    /// Starts to watch what people write, and the record.
    pub fn declared(&mut self) {
        self.guarded::<Developer>();
        self.guarded::<Role>();
        self.guarded::<Binding>();
        self.guarded::<Environment>();
        self.guarded::<Provider>();
        self.guarded::<Source>();
        self.guarded::<Grant>();
        self.guarded::<Departure>();
        self.guarded::<Scorecard>();
        self.locks();
    }

    /// Reads everything anew, over connections of its own: whoever has only waited for long cannot know whether the old ones still bring what happens.
    pub async fn anew(&self, client: Client) {
        self.waiting.fetch_add(self.tasks.len(), Ordering::SeqCst);
        self.client.send_replace(client);
        self.complete().await;
    }

    /// Starts to watch Locks. While that does not work, nothing is added to anybody; but nobody waits for it, as removals need no Lock. After every
    /// interruption all Locks are listed anew: one that was made meanwhile must be known before anything is added again.
    fn locks(&mut self) {
        self.memory.set_locks_readable(Some(false), None);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let (mut feed, mut clients) = (self.feed("Lock"), self.client.subscribe());
        self.tasks.spawn(async move {
            let mut patience = patience();
            loop {
                let client = feed.client(&mut clients);
                let mut stream = Box::pin(watcher(Api::<DeserializeGuard<Lock>>::all(client.clone()), Config::default()));
                let interrupted = async {
                    while let Some(event) = next_of_locks(&mut stream, &client, &feed.memory).await {
                        let failed = event.is_err();
                        let listed = feed.take(event, &keep_parsed("Lock")) && !failed;
                        if listed {
                            feed.memory.set_locks_readable(Some(true), None);
                        }
                        if failed || listed {
                            feed.listed();
                        }
                        if failed {
                            break;
                        }
                    }
                };
                let anew = tokio::select! {
                    () = interrupted => false,
                    changed = clients.changed() => changed.is_ok(),
                };
                feed.memory.set_locks_readable(Some(false), None);
                if anew {
                    clients.mark_changed();
                } else {
                    tokio::time::sleep(patience.next().unwrap_or(LATEST)).await;
                }
            }
        });
    }

    fn feed(&self, kind: &str) -> Feed {
        Feed {
            kind: kind.to_owned(),
            memory: self.memory.clone(),
            metrics: self.metrics.clone(),
            cluster: self.cluster.clone(),
            known: HashMap::new(),
            hash: RandomState::new(),
            lists: 0,
            first: true,
            waiting: self.waiting.clone(),
            complete: self.complete.clone(),
        }
    }

    /// Starts to watch what Roles contained, which is kept in usher's own namespace.
    pub fn recorded(&mut self) {
        let settings = self.memory.settings().clone();
        let (installation, namespace) = (settings.installation.clone(), settings.namespace.clone());
        let revisions = move |client| Api::<ControllerRevision>::namespaced(client, &namespace);
        self.spawn("ControllerRevision", revisions, own(), move |revision| ours(&revision, &installation).then(|| remembered(revision)));
        // That they change is enough to know; what is in those that Providers and Sources name is read when it is needed.
        let secrets = move |client| Api::<PartialObjectMeta<Secret>>::namespaced(client, &settings.namespace);
        self.spawn("Secret", secrets, Config::default(), Some);
    }

    /// Starts to watch what is pushed by SCIM, which is kept in usher's own namespace.
    pub fn pushed(&mut self) {
        let settings = self.memory.settings().clone();
        let (installation, namespace) = (settings.installation, settings.namespace);
        let records = move |client| Api::<ConfigMap>::namespaced(client, &namespace);
        let read = move |object| ours(&object, &installation).then(|| Record::read(object)).flatten();
        self.spawn("ConfigMap", records, Config::default().labels(SCIM), read);
        self.memory.serve_pushed();
    }

    /// Starts to watch what the cluster holds.
    pub fn observed(&mut self) {
        let all = Config::default;
        let named = |name: &str| Config::default().fields(&format!("metadata.name={name}"));
        let metadata = |partial: PartialObjectMeta<Namespace>| Some(Namespace { metadata: partial.metadata, ..Namespace::default() });
        self.spawn("Namespace", Api::all, all(), metadata);
        let installation = self.memory.settings().installation.clone();
        let keep_rules = move |mut role: ClusterRole| {
            if !ours(&role, &installation) {
                role.rules = None;
                role.metadata.annotations = None;
            }
            Some(role)
        };
        self.spawn("ClusterRole", Api::all, all(), keep_rules);
        self.spawn("RoleBinding", Api::all, all(), Some::<RoleBinding>);
        self.spawn("ClusterRoleBinding", Api::all, all(), Some::<ClusterRoleBinding>);
        // Also those of others: whoever made one that bears a person's name holds its tokens.
        self.spawn("ServiceAccount", |client| Api::namespaced(client, IDENTITIES_NAMESPACE), all(), Some::<ServiceAccount>);
        self.spawn("ResourceQuota", Api::all, own(), Some::<ResourceQuota>);
        self.spawn("LimitRange", Api::all, own(), Some::<LimitRange>);
        self.spawn("NetworkPolicy", Api::all, own(), Some::<NetworkPolicy>);
        self.spawn("Secret", Api::all, named(KUBECONFIG_SECRET), |secret| Some(without_values(secret)));
        self.spawn("Secret", Api::all, named(ACCOUNTS_SECRET), |secret| Some(without_values(secret)));
        self.spawn("ConfigMap", Api::all, named(WELCOME_CONFIG_MAP), Some::<ConfigMap>);
    }

    /// Waits until every watch has listed once.
    pub async fn complete(&self) {
        loop {
            let notified = self.complete.notified();
            if self.waiting.load(Ordering::SeqCst) == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Whether every watch has listed once.
    pub fn readiness(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let waiting = self.waiting.clone();
        move || waiting.load(Ordering::SeqCst) == 0
    }

    /// Told whenever a watch of what people write had to list again: its CRD may be another one.
    pub fn relisted(&self) -> Arc<Notify> {
        self.relisted.clone()
    }

    /// Watches a kind of usher's: an object that does not parse is told and changes nothing.
    fn guarded<K>(&mut self)
    where
        K: Kept + Resource<DynamicType = ()> + DeserializeOwned + Debug,
    {
        let kind = K::kind(&()).into_owned();
        self.spawn(&kind.clone(), Api::<DeserializeGuard<K>>::all, Config::default(), keep_parsed(&kind));
    }

    fn spawn<T, K>(
        &mut self,
        kind: &str,
        api: impl Fn(Client) -> Api<T> + Send + Sync + 'static,
        config: Config,
        keep: impl Fn(T) -> Option<K> + Send + Sync + 'static,
    ) where
        T: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        K: Kept,
    {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let (mut feed, mut clients, relisted, lists) =
            (self.feed(kind), self.client.subscribe(), self.relisted.clone(), self.lists.clone());
        let config = config.page_size(PAGE);
        self.tasks.spawn(async move {
            loop {
                let client = feed.client(&mut clients);
                let mut stream = std::pin::pin!(watcher(api(client), config.clone()).backoff(patience()));
                let watching = async {
                    let mut turn = None;
                    while let Some(event) = stream.next().await {
                        match &event {
                            // The list is asked for when the stream is asked for more.
                            Ok(Event::Init) => turn = turn_to_list(&lists).await,
                            Ok(Event::InitDone) | Err(_) => drop(turn.take()),
                            Ok(_) => {}
                        }
                        if feed.take(event, &keep) && !feed.listed() {
                            relisted.notify_one();
                        }
                    }
                };
                tokio::select! {
                    () = watching => return,
                    changed = clients.changed() => if changed.is_err() { return },
                }
                clients.mark_changed();
            }
        });
    }
}

/// Waits for a turn to list, but not for ever.
async fn turn_to_list(lists: &Semaphore) -> Option<SemaphorePermit<'_>> {
    timeout(TURN, lists.acquire()).await.ok()?.ok()
}

/// What bears usher's label.
fn own() -> Config {
    Config::default().labels(&format!("{MANAGED_BY}={MANAGER}"))
}

/// The next that is seen of Locks; what it may mean for whether they can be read is told before it is taken in. A Lock that disappears may do so because
/// its kind goes, which ends nothing: so the kind is read first, and again and again while it is in doubt.
async fn next_of_locks<T>(
    stream: &mut (impl Stream<Item = Result<Event<T>, watcher::Error>> + Unpin),
    client: &Client,
    memory: &Memory,
) -> Option<Result<Event<T>, watcher::Error>> {
    let going = async || memory.set_locks_readable(None, Some(crds::terminating(client, "locks").await.unwrap_or(true)));
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            () = tokio::time::sleep(SOONEST), if memory.read(|content, _| content.world.locks_going()) => {
                going().await;
                continue;
            }
        };
        match &event {
            Some(Ok(Event::Delete(_) | Event::InitDone)) => going().await,
            Some(Ok(Event::Init) | Err(_)) => memory.set_locks_readable(Some(false), None),
            Some(Ok(Event::Apply(_) | Event::InitApply(_))) | None => {}
        }
        return event;
    }
}

/// What one watch brings.
struct Feed {
    kind: String,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
    cluster: ClusterKey,
    /// What is there, each with the list that has brought it: while everything is read anew this is not in memory twice.
    known: HashMap<u64, Brought>,
    /// How what is known is told apart.
    hash: RandomState,
    /// How many lists were begun.
    lists: u32,
    first: bool,
    /// How many kinds of all were not listed yet.
    waiting: Arc<AtomicUsize>,
    complete: Arc<Notify>,
}

impl Feed {
    /// Says that a list is complete. Returns whether somebody waited for it.
    fn listed(&mut self) -> bool {
        let first = std::mem::replace(&mut self.first, false);
        if first {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            self.complete.notify_waiters();
        }
        first
    }

    /// The client to watch with. With another one everything is read anew, for which it was counted once more; whoever was about to begin for another reason, or
    /// slept after an interruption, begins anew as well.
    fn client(&mut self, clients: &mut watch::Receiver<Client>) -> Client {
        let client = clients.borrow_and_update();
        if client.has_changed() && std::mem::replace(&mut self.first, true) {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            self.complete.notify_waiters();
        }
        client.clone()
    }

    /// Takes in one event. Returns whether a list is complete.
    fn take<T: Resource, K: Kept>(&mut self, event: Result<Event<T>, watcher::Error>, keep: &impl Fn(T) -> Option<K>) -> bool {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                let (place, uid) = self.place(&key_of(&object), object.meta().uid.as_deref());
                self.put(object, keep);
                self.known.insert(place, Brought { uid, list: self.lists });
            }
            Ok(Event::Delete(object)) => {
                let key = key_of(&object);
                self.memory.forget::<K>(&self.cluster, &key, object.meta().uid.as_ref(), version(&object));
                self.known.remove(&self.place(&key, None).0);
            }
            Ok(Event::Init) => {
                if K::LISTED {
                    self.know_kept::<K>();
                }
                self.lists += 1;
            }
            Ok(Event::InitDone) => {
                self.forget_unlisted::<K>();
                return true;
            }
            Err(error) => {
                self.metrics.watch_restarted(&self.kind);
                tracing::warn!(kind = self.kind, %error, "a watch was interrupted and goes on");
                // A kind that is missing has no objects; waiting for it would leave those of the others without anybody to let them go.
                return self.first && no_such_kind(&error);
            }
        }
        false
    }

    /// Takes note of all that is kept before a list is asked for: what others brought while the watch hung, and the list has not, is gone.
    fn know_kept<K: Kept>(&mut self) {
        let list = self.lists;
        for (key, uid) in self.memory.kept::<K>(&self.cluster) {
            let (place, uid) = self.place(&key, uid.as_deref());
            self.known.insert(place, Brought { uid, list });
        }
    }

    /// Forgets what an earlier list or watch has brought and the last list has not. Another object of that name, which usher made meanwhile, stays.
    fn forget_unlisted<K: Kept>(&mut self) {
        let lists = self.lists;
        let unlisted: HashMap<u64, Brought> = self.known.extract_if(|_, brought| brought.list != lists).collect();
        if unlisted.is_empty() {
            return;
        }
        for (key, uid) in self.memory.kept::<K>(&self.cluster) {
            let (place, uid_hash) = self.place(&key, uid.as_deref());
            if unlisted.get(&place).is_some_and(|brought| uid.is_none() || brought.uid == uid_hash) {
                self.memory.forget::<K>(&self.cluster, &key, uid.as_ref(), 0);
            }
        }
    }

    /// What stands for a key, and for a UID. There are a dozen objects for each person, of which no words are kept here.
    fn place(&self, key: &Key, uid: Option<&str>) -> (u64, u32) {
        #[expect(clippy::cast_possible_truncation, reason = "a part of it tells two objects of one name apart")]
        let uid = self.hash.hash_one(uid) as u32;
        (self.hash.hash_one(key), uid)
    }

    fn put<T: Resource, K: Kept>(&self, object: T, keep: &impl Fn(T) -> Option<K>) {
        if let Some(object) = keep(object) {
            self.memory.put(&self.cluster, object);
        }
    }
}

/// Keeps what fits its schema, and says what does not.
fn keep_parsed<K>(kind: &str) -> impl Fn(DeserializeGuard<K>) -> Option<K> + Send + Sync + 'static {
    let kind = kind.to_owned();
    move |guarded| match guarded.0 {
        Ok(object) => Some(object),
        Err(error) => {
            tracing::warn!(kind, name = error.metadata.name, %error, "this object does not fit its schema and is left as it was; mend or delete it");
            None
        }
    }
}

fn no_such_kind(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(error) if not_found(error))
}

/// What stands for the UID of an object, and which list or watch since brought it last.
struct Brought {
    uid: u32,
    list: u32,
}

/// A Secret whose values are replaced by digests, so that no value stays in memory.
pub fn without_values(mut secret: Secret) -> Secret {
    for value in secret.data.iter_mut().flat_map(|data| data.values_mut()) {
        *value = ByteString(fingerprint(&value.0).into_bytes());
    }
    secret.managed_fields_mut().clear();
    secret
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::scim::ResourceKind;
    use crate::plan::scim::record::{Id, Owner};
    use crate::plan::settings::Settings;

    fn memory() -> Arc<Memory> {
        let settings = Settings::of("usher-system", "here");
        Arc::new(Memory::new(settings, [ClusterKey::Home]))
    }

    /// Somebody's record as the API server has it.
    fn record(number: u8, version: u64) -> ConfigMap {
        let attributes = json!({"userName": format!("user-{number}")});
        let owner = Owner { source: "hr", uid: "uid-of-hr" };
        let id = Id::new([number; 10]);
        let record = Record::new((ResourceKind::User, owner, id), attributes.as_object().expect("an object"), Vec::new(), "");
        let mut object = record.object("usher-system", "here").expect("small enough");
        object.metadata.uid = Some(format!("uid-{number}"));
        object.metadata.resource_version = Some(version.to_string());
        object
    }

    /// Another replica deleted it while the watch hung, and the list that follows cannot say so.
    #[test]
    fn what_was_read_or_written_beside_a_hanging_watch_is_forgotten_when_a_list_has_it_no_more() {
        let memory = memory();
        let mut feed = Feed {
            kind: "ConfigMap".to_owned(),
            memory: memory.clone(),
            metrics: Arc::default(),
            cluster: ClusterKey::Home,
            known: HashMap::new(),
            hash: RandomState::new(),
            lists: 0,
            first: true,
            waiting: Arc::default(),
            complete: Arc::default(),
        };
        let mut take = |event: Event<ConfigMap>| feed.take::<_, Record>(Ok(event), &Record::read);
        let there = || memory.kept::<Record>(&ClusterKey::Home).len();
        let beside = |object: ConfigMap| memory.put(&ClusterKey::Home, Record::read(object).expect("a record"));
        take(Event::Init);
        take(Event::InitApply(record(1, 5)));
        take(Event::InitDone);
        beside(record(2, 6));
        assert_eq!(there(), 2);
        take(Event::Init);
        take(Event::InitApply(record(1, 5)));
        // What is written while the list is under way may be younger than the list.
        beside(record(3, 9));
        take(Event::InitDone);
        let kept: Vec<String> = memory.kept::<Record>(&ClusterKey::Home).into_iter().filter_map(|(_, uid)| uid).collect();
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert!(!kept.contains(&"uid-2".to_owned()), "it is gone: {kept:?}");
        take(Event::Init);
        take(Event::InitDone);
        assert_eq!(there(), 0);
    }
}
