//! What every test of exactness plays on.

use kube::Client;
use std::collections::BTreeMap;

use kube::api::{Api, DynamicObject};
use serde_json::{Value, json};

use crate::support::access::{Matrix, Questions, Subject};
use crate::support::client::{self, apply_as, explain, kind, ready};
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::slot::{STAGE, Slot};
use crate::support::{AuditLevel, ControlPlane, Shared, name, operated};

/// What ClusterRole `view` gives, of what is asked.
pub const VIEW: &[&str] = &["get pods"];
/// What ClusterRole `usher-developer` gives.
pub const DEVELOP: &[&str] = &["get pods", "create pods"];
/// What ClusterRole `edit` gives.
pub const EDIT: &[&str] = &["get pods", "create pods", "create serviceaccounts"];
/// What an inline rule gives that no ClusterRole of Kubernetes does. RBAC need not know the kind.
pub const GET: &[&str] = &["get widgets.example.com"];
/// Another one.
pub const MAKE: &[&str] = &["create widgets.example.com"];

/// Everything that is asked.
const PROBES: [&str; 6] = [
    "get pods",
    "create pods",
    "create serviceaccounts",
    "get widgets.example.com",
    "create widgets.example.com",
    "list gears.example.com",
];
/// The people. Nobody ever gives dan anything.
const PEOPLE: [&str; 4] = ["ada", "bob", "cyd", "dan"];

/// The Environments of every stage.
const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];

/// Where a stage stands.
enum House {
    Shared(Slot, Shared),
    Own { _operator: Operator, _install: Install, plane: ControlPlane },
}

/// Three Environments, their namespaces and four people.
pub struct Stage {
    /// The administrator's client.
    pub client: Client,
    house: House,
    id: String,
    questions: Questions,
    now: Matrix,
}

impl Stage {
    /// A stage among others, under one operator.
    pub async fn new() -> Self {
        let (shared, id) = (operated().await, name("x"));
        let slot = Slot::take(&shared.client, &ENVIRONMENTS, &id).await;
        Self::built(shared.client.clone(), House::Shared(slot, shared), id).await
    }

    /// A stage with a cluster of its own, where its three Environments are all that there are.
    pub async fn alone() -> Self {
        Self::alone_with(&[]).await
    }

    /// The same, with values of the chart.
    pub async fn alone_with(values: &[&str]) -> Self {
        let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
        let own = ["environments.default=false", "starterRoles=false"];
        let install = Install::new(&plane, &[&own, values, &PATIENT].concat()).await;
        let operator = Operator::start(&install).await;
        operator.ready().await;
        let client = plane.admin_client().await;
        Self::built(client, House::Own { _operator: operator, _install: install, plane }, name("x")).await
    }

    async fn built(client: Client, house: House, id: String) -> Self {
        let mut stage = Self { client, house, id, questions: Questions::default(), now: Matrix::new() };
        for environment in ENVIRONMENTS {
            stage.environment(environment, json!({})).await;
            for team in ["pay", "web"] {
                stage.label(&format!("{environment}-{team}"), Some(environment), team).await;
            }
        }
        stage.label("free", None, "pay").await;
        for person in PEOPLE {
            stage.developer(person, json!({})).await;
        }
        stage.meet().await;
        stage
    }

    /// Learns how the cluster knows the people: ada and cyd by ServiceAccounts, bob and dan by user names.
    async fn meet(&mut self) {
        let mut people = Vec::new();
        for person in PEOPLE {
            people.push((person, self.subject(person).await));
        }
        let places: Vec<String> = ["dev-pay", "dev-web", "staging-pay", "staging-web", "prod-pay", "prod-web", "free"]
            .map(|place| self.name(place))
            .into_iter()
            .chain([String::new()])
            .collect();
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        self.questions = Questions::new(&people, &places, &PROBES);
    }

    /// How the cluster knows a Developer who is Ready.
    pub async fn subject(&self, person: &str) -> Subject {
        let developer = ready(&self.client, &self.name(person)).await;
        let identity = &developer.data["status"]["identities"][0];
        let known = identity["name"].as_str().unwrap_or_else(|| panic!("{person} has no identity: {}", developer.data));
        match identity["namespace"].as_str() {
            Some(namespace) => Subject::service_account(namespace, known),
            None => Subject::user(known),
        }
    }

    /// The control plane.
    pub fn plane(&self) -> &ControlPlane {
        match &self.house {
            House::Shared(_, shared) => &shared.all.plane,
            House::Own { plane, .. } => plane,
        }
    }

    /// The name in the cluster of something that this test calls `what`.
    pub fn name(&self, what: &str) -> String {
        match &self.house {
            House::Shared(slot, _) if ENVIRONMENTS.contains(&what) => slot.environment(what),
            _ => format!("{what}-{}", self.id),
        }
    }

