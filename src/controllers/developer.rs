//! Developers: what is personal, the credentials, the record and the status. Access by Roles is the Roles' work; here it is seen and told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::api::{ConditionType, Developer, DeveloperStatus, Reason};
use crate::cluster::crds;
use crate::cluster::error::Error;
use crate::cluster::pen::Urgency;
use crate::cluster::secrets::{tokens_of, write_kubeconfig};
use crate::plan::access::held_roles;
use crate::plan::cell::{ToldAccounts, tells_of_accounts, told_accounts};
use crate::plan::change::{Step, Verb};
use crate::plan::cluster::ClusterKey;
use crate::plan::credential::plan_credentials;
use crate::plan::departing::{self, tells_of_identities};
use crate::plan::developer::{DeveloperInputs, DeveloperPlan, plan_developer};
use crate::plan::finding::Finding;
use crate::plan::grant::{GrantInputs, Held, accounts_by, plan_grants};
use crate::plan::holding::{holding, lingering};
use crate::plan::status::developer_status;
use crate::plan::world::deleting;

use super::accounts;
use super::context::{Carried, Context, Leaving};
use super::frame::{Done, Pass};
use super::purge::GRANTS;
use super::queue::Lane;
use super::report::{News, error_findings};

/// Credentials go after access; but not later than this, whatever keeps access from going.
const CREDENTIALS_GO_AFTER: Duration = Duration::from_secs(5);
/// What cannot be removed after access is gone holds up the deletion of a Developer this long; then it is a debt of her Departure.
const DEBTS_GO_AFTER: Duration = Duration::from_secs(10);
/// Work that is under way is not told in the status before this.
pub const SETTLES_WITHIN: Duration = Duration::from_secs(1);
/// The same where she was told how she stands, and only her accounts are under way, or nobody changed what is declared of her: outside systems take their time,
/// and what her Roles give may be on its way to thousands. Each word of it is a write in the way of others.
const TOLD_SETTLES_WITHIN: Duration = Duration::from_secs(5);
/// How soon to look again for what takes longer; changes that are seen wake a pass sooner.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Passes over Developers.
pub struct Developers {
    pub(super) context: Arc<Context>,
    /// Where it is written. What is told of all clusters, and the record, is the work of the passes over the home cluster.
    pub(super) cluster: ClusterKey,
    since: Mutex<HashMap<String, Instant>>,
}

impl Pass for Developers {
    fn kind(&self) -> &'static str {
        "Developer"
    }

    fn pass<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Done> {
        async move {
            let found = self.context.memory.read(|content, _| content.world.developer(name).cloned());
            match found {
                None => {
                    self.since.lock().remove(name);
                    self.context.there.people.forget(name);
                    self.context.set_pending(("Developer", name), std::iter::empty());
                    Done::gone()
                }
                Some(developer) => self.run(name, &developer).await.unwrap_or_else(|error| Done { errors: vec![error], ..Done::default() }),
            }
        }
        .boxed()
    }
}

/// What one pass has come to so far.
pub(super) struct Progress {
    pub(super) plan: DeveloperPlan,
    held: BTreeMap<String, Held>,
    pub(super) findings: Vec<Finding>,
    accounts: ToldAccounts,
    pub(super) errors: Vec<Error>,
    pub(super) recheck_at: Option<Timestamp>,
    pub(super) wrote: bool,
    /// What she was granted in this pass, and was not told of yet.
    granted: Vec<String>,
}

impl Progress {
    /// After the writes of a plan.
    pub(super) fn new(plan: DeveloperPlan, carried: Carried) -> Self {
        Self {
            recheck_at: plan.recheck_at,
            wrote: carried.written > 0,
            errors: carried.errors,
            held: BTreeMap::new(),
            findings: Vec::new(),
            accounts: ToldAccounts::default(),
            granted: Vec::new(),
            plan,
        }
    }

    /// Looks again at a moment, unless that is due sooner.
    pub(super) fn recheck(&mut self, at: Option<Timestamp>) {
        self.recheck_at = self.recheck_at.into_iter().chain(at).min();
    }

    /// Tells what went wrong.
    pub(super) fn tell_errors(&mut self) {
        for error in &self.errors {
            let of = if error.kind() == "ServiceAccount" { ConditionType::CredentialsReady } else { ConditionType::WorkspaceReady };
            self.findings.extend(error_findings(of, std::slice::from_ref(error)));
        }
    }
}

impl Developers {
    /// Passes over Developers in a cluster.
    pub fn new(context: Arc<Context>, cluster: ClusterKey) -> Self {
        Self { context, cluster, since: Mutex::default() }
    }

