//! SCIM 2.0 over TLS, `/scim/v2/<source>`. `door` lets senders in, `http` translates, `desk` carries out what
//! [`crate::plan::scim`] says.

mod desk;
mod door;
mod http;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::net::TcpListener;

use crate::cluster::memory::Memory;
use crate::cluster::pushed::Store;
use crate::telemetry::metrics::Metrics;

use super::Asked;
use super::certificate::Certificate;
use super::listener::{Bounds, listen};

use self::desk::Desk;
use self::door::Door;
use self::http::Service;

/// A connection lives for ten minutes: whoever pushes keeps one open, and after that finds a replica that may be less busy.
const BOUNDS: Bounds = Bounds { name: "scim", connections: 256, life: Duration::from_mins(10) };

/// What is needed to serve SCIM.
pub struct Scim {
    /// A client of the home cluster.
    pub client: Client,
    /// All that is watched.
    pub memory: Arc<Memory>,
    /// Measurements.
    pub metrics: Arc<Metrics>,
    /// The Secret of usher's own namespace with `tls.crt` and `tls.key`.
    pub tls_secret: String,
    /// Whether all of it was read once.
    pub ready: Asked,
}

impl Scim {
    /// Serves for ever.
    pub async fn serve(self, listener: TcpListener) {
        let certificate = Arc::new(Certificate::new(BOUNDS.name));
        let store = Store::new(self.client.clone(), self.memory.clone(), self.metrics.clone());
        let service = Arc::new(Service {
            door: Door::new(self.client.clone(), self.memory.clone()),
            desk: Desk::new(store, self.memory.clone()),
            ready: self.ready.clone(),
        });
        tokio::join!(
            certificate.clone().follow(&self.client, &self.memory, (&self.tls_secret, &self.ready)),
            listen(listener, certificate, BOUNDS, move |request| {
                let service = service.clone();
                async move { service.answer(request).await }
            })
        );
    }
}
