//! Environments: their status, and their going.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::ResourceExt;

use crate::api::{ConditionType, Environment, Mode, Reason};
use crate::cluster::crds;
use crate::cluster::error::Error;
use crate::plan::environment::{environment_cleared, environment_findings, environment_status};
use crate::plan::finding::Finding;
use crate::plan::status::{ENVIRONMENT_CONDITIONS, conditions};
use crate::plan::world::deleting;

use super::context::Context;
use super::frame::{Done, Pass};
use super::report::announce;

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
        let name = environment.name_any();
        if deleting(environment.as_ref()) {
            return self.end(environment).await;
        }
        if context.objects.set_finalizer(environment.as_ref(), true).await? {
            return Ok(Done { soon: Some(Duration::ZERO), ..Done::default() });
        }
        let now = context.now();
        let pending = context.pending_in(&name);
        let (mut status, mut findings) =
            context.memory.read(|_, scene| (environment_status(scene, environment, pending), environment_findings(scene, environment)));
        if environment.spec.mode == Mode::Enforce && !pending.is_nothing() {
            findings.push(Finding::new(
                ConditionType::AccessApplied,
                Reason::Progressing,
                format!("{pending} objects are still to be written"),
            ));
        }
        let ready = if environment.spec.mode == Mode::Observe {
            (Reason::Observing, "nothing is changed here; set mode: Enforce when the pending changes are what you want")
        } else {
            (Reason::AsPlanned, "")
        };
        let previous = environment.status.as_ref().map(|status| status.conditions.as_slice());
        status.conditions =
            conditions(&ENVIRONMENT_CONDITIONS, &findings, ready, environment.metadata.generation, (previous.unwrap_or_default(), now));
        if context.objects.write_status(environment.as_ref(), environment.status.as_ref(), &status).await? {
            announce(context, environment.as_ref(), previous, &status.conditions);
        }
        Ok(Done::default())
    }

    /// Lets a deleted Environment go once the access that it gave is gone.
    async fn end(&self, environment: &Arc<Environment>) -> Result<Done, Error> {
        let context = &self.context;
        if crds::terminating(&context.client, "environments").await? {
            context.read_epoch().await?;
            context.objects.set_finalizer(environment.as_ref(), false).await?;
            return Ok(Done::default());
        }
        if context.memory.read(|_, scene| environment_cleared(scene, environment)) {
            context.objects.set_finalizer(environment.as_ref(), false).await?;
            return Ok(Done::default());
        }
        Ok(Done { soon: Some(Duration::from_millis(50)), ..Done::default() })
    }
}
