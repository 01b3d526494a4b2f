//! Roles: one plan for all holders, carried out in the order that keeps access exact.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::ResourceExt;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use tokio::time::{Instant, timeout};

use crate::api::metadata::FINALIZER;
use crate::api::role::LastApplied;
use crate::api::{ConditionType, Role};
use crate::cluster::crds;
use crate::cluster::error::Error;
use crate::cluster::pen::Urgency;
use crate::plan::change::{Change, Step};
use crate::plan::cluster::ClusterKey;
use crate::plan::developer::whole_second;
use crate::plan::finding::Finding;
use crate::plan::link::{Silences, awaited, owing};
use crate::plan::placement::Scene;
use crate::plan::revision::plan_revision;
use crate::plan::role::{Additions, Ends, Failed, RoleInputs, RolePlan, plan_role};
use crate::plan::status::role_status;
use crate::plan::world::deleting;

use super::context::{Carried, Context, RoleOutcome};
use super::developer::SETTLES_WITHIN;
use super::frame::{Done, Pass};
use super::purge::REVISIONS;
use super::queue::Lane;
use super::report::{announce, error_findings};
use super::turns::{Turn, Turns};

/// A removal waits at most this long for what another Role still has to add to the same person, as long as that does not fail: a busy API server is no reason for a gap.
const MOST_PATIENCE: Duration = Duration::from_secs(30);
/// And this long while it fails, which may be for ever.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon to look whether the other Role has added it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A Role rests for so many times what its plans took: with ten thousand holders they take long, and people come one after another.
const RESTS: u32 = 20;
/// But never longer: what somebody has no right to any more waits for it, too, unless she leaves.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// Plans are made again after they added something and when it is their turn to take; a few times is enough for any edit.
const MOST_ROUNDS: usize = 7;

/// Passes over Roles.
pub struct Roles {
    context: Arc<Context>,
    /// Where it is written. What is told of all clusters, and the Role itself, is the work of the passes over the home cluster.
    cluster: ClusterKey,
    /// Since when a Role waits, and for which others.
    waiting: Mutex<HashMap<String, (Instant, BTreeSet<String>)>>,
    /// Since when a Role fails.
    failing: Mutex<HashMap<String, Instant>>,
    /// What the plans of the pass that runs took so far.
    planning: Mutex<HashMap<String, Duration>>,
    turns: Turns,
}

impl Pass for Roles {
    fn kind(&self) -> &'static str {
        "Role"
    }

    fn pass<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Done> {
        async move {
            let done = self.run(name).await;
            self.context.consistency.look(name);
            done
        }
        .boxed()
    }
}

/// What the rounds of one pass came to.
#[derive(Default)]
struct Rounds {
    plan: RolePlan,
    errors: Vec<Error>,
    failed: Failed,
    written: usize,
    /// Whether rules were among it, of which no binding tells.
    rules: bool,
}

impl Rounds {
    fn take_in(&mut self, carried: Carried) {
        self.written += carried.written;
        self.errors.extend(carried.errors);
        self.failed.extend(carried.failed);
    }

    /// Whether it stopped for something more urgent.
    fn made_way(&self) -> bool {
        self.errors.iter().any(|error| matches!(error, Error::MadeWay))
    }
}

/// Takes the writes of people who leave out of a plan, but for those where one failed.
fn leaving(plan: &mut RolePlan, failed: &Failed) -> Vec<Step> {
    let count = std::mem::take(&mut plan.leaving).min(plan.phases.len());
    plan.takes = plan.takes.map(|takes| takes.saturating_sub(count));
    plan.phases.drain(..count).flatten().filter(|step| !failed.holds(step)).collect()
}

impl Roles {
    /// Passes over Roles in a cluster.
    pub fn new(context: Arc<Context>, cluster: ClusterKey) -> Self {
        let (waiting, failing, planning) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { context, cluster, waiting, failing, planning, turns: Turns::default() }
    }

