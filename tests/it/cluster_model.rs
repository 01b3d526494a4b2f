//! A cluster in memory that carries out the writes of plans, as strictly as an API server: what exists cannot be created, only what was seen can be
//! replaced or deleted, a roleRef cannot change, and nothing can be put where there is no namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Resource, ResourceExt};
use usher::api::metadata::{DATA_DIGEST, IDENTITIES_NAMESPACE, KUBECONFIG_KEY, TOKEN_EXPIRES_AT, TOKEN_ISSUED_AT, TOKEN_OF};
use usher::api::{Binding, Departure, Developer, Environment, Lock, Provider, Role};
use usher::plan::access::{held_roles, lock_holds, standing};
use usher::plan::binding::binding_findings;
use usher::plan::change::{Change, Step, Write};
use usher::plan::cluster::{ClusterKey, ClusterState, Key};
use usher::plan::credential::{CredentialPlan, plan_credentials};
use usher::plan::developer::{DeveloperInputs, DeveloperPlan, plan_developer};
use usher::plan::elsewhere::TokenNotes;
use usher::plan::environment::environment_findings;
use usher::plan::finding::Finding;
use usher::plan::link::Links;
use usher::plan::placement::Scene;
use usher::plan::role::{Additions, Failed, RoleInputs, RolePlan, plan_role};
use usher::plan::settings::Settings;
use usher::plan::world::World;

pub const INSTALLATION: &str = "installation-1";
pub const OWN_NAMESPACE: &str = "usher-system";

/// The ClusterRoles that exist before usher comes, with what each gives.
pub const CLUSTER_ROLES: [(&str, &[(&str, &str)]); 4] = [
    ("view", &[("pods", "get"), ("pods", "list")]),
    ("edit", &[("pods", "get"), ("pods", "list"), ("pods", "create"), ("secrets", "get")]),
    ("usher-developer", &[("pods", "get"), ("pods", "create")]),
    ("cluster-admin", &[("*", "*")]),
];

/// What is to be planned for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    Role(String),
    Developer(String),
}

/// Everything that people wrote and clusters hold, at a moment.
pub struct Model {
    pub world: World,
    pub clusters: BTreeMap<ClusterKey, ClusterState>,
    /// How clusters stand of which that is said; all others answer.
    pub links: Links,
    pub settings: Settings,
    pub now: Timestamp,
    pub epoch: String,
    pub may_end: bool,
    pub patient: bool,
    /// Namespaces in which every write fails.
    pub broken: BTreeSet<String>,
    versions: u64,
}

/// How often everything is looked at before it counts as endless.
const MOST_PASSES: usize = 60;

fn key(meta: &ObjectMeta) -> Key {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().expect("a name"))
}

impl Model {
    pub fn new(now: Timestamp, clusters: impl IntoIterator<Item = ClusterKey>) -> Self {
        let settings = Settings::of(OWN_NAMESPACE, INSTALLATION);
        let mut model = Self {
            world: World::default(),
            clusters: clusters.into_iter().map(|cluster| (cluster, ClusterState::new(INSTALLATION))).collect(),
            links: Links::new(),
            settings,
            now,
            epoch: "epoch-1".to_owned(),
            may_end: true,
            patient: true,
            broken: BTreeSet::new(),
            versions: 0,
        };
        for cluster in model.clusters.keys().cloned().collect::<Vec<_>>() {
            for (name, _) in CLUSTER_ROLES {
                model.set_foreign_cluster_role(&cluster, name, true);
            }
            model.set_namespace(&cluster, IDENTITIES_NAMESPACE, Some(BTreeMap::new()));
        }
        model
    }

    pub fn set_foreign_cluster_role(&mut self, cluster: &ClusterKey, name: &str, exists: bool) {
        let mut role = ClusterRole::default();
        role.metadata.name = Some(name.to_owned());
        self.state(cluster).set_cluster_role(name, exists.then(|| Arc::new(role)));
    }

