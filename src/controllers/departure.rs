//! Departures: the receipt of somebody who left. It seals her workspaces, asks the API servers, reads everything again, and keeps trying.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::api::departure::{DepartureState, Leftover, Sealed};
use crate::api::{ConditionType, Departure, DepartureStatus, Reason};
use crate::cluster::ask::Naming;
use crate::cluster::error::Error;
use crate::cluster::pen::Urgency;
use crate::cluster::secrets::accepted;
use crate::plan::access::Standing;
use crate::plan::cluster::ClusterKey;
use crate::plan::departing::{Departing, departing};
use crate::plan::departures::{complete, lasts};
use crate::plan::developer::whole_second;
use crate::plan::entitlement::accounts_of;
use crate::plan::placement::Scene;
use crate::plan::receipt::{self, Found, FoundIn, receipt};
use crate::plan::seal::{awaits_workspace, keep_all, still_sealed, unseal, workspaces};

use super::accounts;
use super::context::Context;
use super::frame::{Done, Pass};
use super::queue::Lane;
use super::seal::{ACCOUNTS_GO_AFTER, Cleared, SOON, Scans, TOKENS_REMEMBERED, denied_everywhere, milliseconds, take_accounts};

/// How soon to ask again whether a token is refused.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How soon to look again after something went wrong, and how late at most.
const FIRST_TRY: Duration = Duration::from_secs(2);
const LAST_TRY: Duration = Duration::from_mins(10);

/// Passes over Departures.
pub struct Departures {
    context: Arc<Context>,
    /// Where the work is done. The receipt is written by the passes over the home cluster.
    cluster: ClusterKey,
    scans: Scans,
    progress: Mutex<HashMap<String, Progress>>,
    /// Of clusters that do not answer, by receipt.
    silent: Mutex<HashMap<String, Tries>>,
}

/// How often clusters that do not answer were asked about in vain, and when they are next.
type Tries = BTreeMap<ClusterKey, (u32, Timestamp)>;

/// What is remembered of a departure until it is complete.
#[derive(Clone, Debug)]
struct Progress {
    since: Instant,
    /// What is known of the ServiceAccounts in her workspaces.
    cleared: Cleared,
    /// Since when her ServiceAccounts are gone.
    accounts_gone: Option<Instant>,
    /// Since when all that was asked is denied.
    denied: Option<(Instant, Timestamp)>,
    tries: u32,
}

impl Pass for Departures {
    fn kind(&self) -> &'static str {
        "Departure"
    }

    fn pass<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Done> {
        async move {
            let found = self.context.memory.read(|content, _| content.world.departures().get(name).cloned());
            match found.filter(|departure| lasts(departure)) {
                Some(departure) => self.run(&departure).await.unwrap_or_else(|error| Done { errors: vec![error], ..Done::default() }),
                None => {
                    self.progress.lock().remove(name);
                    self.silent.lock().remove(name);
                    self.context.there.departures.forget(name);
                    Done::gone()
                }
            }
        }
        .boxed()
    }
}

impl Departures {
    /// Passes over Departures, in a cluster.
    pub fn new(context: Arc<Context>, cluster: ClusterKey) -> Self {
        Self { context, cluster, scans: Scans::default(), progress: Mutex::default(), silent: Mutex::default() }
    }

    /// What there is to do in this cluster.
    fn look(&self, departure: &Departure) -> Departing {
        let now = self.context.now();
        self.context.memory.read(|_, scene| departing(scene.only(&self.cluster), departure, now))
    }

    async fn run(&self, departure: &Arc<Departure>) -> Result<Done, Error> {
        let view = self.look(departure);
        match view.standing {
            Some(Standing::Active) => return self.back(departure).await,
            // She did not leave after all; what was sealed waits until she is Active.
            Some(Standing::Pending | Standing::Suspended | Standing::Locked) => return Ok(Done::default()),
            Some(Standing::Departed | Standing::Deleted) | None => {}
        }
        let (here, soon) = self.here(departure, &view).await;
        if self.cluster != ClusterKey::Home {
            if self.context.there.departures.tell(&departure.name_any(), &self.cluster, here) {
                self.context.queues.departures.push_here(&departure.name_any(), Lane::Departure);
            }
            return Ok(Done { soon, ..Done::default() });
        }
        // Others need not wait for what only tells of it.
        Urgency::ease();
        self.tell(departure, view, here, soon).await
    }

