//! The operator.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::connection;
use crate::cluster::leader::{Candidate, Elected};
use crate::cluster::memory::Memory;
use crate::cluster::remote::Remotes;
use crate::cluster::watch::Watches;
use crate::controllers::context::Context;
use crate::controllers::export::Exporter;
use crate::controllers::figures::{self, Sink};
use crate::controllers::{self, defaults};
use crate::plan::cluster::ClusterKey;
use crate::plan::name::digest;
use crate::server::audit::AuditWebhook;
use crate::server::page::Page;
use crate::server::scim::Scim;
use crate::server::{Asked, Ground};
use crate::telemetry::export::Target;
use crate::telemetry::logging::{self, Format};
use crate::telemetry::metrics::Metrics;

use super::Failure;
use super::connect::Connect;
use super::settings::Values;

/// A replica that starts waits so long for other clusters; what is not known of them by then is found out while it works.
const REMOTES_WITHIN: Duration = Duration::from_secs(5);

/// Run the operator.
///
/// It reads its settings from ConfigMap usher-settings in its namespace, takes part in the election of the replica that works,
/// and serves /healthz, /readyz and /metrics; SCIM for identity providers and the web page, if those are on.
#[derive(Debug, clap::Args)]
pub struct Run {
    #[command(flatten)]
    connect: Connect,
    /// The namespace that usher is installed in [default: that of the context or the Pod]
    #[arg(long, env = "USHER_NAMESPACE")]
    namespace: Option<String>,
    /// Where to serve health, readiness and metrics; port 0 takes a free one
    #[arg(long, env = "USHER_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Where to serve SCIM, if the settings have scim.enabled; port 0 takes a free one
    #[arg(long, env = "USHER_SCIM_LISTEN", default_value = "0.0.0.0:8443")]
    scim_listen: SocketAddr,
    /// Where to serve the web page, if the settings have page.enabled; port 0 takes a free one
    #[arg(long, env = "USHER_PAGE_LISTEN", default_value = "0.0.0.0:8444")]
    page_listen: SocketAddr,
    /// Where to take what the API server's audit webhook sends, over HTTPS; left out: nowhere
    #[arg(long, env = "USHER_AUDIT_LISTEN")]
    audit_listen: Option<SocketAddr>,
    /// The Secret in usher's namespace with tls.crt, tls.key and token for it
    #[arg(long, env = "USHER_AUDIT_SECRET", default_value = "usher-audit-webhook")]
    audit_secret: String,
    /// The name of this replica in the Lease [default: POD_NAME, else the process]
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// How log lines are written
    #[arg(long, env = "USHER_LOG_FORMAT", default_value = "text")]
    log_format: Format,
    /// What is logged: error, warn, info, debug, trace, or tracing's directives
    #[arg(long, env = "USHER_LOG", default_value = "info")]
    log_filter: String,
}

impl Run {
    /// Runs until the process is told to stop, or the Lease is lost.
    pub async fn execute(self) -> Result<(), Failure> {
        logging::start(self.log_format, &self.log_filter).map_err(|error| format!("--log-filter: {error}"))?;
        let config = self.connect.config().await?;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let values = Values::read(&Client::try_from(config.clone())?, &namespace).await?;
        let client = connection::open(&config, values.terms()?)?;
        self.operate(client, &config, &namespace, &values).await
    }

    async fn operate(&self, client: Client, config: &Config, namespace: &str, values: &Values) -> Result<(), Failure> {
        let terms = values.terms()?;
        if let Some(missing) = values.missing() {
            tracing::warn!("{missing}");
        }
        let export = values.export()?;
        let settings = values.settings(&client, config, namespace).await?;
        let metrics = Arc::new(Metrics::default());
        let memory = Arc::new(Memory::new(settings, [ClusterKey::Home]));
        let mut watches = Watches::new(memory.clone(), metrics.clone(), ClusterKey::Home, client.clone());
        watches.declared();
        watches.observed();
        watches.recorded();
        let listener = listen(self.listen, "--listen").await?;
        tracing::info!(address = %listener.local_addr()?, namespace, version = env!("CARGO_PKG_VERSION"), "listening");
        let server = tokio::spawn(super::serve::serve(listener, metrics.clone(), Arc::new(watches.readiness())));
        let ready: Asked = Arc::new(watches.readiness());
        let ground = |client, secret| Ground { client, memory: memory.clone(), secret, ready: ready.clone() };
        if let Some(tls_secret) = values.scim() {
            watches.pushed();
            let listener = listen(self.scim_listen, "--scim-listen").await?;
            tracing::info!(scim = %listener.local_addr()?, "serving SCIM");
            let ground = ground(Client::try_from(config.clone())?, tls_secret);
            tokio::spawn(Scim { ground, metrics: metrics.clone() }.serve(listener));
        }
        if let Some(tls_secret) = values.page() {
            let listener = listen(self.page_listen, "--page-listen").await?;
            tracing::info!(page = %listener.local_addr()?, "serving the web page");
            let ground = ground(Client::try_from(config.clone())?, tls_secret);
            tokio::spawn(Page { ground }.serve(listener));
        }
        let sink = Arc::new(Sink::new(memory.clone(), metrics.clone()));
        self.take_audit(ground(client.clone(), self.audit_secret.clone()), &sink).await?;
        let identity = self.identity();
        let remotes = Remotes { home: client.clone(), memory, metrics, connections: Arc::default(), terms };
        let leading = OnceLock::new();
        let work = self.lead(config, namespace, (&identity, &leading), &remotes, (&watches, export, sink));
        let outcome = tokio::select! {
            outcome = work => outcome,
            // Which cluster each Secret leads to stands in Environments, so all of those are read before.
            () = async { watches.complete().await; remotes.clone().run().await } => Ok(()),
            served = server => Err(format!("the HTTP server ended: {served:?}").into()),
            () = told_to_stop() => {
                tracing::info!("told to stop");
                Ok(())
            }
        };
        // While the Lease is this replica's still: what the next one reads is all that was told.
        if let (Ok(()), Some(context)) = (&outcome, leading.get()) {
            figures::flush(context).await;
        }
        Candidate::new(client, namespace, identity, terms).release().await;
        outcome
    }

