//! Where the API server's audit webhook may send its events: HTTPS with a bearer token, bounded in every way.
//!
//! Nothing in the cluster waits for it: the API server sends batches beside its work, and drops them when nobody takes them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::Listener;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::controllers::figures::Sink;
use crate::plan::name::fingerprint;
use crate::plan::scorecard::events::denied;

use super::Failure;

/// A batch may be so long: at the level Metadata several thousand events.
const LONGEST: usize = 4 * 1024 * 1024;
/// So many connections there are at once, and so many batches are read at once.
const CONNECTIONS: usize = 16;
const BATCHES: usize = 2;
/// How long the greeting of a connection may take, and how long one lives.
const GREETING: Duration = Duration::from_secs(5);
const LIFE: Duration = Duration::from_mins(1);
/// How soon the Secret is read again: certificates are renewed.
const RENEWED: Duration = Duration::from_mins(5);

/// The certificate, and a digest of the token.
struct Keys {
    tls: Arc<ServerConfig>,
    token: String,
}

/// The keys of a Secret.
async fn read(client: &Client, namespace: &str, name: &str) -> Result<Keys, Failure> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = api.get(name).await.map_err(|error| format!("cannot read Secret {namespace}/{name} for the audit webhook: {error}"))?;
    let data = secret.data.unwrap_or_default();
    let part = |key: &str| {
        let found = data.get(key).map(|value| value.0.as_slice()).filter(|value| !value.is_empty());
        found.ok_or_else(|| format!("Secret {namespace}/{name} has no {key}: the audit webhook needs tls.crt, tls.key and token"))
    };
    let (certificate, key, token) = (part("tls.crt")?, part("tls.key")?, part("token")?);
    let broken = |what: &str, error: &dyn std::fmt::Display| format!("{what} in Secret {namespace}/{name} is of no use: {error}");
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| broken("tls.crt", &error))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| broken("tls.key", &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_no_client_auth();
    let tls = builder.with_single_cert(chain, key).map_err(|error| broken("tls.crt or tls.key", &error))?;
    Ok(Keys { tls: Arc::new(tls), token: fingerprint(token.trim_ascii()) })
}

/// Serves for ever. The port is taken before this returns.
///
/// # Errors
/// When the Secret cannot be read or the port is taken.
pub async fn open(
    client: Client,
    (namespace, secret): (&str, &str),
    address: SocketAddr,
    sink: Arc<Sink>,
) -> Result<impl Future<Output = io::Result<()>> + Send + 'static, Failure> {
    let keys = Arc::new(RwLock::new(read(&client, namespace, secret).await?));
    let listener =
        TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}; choose another --audit-listen"))?;
    tracing::info!(audit = %listener.local_addr()?, "taking what the audit webhook sends");
    let (sender, greeted) = channel(1);
    let door = Door { greeted, address };
    let router = router(keys.clone(), sink);
    let (namespace, secret) = (namespace.to_owned(), secret.to_owned());
    Ok(async move {
        tokio::select! {
            () = greet(listener, keys.clone(), sender) => Ok(()),
            () = renew(client, namespace, secret, keys) => Ok(()),
            served = async { axum::serve(door, router).await } => served,
        }
    })
}

/// Reads the Secret again and again. One that is of no use any more changes nothing.
async fn renew(client: Client, namespace: String, secret: String, keys: Arc<RwLock<Keys>>) {
    loop {
        sleep(RENEWED).await;
        match read(&client, &namespace, &secret).await {
            Ok(new) => *keys.write() = new,
            Err(error) => tracing::warn!(%error, "the audit webhook goes on with the certificate and token that it has"),
        }
    }
}

fn router(keys: Arc<RwLock<Keys>>, sink: Arc<Sink>) -> Router {
    let batches = Arc::new(Semaphore::new(BATCHES));
    let take = move |headers: HeaderMap, body: Bytes| {
        let answer = answer(&keys, &sink, &headers, &body);
        async move { answer }
    };
    let limited = move |request: axum::extract::Request, next: axum::middleware::Next| {
        let batches = batches.clone();
        async move {
            let Ok(_turn) = batches.acquire_owned().await else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
            next.run(request).await
        }
    };
    Router::new().route("/", post(take)).layer(DefaultBodyLimit::max(LONGEST)).layer(axum::middleware::from_fn(limited))
}

fn answer(keys: &RwLock<Keys>, sink: &Sink, headers: &HeaderMap, body: &[u8]) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    // Digests are compared: how long that takes tells nothing of the token.
    if token.is_none_or(|token| fingerprint(token) != keys.read().token) {
        return (StatusCode::UNAUTHORIZED, "the bearer token is not that of the Secret\n").into_response();
    }
    if !sink.leads() {
        return elsewhere();
    }
    match denied(body).map(|requests| sink.take(requests)) {
        Ok(true) => StatusCode::OK.into_response(),
        Ok(false) => elsewhere(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("no EventList of audit.k8s.io/v1: {error}\n")).into_response(),
    }
}

/// The API server tries again, over another connection, which may lead to the replica that works.
fn elsewhere() -> Response {
    let headers = [(header::RETRY_AFTER, "1"), (header::CONNECTION, "close")];
    (StatusCode::TOO_MANY_REQUESTS, headers, "this replica does not work at the moment\n").into_response()
}

/// Takes connections and greets each of them beside the others.
async fn greet(listener: TcpListener, keys: Arc<RwLock<Keys>>, sender: Sender<(Guest, SocketAddr)>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, from)) = listener.accept().await else {
            // There may be no descriptors left for a moment.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (acceptor, sender) = (TlsAcceptor::from(keys.read().tls.clone()), sender.clone());
        tokio::spawn(async move {
            if let Ok(Ok(stream)) = timeout(GREETING, acceptor.accept(stream)).await {
                // Nobody takes it any more when the replica ends.
                let _ = sender.send((Guest { stream, life: Box::pin(sleep(LIFE)), _place: place }, from)).await;
            }
        });
    }
}

/// Where greeted connections come in.
struct Door {
    greeted: Receiver<(Guest, SocketAddr)>,
    address: SocketAddr,
}

impl Listener for Door {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        match self.greeted.recv().await {
            Some(guest) => guest,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A connection that holds its place, and not for ever.
struct Guest {
    stream: TlsStream<TcpStream>,
    life: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Guest {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.life.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
