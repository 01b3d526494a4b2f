//! One Provider's desk: it connects, looks at everybody from time to time, and settles accounts in the order of their lanes. While the system ails it waits,
//! and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::api::provider::{AccountCounts, OrphanedAccount};
use crate::api::{Provider, Reason};
use crate::cluster::accounts::own_value;
use crate::connectors::error::{ConnectorError, Retry};
use crate::connectors::throttle::Throttle;
use crate::connectors::{Connector, Secrets, connect};
use crate::plan::account::Capability;
use crate::plan::account_brake::Ledger;
use crate::plan::cell::Cell;
use crate::plan::entitlement::Desired;
use crate::plan::name::fraction;
use crate::plan::provider::Health;

use super::super::context::Context;
use super::super::queue::{Lane, Queue};
use super::known::Known;
use super::{RECEIPT, settle, sweep};

/// At most this many accounts are worked on at once.
const AT_ONCE: usize = 4;
/// How soon it is looked whether a look at everybody is over.
const SOON: Duration = Duration::from_millis(250);
/// How soon a system that failed is tried again, and how late at most.
const FIRST_TRY: Duration = Duration::from_secs(1);
const LAST_TRY: Duration = Duration::from_mins(5);
/// What only a change can mend is tried again after this all the same: not every change is seen.
const ON_CHANGE: Duration = Duration::from_mins(10);

/// One Provider's desk.
#[derive(Debug)]
pub struct Desk {
    name: String,
    uid: String,
    queue: Queue,
    /// By this its calls are counted.
    number: u64,
    /// Something changed that may matter: the Provider, a Secret.
    changed: Notify,
    state: Mutex<State>,
    /// Who is worked on, by person.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Debug, Default)]
struct State {
    link: Option<Link>,
    /// What the last connection was tried with.
    made_of: String,
    /// The version of the Provider's spec that everybody was last looked at for.
    generation: Option<i64>,
    health: Health,
    cells: BTreeMap<String, Cell>,
    known: Known,
    ledger: Ledger,
    tally: Tally,
    /// When everybody is looked at next.
    sweep_at: Option<Instant>,
    /// Whether everybody was looked at once.
    swept: bool,
    /// How often a look at everybody failed in a row.
    missed: u32,
    /// When a system that fails is tried again.
    retry_at: Option<Instant>,
}

/// Who has an account, and whose is somebody else's: told between two looks at everybody, too.
#[derive(Debug, Default)]
struct Tally {
    managed: BTreeSet<String>,
    conflicts: BTreeSet<String>,
}

impl Tally {
    fn count(&mut self, who: &str, cell: Option<&Cell>) {
        let set = |names: &mut BTreeSet<String>, holds: bool| if holds { names.insert(who.to_owned()) } else { names.remove(who) };
        set(&mut self.managed, cell.is_some_and(|cell| cell.account.id.is_some()));
        set(&mut self.conflicts, cell.is_some_and(|cell| cell.account.state == "Conflict"));
    }
}

/// A connection, and what it was made of.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) connector: Arc<dyn Connector>,
    pub(super) can: BTreeSet<Capability>,
}

impl Desk {
    /// Opens a desk, which works until it is closed.
    pub(super) fn open(context: &Arc<Context>, provider: &Provider) -> Arc<Self> {
        let (name, uid) = (provider.name_any(), provider.uid().unwrap_or_default());
        let told = provider.status.as_ref().and_then(|status| status.brake.as_ref());
        let state = State { ledger: Ledger::resumed(told, context.now()), ..State::default() };
        let queue = Queue::new(Duration::ZERO);
        let waiting = queue.clone();
        let lanes = move || waiting.lanes().map(|(lane, length, oldest)| (lane.word(), length, oldest)).to_vec();
        let number = context.metrics.desk_opened(&name, lanes);
        let state = Mutex::new(state);
        let (changed, turns, task) = (Notify::new(), Mutex::default(), Mutex::default());
        let desk = Arc::new(Self { name, uid, queue, number, changed, state, turns, task });
        let task = tokio::spawn(run(Arc::downgrade(context), desk.clone()));
        *desk.task.lock() = Some(task.abort_handle());
        desk
    }

    /// Closes it. Returns how many accounts it kept.
    pub(super) fn close(&self, context: &Context) -> usize {
        context.metrics.desk_closed(&self.name, self.number);
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        self.state.lock().cells.values().filter(|cell| cell.account.id.is_some()).count()
    }

    /// The Provider.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    /// Lets it look whether its settings or credentials changed.
    pub(super) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// Sends somebody's account to be settled.
    pub fn push(&self, who: &str, lane: Lane) {
        self.queue.push(who, lane);
    }

