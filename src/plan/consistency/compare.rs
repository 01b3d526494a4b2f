//! The cells of one Role: what was seen in the clusters, against what people should have there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::ResourceExt;

use crate::api::Role;
use crate::api::environment::DifferenceKind;
use crate::api::metadata::ENVIRONMENT;
use crate::plan::access::{Scope, Via, covers, holders};
use crate::plan::bound::{Bound, RbacBinding};
use crate::plan::cluster::{ClusterKey, ClusterState};
use crate::plan::identity::Known;
use crate::plan::placement::{Places, Reference, Scene, names as meant, places};
use crate::plan::subjects::{Names, behind, names};
use crate::plan::verify::current_cluster_role;
use crate::plan::world::deleting;

/// What is wrong with a cell. Of several faults the worst is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// How it differs.
    pub kind: DifferenceKind,
    /// In words.
    pub message: Arc<str>,
}

/// The cells of a Role by Environment and person, each with what is wrong with it. A cell that should be empty is here only if it is not.
pub type Cells = BTreeMap<String, BTreeMap<String, Option<Fault>>>;

/// Who should have something, by Environment.
type Given<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Environment, namespace and ClusterRole of a binding.
type Slot<'a> = (&'a str, &'a str, &'a str);

/// Compares what a Role should give with what was seen, in the Environments that it names together.
pub fn cells(scene: Scene<'_>, role: &Role, now: Timestamp) -> Cells {
    all_cells(scene, role, now).compared
}

/// What a Role should give, compared with what was seen.
#[derive(Debug, Default)]
pub struct AllCells {
    /// In Environments that are named together, and where nothing of the Role may be. They make up the consistency index.
    pub compared: Cells,
    /// In those that are named, but never with another.
    pub alone: Cells,
}

/// Compares what a Role should give with what was seen, everywhere.
pub fn all_cells(scene: Scene<'_>, role: &Role, now: Timestamp) -> AllCells {
    let live = !deleting(role);
    let places = if live { places(scene, role) } else { Places::default() };
    let holders = if live { holders(scene.world, &role.name_any(), now) } else { BTreeMap::new() };
    let alone = alone(scene, role);
    let given = given(&places, &holders);
    let environments: BTreeSet<&str> = given.keys().copied().collect();
    let people = holders.keys().filter_map(|name| Some((name.as_str(), scene.world.developer(name)?.as_ref())));
    let has = |name: &str, environment: &str| given.get(environment).is_some_and(|people| people.contains(name));
    let names = names(scene, people, &environments, has);
    let mut sheet = Sheet { scene, role, given: &given, names: &names, cells: Cells::new() };
    sheet.expect(&places);
    sheet.inside(&places);
    sheet.wide(&places, &holders);
    sheet.of_others();
    sheet.unseen();
    let (alone, compared) = sheet.cells.into_iter().partition(|(environment, _)| alone.contains(environment.as_str()));
    AllCells { compared, alone }
}

/// The Environments that a Role names, but never with another: there is nothing to compare them with. Where none is named, nothing of the Role may be.
fn alone<'a>(scene: Scene<'a>, role: &Role) -> BTreeSet<&'a str> {
    let (mut together, mut alone) = (BTreeSet::new(), BTreeSet::new());
    for access in role.spec.access.iter().filter(|_| !deleting(role)) {
        let here: Vec<&str> = scene.world.live_environments().map(|(name, _)| name.as_str()).filter(|name| meant(access, name)).collect();
        if here.len() > 1 { together.extend(here) } else { alone.extend(here) }
    }
    alone.retain(|name| !together.contains(name));
    alone
}

/// The Environments in which a Role gives something within a scope, or would if it could.
fn reached<'a>(places: &'a Places, scope: &Scope) -> BTreeSet<&'a str> {
    let open = places.unknown.iter().chain(places.lacking.keys()).map(String::as_str).filter(|environment| covers(scope, environment));
    open.chain(places.environments(scope)).collect()
}

fn given<'a>(places: &'a Places, holders: &'a BTreeMap<String, Via>) -> Given<'a> {
    let mut given = Given::new();
    // Many hold it by the same Bindings.
    let mut by_via: HashMap<_, BTreeSet<&str>> = HashMap::new();
    for (person, via) in holders {
        let environments =
            by_via.entry(Arc::as_ptr(via)).or_insert_with(|| via.values().flat_map(|scope| reached(places, scope)).collect());
        for environment in &*environments {
            given.entry(*environment).or_default().insert(person.as_str());
        }
    }
    given
}

/// What is compared, and what came out so far.
struct Sheet<'a> {
    scene: Scene<'a>,
    role: &'a Role,
    given: &'a Given<'a>,
    names: &'a Names<'a>,
    cells: Cells,
}

