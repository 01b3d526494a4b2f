//! Connections: so many at once, each with a time for every part of it, so that whoever dawdles holds nobody up.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::certificate::Certificate;
use super::http::Service;

/// At most this many connections are open at once.
const CONNECTIONS: usize = 256;
/// A handshake takes no longer.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// So long a connection may wait for the head of a request.
const HEAD: Duration = Duration::from_mins(1);
/// What is not accepted is tried again after this.
const PAUSE: Duration = Duration::from_millis(100);
/// The most that the head of a request has.
const LARGEST_HEAD: usize = 32 * 1024;

/// Serves connections for ever.
pub async fn listen(listener: TcpListener, certificate: Arc<Certificate>, service: Arc<Service>) {
    let acceptor = match config(certificate) {
        Ok(config) => TlsAcceptor::from(Arc::new(config)),
        Err(error) => {
            tracing::error!(%error, "the SCIM server cannot speak TLS");
            return;
        }
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, service) = (acceptor.clone(), service.clone());
                tokio::spawn(async move {
                    converse(stream, &acceptor, service).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the SCIM server could not accept a connection");
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

async fn converse(stream: TcpStream, acceptor: &TlsAcceptor, service: Arc<Service>) {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a connection to the SCIM server ended in its handshake"),
        Err(_) => return tracing::debug!("a connection to the SCIM server took too long for its handshake"),
    };
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, std::convert::Infallible>(service.answer(request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(LARGEST_HEAD);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "a connection to the SCIM server broke");
    }
}