    async fn run(&self, name: &str, developer: &Arc<Developer>) -> Result<Done, Error> {
        let context = &self.context;
        if deleting(developer.as_ref()) && crds::terminating(&context.client, "developers").await? {
            context.read_epoch().await?;
            if self.cluster == ClusterKey::Home {
                context.objects.set_finalizer(developer.as_ref(), false).await?;
            }
            return Ok(Done::default());
        }
        if self.cluster != ClusterKey::Home {
            return self.run_there(name, developer).await;
        }
        if !deleting(developer.as_ref()) && context.objects.set_finalizer(developer.as_ref(), true).await? {
            return Ok(Done { soon: Some(Duration::ZERO), ..Done::default() });
        }
        let now = context.now();
        let mut plan = self.plan(developer, now);
        self.spare(&mut plan).await?;
        let carried = context.carry_out(std::mem::take(&mut plan.phases)).await;
        let mut progress = Progress::new(plan, carried);
        if progress.plan.standing.leaves() {
            self.leave(name, developer, &mut progress).await;
        } else {
            context.leaving.lock().remove(name);
            self.credentials_here(developer, &mut progress, now).await;
        }
        self.verify(developer, &mut progress, now);
        self.wake_what_names_her(&progress);
        // What is looked at before her receipt is there says nothing of her leaving.
        self.receipt(developer, &mut progress).await;
        // What is left tells of it.
        Urgency::ease();
        accounts::look(context, developer);
        self.accounts(developer, &mut progress, now);
        self.record(developer, &mut progress).await;
        let finished = self.finish(developer, &mut progress).await;
        if !progress.granted.is_empty() {
            self.context.event(developer.as_ref(), true, "Granted", &progress.granted.join("; "));
        }
        let soon = finished?;
        Ok(Done { recheck_at: progress.recheck_at, soon, errors: progress.errors, wrote: progress.wrote, ..Done::default() })
    }

    /// Takes removals out of the plan for somebody who stays, while one of usher's CRDs is being deleted or missing.
    pub(super) async fn spare(&self, plan: &mut DeveloperPlan) -> Result<(), Error> {
        let removes = |step: &Step| step.change.verb() == Verb::Delete;
        let any = plan.phases.iter().flatten().any(removes);
        if any && !plan.standing.leaves() && self.context.read_epoch().await?.is_none() {
            plan.phases.iter_mut().for_each(|phase| phase.retain(|step| !removes(step)));
        }
        Ok(())
    }

    pub(super) fn plan(&self, developer: &Arc<Developer>, now: Timestamp) -> DeveloperPlan {
        self.context.memory.read(|_, scene| plan_developer(&DeveloperInputs { scene: scene.only(&self.cluster), developer, now }))
    }

    pub(super) fn plan_for_all(&self, developer: &Arc<Developer>, now: Timestamp) -> DeveloperPlan {
        self.context.memory.read(|_, scene| plan_developer(&DeveloperInputs { scene, developer, now }))
    }

    /// Takes the credentials once access is gone, and marks what is left.
    pub(super) async fn leave(&self, name: &str, developer: &Arc<Developer>, progress: &mut Progress) {
        let context = &self.context;
        let since = context
            .leaving
            .lock()
            .entry(name.to_owned())
            .or_insert_with(|| Leaving { since: Instant::now(), gone: !progress.wrote && progress.plan.found.is_empty(), denied: false })
            .since;
        progress.plan = self.plan(developer, context.now());
        if !progress.plan.access_gone() {
            let roles: BTreeSet<&String> = progress.plan.found.iter().map(|(role, _)| role).collect();
            roles.into_iter().for_each(|role| context.queues.roles.push(role, Lane::Departure));
            if since.elapsed() < CREDENTIALS_GO_AFTER {
                return;
            }
        }
        if !progress.plan.afterwards.is_empty() {
            self.remember_token(developer, &progress.plan).await;
            let carried = context.carry_out(std::mem::take(&mut progress.plan.afterwards)).await;
            progress.wrote |= carried.written > 0;
            progress.errors.extend(carried.errors);
            progress.plan = self.plan(developer, context.now());
        }
        super::triggers::receipts_of(context, name, Lane::Departure);
        let uid = developer.uid().unwrap_or_default();
        // Nobody has them yet; but they are to be dead as well.
        let on_their_way = context.there.take_tokens(&uid);
        if progress.plan.standing.departs() && !on_their_way.is_empty() {
            context.tokens.lock().entry(uid).or_default().extend(on_their_way);
        }
        if progress.plan.access_gone() && self.cluster == ClusterKey::Home {
            let mut leaving = context.leaving.lock();
            if let Some(leaver) = leaving.get_mut(name).filter(|leaver| !leaver.gone) {
                leaver.gone = true;
                context.metrics.revoked_after(leaver.since.elapsed());
            }
        }
    }

