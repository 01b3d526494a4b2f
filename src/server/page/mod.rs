//! The web page over TLS: who has what, since when and why, for people without kubectl. It changes nothing. `door` lets readers in, `http` translates, `desk` makes
//! the documents that [`crate::plan::page`] describes, and `assets` are the page itself.

mod assets;
mod desk;
mod door;
mod http;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::Ground;
use super::certificate::Certificate;
use super::listener::Bounds;

use self::desk::Desk;
use self::door::Door;
use self::http::Service;

/// A browser opens half a dozen connections and keeps them, so they live for two minutes.
const BOUNDS: Bounds = Bounds { name: "page", connections: 128, life: Duration::from_mins(2) };

/// What is needed to serve the page.
pub struct Page {
    /// What it stands on.
    pub ground: Ground,
}

impl Page {
    /// Serves for ever.
    pub async fn serve(self, listener: TcpListener) {
        let ground = self.ground;
        let service =
            Service { door: Door::new(ground.client.clone()), desk: Desk::new(ground.memory.clone()), ready: ground.ready.clone() };
        ground.serve(listener, Arc::new(Certificate::new(BOUNDS.name)), BOUNDS, service).await;
    }
}
