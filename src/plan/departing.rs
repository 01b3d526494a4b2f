//! What there is to do and to ask about somebody who left, whether her Developer is still there or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::api::departure::{Brake, Sealed};
use crate::api::developer::{Identity, Workspace};
use crate::api::grant::GrantedDeveloper;
use crate::api::metadata::{DELETE_AT, DEVELOPER_UID, IDENTITIES_NAMESPACE};
use crate::api::{Departure, DepartureSpec, Developer};

use super::access::{Standing, standing};
use super::bound::{Bound, RbacBinding};
use super::brake::told;
use super::change::{Change, Step, Write, remove};
use super::cluster::{ClusterKey, ClusterState};
use super::departures::same_person;
use super::developer::{DeveloperInputs, plan_developer, whole_second};
use super::identity::Known;
use super::link::untouched;
use super::name::digest;
use super::placement::Scene;
use super::question::{Question, questions};
use super::request::{DELETED, Request};
use super::seal::{Seal, Site, keep_all, seal, workspaces};
use super::target::environment_target;
use super::verify::found_issued;
use super::whereabouts::Whereabouts;
use super::workspace::credentials_in;
use super::world::deleting;

/// How somebody is known somewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Face {
    /// The cluster.
    pub cluster: ClusterKey,
    /// The target of the receipt.
    pub target: String,
    /// The name.
    pub known: Known,
}

/// What there is to do and to ask about somebody who left.
#[derive(Debug)]
pub struct Departing {
    /// Where she stands, if her Developer is there: the same object, or the same personId.
    pub standing: Option<Standing>,
    /// How the clusters knew her.
    pub identities: Vec<Identity>,
    /// The same, where that name is nobody else's by now.
    pub faces: BTreeSet<Face>,
    /// Where each target of the receipt is.
    pub places: Whereabouts,
    /// The clusters in which something of hers may be.
    pub clusters: BTreeSet<ClusterKey>,
    /// Those of them that cannot be looked at, with the reason.
    pub silent: BTreeMap<ClusterKey, String>,
    /// Her workspaces.
    pub sites: Vec<Site>,
    /// Her workspaces by target, for the receipt.
    pub workspaces: BTreeMap<String, Workspace>,
    /// The seal of her workspaces.
    pub seal: Seal,
    /// Writes that her Developer's and her Roles' passes would make if her Developer were still there: she is taken out of bindings.
    pub access_debts: Vec<Step>,
    /// Likewise, once her access is gone: her ServiceAccounts and credentials go.
    pub debts: Vec<Step>,
    /// Writes that take identities of usher's out of bindings that others made.
    pub foreign: Vec<Step>,
    /// Whether bindings of this installation name her.
    pub named: bool,
    /// Whether a ServiceAccount of hers is there.
    pub accounts: bool,
    /// Whether bindings that others made name her.
    pub foreign_bindings: bool,
    /// What has to be denied.
    pub questions: Vec<Question>,
    /// Whether destruction is held.
    pub brake: Option<Brake>,
    /// When what is told of it changes by itself.
    pub recheck_at: Option<Timestamp>,
}

/// The receipt that a departure begins with; its name is the same however often it is asked for.
pub fn begin(scene: Scene<'_>, developer: &Developer, now: Timestamp) -> Departure {
    let name = developer.name_any();
    let uid = developer.uid().unwrap_or_default();
    let before = scene.world.departures().of(developer).count().to_string();
    let ended = developer.spec.ends_at.as_ref().filter(|end| end.0 <= now).map(|end| end.0);
    let requested = developer.metadata.deletion_timestamp.as_ref().map(|time| time.0).or(ended).unwrap_or(now);
    let day = requested.strftime("%Y%m%d").to_string();
    let id = digest(&[&uid, &before]).chars().take(6).collect::<String>();
    let by_deletion = deleting(developer) && developer.spec.state != crate::api::DesiredState::Departed && ended.is_none();
    let spec = DepartureSpec {
        requested_by: if by_deletion { DELETED.to_owned() } else { Request::of(developer).by },
        requested_at: whole_second(requested),
        developer: GrantedDeveloper { name: name.clone(), uid, person_id: developer.spec.person_id.clone() },
    };
    let mut departure = Departure::new(&format!("{name}-{day}-{id}"), spec);
    let labels = super::change::labels(&scene.settings.installation, [(crate::api::metadata::DEVELOPER, name.as_str())]);
    departure.metadata.labels = Some(labels);
    departure
}