impl<'a> Sheet<'a> {
    /// Everybody who should have something, and those for whom it cannot be there.
    fn expect(&mut self, places: &Places) {
        for (environment, people) in self.given {
            let cells = people.iter().map(|person| ((*person).to_owned(), None)).collect();
            self.cells.insert((*environment).to_owned(), cells);
            let known: BTreeSet<&str> = self.names.get(environment).into_iter().flat_map(|names| names.values().copied()).collect();
            let unread = places.unknown.contains(*environment);
            for person in people.iter().filter(|person| !unread && !known.contains(**person)) {
                self.blame(environment, person, DifferenceKind::Missing, "the Environment has no name for her; see her conditions");
            }
            for cluster_role in places.lacking.get(*environment).into_iter().flatten() {
                self.blame_all(environment, DifferenceKind::Missing, &format!("ClusterRole {cluster_role} does not exist there"));
            }
        }
    }

    /// Notes a fault, unless the Environment is going.
    fn blame(&mut self, environment: &str, person: &str, kind: DifferenceKind, message: &str) {
        let live = self.scene.world.environment(environment).is_some_and(|it| !deleting(it.as_ref()));
        if !live {
            return;
        }
        let cell = self.cells.entry(environment.to_owned()).or_default().entry(person.to_owned()).or_default();
        if cell.as_ref().is_none_or(|before| (kind, message) < (before.kind, before.message.as_ref())) {
            *cell = Some(Fault { kind, message: message.into() });
        }
    }

    fn blame_all(&mut self, environment: &str, kind: DifferenceKind, message: &str) {
        let given = self.given;
        given.get(environment).into_iter().flatten().for_each(|person| self.blame(environment, person, kind, message));
    }

    /// Notes that a binding of usher's names somebody whom it should not.
    fn surplus<K: RbacBinding>(&mut self, environment: &str, cluster: &ClusterKey, bound: &Bound<K>, known: &Known) {
        let developer = behind(self.scene, cluster, known).map(|developer| developer.name_any());
        let message = format!("{} names her, and no Binding says so", title::<K>(bound.namespace(), bound.name()));
        self.blame(environment, developer.as_deref().unwrap_or(known.text()), DifferenceKind::More, &message);
    }

    /// Where the Role should be bound in namespaces, by cluster.
    fn slots(&mut self, places: &'a Places) -> BTreeMap<&'a ClusterKey, BTreeSet<Slot<'a>>> {
        let mut slots = BTreeMap::<_, BTreeSet<_>>::new();
        let mut own: HashMap<(&ClusterKey, &str), Option<&str>> = HashMap::new();
        for place in &places.inside {
            let cluster_role = match &place.reference {
                Reference::Existing(name) => Some(name.as_str()),
                Reference::Inline(entry) => *own.entry((&place.cluster, entry.as_str())).or_insert_with(|| {
                    let state = self.scene.clusters.get(&place.cluster)?;
                    current_cluster_role(state, self.role, entry, false)?.metadata.name.as_deref()
                }),
            };
            match (cluster_role, &place.reference) {
                (Some(name), _) => {
                    slots.entry(&place.cluster).or_default().insert((place.environment.as_str(), place.namespace.as_str(), name));
                }
                (None, Reference::Inline(entry)) => {
                    let message = format!("no ClusterRole there has the rules of access {entry}");
                    self.blame_all(&place.environment, DifferenceKind::Missing, &message);
                }
                (None, Reference::Existing(_)) => {}
            }
        }
        slots
    }

    /// Compares the bindings in namespaces.
    fn inside(&mut self, places: &'a Places) {
        let (mut slots, role) = (self.slots(places), self.role.name_any());
        for (cluster, state) in self.scene.clusters {
            let mut seen = seen_inside(state, &role);
            // Namespaces of one Environment have the same people, kept once: they are compared once.
            let mut same = HashSet::new();
            for slot in slots.remove(cluster).unwrap_or_default() {
                let bindings = seen.remove(&slot).unwrap_or_default();
                let people: Vec<_> = bindings.iter().map(|bound| Arc::as_ptr(&bound.subjects)).collect();
                if same.insert((slot.0, people)) {
                    self.named(slot, cluster, &bindings);
                }
                for bound in bindings.iter().filter(|bound| bound.strangers()) {
                    let message =
                        format!("{} names others than people, or people twice", title::<RoleBinding>(bound.namespace(), bound.name()));
                    self.blame_all(slot.0, DifferenceKind::More, &message);
                }
            }
            for ((environment, ..), bindings) in &seen {
                for bound in bindings {
                    bound.subjects.iter().for_each(|known| self.surplus(environment, cluster, bound, known));
                }
            }
        }
    }

    /// Compares whom the bindings of one place name with whom they should.
    fn named(&mut self, (environment, namespace, cluster_role): Slot<'_>, cluster: &ClusterKey, bindings: &[&Bound<RoleBinding>]) {
        let nobody = BTreeMap::new();
        let wanted = self.names.get(environment).unwrap_or(&nobody);
        let found: HashSet<&Known> = bindings.iter().flat_map(|bound| bound.subjects.iter()).collect();
        for person in wanted.iter().filter(|(known, _)| !found.contains(known)).map(|(_, person)| person) {
            let message = format!("nothing gives her ClusterRole {cluster_role} in namespace {namespace}");
            self.blame(environment, person, DifferenceKind::Missing, &message);
        }
        for bound in bindings {
            for known in bound.subjects.iter().filter(|known| !wanted.contains_key(*known)) {
                self.surplus(environment, cluster, bound, known);
            }
        }
    }