    /// Keeps the token that is about to be dead, so that it can be asked whether it is. Without it the Departure waits and does not ask.
    async fn remember_token(&self, developer: &Developer, plan: &DeveloperPlan) {
        let context = &self.context;
        let secrets = plan.afterwards.iter().flatten().filter(|step| step.change.kind() == "Secret");
        let namespaces: BTreeSet<String> = secrets.filter_map(|step| step.change.meta().namespace.clone()).collect();
        let (true, Some(uid)) = (plan.standing.departs(), developer.uid()) else { return };
        for namespace in namespaces {
            let Some(cluster) = context.cluster(&self.cluster) else { return };
            let others: Vec<ClusterKey> = context.memory.read(|content, _| content.links.keys().cloned().collect());
            match tokens_of(&cluster, others.iter(), (&namespace, &developer.name_any())).await {
                Ok(tokens) => context.tokens.lock().entry(uid.clone()).or_default().extend(tokens),
                Err(error) => tracing::debug!(error = error.chain(), "the last token could not be read"),
            }
        }
    }

    /// Issues credentials once the workspace and the identity are there.
    pub(super) async fn credentials(&self, developer: &Arc<Developer>, progress: &mut Progress, now: Timestamp) {
        let context = &self.context;
        let uid = developer.uid().unwrap_or_default();
        let brought = context.there.brought(&uid);
        let notes = brought.iter().map(|(cluster, brought)| (cluster.clone(), brought.note.clone())).collect();
        let more = context.memory.read(|content, _| !content.links.is_empty());
        let all = more.then(|| self.plan_for_all(developer, now));
        let plan = all.as_ref().unwrap_or(&progress.plan);
        let credentials = context.memory.read(|content, scene| {
            let held = held_roles(&content.world, developer, now);
            plan_credentials(scene, developer, plan, &held, (&notes, now))
        });
        progress.findings.extend(credentials.findings);
        progress.recheck(credentials.renew_at);
        let Some(cluster) = context.cluster(&self.cluster) else { return };
        if let Some(write) = &credentials.write {
            match write_kubeconfig(&cluster, &context.memory, write, &brought, now).await {
                Ok(()) => {
                    context.there.delivered(&uid, &brought);
                    progress.wrote = true;
                }
                Err(error) => {
                    progress.findings.extend(error_findings(ConditionType::CredentialsReady, std::slice::from_ref(&error)));
                    progress.errors.push(error);
                }
            }
        }
        if let Some(step) = credentials.welcome {
            let carried = context.carry_out(vec![vec![step]]).await;
            progress.wrote |= carried.written > 0;
            progress.findings.extend(error_findings(ConditionType::CredentialsReady, &carried.errors));
            progress.errors.extend(carried.errors);
        }
    }

    /// Tells how her accounts in outside systems are.
    fn accounts(&self, developer: &Arc<Developer>, progress: &mut Progress, now: Timestamp) {
        let context = &self.context;
        let cells = context.desks.cells_of(&developer.name_any());
        progress.accounts = context.memory.read(|content, _| {
            let told = told_accounts(&content.world, developer, cells, now);
            for (name, held) in &mut progress.held {
                held.accounts = content.world.live_role(name).map(|role| accounts_by(&content.world, role, &told.list)).unwrap_or_default();
            }
            told
        });
        progress.findings.extend(progress.accounts.findings.iter().cloned());
    }

    /// Looks whether all that the plan gives was seen in the clusters.
    fn verify(&self, developer: &Arc<Developer>, progress: &mut Progress, now: Timestamp) {
        let context = &self.context;
        let fresh = self.plan_for_all(developer, now);
        context.set_pending(("Developer", &developer.name_any()), fresh.withheld.iter().chain(&fresh.owed));
        progress.findings.extend(fresh.findings.iter().cloned());
        progress.findings.extend(self.elsewhere(developer, &fresh));
        progress.tell_errors();
        if !fresh.phases.is_empty() && progress.errors.is_empty() {
            progress.findings.push(Finding::new(ConditionType::WorkspaceReady, Reason::Progressing, "workspaces are being made"));
        }
        if fresh.standing.leaves() && !fresh.access_gone() {
            let places: Vec<String> = fresh.found.iter().take(10).map(|(role, namespace)| format!("urole/{role} in {namespace}")).collect();
            progress.findings.push(Finding::new(
                ConditionType::AccessApplied,
                Reason::Departing,
                format!("access is being taken away: {}", places.join(", ")),
            ));
        }
        let (held, findings) = context.memory.read(|content, scene| {
            let mut held = BTreeMap::new();
            let mut findings = Vec::new();
            for (name, via) in held_roles(&content.world, developer, now) {
                let Some(role) = content.world.live_role(&name) else { continue };
                let (holds, troubles) = holding(scene, developer, role, via, &fresh.identities);
                findings.extend(troubles);
                held.insert(name, holds);
            }
            findings.extend(lingering(scene, &fresh, &held));
            (held, findings)
        });
        progress.findings.extend(findings);
        progress.findings.extend(self.missing_references(developer));
        progress.findings.sort();
        progress.findings.dedup();
        progress.held = held;
        progress.plan = fresh;
    }

