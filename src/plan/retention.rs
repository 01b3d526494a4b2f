//! When the workspace of somebody who departed ends.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;

use crate::api::Mode;
use crate::api::metadata::{ADOPTED, DELETE_AT, DEPARTED_AT, DEVELOPER, DEVELOPER_UID, ENVIRONMENT, WORKSPACE};

use super::access::{paused, standing};
use super::brake::brake;
use super::change::{Change, Step, remove};
use super::cluster::ClusterKey;
use super::departures::lasts;
use super::person::Mark;
use super::placement::Scene;
use super::world::deleting;

/// What becomes of a workspace.
#[derive(Debug)]
pub enum End {
    /// Nothing, as far as is known.
    Stays,
    /// It ends at this time.
    At(Timestamp),
    /// Its end has come.
    Now(Step),
}

/// When a namespace ends: only one that this installation made, whose person departed, whose date has come, and whom nobody who is back claims.
/// One that existed before somebody pinned it never does, and the fence would refuse.
pub fn end_of(scene: Scene<'_>, cluster: &ClusterKey, name: &str, now: Timestamp) -> End {
    let Some(state) = scene.clusters.get(cluster) else { return End::Stays };
    let Some(namespace) = state.namespaces.get(name).filter(|namespace| state.ours(namespace.as_ref())) else { return End::Stays };
    let notes = namespace.annotations();
    let at: Option<Timestamp> = notes.get(DELETE_AT).and_then(|at| at.parse().ok());
    let (Some(at), true) = (at, notes.contains_key(DEPARTED_AT) && namespace.labels().contains_key(WORKSPACE)) else { return End::Stays };
    let uid = notes.get(DEVELOPER_UID).map(String::as_str).unwrap_or_default();
    // Without a receipt nobody knows whether it was a departure, nor whether it was one of too many.
    let left = namespace.labels().get(DEVELOPER).into_iter().flat_map(|name| scene.world.departures().of_name(name));
    if !left.into_iter().any(|departure| departure.spec.developer.uid == uid && lasts(departure)) || brake(scene, uid).is_some() {
        return End::Stays;
    }
    if notes.contains_key(ADOPTED) || deleting(namespace.as_ref()) || claimed(scene, namespace, now) || idle(scene, namespace) {
        return End::Stays;
    }
    if now < at {
        return End::At(at);
    }
    End::Now(Step {
        cluster: cluster.clone(),
        environment: namespace.labels().get(ENVIRONMENT).cloned(),
        change: Change::Namespace(remove(namespace.as_ref())),
    })
}

/// Whether somebody who has not left owns it.
fn claimed(scene: Scene<'_>, namespace: &Namespace, now: Timestamp) -> bool {
    let owner = namespace.labels().get(DEVELOPER).and_then(|name| scene.world.developer(name));
    let mark = Mark::read(namespace.labels(), namespace.annotations());
    owner.is_some_and(|owner| !standing(scene.world, owner, now).departs() && mark.is_some_and(|mark| scene.world.owns(owner, &mark)))
}

fn idle(scene: Scene<'_>, namespace: &Namespace) -> bool {
    let environment = namespace.labels().get(ENVIRONMENT).and_then(|name| scene.world.environment(name));
    environment.is_some_and(|environment| environment.spec.mode == Mode::Observe || paused(environment.as_ref()))
}
