//! A developer with her own kubeconfig, who wants more than her workspace; and the attacks by which tenants of other operators got out of theirs.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::credentials::mint;
use super::{Siege, allowed, create, namespaced, refused, rule};
use crate::support::access::can;
use crate::support::client::{self, explain, manifest, ready};
use crate::support::people::{self, Stage, account, developer, kubeconfig, log_in, subject, workspace};
use crate::support::slot::STAGE;
use crate::support::{name, wait_until};

const WORKSPACES: &str = "usher-workspaces";
const IDENTITIES: &str = "usher-identities";

/// Two developers with workspaces, one of whom is out for more.
struct Tenants {
    siege: Siege,
    eve: Client,
    eve_at: String,
    ada: DynamicObject,
    ada_at: String,
}

impl Tenants {
    async fn new() -> Self {
        let siege = Siege::new().await;
        let mut people = Vec::new();
        for person in [name("eve"), name("ada")] {
            developer(&siege.client, &person, json!({})).await;
            people.push(ready(&siege.client, &person).await);
        }
        let (ada, eve) = (people.remove(1), people.remove(0));
        let (eve_at, ada_at) = (workspace(&eve), workspace(&ada));
        let eve = log_in(&kubeconfig(&siege.client, &eve_at).await).await;
        Self { siege, eve, eve_at, ada, ada_at }
    }
}

async fn make(client: &Client, object: &DynamicObject) -> Result<DynamicObject, kube::Error> {
    // Not by discovery, which not everybody may do.
    let (version, kind) = object.types.as_ref().map(|types| (types.api_version.clone(), types.kind.clone())).unwrap();
    let gvk = kube::core::GroupVersionKind::try_from(kube::api::TypeMeta { api_version: version, kind }).unwrap();
    let resource = kube::core::ApiResource::from_gvk(&gvk);
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    api.create(&PostParams::default(), object).await
}

async fn relabel(client: &Client, namespace: &str, patch: Value) -> Result<Namespace, kube::Error> {
    Api::<Namespace>::all(client.clone()).patch(namespace, &PatchParams::default(), &Patch::Merge(patch)).await
}

#[tokio::test]
async fn a_developer_works_in_her_workspace_and_gives_nobody_anything_there() {
    let tenants = Tenants::new().await;
    let (eve, at) = (&tenants.eve, tenants.eve_at.as_str());
    allowed("a ConfigMap", make(eve, &namespaced("v1", "ConfigMap", at, "work", &json!({"data": {"a": "b"}}))).await);
    let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"});
    let binding = namespaced("rbac.authorization.k8s.io/v1", "RoleBinding", at, "friend", &json!({"roleRef": role_ref, "subjects": []}));
    refused("a RoleBinding", make(eve, &binding).await, "cannot create resource \"rolebindings\"");
    refused(
        "a ServiceAccount",
        make(eve, &namespaced("v1", "ServiceAccount", at, "bot", &json!({}))).await,
        "cannot create resource \"serviceaccounts\"",
    );
    refused(
        "a token",
        mint(eve, at, "default", Duration::from_mins(10)).await.map(drop),
        "cannot create resource \"serviceaccounts/token\"",
    );
    refused("a Developer", create_raw(eve, "Developer").await, "cannot create resource \"developers\"");
    refused("a Binding", create_raw(eve, "Binding").await, "cannot create resource \"bindings\"");
}

async fn create_raw(client: &Client, kind: &str) -> Result<DynamicObject, kube::Error> {
    make(
        client,
        &crate::support::fleet::object(kind, &name("x"), &json!({"email": "a@example.com", "role": "developer", "developers": ["eve"]})),
    )
    .await
}

