//! What replicas serve to others over TLS: SCIM, by which identity providers push people, the door of the API server's audit webhook, and the web page. Every replica does,
//! whether it leads or not. `listener` takes connections, `certificate` follows the Secret with the key.

pub mod audit;
mod certificate;
mod listener;
pub mod page;
pub mod scim;
mod token;

use std::sync::Arc;

use kube::Client;
use tokio::net::TcpListener;

use crate::cluster::memory::Memory;

use self::certificate::Certificate;
use self::listener::{Answers, Bounds, listen};

/// Whether something is so at the moment.
pub type Asked = Arc<dyn Fn() -> bool + Send + Sync>;

/// What every server stands on.
pub struct Ground {
    /// A client of the home cluster.
    pub client: Client,
    /// All that is watched.
    pub memory: Arc<Memory>,
    /// The Secret of usher's own namespace with `tls.crt` and `tls.key`.
    pub secret: String,
    /// Whether all of it was read once.
    pub ready: Asked,
}

impl Ground {
    /// Serves for ever, with a certificate that follows the Secret.
    async fn serve(&self, listener: TcpListener, certificate: Arc<Certificate>, bounds: Bounds, service: impl Answers) {
        tokio::join!(certificate.clone().follow(self), listen(listener, certificate, bounds, Arc::new(service)));
    }
}
