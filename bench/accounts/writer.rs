//! What the operator writes into the cluster for an account, as a bare client writes it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use usher::api::Developer;
use usher::api::metadata::ACCOUNTS_SECRET;

use crate::people;

/// Writes with the operator's credentials.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    names: Arc<Vec<String>>,
}

impl Writer {
    /// For so many people.
    pub fn new(client: Client, people: usize) -> Self {
        Self { client, names: Arc::new(people::names(people)) }
    }

    /// The first password.
    pub async fn secret(&self, number: usize) {
        let name = &self.names[number];
        let data = json!({"bare.username": name, "bare.password": "x".repeat(32), "bare.url": "https://bare.example.com"});
        let meta = json!({"name": ACCOUNTS_SECRET});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data, "type": "Opaque"});
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &format!("{}-{name}", people::HOME));
        let parameters = PatchParams::apply("usher-account-bare").force();
        api.patch(ACCOUNTS_SECRET, &parameters, &Patch::Apply(secret)).await.expect("the Secret is written");
    }

    /// How the account stands.
    pub async fn status(&self, number: usize) {
        let name = &self.names[number];
        let kinds = ["Ready", "Accepted", "ReferencesResolved", "WorkspaceReady", "AccessApplied", "AccountsSynced", "CredentialsReady"];
        let conditions: Vec<Value> = kinds
            .map(|kind| {
                json!({"type": kind, "status": "True", "reason": "AsPlanned", "message": "", "observedGeneration": 1,
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .into();
        let account =
            json!({"provider": "bare", "id": name, "username": name, "state": "Active", "groups": 1, "givenGroups": ["everybody"]});
        let patch = Patch::Merge(json!({"status": {"accounts": [account], "conditions": conditions}}));
        let api: Api<Developer> = Api::all(self.client.clone());
        api.patch_status(name, &PatchParams::default(), &patch).await.expect("the status is written");
    }
}
