//! Reads once what is remembered, and writes down what is added to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use tokio::time::timeout;

use crate::api::metadata::{LEDGER_CONFIG_MAP, LEDGER_KEY, MANAGED_BY, MANAGER};
use crate::cluster::apply::failed;
use crate::cluster::error::Error;
use crate::plan::cluster::ClusterKey;
use crate::plan::scorecard::ledger::Ledger;

use super::super::context::Context;
use super::super::frame::{Done, Pass};

/// A replica that ends takes no longer for its last word: the next one waits.
const AT_THE_END: Duration = Duration::from_millis(500);

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

    /// Returns whether something was written.
    async fn run(&self) -> Result<bool, Error> {
        let figures = &self.context.figures;
        if figures.kept.lock().ledger.is_none() {
            let ledger = read(&self.context).await?;
            figures.kept.lock().read(ledger);
            figures.changed();
        }
        Ok(write_down(&self.context).await?.is_some_and(|(_, wrote)| wrote))
    }
}

/// What is remembered, once it is written down: what is told before that would be told less again by a replica that reads it. Nothing before it was read; and
/// whether it had to be written.
pub(super) async fn write_down(context: &Context) -> Result<Option<(Ledger, bool)>, Error> {
    let _turn = context.figures.pen.lock().await;
    let Some((ledger, news)) = context.figures.kept.lock().for_writing(context.now()) else { return Ok(None) };
    let Some((change, home)) = news.zip(context.cluster(&ClusterKey::Home)) else { return Ok(Some((ledger, false))) };
    home.apply(&ConfigMap { data: Some(BTreeMap::from([(LEDGER_KEY.to_owned(), ledger.text())])), ..map(context) }).await?;
    context.figures.kept.lock().written = change;
    Ok(Some((ledger, true)))
}

/// Writes down what is not written yet, as this replica ends. The next one waits for that.
pub async fn flush(context: &Context) {
    match timeout(AT_THE_END, write_down(context)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(error = error.chain(), "what was last done by hand could not be written down, and is forgotten"),
        Err(_) => tracing::warn!("what was last done by hand could not be written down in time, and is forgotten"),
    }
}

fn map(context: &Context) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(LEDGER_CONFIG_MAP.to_owned()),
            namespace: Some(context.memory.settings().namespace.clone()),
            labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), MANAGER.to_owned())])),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

async fn read(context: &Context) -> Result<Ledger, Error> {
    let map = map(context);
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), map.metadata.namespace.as_deref().unwrap_or_default());
    let found = api.get_opt(LEDGER_CONFIG_MAP).await.map_err(|error| failed::<ConfigMap>("read", &map.metadata, error))?;
    let text = found.and_then(|map| map.data?.remove(LEDGER_KEY));
    let ledger = text.as_deref().map(Ledger::read);
    if ledger == Some(None) {
        tracing::warn!("ConfigMap {LEDGER_CONFIG_MAP} does not parse: what was done by hand until now is forgotten");
    }
    Ok(ledger.flatten().unwrap_or_default())
}