    /// Lets Roles look again whose bindings name her though she does not hold them: nothing that she holds leads to them any more.
    fn wake_what_names_her(&self, progress: &Progress) {
        let unheld = progress.plan.found.iter().map(|(role, _)| role).filter(|role| !progress.held.contains_key(*role));
        unheld.collect::<BTreeSet<_>>().into_iter().for_each(|role| self.context.queues.roles.push(role, Lane::Drift));
    }

    /// What a Developer names that does not exist.
    fn missing_references(&self, developer: &Developer) -> Vec<Finding> {
        self.context.memory.read(|content, _| {
            let unknown = |name: &str| content.world.environment(name).is_none();
            let pins = developer.spec.workspaces.iter().filter(|pin| unknown(&pin.environment));
            let provided = |name: &str| content.world.live_providers().any(|(provider, _)| provider == name);
            let accounts = developer.spec.accounts.iter().filter(|pin| !provided(&pin.provider)).map(|pin| {
                Finding::new(
                    ConditionType::ReferencesResolved,
                    Reason::ProviderNotFound,
                    format!("uprov/{} does not exist; make it, or take it out of accounts", pin.provider),
                )
            });
            pins.map(|pin| {
                Finding::new(
                    ConditionType::ReferencesResolved,
                    Reason::EnvironmentNotFound,
                    format!("uenv/{} does not exist; make it, or take it out of workspaces", pin.environment),
                )
            })
            .chain(accounts)
            .collect()
        })
    }

    /// Begins the receipt of somebody who left.
    async fn receipt(&self, developer: &Arc<Developer>, progress: &mut Progress) {
        let context = &self.context;
        if !progress.plan.standing.departs() {
            return;
        }
        let now = context.now();
        let missing = context.memory.read(|content, scene| {
            content.world.departures().current(developer).is_none().then(|| departing::begin(scene, developer, now))
        });
        let Some(departure) = missing else { return };
        match context.objects.begin(&departure).await {
            Ok(()) => progress.wrote = true,
            Err(error) => progress.errors.push(error),
        }
    }

    /// Writes the Grants that begin, change or end.
    async fn record(&self, developer: &Arc<Developer>, progress: &mut Progress) {
        let context = &self.context;
        let found: BTreeSet<String> = progress.plan.found.iter().map(|(role, _)| role.clone()).collect();
        let now = context.now();
        let plan = context.memory.read(|content, scene| {
            let grants = content.grants.of(&developer.name_any());
            plan_grants(&GrantInputs {
                scene,
                developer,
                standing: progress.plan.standing,
                held: &progress.held,
                found: &found,
                beyond: &progress.plan.beyond,
                grants: &grants,
                now,
            })
        });
        for grant in &plan.create {
            match context.objects.begin(grant).await {
                Ok(()) => {
                    context.metrics.granted("begun");
                    progress.granted.push(format!("urole/{} in {}", grant.spec.role, grant.spec.summary.targets));
                }
                Err(error) => progress.errors.push(error),
            }
        }
        for grant in &plan.update {
            match context.objects.change_grant(grant).await {
                Ok(()) => {
                    context.metrics.granted("changed");
                    if let Some(end) = &grant.spec.ended {
                        context.queues.records.push(GRANTS, Lane::Sweep);
                        context.event(developer.as_ref(), true, "GrantEnded", &format!("urole/{}: {:?}", grant.spec.role, end.cause));
                    }
                }
                Err(error) => progress.errors.push(error),
            }
        }
        progress.wrote |= !(plan.create.is_empty() && plan.update.is_empty());
    }

