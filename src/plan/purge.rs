//! Which records are over for longer than they are kept. What goes on, and what explains it, is never among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;

use crate::api::metadata::{DEPARTED_AT, DEVELOPER_UID, ROLE, ROLE_UID};
use crate::api::{Departure, Grant, GrantState};

use super::departures::lasts;
use super::placement::Scene;
use super::world::World;

/// Records to delete.
#[derive(Debug)]
pub struct Purge<K> {
    /// Those whose time is over, the oldest first.
    pub due: Vec<Arc<K>>,
    /// When the next one is due.
    pub next: Option<Timestamp>,
}

/// Divides records by when their time is over, if it ever is.
fn purge<K: ResourceExt>(records: impl Iterator<Item = (Arc<K>, Option<Timestamp>)>, now: Timestamp) -> Purge<K> {
    let mut timed: Vec<(Timestamp, Arc<K>)> = records.filter_map(|(record, at)| Some((at?, record))).collect();
    timed.sort_by_key(|(at, record)| (*at, record.name_any()));
    let (due, later): (Vec<_>, Vec<_>) = timed.into_iter().partition(|(at, _)| *at <= now);
    Purge { due: due.into_iter().map(|(_, record)| record).collect(), next: later.first().map(|(at, _)| *at) }
}

/// When something ends that was over at a time: nothing if that is beyond all times.
fn kept_until(scene: Scene<'_>, over: Timestamp) -> Option<Timestamp> {
    over.checked_add(scene.settings.audit.retention).ok()
}

/// When a Grant ran, and of what: as long as it is kept, what its Role contained then is.
#[derive(Clone, Debug)]
pub struct Ran {
    role: String,
    revision: i64,
    since: Timestamp,
    /// When it ended, if it did.
    pub ended: Option<Timestamp>,
}

impl From<&Grant> for Ran {
    fn from(grant: &Grant) -> Self {
        let spec = &grant.spec;
        let ended = spec.ended.as_ref().map(|end| end.at.0);
        Self { role: spec.role.clone(), revision: spec.role_revision, since: spec.since.0, ended }
    }
}

/// The Grants that ended so long ago.
pub fn purge_grants(scene: Scene<'_>, grants: impl Iterator<Item = Arc<Grant>>, now: Timestamp) -> Purge<Grant> {
    let ended = grants.filter(|grant| grant.spec.state == GrantState::Ended);
    let over = |grant: &Grant| kept_until(scene, grant.spec.ended.as_ref()?.at.0);
    purge(ended.map(|grant| (grant.clone(), over(&grant))), now)
}

/// The Departures that were over so long ago: complete, or followed by a return. One whose Developer is still written, or of which data is still
/// retained, goes on.
pub fn purge_departures<'a>(scene: Scene<'_>, departures: impl Iterator<Item = &'a Arc<Departure>>, now: Timestamp) -> Purge<Departure> {
    let over = |departure: &Departure| {
        let status = departure.status.as_ref()?;
        let returned = status.returned_at.as_ref().map(|time| time.0);
        let ended = returned.max(status.completed_at.as_ref().map(|time| time.0))?;
        (!(lasts(departure) && goes_on(scene, departure))).then_some(ended)
    };
    purge(departures.map(|departure| (departure.clone(), over(departure).and_then(|over| kept_until(scene, over)))), now)
}

fn goes_on(scene: Scene<'_>, departure: &Departure) -> bool {
    let left = &departure.spec.developer;
    let written = scene.world.developer(&left.name).is_some_and(|developer| developer.uid().as_ref() == Some(&left.uid));
    let mut workspaces = scene.clusters.values().flat_map(|state| state.workspaces_of(&left.name));
    written
        || workspaces.any(|namespace| {
            let notes = namespace.annotations();
            notes.contains_key(DEPARTED_AT) && notes.get(DEVELOPER_UID) == Some(&left.uid)
        })
}

/// The revisions of Roles that were replaced so long ago, unless a Grant that is kept ran while they were in force; and of each Role those beyond the
/// greatest number, the oldest first. What a Role contains now is always kept.
pub fn purge_revisions<'a>(
    scene: Scene<'_>,
    revisions: impl Iterator<Item = &'a Arc<ControllerRevision>>,
    grants: impl Iterator<Item = &'a Ran>,
    now: Timestamp,
) -> Purge<ControllerRevision> {
    let mut by_role: BTreeMap<&String, Vec<&Arc<ControllerRevision>>> = BTreeMap::new();
    for revision in revisions {
        let Some(role) = revision.labels().get(ROLE) else { continue };
        by_role.entry(role).or_default().push(revision);
    }
    let mut of_role: BTreeMap<&str, Vec<&Ran>> = BTreeMap::new();
    for grant in grants {
        of_role.entry(&grant.role).or_default().push(grant);
    }
    let timed = by_role.into_iter().flat_map(|(role, mut revisions)| {
        revisions.sort_by_key(|revision| (created(revision), revision.revision));
        let ran = of_role.get(role.as_str()).map(Vec::as_slice).unwrap_or_default();
        let surplus = revisions.len().saturating_sub(scene.settings.audit.revisions_per_role);
        let current = current(scene.world, role, &revisions);
        let mut timed = Vec::new();
        for (at, revision) in revisions.iter().enumerate().filter(|(at, _)| Some(*at) != current) {
            let replaced = revisions.get(at + 1).map(|next| created(next));
            // Times are in seconds, so what began in the second of a replacement may have begun before it.
            let needed = ran.iter().any(|grant| {
                let named = revision.revision == Some(grant.revision);
                let overlaps =
                    replaced.is_none_or(|replaced| grant.since <= replaced) && grant.ended.is_none_or(|ended| created(revision) <= ended);
                named || overlaps
            });
            let over = kept_until(scene, replaced.unwrap_or_else(|| created(revision))).filter(|_| !needed);
            timed.push(((*revision).clone(), if at < surplus { Some(now) } else { over }));
        }
        timed
    });
    purge(timed, now)
}

fn created(revision: &ControllerRevision) -> Timestamp {
    revision.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0)
}

/// Which of a Role's revisions says what it contains now.
fn current(world: &World, role: &str, revisions: &[&Arc<ControllerRevision>]) -> Option<usize> {
    let uid = world.role(role)?.uid();
    revisions.iter().rposition(|revision| revision.annotations().get(ROLE_UID) == uid.as_ref())
}