/// Labels on what is hers give her nothing: usher goes by what it made, and by what people declared.
#[tokio::test]
async fn labels_and_owners_on_what_a_developer_may_write_give_her_nothing() {
    let tenants = Tenants::new().await;
    let (eve, at) = (&tenants.eve, tenants.eve_at.as_str());
    let ada = tenants.ada.metadata.name.clone().unwrap();
    let owner = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "name": ada, "uid": tenants.ada.metadata.uid});
    let marks = json!({"metadata": {
        "labels": {"app.kubernetes.io/managed-by": "usher", "usher.dev/developer": ada, "usher.dev/workspace": ada, "usher.dev/role": "developer"},
        "ownerReferences": [owner],
    }});
    for (of, object) in [("ConfigMap", "mine"), ("Secret", "usher-accounts"), ("Secret", "mine")] {
        allowed(of, make(eve, &namespaced("v1", of, at, object, &marks)).await);
    }
    let hers = subject(&tenants.ada);
    // A change of hers that usher carries out comes after all of it was seen.
    people::edit(&tenants.siege.client, "Developer", &ada, json!({"displayName": "Ada"})).await;
    ready(&tenants.siege.client, &ada).await;
    let admin = &tenants.siege.client;
    assert!(!can(admin, &hers, "get", "configmaps", Some(at)).await, "ada has nothing of eve's");
    let secrets = Api::<Secret>::namespaced(eve.clone(), &tenants.ada_at);
    refused("ada's Secrets", secrets.list(&ListParams::default()).await.map(drop), "cannot list resource \"secrets\"");
}

#[tokio::test]
async fn a_developer_reads_nobody_elses_credentials() {
    let tenants = Tenants::new().await;
    let eve = &tenants.eve;
    let get = async |place: &str, secret: &str| Api::<Secret>::namespaced(eve.clone(), place).get(secret).await.map(drop);
    allowed("her own", get(&tenants.eve_at, "usher-kubeconfig").await);
    refused("ada's", get(&tenants.ada_at, "usher-kubeconfig").await, "cannot get resource \"secrets\"");
    refused("usher's", get("usher-system", "any").await, "cannot get resource \"secrets\"");
    let named = ListParams::default().fields("metadata.name=usher-kubeconfig");
    let all = Api::<Secret>::all(eve.clone()).list(&named).await.map(drop);
    refused("everybody's", all, "cannot list resource \"secrets\"");
    let hers = account(&tenants.ada);
    refused(
        "a token of ada's",
        mint(eve, IDENTITIES, &hers, Duration::from_mins(10)).await.map(drop),
        "cannot create resource \"serviceaccounts/token\"",
    );
    let file = kubeconfig(&tenants.siege.client, &tenants.eve_at).await;
    let mut config = kube::Config::from_custom_kubeconfig(
        kube::config::Kubeconfig::from_yaml(&file).unwrap(),
        &kube::config::KubeConfigOptions::default(),
    )
    .await
    .unwrap();
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{IDENTITIES}:{hers}"));
    let as_ada = Client::try_from(config).unwrap();
    let answer = Api::<Secret>::namespaced(as_ada, &tenants.ada_at).get("usher-kubeconfig").await.map(drop);
    refused("acting as ada", answer, "cannot impersonate");
}

/// What is not there yet is nobody's to prepare.
#[tokio::test]
async fn nobody_lays_out_somebody_elses_future_workspace_or_identity() {
    let tenants = Tenants::new().await;
    let (eve, future) = (&tenants.eve, name("future"));
    let marks = json!({"app.kubernetes.io/managed-by": "usher", "usher.dev/workspace": future, "usher.dev/developer": future});
    let place = |labels: &Value| {
        manifest(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("dev-{future}"), "labels": labels}}).to_string(),
        )
    };
    refused("the namespace", make(eve, &place(&marks)).await, "cannot create resource \"namespaces\"");
    refused("the identity", make(eve, &namespaced("v1", "ServiceAccount", IDENTITIES, &future, &json!({}))).await, "cannot create");
    // Many clusters let everybody make namespaces. Then she may make it, and not lay it out.
    let (_, maker) = tenants.siege.somebody(&[], &[rule("", "namespaces", &[], &["create", "get", "list"])]).await;
    refused("a namespace with usher's marks", make(&maker, &place(&marks)).await, WORKSPACES);
    let noted =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name("x"), "annotations": {"usher.dev/adopted": "true"}}});
    refused("with usher's annotations", make(&maker, &manifest(&noted.to_string())).await, WORKSPACES);
    allowed("one that only has the name", make(&maker, &place(&json!({"usher.dev/managed": "true"}))).await);
    relabel(&tenants.siege.client, &format!("dev-{future}"), json!({"metadata": {"labels": {"usher.dev/managed": null}}})).await.unwrap();
    // It is a stranger's for usher, and gets nothing of hers.
    developer(&tenants.siege.client, &future, json!({})).await;
    let api = client::kind(&tenants.siege.client, "Developer").await;
    client::wait_for_condition(&api, &future, "Stalled", "True").await;
    assert!(
        people::secret(&tenants.siege.client, &format!("dev-{future}")).await.is_none(),
        "no credential in a namespace of somebody else's"
    );
}

