//! The keeper of one cluster: reads the Secret, connects, asks what usher may do, watches, and looks again and again whether the cluster answers.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use secrecy::ExposeSecret;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::api::Reason;
use crate::api::environment::SecretKey;
use crate::api::metadata::IDENTITIES_NAMESPACE;
use crate::plan::cluster::ClusterKey;
use crate::plan::link::Trouble;

use super::super::accounts::own_value;
use super::super::connection;
use super::super::watch::Watches;
use super::rights::{self, Missing};
use super::{Connection, LOOK_EVERY, Remotes, kubeconfig};

/// How often a cluster that answers is looked at; something that goes wrong there is a reason to look at once.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// One that takes longer to answer a reading is as good as none: whoever writes there would wait as long.
const PROBE_WITHIN: Duration = Duration::from_secs(3);
/// One lost answer is none; two are.
const PROBE_AGAIN: Duration = Duration::from_millis(300);
/// How soon a cluster that does not answer is tried again, and how late at most.
const FIRST_TRY: Duration = Duration::from_millis(500);
const LAST_TRY: Duration = Duration::from_secs(5);
/// How long a list of everything may take. A right that is missing shows by then.
const READ_WITHIN: Duration = Duration::from_mins(1);
/// How often usher asks what it may do: while something is missing, and else.
const ASK_SOON: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_mins(10);

/// The keeper of one cluster.
pub(super) struct Keeper {
    all: Remotes,
    cluster: ClusterKey,
    secret: SecretKey,
    watches: Option<Watches>,
    doubted: std::sync::Arc<Notify>,
    /// How often all had to be read anew.
    anew: watch::Receiver<u64>,
}

fn trouble(reason: Reason, message: String) -> Trouble {
    Trouble { reason, message, silent: true }
}

impl Keeper {
    /// The keeper of a cluster.
    pub(super) fn new(all: Remotes, cluster: ClusterKey) -> Self {
        let secret = match &cluster {
            ClusterKey::Home => SecretKey::default(),
            ClusterKey::Remote(name, key) => SecretKey { name: name.clone(), key: key.clone() },
        };
        let anew = all.connections.anew.subscribe();
        Self { all, cluster, secret, watches: None, doubted: std::sync::Arc::default(), anew }
    }

    /// Keeps it for ever.
    pub(super) async fn run(mut self) {
        let mut wait = FIRST_TRY;
        loop {
            let version = self.version();
            let failed = match self.connect().await {
                Ok((client, uid)) => {
                    wait = FIRST_TRY;
                    self.stay(&client, &uid, version.as_ref()).await
                }
                Err(trouble) => Some(trouble),
            };
            // Another kubeconfig is tried at once, and nothing is wrong as long as that works.
            let Some(trouble) = failed else { continue };
            if self.all.memory.read(|_, scene| scene.trouble(&self.cluster) != Some(&trouble)) {
                tracing::warn!(cluster = %self.cluster, reason = trouble.reason.as_str(), "{}", trouble.message);
            }
            self.all.memory.set_link(&self.cluster, |link| link.trouble = Some(trouble));
            self.changed(version.as_ref(), wait).await;
            wait = (wait * 2).min(LAST_TRY);
        }
    }

    /// The version of the Secret, as its watch has seen it.
    fn version(&self) -> Option<String> {
        self.all.memory.read(|content, _| content.own_secrets.get(&self.secret.name).and_then(|secret| secret.resource_version()))
    }

    /// Waits until the Secret is another one, but not longer than `most`. Returns whether it is.
    async fn changed(&self, version: Option<&String>, most: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < most {
            if self.version().as_ref() != version {
                return true;
            }
            sleep(LOOK_EVERY.min(most)).await;
        }
        self.version().as_ref() != version
    }

    fn secret(&self) -> String {
        format!("Secret {}/{} (key {})", self.all.memory.settings().namespace, self.secret.name, self.secret.key)
    }

    /// Connects, and reads everything.
    async fn connect(&mut self) -> Result<(Client, String), Trouble> {
        let settings = self.all.memory.settings().clone();
        let read = own_value(&self.all.home, &settings.namespace, &self.secret).await;
        let text = read.map_err(|error| trouble(Reason::Unreachable, error.chain()))?;
        let missing =
            || trouble(Reason::SecretNotFound, format!("{} does not exist; make it (docs/tasks/several-clusters.md)", self.secret()));
        let text = text.ok_or_else(missing)?;
        let unusable = |why: String| trouble(Reason::InvalidSpec, format!("{} cannot be used: {why}", self.secret()));
        let (config, server) = kubeconfig::read(text.expose_secret()).await.map_err(unusable)?;
        // People's kubeconfigs tell of it, whether it answers now or not.
        self.all.memory.set_link(&self.cluster, |link| link.server = Some(server));
        let client = connection::open(&config, self.all.terms).map_err(|_| unusable("its certificates cannot be used".to_owned()))?;
        let uid = self.ask_uid(&client).await?;
        self.admit(&uid)?;
        let lacks = self.lacks(&client).await?;
        let began = *self.anew.borrow_and_update();
        self.read_all(&client, lacks.as_ref()).await?;
        let connection = Connection { client: client.clone(), doubted: self.doubted.clone() };
        self.all.connections.open.write().insert(self.cluster.clone(), connection);
        tracing::info!(cluster = %self.cluster, "the cluster is read");
        self.all.memory.set_link(&self.cluster, |link| {
            link.read = *self.anew.borrow() == began;
            link.trouble = lacks;
        });
        Ok((client, uid))
    }

