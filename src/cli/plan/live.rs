//! What people wrote and what every cluster holds now, read once: for a plan against live clusters. Nothing is written.

use futures::future::join_all;
use jiff::Timestamp;
use kube::Client;
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::api::Reason;
use crate::cluster::crds::{self, Health};
use crate::cluster::leader::Terms;
use crate::cluster::memory::Memory;
use crate::cluster::remote::{READ_WITHIN, Way, secret_of, trouble};
use crate::plan::cluster::ClusterKey;
use crate::plan::forecast::Stage;
use crate::plan::link::{Claims, Trouble, named};
use crate::plan::manifests::Manifests;

use super::super::connect::{Connect, chain};
use super::super::settings::Values;
use super::super::snapshot::{Where, declared, observed};
use super::Failure;

/// Reads everything that a plan depends on.
pub async fn stage(connect: &Connect, namespace: &str, manifests: &Manifests, now: Timestamp) -> Result<Stage, Failure> {
    let config = connect.config().await?;
    let client = Client::try_from(config.clone())?;
    let values = Values::read(&client, namespace).await?;
    let settings = values.settings(&client, &config, namespace).await?;
    let epoch = epoch(&client).await?;
    let memory = Memory::new(settings, [ClusterKey::Home]);
    declared(&memory, &client).await?;
    observed(&memory, &ClusterKey::Home, &client, Where::Everywhere).await?;
    let mut clusters = memory.read(|content, _| named(&content.world));
    clusters.extend(manifests.environments.iter().map(ClusterKey::of).filter(|cluster| *cluster != ClusterKey::Home));
    let visitor = Visitor { home: &client, memory: &memory, claims: Mutex::default(), terms: values.terms()? };
    join_all(clusters.iter().map(|cluster| visitor.visit(cluster))).await;
    let (content, settings) = memory.into_parts();
    Ok(Stage { world: content.world, clusters: content.clusters, links: content.links, settings, epoch, now })
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

/// Reads clusters besides the home cluster, as the operator does.
struct Visitor<'a> {
    home: &'a Client,
    memory: &'a Memory,
    claims: Mutex<Claims>,
    terms: Terms,
}

impl Visitor<'_> {
    /// Reads one, or notes why it cannot be read.
    async fn visit(&self, cluster: &ClusterKey) {
        let outcome = self.read(cluster).await;
        self.memory.set_link(cluster, |link| {
            link.read = outcome.is_ok();
            link.trouble = outcome.unwrap_or_else(Some);
        });
    }

    async fn read(&self, cluster: &ClusterKey) -> Result<Option<Trouble>, Trouble> {
        let settings = self.memory.settings();
        let way = Way { home: self.home, namespace: &settings.namespace, secret: secret_of(cluster), terms: self.terms };
        let (client, told) = way.open().await?;
        self.memory.set_link(cluster, |link| link.server = Some(told.server));
        let uid = way.ask_uid(&client).await?;
        way.admit(self.memory, &self.claims, cluster, &uid)?;
        let lacks = way.lacks(&client, &settings.fence).await?;
        if let Some(blind) = lacks.as_ref().filter(|lacks| lacks.silent) {
            return Err(blind.clone());
        }
        match timeout(READ_WITHIN, observed(self.memory, cluster, &client, Where::Everywhere)).await {
            Ok(read) => read.map_err(|error| trouble(Reason::Unreachable, chain(error.as_ref())))?,
            Err(_) => return Err(trouble(Reason::Unreachable, "its API server does not list what it holds".to_owned())),
        }
        Ok(lacks)
    }
}
