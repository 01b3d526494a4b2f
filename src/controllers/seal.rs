//! What sealing workspaces and reading clusters again needs, for Departures and Locks alike.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::{Client, ResourceExt};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::cluster::ask::{Scan, service_accounts};
use crate::cluster::error::Error;
use crate::plan::change::{Change, Step, Write};
use crate::plan::cluster::ClusterKey;
use crate::plan::departing::before;
use crate::plan::seal::Site;

use super::context::Context;

/// Live readings of all bindings, shared by those who need one at the same time.
#[derive(Debug, Default)]
pub struct Scans(Mutex<HashMap<ClusterKey, (Instant, Arc<Scan>)>>);

impl Scans {
    /// A reading that began after `moment`.
    pub async fn since(&self, key: &ClusterKey, client: &Client, moment: Instant) -> Result<Arc<Scan>, Error> {
        let mut last = self.0.lock().await;
        if let Some((began, scan)) = last.get(key)
            && *began > moment
        {
            return Ok(scan.clone());
        }
        let began = Instant::now();
        let scan = Arc::new(Scan::read(client).await?);
        last.insert(key.clone(), (began, scan.clone()));
        Ok(scan)
    }
}

/// Deletes the ServiceAccounts of sealed workspaces that were there before their person left, read live. Returns how many there were.
pub async fn take_accounts(context: &Context, sites: &[Site], left: Timestamp) -> Result<usize, Error> {
    let mut steps = Vec::new();
    for site in sites {
        let Some(cluster) = context.clusters.get(&site.cluster) else { continue };
        let accounts = service_accounts(cluster.client(), &site.namespace).await?;
        let old = accounts.into_iter().filter(|account| before(account.creation_timestamp().as_ref(), left));
        steps.extend(old.map(|account| Step {
            cluster: site.cluster.clone(),
            environment: Some(site.environment.clone()),
            change: Change::ServiceAccount(Write::Delete(account.metadata)),
        }));
    }
    let count = steps.len();
    let carried = context.carry_out(vec![steps]).await;
    carried.errors.into_iter().find(|error| !matches!(error, Error::Stale { .. })).map_or(Ok(count), Err)
}