    /// What was found in this cluster, and when to look again.
    async fn here(&self, departure: &Departure, view: &Departing) -> (FoundIn, Option<Duration>) {
        if complete(departure) && nothing_new(view) {
            // A receipt that is complete stays so, as long as nothing new is seen: only what becomes of the data is told.
            return (as_before(departure, &self.cluster, view), None);
        }
        let mut found = self.work(departure, view).await;
        let again = self.next(&departure.name_any(), &found);
        found.next_try = again.filter(|_| found.error.is_some()).and_then(|wait| later(self.context.now(), wait));
        (found, again)
    }

    /// Writes the receipt: what was found here, and in each other cluster.
    async fn tell(&self, departure: &Arc<Departure>, view: Departing, here: FoundIn, mut soon: Option<Duration>) -> Result<Done, Error> {
        let now = self.context.now();
        let all = self.context.memory.read(|_, scene| (!scene.links.is_empty()).then(|| departing(scene, departure, now)));
        let view = all.unwrap_or(view);
        let present = self.context.memory.read(|content, _| {
            let left = &departure.spec.developer;
            content.world.developer(&left.name).is_some_and(|developer| developer.uid().as_ref() == Some(&left.uid))
        });
        let mut found = Found {
            identities: view.identities.clone(),
            workspaces: view.workspaces.clone(),
            places: view.places.clone(),
            sealed: if complete(departure) && nothing_new(&view) { sealed_before(departure) } else { view.seal.record.clone() },
            brake: view.brake.clone(),
            ..Found::default()
        };
        let there = self.context.there.departures.of(&departure.name_any());
        for cluster in view.clusters.iter().filter(|cluster| **cluster != ClusterKey::Home) {
            let (at, wait) = self.elsewhere(departure, cluster, &view, there.get(cluster));
            found.clusters.insert(cluster.clone(), at);
            soon = soon.into_iter().chain(wait).min();
        }
        found.clusters.insert(ClusterKey::Home, here);
        if found.access_gone() {
            self.tell_denied(&departure.spec.developer.name);
        }
        let name = departure.name_any();
        let who = if present { departure.spec.developer.name.clone() } else { accounts::of_receipt(&name) };
        if !present {
            accounts::look_at_receipt(&self.context, departure);
        }
        let cells = self.context.desks.cells_of(&who);
        found.accounts = self.context.memory.read(|content, _| {
            let mut accounts = receipt::accounts(&content.world, departure, &cells);
            if let Some(developer) = content.world.developer(&departure.spec.developer.name).filter(|_| present) {
                receipt::expected(&mut accounts, accounts_of(&content.world, developer, self.context.now()));
            }
            accounts
        });
        found.next_try = soon.and_then(|wait| later(now, wait));
        let status = receipt(departure, found, self.context.now());
        let mut done = Done { soon, recheck_at: view.recheck_at, ..Done::default() };
        match self.write(departure, status).await {
            Ok(wrote) => done.wrote = wrote,
            Err(error) => done.errors.push(error),
        }
        Ok(done)
    }

    /// What is known of another cluster: what its own pass has found, or that it does not answer.
    fn elsewhere(
        &self,
        departure: &Departure,
        cluster: &ClusterKey,
        view: &Departing,
        found: Option<&FoundIn>,
    ) -> (FoundIn, Option<Duration>) {
        let silence = view.silent.get(cluster);
        if complete(departure) && nothing_new(view) && (silence.is_some() || found.is_none()) {
            return (as_before(departure, cluster, view), None);
        }
        let Some(why) = silence else {
            return (found.cloned().unwrap_or_default(), None);
        };
        let (name, now) = (departure.name_any(), self.context.now());
        let mut silent = self.silent.lock();
        let (tries, next) = silent.entry(name).or_default().entry(cluster.clone()).or_insert((0, now));
        if *next <= now {
            *next = later(now, patience(*tries)).unwrap_or(now);
            *tries += 1;
        }
        let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
        (FoundIn::silent(format!("{cluster}: {why}"), *tries, Some(*next)), Some(wait))
    }

