//! What people wrote and what every cluster holds now, read once, as the operator reads it. Nothing is written.

use futures::future::join_all;
use kube::Client;
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::api::Reason;
use crate::cluster::leader::Terms;
use crate::cluster::memory::Memory;
use crate::cluster::remote::{READ_WITHIN, Way, secret_of, trouble};
use crate::plan::cluster::ClusterKey;
use crate::plan::link::{Claims, Trouble, named};

use super::Failure;
use super::connect::{Connect, chain};
use super::settings::Values;
use super::snapshot::{Where, declared, observed};

/// A client of the home cluster, what the installation decides, and a memory that knows nothing yet.
pub async fn opened(connect: &Connect, namespace: &str) -> Result<(Client, Values, Memory), Failure> {
    let config = connect.config().await?;
    let client = Client::try_from(config.clone())?;
    let values = Values::read(&client, namespace).await?;
    let settings = values.settings(&client, &config, namespace).await?;
    Ok((client, values, Memory::new(settings, [ClusterKey::Home])))
}

/// Reads what people wrote, the home cluster, the clusters of all Environments, and more. Of one that cannot be read it is kept why; that is no error.
pub async fn everywhere(memory: &Memory, home: &Client, terms: Terms, more: impl Iterator<Item = ClusterKey>) -> Result<(), Failure> {
    declared(memory, home).await?;
    let mut others = memory.read(|content, _| named(&content.world));
    others.extend(more);
    let visitor = Visitor { home, memory, claims: Mutex::default(), terms };
    let others = join_all(others.iter().map(|cluster| visitor.visit(cluster)));
    let (read, _) = tokio::join!(observed(memory, &ClusterKey::Home, home, Where::Everywhere), others);
    read
}

/// Reads clusters besides the home cluster.
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
