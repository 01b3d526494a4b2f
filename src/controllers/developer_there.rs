//! Developers in clusters besides the home cluster: what is personal there, and tokens for it. The pass over the home cluster tells of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::metadata::FINALIZER;
use crate::api::{ConditionType, Developer};
use crate::cluster::error::Error;
use crate::cluster::secrets::bring;
use crate::plan::cluster::ClusterKey;
use crate::plan::developer::DeveloperPlan;
use crate::plan::elsewhere::due;
use crate::plan::environment::home;
use crate::plan::finding::Finding;
use crate::plan::target::environment_target;
use crate::plan::world::deleting;

use super::developer::{Developers, Progress};
use super::frame::Done;
use super::queue::Lane;
use super::report::error_findings;

/// How soon to look again whether access is gone, for somebody who leaves; what is seen wakes a pass sooner.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// And how soon, when it has taken long.
const LOOK_LATER: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(5);

impl Developers {
    /// The pass over another cluster. A Developer who does not bear usher's finalizer yet could go without a trace.
    pub(super) async fn run_there(&self, name: &str, developer: &Arc<Developer>) -> Result<Done, Error> {
        let context = &self.context;
        if !deleting(developer.as_ref()) && !developer.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(Done::default());
        }
        let now = context.now();
        let mut plan = self.plan(developer, now);
        self.spare(&mut plan).await?;
        let carried = context.carry_out(std::mem::take(&mut plan.phases)).await;
        let mut progress = Progress::new(plan, carried);
        let leaves = progress.plan.standing.leaves();
        if leaves {
            self.leave(name, developer, &mut progress).await;
        } else {
            self.credentials_here(developer, &mut progress, now).await;
        }
        let waits = leaves && !(progress.plan.access_gone() && progress.plan.afterwards.is_empty());
        progress.tell_errors();
        progress.findings.sort();
        progress.findings.dedup();
        if context.there.people.tell(name, &self.cluster, progress.findings) || progress.wrote {
            context.queues.developers.push_here(name, if leaves { Lane::Departure } else { Lane::Drift });
        }
        Ok(Done {
            recheck_at: progress.recheck_at,
            // What fails is tried again by and by.
            soon: (waits && progress.errors.is_empty()).then_some(self.soon_there(name)),
            errors: progress.errors,
            wrote: progress.wrote,
            ..Done::default()
        })
    }

    /// How soon to look again whether she has left this cluster: less often where that takes long.
    fn soon_there(&self, name: &str) -> Duration {
        let long = self.context.leaving.lock().get(name).is_some_and(|leaving| leaving.since.elapsed() > LONG);
        if long { LOOK_LATER } else { LOOK_AGAIN }
    }

    /// What of her credentials is this cluster's: the kubeconfig, if her home workspace is here, else the token by which she is known here.
    pub(super) async fn credentials_here(&self, developer: &Arc<Developer>, progress: &mut Progress, now: Timestamp) {
        let at = self.context.memory.read(|content, _| {
            let home = home(&content.world).and_then(|name| content.world.environment(name));
            home.map_or(ClusterKey::Home, |home| ClusterKey::of(home))
        });
        if at == self.cluster {
            self.credentials(developer, progress, now).await;
            return;
        }
        match self.token(developer, progress, now).await {
            // The pass over the home cluster is woken by what is written elsewhere; one over another cluster, where the kubeconfig is, would never know.
            Ok(true) if at != ClusterKey::Home => self.context.queues.developers.push(&developer.name_any(), Lane::New),
            Ok(_) => {}
            Err(error) => {
                progress.findings.extend(error_findings(ConditionType::CredentialsReady, std::slice::from_ref(&error)));
                progress.errors.push(error);
            }
        }
    }

    /// Issues a token if one is due, for whoever writes her kubeconfig. Returns whether it did.
    async fn token(&self, developer: &Arc<Developer>, progress: &mut Progress, now: Timestamp) -> Result<bool, Error> {
        let context = &self.context;
        let uid = developer.uid().unwrap_or_default();
        let brought = context.there.notes(&uid);
        let all = self.plan_for_all(developer, now);
        let (due, renew_at) = context.memory.read(|_, scene| due(scene, (developer, &all), &self.cluster, &brought, now));
        progress.recheck(renew_at);
        let (Some(due), Some(cluster)) = (due, context.cluster(&self.cluster)) else { return Ok(false) };
        let lifetime = context.memory.settings().token_lifetime;
        let token = bring(&cluster, &due, lifetime, now).await.inspect_err(|error| context.doubt(&self.cluster, error))?;
        context.there.bring(&uid, &self.cluster, token);
        progress.wrote = true;
        Ok(true)
    }

    /// What stands in the way in other clusters, and what is owed to those that do not answer.
    pub(super) fn elsewhere(&self, developer: &Developer, plan: &DeveloperPlan) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.context.there.people.of(&developer.name_any()).into_values().flatten().collect();
        findings.extend(self.context.memory.read(|_, scene| {
            let owed = plan.owed.iter().filter(|_| !plan.standing.leaves());
            let owed = owed.filter_map(|step| {
                let (reason, why) = scene.silence(&step.cluster)?;
                let told = Finding::new(ConditionType::WorkspaceReady, reason, format!("{}: {why}", step.cluster));
                Some(told.at_all(step.environment.as_deref().map(environment_target)))
            });
            owed.collect::<Vec<_>>()
        }));
        findings
    }
}