    /// Which cluster it is, by the UID of its `kube-system`.
    async fn ask_uid(&self, client: &Client) -> Result<String, Trouble> {
        let api: Api<Namespace> = Api::all(client.clone());
        match timeout(PROBE_WITHIN, api.get_metadata("kube-system")).await {
            Ok(Ok(system)) => Ok(system.uid().unwrap_or_default()),
            Ok(Err(error)) => Err(self.refused(&error)),
            Err(_) => Err(trouble(Reason::Unreachable, format!("its API server takes longer than {PROBE_WITHIN:?} to answer"))),
        }
    }

    fn refused(&self, error: &kube::Error) -> Trouble {
        match error {
            kube::Error::Api(status) if status.code == 401 => trouble(
                Reason::Unauthorized,
                format!(
                    "its API server does not accept the credentials in {}; make the kubeconfig anew with `usher remote kubeconfig`",
                    self.secret()
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

    /// Lets the Secret in, if it leads to the cluster that it led to before, and no other one does: two ways to one cluster would each undo what the other does.
    fn admit(&self, uid: &str) -> Result<(), Trouble> {
        let memory = &self.all.memory;
        let mut claims = self.all.connections.claims.lock();
        let admitted = memory.read(|content, _| claims.admit(&content.world, &memory.settings().installation, &self.cluster, uid));
        drop(claims);
        admitted.map_err(|why| trouble(Reason::Conflict, format!("{} {why}", self.secret())))?;
        memory.set_link(&self.cluster, |link| link.uid = Some(uid.to_owned()));
        Ok(())
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
        let remedy = "make the kubeconfig with `usher remote kubeconfig`";
        excess.map_or(Ok(()), |words| Err(trouble(Reason::InvalidSpec, format!("{} cannot be used: {words}; {remedy}", self.secret()))))
    }

    /// What usher may not do there, in words.
    async fn lacks(&self, client: &Client) -> Result<Option<Trouble>, Trouble> {
        self.refuse_strong(client).await?;
        let fence = &self.all.memory.settings().fence;
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

    /// Watches, and waits until everything was read.
    async fn read_all(&mut self, client: &Client, lacks: Option<&Trouble>) -> Result<(), Trouble> {
        if let Some(blind) = lacks.filter(|lacks| lacks.silent) {
            return Err(blind.clone());
        }
        let all = &self.all;
        let read = async {
            match &mut self.watches {
                Some(watches) => watches.anew(client.clone()).await,
                none => {
                    let mut watches = Watches::new(all.memory.clone(), all.metrics.clone(), self.cluster.clone(), client.clone());
                    watches.observed();
                    none.insert(watches).complete().await;
                }
            }
        };
        timeout(READ_WITHIN, read).await.map_err(|_| trouble(Reason::Unreachable, "its API server does not list what it holds".to_owned()))
    }

    /// Looks again and again. Returns what went wrong; nothing if there is another kubeconfig to try.
    async fn stay(&self, client: &Client, uid: &str, version: Option<&String>) -> Option<Trouble> {
        let mut asked = Instant::now();
        let mut anew = self.anew.clone();
        loop {
            let doubted = tokio::select! {
                changed = anew.changed() => {
                    if changed.is_ok() {
                        return None;
                    }
                    false
                }
                changed = self.changed(version, PROBE_EVERY) => {
                    if changed {
                        return None;
                    }
                    false
                }
                () = self.doubted.notified() => true,
            };
            if let Err(trouble) = self.probe(client, uid).await {
                return Some(trouble);
            }
            let lacking = self.all.memory.read(|_, scene| scene.trouble(&self.cluster).is_some());
            let due = if lacking || doubted { ASK_SOON } else { ASK_EVERY };
            if asked.elapsed() >= due {
                asked = Instant::now();
                match self.lacks(client).await {
                    Ok(lacks) if lacks.as_ref().is_some_and(|lacks| lacks.silent) => return lacks,
                    Ok(lacks) => self.all.memory.set_link(&self.cluster, |link| link.trouble = lacks),
                    Err(trouble) => return Some(trouble),
                }
            }
        }
    }

    async fn probe(&self, client: &Client, uid: &str) -> Result<(), Trouble> {
        let mut answer = self.ask_uid(client).await;
        if answer.as_ref().is_err_and(|trouble| trouble.reason == Reason::Unreachable) {
            sleep(PROBE_AGAIN).await;
            answer = self.ask_uid(client).await;
        }
        let found = answer?;
        if found == uid { Ok(()) } else { Err(trouble(Reason::Unreachable, "another cluster answers there by now".to_owned())) }
    }
}