    /// Takes away what is left, asks and reads.
    async fn work(&self, departure: &Departure, view: &Departing) -> FoundIn {
        let name = departure.name_any();
        let mut found = FoundIn::default();
        let started = self.context.leaving.lock().get(&departure.spec.developer.name).map_or_else(Instant::now, |leaving| leaving.since);
        let new = Progress { since: started, cleared: Cleared::default(), accounts_gone: None, denied: None, tries: 0 };
        let mut progress = self.progress.lock().entry(name.clone()).or_insert(new).clone();
        let outcome = self.steps(departure, view, &mut found, &mut progress).await;
        progress.tries = if outcome.is_err() { progress.tries.saturating_add(1) } else { 0 };
        found.attempts = progress.tries;
        found.error = outcome.err().map(|error| self.named(&error));
        self.progress.lock().insert(name, progress);
        found
    }

    async fn steps(&self, departure: &Departure, view: &Departing, found: &mut FoundIn, progress: &mut Progress) -> Result<(), Error> {
        let (context, began) = (&self.context, Instant::now());
        self.seal(departure, view).await?;
        // While usher's kinds come and go, that a Developer is not there says nothing.
        if context.epoch().is_some() {
            context.carry_out(vec![view.access_debts.clone()]).await.failure()?;
        }
        let patient = progress.since.elapsed() < ACCOUNTS_GO_AFTER;
        if view.named && patient {
            return Ok(());
        }
        self.deny(departure, view, found, progress).await?;
        if !found.access_gone && patient {
            return Ok(());
        }
        // What cannot be taken out of others' bindings is found when everything is read, and told as left.
        for error in context.carry_out(vec![view.foreign.clone()]).await.errors {
            tracing::warn!(departure = departure.name_any(), error = error.chain(), "a binding that usher did not make still names her");
        }
        let carried = context.carry_out(vec![view.debts.clone()]).await;
        let denied = progress.denied.filter(|_| found.access_gone).map(|(_, at)| at);
        let cleared = take_accounts(context, &view.sites, denied, &mut progress.cleared).await?;
        carried.failure()?;
        if !found.access_gone {
            return Ok(());
        }
        if view.accounts || !cleared {
            progress.accounts_gone = None;
            return Ok(());
        }
        let gone = *progress.accounts_gone.get_or_insert_with(Instant::now);
        found.credentials_revoked =
            gone.elapsed() >= TOKENS_REMEMBERED || view.identities.iter().all(|identity| identity.namespace.is_none());
        if found.credentials_revoked && self.still_accepted(departure).await? {
            found.credentials_revoked = false;
        }
        if found.credentials_revoked {
            let fresh = self.look(departure);
            // What was left may have gone since it was read.
            let left = departure.status.as_ref().is_some_and(|status| !status.leftovers.is_empty());
            found.leftovers = Some(self.leftovers(&fresh, if left { began } else { gone }).await?);
        }
        Ok(())
    }

    /// Whether the API server still knows her by the last token that usher issued; if that is not remembered it was waited long enough.
    async fn still_accepted(&self, departure: &Departure) -> Result<bool, Error> {
        let (context, uid) = (&self.context, &departure.spec.developer.uid);
        let Some(cluster) = context.cluster(&self.cluster) else { return Ok(false) };
        let Some(token) = context.tokens.lock().get(uid).and_then(|hers| hers.get(&self.cluster)).cloned() else { return Ok(false) };
        let accepted = accepted(cluster.client(), &token).await?;
        if !accepted {
            let mut tokens = context.tokens.lock();
            if let Some(hers) = tokens.get_mut(uid) {
                hers.remove(&self.cluster);
            }
            tokens.retain(|_, hers| !hers.is_empty());
        }
        Ok(accepted)
    }

    /// Asks whether she is denied everywhere.
    async fn deny(&self, departure: &Departure, view: &Departing, found: &mut FoundIn, progress: &mut Progress) -> Result<(), Error> {
        if view.named {
            return Ok(());
        }
        if progress.denied.is_none() {
            if !denied_everywhere(&self.context, &self.cluster, &view.questions).await? {
                return Ok(());
            }
            progress.denied = Some((Instant::now(), self.context.now()));
        }
        let asked = Some(departure.spec.requested_at.0);
        found.access_gone_ms =
            progress.denied.filter(|_| !view.questions.is_empty()).and_then(|denied| milliseconds(asked, progress.since, denied));
        found.access_gone = true;
        Ok(())
    }

    /// Her deletion may have waited for it.
    fn tell_denied(&self, name: &str) {
        let news = self.context.leaving.lock().get_mut(name).is_some_and(|leaving| !std::mem::replace(&mut leaving.denied, true));
        if news {
            self.context.queues.developers.push(name, Lane::Departure);
        }
    }

