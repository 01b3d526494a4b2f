//! One Source's reader: it reads all of it from time to time, and keeps what was read last. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::api::environment::SecretKey;
use crate::api::source::{BrakeLimits, Origin, ProviderBrake, RecentRemovals};
use crate::api::{Reason, Source};
use crate::connectors::directory::open;
use crate::connectors::error::Retry;
use crate::connectors::throttle::Throttle;
use crate::plan::account_brake::Ledger;
use crate::plan::name::fraction;
use crate::plan::provider::backoff;
use crate::plan::scim::people::found;
use crate::plan::source::mapping::Mapping;
use crate::plan::source::{Found, Read, SHORTEST_TOKEN, known, rests};

use super::super::context::Context;
use super::super::outside::{self, Trouble, told};
use super::super::queue::Lane;

/// A read that takes longer is given up: something trickles.
const WHOLE: Duration = Duration::from_mins(15);
/// What was pushed is taken in anew after this, though nothing else was: it must not grow old.
const TAKEN_ANEW: Duration = Duration::from_mins(5);
/// How soon a token that is missing is looked for again.
const SHUT: Duration = Duration::from_secs(30);
/// How soon it is looked whether a Source that is going is gone, or a paused one goes on.
const RESTING: Duration = Duration::from_secs(5);

/// What came of the last try to read.
#[derive(Clone, Debug)]
pub(super) enum Attempt {
    /// All of it was read.
    Read(Arc<Read>),
    /// It was not, for this reason with its remedy.
    Failed(Reason, String),
}

/// One Source's reader.
#[derive(Debug)]
pub(super) struct Reader {
    name: String,
    uid: String,
    /// Something changed that may matter: the Source, a Secret.
    changed: Notify,
    state: Mutex<State>,
    task: Mutex<Option<AbortHandle>>,
}

/// What was pushed for a Source, as it was taken in.
#[derive(Debug)]
struct TakenIn {
    /// How often it had changed.
    changes: u64,
    /// How often that may have taken something from somebody.
    losses: u64,
    generation: Option<i64>,
    read: Arc<Read>,
}

#[derive(Debug, Default)]
struct State {
    /// The last try, and the version of the spec that it was for.
    last: Option<(Attempt, Option<i64>)>,
    /// When all of it was read last.
    complete_at: Option<Timestamp>,
    /// The versions of entries in the last read that was followed. By whatever spec it was, none becomes older.
    versions: BTreeMap<String, String>,
    /// What was written because of the last read: when that was, how many were made and changed.
    written: Option<(Timestamp, usize, usize)>,
    ledger: Ledger,
    failures: u32,
    /// Where others push.
    pushed: Option<TakenIn>,
    /// Why nobody can push, if so.
    shut: Option<(Reason, String)>,
}

impl Reader {
    /// Starts to read a Source.
    pub(super) fn start(context: &Arc<Context>, source: &Source) -> Arc<Self> {
        let status = source.status.as_ref();
        let (told, removals) = (status.and_then(|status| status.brake.as_ref()), status.and_then(|status| status.removals.as_ref()));
        let state = State { ledger: Ledger::resumed(told, removals, context.now()), ..State::default() };
        let reader = Arc::new(Self {
            name: source.name_any(),
            uid: source.uid().unwrap_or_default(),
            changed: Notify::new(),
            state: Mutex::new(state),
            task: Mutex::default(),
        });
        let task = tokio::spawn(run(Arc::downgrade(context), reader.clone()));
        *reader.task.lock() = Some(task.abort_handle());
        reader
    }

    /// Whether it reads exactly this object.
    pub(super) fn is_of(&self, source: &Source) -> bool {
        source.uid().as_deref() == Some(&self.uid)
    }

    /// Reads no more.
    pub(super) fn stop(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }

    /// Something changed that may matter: it reads at once.
    pub(super) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// The last try, if it was by the present spec. What is pushed is taken in when it is asked for.
    pub(super) fn last(&self, context: &Context, source: &Source) -> Option<Attempt> {
        if source.spec.origin().is_some_and(|origin| origin.is_pushed()) {
            return Some(self.take_in(context, source));
        }
        let last = self.state.lock().last.clone();
        last.filter(|(_, generation)| *generation == source.metadata.generation).map(|(attempt, _)| attempt)
    }