/// CVE-2022-46167 and CVE-2024-39690 (Capsule): a tenant changed the owners of namespaces, her own and Kubernetes', and owned them.
#[tokio::test]
async fn capsule_owners_of_namespaces_are_not_a_tenants_to_write() {
    let tenants = Tenants::new().await;
    let owner = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "name": "eve", "uid": "x"});
    for place in [tenants.eve_at.as_str(), tenants.ada_at.as_str(), "default", "kube-system"] {
        let patch = json!({"metadata": {"ownerReferences": [owner]}});
        refused(place, relabel(&tenants.eve, place, patch).await, "cannot patch resource \"namespaces\"");
    }
}

/// CVE-2025-55205 (Capsule): a tenant put the operator's label on namespaces that had none, Kubernetes' own among them.
#[tokio::test]
async fn capsule_labels_on_namespaces_are_not_a_tenants_to_write() {
    let tenants = Tenants::new().await;
    let labels = json!({"metadata": {"labels": {"usher.dev/managed": "true", "usher.dev/workspace": "eve"}}});
    for place in [tenants.eve_at.as_str(), tenants.ada_at.as_str(), "default", "kube-system", "usher-system"] {
        refused(place, relabel(&tenants.eve, place, labels.clone()).await, "cannot patch resource \"namespaces\"");
    }
    // And if somebody puts the label of an Environment on one of Kubernetes' own, nobody gets in.
    let stage = Stage::new(&tenants.siege.client).await;
    let person = stage.person(&name("ada"), json!({})).await;
    let role = stage.role("view").await;
    let system = "kube-node-lease";
    relabel(&stage.client, system, json!({"metadata": {"labels": {STAGE: stage.environment}}})).await.unwrap();
    stage.binding(&role, person.metadata.name.as_deref().unwrap()).await;
    wait_until("she has the Role where it is meant", Duration::from_secs(30), async || {
        if can(&stage.client, &subject(&person), "get", "pods", Some(&stage.shared)).await { Ok(()) } else { Err("not yet") }
    })
    .await;
    assert!(!can(&stage.client, &subject(&person), "get", "pods", Some(system)).await);
    let bindings = Api::<RoleBinding>::namespaced(stage.client.clone(), system).list(&ListParams::default()).await.unwrap();
    assert!(bindings.items.iter().all(|binding| !binding.metadata.name.as_deref().unwrap_or_default().starts_with("usher:")));
    relabel(&stage.client, system, json!({"metadata": {"labels": {STAGE: null}}})).await.unwrap();
}