    /// Takes out what others may do in her workspaces; what is taken is written down before.
    async fn seal(&self, departure: &Departure, view: &Departing) -> Result<(), Error> {
        let before = departure.status.clone().unwrap_or_default();
        if before.sealed != view.seal.record {
            let status = DepartureStatus { sealed: view.seal.record.clone(), ..before.clone() };
            self.context.objects.write_status(departure, Some(&before), &status).await?;
        }
        self.context.carry_out(vec![view.seal.steps.clone()]).await.failure()
    }

    /// An error in words, with the cluster where that is another one.
    fn named(&self, error: &Error) -> String {
        match &self.cluster {
            ClusterKey::Home => error.chain(),
            elsewhere @ ClusterKey::Remote(..) => format!("{elsewhere}: {}", error.chain()),
        }
    }

    /// Reads every binding again, and says which of them name her.
    async fn leftovers(&self, view: &Departing, since: Instant) -> Result<Vec<Leftover>, Error> {
        let mut leftovers = Vec::new();
        let Some(cluster) = self.context.cluster(&self.cluster) else { return Ok(leftovers) };
        let scan = self.scans.since(&self.cluster, cluster.client(), since).await?;
        for face in view.faces.iter().filter(|face| face.cluster == self.cluster) {
            let left = scan.naming(&face.known).iter().map(|naming| leftover(&face.target, naming, "her"));
            leftovers.extend(left);
        }
        for site in view.sites.iter().filter(|site| site.cluster == self.cluster) {
            let accounts = scan.naming_accounts_of(&site.namespace);
            leftovers.extend(accounts.map(|(name, naming)| {
                leftover(
                    &view.places.target(&site.environment, &site.cluster),
                    naming,
                    &format!("ServiceAccount {name} of her workspace {}", site.namespace),
                )
            }));
        }
        leftovers.sort();
        leftovers.dedup_by(|one, other| one.object == other.object);
        Ok(leftovers)
    }

    /// When to look again.
    fn next(&self, name: &str, found: &FoundIn) -> Option<Duration> {
        let progress = self.progress.lock();
        let progress = progress.get(name)?;
        if found.error.is_some() {
            return Some(patience(progress.tries));
        }
        if !found.access_gone {
            return Some(if progress.since.elapsed() < ACCOUNTS_GO_AFTER { SOON } else { FIRST_TRY });
        }
        if !found.credentials_revoked {
            let left = progress.accounts_gone.map(|gone| TOKENS_REMEMBERED.saturating_sub(gone.elapsed()));
            return Some(left.unwrap_or(SOON).max(ASK_AGAIN));
        }
        found.leftovers.as_ref().filter(|left| !left.is_empty()).map(|_| LAST_TRY)
    }

    async fn write(&self, departure: &Departure, mut status: DepartureStatus) -> Result<bool, Error> {
        let context = &self.context;
        let present = context.memory.read(|content, _| content.world.departures().get(&departure.name_any()).cloned());
        let Some(present) = present else { return Ok(false) };
        // The pass over another cluster may have sealed something since.
        keep_all(&mut status.sealed, &sealed_before(&present));
        let wrote = context.objects.write_status(present.as_ref(), present.status.as_ref(), &status).await?;
        let state = |status: Option<&DepartureStatus>| status.and_then(|status| status.state);
        if wrote && state(present.status.as_ref()) != state(Some(&status)) {
            let good = !matches!(status.state, Some(DepartureState::Incomplete));
            let message = status.summary.as_ref().map(|summary| summary.message.clone()).unwrap_or_default();
            let note = if message.is_empty() { format!("dev/{}", departure.spec.developer.name) } else { message };
            context.event(present.as_ref(), good, &format!("{:?}", status.state.unwrap_or(DepartureState::Revoking)), &note);
        }
        if wrote && status.brake != present.status.as_ref().and_then(|status| status.brake.clone()) {
            // The others of the batch say so, too.
            let all: Vec<String> =
                context.memory.read(|content, _| content.world.departures().all().map(|(name, _)| name.clone()).collect());
            all.iter().for_each(|name| context.queues.departures.push_after(name, Lane::Sweep, Duration::from_secs(1)));
        }
        Ok(wrote)
    }