    /// What was pushed, which is all that there is. It is the same read as long as nothing else is pushed, but for a time.
    fn take_in(&self, context: &Context, source: &Source) -> Attempt {
        let now = context.now();
        let pushed = context.memory.read(|content, _| {
            let (pushed, known) = (&content.pushed, known(&content.world));
            pushed.is_served().then(|| (pushed.changes(&self.name), pushed.losses(&self.name), pushed.of(&self.name), known))
        });
        let Some((changes, losses, records, known)) = pushed else {
            let message = "SCIM is not served; set scim.enabled=true in the chart's values".to_owned();
            return Attempt::Failed(Reason::Denied, message);
        };
        let generation = source.metadata.generation;
        let same = |taken: &&TakenIn| {
            let young = now.duration_since(taken.read.at).unsigned_abs() < every(source).min(TAKEN_ANEW);
            taken.changes == changes && taken.generation == generation && young
        };
        let mut state = self.state.lock();
        state.complete_at = Some(now);
        if let Some(taken) = state.pushed.as_ref().filter(same) {
            return Attempt::Read(taken.read.clone());
        }
        let read = Arc::new(Read::new(now, found(&records, &Mapping::of(&source.spec)), known));
        state.pushed = Some(TakenIn { changes, losses, generation, read: read.clone() });
        drop(state);
        context.metrics.source_read(&self.name, "Complete");
        Attempt::Read(read)
    }

    /// How often what was taken in may have taken something from somebody.
    pub(super) fn losses(&self) -> u64 {
        self.state.lock().pushed.as_ref().map(|taken| taken.losses).unwrap_or_default()
    }

    /// Why nobody can push for a Source, if so.
    pub(super) fn shut(&self) -> Option<(Reason, String)> {
        self.state.lock().shut.clone()
    }

    /// Looks whether there is a token by which a sender is let in. Returns how long it is until the next time.
    async fn look_for_token(&self, context: &Arc<Context>, source: &Source, token: &SecretKey) -> Duration {
        let shut = match outside::secrets(&context.client, &context.memory.settings().namespace, token, None).await {
            Ok(secrets) if secrets.credential.expose_secret().len() >= SHORTEST_TOKEN => None,
            Ok(_) => {
                let message = format!(
                    "the token in Secret {} is shorter than {SHORTEST_TOKEN} characters, so nobody is let in by it; make one by chance, for example with openssl rand -hex 32",
                    token.name
                );
                Some((Reason::Denied, message))
            }
            Err((reason, message, _)) => Some((reason, message)),
        };
        let wait = if shut.is_some() { SHUT.min(every(source)) } else { every(source).min(TAKEN_ANEW) };
        self.state.lock().shut = shut;
        context.queues.sources.push(&self.name, Lane::New);
        wait
    }

    /// When all of it was read last.
    pub(super) fn complete_at(&self) -> Option<Timestamp> {
        self.state.lock().complete_at
    }

    /// The versions of entries in the last read that was followed.
    pub(super) fn versions(&self) -> BTreeMap<String, String> {
        self.state.lock().versions.clone()
    }

    /// A read is followed: it is believed, and not held.
    pub(super) fn follows(&self, read: &Read) {
        self.state.lock().versions.clone_from(&read.found.versions);
    }

    /// These Developers, by personId, were made because of a read, and so many more were changed. Returns how many in all.
    pub(super) fn wrote(&self, read: &Read, made: BTreeSet<String>, changed: usize) -> (usize, usize) {
        let mut state = self.state.lock();
        let created = made.len();
        let taken = state.pushed.as_mut().map(|taken| &mut taken.read).filter(|_| created > 0);
        if let Some(last) = taken {
            Arc::make_mut(last).known.extend(made);
        } else if let Some((Attempt::Read(last), _)) = state.last.as_mut().filter(|_| created > 0) {
            Arc::make_mut(last).known.extend(made);
        }
        let (made_before, changed_before) =
            state.written.filter(|(at, ..)| *at == read.at).map_or((0, 0), |(_, created, changed)| (created, changed));
        state.written = Some((read.at, made_before + created, changed_before + changed));
        (made_before + created, changed_before + changed)
    }

