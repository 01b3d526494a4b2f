//! Reads once what is remembered, and writes down what is added to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;

use crate::api::metadata::{LEDGER_CONFIG_MAP, LEDGER_KEY, MANAGED_BY, MANAGER};
use crate::cluster::apply::failed;
use crate::cluster::error::Error;
use crate::plan::cluster::ClusterKey;
use crate::plan::scorecard::ledger::Ledger;

use super::super::context::Context;
use super::super::frame::{Done, Pass};

/// Writes of the ledger.
pub struct Ledgers {
    context: Arc<Context>,
}

impl Pass for Ledgers {
    fn kind(&self) -> &'static str {
        "Ledger"
    }

    fn pass<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Done> {
        // It is looked at when something was added, and at no other time.
        async move { self.run().await.map_or_else(|error| Done { errors: vec![error], ..Done::gone() }, |wrote| Done { wrote, ..Done::gone() }) }.boxed()
    }
}

impl Ledgers {
    /// Writes of the ledger.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    fn map(&self) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(LEDGER_CONFIG_MAP.to_owned()),
                namespace: Some(self.context.memory.settings().namespace.clone()),
                labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), MANAGER.to_owned())])),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    /// Returns whether something was written.
    async fn run(&self) -> Result<bool, Error> {
        let figures = &self.context.figures;
        if figures.kept.lock().ledger.is_none() {
            let ledger = self.read().await?;
            figures.kept.lock().read(ledger);
            figures.changed();
        }
        let text = {
            let mut kept = figures.kept.lock();
            std::mem::take(&mut kept.unwritten).then(|| kept.ledger.as_ref().map(Ledger::text)).flatten()
        };
        let Some(text) = text else { return Ok(false) };
        let map = ConfigMap { data: Some(BTreeMap::from([(LEDGER_KEY.to_owned(), text)])), ..self.map() };
        let Some(home) = self.context.cluster(&ClusterKey::Home) else { return Ok(false) };
        match home.apply(&map).await {
            Ok(_) => Ok(true),
            Err(error) => {
                figures.kept.lock().unwritten = true;
                Err(error)
            }
        }
    }

    async fn read(&self) -> Result<Ledger, Error> {
        let map = self.map();
        let api: Api<ConfigMap> = Api::namespaced(self.context.client.clone(), map.metadata.namespace.as_deref().unwrap_or_default());
        let found = api.get_opt(LEDGER_CONFIG_MAP).await.map_err(|error| failed::<ConfigMap>("read", &map.metadata, error))?;
        let text = found.and_then(|map| map.data?.remove(LEDGER_KEY));
        let ledger = text.as_deref().map(Ledger::read);
        if ledger == Some(None) {
            tracing::warn!("ConfigMap {LEDGER_CONFIG_MAP} does not parse: what was done by hand until now is forgotten");
        }
        Ok(ledger.flatten().unwrap_or_default())
    }
}
