//! A small company for tests of the whole: people in teams, three Roles, three Environments, and what each person may do, worked out by hand from the words of
//! DESIGN.md. It has whatever a restart, a crash or a reinstall could lose: both ways of being known, includes, inline rules and cluster-wide rules.
//!
//! For a control plane of the test's own, as its names are plain.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DynamicObject, ListParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::access::{Matrix, Questions, Subject};
use super::client::{self, apply, explain, kind, manifest};
use super::order::held;
use super::wait_until;

/// What is asked about everybody everywhere.
pub const PROBES: [&str; 4] = ["get pods", "create configmaps", "get widgets.example.com", "list nodes"];
/// The ConfigMap in each workspace that stands for its owner's data.
pub const DATA: &str = "precious";
const DEADLINE: Duration = Duration::from_mins(1);
pub(super) const DEV: [&str; 2] = ["shop-dev", "bank-dev"];
pub(super) const STAGING: [&str; 2] = ["shop-staging", "bank-staging"];
pub(super) const PROD: [&str; 2] = ["shop-prod", "bank-prod"];

/// Somebody who works there.
#[derive(Clone, Debug)]
pub struct Member {
    /// The name of the Developer.
    pub name: String,
    /// In team web, and so an editor.
    pub web: bool,
    /// Named in ubind/ops.
    pub ops: bool,
}

impl Member {
    /// How dev knows her, as soon as usher has said so.
    fn known_in_dev(&self, identities: &BTreeMap<String, String>) -> Subject {
        let account = identities.get(&self.name).unwrap_or_else(|| panic!("{} has no identity in dev yet", self.name));
        Subject::service_account("usher-identities", account)
    }

    /// The word for her under the name by which staging and prod know her.
    fn login(&self) -> String {
        format!("{} by login", self.name)
    }

    /// Her namespace.
    pub fn workspace(&self) -> String {
        format!("dev-{}", self.name)
    }
}

/// The company.
pub struct Fleet {
    /// The people.
    pub people: Vec<Member>,
    /// Who has departed: of them their workspaces are kept, and nothing else.
    pub departed: Vec<Member>,
    /// Who held which Role once: `p02 editor`.
    pub ended: Vec<String>,
    pub(super) identities: BTreeMap<String, String>,
}

impl Fleet {
    /// So many people: every second one is in team web, every fifth is named in ubind/ops.
    pub fn new(size: usize) -> Self {
        let member = |number: usize| Member { name: format!("p{number:02}"), web: number.is_multiple_of(2), ops: number.is_multiple_of(5) };
        Self { people: (0..size).map(member).collect(), departed: Vec::new(), ended: Vec::new(), identities: BTreeMap::new() }
    }

    /// The kinds in the order in which a careful person would apply them.
    pub const KINDS: [&str; 4] = ["Environment", "Role", "Developer", "Binding"];

    /// The manifests of one kind.
    pub fn manifests(&self, kind: &str) -> Vec<DynamicObject> {
        match kind {
            "Environment" => environments(),
            "Role" => roles(),
            "Developer" => self.people.iter().map(developer).collect(),
            "Binding" => self.bindings(),
            other => panic!("{other} is none of its kinds"),
        }
    }

    fn bindings(&self) -> Vec<DynamicObject> {
        let ops: Vec<_> = self.people.iter().filter(|member| member.ops).map(|member| &member.name).collect();
        vec![
            object("Binding", "everybody", &json!({"role": "viewer", "teams": ["all"]})),
            object("Binding", "web", &json!({"role": "editor", "teams": ["web"]})),
            object("Binding", "ops", &json!({"role": "ops", "developers": ops, "reason": "on call"})),
        ]
    }

    /// Makes the shared namespaces.
    pub async fn namespaces(&self, client: &Client) {
        for (stage, names) in [("dev", DEV), ("staging", STAGING), ("prod", PROD)] {
            for name in names {
                client::namespace(client, name, &[("stage", stage)]).await;
            }
        }
    }

    /// Applies every object of these kinds, in this order. A kind that is not served yet, or an object that still is going away, is waited for.
    pub async fn apply(&self, client: &Client, kinds: &[&str]) {
        for &name in kinds {
            for object in self.manifests(name) {
                put(client, object).await;
            }
        }
    }

