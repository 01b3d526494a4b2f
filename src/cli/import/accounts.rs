//! The accounts of outside systems, read with the credentials that usher has for them.

use std::sync::Arc;

use kube::Client;
use secrecy::ExposeSecret;

use crate::api::Provider;
use crate::api::environment::SecretKey;
use crate::cluster::accounts::own_value;
use crate::cluster::memory::Memory;
use crate::connectors::throttle::Throttle;
use crate::connectors::{Secrets, connect};
use crate::plan::account::{Account, Managed};
use crate::plan::import::Accounts;

use super::Failure;

/// Asks Providers for all of their accounts. Of one that does not answer it is told why.
pub async fn read(memory: &Memory, home: &Client, providers: &[String]) -> Result<(Accounts, Vec<String>), Failure> {
    let (mut accounts, mut unread) = (Accounts::new(), Vec::new());
    for name in providers {
        let provider = memory.read(|content, _| content.world.provider(name).cloned());
        let provider = provider.ok_or_else(|| format!("uprov/{name} does not exist; `kubectl get uprov` lists those that do"))?;
        match of(&provider, home, &memory.settings().namespace).await {
            Ok(all) => drop(accounts.insert(name.clone(), all)),
            Err(error) => unread.push(format!("not read: uprov/{name}: {}", super::super::connect::chain(error.as_ref()))),
        }
    }
    Ok((accounts, unread))
}

async fn of(provider: &Provider, home: &Client, namespace: &str) -> Result<Vec<Account>, Failure> {
    let system = provider.spec.system().ok_or("the spec names no system")?;
    let credential = secret(home, namespace, system.credentials()).await?;
    let ca = match system.ca() {
        Some(key) => Some(secret(home, namespace, key).await?.expose_secret().to_owned()),
        None => None,
    };
    let throttle = Throttle::new(u32::try_from(provider.spec.requests_per_second).unwrap_or(1));
    let connector = connect(system, Secrets { credential, ca }, Arc::new(throttle))?;
    Ok(connector.list(&Managed::All).await?)
}

async fn secret(home: &Client, namespace: &str, key: &SecretKey) -> Result<secrecy::SecretString, Failure> {
    let value = own_value(home, namespace, key).await.map_err(|error| error.chain())?;
    Ok(value.ok_or_else(|| format!("Secret {namespace}/{} with key {} does not exist; make it", key.name, key.key))?)
}