    /// Compares what is cluster-wide. It concerns all Environments of its cluster.
    fn wide(&mut self, places: &Places, holders: &BTreeMap<String, Via>) {
        let (role, names) = (self.role.name_any(), self.names);
        for (cluster, state) in self.scene.clusters {
            let mut seen: BTreeMap<&str, Vec<&Bound<ClusterRoleBinding>>> = BTreeMap::new();
            for (_, bound) in state.cluster_role_bindings_of(&role) {
                seen.entry(bound.role_ref().name.as_str()).or_default().push(bound);
            }
            let here: Vec<&str> = self.environments_of(cluster);
            for place in places.wide.iter().filter(|place| place.cluster == *cluster) {
                let object = current_cluster_role(state, self.role, &place.entry, true).and_then(|object| object.metadata.name.as_deref());
                let bindings = object.and_then(|name| seen.remove(name)).unwrap_or_default();
                let found: HashSet<&Known> = bindings.iter().flat_map(|bound| bound.subjects.iter()).collect();
                let all = |scope: &Scope| place.environments.iter().all(|environment| covers(scope, environment));
                let whole = |person: &str| holders.get(person).is_some_and(|via| via.values().any(all));
                let mut wanted = HashSet::new();
                for environment in &place.environments {
                    let people = names.get(environment.as_str()).into_iter().flatten().filter(|(_, person)| whole(person));
                    for (known, person) in people {
                        wanted.insert(known);
                        if !found.contains(known) {
                            let message = format!("nothing gives her the cluster-wide rules of access {}", place.entry);
                            self.blame(environment, person, DifferenceKind::Missing, &message);
                        }
                    }
                }
                self.surplus_wide(&here, cluster, &bindings, |known| wanted.contains(known));
            }
            seen.values().for_each(|bindings| self.surplus_wide(&here, cluster, bindings, |_| false));
        }
    }

    fn environments_of(&self, cluster: &ClusterKey) -> Vec<&'a str> {
        let live = self.scene.world.live_environments();
        live.filter(|(_, environment)| ClusterKey::of(environment) == *cluster).map(|(name, _)| name.as_str()).collect()
    }

    fn surplus_wide(
        &mut self,
        environments: &[&str],
        cluster: &ClusterKey,
        bindings: &[&Bound<ClusterRoleBinding>],
        wanted: impl Fn(&Known) -> bool,
    ) {
        for bound in bindings {
            for known in bound.subjects.iter().filter(|known| !wanted(known)) {
                environments.iter().for_each(|environment| self.surplus(environment, cluster, bound, known));
            }
        }
    }

    /// Finds what others gave those who have cells: in the shared namespaces of an Environment, or in all of its cluster.
    fn of_others(&mut self) {
        let names = self.names;
        for (environment, people) in names {
            let Some(state) = self.scene.world.environment(environment).and_then(|object| self.scene.cluster_of(object)) else { continue };
            for (known, person) in people {
                for (namespace, name) in state.foreign_bindings_of(known) {
                    let message = if namespace.is_empty() {
                        title::<ClusterRoleBinding>(None, name)
                    } else if state.territory.shared(environment).any(|shared| shared == namespace) {
                        title::<RoleBinding>(Some(namespace), name)
                    } else {
                        continue;
                    };
                    let message = format!("{message}, which usher did not make, names her");
                    self.blame(environment, person, DifferenceKind::More, &message);
                }
            }
        }
    }

    /// What is in a cluster that does not answer is not verified, whatever was seen before.
    fn unseen(&mut self) {
        for (environment, cells) in &mut self.cells {
            let silence = self.scene.world.environment(environment).and_then(|object| self.scene.silence(&ClusterKey::of(object)));
            if let Some((_, why)) = silence {
                let fault = Fault { kind: DifferenceKind::Unseen, message: why.into() };
                cells.values_mut().for_each(|cell| *cell = Some(fault.clone()));
            }
        }
    }
}

/// The bindings of a Role in namespaces by where they are and what they give. What is in a namespace that goes, goes with it.
fn seen_inside<'a>(state: &'a ClusterState, role: &str) -> BTreeMap<Slot<'a>, Vec<&'a Bound<RoleBinding>>> {
    let mut seen: BTreeMap<Slot<'a>, Vec<&'a Bound<RoleBinding>>> = BTreeMap::new();
    for ((namespace, _), bound) in state.role_bindings_of(role) {
        let goes = state.namespaces.get(namespace).is_some_and(|namespace| deleting(namespace.as_ref()));
        let environment = bound.labels().get(ENVIRONMENT).filter(|_| !goes);
        if let Some(environment) = environment {
            seen.entry((environment, namespace, &bound.role_ref().name)).or_default().push(bound);
        }
    }
    seen
}

fn title<K: RbacBinding>(namespace: Option<&str>, name: &str) -> String {
    let place = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    format!("{} {place}{name}", K::kind(&()))
}
