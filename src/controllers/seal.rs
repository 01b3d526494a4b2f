//! What sealing workspaces and reading clusters again needs, for Departures and Locks alike.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::cluster::ask::{Scan, ask, service_accounts};
use crate::cluster::error::Error;
use crate::plan::change::{Change, Step, Write};
use crate::plan::cluster::ClusterKey;
use crate::plan::departing::before;
use crate::plan::question::Question;
use crate::plan::seal::Site;

use super::context::Context;

/// How long an API server remembers a token after its ServiceAccount went.
pub const TOKENS_REMEMBERED: Duration = Duration::from_secs(11);
/// How soon to look again while access is being taken away; what is seen wakes a pass sooner.
pub const SOON: Duration = Duration::from_millis(50);
/// ServiceAccounts in somebody's workspaces go after access; but not later than this, whatever keeps access from going.
pub const ACCOUNTS_GO_AFTER: Duration = Duration::from_secs(5);

/// Live readings of all bindings, shared by those who need one at the same time.
#[derive(Debug, Default)]
pub struct Scans(Mutex<HashMap<ClusterKey, (Instant, Arc<Scan>)>>);

impl Scans {
    /// A reading that began after `moment`.
    pub async fn since(&self, key: &ClusterKey, client: &Client, moment: Instant) -> Result<Arc<Scan>, Error> {
        let mut last = self.0.lock().await;
        if let Some((began, scan)) = last.get(key)
            && *began > moment
        {
            return Ok(scan.clone());
        }
        let began = Instant::now();
        let scan = Arc::new(Scan::read(client).await?);
        last.insert(key.clone(), (began, scan.clone()));
        Ok(scan)
    }
}

/// The time until all was denied: since it was seen to be asked for, or since it was asked for where that was long before, as nobody was there to see it.
pub fn milliseconds(asked: Option<Timestamp>, seen: Instant, (denied, at): (Instant, Timestamp)) -> Option<i64> {
    let took = i64::try_from(denied.duration_since(seen).as_millis()).ok()?;
    // What is written has whole seconds.
    let in_all = asked.and_then(|asked| i64::try_from(at.duration_since(asked).as_millis()).ok());
    Some(in_all.filter(|in_all| *in_all > took + 2_000).unwrap_or(took))
}

/// What is remembered of the ServiceAccounts in somebody's sealed workspaces, from when all else is denied.
#[derive(Clone, Debug, Default)]
pub struct Cleared {
    /// The UIDs of those that were deleted. One of the same name with another UID was made later, by Kubernetes.
    deleted: BTreeMap<(Site, String), String>,
    /// The workspaces where none of them is left.
    sites: Option<Vec<Site>>,
}

impl Cleared {
    /// Whether an account is not what Kubernetes made in place of one that was deleted.
    fn may_be_hers(&self, site: &Site, account: &ObjectMeta) -> bool {
        let known = self.deleted.get(&(site.clone(), account.name.clone().unwrap_or_default()));
        known.is_none_or(|uid| account.uid.as_ref() == Some(uid))
    }
}

/// Deletes the ServiceAccounts of sealed workspaces that were there while their person still had something, read live: until `denied`, or now if that is not so
/// yet. Returns whether none of them is left.
pub async fn take_accounts(context: &Context, sites: &[Site], denied: Option<Timestamp>, cleared: &mut Cleared) -> Result<bool, Error> {
    if denied.is_none() {
        *cleared = Cleared::default();
    }
    let denied = denied.unwrap_or_else(|| context.now());
    if cleared.sites.as_deref() == Some(sites) {
        return Ok(true);
    }
    let mut hers = Vec::new();
    for site in sites {
        let Some(cluster) = context.cluster(&site.cluster) else { continue };
        let accounts = service_accounts(cluster.client(), &site.namespace).await?.into_iter().map(|account| account.metadata);
        let old = accounts.filter(|account| before(account.creation_timestamp.as_ref(), denied) && cleared.may_be_hers(site, account));
        hers.extend(old.map(|account| (site.clone(), account)));
    }
    if hers.is_empty() {
        cleared.sites = Some(sites.to_vec());
        return Ok(true);
    }
    let steps = hers.iter().map(|(site, account)| Step {
        cluster: site.cluster.clone(),
        environment: Some(site.environment.clone()),
        change: Change::ServiceAccount(Write::Delete(account.clone())),
    });
    context.carry_out(vec![steps.collect()]).await.failure()?;
    let deleted = hers.into_iter().filter_map(|(site, account)| Some(((site, account.name?), account.uid?)));
    cleared.deleted.extend(deleted);
    Ok(false)
}

/// Whether the API server of a cluster, asked, denies all of this, but for what others gave.
pub async fn denied_everywhere(context: &Context, cluster: &ClusterKey, questions: &[Question]) -> Result<bool, Error> {
    let Some(asked) = context.cluster(cluster) else { return Ok(false) };
    let answers = ask(asked.client(), questions.to_vec()).await.inspect_err(|error| context.doubt(cluster, error))?;
    // It names the binding by which it allows something.
    Ok(!answers.iter().filter_map(|answer| answer.allowed.as_ref()).any(|reason| reason.contains("\"usher:")))
}
