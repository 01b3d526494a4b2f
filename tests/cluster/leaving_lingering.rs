//! Somebody leaves whom others let in, by a user name that is not usher's: what usher can take goes at once, and what it may not is named (DESIGN.md, promises 2 to 4).

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use serde_json::{Value, json};

use crate::support::access::{Subject, can};
use crate::support::client::{apply, condition, kind};
use crate::support::people::{Stage, edit, remove, workspace};
use crate::support::{Shared, name, operated, wait_until};

const SOON: Duration = Duration::from_mins(1);
/// The binding by which others let her in.
const LETS_IN: &str = "lets-her-in";

/// Somebody with a user name, whom a binding of others keeps in where usher lets her in, too; and a colleague in her workspace.
struct Guest {
    _shared: Shared,
    client: kube::Client,
    stage: Stage,
    person: String,
    user: String,
    workspace: String,
}

impl Guest {
    async fn new() -> Self {
        let shared = operated().await;
        let client = shared.client.clone();
        let stage = Stage::new(&client).await;
        let person = name("ada");
        let user = format!("corp:{person}");
        let role = stage.role("view").await;
        stage.binding(&role, &person).await;
        let developer = stage.person(&person, json!({"kubernetesUser": user})).await;
        let guest = Self { workspace: workspace(&developer), _shared: shared, client, stage, person, user };
        guest.bind(&guest.workspace, "for-bob", "bob").await;
        guest.bind(&guest.stage.shared, LETS_IN, &guest.user).await;
        wait_until("she may look", SOON, async || if guest.may().await { Ok(()) } else { Err("no") }).await;
        guest
    }

    async fn bind(&self, namespace: &str, binding: &str, user: &str) {
        let binding = format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: {binding}, namespace: {namespace}}},
              roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}},
              subjects: [{{kind: User, name: '{user}', apiGroup: rbac.authorization.k8s.io}}]}}"
        );
        apply(&self.client, &binding).await;
    }

    async fn may(&self) -> bool {
        can(&self.client, &Subject::user(&self.user), "get", "pods", Some(&self.stage.shared)).await
    }

    /// Waits until her receipt is as wanted.
    async fn receipt(&self, what: &str, wanted: impl Fn(&DynamicObject) -> bool) -> DynamicObject {
        let api = kind(&self.client, "Departure").await;
        wait_until(what, SOON, async || {
            let list = api.list(&ListParams::default().fields(&format!("spec.developer.name={}", self.person))).await.unwrap();
            list.items
                .iter()
                .find(|it| wanted(it))
                .cloned()
                .ok_or_else(|| format!("{:?}", list.items.iter().map(|it| &it.data).collect::<Vec<_>>()))
        })
        .await
    }

    /// Waits until the receipt says what lets her in, and how that ends.
    async fn names_what_lets_her_in(&self) {
        let named = format!("RoleBinding {}/{LETS_IN}", self.stage.shared);
        let receipt = self
            .receipt("what lets her in is named", |it| {
                it.data["status"]["leftovers"].as_array().into_iter().flatten().any(|left| left["object"] == json!(named))
            })
            .await;
        let message = receipt.data["status"]["summary"]["message"].as_str().unwrap();
        assert!(message.contains(&named) && message.contains("take her out of it, or delete it"), "{message}");
        let complete = condition(&receipt, "Complete").unwrap();
        assert_eq!((&complete["status"], &complete["reason"]), (&json!("False"), &json!("LeftoversRemain")), "{}", receipt.data);
    }

    async fn colleague(&self) -> Option<RoleBinding> {
        Api::namespaced(self.client.clone(), &self.workspace).get_opt("for-bob").await.unwrap()
    }

    async fn others_take_her_out(&self) {
        let bindings: Api<RoleBinding> = Api::namespaced(self.client.clone(), &self.stage.shared);
        bindings.delete(LETS_IN, &DeleteParams::default()).await.unwrap();
    }
}

fn state(receipt: &DynamicObject) -> &Value {
    &receipt.data["status"]["state"]
}

/// That somebody still lets her in somewhere is no reason to leave her workspace open, and the receipt is not complete before that ends.
#[tokio::test]
async fn a_workspace_is_sealed_although_others_still_let_her_in() {
    let ada = Guest::new().await;
    edit(&ada.client, "Developer", &ada.person, json!({"state": "Departed"})).await;
    wait_until("her workspace is sealed", SOON, async || ada.colleague().await.is_none().then_some(()).ok_or("open")).await;
    assert!(ada.may().await, "others let her in");
    ada.names_what_lets_her_in().await;

    ada.others_take_her_out().await;
    ada.receipt("the receipt is complete", |it| state(it) == "Complete").await;
    assert!(!ada.may().await);
}

/// A deletion waits for the API server to deny her, but not for ever: the debt stays on the receipt.
#[tokio::test]
async fn a_deletion_does_not_wait_for_others_and_the_receipt_keeps_the_debt() {
    let ada = Guest::new().await;
    let since = Instant::now();
    remove(&ada.client, "Developer", &ada.person).await;
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    ada.receipt("the receipt is open", |it| !matches!(state(it).as_str(), None | Some("Complete"))).await;
    ada.others_take_her_out().await;
    ada.receipt("the receipt is complete", |it| state(it) == "Complete").await;
    assert!(!ada.may().await);
}

#[tokio::test]
async fn a_receipt_says_when_the_workspace_is_gone() {
    let ada = Guest::new().await;
    ada.others_take_her_out().await;
    edit(&ada.client, "Developer", &ada.person, json!({"state": "Departed"})).await;
    let home = |receipt: &DynamicObject, wanted: &str| {
        let targets = receipt.data["status"]["targets"].as_array().into_iter().flatten();
        state(receipt) == "Complete" && targets.clone().any(|it| it["target"] == "environment/dev" && it["state"] == wanted)
    };
    ada.receipt("it is kept", |it| home(it, "Retained")).await;
    Api::<Namespace>::all(ada.client.clone()).delete(&ada.workspace, &DeleteParams::default()).await.unwrap();
    ada.receipt("it is gone", |it| home(it, "Gone")).await;
}