    pub fn state(&mut self, cluster: &ClusterKey) -> &mut ClusterState {
        self.clusters.get_mut(cluster).expect("a known cluster")
    }

    pub fn read<T>(&self, look: impl FnOnce(Scene<'_>) -> T) -> T {
        let read = |key: &ClusterKey| self.links.get(key).is_none_or(|link| link.read);
        let clusters = self.clusters.iter().filter(|(key, _)| read(key)).map(|(key, state)| (key.clone(), state)).collect();
        look(Scene { world: &self.world, clusters: &clusters, links: &self.links, only: None, settings: &self.settings })
    }

    /// Makes a namespace with these labels or relabels it (labels of usher's on a workspace stay), or takes it away with all that is in it.
    pub fn set_namespace(&mut self, cluster: &ClusterKey, name: &str, labels: Option<BTreeMap<String, String>>) {
        let Some(labels) = labels else {
            self.empty_namespace(cluster, name);
            self.state(cluster).set_namespace(name, None);
            return;
        };
        let uid = self.next_uid();
        let state = self.state(cluster);
        let seen = state.namespaces.get(name).cloned();
        let mut namespace = seen.as_deref().cloned().unwrap_or_else(|| Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), uid: Some(uid.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        });
        let ours = state.ours(&namespace);
        let own = namespace.labels_mut();
        own.retain(|label, _| ours && (label.starts_with("usher.dev/") || label.starts_with("app.kubernetes.io/")));
        own.extend(labels.into_iter().filter(|(label, _)| !ours || !label.starts_with("usher.dev/")));
        namespace.metadata.resource_version = Some(uid);
        self.state(cluster).set_namespace(name, Some(Arc::new(namespace)));
    }

    fn empty_namespace(&mut self, cluster: &ClusterKey, name: &str) {
        let state = self.state(cluster);
        let inside: Vec<Key> = state.role_bindings.keys().filter(|(namespace, _)| namespace == name).cloned().collect();
        for key in inside {
            state.set_role_binding(&key, None);
        }
        let elsewhere = |key: &Key| key.0 != name;
        state.quotas.retain(elsewhere);
        state.limits.retain(elsewhere);
        state.network_policies.retain(elsewhere);
        state.config_maps.retain(elsewhere);
        state.secrets.retain(elsewhere);
    }

    pub fn set_developer(&mut self, name: &str, developer: Option<Developer>) {
        self.world.set_developer(name, developer.map(Arc::new));
    }

    pub fn set_role(&mut self, name: &str, role: Option<Role>) {
        self.world.set_role(name, role.map(Arc::new));
    }

    pub fn set_binding(&mut self, name: &str, binding: Option<Binding>) {
        self.world.set_binding(name, binding.map(Arc::new));
    }

    pub fn set_environment(&mut self, name: &str, environment: Option<Environment>) {
        self.world.set_environment(name, environment.map(Arc::new));
        for (cluster, state) in &mut self.clusters {
            let here = self.world.environments().map(|(_, environment)| environment.as_ref());
            state.territory.set_environments(OWN_NAMESPACE, here.filter(|environment| ClusterKey::of(environment) == *cluster));
        }
    }

    pub fn set_lock(&mut self, name: &str, lock: Option<Lock>) {
        self.world.set_lock(name, lock.map(Arc::new));
    }

    pub fn set_departure(&mut self, name: &str, departure: Option<Departure>) {
        self.world.set_departure(name, departure.map(Arc::new));
    }

    pub(crate) fn next_uid(&mut self) -> String {
        self.versions += 1;
        format!("{}", self.versions)
    }

