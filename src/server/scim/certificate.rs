//! The key and certificate of the server: read from a Secret, and read anew when that changes, so that no renewal needs a restart.

use std::sync::Arc;
use std::time::Duration;

use kube::{Client, ResourceExt};
use parking_lot::RwLock;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use secrecy::ExposeSecret;
use tokio::time::sleep;

use crate::api::environment::SecretKey;
use crate::cluster::accounts::own_value;
use crate::cluster::memory::Memory;

/// How often it is looked whether the Secret is another one. It is a look at memory.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How soon one that is of no use is read again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// The certificate that is served, if there is one yet.
#[derive(Debug, Default)]
pub struct Certificate {
    current: RwLock<Option<Arc<CertifiedKey>>>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.read().clone()
    }
}

impl Certificate {
    /// Follows a Secret for ever. What is of no use is told, and the one before goes on being served.
    pub async fn follow(self: Arc<Self>, client: &Client, memory: &Memory, secret: &str) {
        let (mut seen, mut told) = (None, None);
        loop {
            let version = memory.read(|content, _| content.own_secrets.get(secret).and_then(|secret| secret.resource_version()));
            let why = match version {
                Some(_) if version == seen => None,
                Some(_) => self.load(client, memory, secret).await.err(),
                None => Some(format!("Secret {secret} does not exist; make it, of type kubernetes.io/tls")),
            };
            match &why {
                Some(why) if told.as_ref() != Some(why) => {
                    tracing::warn!(secret, why, "the SCIM server has no new certificate; nobody can push without one");
                }
                None if version != seen => tracing::info!(secret, "the certificate of the SCIM server was read"),
                _ => {}
            }
            let failed = why.is_some() && version.is_some();
            (seen, told) = (if why.is_some() { None } else { version }, why);
            sleep(if failed { TRY_AGAIN } else { LOOK_EVERY }).await;
        }
    }

    async fn load(&self, client: &Client, memory: &Memory, secret: &str) -> Result<(), String> {
        let namespace = &memory.settings().namespace;
        let read = async |key: &str| {
            let at = SecretKey { name: secret.to_owned(), key: key.to_owned() };
            let value = own_value(client, namespace, &at).await.map_err(|error| error.chain())?;
            value.ok_or_else(|| format!("Secret {namespace}/{secret} with key {key} does not exist; make it, of type kubernetes.io/tls"))
        };
        let (chain, key) = (read("tls.crt").await?, read("tls.key").await?);
        let certified = certified(chain.expose_secret(), key.expose_secret())?;
        *self.current.write() = Some(Arc::new(certified));
        Ok(())
    }
}

fn certified(chain: &str, key: &str) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("tls.crt is no certificate in PEM: {error}"))?;
    // What is wrong with a key is not told: its text would be.
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "tls.key is no private key in PEM".to_owned())?;
    CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| format!("tls.crt and tls.key do not fit: {error}"))
}
