//! The record as it is kept in memory: Grants, and what Roles contained.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;

use crate::api::metadata::ROLE;
use crate::api::{Grant, Scorecard};
use crate::plan::cluster::{ClusterKey, Key};
use crate::plan::purge::Ran;
use crate::plan::revision::remembered;
use crate::plan::settings::Settings;
use crate::plan::shelf::{Shelf, compact};

use super::memory::{Content, Kept, named};
use super::seen::Seen;

/// Grants by name.
#[derive(Debug, Default)]
pub struct Grants {
    by_name: Shelf<Grant, String>,
    /// When each ran: that is asked of all of them.
    ran: BTreeMap<String, Ran>,
}

impl Grants {
    /// Takes no more room than it needs, after everything was read.
    pub(super) fn compact(&mut self) {
        self.by_name.compact();
        compact(&mut self.ran);
    }

    fn set(&mut self, name: &str, grant: Option<Arc<Grant>>) -> Option<Arc<Grant>> {
        let old = self.by_name.replace(&name.to_owned(), grant.as_deref());
        match grant.as_deref() {
            Some(grant) => self.ran.insert(name.to_owned(), Ran::from(grant)),
            None => self.ran.remove(name),
        };
        old
    }

    /// The Grants of a Developer of that name.
    pub fn of(&self, developer: &str) -> Vec<Arc<Grant>> {
        // The name begins with hers; what is in it says exactly whose it is.
        let start = format!("{developer}-");
        let from = self.by_name.beginning_with(&start);
        from.filter(|grant| grant.spec.developer.name == developer).collect()
    }

    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.by_name.keys()
    }

    /// A Grant by name.
    pub fn get(&self, name: &str) -> Option<Arc<Grant>> {
        self.by_name.get(name)
    }

    /// The names of those that have not ended.
    pub fn running(&self) -> impl Iterator<Item = &String> {
        self.ran.iter().filter(|(_, ran)| ran.ended.is_none()).map(|(name, _)| name)
    }

    /// When each of them ran.
    pub fn ran(&self) -> impl Iterator<Item = &Ran> {
        self.ran.values()
    }

    /// Those that ended.
    pub fn ended(&self) -> impl Iterator<Item = Arc<Grant>> {
        self.ran.iter().filter(|(_, ran)| ran.ended.is_some()).filter_map(|(name, _)| self.by_name.get(name))
    }
}

/// What Roles contained, by the name of the revision.
#[derive(Debug, Default)]
pub struct Revisions(BTreeMap<String, Arc<ControllerRevision>>);

impl Revisions {
    /// The revisions of Roles of that name.
    pub fn of(&self, role: &str) -> Vec<Arc<ControllerRevision>> {
        // The name begins with that of the Role; the label says exactly whose it is.
        let prefix = crate::plan::revision::name(role, "");
        let from = self.0.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
        let revisions = from.map(|(_, revision)| revision);
        revisions.filter(|revision| revision.labels().get(ROLE).is_some_and(|label| label == role)).cloned().collect()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<ControllerRevision>> {
        self.0.values()
    }
}

impl Kept for Grant {
    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.grants.names())
    }
    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.grants.by_name.get(name)
    }
    fn put(content: &mut Content, _: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        Some(Seen::Grant(content.grants.set(name, object.clone()), object))
    }
}

impl Kept for Scorecard {
    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.scorecards.keys())
    }
    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.scorecards.get(name).cloned()
    }
    fn put(content: &mut Content, _: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        let gone = object.is_none();
        match object {
            Some(object) => content.scorecards.insert(name.clone(), object),
            None => content.scorecards.remove(name),
        };
        gone.then_some(Seen::ScorecardGone)
    }
}

impl Kept for ControllerRevision {
    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.revisions.0.keys())
    }
    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.revisions.0.get(name).cloned()
    }
    fn put(content: &mut Content, _: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        let old = match object {
            Some(revision) => {
                content.revisions.0.insert(name.clone(), Arc::new(remembered(Arc::unwrap_or_clone(revision))));
                None
            }
            None => content.revisions.0.remove(name),
        };
        old.and_then(|revision| revision.labels().get(ROLE).cloned()).map(Seen::RevisionGone)
    }
}