    async fn run(&self, name: &str) -> Done {
        let Some(role) = self.context.memory.read(|content, _| content.world.role(name).cloned()) else {
            self.context.set_pending(("Role", name), std::iter::empty());
            return Done::gone();
        };
        self.planning.lock().remove(name);
        let done = self.tell_if_it_takes_long(name, self.judged(name, &role)).await;
        let planning = self.planning.lock().remove(name).unwrap_or_default();
        Done { rest: (planning * RESTS).min(LONGEST_REST), ..done }
    }

    async fn judged(&self, name: &str, role: &Arc<Role>) -> Done {
        match self.try_run(role).await {
            Ok(done) => done,
            Err(error) => {
                let stale = error.is_no_failure();
                let rounds = Rounds { errors: vec![error], ..Rounds::default() };
                if !stale {
                    self.report_outcome(name, &rounds, (false, 0));
                }
                Done { errors: rounds.errors, ..Done::default() }
            }
        }
    }

    /// Carries out a pass. Its end wakes who holds the Role; before, they have nothing to tell of it, unless it takes long.
    async fn tell_if_it_takes_long<T>(&self, name: &str, pass: impl Future<Output = T>) -> T {
        let mut pass = pin!(pass);
        if let Ok(done) = timeout(SETTLES_WITHIN, pass.as_mut()).await {
            return done;
        }
        super::triggers::reporters_of_role(&self.context, name);
        pass.await
    }

    async fn try_run(&self, role: &Arc<Role>) -> Result<Done, Error> {
        let context = &self.context;
        let name = role.name_any();
        if deleting(role.as_ref()) && crds::terminating(&context.client, "roles").await? {
            context.read_epoch().await?;
            if self.cluster == ClusterKey::Home {
                context.objects.set_finalizer(role.as_ref(), false).await?;
            }
            return Ok(Done::default());
        }
        if self.cluster != ClusterKey::Home {
            return self.run_there(role).await;
        }
        if !deleting(role.as_ref()) && context.objects.set_finalizer(role.as_ref(), true).await? {
            // The write is answered with the object as it is now; go on with that.
            return Ok(Done { soon: Some(Duration::ZERO), ..Done::default() });
        }
        let (start, started) = (Instant::now(), context.tick());
        let mut rounds = self.rounds(role).await?;
        let took = start.elapsed();
        if rounds.made_way() {
            // Somebody leaves: the next pass, which begins with her, was asked for.
            return Ok(Done { wrote: rounds.written > 0, errors: rounds.errors, ..Done::default() });
        }
        let settled = self.judge(&name, &rounds, started);
        let (recheck_at, waits) = (rounds.plan.recheck_at, rounds.plan.waits);
        self.plan_for_all(role, &mut rounds);
        context.set_pending(("Role", &name), rounds.plan.withheld.iter().chain(&rounds.plan.owed));
        let waits_for = self.waits_for(role, &rounds.plan);
        if deleting(role.as_ref()) {
            if settled && waits_for.is_empty() && rounds.plan.phases.is_empty() {
                context.objects.set_finalizer(role.as_ref(), false).await?;
                context.roles.lock().remove(&name);
            } else if !waits_for.is_empty() {
                self.status(role, &rounds, (&waits_for, took)).await?;
            }
        } else {
            self.report_silence(&name, &waits_for);
            self.status(role, &rounds, (&waits_for, took)).await?;
            self.remember(&name).await.unwrap_or_else(|error| rounds.errors.push(error));
        }
        Ok(Done { recheck_at, soon: waits.then_some(LOOK_AGAIN), wrote: rounds.written > 0, errors: rounds.errors, ..Done::default() })
    }