    pub(super) fn push_after(&self, who: &str, lane: Lane, delay: Duration) {
        self.queue.push_after(who, lane, delay);
    }

    /// How somebody's account stands, if it was looked at.
    pub fn cell(&self, who: &str) -> Option<Cell> {
        self.state.lock().cells.get(who).cloned()
    }

    /// The same, unless it is an earlier person's of that name.
    pub(super) fn cell_of(&self, who: &str, desired: &Desired) -> Option<Cell> {
        self.cell(who).filter(|cell| cell.wish.owner.person == desired.wish.owner.person)
    }

    /// Somebody's account was seen in a list.
    pub(super) fn seen(&self, who: &str, cell: Option<&Cell>) {
        self.state.lock().tally.count(who, cell);
    }

    /// What is known of people's accounts besides.
    pub(super) fn about<T>(&self, ask: impl FnOnce(&mut Known) -> T) -> T {
        ask(&mut self.state.lock().known)
    }

    /// A system was found to be able to do something else than it seemed at first.
    pub(super) fn learn(&self, link: &Link, can: BTreeSet<Capability>) {
        let mut state = self.state.lock();
        if let Some(present) = state.link.as_mut().filter(|present| Arc::ptr_eq(&present.connector, &link.connector)) {
            present.can.clone_from(&can);
            state.health.capabilities = can.into_iter().collect();
        }
    }

