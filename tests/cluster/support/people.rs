//! People in a cluster with usher: declaring them, and reading what they were given and what is left of them.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Client, Error, ResourceExt};
use serde_json::{Value, json};
use usher::api::{Grant, GrantSpec};

use super::access::Subject;
use super::client::{self, apply_as, explain, kind};
use super::slot::{STAGE, Slot};
use super::{name, wait_until};

/// Whom admission stamps where the administrator of `hack/control-plane` writes.
pub const ADMIN: &str = "usher-local-admin";
/// Where the ServiceAccounts of people are.
pub const IDENTITIES: &str = "usher-identities";
/// The Secret with a person's kubeconfig.
pub const SECRET: &str = "usher-kubeconfig";
/// Long enough for anything that a busy machine does.
const SOON: Duration = Duration::from_mins(1);

/// An Environment of a test's own: one shared namespace, and no workspaces, so that nobody else's people are concerned.
pub struct Stage {
    /// The administrator.
    pub client: Client,
    /// The Environment.
    pub environment: String,
    /// Its shared namespace.
    pub shared: String,
    _slot: Slot,
}

impl Stage {
    /// Makes the Environment and its namespace.
    pub async fn new(client: &Client) -> Self {
        let shared = name("shared");
        let slot = Slot::take(client, &["env"], &shared).await;
        let environment = slot.environment("env");
        declare(client, "Environment", &environment, json!({"namespaces": {"matchLabels": {STAGE: environment}}})).await;
        client::namespace(client, &shared, &[(STAGE, &environment)]).await;
        Self { client: client.clone(), environment, shared, _slot: slot }
    }

    /// Makes a Role that gives one ClusterRole in the shared namespace.
    pub async fn role(&self, cluster_role: &str) -> String {
        let role = name("role");
        let entry = json!({"name": "work", "environments": [self.environment], "clusterRoles": [cluster_role]});
        declare(&self.client, "Role", &role, json!({"access": [entry]})).await;
        role
    }

    /// Makes a Binding.
    pub async fn binding(&self, role: &str, person: &str) -> String {
        let binding = name("bind");
        declare(&self.client, "Binding", &binding, json!({"role": role, "developers": [person]})).await;
        binding
    }

    /// Makes a Developer and waits until she is Ready.
    pub async fn person(&self, person: &str, more: Value) -> DynamicObject {
        developer(&self.client, person, more).await;
        client::ready(&self.client, person).await
    }
}

/// A Developer, if there is one.
pub async fn find(client: &Client, person: &str) -> Option<DynamicObject> {
    kind(client, "Developer").await.get_opt(person).await.unwrap_or_else(|error| panic!("{}", explain(&error)))
}

/// Waits until somebody is a Developer whom the cluster knows, and says by which name.
pub async fn known(client: &Client, person: &str, within: Duration) -> Subject {
    let developer = wait_until(&format!("dev/{person} is known"), within, async || {
        let developer = find(client, person).await.ok_or("there is none")?;
        let known = developer.data["status"]["identities"].as_array().is_some_and(|identities| !identities.is_empty());
        if known { Ok(developer) } else { Err("nobody knows her") }
    })
    .await;
    subject(&developer)
}

/// How Environments without an authenticator know a Developer.
#[track_caller]
pub fn subject(developer: &DynamicObject) -> Subject {
    Subject::service_account(IDENTITIES, &account(developer))
}

/// Makes one of usher's objects.
pub async fn declare(client: &Client, kind: &str, name: &str, spec: Value) -> DynamicObject {
    let object = json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let object = serde_json::from_value(object).expect("an object");
    apply_as(client, client::TEST, object).await.unwrap_or_else(|error| panic!("{kind} {name}: {}", explain(&error)))
}

/// Makes a Developer with an e-mail and what else is said.
pub async fn developer(client: &Client, name: &str, more: Value) -> DynamicObject {
    let mut spec = json!({"email": format!("{name}@example.com")});
    spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    declare(client, "Developer", name, spec).await
}

/// Changes the spec of one of usher's objects.
pub async fn edit(client: &Client, kind_name: &str, name: &str, spec: Value) -> DynamicObject {
    let api = kind(client, kind_name).await;
    let patch = Patch::Merge(json!({"spec": spec}));
    api.patch(name, &PatchParams::default(), &patch).await.unwrap_or_else(|error| panic!("{kind_name} {name}: {}", explain(&error)))
}

/// Asks for the deletion of one of usher's objects.
pub async fn ask_to_delete(client: &Client, kind_name: &str, name: &str) {
    let api = kind(client, kind_name).await;
    api.delete(name, &DeleteParams::default()).await.unwrap_or_else(|error| panic!("{kind_name} {name}: {}", explain(&error)));
}

/// Deletes one of usher's objects and waits until it is gone.
pub async fn remove(client: &Client, kind_name: &str, name: &str) {
    ask_to_delete(client, kind_name, name).await;
    let api = kind(client, kind_name).await;
    wait_until(&format!("{kind_name} {name} is gone"), SOON, async || match api.get_opt(name).await {
        Ok(None) => Ok(()),
        Ok(Some(object)) => Err(serde_json::to_string(&object).unwrap_or_default()),
        Err(error) => Err(explain(&error)),
    })
    .await;
}

/// Waits until a field of one of usher's objects, such as `/status/state`, has a value.
pub async fn reaches(client: &Client, kind_name: &str, name: &str, field: &str, value: &str) -> DynamicObject {
    let api = kind(client, kind_name).await;
    wait_until(&format!("{field} of {kind_name} {name} is {value}"), SOON, async || {
        let object = api.get(name).await.map_err(|error| explain(&error))?;
        let seen = object.data.pointer(field).cloned().unwrap_or_default();
        if seen == value { Ok(object) } else { Err(object.data["status"].to_string()) }
    })
    .await
}

