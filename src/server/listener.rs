//! Connections over TLS: so many at once, each with a time for every part of it, so that whoever dawdles holds nobody up.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::certificate::Certificate;

/// A handshake takes no longer.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// So long a connection may wait for the head of a request.
const HEAD: Duration = Duration::from_mins(1);
/// So long an answer that was begun may take once the connection has lived its life.
const LAST: Duration = Duration::from_mins(1);
/// What is not accepted is tried again after this.
const PAUSE: Duration = Duration::from_millis(100);
/// The most that the head of a request has.
const LARGEST_HEAD: usize = 32 * 1024;

/// A server: what it is called in the log, and what it allows.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Its name in the log.
    pub name: &'static str,
    /// At most this many connections are open at once.
    pub connections: usize,
    /// A connection that is as old as this takes no further request: who goes on opens another one, perhaps to another replica.
    pub life: Duration,
}

/// What answers requests.
pub trait Answers: Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Serves connections for ever.
pub async fn listen(listener: TcpListener, certificate: Arc<Certificate>, bounds: Bounds, service: Arc<impl Answers>) {
    let acceptor = match config(certificate) {
        Ok(config) => TlsAcceptor::from(Arc::new(config)),
        Err(error) => {
            tracing::error!(%error, server = bounds.name, "cannot speak TLS");
            return;
        }
    };
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, service) = (acceptor.clone(), service.clone());
                tokio::spawn(async move {
                    converse(stream, &acceptor, bounds, service).await;
                    drop(place);
                });
            }
            Err(error) => {
                // There may be no descriptors left for a moment.
                tracing::warn!(%error, server = bounds.name, "could not accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

fn config(certificate: Arc<Certificate>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn converse(stream: TcpStream, acceptor: &TlsAcceptor, bounds: Bounds, service: Arc<impl Answers>) {
    let _ = stream.set_nodelay(true);
    let server = bounds.name;
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, server, "a connection ended in its handshake"),
        Err(_) => return tracing::debug!(server, "a connection took too long for its handshake"),
    };
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(LARGEST_HEAD);
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        () = sleep(bounds.life) => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, server, "a connection broke"),
        Err(_) => tracing::debug!(server, "a connection took too long for its last answer"),
    }
}
