//! The web page over TLS: who has what, since when and why, for people without kubectl. It changes nothing. `door` lets readers in, `http` translates, `desk` makes
//! the documents that [`crate::plan::page`] describes, and `assets` are the page itself.

mod assets;
mod desk;
mod door;
mod http;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::net::TcpListener;

use crate::cluster::memory::Memory;

use super::Asked;
use super::certificate::Certificate;
use super::listener::{Bounds, listen};

use self::desk::Desk;
use self::door::Door;
use self::http::Service;

/// A browser opens half a dozen connections and keeps them, so they live for two minutes.
const BOUNDS: Bounds = Bounds { name: "page", connections: 128, life: Duration::from_mins(2) };

/// What is needed to serve the page.
pub struct Page {
    /// A client of the home cluster.
    pub client: Client,
    /// All that is watched.
    pub memory: Arc<Memory>,
    /// The Secret of usher's own namespace with `tls.crt` and `tls.key`.
    pub tls_secret: String,
    /// Whether all of it was read once.
    pub ready: Asked,
}

impl Page {
    /// Serves for ever.
    pub async fn serve(self, listener: TcpListener) {
        let certificate = Arc::new(Certificate::new(BOUNDS.name));
        let service =
            Arc::new(Service { door: Door::new(self.client.clone()), desk: Desk::new(self.memory.clone()), ready: self.ready.clone() });
        tokio::join!(
            certificate.clone().follow(&self.client, &self.memory, (&self.tls_secret, &self.ready)),
            listen(listener, certificate, BOUNDS, move |request| {
                let service = service.clone();
                async move { service.answer(request).await }
            })
        );
    }
}
