//! The way into another cluster: the Secret with its kubeconfig, which cluster that is, and what usher may do there. It only asks, and remembers nothing.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use tokio::time::timeout;

use crate::api::Reason;
use crate::api::environment::SecretKey;
use crate::api::metadata::IDENTITIES_NAMESPACE;
use crate::plan::cluster::ClusterKey;
use crate::plan::link::{Claims, Trouble};
use crate::plan::settings::Fence;

use super::super::accounts::{own_secret, value};
use super::super::connection;
use super::super::leader::Terms;
use super::super::memory::Memory;
use super::kubeconfig::{self, Told};
use super::rights::{self, Missing};

/// One that takes longer to answer a reading is as good as none: whoever writes there would wait as long.
const PROBE_WITHIN: Duration = Duration::from_secs(3);
/// How long a list of everything may take. A right that is missing shows by then.
pub const READ_WITHIN: Duration = Duration::from_mins(1);

/// The way into one cluster.
pub struct Way<'a> {
    /// A client of the home cluster, where the Secret is.
    pub home: &'a Client,
    /// usher's own namespace.
    pub namespace: &'a str,
    /// The Secret.
    pub secret: SecretKey,
    /// How long the Lease holds.
    pub terms: Terms,
}

/// What keeps usher from working in a cluster at all.
pub fn trouble(reason: Reason, message: String) -> Trouble {
    Trouble { reason, message, silent: true }
}

/// The Secret that leads to a cluster.
pub fn secret_of(cluster: &ClusterKey) -> SecretKey {
    match cluster {
        ClusterKey::Home => SecretKey::default(),
        ClusterKey::Remote(name, key) => SecretKey { name: name.clone(), key: key.clone() },
    }
}

impl Way<'_> {
    /// How the Secret is called in messages.
    pub fn title(&self) -> String {
        format!("Secret {}/{} (key {})", self.namespace, self.secret.name, self.secret.key)
    }

    /// That the Secret cannot be used, and why.
    fn unusable(&self, why: &str) -> Trouble {
        trouble(Reason::InvalidSpec, format!("{} cannot be used: {why}", self.title()))
    }

    /// A client of the cluster, and what its kubeconfig says.
    ///
    /// # Errors
    /// When the Secret cannot be read or used.
    pub async fn open(&self) -> Result<(Client, Told), Trouble> {
        let read = own_secret(self.home, self.namespace, &self.secret.name).await;
        let secret = read.map_err(|error| trouble(Reason::Unreachable, error.chain()))?;
        let missing =
            || trouble(Reason::SecretNotFound, format!("{} does not exist; make it (docs/tasks/several-clusters.md)", self.title()));
        let text = value(&secret.ok_or_else(missing)?, &self.secret.key);
        let text = text.ok_or_else(|| self.unusable("it has no such key, or what is there is no text; put the kubeconfig there"))?;
        let told = kubeconfig::read(text.expose_secret()).await.map_err(|why| self.unusable(&why))?;
        let client = connection::open(&told.config, self.terms).map_err(|_| self.unusable("its certificates cannot be used"))?;
        Ok((client, told))
    }

    /// Which cluster it is, by the UID of its `kube-system`.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses.
    pub async fn ask_uid(&self, client: &Client) -> Result<String, Trouble> {
        let api: Api<Namespace> = Api::all(client.clone());
        match timeout(PROBE_WITHIN, api.get_metadata("kube-system")).await {
            Ok(Ok(system)) => Ok(system.uid().unwrap_or_default()),
            Ok(Err(error)) => Err(self.refused(&error)),
            Err(_) => Err(trouble(Reason::Unreachable, format!("its API server takes longer than {PROBE_WITHIN:?} to answer"))),
        }
    }

    /// Lets the Secret in, if it leads to the cluster that it led to before, and no other one does: two ways to one cluster would each undo what the other does.
    ///
    /// # Errors
    /// When it is not let in, with the reason.
    pub fn admit(&self, memory: &Memory, claims: &Mutex<Claims>, cluster: &ClusterKey, uid: &str) -> Result<(), Trouble> {
        let mut claims = claims.lock();
        let admitted = memory.read(|content, _| claims.admit(&content.world, &memory.settings().installation, cluster, uid));
        admitted.map_err(|why| trouble(Reason::Conflict, format!("{} {why}", self.title())))
    }

    /// What an answer of the API server means that is none.
    pub fn refused(&self, error: &kube::Error) -> Trouble {
        match error {
            kube::Error::Api(status) if status.code == 401 => trouble(
                Reason::Unauthorized,
                format!(
                    "its API server does not accept the credentials in {}; make the kubeconfig anew with `usher remote kubeconfig`",
                    self.title()
                ),
            ),
            kube::Error::Api(status) if status.code == 403 => trouble(
                Reason::Unauthorized,
                format!("usher may do nothing there ({}); install the chart's remote side in that cluster", status.message),
            ),
            kube::Error::Api(status) => trouble(Reason::Unreachable, format!("its API server says: {}", status.message)),
            other => trouble(
                Reason::Unreachable,
                format!("its API server does not answer ({other}); look whether it runs and whether usher can reach it"),
            ),
        }
    }

    /// The answer to questions about usher itself, or what it means that there is none.
    async fn answer<T>(&self, asked: impl Future<Output = kube::Result<T>>, silence: &str) -> Result<T, Trouble> {
        match timeout(READ_WITHIN, asked).await {
            Ok(answer) => answer.map_err(|error| self.refused(&error)),
            Err(_) => Err(trouble(Reason::Unreachable, silence.to_owned())),
        }
    }

    /// Refuses credentials that may more than usher needs: whoever reads the Secret would have that, and no policy there would hold them in.
    async fn refuse_strong(&self, client: &Client) -> Result<(), Trouble> {
        let excess = self.answer(rights::excess(client), "its API server does not say who usher is there").await?;
        excess.map_or(Ok(()), |words| Err(self.unusable(&format!("{words}; make the kubeconfig with `usher remote kubeconfig`"))))
    }

    /// What usher may not do there, in words.
    ///
    /// # Errors
    /// When the API server does not answer, or the credentials may more than usher needs.
    pub async fn lacks(&self, client: &Client, fence: &Fence) -> Result<Option<Trouble>, Trouble> {
        self.refuse_strong(client).await?;
        let missing = self.answer(rights::missing(client, fence), "its API server does not say what usher may do").await?;
        if let Some(Missing { words, blind }) = missing {
            let message = format!("usher lacks rights there: {words}; install or upgrade the chart's remote side in that cluster");
            return Ok(Some(Trouble { reason: Reason::Unauthorized, message, silent: blind }));
        }
        let api: Api<Namespace> = Api::all(client.clone());
        match api.get_metadata_opt(IDENTITIES_NAMESPACE).await.map_err(|error| self.refused(&error))? {
            Some(_) => Ok(None),
            None => {
                let message = format!("namespace {IDENTITIES_NAMESPACE} is missing there; install the chart's remote side in that cluster");
                Ok(Some(Trouble { reason: Reason::Unauthorized, message, silent: false }))
            }
        }
    }
}
