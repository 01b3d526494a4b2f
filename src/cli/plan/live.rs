//! What people wrote and what every cluster holds now, read once: for a plan against live clusters. Nothing is written.

use jiff::Timestamp;
use kube::Client;

use crate::cluster::crds::{self, Health};
use crate::plan::cluster::ClusterKey;
use crate::plan::forecast::Stage;
use crate::plan::manifests::Manifests;

use super::super::connect::Connect;
use super::super::everywhere::{everywhere, opened};
use super::super::rules;
use super::Failure;

/// Reads everything that a plan depends on.
pub async fn stage(connect: &Connect, namespace: &str, manifests: &Manifests, now: Timestamp) -> Result<Stage, Failure> {
    let (client, values, memory) = opened(connect, namespace).await?;
    let epoch = epoch(&client).await?;
    let more = manifests.environments.iter().map(ClusterKey::of).filter(|cluster| *cluster != ClusterKey::Home);
    everywhere(&memory, &client, values.terms()?, more).await?;
    let rules = rules::read(&memory, &client, values.terms()?).await?;
    let (content, settings) = memory.into_parts();
    Ok(Stage { world: content.world, clusters: content.clusters, links: content.links, rules, settings, epoch, now })
}

/// The digest of the UIDs of usher's CRDs, which stands on what usher makes.
async fn epoch(client: &Client) -> Result<String, Failure> {
    let health = crds::health(client).await;
    match health.map_err(|error| format!("{}; ClusterRole usher-auditor allows to read all that this needs", error.chain()))? {
        Health::Whole(epoch) => Ok(epoch),
        Health::Broken(kinds) => Err(format!(
            "of usher's kinds these are being deleted or missing, and while that is so usher ends nothing: {}; install the chart again",
            kinds.join(", ")
        )
        .into()),
    }
}
