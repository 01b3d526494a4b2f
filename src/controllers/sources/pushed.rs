//! What is left of what was pushed, once it is of no use: who was deleted is noted until her Developer has departed, and what was pushed for a Source goes with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use crate::api::{DesiredState, Source};
use crate::cluster::crds;
use crate::cluster::error::Error;
use crate::cluster::pushed::{Meant, Store};
use crate::plan::cluster::ClusterKey;
use crate::plan::scim::people::spent;
use crate::plan::scim::record::Owner;
use crate::plan::source::is_of;
use crate::plan::source::mapping::Mapping;

use super::super::context::Context;

/// So many go in one pass.
const AT_ONCE: usize = 50;
/// What could not be taken away for a Source that is gone is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// Takes away what was pushed for Sources of a name that are gone. Returns how soon the rest of it goes, if there is more. Which one is there is read live, after what was
/// pushed was looked at: a UID that is not there then is never there again. While their kind goes or is missing nothing follows from that.
pub(super) async fn purge(context: &Arc<Context>, name: &str, source: Option<&Source>) -> Result<Option<Duration>, Error> {
    let all_but = |uid: Option<&str>| context.memory.read(|content, _| content.pushed.of_others(name, uid));
    let leads = context.cluster(&ClusterKey::Home).is_some_and(|home| home.may_write().is_ok());
    if !leads || all_but(source.and_then(|source| source.metadata.uid.as_deref())).is_empty() {
        return Ok(None);
    }
    let mut left = all_but(None);
    if crds::terminating(&context.client, "sources").await? {
        return Ok(None);
    }
    let there = context.objects.uid_of_source(name).await?;
    left.retain(|record| there.as_ref() != Some(&record.source_uid));
    let store = Store::new(context.client.clone(), context.memory.clone(), context.metrics.clone());
    for record in left.iter().take(AT_ONCE) {
        if let Err(error) = store.delete(record, Meant::Whatever).await {
            tracing::warn!(source = name, why = error.detail, "what was pushed for a Source that is gone could not be taken away");
            return Ok(Some(TRY_AGAIN));
        }
    }
    if !left.is_empty() {
        tracing::info!(source = name, records = left.len().min(AT_ONCE), "what was pushed for a Source that is gone was taken away");
    }
    Ok((left.len() > AT_ONCE).then_some(Duration::ZERO))
}

/// Takes away records that are of no use any more. What fails is tried again by a later pass: it is in nobody's way.
pub(super) async fn clear(context: &Arc<Context>, source: &Source) {
    let leads = context.cluster(&ClusterKey::Home).is_some_and(|home| home.may_write().is_ok());
    if !leads || !source.spec.origin().is_some_and(|origin| origin.is_pushed()) {
        return;
    }
    let (records, lasting) = context.memory.read(|content, _| {
        let lasts = content.world.developers().map(|(_, developer)| developer);
        let lasts = lasts.filter(|developer| is_of(developer, source) && developer.spec.state != DesiredState::Departed);
        let ids: BTreeSet<String> = lasts.filter_map(|developer| developer.spec.person_id.clone()).collect();
        (content.pushed.of(Owner { source: &source.name_any(), uid: &source.uid().unwrap_or_default() }), ids)
    });
    let spent = spent(&records, &Mapping::of(&source.spec), |id| lasting.contains(id), context.now());
    let store = Store::new(context.client.clone(), context.memory.clone(), context.metrics.clone());
    for record in spent.iter().take(AT_ONCE) {
        if let Err(error) = store.delete(record, Meant::AsSeen).await {
            tracing::warn!(source = source.name_any(), why = error.detail, "what is left of what was pushed could not be taken away");
            return;
        }
    }
}
