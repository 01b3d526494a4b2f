//! The connection of a desk: what it is made of, when it is made anew, and what keeps it from sending.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;

use crate::api::{Provider, Reason};
use crate::connectors::error::Retry;
use crate::connectors::throttle::Throttle;
use crate::connectors::{Connector, connect};
use crate::plan::account::Capability;
use crate::plan::provider::Call;

use super::super::context::Context;
use super::super::outside::{self, Trouble, told};
use super::desk::Desk;

/// A connection, and what it was made of.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) connector: Arc<dyn Connector>,
    pub(super) can: BTreeSet<Capability>,
}

impl Desk {
    /// What its connector would be made of now: another credential is another connector.
    fn made_of(context: &Context, provider: &Provider) -> String {
        let Some(system) = provider.spec.system() else { return String::new() };
        let secrets = [Some(system.credentials()), system.ca()].into_iter().flatten();
        context.memory.read(|content, _| {
            let versions = secrets.map(|key| content.own_secrets.get(&key.name).and_then(|it| it.resource_version()).unwrap_or_default());
            format!("{:?} {} {:?}", system, provider.spec.requests_per_second, versions.collect::<Vec<_>>())
        })
    }

    /// Connects, unless that is done already; asks the system whether it is well when it was not. Returns whether there is work to be done with it.
    pub(super) async fn connected(&self, context: &Arc<Context>, provider: &Provider) -> bool {
        if !self.is_made_of(Self::made_of(context, provider)) {
            // What changed may be what was wrong, and from now on nothing that the old one says counts.
            self.let_go();
        }
        if self.waits() {
            return false;
        }
        if self.ready() && self.link().is_some() {
            return true;
        }
        let began = self.moment();
        match self.connect(context, provider).await {
            Ok(link) => {
                self.use_link(link);
                self.answers(context, Call::Probe, began);
                true
            }
            Err(trouble) => {
                self.ails(context, Call::Probe, trouble, began);
                false
            }
        }
    }

    async fn connect(&self, context: &Arc<Context>, provider: &Provider) -> Result<Link, Trouble> {
        let Some(system) = provider.spec.system() else {
            return Err((Reason::InvalidSpec, "the spec names no system".to_owned(), Retry::OnChange));
        };
        let secrets = outside::secrets(&context.client, &context.memory.settings().namespace, system.credentials(), system.ca()).await?;
        let throttle = self.throttle(|| self.new_throttle(context, provider));
        let connector = connect(system, secrets, throttle).map_err(told)?;
        let can = connector.probe().await.map_err(told)?;
        Ok(Link { connector, can })
    }

    /// What all requests of this desk pass, one connection after another. Only who leads sends anything.
    fn new_throttle(&self, context: &Arc<Context>, provider: &Provider) -> Throttle {
        let throttle = Throttle::new(u32::try_from(provider.spec.requests_per_second).unwrap_or(1));
        let (metrics, name, number) = (context.metrics.clone(), self.name().to_owned(), self.number());
        throttle.heard_by(move |outcome| metrics.called(&name, number, outcome)).guarded_by(outside::leads(context))
    }
}
