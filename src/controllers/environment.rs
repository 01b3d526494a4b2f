//! Environments: their status, and their going.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use crate::api::{ConditionType, Environment, Mode, Reason};
use crate::cluster::crds;
use crate::cluster::error::Error;
use crate::plan::environment::{Going, environment_findings, environment_status, going, moves, observing, token_warning};
use crate::plan::finding::Finding;
use crate::plan::status::{ENVIRONMENT_CONDITIONS, conditions};
use crate::plan::world::deleting;

use super::context::Context;
use super::frame::{Done, Pass};
use super::report::announce;

/// How soon to look whether something is left where an Environment was before.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How soon to look whether what a deleted one gave is gone, and after how long less often.
const SOON: Duration = Duration::from_millis(50);
const LONG: SignedDuration = SignedDuration::from_secs(10);

/// Passes over Environments.
pub struct Environments {
    context: Arc<Context>,
}

impl Pass for Environments {
    fn kind(&self) -> &'static str {
        "Environment"
    }

    fn pass<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Done> {
        async move {
            let found = self.context.memory.read(|content, _| content.world.environment(name).cloned());
            match found {
                None => Done::gone(),
                Some(environment) => self.run(&environment).await.unwrap_or_else(|error| Done { errors: vec![error], ..Done::default() }),
            }
        }
        .boxed()
    }
}

impl Environments {
    /// Passes over Environments.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    async fn run(&self, environment: &Arc<Environment>) -> Result<Done, Error> {
        let context = &self.context;
        if deleting(environment.as_ref()) {
            return self.end(environment).await;
        }
        if context.objects.set_finalizer(environment.as_ref(), true).await? {
            return Ok(Done { soon: Some(Duration::ZERO), ..Done::default() });
        }
        self.tell(environment).await
    }

    /// Writes its status.
    async fn tell(&self, environment: &Arc<Environment>) -> Result<Done, Error> {
        let (context, name) = (&self.context, environment.name_any());
        let now = context.now();
        let (pending, figure) = (context.pending_in(&name), context.consistency.of(&name));
        let (mut status, mut findings) = context
            .memory
            .read(|_, scene| (environment_status(scene, environment, pending, figure), environment_findings(scene, environment)));
        if environment.spec.mode == Mode::Enforce && !pending.is_nothing() {
            findings.push(Finding::new(
                ConditionType::AccessApplied,
                Reason::Progressing,
                format!("{pending} objects are still to be written"),
            ));
        }
        let ready = if environment.spec.mode == Mode::Observe {
            (Reason::Observing, observing(pending))
        } else {
            (Reason::AsPlanned, String::new())
        };
        let ready = (ready.0, ready.1.as_str());
        let previous = environment.status.as_ref().map(|status| status.conditions.as_slice());
        status.conditions =
            conditions(&ENVIRONMENT_CONDITIONS, &findings, ready, environment.metadata.generation, (previous.unwrap_or_default(), now));
        let (warning, recheck_at) = context.memory.read(|_, scene| token_warning(scene, environment, now));
        warning.into_iter().for_each(|warning| self.warn(environment, &mut status.conditions, warning));
        if context.objects.write_status(environment.as_ref(), environment.status.as_ref(), &status).await? {
            announce(context, environment.as_ref(), previous, &status.conditions);
        }
        // Until nothing is left where it was before.
        let moves = context.memory.read(|_, scene| moves(scene, environment, &status));
        Ok(Done { soon: moves.then_some(LOOK_AGAIN), recheck_at, ..Done::default() })
    }

    /// Says in the condition of the connection what is about to end it, and rings once.
    fn warn(&self, environment: &Environment, conditions: &mut [Condition], warning: String) {
        let connected = ConditionType::Connected.to_string();
        let told = environment.status.iter().flat_map(|status| &status.conditions).any(|before| before.message == warning);
        let Some(condition) = conditions.iter_mut().find(|it| it.type_ == connected && it.status == "True") else { return };
        if !told {
            self.context.event(environment, false, "TokenEnds", &warning);
        }
        condition.message = warning;
    }

    /// How soon to look whether what a deleted Environment gave is gone: less often where that takes long.
    fn patience(&self, environment: &Environment) -> Duration {
        let since = environment.metadata.deletion_timestamp.as_ref().map(|since| self.context.now().duration_since(since.0));
        if since.is_some_and(|since| since > LONG) { LOOK_AGAIN } else { SOON }
    }

    /// Lets a deleted Environment go once the access that it gave is gone.
    async fn end(&self, environment: &Arc<Environment>) -> Result<Done, Error> {
        let context = &self.context;
        if crds::terminating(&context.client, "environments").await? {
            context.read_epoch().await?;
            context.objects.set_finalizer(environment.as_ref(), false).await?;
            return Ok(Done::default());
        }
        match context.memory.read(|_, scene| going(scene, environment)) {
            Going::Now => {
                context.objects.set_finalizer(environment.as_ref(), false).await?;
                Ok(Done::default())
            }
            Going::Soon => Ok(Done { soon: Some(self.patience(environment)), ..Done::default() }),
            // That a cluster answers again wakes its Environments.
            Going::WhenItAnswers => self.tell(environment).await,
        }
    }
}