    /// The pass over another cluster: only writes. A Role that does not bear usher's finalizer yet could go without a trace.
    async fn run_there(&self, role: &Arc<Role>) -> Result<Done, Error> {
        if !role.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(Done::default());
        }
        let (name, started) = (role.name_any(), self.context.tick());
        let rounds = self.rounds(role).await?;
        if !rounds.made_way() {
            self.judge(&name, &rounds, started);
        }
        let soon = rounds.plan.waits.then_some(LOOK_AGAIN);
        Ok(Done { recheck_at: rounds.plan.recheck_at, soon, wrote: rounds.written > 0, errors: rounds.errors, ..Done::default() })
    }

    /// Notes and reports what a pass came to. Returns whether all of it was written and seen.
    fn judge(&self, name: &str, rounds: &Rounds, started: u64) -> bool {
        self.note_failure(name, rounds.errors.iter().any(|error| !error.is_no_failure()));
        let settled = rounds.errors.is_empty() && !rounds.plan.waits && rounds.plan.phases.is_empty();
        self.report_outcome(name, rounds, (settled, started));
        settled
    }

    /// Where there are other clusters, what is told comes of a plan for all of them.
    fn plan_for_all(&self, role: &Arc<Role>, rounds: &mut Rounds) {
        let epoch = self.context.epoch();
        if self.context.memory.read(|content, _| !content.links.is_empty()) {
            let patient = self.patient(&role.name_any());
            rounds.plan = self.plan_in(role, epoch.as_deref().unwrap_or_default(), (epoch.is_some(), patient), &rounds.failed, None);
        }
    }

    /// The clusters that a Role waits for, as they do not answer.
    fn waits_for(&self, role: &Role, plan: &RolePlan) -> Silences {
        self.context.memory.read(|_, scene| if deleting(role) { owing(scene, &plan.owed) } else { awaited(scene, &plan.owed) })
    }

    /// Lets those who report on it know which clusters it waits for.
    fn report_silence(&self, name: &str, waits_for: &Silences) {
        let news = self.context.roles.lock().get_mut(name).and_then(|outcomes| outcomes.get_mut(&self.cluster)).is_some_and(|outcome| {
            let news = outcome.silent != *waits_for;
            outcome.silent.clone_from(waits_for);
            news
        });
        if news {
            super::triggers::reporters_of_role(&self.context, name);
        }
    }

    /// Plans and carries out until nothing is left to do. What is added comes first; then the plan is made again, and removes.
    async fn rounds(&self, role: &Arc<Role>) -> Result<Rounds, Error> {
        let context = &self.context;
        let mut rounds = Rounds { failed: Failed::none(self.awaits(&role.name_any())), ..Rounds::default() };
        let mut may_end = context.epoch().is_some();
        let mut nothing_left = false;
        let mut turn: Option<Turn<'_>> = None;
        for _ in 0..MOST_ROUNDS {
            let epoch = context.epoch().unwrap_or_default();
            let mut plan = self.plan(role, &epoch, may_end, &rounds.failed);
            // What the others need first, such as a look at the CRDs or their turn, takes its time.
            let leave = if plan.ends == Ends::OfLeavers && may_end { Vec::new() } else { leaving(&mut plan, &rounds.failed) };
            if !leave.is_empty() {
                Urgency::leave();
                rounds.take_in(context.carry_out(vec![leave]).await);
                rounds.plan = plan;
                if rounds.made_way() {
                    break;
                }
                continue;
            }
            let before_turn = plan.takes.filter(|_| turn.as_ref().is_none_or(|turn| !turn.covers(&plan.losers)));
            if before_turn == Some(0) {
                drop(turn.take());
                let losers = std::mem::take(&mut plan.losers);
                rounds.plan = plan;
                match Urgency::unless_it_makes_way(self.turns.take(losers)).await {
                    Ok(its) => turn = Some(its),
                    Err(error) => rounds.errors.push(error),
                }
                if rounds.made_way() {
                    break;
                }
                continue;
            }
            if plan.ends != Ends::No && may_end {
                let fresh = Urgency::unless_it_makes_way(context.read_epoch()).await??;
                may_end = fresh.is_some();
                if fresh.as_deref() != Some(&epoch) {
                    continue;
                }
            }
            nothing_left = plan.phases.is_empty();
            let mut phases = std::mem::take(&mut plan.phases);
            phases.truncate(before_turn.unwrap_or(phases.len()));
            rounds.rules |= phases.iter().flatten().any(|step| matches!(step.change, Change::ClusterRole(_)));
            let mut carried = Carried::default();
            let others = phases.split_off(plan.leaving.min(phases.len()));
            context.carry_on(&mut carried, phases).await;
            Urgency::ease();
            context.carry_on(&mut carried, others).await;
            rounds.take_in(carried);
            let more = plan.additions == Additions::Planned || plan.postpones || before_turn.is_some();
            rounds.plan = plan;
            if nothing_left || !more || rounds.made_way() {
                break;
            }
        }
        // What is told is what is left after the last write.
        if rounds.errors.is_empty() && rounds.written > 0 && !nothing_left {
            let epoch = context.epoch().unwrap_or_default();
            let plan = self.plan(role, &epoch, may_end, &rounds.failed);
            rounds.plan = plan;
        }
        Ok(rounds)
    }

    fn plan(&self, role: &Arc<Role>, epoch: &str, may_end: bool, failed: &Failed) -> RolePlan {
        let name = role.name_any();
        let patient = self.patient(&name);
        let plan = self.plan_in(role, epoch, (may_end, patient), failed, Some(&self.cluster));
        let mut waiting = self.waiting.lock();
        if plan.waits {
            waiting.entry(name).or_insert_with(|| (Instant::now(), BTreeSet::new())).1.clone_from(&plan.waits_for);
        } else if patient || plan.phases.is_empty() {
            // Who ran out of patience once waits again the next time.
            waiting.remove(&name);
        }
        plan
    }

    /// The plan for one cluster, or for all.
    fn plan_in(
        &self,
        role: &Arc<Role>,
        epoch: &str,
        (may_end, patient): (bool, bool),
        failed: &Failed,
        only: Option<&ClusterKey>,
    ) -> RolePlan {
        let name = role.name_any();
        let (now, since) = (self.context.now(), Instant::now());
        let plan = self.context.memory.read(|content, scene| {
            // That it is being deleted since this pass began is for the next one, which looks first whether its kind is going away.
            let role = content.world.role(&name).filter(|found| deleting(found.as_ref()) == deleting(role.as_ref())).unwrap_or(role);
            plan_role(&RoleInputs { scene: Scene { only, ..scene }, role, now, epoch, may_end, patient, failed })
        });
        *self.planning.lock().entry(name).or_default() += since.elapsed();
        plan
    }

    /// Whether a removal may still wait for what another Role has to add.
    fn patient(&self, name: &str) -> bool {
        let Some((since, others)) = self.waiting.lock().get(name).cloned() else { return true };
        let roles = self.context.roles.lock();
        let outcome = |other: &String| roles.get(other).and_then(|outcomes| outcomes.get(&self.cluster));
        let fails = others.iter().any(|other| outcome(other).is_some_and(|outcome| !outcome.errors.is_empty()));
        since.elapsed() < if fails { PATIENCE } else { MOST_PATIENCE }
    }

    /// Whether what cannot be added is still waited for, before what it may replace is removed elsewhere. Another try often helps; but it may fail for ever.
    fn awaits(&self, name: &str) -> bool {
        self.failing.lock().get(name).is_none_or(|since| since.elapsed() < PATIENCE)
    }

    /// Notes since when a Role fails.
    fn note_failure(&self, name: &str, fails: bool) {
        let mut failing = self.failing.lock();
        if fails {
            failing.entry(name.to_owned()).or_insert_with(Instant::now);
        } else {
            failing.remove(name);
        }
    }

    /// Lets Bindings and Developers know how the Role is.
    fn report_outcome(&self, name: &str, rounds: &Rounds, (settled, started): (bool, u64)) {
        let errors = rounds.errors.iter().map(|error| (error.reason(), error.chain())).collect();
        let mut outcome = RoleOutcome { errors, settled, started, generation: rounds.plan.generation, silent: Silences::new() };
        let before = {
            let mut roles = self.context.roles.lock();
            let here = roles.entry(name.to_owned()).or_default();
            outcome.silent = here.get(&self.cluster).map(|before| before.silent.clone()).unwrap_or_default();
            here.insert(self.cluster.clone(), outcome.clone())
        };
        // Whoever is named in a binding that was written has been woken by it. All others have something to tell only of what no binding shows.
        let news = before.as_ref().is_none_or(|before| (before.generation, &before.errors) != (outcome.generation, &outcome.errors));
        if news || rounds.rules {
            super::triggers::holders_of_role(&self.context, name);
        }
        if news || rounds.written > 0 || before.is_some_and(|before| before.settled != outcome.settled) {
            super::triggers::bindings_of_role(&self.context, name);
            if self.cluster != ClusterKey::Home {
                self.context.queues.roles.push_here(name, Lane::Sweep);
            }
        }
    }

    /// Keeps what the Role contains, once for each edit. That comes last: it delays no access, and no report of it.
    async fn remember(&self, name: &str) -> Result<(), Error> {
        let context = &self.context;
        let revision = context.memory.read(|content, scene| {
            let role = content.world.role(name)?;
            plan_revision(scene.settings, role, &content.revisions.of(name))
        });
        let Some(revision) = revision else { return Ok(()) };
        context.objects.keep_revision(&revision).await?;
        context.queues.records.push(REVISIONS, Lane::Sweep);
        Ok(())
    }

    /// What stands in the way in other clusters.
    fn elsewhere(&self, name: &str, waits_for: &Silences) -> Vec<Finding> {
        let finding =
            |cluster: &ClusterKey, reason, text: &str| Finding::new(ConditionType::AccessApplied, reason, format!("{cluster}: {text}"));
        let outcomes = self.context.roles.lock().get(name).cloned().unwrap_or_default();
        let outcomes = outcomes.iter().filter(|(cluster, _)| **cluster != ClusterKey::Home);
        let failed =
            outcomes.flat_map(|(cluster, outcome)| outcome.errors.iter().map(move |(reason, text)| finding(cluster, *reason, text)));
        failed.chain(waits_for.iter().map(|(cluster, (reason, why))| finding(cluster, *reason, why))).collect()
    }

    async fn status(&self, role: &Arc<Role>, rounds: &Rounds, (waits_for, took): (&Silences, Duration)) -> Result<(), Error> {
        let context = &self.context;
        let name = role.name_any();
        let present = context.memory.read(|content, _| content.world.role(&name).cloned());
        // What was planned for an older spec says nothing about this one, whose pass follows.
        let Some(role) = present.filter(|role| role.metadata.generation == rounds.plan.generation) else { return Ok(()) };
        let mut findings: Vec<Finding> = rounds.plan.findings.clone();
        findings.extend(error_findings(ConditionType::AccessApplied, &rounds.errors));
        findings.extend(self.elsewhere(&name, waits_for));
        let now = context.now();
        let applied = (rounds.written > 0).then(|| LastApplied {
            generation: role.metadata.generation.unwrap_or_default(),
            at: whole_second(now),
            took: format!("{}ms", took.as_millis()),
        });
        let status = role_status(&role, &rounds.plan, &findings, applied, now);
        if context.objects.write_status(role.as_ref(), role.status.as_ref(), &status).await? {
            announce(context, role.as_ref(), role.status.as_ref().map(|status| status.conditions.as_slice()), &status.conditions);
        }
        Ok(())
    }
}
