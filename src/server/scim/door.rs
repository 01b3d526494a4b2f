//! Who may push for a Source: whoever has its token. A wrong token is told nothing else, nor whether there is such a Source, and many of them are told to wait.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use kube::{Client, ResourceExt};
use parking_lot::Mutex;
use secrecy::ExposeSecret;

use crate::api::environment::SecretKey;
use crate::api::source::Origin;
use crate::cluster::accounts::own_value;
use crate::cluster::memory::Memory;
use crate::plan::scim::error::ScimError;
use crate::plan::source::SHORTEST_TOKEN;
use crate::server::token::{Seal, is_right, seal_of};

/// So many wrong tokens are looked at at once, and then one in so long. A right one is never held back: whoever sends wrong ones keeps nobody else out.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
const EACH: Duration = Duration::from_secs(3);

/// What is known of a token, and of which version of which Secret that is.
struct Known {
    key: SecretKey,
    version: Option<String>,
    seal: Option<Seal>,
}

/// Lets senders in.
pub struct Door {
    client: Client,
    memory: Arc<Memory>,
    known: Mutex<HashMap<String, Known>>,
    /// One for all Sources, so that it tells nobody which there are.
    wrong: DefaultDirectRateLimiter,
}

impl Door {
    /// Nobody known yet.
    pub fn new(client: Client, memory: Arc<Memory>) -> Self {
        let quota = Quota::with_period(EACH).unwrap_or(Quota::per_minute(BURST)).allow_burst(BURST);
        Self { client, memory, known: Mutex::default(), wrong: RateLimiter::direct(quota) }
    }

    /// Lets somebody in who has the token of a Source.
    pub async fn admit(&self, source: &str, authorization: Option<&str>) -> Result<(), ScimError> {
        let wanted = self.seal(source).await?;
        if is_right(authorization, wanted) {
            return Ok(());
        }
        if self.wrong.check().is_err() {
            return Err(ScimError {
                retry_after: Some(EACH.as_secs()),
                ..ScimError::new(429, "too many wrong tokens; wait, and send the right one")
            });
        }
        tracing::warn!(source, "somebody sent no token, or a wrong one, to the SCIM server");
        Err(ScimError::new(401, "send the token of this Source as Authorization: Bearer"))
    }

    /// The digest of a Source's token; nothing if it has none of use. The Secret is read when it is another one.
    async fn seal(&self, source: &str) -> Result<Option<Seal>, ScimError> {
        let (key, version) = self.memory.read(|content, _| {
            let source = content.world.source(source);
            let key = source.and_then(|source| match source.spec.origin() {
                Some(Origin::Scim(push)) => Some(push.token_secret.clone()),
                _ => None,
            });
            let secret = key.as_ref().and_then(|key: &SecretKey| content.own_secrets.get(&key.name));
            let version = secret.and_then(|secret| secret.resource_version());
            (key, version)
        });
        let Some(key) = key else { return Ok(None) };
        if let Some(known) = self.known.lock().get(source).filter(|known| known.key == key && known.version == version) {
            return Ok(known.seal);
        }
        let token = own_value(&self.client, &self.memory.settings().namespace, &key).await.map_err(|error| {
            tracing::warn!(source, why = error.chain(), "the token of a Source could not be read");
            ScimError::later("the cluster does not answer; send it again")
        })?;
        let seal = token.filter(|token| token.expose_secret().len() >= SHORTEST_TOKEN).map(|token| seal_of(token.expose_secret()));
        self.known.lock().insert(source.to_owned(), Known { key, version, seal });
        Ok(seal)
    }
}
