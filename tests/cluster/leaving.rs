//! Leaving ends with a receipt that is true: what was taken, how fast, and what is left (DESIGN.md, promises 2 and 4).

use std::time::Duration;

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::access::{Subject, can};
use crate::support::client::{apply, condition, kind};
use crate::support::people::{self, Stage, account, edit, kubeconfig, remove, workspace};
use crate::support::{Shared, name, operated, wait_until};

const SOON: Duration = Duration::from_mins(1);

/// Somebody with a Role in a shared namespace and a workspace.
pub struct Leaver {
    pub shared: Shared,
    pub client: Client,
    pub stage: Stage,
    pub person: String,
    pub workspace: String,
    pub account: String,
    pub kubeconfig: String,
}

impl Leaver {
    pub async fn new(more: Value) -> Self {
        let shared = operated().await;
        let client = shared.client.clone();
        let stage = Stage::new(&client).await;
        let person = name("ada");
        let role = stage.role("view").await;
        stage.binding(&role, &person).await;
        let developer = stage.person(&person, more).await;
        let workspace = workspace(&developer);
        let kubeconfig = kubeconfig(&client, &workspace).await;
        let leaver = Self { account: account(&developer), shared, client, stage, person, workspace, kubeconfig };
        wait_until("she may work", SOON, async || leaver.may(&leaver.stage.shared).await.then_some(()).ok_or("no")).await;
        leaver
    }

    pub fn subject(&self) -> Subject {
        Subject::service_account(people::IDENTITIES, &self.account)
    }

    pub async fn may(&self, namespace: &str) -> bool {
        can(&self.client, &self.subject(), "get", "pods", Some(namespace)).await
    }

    /// A RoleBinding of somebody's in a namespace.
    pub async fn colleague_binds(&self, namespace: &str, binding: &str, cluster_role: &str, subject: &str) {
        apply(
            &self.client,
            &format!(
                "{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: {binding}, namespace: {namespace}}},
                  roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {cluster_role}}}, subjects: [{subject}]}}"
            ),
        )
        .await;
    }

    pub async fn role_binding(&self, namespace: &str, binding: &str) -> Option<k8s_openapi::api::rbac::v1::RoleBinding> {
        Api::namespaced(self.client.clone(), namespace).get_opt(binding).await.unwrap()
    }

    /// Her one receipt that lasts, once it says this.
    pub async fn receipt(&self, state: &str) -> DynamicObject {
        let api = kind(&self.client, "Departure").await;
        wait_until(&format!("the receipt of {} is {state}", self.person), SOON, async || {
            let list = api.list(&ListParams::default().fields(&format!("spec.developer.name={}", self.person))).await.unwrap();
            let lasting: Vec<_> = list.items.into_iter().filter(|it| it.data["status"]["returnedAt"].is_null()).collect();
            match lasting.as_slice() {
                [receipt] if receipt.data["status"]["state"] == state => Ok(receipt.clone()),
                other => Err(format!("{:?}", other.iter().map(|it| it.data.to_string()).collect::<Vec<_>>())),
            }
        })
        .await
    }

    pub async fn departs(&self) {
        edit(&self.client, "Developer", &self.person, json!({"state": "Departed"})).await;
    }
}