    fn checked<K: Resource<DynamicType = ()> + Clone>(&mut self, seen: Option<&K>, write: &Write<K>) -> Option<K> {
        let kind = K::kind(&());
        match write {
            Write::Create(object) => {
                assert!(seen.is_none(), "a plan creates {kind} {:?}, which exists", key(object.meta()));
                let mut object = object.clone();
                let uid = self.next_uid();
                let now = Time(self.now);
                let meta = object.meta_mut();
                meta.uid = Some(uid.clone());
                meta.resource_version = Some(uid);
                meta.creation_timestamp = Some(now);
                Some(object)
            }
            Write::Replace(object) => {
                let seen = seen.unwrap_or_else(|| panic!("a plan replaces {kind} {:?}, which does not exist", key(object.meta())));
                assert_eq!(seen.meta().resource_version, object.meta().resource_version, "a plan replaces another version of {kind}");
                assert_eq!(seen.meta().uid, object.meta().uid, "a plan replaces another {kind}");
                let mut object = object.clone();
                object.meta_mut().resource_version = Some(self.next_uid());
                Some(object)
            }
            Write::Delete(meta) => {
                let seen = seen.unwrap_or_else(|| panic!("a plan deletes {kind} {:?}, which does not exist", key(meta)));
                assert_eq!(seen.meta().uid, meta.uid, "a plan deletes another {kind}");
                None
            }
        }
    }

    /// Carries out one write.
    pub fn carry_out(&mut self, step: &Step) {
        let at = key(step.change.meta());
        let cluster = step.cluster.clone();
        if !at.0.is_empty() {
            assert!(self.state(&cluster).namespaces.contains_key(&at.0), "a plan writes into namespace {}, which does not exist", at.0);
        }
        macro_rules! table {
            ($table:ident, $write:expr) => {{
                let seen = self.state(&cluster).$table.get(&at);
                let object = self.checked(seen.as_deref(), $write);
                self.state(&cluster).$table.replace(&at, object.as_ref());
            }};
        }
        match &step.change {
            Change::Namespace(write) => {
                assert!(!matches!(write, Write::Delete(_)), "no plan deletes a namespace");
                let seen = self.state(&cluster).namespaces.get(&at.1).cloned();
                let object = self.checked(seen.as_deref(), write).map(Arc::new);
                self.state(&cluster).set_namespace(&at.1, object);
            }
            Change::ServiceAccount(write) => {
                let seen = self.state(&cluster).service_accounts.get(&at);
                let object = self.checked(seen.as_deref(), write).map(Arc::new);
                self.state(&cluster).set_service_account(&at, object);
            }
            Change::RoleBinding(write) => {
                let seen = self.state(&cluster).role_bindings.get(&at).map(|bound| Arc::new(bound.whole()));
                let object = self.checked(seen.as_deref(), write).map(Arc::new);
                if let Some(object) = &object {
                    self.check_reference(&cluster, &object.role_ref.name);
                    assert!(seen.is_none_or(|seen| seen.role_ref == object.role_ref), "a roleRef cannot change");
                }
                self.state(&cluster).set_role_binding(&at, object);
            }
            Change::ClusterRoleBinding(write) => {
                let seen = self.state(&cluster).cluster_role_bindings.get(&at).map(|bound| Arc::new(bound.whole()));
                let object = self.checked(seen.as_deref(), write).map(Arc::new);
                if let Some(object) = &object {
                    self.check_reference(&cluster, &object.role_ref.name);
                    assert!(seen.is_none_or(|seen| seen.role_ref == object.role_ref), "a roleRef cannot change");
                }
                self.state(&cluster).set_cluster_role_binding(&at, object);
            }
            Change::ClusterRole(write) => {
                let seen = self.state(&cluster).cluster_roles.get(&at.1).cloned();
                let object = self.checked(seen.as_deref(), write).map(Arc::new);
                self.state(&cluster).set_cluster_role(&at.1, object);
            }
            Change::ResourceQuota(write) => table!(quotas, write),
            Change::LimitRange(write) => table!(limits, write),
            Change::NetworkPolicy(write) => table!(network_policies, write),
            Change::ConfigMap(write) => table!(config_maps, write),
            Change::Secret(write) => table!(secrets, write),
        }
    }