    /// Lets those go that the brake holds, if that word names exactly them. Returns whether there were any.
    pub(super) fn release(&self, word: &str) -> bool {
        !self.state.lock().ledger.release(word).is_empty()
    }

    /// Whether all of these may lose something, and what the brake tells. A word that was said counts for the missing, too, until something becomes of them.
    pub(super) fn admits(
        &self,
        who: (&BTreeSet<String>, &BTreeSet<String>),
        limits: BrakeLimits,
        population: usize,
        now: Timestamp,
    ) -> bool {
        let mut state = self.state.lock();
        let admits = state.ledger.admits_all(who, limits, population, now);
        state.ledger.looked();
        admits
    }

    /// What the brake tells, and what it must know after a restart.
    pub(super) fn brake(&self, population: usize) -> (Option<ProviderBrake>, Option<RecentRemovals>) {
        let state = self.state.lock();
        (state.ledger.told(population), state.ledger.remembered())
    }

    /// Reads once. Returns how long it is until the next time.
    async fn read(&self, context: &Arc<Context>, source: &Source) -> Duration {
        let known = context.memory.read(|content, _| known(&content.world));
        let read = timeout(WHOLE, self.all(context, source)).await;
        let slow = || Err((Reason::Unreachable, format!("it was not read within {} minutes", WHOLE.as_secs() / 60), Retry::Backoff));
        let (outcome, every) = (read.unwrap_or_else(|_| slow()), every(source));
        let now = context.now();
        let mut state = self.state.lock();
        let (attempt, wait) = match outcome {
            Ok(found) => {
                (state.failures, state.complete_at) = (0, Some(now));
                (
                    Attempt::Read(Arc::new(Read::new(now, found, known))),
                    every.mul_f64(0.1f64.mul_add(fraction(&format!("{}{now}", self.uid)), 0.9)),
                )
            }
            Err((reason, message, retry)) => {
                state.failures = state.failures.saturating_add(1);
                let wait = match retry {
                    Retry::Backoff => backoff(state.failures).min(every),
                    Retry::After(wait) => wait,
                    Retry::OnChange => every,
                };
                (Attempt::Failed(reason, message), wait)
            }
        };
        let outcome = match &attempt {
            Attempt::Read(_) => "Complete".to_owned(),
            Attempt::Failed(reason, message) => {
                tracing::warn!(source = self.name, reason = reason.as_str(), why = message.as_str(), "a Source could not be read");
                reason.as_str()
            }
        };
        state.last = Some((attempt, source.metadata.generation));
        drop(state);
        context.metrics.source_read(&self.name, &outcome);
        context.queues.sources.push(&self.name, Lane::New);
        wait
    }

    async fn all(&self, context: &Arc<Context>, source: &Source) -> Result<Found, Trouble> {
        let Some(origin) = source.spec.origin() else {
            let message = "the spec does not say where people come from; write keycloak, ldap or scim".to_owned();
            return Err((Reason::InvalidSpec, message, Retry::OnChange));
        };
        let secrets = outside::secrets(&context.client, &context.memory.settings().namespace, origin.credentials(), origin.ca()).await?;
        let throttle = Throttle::new(u32::try_from(source.spec.requests_per_second).unwrap_or(1)).guarded_by(outside::leads(context));
        let directory = open(origin, secrets, Arc::new(throttle)).map_err(told)?;
        directory.read(&Mapping::of(&source.spec)).await.map_err(told)
    }
}

/// How often a Source is read.
fn every(source: &Source) -> Duration {
    Duration::try_from(source.spec.every.duration()).unwrap_or(WHOLE).max(Duration::from_secs(1))
}

/// Reads until it is stopped.
async fn run(context: Weak<Context>, reader: Arc<Reader>) {
    loop {
        let Some(context) = context.upgrade() else { return };
        let source = context.memory.read(|content, _| content.world.source(&reader.name).cloned());
        let wait = match source.filter(|source| reader.is_of(source) && !rests(source)) {
            Some(source) => match source.spec.origin() {
                Some(Origin::Scim(push)) => reader.look_for_token(&context, &source, &push.token_secret).await,
                _ => reader.read(&context, &source).await,
            },
            None => RESTING,
        };
        drop(context);
        tokio::select! {
            () = sleep(wait) => {}
            () = reader.changed.notified() => {}
        }
    }
}