fn status_of(receipt: &DynamicObject, kind: &str) -> String {
    condition(receipt, kind).unwrap_or_else(|| panic!("no {kind}: {}", receipt.data))["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_departure_ends_with_a_complete_receipt_that_a_full_scan_does_not_contradict() {
    let ada = Leaver::new(json!({})).await;
    edit(&ada.client, "Developer", &ada.person, json!({"state": "Departed"})).await;
    let receipt = ada.receipt("Complete").await;
    assert!(!ada.may(&ada.stage.shared).await && !ada.may(&ada.workspace).await);
    assert_eq!(people::whoami(&ada.kubeconfig).await, Err(401), "what the receipt says is revoked is refused");
    for kind in ["AccessGone", "CredentialsRevoked", "Complete"] {
        assert_eq!(status_of(&receipt, kind), "True", "{}", receipt.data);
    }
    let status = &receipt.data["status"];
    let took = status["accessGoneMs"].as_i64().unwrap();
    assert!((0..60_000).contains(&took), "{took}");
    let targets: Vec<&Value> = status["targets"].as_array().unwrap().iter().collect();
    assert!(targets.iter().all(|target| target["verifiedAt"].is_string()), "{status}");
    let home = targets.iter().find(|target| target["target"] == "environment/dev").unwrap();
    assert_eq!(home["state"], "Retained", "her workspace is kept by policy");
    assert_eq!(receipt.data["spec"]["developer"]["name"], json!(ada.person));
    let named = people::traces(&ada.client, &ada.account).await;
    let left: Vec<_> =
        named.iter().filter(|trace| !trace.contains("Departure") && !trace.contains("Grant") && !trace.contains("Developer")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn deletion_leaves_the_receipt_and_it_becomes_complete_without_the_developer() {
    let ada = Leaver::new(json!({})).await;
    remove(&ada.client, "Developer", &ada.person).await;
    assert!(!ada.may(&ada.stage.shared).await, "deleted means that access is gone");
    let receipt = ada.receipt("Complete").await;
    assert_eq!(receipt.data["spec"]["requestedBy"], "unknown (deleted)");
    let plane = &ada.shared.all.plane;
    let waited = plane
        .kubectl(&["wait", "--for=condition=Complete", &format!("departure/{}", receipt.metadata.name.unwrap()), "--timeout=10s"])
        .await;
    assert!(waited.success, "{waited:?}");
}

#[tokio::test]
async fn a_workspace_is_sealed_and_opened_again_for_the_one_who_returns() {
    let ada = Leaver::new(json!({})).await;
    let bob = "{kind: User, name: bob, apiGroup: rbac.authorization.k8s.io}";
    ada.colleague_binds(&ada.workspace, "for-bob", "view", bob).await;
    let account = format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: robot, namespace: {}}}}}", ada.workspace);
    apply(&ada.client, &account).await;
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(ada.client.clone(), &ada.workspace);
    let first = accounts.get("robot").await.unwrap().metadata.uid;
    ada.departs().await;
    let receipt = ada.receipt("Complete").await;
    assert!(ada.role_binding(&ada.workspace, "for-bob").await.is_none(), "sealed");
    assert!(accounts.get_opt("robot").await.unwrap().is_none(), "its ServiceAccounts went, {first:?}");
    let sealed = &receipt.data["status"]["sealed"];
    assert_eq!(*sealed, json!([{"namespace": ada.workspace, "name": "for-bob", "roleRef": "ClusterRole/view", "subjects": ["User/bob"]}]));
    let policies: Api<k8s_openapi::api::networking::v1::NetworkPolicy> = Api::namespaced(ada.client.clone(), &ada.workspace);
    let policy = policies.get("usher").await.unwrap().spec.unwrap();
    assert_eq!(policy.policy_types, Some(vec!["Ingress".to_owned(), "Egress".to_owned()]), "no traffic");
    assert!(policy.ingress.unwrap_or_default().is_empty() && policy.egress.unwrap_or_default().is_empty());

    edit(&ada.client, "Developer", &ada.person, json!({"state": "Active"})).await;
    wait_until("she is back, and so is what was sealed", SOON, async || {
        let binding = ada.role_binding(&ada.workspace, "for-bob").await;
        if binding.is_some() && ada.may(&ada.workspace).await { Ok(()) } else { Err(format!("{binding:?}")) }
    })
    .await;
    let restored = ada.role_binding(&ada.workspace, "for-bob").await.unwrap();
    assert_eq!((restored.role_ref.name.as_str(), restored.subjects.unwrap()[0].name.as_str()), ("view", "bob"));
    let api = kind(&ada.client, "Departure").await;
    wait_until("the receipt is history", SOON, async || {
        let receipt = api.get(receipt.metadata.name.as_deref().unwrap()).await.unwrap();
        if receipt.data["status"]["returnedAt"].is_string() { Ok(()) } else { Err(receipt.data["status"].to_string()) }
    })
    .await;

    // The second time she leaves there is a second receipt.
    ada.departs().await;
    let second = ada.receipt("Complete").await;
    assert_ne!(second.metadata.name, receipt.metadata.name);
}

#[tokio::test]
async fn what_others_bound_to_her_is_taken_or_told_until_it_is_gone_or_waived() {
    let ada = Leaver::new(json!({})).await;
    let hers = format!("{{kind: ServiceAccount, name: {}, namespace: {}}}", ada.account, people::IDENTITIES);
    ada.colleague_binds(&ada.stage.shared, "left-by-a-colleague", "edit", &hers).await;
    let robot = format!("{{kind: ServiceAccount, name: robot, namespace: {}}}", ada.workspace);
    ada.colleague_binds(&ada.stage.shared, "for-her-robot", "view", &robot).await;
    ada.departs().await;
    let receipt = ada.receipt("Incomplete").await;
    let taken = ada.role_binding(&ada.stage.shared, "left-by-a-colleague").await.expect("others' bindings are never deleted");
    assert!(taken.subjects.unwrap_or_default().is_empty(), "an identity of usher's is taken out of it");
    let leftovers = receipt.data["status"]["leftovers"].as_array().unwrap();
    assert_eq!(leftovers.len(), 1, "{leftovers:?}");
    assert!(leftovers[0]["object"].as_str().unwrap().contains("for-her-robot"), "{leftovers:?}");
    assert_eq!(condition(&receipt, "Complete").unwrap()["reason"], "LeftoversRemain");

    let target = leftovers[0]["target"].as_str().unwrap();
    let api = kind(&ada.client, "Departure").await;
    let waiver = json!({"metadata": {"annotations": {"usher.dev/waive": format!("{target}=the robot only reads")}}});
    api.patch(receipt.metadata.name.as_deref().unwrap(), &PatchParams::default(), &Patch::Merge(waiver)).await.unwrap();
    ada.receipt("CompleteWithWaivers").await;
    let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> = Api::namespaced(ada.client.clone(), &ada.stage.shared);
    bindings.delete("for-her-robot", &DeleteParams::default()).await.unwrap();
}

/// A binding that somebody makes for her after the receipt was complete is a leftover like any other.
#[tokio::test]
async fn a_complete_receipt_is_opened_again_by_what_contradicts_it() {
    let ada = Leaver::new(json!({})).await;
    ada.departs().await;
    ada.receipt("Complete").await;
    let hers = format!("{{kind: ServiceAccount, name: {}, namespace: {}}}", ada.account, people::IDENTITIES);
    ada.colleague_binds(&ada.stage.shared, "late", "edit", &hers).await;
    wait_until("it is taken out", SOON, async || {
        let binding = ada.role_binding(&ada.stage.shared, "late").await.unwrap();
        if binding.subjects.clone().unwrap_or_default().is_empty() { Ok(()) } else { Err(format!("{binding:?}")) }
    })
    .await;
    ada.receipt("Complete").await;
}
