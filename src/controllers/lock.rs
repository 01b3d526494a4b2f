//! Locks: the person has nothing while one holds. Her passes take it away; here it is asked for, her workspaces are sealed, and it is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::api::lock::LockState;
use crate::api::{Lock, LockStatus};
use crate::cluster::crds;
use crate::cluster::error::Error;
use crate::plan::access::{Standing, lock_holds};
use crate::plan::cluster::ClusterKey;
use crate::plan::locking::{LockFound, Locking, lock_status, locked_accounts, locking};
use crate::plan::seal::keep_all;
use crate::plan::world::deleting;

use super::context::Context;
use super::frame::{Done, Pass};
use super::queue::Lane;
use super::report::announce;
use super::seal::{ACCOUNTS_GO_AFTER, Cleared, SOON, TOKENS_REMEMBERED, denied_everywhere, take_accounts};

/// Passes over Locks.
pub struct Locks {
    context: Arc<Context>,
    /// Where the work is done. The Lock's own status is written by the passes over the home cluster.
    cluster: ClusterKey,
    progress: Mutex<HashMap<String, Progress>>,
}

/// What is remembered of a Lock while it is being applied.
#[derive(Clone, Debug)]
struct Progress {
    since: Instant,
    /// What is known of the ServiceAccounts in her workspaces.
    cleared: Cleared,
    /// Since when all that was asked is denied.
    denied: Option<(Instant, Timestamp)>,
    accounts_gone: Option<Instant>,
}

impl Pass for Locks {
    fn kind(&self) -> &'static str {
        "Lock"
    }

    fn pass<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Done> {
        async move {
            let found = self.context.memory.read(|content, _| content.world.lock(name).cloned());
            match found {
                Some(lock) => self.run(&lock).await.unwrap_or_else(|error| Done { errors: vec![error], ..Done::default() }),
                None => {
                    self.progress.lock().remove(name);
                    self.context.there.locks.forget(name);
                    Done::gone()
                }
            }
        }
        .boxed()
    }
}

impl Locks {
    /// Passes over Locks, in a cluster.
    pub fn new(context: Arc<Context>, cluster: ClusterKey) -> Self {
        Self { context, cluster, progress: Mutex::default() }
    }

    async fn run(&self, lock: &Arc<Lock>) -> Result<Done, Error> {
        let context = &self.context;
        let now = context.now();
        if deleting(lock.as_ref()) && crds::terminating(&context.client, "locks").await? {
            // The kind goes, not the Lock: from now on nothing is added to anybody.
            context.read_epoch().await?;
            if self.cluster == ClusterKey::Home {
                context.objects.set_finalizer(lock.as_ref(), false).await?;
            }
            return Ok(Done::default());
        }
        if self.cluster != ClusterKey::Home {
            return Ok(self.run_there(lock, now).await);
        }
        if !deleting(lock.as_ref()) && context.objects.set_finalizer(lock.as_ref(), true).await? {
            return Ok(Done { soon: Some(Duration::ZERO), ..Done::default() });
        }
        let view = context.memory.read(|_, scene| locking(scene.only(&self.cluster), lock, now));
        let (mut found, error) = if lock_holds(lock, now) { self.apply(lock, &view).await } else { self.lift(lock, &view).await };
        let here = found.clone();
        self.join(lock, &mut found, now);
        let cells = context.desks.cells_of(&lock.spec.developer);
        found.accounts = context.memory.read(|content, _| locked_accounts(&content.world, lock, &cells, now));
        let settled = found.lifted && error.is_none() && (found.sealed.is_empty() || view.kept_elsewhere);
        let mut done = Done { recheck_at: lock.spec.until.as_ref().map(|until| until.0).filter(|until| *until > now), ..Done::default() };
        if !here.access_gone && !here.lifted {
            done.soon = Some(self.soon(lock, error.is_some()));
        } else if !here.lifted && !here.credentials_revoked {
            done.soon = Some(TOKENS_REMEMBERED);
        } else if found.lifted && !found.sealed.is_empty() && view.standing == Some(Standing::Active) {
            done.soon = Some(Duration::from_secs(1));
        }
        done.errors.extend(error);
        done.wrote = self.write(lock, &found, now).await?;
        if deleting(lock.as_ref()) && settled {
            context.objects.set_finalizer(lock.as_ref(), false).await?;
            self.progress.lock().remove(&lock.name_any());
        }
        Ok(done)
    }

