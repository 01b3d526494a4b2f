//! One Provider's desk: it connects, looks at everybody from time to time, and settles accounts in the order of their lanes. While the system ails it waits,
//! and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::api::provider::{AccountCounts, OrphanedAccount};
use crate::api::{Provider, Reason};
use crate::connectors::throttle::Throttle;
use crate::plan::account::Capability;
use crate::plan::account_brake::Ledger;
use crate::plan::cell::Cell;
use crate::plan::entitlement::Desired;
use crate::plan::name::fraction;
use crate::plan::provider::{Course, Health, Moment};

use super::super::context::Context;
use super::super::queue::{Lane, Queue};
use super::known::Known;
use super::link::Link;
use super::{RECEIPT, pushes, settle, sweep};

/// At most this many accounts are worked on at once.
const AT_ONCE: usize = 4;
/// How soon it is looked whether a look at everybody is over.
const SOON: Duration = Duration::from_millis(250);
/// How soon it is looked whether a Provider that is going is gone.
const GOING: Duration = Duration::from_secs(1);
/// How often everybody is looked at where the Provider says nothing of use.
const EVERY: Duration = Duration::from_mins(10);

/// One Provider's desk.
#[derive(Debug)]
pub struct Desk {
    name: String,
    uid: String,
    pub(super) queue: Queue,
    /// Who is yet to push for the first time.
    pub(super) pushes: Queue,
    /// By this its calls are counted.
    number: u64,
    pub(super) opened: Instant,
    /// Something changed that may matter: the Provider, a Secret.
    changed: Notify,
    pub(super) state: Mutex<State>,
    /// Who is worked on, by person.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) link: Option<Link>,
    /// What the last connection was tried with.
    pub(super) made_of: String,
    /// What all requests pass.
    pub(super) throttle: Option<Arc<Throttle>>,
    /// The version of the Provider's spec that everybody was last looked at for.
    generation: Option<i64>,
    pub(super) course: Course,
    /// When a system that fails is tried again.
    pub(super) next_try: Option<Timestamp>,
    /// Of what those who wait were told, and up to which arrival.
    pub(super) told: Option<(Reason, u64)>,
    pub(super) capabilities: Vec<Capability>,
    /// How many accounts of which sort there are, and some of those that are nobody's.
    counted: Option<(AccountCounts, Vec<OrphanedAccount>)>,
    cells: BTreeMap<String, Cell>,
    known: Known,
    ledger: Ledger,
    tally: Tally,
    /// When everybody is looked at next.
    pub(super) sweep_at: Option<Instant>,
    /// Whether everybody was looked at once.
    pub(super) swept: bool,
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

impl Desk {
    /// Opens a desk, which works until it is closed.
    pub(super) fn open(context: &Arc<Context>, provider: &Provider) -> Arc<Self> {
        let (name, uid) = (provider.name_any(), provider.uid().unwrap_or_default());
        let status = provider.status.as_ref();
        let (told, removals) = (status.and_then(|status| status.brake.as_ref()), status.and_then(|status| status.removals.as_ref()));
        let state = State { ledger: Ledger::resumed(told, removals, context.now()), ..State::default() };
        let queue = Queue::new(Duration::ZERO);
        let waiting = queue.clone();
        let lanes = move || waiting.lanes();
        let number = context.metrics.desk_opened(&name, lanes);
        let desk = Arc::new(Self {
            name,
            uid,
            queue,
            pushes: Queue::new(Duration::ZERO),
            number,
            opened: Instant::now(),
            changed: Notify::new(),
            state: Mutex::new(state),
            turns: Mutex::default(),
            task: Mutex::default(),
        });
        let task = tokio::spawn(run(Arc::downgrade(context), desk.clone()));
        *desk.task.lock() = Some(task.abort_handle());
        desk
    }

    /// Closes it. Returns whom it looked at, each with whether there is an account.
    pub(super) fn close(&self, context: &Context) -> BTreeMap<String, bool> {
        context.metrics.desk_closed(&self.name, self.number);
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        self.state.lock().cells.iter().map(|(who, cell)| (who.clone(), cell.account.id.is_some())).collect()
    }