/// Capsule's advisory of 2026: what was refused on a namespace was allowed on its sub-resources, which store labels as well.
#[tokio::test]
async fn capsule_sub_resources_of_namespaces_are_no_back_door() {
    let tenants = Tenants::new().await;
    let place = name("place");
    let theirs = client::namespace(&tenants.siege.client, &place, &[]).await;
    let rules = [
        rule("", "namespaces/status", &[], &["update", "patch"]),
        rule("", "namespaces/finalize", &[], &["update"]),
        rule("", "namespaces", &[], &["get"]),
    ];
    let (_, keeper) = tenants.siege.somebody(&[], &rules).await;
    let door = async |client: &Client, door: &str, label: &str| {
        let mut object = theirs.clone();
        object.metadata.resource_version = None;
        object.metadata.managed_fields = None;
        object.metadata.labels.get_or_insert_default().insert(label.to_owned(), "x".to_owned());
        let request = http::Request::put(format!("/api/v1/namespaces/{place}/{door}")).header("content-type", "application/json");
        client.request::<Namespace>(request.body(serde_json::to_vec(&object).unwrap()).unwrap()).await
    };
    let stored = allowed("a label of its own by the status", door(&keeper, "status", "example.com/x").await);
    assert_eq!(
        stored.metadata.labels.unwrap().get("example.com/x").map(String::as_str),
        Some("x"),
        "the status stores labels, so it has to be looked at"
    );
    for name in ["status", "finalize"] {
        refused(name, door(&keeper, name, "usher.dev/workspace").await, WORKSPACES);
        refused(name, door(&tenants.eve, name, "usher.dev/workspace").await, "cannot update resource");
    }
}

/// CVE-2026-22872 (Capsule): what a tenant wrote was rendered with the operator's rights. Of what people write, usher renders rules only, and not these.
#[tokio::test]
async fn capsule_what_people_write_is_not_carried_out_with_the_operators_rights() {
    let siege = Siege::new().await;
    let stage = Stage::new(&siege.client).await;
    let person = stage.person(&name("eve"), json!({})).await;
    let role = name("role");
    let entry = |of: &str, rule: Value| json!({"name": of, "environments": [stage.environment], "rules": [rule]});
    let access = json!([
        entry("bind", json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["create"]})),
        entry("token", json!({"apiGroups": [""], "resources": ["*/token"], "verbs": ["create"]})),
        entry("fair", json!({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]})),
    ]);
    allowed("the Role", create(&siege.client, "Role", &role, json!({"access": access})).await);
    stage.binding(&role, person.metadata.name.as_deref().unwrap()).await;
    let may = async |verb: &str, what: &str| can(&stage.client, &subject(&person), verb, what, Some(&stage.shared)).await;
    wait_until(
        "what is fair is given",
        Duration::from_secs(30),
        async || if may("get", "pods/log").await { Ok(()) } else { Err("not yet") },
    )
    .await;
    assert!(!may("create", "rolebindings.rbac.authorization.k8s.io").await && !may("create", "serviceaccounts/token").await);
    let said = client::wait_for_condition(&client::kind(&stage.client, "Role").await, &role, "Accepted", "False").await;
    assert!(said.data.to_string().contains("*/token"), "{}", said.data["status"]);
}

/// Who has `edit` in a shared namespace may mint tokens there, and takes none along.
#[tokio::test]
async fn a_developer_with_edit_in_a_shared_namespace_mints_no_token_for_later() {
    let siege = Siege::new().await;
    let stage = Stage::new(&siege.client).await;
    let person = stage.person(&name("eve"), json!({})).await;
    let role = stage.role("edit").await;
    stage.binding(&role, person.metadata.name.as_deref().unwrap()).await;
    wait_until("she has edit", Duration::from_secs(30), async || {
        if can(&stage.client, &subject(&person), "create", "serviceaccounts/token", Some(&stage.shared)).await {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
    let eve = log_in(&kubeconfig(&stage.client, &workspace(&person)).await).await;
    wait_until("the namespace has its ServiceAccount", Duration::from_secs(30), async || {
        mint(&eve, &stage.shared, "default", Duration::from_mins(10)).await.map(drop).map_err(|error| explain(&error))
    })
    .await;
    allowed("an hour", mint(&eve, &stage.shared, "default", Duration::from_hours(1)).await);
    refused("ten years", mint(&eve, &stage.shared, "default", Duration::from_hours(24 * 3_650)).await.map(drop), "usher-guard");
    let note = json!({"type": "kubernetes.io/service-account-token", "metadata": {"annotations": {"kubernetes.io/service-account.name": "default"}}});
    let token = namespaced("v1", "Secret", &stage.shared, "mine", &note);
    refused("a token without an end", make(&eve, &token).await, "usher-guard");
}
