//! What is left of what was pushed, once it is of no use: who was deleted is noted until her Developer has departed.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;

use crate::api::{DesiredState, Source};
use crate::cluster::pushed::{Meant, Store};
use crate::plan::cluster::ClusterKey;
use crate::plan::scim::people::spent;
use crate::plan::source::is_of;
use crate::plan::source::mapping::Mapping;

use super::super::context::Context;

/// So many go in one pass.
const AT_ONCE: usize = 50;

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
        (content.pushed.of(&source.name_any()), ids)
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
