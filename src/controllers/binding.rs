//! Bindings: their effect is the Roles' work; here is their status, their end, and their going.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::ResourceExt;
use parking_lot::Mutex;

use crate::api::{Binding, ConditionType, Reason};
use crate::cluster::crds;
use crate::cluster::error::Error;
use crate::plan::access::roles_of_binding;
use crate::plan::binding::{binding_findings, binding_status, deleted_at};
use crate::plan::cluster::ClusterKey;
use crate::plan::finding::Finding;
use crate::plan::status::{ROLE_CONDITIONS, conditions};
use crate::plan::world::deleting;

use super::context::Context;
use super::frame::{Done, Pass};
use super::queue::Lane;
use super::report::announce;

/// Passes over Bindings.
pub struct Bindings {
    context: Arc<Context>,
    /// When a deleted Binding was first seen, in ticks: its Roles must be applied later than that.
    ends: Mutex<HashMap<String, u64>>,
}

impl Pass for Bindings {
    fn kind(&self) -> &'static str {
        "Binding"
    }

    fn pass<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Done> {
        async move {
            let found = self.context.memory.read(|content, _| content.world.binding(name).cloned());
            match found {
                None => Done::gone(),
                Some(binding) => self.run(&binding).await.unwrap_or_else(|error| Done { errors: vec![error], ..Done::default() }),
            }
        }
        .boxed()
    }
}

impl Bindings {
    /// Passes over Bindings.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, ends: Mutex::default() }
    }

    async fn run(&self, binding: &Arc<Binding>) -> Result<Done, Error> {
        let context = &self.context;
        if deleting(binding.as_ref()) {
            return self.end(binding).await;
        }
        if context.objects.set_finalizer(binding.as_ref(), true).await? {
            return Ok(Done { soon: Some(Duration::ZERO), ..Done::default() });
        }
        let now = context.now();
        if deleted_at(binding).is_some_and(|at| at <= now) {
            context.objects.delete(binding.as_ref()).await?;
            return Ok(Done { wrote: true, ..Done::default() });
        }
        // Before its Roles were looked at once, there is nothing to say that was not said before; they wake this pass.
        let Some(troubles) = self.role_troubles(binding) else { return Ok(Done::default()) };
        let (mut status, recheck_at, mut findings) = context.memory.read(|content, _| {
            let (status, recheck_at) = binding_status(&content.world, binding, now);
            (status, recheck_at, binding_findings(&content.world, binding))
        });
        findings.extend(troubles);
        let previous = binding.status.as_ref().map(|status| status.conditions.as_slice());
        status.conditions = conditions(
            &ROLE_CONDITIONS,
            &findings,
            (Reason::AsPlanned, ""),
            binding.metadata.generation,
            (previous.unwrap_or_default(), now),
        );
        if context.objects.write_status(binding.as_ref(), binding.status.as_ref(), &status).await? {
            announce(context, binding.as_ref(), previous, &status.conditions);
        }
        Ok(Done { recheck_at, ..Done::default() })
    }

    /// What keeps the Roles of a Binding from being applied; nothing while one of them was not looked at since the start.
    fn role_troubles(&self, binding: &Binding) -> Option<Vec<Finding>> {
        let roles = self.context.memory.read(|content, _| {
            let mut roles = roles_of_binding(&content.world, binding);
            roles.retain(|role| content.world.live_role(role).is_some());
            roles
        });
        let outcomes = self.context.roles.lock();
        let mut troubles = Vec::new();
        for role in &roles {
            let outcomes = outcomes.get(role)?;
            let outcome = outcomes.get(&ClusterKey::Home)?;
            let trouble = |reason, message: &str| Finding::new(ConditionType::AccessApplied, reason, format!("urole/{role}{message}"));
            if !outcome.settled && outcome.errors.is_empty() {
                troubles.push(trouble(Reason::Progressing, " is being applied"));
            } else if !outcome.settled {
                troubles.extend(outcome.errors.iter().map(|(reason, message)| trouble(*reason, &format!(": {message}"))));
            }
            let silent = outcome.silent.iter();
            troubles.extend(silent.map(|(cluster, (reason, why))| trouble(*reason, &format!(" in {cluster} waits: {why}"))));
            for (cluster, outcome) in outcomes.iter().filter(|(cluster, _)| **cluster != ClusterKey::Home) {
                troubles.extend(outcome.errors.iter().map(|(reason, message)| trouble(*reason, &format!(" in {cluster}: {message}"))));
            }
        }
        Some(troubles)
    }

    /// Lets a deleted Binding go once its Roles have been applied without it.
    async fn end(&self, binding: &Arc<Binding>) -> Result<Done, Error> {
        let context = &self.context;
        if crds::terminating(&context.client, "bindings").await? {
            context.read_epoch().await?;
            context.objects.set_finalizer(binding.as_ref(), false).await?;
            return Ok(Done::default());
        }
        let roles = context.memory.read(|content, _| {
            let mut roles = roles_of_binding(&content.world, binding);
            roles.retain(|role| content.world.role(role).is_some());
            roles
        });
        let since = *self.ends.lock().entry(mark(binding)).or_insert_with(|| context.tick());
        let answering: Vec<ClusterKey> = context.memory.read(|_, scene| scene.answering().cloned().collect());
        let waiting: Vec<String> = {
            let outcomes = context.roles.lock();
            let passed = |role: &String| {
                let outcomes = outcomes.get(role);
                let outcome = |cluster: &ClusterKey| outcomes.and_then(|outcomes| outcomes.get(cluster));
                answering.iter().all(|cluster| outcome(cluster).is_some_and(|outcome| outcome.settled && outcome.started > since))
            };
            roles.into_iter().filter(|role| !passed(role)).collect()
        };
        if waiting.is_empty() {
            self.ends.lock().remove(&mark(binding));
            context.objects.set_finalizer(binding.as_ref(), false).await?;
            return Ok(Done::default());
        }
        for role in waiting {
            context.queues.roles.push(&role, Lane::Departure);
        }
        Ok(Done { soon: Some(Duration::from_millis(30)), ..Done::default() })
    }
}

/// How a Binding that was deleted is remembered, until its Roles were applied without it.
fn mark(binding: &Binding) -> String {
    format!("{}/{}", binding.name_any(), binding.uid().unwrap_or_default())
}
