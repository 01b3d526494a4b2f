//! Providers: their desks, their status, and their going.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::ResourceExt;

use crate::api::Provider;
use crate::api::metadata::RELEASE;
use crate::cluster::crds;
use crate::cluster::error::Error;
use crate::plan::entitlement::recorded;
use crate::plan::provider::provider_status;
use crate::plan::world::deleting;

use super::accounts::{self, Desk, of_receipt};
use super::context::Context;
use super::frame::{Done, Pass};
use super::queue::Lane;
use super::report::announce;

/// Passes over Providers.
pub struct Providers {
    context: Arc<Context>,
}

impl Pass for Providers {
    fn kind(&self) -> &'static str {
        "Provider"
    }

    fn pass<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Done> {
        async move {
            let found = self.context.memory.read(|content, _| content.world.provider(name).cloned());
            match found {
                None => {
                    self.context.desks.close(&self.context, name);
                    Done::gone()
                }
                Some(provider) => self.run(&provider).await.unwrap_or_else(|error| Done { errors: vec![error], ..Done::default() }),
            }
        }
        .boxed()
    }
}

impl Providers {
    /// Passes over Providers.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    async fn run(&self, provider: &Arc<Provider>) -> Result<Done, Error> {
        let context = &self.context;
        if deleting(provider.as_ref()) {
            return self.end(provider).await;
        }
        if context.objects.set_finalizer(provider.as_ref(), true).await? {
            return Ok(Done { soon: Some(Duration::ZERO), ..Done::default() });
        }
        let desk = context.desks.open(context, provider);
        let freed = provider.annotations().get(RELEASE).map(|word| desk.release(word)).unwrap_or_default();
        // Written down before it is carried out, so that whoever goes on after a crash asks for no other word.
        let told = self.tell(provider, &desk).await;
        freed.iter().for_each(|who| desk.push(who, Lane::New));
        told
    }

    async fn tell(&self, provider: &Arc<Provider>, desk: &Desk) -> Result<Done, Error> {
        let context = &self.context;
        let health = desk.health();
        if !health.known {
            accounts::look_at_all(context, std::iter::once(&provider.name_any()));
        }
        // What was told before a restart stands until the system was asked.
        if !health.known && health.trouble.is_none() {
            return Ok(Done::default());
        }
        let status = provider_status(provider, &health, context.now());
        let previous = provider.status.as_ref();
        if context.objects.write_status(provider.as_ref(), previous, &status).await? {
            announce(context, provider.as_ref(), previous.map(|status| status.conditions.as_slice()), &status.conditions);
        }
        Ok(Done::default())
    }

    /// Closes the desk of a Provider that goes. Returns how many accounts it leaves at the system.
    fn left(&self, provider: &str) -> usize {
        let mut seen = self.context.desks.close(&self.context, provider);
        self.context.memory.read(|content, _| {
            let (people, receipts) = recorded(&content.world, provider);
            let told = people.into_iter().chain(receipts.iter().map(|receipt| of_receipt(receipt)));
            let mut all: BTreeMap<String, bool> = told.map(|who| (who, true)).collect();
            // What was seen is newer than what was told. Of who is gone her receipt tells.
            seen.retain(|who, _| all.contains_key(who) || content.world.developer(who).is_some());
            all.extend(seen);
            all.values().filter(|has| **has).count()
        })
    }

    /// Lets a deleted Provider go. Its accounts stay as they are, and an Event counts them.
    async fn end(&self, provider: &Arc<Provider>) -> Result<Done, Error> {
        let context = &self.context;
        if crds::terminating(&context.client, "providers").await? {
            context.read_epoch().await?;
        } else {
            let name = provider.name_any();
            let left = self.left(&name);
            context.event(provider.as_ref(), true, "AccountsLeft", &format!("{left} accounts stay at the system as they are"));
        }
        context.objects.set_finalizer(provider.as_ref(), false).await?;
        Ok(Done::default())
    }
}
