//! What the operator writes into the cluster for an account, as a bare client writes it.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use usher::api::metadata::{ACCOUNTS_SECRET, WELCOME_CONFIG_MAP};
use usher::api::{Developer, Grant};

use crate::people;

/// Writes with the operator's credentials.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    names: Arc<Vec<String>>,
    /// Everybody's Grant of the Role.
    grants: Arc<HashMap<String, String>>,
}

/// How many writes an account takes: the password, what she is told, the record, and how it stands.
pub const WRITES: usize = 4;

impl Writer {
    /// For so many people, who hold a Role.
    pub async fn new(client: Client, people: usize, role: &str) -> Self {
        let api: Api<Grant> = Api::all(client.clone());
        let list = api.list(&ListParams::default().fields(&format!("spec.role={role}"))).await.expect("Grants");
        let grants = list.items.into_iter().map(|grant| (grant.spec.developer.name.clone(), grant.name_any())).collect();
        Self { client, names: Arc::new(people::names(people)), grants: Arc::new(grants) }
    }

    /// What the operator writes beside the work on others: what she is told, the record, and last how it stands.
    pub async fn tell(&self, number: usize) {
        self.welcome(number).await;
        self.grant(number).await;
        self.status(number).await;
    }

    async fn welcome(&self, number: usize) {
        let note = Timestamp::now().to_string();
        let meta = json!({"name": WELCOME_CONFIG_MAP, "annotations": {"example.com/bare": note}});
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta});
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &format!("{}-{}", people::HOME, self.names[number]));
        let parameters = PatchParams::apply("usher-bare").force();
        api.patch(WELCOME_CONFIG_MAP, &parameters, &Patch::Apply(map)).await.expect("the ConfigMap is written");
    }

    /// A note in the place of the target that it gains: what it has by then nobody here knows.
    async fn grant(&self, number: usize) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"example.com/bare": Timestamp::now().to_string()}}}));
        let name = &self.grants[&self.names[number]];
        Api::<Grant>::all(self.client.clone()).patch(name, &PatchParams::default(), &patch).await.expect("the Grant is written");
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
    async fn status(&self, number: usize) {
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