/// The ServiceAccount of a Developer, as her status says.
#[track_caller]
pub fn account(developer: &DynamicObject) -> String {
    let identities = developer.data.pointer("/status/identities").and_then(Value::as_array);
    let mut accounts = identities.into_iter().flatten().filter(|identity| identity["kind"] == "ServiceAccount");
    let account = accounts.next().unwrap_or_else(|| panic!("no identity in {}", developer.data["status"]));
    account["name"].as_str().expect("a name").to_owned()
}

/// The home workspace of a Developer, as her status says; empty if she has none.
pub fn workspace(developer: &DynamicObject) -> String {
    let field = developer.data.pointer("/status/summary/workspace");
    field.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A namespace, if there is one.
pub async fn namespace(client: &Client, name: &str) -> Option<Namespace> {
    Api::<Namespace>::all(client.clone()).get_opt(name).await.unwrap_or_else(|error| panic!("{}", explain(&error)))
}

/// The UID of a namespace that must be there.
#[track_caller]
pub fn uid_of(client: &Client, name: &str) -> impl Future<Output = String> {
    let (client, name, caller) = (client.clone(), name.to_owned(), std::panic::Location::caller());
    async move {
        let found = namespace(&client, &name).await.unwrap_or_else(|| panic!("{caller}: no namespace {name}"));
        found.uid().unwrap_or_default()
    }
}

/// The Secret of credentials in a namespace.
pub async fn secret(client: &Client, namespace: &str) -> Option<Secret> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    secrets.get_opt(SECRET).await.unwrap_or_else(|error| panic!("{}", explain(&error)))
}

/// The kubeconfig in a workspace.
#[track_caller]
pub fn kubeconfig(client: &Client, namespace: &str) -> impl Future<Output = String> {
    let (client, namespace, caller) = (client.clone(), namespace.to_owned(), std::panic::Location::caller());
    async move {
        let secret = secret(&client, &namespace).await.unwrap_or_else(|| panic!("{caller}: no Secret in {namespace}"));
        let data = secret.data.unwrap_or_default();
        String::from_utf8(data["kubeconfig"].0.clone()).expect("text")
    }
}

/// A client with a person's own kubeconfig.
pub async fn log_in(kubeconfig: &str) -> Client {
    let file = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a whole kubeconfig");
    Client::try_from(config).expect("a client")
}

/// Whom the API server takes the bearer of a kubeconfig for, or the code by which it refuses.
pub async fn whoami(kubeconfig: &str) -> Result<String, u16> {
    let api = Api::<SelfSubjectReview>::all(log_in(kubeconfig).await);
    match api.create(&PostParams::default(), &SelfSubjectReview::default()).await {
        Ok(review) => Ok(review.status.and_then(|status| status.user_info?.username).unwrap_or_default()),
        Err(Error::Api(status)) => Err(status.code),
        Err(error) => panic!("{}", explain(&error)),
    }
}

/// Waits until authentication refuses all these kubeconfigs; the API server remembers tokens for ten seconds.
pub async fn all_refused(kubeconfigs: &[String], deadline: Duration) {
    wait_until("the tokens are refused", deadline, async || {
        let answers = futures::future::join_all(kubeconfigs.iter().map(|kubeconfig| whoami(kubeconfig))).await;
        let accepted = answers.iter().filter(|answer| **answer != Err(401)).count();
        if accepted == 0 { Ok(()) } else { Err(format!("{accepted} of {} are accepted: {answers:?}", answers.len())) }
    })
    .await;
}

/// Everybody's Grants of one Developer's name, by start.
pub async fn grants(client: &Client, developer: &str) -> Vec<GrantSpec> {
    let selector = ListParams::default().fields(&format!("spec.developer.name={developer}"));
    let list = Api::<Grant>::all(client.clone()).list(&selector).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    let mut grants: Vec<_> = list.items.into_iter().map(|grant| grant.spec).collect();
    grants.sort_by_key(|grant| (grant.since.0, grant.role.clone()));
    grants
}

/// Every object of the cluster, of whatever kind, that has `word` anywhere but in what it is called after its namespace: `Kind namespace/name`. What people wrote
/// themselves, and the record of it, is left out.
pub async fn traces(client: &Client, word: &str) -> BTreeSet<String> {
    const INPUT_AND_RECORD: [&str; 4] = ["Developer", "Binding", "Grant", "Event"];
    let discovery = Discovery::new(client.clone()).run().await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    let mut traces = BTreeSet::new();
    for (resource, capabilities) in discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources) {
        if INPUT_AND_RECORD.contains(&resource.kind.as_str()) || !capabilities.supports_operation(verbs::LIST) {
            continue;
        }
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
        let list = api.list(&ListParams::default()).await.unwrap_or_else(|error| panic!("{}: {}", resource.kind, explain(&error)));
        for mut object in list.items {
            let place = object.metadata.namespace.take().map(|namespace| format!("{namespace}/")).unwrap_or_default();
            object.metadata.managed_fields = None;
            if serde_json::to_string(&object).expect("JSON").contains(word) {
                let scoped = matches!(capabilities.scope, Scope::Namespaced);
                traces.insert(format!("{} {}{}", resource.kind, if scoped { &place } else { "" }, object.name_any()));
            }
        }
    }
    traces
}