    /// The Provider.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The present, by the clock of this desk.
    pub(super) fn moment(&self) -> Moment {
        self.opened.elapsed()
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
            state.capabilities = can.into_iter().collect();
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

    /// The groups that usher gave people, as far as their accounts were looked at.
    pub(super) fn given(&self) -> BTreeSet<String> {
        self.state.lock().cells.values().flat_map(|cell| &cell.account.given_groups).cloned().collect()
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
        let now = |counts: &AccountCounts| AccountCounts {
            managed: size(&state.tally.managed),
            conflicts: size(&state.tally.conflicts),
            ..*counts
        };
        Health {
            trouble: state.course.trouble(),
            failures: state.course.failures(),
            next_try: state.next_try.filter(|_| state.course.trouble().is_some()),
            waiting: self.queue.unfinished(),
            capabilities: state.capabilities.clone(),
            accounts: state.counted.as_ref().map(|(counts, _)| now(counts)),
            orphans: state.counted.as_ref().map(|(_, orphans)| orphans.clone()).unwrap_or_default(),
            brake: state.ledger.told(population),
            removals: state.ledger.remembered(),
            known: state.course.known(),
        }
    }

    /// Lets removals through that wait, if that word names exactly them. Returns whose they are: they go on once that is written down.
    pub fn release(&self, word: &str) -> Vec<String> {
        self.state.lock().ledger.release(word)
    }

    /// Whether somebody may lose something because of an edit.
    pub(super) fn admits(&self, provider: &Provider, who: &str, now: Timestamp) -> bool {
        let mut state = self.state.lock();
        let population = population(&state);
        state.ledger.admits(who, provider.spec.brake, population, now)
    }

    /// It is known who waits for a word, as everybody was looked at.
    pub(super) fn knows_who_waits(&self) {
        self.state.lock().ledger.looked();
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
        state.counted = accounts.or(state.counted.take());
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

    /// There is nothing to be done for an account, as a list tells: what only a look at it tells stays as it was.
    pub(super) fn confirm(&self, context: &Context, who: &str, cell: Option<Cell>) {
        let before = self.cell(who);
        let cell = cell.map(|cell| Cell {
            first_push: before.as_ref().and_then(|before| before.first_push),
            attempts: settle::attempts(&cell, before.as_ref()),
            ..cell
        });
        self.keep(context, who, cell, false);
    }

    /// It was seen when somebody first pushed.
    pub(super) fn pushed(&self, context: &Context, who: &str, at: Timestamp) {
        let mut state = self.state.lock();
        let Some(cell) = state.cells.get_mut(who) else { return };
        cell.first_push = Some(at);
        drop(state);
        tell(context, &self.name, who);
    }

    /// What was found is another system's, or by credentials of the past: everybody is looked at again.
    pub(super) fn sweep_again(&self) {
        self.state.lock().sweep_at = None;
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
}

/// How many accounts there are, also of those who were only seen in a list.
fn population(state: &State) -> usize {
    state.tally.managed.len()
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
    let (mut running, mut sweeping, mut beside) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    beside.spawn(pushes::watch(context.clone(), desk.clone()));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while running.try_join_next().is_some() {}
        while sweeping.try_join_next().is_some() {}
        let Some(context) = context.upgrade() else { return };
        let provider = context
            .memory
            .read(|content, _| content.world.live_providers().find(|(name, _)| **name == desk.name).map(|(_, it)| it.clone()));
        let Some(provider) = provider else {
            // Its own pass closes the desk.
            tokio::time::sleep(GOING).await;
            continue;
        };
        if !desk.connected(&context, &provider).await {
            desk.tell_waiting(&context);
            drop(context);
            tokio::select! {
                () = tokio::time::sleep_until(desk.tried_at()) => {}
                () = desk.changed.notified() => {}
                () = desk.queue.arrival() => {}
            }
            continue;
        }
        if desk.due(&provider) && sweeping.is_empty() {
            let every = Duration::try_from(provider.spec.verify_every.duration()).unwrap_or(EVERY);
            let jitter = 0.2f64.mul_add(fraction(&format!("{}{}", desk.uid, context.tick())), 0.9);
            desk.state.lock().sweep_at = Some(Instant::now() + every.mul_f64(jitter));
            sweeping.spawn(sweep::sweep(context.clone(), desk.clone()));
        }
        if running.is_empty() {
            desk.rests(&context);
        }
        // One that is due while another is under way waits for it.
        let sweep_at = desk.state.lock().sweep_at.unwrap_or_else(Instant::now).max(Instant::now() + SOON);
        let next = tokio::select! {
            next = desk.queue.next() => Some(next),
            () = tokio::time::sleep_until(sweep_at) => None,
            () = desk.changed.notified() => None,
            _ = running.join_next(), if !running.is_empty() => None,
        };
        let Some((who, lane)) = next else { continue };
        if !desk.ready() {
            // It failed meanwhile.
            desk.queue.push(&who, lane);
            desk.queue.done(&who);
            continue;
        }
        let desk = desk.clone();
        running.spawn(async move {
            settle::settle(&context, &desk, &who, lane).await;
            desk.queue.done(&who);
            drop(place);
        });
    }
}
