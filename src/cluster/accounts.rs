//! Secrets of accounts in outside systems: usher's own credentials for them, which are read, and people's first passwords, which are delivered once.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use secrecy::{ExposeSecret, SecretString};

use crate::api::environment::SecretKey;
use crate::api::metadata::ACCOUNTS_SECRET;
use crate::plan::cluster::ClusterKey;

use super::apply::{Cluster, failed};
use super::error::Error;
use super::memory::Memory;
use super::watch::without_values;

/// A Secret of usher's own namespace, if it is there.
pub async fn own_secret(client: &Client, namespace: &str, name: &str) -> Result<Option<Secret>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let meta = ObjectMeta { name: Some(name.to_owned()), namespace: Some(namespace.to_owned()), ..ObjectMeta::default() };
    api.get_opt(name).await.map_err(|error| failed::<Secret>("read", &meta, error))
}

/// A value in a Secret; nothing if there is no such key, or it is no text.
pub fn value(secret: &Secret, key: &str) -> Option<SecretString> {
    let bytes = secret.data.as_ref()?.get(key)?;
    // An editor's last line break is no part of a token.
    str::from_utf8(&bytes.0).ok().map(|text| SecretString::from(text.trim_end_matches(['\r', '\n'])))
}

/// A value in a Secret of usher's own namespace; nothing if there is no such Secret or key, or it is no text.
pub async fn own_value(client: &Client, namespace: &str, key: &SecretKey) -> Result<Option<SecretString>, Error> {
    Ok(own_secret(client, namespace, &key.name).await?.and_then(|secret| value(&secret, &key.key)))
}

/// The first password of an account, for its owner.
#[derive(Debug)]
pub struct Delivery {
    /// The Secret that it goes into: its name, labels, and the annotations that say for which account of which Provider.
    pub meta: ObjectMeta,
    /// The Provider.
    pub provider: String,
    /// The login.
    pub username: String,
    /// The password; nothing prints it.
    pub password: SecretString,
    /// Where to log in.
    pub url: String,
}

/// Delivers a password. Each Provider owns its own keys, so that none undoes what another delivered.
pub async fn deliver(cluster: &Cluster, memory: &Memory, delivery: &Delivery) -> Result<(), Error> {
    let key = |name: &str| format!("{}.{name}", delivery.provider);
    let value = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = BTreeMap::from([
        (key("username"), value(&delivery.username)),
        (key("password"), value(delivery.password.expose_secret())),
        (key("url"), value(&delivery.url)),
    ]);
    let secret = Secret { metadata: delivery.meta.clone(), data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() };
    let api: Api<Secret> = Api::namespaced(cluster.client().clone(), secret.namespace().as_deref().unwrap_or_default());
    let manager = format!("usher-account-{}", delivery.provider);
    let parameters = PatchParams::apply(&manager).force();
    let applied = cluster.pen().write::<Secret, _>("apply", api.patch(ACCOUNTS_SECRET, &parameters, &Patch::Apply(&secret))).await?;
    let applied = applied.map_err(|error| failed::<Secret>("apply", &secret.metadata, error))?;
    memory.put_answer(&ClusterKey::Home, without_values(applied));
    Ok(())
}
