//! The key and certificate of a server, and the token that is asked for where it stands beside them: read from a Secret, and read anew when that changes, so that no
//! renewal needs a restart.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Client, ResourceExt};
use parking_lot::RwLock;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::sleep;

use crate::cluster::accounts::{own_secret, value};
use crate::cluster::memory::Memory;

use super::Ground;
use super::token::{Seal, seal_of};

/// How often it is looked whether the Secret is another one. It is a look at memory.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often it is looked whether the cluster was read.
const SOON: Duration = Duration::from_millis(20);

/// How soon one that is of no use is read again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What is served, and to whom.
#[derive(Debug)]
struct Keys {
    certified: Arc<CertifiedKey>,
    token: Option<Seal>,
}

/// The certificate that is served, if there is one yet.
#[derive(Debug)]
pub struct Certificate {
    server: &'static str,
    with_token: bool,
    current: RwLock<Option<Keys>>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.read().as_ref().map(|keys| keys.certified.clone())
    }
}

impl Certificate {
    /// None yet, for a server of that name in the log.
    pub fn new(server: &'static str) -> Self {
        Self { server, with_token: false, current: RwLock::default() }
    }

    /// The same for a server that asks for the token in the Secret, under the key `token`.
    pub fn with_token(server: &'static str) -> Self {
        Self { with_token: true, ..Self::new(server) }
    }

    /// The token that is asked for, if it was read.
    pub fn token(&self) -> Option<Seal> {
        self.current.read().as_ref().and_then(|keys| keys.token)
    }

    /// Follows a Secret for ever. What is of no use is told, and the one before goes on being served.
    /// Before the cluster was read nothing is said of it.
    pub async fn follow(self: Arc<Self>, ground: &Ground) {
        let Ground { client, memory, secret, ready } = ground;
        let (server, mut seen, mut told) = (self.server, None, None);
        loop {
            if !ready() {
                sleep(SOON).await;
                continue;
            }
            let version = memory.read(|content, _| content.own_secrets.get(secret).and_then(|secret| secret.resource_version()));
            let why = match version {
                Some(_) if version == seen => None,
                Some(_) => self.load(client, memory, secret).await.err(),
                None => Some(format!("Secret {secret} does not exist; make it, {}", self.needed())),
            };
            match &why {
                Some(why) if told.as_ref() != Some(why) => {
                    tracing::warn!(server, secret, why, "no new certificate; nobody is served without one");
                }
                None if version != seen => tracing::info!(server, secret, "the certificate was read"),
                _ => {}
            }
            let failed = why.is_some() && version.is_some();
            (seen, told) = (if why.is_some() { None } else { version }, why);
            sleep(if failed { TRY_AGAIN } else { LOOK_EVERY }).await;
        }
    }

    fn needed(&self) -> &'static str {
        if self.with_token { "with tls.crt, tls.key and token" } else { "of type kubernetes.io/tls" }
    }

    async fn load(&self, client: &Client, memory: &Memory, secret: &str) -> Result<(), String> {
        let namespace = &memory.settings().namespace;
        let found = own_secret(client, namespace, secret).await.map_err(|error| error.chain())?;
        let found = found.ok_or_else(|| format!("Secret {namespace}/{secret} does not exist; make it, {}", self.needed()))?;
        let part = |key: &str| {
            let part = part(&found, key);
            part.ok_or_else(|| format!("Secret {namespace}/{secret} has no {key}; make it {}", self.needed()))
        };
        let certified = certified(part("tls.crt")?.expose_secret(), part("tls.key")?.expose_secret())?;
        let token = if self.with_token { Some(seal_of(part("token")?.expose_secret().trim())) } else { None };
        *self.current.write() = Some(Keys { certified: Arc::new(certified), token });
        Ok(())
    }
}

fn part(secret: &Secret, key: &str) -> Option<SecretString> {
    value(secret, key).filter(|value| !value.expose_secret().trim().is_empty())
}

fn certified(chain: &str, key: &str) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("tls.crt is no certificate in PEM: {error}"))?;
    // What is wrong with a key is not told: its text would be.
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "tls.key is no private key in PEM".to_owned())?;
    CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| format!("tls.crt and tls.key do not fit: {error}"))
}