    /// The API server looks at the ClusterRole to see whether it may be given.
    fn check_reference(&mut self, cluster: &ClusterKey, name: &str) {
        assert!(self.state(cluster).has_cluster_role(name), "a plan binds ClusterRole {name}, which does not exist");
    }

    pub fn plan_role(&self, name: &str) -> Option<RolePlan> {
        self.plan_role_after(name, &Failed::default())
    }

    fn plan_role_after(&self, name: &str, failed: &Failed) -> Option<RolePlan> {
        let role = self.world.role(name)?.clone();
        let (now, epoch, may_end, patient) = (self.now, self.epoch.as_str(), self.may_end, self.patient);
        Some(self.read(|scene| plan_role(&RoleInputs { scene, role: role.as_ref(), now, epoch, may_end, patient, failed })))
    }

    pub fn plan_developer(&self, name: &str) -> Option<DeveloperPlan> {
        let developer = self.world.developer(name)?.clone();
        Some(self.read(|scene| plan_developer(&DeveloperInputs { scene, developer: developer.as_ref(), now: self.now })))
    }

    fn fails(&self, step: &Step) -> bool {
        step.change.meta().namespace.as_ref().is_some_and(|namespace| self.broken.contains(namespace))
    }

    /// Plans a Role and carries it out until there is nothing more to do, as its controller does. Tells whether something was written, and whether
    /// a removal waits for other Roles. `look` sees the model after every write.
    pub fn role_pass(&mut self, name: &str, look: &mut dyn FnMut(&Self)) -> (bool, bool) {
        let mut wrote = false;
        let mut failed = Failed::none(self.patient);
        for _ in 0..MOST_PASSES {
            let Some(plan) = self.plan_role_after(name, &failed) else { return (wrote, false) };
            for step in plan.phases.iter().flatten() {
                if self.fails(step) || failed.bars(step) {
                    failed.note(step);
                    continue;
                }
                wrote = true;
                self.carry_out(step);
                look(self);
            }
            if plan.additions != Additions::Planned {
                return (wrote, plan.waits);
            }
        }
        panic!("the plan of urole/{name} does not come to an end");
    }

    /// Plans a Developer and carries it out, credentials too, as her controller does. Tells whether something was written.
    pub fn developer_pass(&mut self, name: &str, look: &mut dyn FnMut(&Self)) -> bool {
        let Some(plan) = self.plan_developer(name) else { return false };
        let mut wrote = self.carry_out_all(&plan.phases, look);
        if wrote {
            return true;
        }
        if plan.standing.leaves() && plan.access_gone() {
            wrote |= self.carry_out_all(&plan.afterwards, look);
        }
        wrote | self.begin_receipt(name, &plan) | self.credentials(name, &plan)
    }

    pub(crate) fn carry_out_all(&mut self, phases: &[Vec<Step>], look: &mut dyn FnMut(&Self)) -> bool {
        for step in phases.iter().flatten() {
            self.carry_out(step);
            look(self);
        }
        phases.iter().any(|phase| !phase.is_empty())
    }

    fn credentials(&mut self, name: &str, plan: &DeveloperPlan) -> bool {
        let developer = self.world.developer(name).expect("she exists").clone();
        let now = self.now;
        let credentials = self.read(|scene| {
            let held = held_roles(scene.world, &developer, now);
            plan_credentials(scene, &developer, plan, &held, (&TokenNotes::new(), now))
        });
        if let Some(write) = &credentials.write {
            self.write_kubeconfig(write);
        }
        if let Some(step) = &credentials.welcome {
            self.carry_out(step);
        }
        credentials.write.is_some() || credentials.welcome.is_some()
    }