    /// Waits until nobody else works on a person's account: who came back and the receipt of her leaving are two names of one.
    pub(super) async fn turn(&self, person: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock();
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(person.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }

    /// Everybody whose account was looked at.
    pub(super) fn known(&self) -> Vec<String> {
        self.state.lock().cells.keys().cloned().collect()
    }

    /// How the system was found.
    pub fn health(&self) -> Health {
        let state = self.state.lock();
        let population = population(&state);
        let size = |names: &BTreeSet<String>| i64::try_from(names.len()).unwrap_or(i64::MAX);
        let now = |counts| AccountCounts { managed: size(&state.tally.managed), conflicts: size(&state.tally.conflicts), ..counts };
        let accounts = state.health.accounts.map(now);
        Health { brake: state.ledger.told(population), waiting: self.queue.backlog().0, accounts, ..state.health.clone() }
    }

    /// Lets removals through that wait, if that word names exactly them.
    pub fn release(&self, word: &str) {
        let freed = self.state.lock().ledger.release(word);
        freed.iter().for_each(|who| self.push(who, Lane::New));
    }

    /// Whether somebody may lose something because of an edit.
    pub(super) fn admits(&self, provider: &Provider, who: &str, now: Timestamp) -> bool {
        let mut state = self.state.lock();
        let population = population(&state);
        state.ledger.admits(who, provider.spec.brake, population, now)
    }

    /// There is nothing to take from somebody: whether she waited for a word or one was said, that is over.
    pub(super) fn loses_nothing(&self, who: &str) {
        self.state.lock().ledger.forget(who);
    }

    pub(super) fn link(&self) -> Option<Link> {
        self.state.lock().link.clone()
    }

    /// Whether a connection is the present one: what an earlier one finds is another system's, or by credentials of the past.
    pub(super) fn uses(&self, link: &Link) -> bool {
        self.state.lock().link.as_ref().is_some_and(|present| Arc::ptr_eq(&present.connector, &link.connector))
    }

    pub(super) fn swept(&self) -> bool {
        self.state.lock().swept
    }

    /// Everybody was looked at.
    pub(super) fn counted(&self, accounts: Option<(AccountCounts, Vec<OrphanedAccount>)>) {
        let mut state = self.state.lock();
        state.swept = true;
        state.missed = 0;
        if let Some((counts, orphans)) = accounts {
            state.health.accounts = Some(counts);
            state.health.orphans = orphans;
        }
    }

    /// Keeps how somebody's account stands, and tells those who tell of it if that is something else.
    pub(super) fn keep(&self, context: &Context, who: &str, cell: Option<Cell>, braked: bool) {
        if !braked {
            self.loses_nothing(who);
        }
        self.note(context, who, cell, braked);
    }

    /// The same while it is not known what is to be taken: who was let through is so still.
    pub(super) fn note(&self, context: &Context, who: &str, cell: Option<Cell>, braked: bool) {
        let mut state = self.state.lock();
        state.tally.count(who, cell.as_ref());
        let old = match cell.clone() {
            Some(cell) => state.cells.insert(who.to_owned(), cell),
            None => state.cells.remove(who),
        };
        drop(state);
        let same = match (&old, &cell) {
            (Some(old), Some(new)) => old.tells_like(new),
            (None, None) => true,
            _ => false,
        };
        if !same || braked {
            tell(context, &self.name, who);
        }
    }

    /// An account is as it should be, as a list tells: what only a look at it tells stays as it was.
    pub(super) fn confirm(&self, context: &Context, who: &str, cell: Option<Cell>) {
        let before = self.cell(who).and_then(|cell| cell.first_push);
        self.keep(context, who, cell.map(|cell| Cell { first_push: before, ..cell }), false);
    }

    /// A look at everybody failed. It is not put off until the next one is due, but each time longer.
    pub(super) fn missed(&self) {
        let mut state = self.state.lock();
        state.missed = state.missed.saturating_add(1);
        state.sweep_at = Some(Instant::now() + backoff(state.missed));
    }

    /// The system does not answer as it should: everybody who waits for it is told, and it is tried again later.
    pub(super) fn fails(&self, context: &Context, error: &ConnectorError) {
        self.ails(context, error.reason(), error.chain(), error.retry());
    }

    fn ails(&self, context: &Context, reason: Reason, message: String, retry: Retry) {
        let mut state = self.state.lock();
        state.health.failures = state.health.failures.saturating_add(1);
        let wait = match retry {
            Retry::Backoff => backoff(state.health.failures).mul_f64(0.5f64.mul_add(fraction(&self.uid), 0.75)),
            Retry::After(wait) => wait.max(FIRST_TRY),
            Retry::OnChange => ON_CHANGE,
        };
        state.retry_at = Some(Instant::now() + wait);
        state.health.next_try = SignedDuration::try_from(wait).ok().and_then(|wait| context.now().checked_add(wait).ok());
        state.health.trouble = Some((reason, message));
        drop(state);
        tracing::warn!(provider = self.name, ?reason, wait_s = wait.as_secs(), "the system does not answer as it should");
        context.queues.providers.push(&self.name, Lane::New);
    }

    /// The system answered.
    pub(super) fn answers(&self, context: &Context) {
        let mut state = self.state.lock();
        let news = state.health.trouble.is_some() || !state.health.known;
        state.health.trouble = None;
        state.health.failures = 0;
        state.health.next_try = None;
        state.health.known = true;
        state.retry_at = None;
        drop(state);
        if news {
            context.queues.providers.push(&self.name, Lane::New);
        }
    }

    /// What its connector would be made of now: another credential is another connector.
    fn made_of(context: &Context, provider: &Provider) -> String {
        let Some(system) = provider.spec.system() else { return String::new() };
        let secrets = [Some(system.credentials()), system.ca()].into_iter().flatten();
        context.memory.read(|content, _| {
            let versions = secrets.map(|key| content.own_secrets.get(&key.name).and_then(|it| it.resource_version()).unwrap_or_default());
            format!("{:?} {} {:?}", system, provider.spec.requests_per_second, versions.collect::<Vec<_>>())
        })
    }

    /// Whether it is time to look at everybody: after a while, and when the Provider says something else.
    fn due(&self, provider: &Provider) -> bool {
        let mut state = self.state.lock();
        let edited = std::mem::replace(&mut state.generation, provider.metadata.generation) != provider.metadata.generation;
        if edited {
            state.sweep_at = None;
        }
        state.sweep_at.is_none_or(|at| at <= Instant::now())
    }

    /// Connects, unless that is done already; asks the system whether it answers when it did not. Returns whether there is work to be done with it.
    async fn connected(&self, context: &Arc<Context>, provider: &Provider) -> bool {
        let made_of = Self::made_of(context, provider);
        {
            let mut state = self.state.lock();
            // What changed may be what was wrong.
            if std::mem::replace(&mut state.made_of, made_of.clone()) == made_of {
                let ails = state.health.trouble.is_some();
                if !ails && state.link.is_some() {
                    return true;
                }
                if ails && state.retry_at.is_some_and(|at| at > Instant::now()) {
                    return false;
                }
            } else {
                // From now on nothing that the old one says counts.
                state.link = None;
            }
        }
        match self.connect(context, provider).await {
            Ok(link) => {
                let mut state = self.state.lock();
                state.health.capabilities = link.can.iter().copied().collect();
                state.link = Some(link);
                drop(state);
                self.answers(context);
                true
            }
            Err(trouble) => {
                let (reason, message, retry) = trouble;
                self.ails(context, reason, message, retry);
                false
            }
        }
    }

    async fn connect(&self, context: &Arc<Context>, provider: &Provider) -> Result<Link, (Reason, String, Retry)> {
        let told = |error: ConnectorError| (error.reason(), error.chain(), error.retry());
        let Some(system) = provider.spec.system() else {
            return Err((Reason::InvalidSpec, "the spec names no system".to_owned(), Retry::OnChange));
        };
        let credential = self.secret(context, system.credentials()).await?;
        let ca = match system.ca() {
            Some(key) => Some(self.secret(context, key).await?),
            None => None,
        };
        let throttle = Throttle::new(u32::try_from(provider.spec.requests_per_second).unwrap_or(1));
        let (metrics, name, number) = (context.metrics.clone(), self.name.clone(), self.number);
        let throttle = Arc::new(throttle.heard_by(move |outcome| metrics.called(&name, number, outcome)));
        let ca = ca.map(|ca| secrecy::ExposeSecret::expose_secret(&ca).to_owned());
        let connector = connect(system, Secrets { credential, ca }, throttle).map_err(told)?;
        let can = connector.probe().await.map_err(told)?;
        Ok(Link { connector, can })
    }

    async fn secret(
        &self,
        context: &Arc<Context>,
        key: &crate::api::environment::SecretKey,
    ) -> Result<secrecy::SecretString, (Reason, String, Retry)> {
        let namespace = context.memory.settings().namespace.clone();
        match own_value(&context.client, &namespace, key).await {
            Ok(Some(value)) => Ok(value),
            Ok(None) => {
                let message = format!("Secret {namespace}/{} with key {} does not exist; make it", key.name, key.key);
                Err((Reason::SecretNotFound, message, Retry::OnChange))
            }
            Err(error) => Err((Reason::Unreachable, error.chain(), Retry::Backoff)),
        }
    }

    /// Those who wait for a system that fails say so.
    fn tell_waiting(&self, context: &Arc<Context>) {
        let Health { trouble: Some((reason, _)), next_try, .. } = self.health() else { return };
        for who in self.queue.waiting() {
            let trouble = (reason, "the system does not answer as it should; see kubectl get uprov -o wide".to_owned());
            settle::troubles(context, self, &who, trouble, next_try);
        }
    }
}

/// How long to wait after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    FIRST_TRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST_TRY)
}