    /// Puts back what was sealed, and closes the receipt.
    async fn back(&self, departure: &Arc<Departure>) -> Result<Done, Error> {
        let context = &self.context;
        let kept = sealed_before(departure);
        let put_back = |scene: Scene<'_>| {
            let left = &departure.spec.developer;
            let Some(developer) = scene.world.developer(&left.name) else { return (Vec::new(), true) };
            let sites = workspaces(scene, &left.name, &developer.uid().unwrap_or_default());
            // While Locks cannot be read, nobody is given anything.
            let waits = !scene.world.locks_readable() || awaits_workspace(scene, developer, &sites, &kept);
            (unseal(scene, &sites, &kept), waits)
        };
        let (steps, waits) = context.memory.read(|_, scene| put_back(scene.only(&self.cluster)));
        if waits {
            return Ok(Done { soon: Some(Duration::from_secs(1)), ..Done::default() });
        }
        let carried = context.carry_out(vec![steps]).await;
        if self.cluster != ClusterKey::Home {
            context.queues.departures.push_here(&departure.name_any(), Lane::New);
            return Ok(Done { wrote: carried.written > 0, errors: carried.errors, ..Done::default() });
        }
        let before = departure.status.clone().unwrap_or_default();
        let now = context.now();
        let mut status = before.clone();
        if !carried.errors.is_empty() {
            return Ok(Done { errors: carried.errors, wrote: carried.written > 0, ..Done::default() });
        }
        // What was taken out elsewhere is put back by the passes there, and is remembered until then; what is back here is not put back again.
        status.sealed = context.memory.read(|_, scene| {
            let left = &departure.spec.developer;
            let Some(developer) = scene.world.developer(&left.name) else { return Vec::new() };
            still_sealed(scene, developer, &workspaces(scene, &left.name, &developer.uid().unwrap_or_default()), &kept)
        });
        if !status.sealed.is_empty() {
            context.objects.write_status(departure.as_ref(), Some(&before), &status).await?;
            return Ok(Done { soon: Some(Duration::from_secs(1)), wrote: carried.written > 0, ..Done::default() });
        }
        status.sealed = kept;
        status.returned_at = Some(whole_second(now));
        status.brake = None;
        for condition in status.conditions.iter_mut().filter(|condition| condition.type_ == ConditionType::Complete.to_string()) {
            condition.reason = Reason::Returned.as_str();
        }
        context.objects.write_status(departure.as_ref(), Some(&before), &status).await?;
        context.tokens.lock().remove(&departure.spec.developer.uid);
        self.progress.lock().remove(&departure.name_any());
        Ok(Done { wrote: true, ..Done::default() })
    }
}

/// The time until the next try, after so many in vain.
fn patience(tries: u32) -> Duration {
    FIRST_TRY.saturating_mul(1 << tries.min(16)).min(LAST_TRY)
}

/// The moment so long after another one, unless that is beyond all times.
fn later(now: Timestamp, wait: Duration) -> Option<Timestamp> {
    now.checked_add(SignedDuration::try_from(wait).ok()?).ok()
}

/// What a receipt says is kept for a return.
fn sealed_before(departure: &Departure) -> Vec<Sealed> {
    departure.status.as_ref().map(|status| status.sealed.clone()).unwrap_or_default()
}

/// Whether nothing of hers is seen that a complete receipt does not tell of.
fn nothing_new(view: &Departing) -> bool {
    !view.named
        && !view.accounts
        && !view.foreign_bindings
        && view.seal.steps.is_empty()
        && view.access_debts.is_empty()
        && view.debts.is_empty()
}

/// What a complete receipt says of a cluster.
fn as_before(departure: &Departure, cluster: &ClusterKey, view: &Departing) -> FoundIn {
    let before = departure.status.clone().unwrap_or_default();
    let here = |left: &Leftover| view.places.place(&left.target).is_some_and(|place| place.cluster == *cluster);
    let leftovers = before.leftovers.into_iter().filter(here).collect();
    FoundIn { access_gone: true, credentials_revoked: true, leftovers: Some(leftovers), ..FoundIn::default() }
}

fn leftover(target: &str, naming: &Naming, whom: &str) -> Leftover {
    let (kind, place) = match &naming.namespace {
        Some(namespace) => ("RoleBinding", format!("{namespace}/{}", naming.name)),
        None => ("ClusterRoleBinding", naming.name.clone()),
    };
    Leftover {
        target: target.to_owned(),
        object: format!("{kind} {place}"),
        reason: format!("gives {} to {whom} and was not made by usher; take her out of it, or delete it", naming.gives),
    }
}