    /// Several of them.
    pub fn names(&self, what: &[&str]) -> Vec<String> {
        what.iter().map(|what| self.name(what)).collect()
    }

    /// Writes an object of usher's, all of its spec.
    pub async fn put(&self, kind: &str, what: &str, spec: Value) -> DynamicObject {
        let object = self.object(kind, what, spec);
        apply_as(&self.client, client::TEST, object).await.unwrap_or_else(|error| panic!("{kind} {what}: {}", explain(&error)))
    }

    fn object(&self, kind: &str, what: &str, mut spec: Value) -> DynamicObject {
        if kind == "Role" {
            // An apply that empties the last list of a spec takes the spec away, which the API server refuses.
            spec["description"] = json!(what);
        }
        let object = json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": self.name(what)}, "spec": spec,
        });
        serde_json::from_value(object).expect("an object")
    }

    /// Sets or takes away `usher.dev/paused` of an object.
    pub async fn pause(&self, kind: &str, what: &str, paused: bool) {
        let patch = json!({"metadata": {"annotations": {"usher.dev/paused": paused.then_some("true")}}});
        let api = self.api(kind).await;
        let patch = kube::api::Patch::Merge(&patch);
        api.patch(&self.name(what), &kube::api::PatchParams::default(), &patch)
            .await
            .unwrap_or_else(|error| panic!("{kind} {what}: {}", explain(&error)));
    }

    /// Deletes an object of usher's and does not wait.
    pub async fn delete(&self, kind: &str, what: &str) {
        client::delete(&self.client, &self.object(kind, what, json!({}))).await;
    }

    /// The API of one of usher's kinds.
    pub async fn api(&self, of: &str) -> Api<DynamicObject> {
        kind(&self.client, of).await
    }

    /// An Environment of the namespaces that bear its label, and whatever else is given. Where nobody else makes one, dev is home.
    pub async fn environment(&self, what: &str, more: Value) {
        let mut spec = json!({"namespaces": {"matchLabels": {STAGE: self.name(what)}}});
        if what == "dev" && matches!(self.house, House::Own { .. }) {
            merge(&mut spec, json!({"home": true, "workspace": {}}));
        }
        merge(&mut spec, more);
        self.put("Environment", what, spec).await;
    }

    /// A namespace of an Environment, of none, and of a team.
    pub async fn label(&self, what: &str, environment: Option<&str>, team: &str) {
        let stage = environment.map(|environment| self.name(environment));
        let mut labels = vec![("team", team)];
        labels.extend(stage.as_deref().map(|stage| (STAGE, stage)));
        client::namespace(&self.client, &self.name(what), &labels).await;
    }

    /// A Developer, and whatever else is given. Bob and dan are users of the cluster's own authenticator.
    pub async fn developer(&self, what: &str, more: Value) {
        let mut spec = json!({"email": format!("{}@example.com", self.name(what))});
        if matches!(what, "bob" | "dan") {
            spec["kubernetesUser"] = json!(format!("oidc:{}", self.name(what)));
        }
        merge(&mut spec, more);
        self.put("Developer", what, spec).await;
    }

    /// A Role with these access entries.
    pub async fn role(&self, what: &str, access: Value) {
        self.put("Role", what, json!({"access": access})).await;
    }

    /// A Binding of a Role to Developers, and whatever else is given.
    pub async fn bind(&self, what: &str, role: &str, people: &[&str], more: Value) {
        let mut spec = json!({"role": self.name(role)});
        if !people.is_empty() {
            spec["developers"] = json!(self.names(people));
        }
        merge(&mut spec, more);
        self.put("Binding", what, spec).await;
    }

    /// An access entry in Environments of this stage.
    pub fn entry(&self, environments: &[&str], more: Value) -> Value {
        let mut entry = json!({"name": "work", "environments": self.names(environments)});
        merge(&mut entry, more);
        entry
    }

    /// What people have: each person × namespace × permission.
    #[track_caller]
    pub fn cells(&self, people: &[&str], places: &[&str], probes: &[&str]) -> Matrix {
        let places: Vec<String> = places.iter().map(|&place| self.place(place)).collect();
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        self.questions.cells(people, &places, probes)
    }

    /// What people have everywhere, because it is cluster-wide.
    #[track_caller]
    pub fn everywhere(&self, people: &[&str], probes: &[&str]) -> Matrix {
        let all = ["dev-pay", "dev-web", "staging-pay", "staging-web", "prod-pay", "prod-web", "free", ""];
        self.cells(people, &all, probes)
    }

    fn place(&self, what: &str) -> String {
        if what.is_empty() { String::new() } else { self.name(what) }
    }

    /// Makes an edit after which access is `after`. Before, during and after it the whole matrix is asked; see [`Questions::follow`].
    pub async fn step(&mut self, what: &str, after: Matrix, edit: impl AsyncFnOnce(&Self)) {
        let rounds = self.questions.follow(&self.client, what, (&self.now, &after), edit(self)).await;
        println!("{what}: asked {rounds} times while it changed");
        self.now = after;
    }

    /// What access is, by the steps so far.
    pub fn now(&self) -> &Matrix {
        &self.now
    }

    /// Waits until the operator has looked at an object as it is now.
    pub async fn seen(&self, kind: &str, what: &str) {
        let api = self.api(kind).await;
        let soon = std::time::Duration::from_mins(1);
        crate::support::wait_until(&format!("{kind} {what} is looked at"), soon, async || {
            let object = api.get(&self.name(what)).await.map_err(|error| explain(&error))?;
            let observed = object.data["status"]["observedGeneration"].as_i64();
            if observed == object.metadata.generation { Ok(()) } else { Err(format!("{observed:?}")) }
        })
        .await;
    }

    /// Takes for granted that access is `now`, which the next step begins with, after something that was no step.
    pub async fn stands(&mut self, now: Matrix) {
        self.questions.settle(&self.client, std::time::Duration::from_mins(1), &now).await;
        self.now = now;
    }

    /// Somebody whom the cluster's own authenticator knows: bob, dan and others who were made so.
    pub fn subject_of(&self, user: &str) -> Subject {
        Subject::user(&format!("oidc:{}", self.name(user)))
    }

    /// The questions of this stage for fewer people, places and permissions, which are asked the more often. What they are answered is for [`Self::stands`].
    pub async fn ask_often(&mut self, people: &[&str], places: &[&str], probes: &[&str]) {
        let mut subjects = Vec::new();
        for &person in people {
            subjects.push((person, self.subject(person).await));
        }
        self.ask_about(&subjects, places, probes);
    }

    /// The same for users of the cluster's own authenticator, Ready or not.
    pub fn ask_users(&mut self, people: &[&str], places: &[&str], probes: &[&str]) {
        let subjects: Vec<_> = people.iter().map(|&person| (person, self.subject_of(person))).collect();
        self.ask_about(&subjects, places, probes);
    }

    fn ask_about(&mut self, subjects: &[(&str, Subject)], places: &[&str], probes: &[&str]) {
        let places: Vec<String> = places.iter().map(|&place| self.place(place)).collect();
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        self.questions = Questions::new(subjects, &places, probes);
    }

    /// What `kubectl get -o wide` prints of an object, by column.
    pub async fn columns(&self, short: &str, name: &str) -> BTreeMap<String, String> {
        let text = self.plane().kubectl(&["get", short, name, "-o", "wide"]).await.ok();
        let [row] = crate::columns::rows(&text).try_into().unwrap_or_else(|_| panic!("not one row:\n{text}"));
        row.into_iter().collect()
    }

    /// Reads an object of Kubernetes as it is stored, such as `namespace` `dev-ada`.
    pub async fn read(&self, arguments: &[&str]) -> Value {
        let text = self.plane().kubectl(&[&["get", "-o", "json"], arguments].concat()).await.ok();
        serde_json::from_str(&text).expect("JSON")
    }

    /// Waits until an object says this.
    pub async fn says(&self, kind: &str, what: &str, condition: &str, (status, reason): (&str, &str)) -> String {
        says(&self.api(kind).await, &self.name(what), condition, (status, reason)).await
    }
}

/// Waits until the condition has this status and reason for the object's present generation, and gives its message.
pub async fn says(api: &Api<DynamicObject>, name: &str, condition: &str, (status, reason): (&str, &str)) -> String {
    let soon = std::time::Duration::from_mins(1);
    crate::support::wait_until(&format!("{name} says {condition}={status} {reason}"), soon, async || {
        let object = api.get(name).await.map_err(|error| explain(&error))?;
        let found = client::condition(&object, condition).cloned().unwrap_or_default();
        let current = found["observedGeneration"].as_i64() == object.metadata.generation;
        if current && found["status"] == status && found["reason"] == reason {
            return Ok(found["message"].as_str().unwrap_or_default().to_owned());
        }
        Err(format!("{} in {}", found, object.data["status"]["conditions"]))
    })
    .await
}

/// Puts the fields of `more` into `spec`; null takes one out.
fn merge(spec: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("fields of an object: {more}") };
    let spec = spec.as_object_mut().expect("an object");
    for (key, value) in more {
        if value.is_null() {
            spec.remove(&key);
        } else {
            spec.insert(key, value);
        }
    }
}