fn population(state: &State) -> usize {
    state.cells.values().filter(|cell| cell.account.id.is_some()).count()
}

/// Wakes who tells of somebody's account, and of the Provider.
fn tell(context: &Context, provider: &str, who: &str) {
    match who.strip_prefix(RECEIPT) {
        Some(departure) => context.queues.departures.push(departure, Lane::Drift),
        None => {
            context.queues.developers.push(who, Lane::Drift);
            super::super::triggers::receipts_of(context, who, Lane::Drift);
        }
    }
    context.queues.providers.push(provider, Lane::Sweep);
}

/// Works until the desk is closed.
async fn run(context: Weak<Context>, desk: Arc<Desk>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    let mut sweeping: Option<tokio::task::JoinHandle<()>> = None;
    loop {
        while running.try_join_next().is_some() {}
        let Some(context) = context.upgrade() else { return };
        let provider = context
            .memory
            .read(|content, _| content.world.live_providers().find(|(name, _)| **name == desk.name).map(|(_, it)| it.clone()));
        let Some(provider) = provider else {
            // Its own pass closes the desk.
            tokio::time::sleep(FIRST_TRY).await;
            continue;
        };
        if !desk.connected(&context, &provider).await {
            desk.tell_waiting(&context);
            let at = desk.state.lock().retry_at.unwrap_or_else(Instant::now);
            drop(context);
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = desk.changed.notified() => {}
                () = desk.queue.arrival() => {}
            }
            continue;
        }
        let due = desk.due(&provider);
        let idle = sweeping.as_ref().is_none_or(tokio::task::JoinHandle::is_finished);
        if due && idle {
            let every = Duration::try_from(provider.spec.verify_every.duration()).unwrap_or(LAST_TRY);
            let jitter = 0.2f64.mul_add(fraction(&format!("{}{}", desk.uid, context.tick())), 0.9);
            desk.state.lock().sweep_at = Some(Instant::now() + every.mul_f64(jitter));
            sweeping = Some(tokio::spawn(sweep::sweep(context.clone(), desk.clone())));
        }
        // One that is due while another is under way waits for it.
        let sweep_at = desk.state.lock().sweep_at.unwrap_or_else(Instant::now).max(Instant::now() + SOON);
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let next = tokio::select! {
            next = desk.queue.next() => Some(next),
            () = tokio::time::sleep_until(sweep_at) => None,
            () = desk.changed.notified() => None,
        };
        let Some((who, lane)) = next else { continue };
        let desk = desk.clone();
        running.spawn(async move {
            settle::settle(&context, &desk, &who, lane).await;
            desk.queue.done(&who);
            drop(place);
        });
    }
}
