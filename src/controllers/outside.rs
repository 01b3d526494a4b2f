//! What usher needs to talk to an outside system: its credentials, and that it leads.

use std::sync::Arc;

use kube::Client;
use secrecy::{ExposeSecret, SecretString};

use crate::api::Reason;
use crate::api::environment::SecretKey;
use crate::cluster::accounts::own_value;
use crate::connectors::Secrets;
use crate::connectors::error::{ConnectorError, Retry};
use crate::plan::cluster::ClusterKey;

use super::context::Context;

/// Why there is no connection, with the remedy, and when to try again.
pub type Trouble = (Reason, String, Retry);

/// What a connector says is wrong.
pub fn told(error: ConnectorError) -> Trouble {
    (error.reason(), error.chain(), error.retry())
}

/// Reads the credential for a system from usher's own namespace, and the CA of its certificate if it has one of its own.
pub async fn secrets(client: &Client, namespace: &str, credential: &SecretKey, ca: Option<&SecretKey>) -> Result<Secrets, Trouble> {
    let credential = secret(client, namespace, credential).await?;
    let ca = match ca {
        Some(key) => Some(secret(client, namespace, key).await?.expose_secret().to_owned()),
        None => None,
    };
    Ok(Secrets { credential, ca })
}

async fn secret(client: &Client, namespace: &str, key: &SecretKey) -> Result<SecretString, Trouble> {
    match own_value(client, namespace, key).await {
        Ok(Some(value)) => Ok(value),
        Ok(None) => {
            let message = format!("Secret {namespace}/{} with key {} does not exist; make it", key.name, key.key);
            Err((Reason::SecretNotFound, message, Retry::OnChange))
        }
        Err(error) => Err((Reason::Unreachable, error.chain(), Retry::Backoff)),
    }
}

/// Whether this replica still leads: only who does sends anything.
pub fn leads(context: &Arc<Context>) -> impl Fn() -> bool + Send + Sync + 'static + use<> {
    let asked = Arc::downgrade(context);
    move || {
        let context = asked.upgrade();
        context.is_some_and(|context| context.cluster(&ClusterKey::Home).is_some_and(|home| home.may_write().is_ok()))
    }
}