    /// How soon to look whether access is gone: less often where that takes long or fails.
    fn soon(&self, lock: &Lock, fails: bool) -> Duration {
        let since = self.progress.lock().get(&lock.name_any()).map(|progress| progress.since.elapsed());
        let long = fails || since.is_some_and(|since| since > ACCOUNTS_GO_AFTER);
        if long { Duration::from_secs(1) } else { SOON }
    }

    /// The pass over another cluster. A Lock that does not bear usher's finalizer yet holds all the same.
    async fn run_there(&self, lock: &Arc<Lock>, now: Timestamp) -> Done {
        let view = self.context.memory.read(|_, scene| locking(scene.only(&self.cluster), lock, now));
        let (found, error) = if lock_holds(lock, now) { self.apply(lock, &view).await } else { self.lift(lock, &view).await };
        let waits = !(found.lifted || found.access_gone && found.credentials_revoked);
        let revoking = found.access_gone && !found.credentials_revoked;
        let soon = if revoking { TOKENS_REMEMBERED } else { self.soon(lock, error.is_some()) };
        if self.context.there.locks.tell(&lock.name_any(), &self.cluster, found) {
            self.context.queues.locks.push_here(&lock.name_any(), Lane::Departure);
        }
        Done { soon: waits.then_some(soon), errors: error.into_iter().collect(), ..Done::default() }
    }

    /// Adds what was found in other clusters: what is to be put back there is remembered until it is, and what is to be taken in those that do not answer is
    /// told as such.
    fn join(&self, lock: &Lock, found: &mut LockFound, now: Timestamp) {
        let all = self.context.memory.read(|_, scene| {
            let answering: Vec<ClusterKey> = scene.answering().filter(|key| **key != ClusterKey::Home).cloned().collect();
            (!scene.links.is_empty()).then(|| (locking(scene, lock, now), answering))
        });
        let Some((view, answering)) = all else { return };
        let there = self.context.there.locks.of(&lock.name_any());
        if found.lifted {
            if found.sealed.is_empty() && view.standing.is_some() && !view.kept_elsewhere {
                found.sealed = view.still_kept;
            }
            return;
        }
        // One that was applied already is so still, until the pass there says otherwise.
        let applied = lock.status.as_ref().and_then(|status| status.state) == Some(LockState::Applied) && !view.named;
        let before = LockFound { access_gone: applied, credentials_revoked: applied, ..LockFound::default() };
        for cluster in &answering {
            found.join(there.get(cluster).unwrap_or(&before));
        }
        found.places = view.places();
        found.silent = view.silent;
    }

    /// Seals, asks, and says how far it is.
    async fn apply(&self, lock: &Arc<Lock>, view: &Locking) -> (LockFound, Option<Error>) {
        let name = lock.name_any();
        let mut progress = {
            let started = self.context.leaving.lock().get(&lock.spec.developer).map_or_else(Instant::now, |leaving| leaving.since);
            let new = Progress { since: started, cleared: Cleared::default(), denied: None, accounts_gone: None };
            self.progress.lock().entry(name.clone()).or_insert(new).clone()
        };
        let before = lock.status.clone().unwrap_or_default();
        let mut found = LockFound { sealed: view.seal.record.clone(), places: view.places(), ..LockFound::default() };
        let outcome = self.steps(lock, (view, &before), &mut found, &mut progress).await;
        self.progress.lock().insert(name, progress);
        (found, outcome.err())
    }