    /// What a controller does that may see secret values: here the value is its digest.
    pub(crate) fn write_kubeconfig(&mut self, plan: &CredentialPlan) {
        let mut secret = Secret { metadata: plan.meta.clone(), ..Secret::default() };
        secret.metadata.uid = Some(self.next_uid());
        secret.data = Some(BTreeMap::from([(KUBECONFIG_KEY.to_owned(), ByteString(b"digest".to_vec()))]));
        let ends = self.now.checked_add(plan.lifetime).expect("in range");
        let notes = secret.annotations_mut();
        notes.insert(DATA_DIGEST.to_owned(), "digest".to_owned());
        if let Some((_, uid)) = &plan.service_account {
            notes.insert(TOKEN_OF.to_owned(), uid.clone());
            notes.insert(TOKEN_ISSUED_AT.to_owned(), self.now.to_string());
            notes.insert(TOKEN_EXPIRES_AT.to_owned(), ends.to_string());
        }
        let at = key(&secret.metadata);
        let home = usher::plan::environment::home(&self.world).and_then(|name| self.world.environment(name));
        let cluster = ClusterKey::of(home.expect("a kubeconfig is for somebody with a home"));
        self.state(&cluster).secrets.replace(&at, Some(&secret));
    }

    /// Everything that could be planned for.
    pub fn tasks(&self) -> Vec<Task> {
        let roles = self.world.roles().map(|(name, _)| Task::Role(name.clone()));
        roles.chain(self.world.developers().map(|(name, _)| Task::Developer(name.clone()))).collect()
    }

    /// Goes through the tasks in this order, again and again, until nothing changes. Returns the Roles that still wait then.
    pub fn settle_in(&mut self, tasks: &[Task], look: &mut dyn FnMut(&Self)) -> Vec<String> {
        for _ in 0..MOST_PASSES {
            let (mut wrote, mut waiting) = (false, Vec::new());
            for task in tasks {
                match task {
                    Task::Role(name) => {
                        let (changed, waits) = self.role_pass(name, look);
                        wrote |= changed;
                        if waits {
                            waiting.push(name.clone());
                        }
                    }
                    Task::Developer(name) => wrote |= self.developer_pass(name, look),
                }
            }
            wrote |= self.leaving_passes(look);
            if !wrote {
                return waiting;
            }
        }
        panic!("the plans do not come to an end");
    }

    /// Brings everything to rest. Nobody may wait for ever.
    pub fn settle(&mut self) {
        let waiting = self.settle_in(&self.tasks(), &mut |_| {});
        assert!(waiting.is_empty(), "removals of {waiting:?} wait for something that never comes");
    }

    /// Lets go of the objects that are being deleted, as their finalizers are done.
    pub fn release(&mut self) {
        fn gone<'a, K: ResourceExt + 'a>(objects: impl Iterator<Item = (&'a String, &'a Arc<K>)>) -> Vec<String> {
            objects.filter(|(_, object)| object.meta().deletion_timestamp.is_some()).map(|(name, _)| name.clone()).collect()
        }
        for name in gone(self.world.developers()) {
            self.set_developer(&name, None);
        }
        for name in gone(self.world.roles()) {
            self.set_role(&name, None);
        }
        for name in gone(self.world.bindings()) {
            self.set_binding(&name, None);
        }
        for name in gone(self.world.environments()) {
            self.set_environment(&name, None);
        }
        for name in gone(self.world.locks().filter(|(_, lock)| !lock_holds(lock, self.now))) {
            self.set_lock(&name, None);
        }
    }

    /// What would be written now.
    pub fn outstanding(&self) -> Vec<String> {
        let mut steps = Vec::new();
        for task in self.tasks() {
            let planned: Vec<Step> = match &task {
                Task::Role(name) => self.plan_role(name).map(|plan| plan.phases.concat()),
                Task::Developer(name) => self.plan_developer(name).map(|plan| {
                    let after = if plan.standing.leaves() { plan.afterwards.concat() } else { Vec::new() };
                    [plan.phases.concat(), after].concat()
                }),
            }
            .unwrap_or_default();
            steps.extend(
                planned
                    .iter()
                    .map(|step| format!("{task:?}: {:?} {} {:?}", step.change.verb(), step.change.kind(), key(step.change.meta()))),
            );
        }
        steps
    }

