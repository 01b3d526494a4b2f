//! The connections of a replica to the API server. What it sent while it led must not arrive when another leads: the API server would carry it out.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use tokio::net::TcpStream;
use tower::util::MapResponse;
use tower::{BoxError, ServiceBuilder};

use super::leader::Terms;

/// How often the other end of a connection is asked whether it is there, while nothing is said. Without it, a connection that was lost looks like one to a
/// cluster in which nothing happens.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// A client for a replica that may lead. It repeats nothing by itself: whoever asked decides again whether, in her turn and while she may.
///
/// # Errors
/// When the configuration does not fit together.
pub fn open(config: &Config, terms: Terms) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config.clone());
    }
    let tcp = MapResponse::new(tcp(terms), |stream: TokioIo<TcpStream>| {
        // When the process ends, what the system has not sent yet is dropped, and not sent in its own time.
        if let Err(error) = stream.inner().set_zero_linger() {
            tracing::warn!(%error, "a connection will not forget what could not be sent");
        }
        stream
    });
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let http: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

fn tcp(terms: Terms) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(ALIVE_EVERY));
    tcp.set_keepalive_interval(Some(ALIVE_EVERY));
    // Also of a process that hangs: what nobody took for so long is dropped before anybody else may lead.
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(terms.lease_duration.saturating_sub(terms.renew_deadline)));
    tcp
}