    async fn steps(
        &self,
        lock: &Lock,
        (view, before): (&Locking, &LockStatus),
        found: &mut LockFound,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        let context = &self.context;
        if view.standing.is_none() {
            // Nobody is there whom it could lock; it will when she comes.
            (found.access_gone, found.credentials_revoked) = (true, true);
            return Ok(());
        }
        self.seal(lock, view, before).await?;
        let patient = progress.since.elapsed() < ACCOUNTS_GO_AFTER;
        if view.named && patient {
            return Ok(());
        }
        // One that was applied already is so still as long as nothing of hers is seen.
        let applied = before.state == Some(LockState::Applied);
        if !view.named && !applied && progress.denied.is_none() && denied_everywhere(context, &self.cluster, &view.questions).await? {
            progress.denied = Some((Instant::now(), context.now()));
        }
        let denied = progress.denied.filter(|_| !view.named);
        if !applied && denied.is_none() && patient {
            return Ok(());
        }
        found.access_gone_ms = denied.and_then(|denied| milliseconds(lock, progress.since, denied));
        let at = denied.map(|(_, at)| at);
        let cleared = applied || take_accounts(context, &view.sites, at, &mut progress.cleared).await?;
        found.access_gone = !view.named && (applied || denied.is_some()) && cleared;
        if view.accounts || !cleared {
            progress.accounts_gone = None;
        } else {
            let gone = *progress.accounts_gone.get_or_insert_with(Instant::now);
            found.credentials_revoked = gone.elapsed() >= TOKENS_REMEMBERED || applied;
        }
        found.credentials_revoked |= !lock.spec.revoke_credentials;
        Ok(())
    }

    /// Takes out what others may do in her workspaces; what is taken is written down before.
    async fn seal(&self, lock: &Lock, view: &Locking, before: &LockStatus) -> Result<(), Error> {
        if before.sealed != view.seal.record {
            let status = LockStatus { sealed: view.seal.record.clone(), ..before.clone() };
            self.context.objects.write_status(lock, Some(before), &status).await?;
        }
        self.context.carry_out(vec![view.seal.steps.clone()]).await.failure()
    }

    /// Puts back what was sealed, once the person has something again.
    async fn lift(&self, lock: &Arc<Lock>, view: &Locking) -> (LockFound, Option<Error>) {
        let context = &self.context;
        self.progress.lock().remove(&lock.name_any());
        let mut found = LockFound { lifted: true, places: view.places(), ..LockFound::default() };
        let kept = || lock.status.as_ref().map(|status| status.sealed.clone()).unwrap_or_default();
        let steps = match view.standing {
            // Nobody is there any more. Who left has a Departure, which takes over what is kept.
            None => return (found, None),
            Some(Standing::Departed | Standing::Deleted) if view.kept_elsewhere => return (found, None),
            Some(Standing::Departed | Standing::Deleted | Standing::Locked) => None,
            Some(Standing::Active | Standing::Suspended | Standing::Pending) => view.unseal.clone(),
        };
        let Some(steps) = steps else {
            found.sealed = kept();
            return (found, None);
        };
        let carried = context.carry_out(vec![steps]).await;
        let error = carried.errors.into_iter().next();
        if error.is_some() {
            found.sealed = kept();
        }
        (found, error)
    }

    async fn write(&self, lock: &Arc<Lock>, found: &LockFound, now: Timestamp) -> Result<bool, Error> {
        let context = &self.context;
        let Some(present) = context.memory.read(|content, _| content.world.lock(&lock.name_any()).cloned()) else { return Ok(false) };
        let mut found = found.clone();
        if !found.lifted {
            // The pass over another cluster may have sealed something since.
            keep_all(&mut found.sealed, present.status.iter().flat_map(|status| &status.sealed));
        }
        let status = lock_status(&present, &found, now);
        let wrote = context.objects.write_status(present.as_ref(), present.status.as_ref(), &status).await?;
        if wrote {
            announce(context, present.as_ref(), present.status.as_ref().map(|status| status.conditions.as_slice()), &status.conditions);
        }
        Ok(wrote)
    }
}

/// The time from a Lock until all was denied: from when it was written, where that was long before it was seen, as nobody was there to see it.
fn milliseconds(lock: &Lock, seen: Instant, (denied, at): (Instant, Timestamp)) -> Option<i64> {
    let first = lock.status.as_ref().is_none_or(|status| status.access_gone_ms.is_none());
    let asked = lock.creation_timestamp().filter(|_| first).map(|created| created.0);
    super::seal::milliseconds(asked, seen, (denied, at))
}
