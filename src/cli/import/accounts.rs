//! The accounts of outside systems, read with the credentials that usher has for them.

use std::sync::Arc;

use kube::Client;

use crate::api::Provider;
use crate::cluster::memory::Memory;
use crate::connectors::connect;
use crate::connectors::throttle::Throttle;
use crate::controllers::outside::{secrets, told};
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
            Err(why) => unread.push(format!("not read: uprov/{name}: {why}")),
        }
    }
    Ok((accounts, unread))
}

async fn of(provider: &Provider, home: &Client, namespace: &str) -> Result<Vec<Account>, String> {
    let system = provider.spec.system().ok_or("the spec names no system")?;
    let secrets = secrets(home, namespace, system.credentials(), system.ca()).await.map_err(|(_, why, _)| why)?;
    let throttle = Throttle::new(u32::try_from(provider.spec.requests_per_second).unwrap_or(1));
    let connector = connect(system, secrets, Arc::new(throttle)).map_err(|error| told(error).1)?;
    connector.list(&Managed::All).await.map_err(|error| told(error).1)
}