    /// Makes everything, waits until access is exact and every Developer is Ready, and puts data into the workspaces.
    pub async fn settle_in(&mut self, client: &Client) {
        self.namespaces(client).await;
        self.apply(client, &Self::KINDS).await;
        self.ready(client).await;
        self.exact(client).await;
        for member in &self.people {
            let data = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": DATA, "namespace": member.workspace()}, "data": {"of": member.name}});
            apply(client, &data.to_string()).await;
        }
    }

    /// Waits until every Developer is Ready, and learns how dev knows them.
    pub async fn ready(&mut self, client: &Client) {
        for member in std::mem::take(&mut self.people) {
            self.joined(client, member).await;
        }
    }

    /// Waits until somebody is Ready, and counts her in.
    pub async fn joined(&mut self, client: &Client, member: Member) {
        let developer = client::ready(client, &member.name).await;
        let identities = developer.data["status"]["identities"].as_array().cloned().unwrap_or_default();
        let in_dev = identities.iter().find(|identity| identity["environment"] == "dev").expect("dev knows her");
        self.identities.insert(member.name.clone(), in_dev["name"].as_str().expect("a name").to_owned());
        self.people.push(member);
    }

    /// Counts somebody out who has departed.
    pub fn departs(&mut self, name: &str) {
        let (departed, stay) = std::mem::take(&mut self.people).into_iter().partition(|member| member.name == name);
        self.people = stay;
        self.departed.extend::<Vec<Member>>(departed);
        let held = self.departed.last().into_iter().flat_map(|member| held(member).into_iter().map(|(role, _)| format!("{name} {role}")));
        self.ended.extend(held.collect::<Vec<_>>());
    }

    /// Waits until everybody may do exactly what is expected.
    pub async fn exact(&self, client: &Client) {
        let everyone: Vec<_> = self.people.iter().collect();
        let (questions, expected) = self.expectation(&everyone);
        questions.settle(client, DEADLINE, &expected).await;
    }

    /// What some of the people may do: everything that is asked, and what of it is to be allowed.
    pub fn expectation(&self, members: &[&Member]) -> (Questions, Matrix) {
        let logins: Vec<String> = members.iter().map(|member| member.login()).collect();
        let mut people: Vec<(&str, Subject)> = Vec::new();
        for (member, login) in members.iter().zip(&logins) {
            people.push((&member.name, member.known_in_dev(&self.identities)));
            people.push((login, Subject::user(&format!("oidc:{}@example.com", member.name))));
        }
        let workspaces: Vec<String> = members.iter().map(|member| member.workspace()).collect();
        let mut places: Vec<&str> = [DEV, STAGING, PROD].concat();
        places.extend(workspaces.iter().map(String::as_str));
        places.push("");
        let questions = Questions::new(&people, &places, &PROBES);
        let expected = members.iter().flat_map(|member| allowed(&questions, member, &places)).collect();
        (questions, expected)
    }

    /// Everything that a reinstallation must leave as it is: UIDs of namespaces, identities and data, and whom the RoleBindings name.
    pub async fn belongings(&self, client: &Client) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for namespace in list::<Namespace>(Api::all(client.clone())).await {
            found.insert(format!("namespace {}", namespace.name_any()), namespace.uid().unwrap_or_default());
        }
        for account in list::<ServiceAccount>(Api::namespaced(client.clone(), "usher-identities")).await {
            found.insert(format!("identity {}", account.name_any()), account.uid().unwrap_or_default());
        }
        for member in &self.people {
            let maps = Api::<ConfigMap>::namespaced(client.clone(), &member.workspace());
            let data = maps.get(DATA).await.unwrap_or_else(|error| panic!("data of {}: {}", member.name, explain(&error)));
            found.insert(format!("data of {}", member.name), data.uid().unwrap_or_default());
        }
        for binding in list::<RoleBinding>(Api::all(client.clone())).await {
            if binding.name_any().starts_with("usher:") {
                let mut subjects: Vec<_> = binding.subjects.iter().flatten().map(|subject| subject.name.clone()).collect();
                subjects.sort();
                let place = binding.namespace().unwrap_or_default();
                found.insert(format!("binding {place}/{}", binding.name_any()), subjects.join(" "));
            }
        }
        found
    }
}