    /// Takes in an object as people write it: of usher's kinds, a Namespace, or the name of a ClusterRole.
    pub fn add(&mut self, document: &serde_json::Value) {
        fn read<K: serde::de::DeserializeOwned + Resource>(document: &serde_json::Value) -> K {
            let mut object: K = serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{error}: {document}"));
            let meta = object.meta_mut();
            meta.uid.get_or_insert_with(|| format!("uid-of-{}", meta.name.clone().unwrap_or_default()));
            meta.generation.get_or_insert(1);
            meta.creation_timestamp.get_or_insert_with(|| Time("2026-01-01T00:00:00Z".parse().expect("a time")));
            object
        }
        let name = document["metadata"]["name"].as_str().expect("a name").to_owned();
        match document["kind"].as_str().expect("a kind") {
            "Developer" => self.set_developer(&name, Some(read(document))),
            "Role" => self.set_role(&name, Some(read(document))),
            "Binding" => self.set_binding(&name, Some(read(document))),
            "Environment" => self.set_environment(&name, Some(read(document))),
            "Provider" => drop(self.world.set_provider(&name, Some(Arc::new(read::<Provider>(document))))),
            "Source" => drop(self.world.set_source(&name, Some(Arc::new(read::<usher::api::Source>(document))))),
            "Namespace" => {
                let labels = serde_json::from_value(document["metadata"]["labels"].clone()).unwrap_or_default();
                self.set_namespace(&ClusterKey::Home, &name, Some(labels));
            }
            "ClusterRole" => self.set_foreign_cluster_role(&ClusterKey::Home, &name, true),
            other => panic!("{other} is not a kind of the model"),
        }
    }

    /// Everything that is said of anything, Bindings and Environments too.
    pub fn all_findings(&self) -> Vec<(String, Finding)> {
        let named = |(task, finding)| match task {
            Task::Role(name) => (format!("urole/{name}"), finding),
            Task::Developer(name) => (format!("dev/{name}"), finding),
        };
        let mut all: Vec<_> = self.findings().into_iter().map(named).collect();
        for (name, binding) in self.world.bindings() {
            all.extend(binding_findings(&self.world, binding).into_iter().map(|finding| (format!("ubind/{name}"), finding)));
        }
        for (name, environment) in self.world.environments() {
            let findings = self.read(|scene| environment_findings(scene, environment));
            all.extend(findings.into_iter().map(|finding| (format!("uenv/{name}"), finding)));
        }
        all
    }

    /// What is said of Roles and Developers.
    pub fn findings(&self) -> Vec<(Task, Finding)> {
        let of = |task: Task| {
            let findings = match &task {
                Task::Role(name) => self.plan_role(name).map(|plan| plan.findings),
                Task::Developer(name) => self.plan_developer(name).map(|plan| {
                    let developer = self.world.developer(name).expect("she is there");
                    let held = held_roles(&self.world, developer, self.now);
                    let credentials = self.read(|scene| plan_credentials(scene, developer, &plan, &held, (&TokenNotes::new(), self.now)));
                    [plan.findings, credentials.findings].concat()
                }),
            };
            findings.unwrap_or_default().into_iter().map(move |finding| (task.clone(), finding)).collect::<Vec<_>>()
        };
        self.tasks().into_iter().flat_map(of).collect()
    }

    /// Whether a Developer is one of those who leave.
    pub fn leaves(&self, name: &str) -> bool {
        self.world.developer(name).is_none_or(|developer| standing(&self.world, developer, self.now).leaves())
    }
}