    /// Writes the status, or lets a deleted Developer go.
    async fn finish(&self, developer: &Arc<Developer>, progress: &mut Progress) -> Result<Option<Duration>, Error> {
        let context = &self.context;
        let has_receipt = context.memory.read(|content, scene| {
            let receipt = content.world.departures().current(developer);
            receipt.is_some_and(|receipt| {
                tells_of_accounts(receipt, &progress.accounts) && tells_of_identities(scene, receipt, &progress.plan.identities)
            })
        });
        // What is left is paid by the Departure. What went wrong a moment ago may go right the next time.
        let leaving = context.leaving.lock().get(&developer.name_any()).copied();
        // The questions are hers, so they are asked while she is there.
        let asked = leaving.is_some_and(|leaving| leaving.denied);
        let tried = asked && progress.errors.is_empty() && progress.plan.afterwards.is_empty()
            || leaving.is_some_and(|leaving| leaving.since.elapsed() > DEBTS_GO_AFTER);
        if deleting(developer.as_ref()) && progress.plan.access_gone() && has_receipt && tried {
            context.leaving.lock().remove(&developer.name_any());
            context.objects.set_finalizer(developer.as_ref(), false).await?;
            return Ok(None);
        }
        let present = context.memory.read(|content, _| content.world.developer(&developer.name_any()).cloned());
        // What was planned for an older spec says nothing about this one, whose pass follows.
        let Some(developer) = present.filter(|present| present.metadata.generation == developer.metadata.generation) else {
            return Ok(None);
        };
        let now = context.now();
        let status = context.memory.read(|content, _| {
            developer_status(&content.world, &developer, &progress.plan, (&progress.held, &progress.accounts, &progress.findings), now)
        });
        let previous = developer.status.as_ref();
        let under_way = self.under_way(&developer, &progress.findings);
        if let Some(UnderWay { told: false, look_again }) = under_way {
            return Ok(look_again);
        }
        if context.objects.write_status(developer.as_ref(), previous, &status).await? {
            self.measure(&developer, &status, now);
            if let Some(news) = News::of(previous.map(|status| status.conditions.as_slice()), &status.conditions) {
                // What she was granted meanwhile is no Event of its own then.
                let granted = std::mem::take(&mut progress.granted);
                let news = if granted.is_empty() { news } else { news.and(&format!("granted {}", granted.join("; "))) };
                news.tell(context, developer.as_ref());
            }
        }
        Ok(under_way.and_then(|it| it.look_again))
    }

    /// Measures what was told for the first time.
    fn measure(&self, developer: &Developer, status: &DeveloperStatus, now: Timestamp) {
        let metrics = &self.context.metrics;
        let Some(created) = developer.creation_timestamp() else { return };
        let before = developer.status.as_ref().and_then(|status| status.timeline.clone()).unwrap_or_default();
        let after = status.timeline.clone().unwrap_or_default();
        let since = |at: Timestamp| at.duration_since(created.0).as_secs_f64();
        let news = |before: &Option<Time>, after: &Option<Time>| before.is_none() && after.is_some();
        if news(&before.access_ready_at, &after.access_ready_at) {
            metrics.ready_after(since(now));
        }
        if news(&before.accounts_ready_at, &after.accounts_ready_at) {
            metrics.accounts_after(since(now));
        }
        if let (None, Some(at)) = (before.first_commit_at, after.first_commit_at) {
            metrics.first_commit_after(since(at.0));
        }
    }

    /// What is under way, if anything. A status that only says so is not written at first: most work is done in a moment.
    fn under_way(&self, developer: &Developer, findings: &[Finding]) -> Option<UnderWay> {
        let name = developer.name_any();
        let passing = |finding: &Finding| matches!(finding.reason, Reason::Progressing | Reason::Departing);
        let mut since = self.since.lock();
        if !findings.iter().any(passing) {
            since.remove(&name);
            return None;
        }
        let waited = since.entry(name).or_insert_with(Instant::now).elapsed();
        let only_accounts = findings.iter().all(|finding| finding.condition == ConditionType::AccountsSynced);
        let told = developer.status.as_ref().and_then(|status| status.observed_generation);
        let patient = told.is_some() && (only_accounts || told == developer.metadata.generation);
        let settles = if patient { TOLD_SETTLES_WITHIN } else { SETTLES_WITHIN };
        if findings.iter().all(passing) && waited < settles {
            return Some(UnderWay { told: false, look_again: Some(settles.saturating_sub(waited)) });
        }
        // When an account is as it should be its desk says so.
        Some(UnderWay { told: true, look_again: (!only_accounts).then_some(LOOK_AGAIN) })
    }
}

/// What is under way.
struct UnderWay {
    /// Whether it has taken so long that the status says so.
    told: bool,
    /// When to look again.
    look_again: Option<Duration>,
}
