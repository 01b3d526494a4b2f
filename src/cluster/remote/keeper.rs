//! The keeper of one cluster: reads the Secret, connects, asks what usher may do, watches, and looks again and again whether the cluster answers.

use std::time::Duration;

use kube::{Client, ResourceExt};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::api::Reason;
use crate::api::environment::SecretKey;
use crate::plan::cluster::ClusterKey;
use crate::plan::link::Trouble;

use super::super::watch::Watches;
use super::kubeconfig::Told;
use super::way::{READ_WITHIN, Way, secret_of, trouble};
use super::{Connection, LOOK_EVERY, Remotes};

/// How often a cluster that answers is looked at; something that goes wrong there is a reason to look at once.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// One lost answer is none; two are.
const PROBE_AGAIN: Duration = Duration::from_millis(300);
/// How soon a cluster that does not answer is tried again, and how late at most.
const FIRST_TRY: Duration = Duration::from_millis(500);
const LAST_TRY: Duration = Duration::from_secs(5);
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

impl Keeper {
    /// The keeper of a cluster.
    pub(super) fn new(all: Remotes, cluster: ClusterKey) -> Self {
        let secret = secret_of(&cluster);
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

    fn way(&self) -> Way<'_> {
        Way { home: &self.all.home, namespace: &self.all.memory.settings().namespace, secret: self.secret.clone(), terms: self.all.terms }
    }

    /// Connects, and reads everything.
    async fn connect(&mut self) -> Result<(Client, String), Trouble> {
        let (client, Told { server, token_ends, .. }) = self.way().open().await?;
        // People's kubeconfigs tell of it, whether it answers now or not.
        self.all.memory.set_link(&self.cluster, |link| (link.server, link.token_ends) = (Some(server), token_ends));
        let uid = self.way().ask_uid(&client).await?;
        self.admit(&uid)?;
        self.all.memory.set_link(&self.cluster, |link| link.uid = Some(uid.clone()));
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

    fn admit(&self, uid: &str) -> Result<(), Trouble> {
        self.way().admit(&self.all.memory, &self.all.connections.claims, &self.cluster, uid)
    }

    /// What usher may not do there, in words.
    async fn lacks(&self, client: &Client) -> Result<Option<Trouble>, Trouble> {
        self.way().lacks(client, &self.all.memory.settings().fence).await
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
            // Another replica may have let another Secret in before this one, and written that down.
            if let Err(trouble) = self.probe(client, uid).await.and_then(|()| self.admit(uid)) {
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
        let mut answer = self.way().ask_uid(client).await;
        if answer.as_ref().is_err_and(|trouble| trouble.reason == Reason::Unreachable) {
            sleep(PROBE_AGAIN).await;
            answer = self.way().ask_uid(client).await;
        }
        let found = answer?;
        if found == uid { Ok(()) } else { Err(trouble(Reason::Unreachable, "another cluster answers there by now".to_owned())) }
    }
}