/// Looks at somebody who left.
pub fn departing(scene: Scene<'_>, departure: &Departure, now: Timestamp) -> Departing {
    let left = &departure.spec.developer;
    let developer = scene.world.developer(&left.name).filter(|developer| same_person(departure, developer));
    let here = developer.filter(|developer| developer.uid().as_ref() == Some(&left.uid));
    let status = departure.status.clone().unwrap_or_default();
    let identities = here.map_or_else(|| status.identities.clone(), |developer| identities(scene, developer, &status.identities, now));
    let sites = workspaces(scene, &left.name, &left.uid);
    let places = Whereabouts::of(scene, departure, &identities, &sites, &touched(scene, left, &identities, &sites));
    let faces = faces(scene, developer.is_some(), &left.name, (&places, &identities));
    // What was issued to that name is another one's, if somebody else has the name by now.
    let hers_by_name = developer.is_some() || scene.world.developer(&left.name).is_none();
    let (mut named, mut accounts, mut foreign_bindings) = (false, false, false);
    let (mut access_debts, mut debts, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
    for (cluster, state) in scene.planned() {
        let hers: BTreeSet<&Known> = faces.iter().filter(|face| face.cluster == *cluster).map(|face| &face.known).collect();
        let namespaces: BTreeSet<&str> = sites.iter().filter(|site| site.cluster == *cluster).map(|site| site.namespace.as_str()).collect();
        named |= names_her(state, &hers, &namespaces) || hers_by_name && !found_issued(scene, cluster, &left.name).is_empty();
        let own: Vec<_> =
            state.service_accounts_of(&left.name).map(|(_, account)| account).filter(|account| of(account.as_ref(), &left.uid)).collect();
        accounts |= !own.is_empty();
        if developer.is_none() {
            access_debts.extend(still_given(cluster, state, &hers, &namespaces));
        }
        if here.is_none() {
            debts.extend(own.iter().map(|account| step(cluster, None, Change::ServiceAccount(remove(account.as_ref())))));
            let inside = sites.iter().filter(|site| site.cluster == *cluster);
            debts.extend(inside.flat_map(|site| {
                credentials_in(state, &site.namespace, true).into_iter().map(|change| step(cluster, Some(&site.environment), change))
            }));
        }
        foreign_bindings |= hers.iter().any(|known| state.foreign_bindings(known) > 0);
        if scene.settings.offboarding.remove_foreign && foreign_bindings {
            foreign.extend(shrink(cluster, state, &hers, &namespaces));
        }
    }
    let kept = sealed_elsewhere(scene, departure, &status.sealed);
    let (brake, recheck_at) = told(scene, departure, now);
    Departing {
        standing: developer.map(|developer| standing(scene.world, developer, now)),
        workspaces: sites.iter().map(|site| (places.target(&site.environment, &site.cluster), workspace(scene, site))).collect(),
        seal: seal(scene, &left.name, &sites, &kept),
        questions: here.map(|developer| questions(scene, developer, now)).unwrap_or_default(),
        clusters: scene.answering().chain(places.clusters()).cloned().collect(),
        silent: places.silent(scene),
        places,
        brake,
        recheck_at,
        identities,
        faces,
        sites,
        access_debts,
        debts,
        foreign,
        named,
        accounts,
        foreign_bindings,
    }
}

/// The clusters besides home in which something of hers was found.
fn touched(scene: Scene<'_>, left: &GrantedDeveloper, identities: &[Identity], sites: &[Site]) -> BTreeSet<ClusterKey> {
    let issued: BTreeSet<Known> = identities.iter().map(known_by).filter(|known| matches!(known, Known::ServiceAccount(_))).collect();
    let others = scene.planned().filter(|(cluster, _)| **cluster != ClusterKey::Home);
    let touched = others.filter(|(cluster, state)| {
        sites.iter().any(|site| site.cluster == **cluster)
            || state.service_accounts_of(&left.name).any(|(_, account)| of(account.as_ref(), &left.uid))
            || issued.iter().any(|known| state.role_bindings_naming(known).next().is_some() || state.foreign_bindings(known) > 0)
    });
    touched.map(|(cluster, _)| cluster.clone()).collect()
}

/// Whether a receipt tells of every place in which somebody is known and may have something: only then may her Developer go, by which that is known.
pub fn tells_of_identities(scene: Scene<'_>, receipt: &Departure, identities: &[Identity]) -> bool {
    let status = receipt.status.clone().unwrap_or_default();
    let nothing = |identity: &Identity| {
        scene.world.environment(&identity.environment).is_some_and(|environment| untouched(scene, &ClusterKey::of(environment)))
    };
    let told = |identity: &Identity| {
        let target = environment_target(&identity.environment);
        status.identities.contains(identity) && (nothing(identity) || status.targets.iter().any(|line| line.target == target))
    };
    identities.iter().all(told)
}

/// What is kept for a return; also what a Lock had taken out before she left.
fn sealed_elsewhere(scene: Scene<'_>, departure: &Departure, own: &[Sealed]) -> Vec<Sealed> {
    let mut kept = own.to_vec();
    let locks = scene.world.locks_of(&departure.spec.developer.name);
    keep_all(&mut kept, locks.filter_map(|lock| lock.status.as_ref()).flat_map(|status| &status.sealed));
    kept
}

fn of(object: &impl ResourceExt, uid: &str) -> bool {
    object.annotations().get(DEVELOPER_UID).is_some_and(|it| it == uid)
}

fn step(cluster: &ClusterKey, environment: Option<&String>, change: Change) -> Step {
    Step { cluster: cluster.clone(), environment: environment.cloned(), change }
}

/// How the clusters know her now, and knew her when she left.
fn identities(scene: Scene<'_>, developer: &Arc<Developer>, before: &[Identity], now: Timestamp) -> Vec<Identity> {
    let mut identities = before.to_vec();
    let plan = plan_developer(&DeveloperInputs { scene, developer, now });
    for identity in plan.identities {
        if !identities.contains(&identity) {
            identities.push(identity);
        }
    }
    identities
}

/// How the clusters knew her; not where somebody else has the user name by now, even one who is called as she was. `present`: whether she is there.
fn faces(scene: Scene<'_>, present: bool, name: &str, (places, identities): (&Whereabouts, &[Identity])) -> BTreeSet<Face> {
    let passed_on = |face: &Face| match &face.known {
        Known::User(user) => scene.world.users().holder(&face.cluster, user).is_some_and(|holder| !present || holder != name),
        Known::ServiceAccount(_) => false,
    };
    let face = |target: &String, known: &Known| {
        Some(Face { cluster: places.place(target)?.cluster.clone(), target: target.clone(), known: known.clone() })
    };
    let known: Vec<(String, Known)> = identities.iter().map(|it| (environment_target(&it.environment), known_by(it))).collect();
    let in_environments: BTreeSet<Face> = known.iter().filter_map(|(target, known)| face(target, known)).collect();
    let told = |face: &Face| in_environments.iter().any(|other| (&other.cluster, &other.known) == (&face.cluster, &face.known));
    // Where no Environment is, her ServiceAccount would be called the same. What is told of one place in a cluster is told once.
    let issued: BTreeSet<&Known> = known.iter().map(|(_, known)| known).filter(|known| matches!(known, Known::ServiceAccount(_))).collect();
    let elsewhere = places.targets().filter(|target| !known.iter().any(|(other, _)| other == *target));
    let elsewhere = elsewhere.flat_map(|target| issued.iter().filter_map(move |known| face(target, known))).filter(|face| !told(face));
    in_environments.iter().cloned().chain(elsewhere).filter(|face| !passed_on(face)).collect()
}

fn known_by(identity: &Identity) -> Known {
    match identity.namespace.as_deref() {
        Some(IDENTITIES_NAMESPACE) => Known::ServiceAccount(identity.name.as_str().into()),
        _ => Known::User(identity.name.as_str().into()),
    }
}

/// Whether bindings of this installation name her: of Roles, or her own ones in her workspaces.
fn names_her(state: &ClusterState, hers: &BTreeSet<&Known>, namespaces: &BTreeSet<&str>) -> bool {
    let mut wide = state.cluster_role_bindings.values().filter(|bound| bound.ours);
    hers.iter().any(|known| state.role_bindings_naming(known).next().is_some())
        || wide.any(|bound| hers.iter().any(|known| bound.subjects.contains(*known)))
        || namespaces.iter().any(|namespace| state.owner_bindings(namespace).next().is_some())
}

/// Takes somebody whose Developer is gone out of what usher gave her: that was owed to a cluster that did not answer while she was there.
fn still_given(cluster: &ClusterKey, state: &ClusterState, hers: &BTreeSet<&Known>, workspaces: &BTreeSet<&str>) -> Vec<Step> {
    let hers: BTreeSet<Known> = hers.iter().map(|known| (*known).clone()).collect();
    let named = |subjects: &BTreeSet<Known>| hers.iter().any(|known| subjects.contains(known));
    let owner = workspaces.iter().flat_map(|namespace| state.owner_bindings(namespace));
    let owner = owner.map(|binding| Change::RoleBinding(binding.removal()));
    let inside = state
        .role_bindings
        .iter()
        .filter(|((namespace, _), bound)| bound.ours && !workspaces.contains(namespace.as_str()) && named(&bound.subjects));
    let inside = inside.map(|(_, bound)| Change::RoleBinding(bound.without(&hers)));
    let wide = state.cluster_role_bindings.values().filter(|bound| bound.ours && named(&bound.subjects));
    let wide = wide.map(|bound| Change::ClusterRoleBinding(bound.without(&hers)));
    owner.chain(inside).chain(wide).map(|change| step(cluster, None, change)).collect()
}

/// Takes identities of usher's out of bindings of others. Such a binding is never deleted, and nothing else in it is touched.
fn shrink(cluster: &ClusterKey, state: &ClusterState, hers: &BTreeSet<&Known>, sealed: &BTreeSet<&str>) -> Vec<Step> {
    let issued: BTreeSet<Known> =
        hers.iter().filter(|known| matches!(known, Known::ServiceAccount(_))).map(|known| (*known).clone()).collect();
    let inside = state.role_bindings.iter().filter(|((namespace, _), _)| !sealed.contains(namespace.as_str()));
    let inside = inside.filter_map(|(_, bound)| without_them::<RoleBinding>(bound, &issued)).map(Change::RoleBinding);
    let wide = state.cluster_role_bindings.values().filter_map(|bound| without_them::<ClusterRoleBinding>(bound, &issued));
    inside.chain(wide.map(Change::ClusterRoleBinding)).map(|change| step(cluster, None, change)).collect()
}

fn without_them<K: RbacBinding>(bound: &Bound<K>, hers: &BTreeSet<Known>) -> Option<Write<K>> {
    if bound.ours || bound.deleting() || hers.iter().all(|known| !bound.subjects.contains(known)) {
        return None;
    }
    Some(Write::Replace(bound.rest(hers)))
}

fn workspace(scene: Scene<'_>, site: &Site) -> Workspace {
    let namespace = scene.clusters.get(&site.cluster).and_then(|state| state.namespaces.get(&site.namespace));
    let end = namespace.and_then(|namespace| namespace.annotations().get(DELETE_AT)).and_then(|at| at.parse().ok());
    Workspace { environment: site.environment.clone(), namespace: site.namespace.clone(), home: false, delete_at: end.map(Time) }
}

/// Whether a ServiceAccount of a workspace was there while its person still had something. Those that Kubernetes makes anew are nobody's.
pub fn before(created: Option<&Time>, denied: Timestamp) -> bool {
    created.is_none_or(|created| created.0 <= denied)
}