    async fn lead(
        &self,
        config: &Config,
        namespace: &str,
        (identity, leading): (&str, &OnceLock<Arc<Context>>),
        remotes: &Remotes,
        (watches, export, sink): (&Watches, Target, Arc<Sink>),
    ) -> Result<(), Failure> {
        let (terms, metrics) = (remotes.terms, &remotes.metrics);
        watches.complete().await;
        remotes.settled(REMOTES_WITHIN).await;
        remotes.memory.compact();
        tracing::info!("the cluster is read");
        let candidate = Candidate::new(connection::open(config, terms)?, namespace, identity.to_owned(), terms);
        let Elected { lease, waited } = candidate.elected().await;
        tracing::info!(identity, "leading");
        metrics.leads(true);
        candidate.mandate().watch(end_at_once);
        let client = connection::open(config, terms)?;
        let reporter = Reporter { controller: "usher".to_owned(), instance: Some(identity.to_owned()) };
        let events = client.clone();
        let recorder = move || Recorder::new(events.clone(), reporter.clone());
        let export = Exporter::new(export, digest(&[identity, &jiff::Timestamp::now().to_string()]));
        let context = Arc::new(Context::new(
            (remotes.memory.clone(), remotes.connections.clone()),
            client.clone(),
            candidate.mandate(),
            metrics.clone(),
            recorder,
            export,
        ));
        let _ = leading.set(context.clone());
        let work = async {
            if waited {
                tracing::info!("reading the clusters anew, as the replica before said no goodbye");
                remotes.anew();
                tokio::join!(watches.anew(client.clone()), remotes.settled(REMOTES_WITHIN));
            }
            if let Err(error) = defaults::apply(&client, namespace).await {
                tracing::warn!(
                    error = super::connect::chain(&error),
                    "the defaults could not be made; they are tried again at the next start"
                );
            }
            let judged = figures::judge(context.clone(), sink);
            tokio::select! {
                () = controllers::run(context, watches.relisted()) => {}
                () = judged => {}
            }
        };
        tokio::select! {
            () = work => Err("the controllers ended".into()),
            () = candidate.hold(lease) => {
                metrics.leads(false);
                Err("the lease was lost, so another replica may work: stopping".into())
            }
        }
    }

    /// Opens the door for the audit webhook, if there is to be one.
    async fn take_audit(&self, ground: Ground, sink: &Arc<Sink>) -> Result<(), Failure> {
        let Some(address) = self.audit_listen else { return Ok(()) };
        let listener = listen(address, "--audit-listen").await?;
        tracing::info!(audit = %listener.local_addr()?, "taking what the audit webhook sends");
        let (working, taking) = (sink.clone(), sink.clone());
        let webhook =
            AuditWebhook { ground, leads: Arc::new(move || working.leads()), taker: Arc::new(move |requests| taking.take(requests)) };
        tokio::spawn(webhook.serve(listener));
        Ok(())
    }

    fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(|| {
            let process = std::process::id().to_string();
            let start = jiff::Timestamp::now().as_nanosecond().to_string();
            format!("usher-{}", digest(&[&process, &start]))
        })
    }
}

async fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    Ok(listener.map_err(|error| format!("cannot listen on {address}: {error}; choose another {flag}"))?)
}

/// Ends the process with all that it was about to send: another replica may work by now.
fn end_at_once() {
    tracing::error!("the lease was not renewed in time, so another replica may work: ending");
    #[expect(clippy::disallowed_methods, reason = "an orderly end would still send what is under way")]
    std::process::exit(1)
}

async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
