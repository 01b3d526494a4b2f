//! SCIM 2.0 over TLS, `/scim/v2/<source>`. `door` lets senders in, `http` translates, `desk` carries out what
//! [`crate::plan::scim`] says.

mod desk;
mod door;
mod http;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::cluster::pushed::Store;
use crate::telemetry::metrics::Metrics;

use super::Ground;
use super::certificate::Certificate;
use super::listener::Bounds;

use self::desk::Desk;
use self::door::Door;
use self::http::Service;

/// A connection lives for ten minutes: whoever pushes keeps one open, and after that finds a replica that may be less busy.
const BOUNDS: Bounds = Bounds { name: "scim", connections: 256, life: Duration::from_mins(10) };

/// What is needed to serve SCIM.
pub struct Scim {
    /// What it stands on.
    pub ground: Ground,
    /// Measurements.
    pub metrics: Arc<Metrics>,
}

impl Scim {
    /// Serves for ever.
    pub async fn serve(self, listener: TcpListener) {
        let Self { ground, metrics } = self;
        let store = Store::new(ground.client.clone(), ground.memory.clone(), metrics);
        let service = Service {
            door: Door::new(ground.client.clone(), ground.memory.clone()),
            desk: Desk::new(store, ground.memory.clone()),
            ready: ground.ready.clone(),
            bodies: Mutex::default(),
        };
        ground.serve(listener, Arc::new(Certificate::new(BOUNDS.name)), BOUNDS, service).await;
    }
}