/// Applies an object, however often its kind or its predecessor is still on the way.
pub async fn put(client: &Client, object: DynamicObject) -> DynamicObject {
    let kind = object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default();
    wait_until(&format!("{kind} {} is applied", object.name_any()), DEADLINE, async || {
        let applied = client::apply_as(client, client::TEST, object.clone()).await.map_err(|error| explain(&error))?;
        if applied.metadata.deletion_timestamp.is_some() { Err("its predecessor is being deleted".to_owned()) } else { Ok(applied) }
    })
    .await
}

/// Waits until an object is gone.
pub async fn gone(client: &Client, kind_name: &str, name: &str) {
    let api = kind(client, kind_name).await;
    wait_until(&format!("{kind_name} {name} is gone"), DEADLINE, async || match api.get_opt(name).await {
        Ok(None) => Ok(()),
        Ok(Some(object)) => Err(format!("it is there: {:?} {}", object.metadata, object.data["status"])),
        Err(error) => Err(explain(&error)),
    })
    .await;
}

/// A manifest of one of usher's kinds.
pub fn object(kind: &str, name: &str, spec: &serde_json::Value) -> DynamicObject {
    manifest(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}).to_string())
}

/// The manifest of somebody.
pub fn developer(member: &Member) -> DynamicObject {
    let teams: &[&str] = if member.web { &["all", "web"] } else { &["all"] };
    object("Developer", &member.name, &json!({"email": format!("{}@example.com", member.name), "teams": teams}))
}

/// Dev knows people by ServiceAccounts, the others by their login.
fn environments() -> Vec<DynamicObject> {
    let login = json!({"user": "oidc:{email}"});
    let stage = |name: &str| json!({"matchLabels": {"stage": name}});
    vec![
        object(
            "Environment",
            "dev",
            &json!({"namespaces": stage("dev"), "allowClusterScope": true, "home": true, "workspace": {"quota": {"pods": "20"}, "limits": {"default": {"memory": "512Mi"}}}}),
        ),
        object("Environment", "staging", &json!({"namespaces": stage("staging"), "allowClusterScope": true, "identity": login})),
        object("Environment", "prod", &json!({"namespaces": stage("prod"), "allowClusterScope": true, "identity": login})),
    ]
}

fn roles() -> Vec<DynamicObject> {
    let rule = |group: &str, resource: &str, verbs: &[&str]| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    vec![
        object("Role", "viewer", &json!({"access": [{"name": "look", "environments": ["*"], "clusterRoles": ["view"]}]})),
        object(
            "Role",
            "editor",
            &json!({"includes": ["viewer"], "access": [{"name": "work", "environments": ["dev", "staging"], "clusterRoles": ["edit"]}]}),
        ),
        object(
            "Role",
            "ops",
            &json!({"access": [
                {"name": "care", "environments": ["prod"], "rules": [rule("example.com", "widgets", &["get"])]},
                {"name": "nodes", "environments": ["*"], "cluster": true, "rules": [rule("", "nodes", &["get", "list"])]},
            ]}),
        ),
    ]
}

/// What one person may do, by the words of the contract.
fn allowed(questions: &Questions, member: &Member, places: &[&str]) -> Matrix {
    let (here, login) = (member.name.as_str(), member.login());
    let cells = |person: &str, places: &[&str], probes: &[&str]| questions.cells(&[person], places, probes);
    let mut allowed = cells(here, &DEV, &["get pods"]);
    allowed.extend(cells(here, &[&member.workspace()], &["get pods", "create configmaps"]));
    allowed.extend(cells(&login, &[STAGING, PROD].concat(), &["get pods"]));
    if member.web {
        allowed.extend(cells(here, &DEV, &["create configmaps"]));
        allowed.extend(cells(&login, &STAGING, &["create configmaps"]));
    }
    if member.ops {
        allowed.extend(cells(&login, &PROD, &["get widgets.example.com"]));
        allowed.extend(cells(here, places, &["list nodes"]));
        allowed.extend(cells(&login, places, &["list nodes"]));
    }
    allowed
}

/// All objects of a kind.
pub async fn list<K>(api: Api<K>) -> Vec<K>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    api.list(&ListParams::default()).await.unwrap_or_else(|error| panic!("{}", explain(&error))).items
}
