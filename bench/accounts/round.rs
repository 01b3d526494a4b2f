//! usher's part: one control plane with the operator and everybody Ready; Providers come and go.

use std::collections::BTreeSet;
use std::time::Instant;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::places::Place;
use super::writer::Writer;
use super::{GIVE_UP, Run};
use crate::opened::Opened;
use crate::people;
use crate::support::client::{apply, condition, kind};
use crate::support::install::NAMESPACE;
use crate::support::operator::Operator;
use crate::support::scrape::Scrape;
use crate::support::usage;
use crate::support::{AuditLevel, ControlPlane, client_of, wait_until};

/// Many people leave here, which is no accident.
const UNBRAKED: &str = "offboarding.brake.maxRemovals=10000";
/// While a bare client works the operator is stopped, and must not have lost the Lease when it goes on.
const STOPPED: [&str; 2] = ["leaderElection.leaseDuration=1200s", "leaderElection.renewDeadline=900s"];
/// The Role that everybody holds.
const ROLE: &str = "a";

/// A control plane with the operator, where everybody is Ready.
pub struct House {
    plane: ControlPlane,
    operator: Operator,
    admin: Client,
    /// What a bare client writes with.
    writer: Writer,
    people: usize,
}

impl House {
    /// Starts everything.
    pub async fn with(people: usize) -> Self {
        let Opened { operator, plane, install, admin } = Opened::shared(AuditLevel::Metadata, &[UNBRAKED, STOPPED[0], STOPPED[1]]).await;
        let pid = operator.process();
        let ready = people::all_ready(&admin, people, "accounts", || usage::runs(pid));
        tokio::join!(ready, people::declare(&admin, 0..people, |_| {}));
        let writer = Writer::new(client_of(&install.kubeconfig()).await, people, ROLE).await;
        Self { plane, operator, admin, writer, people }
    }

    /// The administrator's client.
    pub const fn admin(&self) -> &Client {
        &self.admin
    }

    /// How many people there are.
    pub const fn people(&self) -> usize {
        self.people
    }

    /// What a bare client writes into the cluster with.
    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }

    /// Ends everything.
    pub async fn end(self) {
        drop(self.operator);
        self.plane.stop().await;
    }

    /// Declares a system, lets everybody have an account there, and takes both back.
    pub async fn run(&self, place: &Place, provider: &str) -> Run {
        self.declare(place, provider).await;
        let before = (self.calls(provider).await, self.measured("usher_api_writes_total", "").await);
        let seconds = self.give(place, provider).await;
        let requests = (self.calls(provider).await - before.0) / self.people as f64;
        let writes = (self.measured("usher_api_writes_total", "").await - before.1) / self.people as f64;
        self.take_back(provider).await;
        Run { seconds, requests, writes }
    }

    /// Declares a system, and waits until usher has looked at it.
    pub async fn declare(&self, place: &Place, provider: &str) {
        let values = json!({"credential": place.credential, "ca.crt": place.ca});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": provider}, "stringData": values});
        let secrets: Api<Secret> = Api::namespaced(self.admin.clone(), NAMESPACE);
        secrets.create(&PostParams::default(), &serde_json::from_value(secret).expect("a Secret")).await.expect("made");
        let spec = place.spec(provider);
        let object = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Provider", "metadata": {"name": provider}, "spec": spec});
        apply(&self.admin, &object.to_string()).await;
        let api = kind(&self.admin, "Provider").await;
        wait_until("everybody in the system was looked at", GIVE_UP, async || {
            let status = api.get(provider).await.map_err(|error| error.to_string())?.data["status"].clone();
            if status["state"] == "Connected" && status["accounts"].is_object() { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }

    /// Lets everybody have an account. Returns after how long everybody was told to have one.
    pub async fn give(&self, place: &Place, provider: &str) -> f64 {
        let api = kind(&self.admin, "Developer").await;
        let mut changes = std::pin::pin!(watcher(api, watcher::Config::default()));
        let (mut told, mut since) = (BTreeSet::new(), Instant::now());
        while told.len() < self.people {
            let change = timeout(GIVE_UP, changes.next()).await;
            match change.unwrap_or_else(|_| panic!("only {} of {} have accounts", told.len(), self.people)).expect("the watch goes on") {
                Ok(Event::InitDone) => {
                    since = Instant::now();
                    self.entry(json!([{"provider": provider, "groups": [place.group]}])).await;
                }
                Ok(Event::Apply(developer)) if has_account(&developer, provider) => drop(told.insert(developer.name_any())),
                Ok(_) => {}
                Err(error) => panic!("the watch of people failed: {error}"),
            }
        }
        since.elapsed().as_secs_f64()
    }

    /// Lets a bare client work in the operator's place, with its credentials, and the operator go on from there.
    pub async fn instead<T>(&self, work: impl Future<Output = T>) -> T {
        self.operator.signal(Signal::STOP);
        let outcome = work.await;
        self.operator.signal(Signal::CONT);
        self.nobody_is_told().await;
        outcome
    }

    async fn entry(&self, accounts: Value) {
        let patch = Patch::Merge(json!({"spec": {"accounts": accounts}}));
        kind(&self.admin, "Role").await.patch(ROLE, &PatchParams::default(), &patch).await.expect("the Role is edited");
    }

    /// A Provider that is gone leaves its accounts as they are, so that nothing is locked out when the Role's entry goes after it.
    async fn take_back(&self, provider: &str) {
        let api = kind(&self.admin, "Provider").await;
        api.delete(provider, &DeleteParams::default()).await.expect("deleted");
        self.nobody_is_told().await;
        self.entry(Value::Null).await;
        people::all_ready(&self.admin, self.people, "accounts", || true).await;
    }

    async fn nobody_is_told(&self) {
        let developers = kind(&self.admin, "Developer").await;
        wait_until("nobody is told of accounts", GIVE_UP, async || {
            let all = developers.list(&kube::api::ListParams::default()).await.map_err(|error| error.to_string())?;
            let left = all.iter().filter(|it| it.data["status"]["accounts"].as_array().is_some_and(|them| !them.is_empty())).count();
            if left == 0 { Ok(()) } else { Err(left.to_string()) }
        })
        .await;
    }

    /// How many requests a system has got.
    async fn calls(&self, provider: &str) -> f64 {
        self.measured("usher_provider_calls_total", provider).await
    }

    /// How many accounts wait.
    pub async fn waiting(&self, provider: &str) -> f64 {
        self.measured("usher_account_queue_length", provider).await
    }

    async fn measured(&self, series: &str, provider: &str) -> f64 {
        let scrape = Scrape::of(&self.operator).await.expect("a scrape");
        let label = [("provider", provider)];
        scrape.value(series, if provider.is_empty() { &[] } else { &label }).unwrap_or_default()
    }
}

/// Whether somebody is told to have what the Role gives her at a Provider.
fn has_account(developer: &DynamicObject, provider: &str) -> bool {
    let accounts = developer.data["status"]["accounts"].as_array().into_iter().flatten();
    let its = |account: &&Value| account["provider"] == provider && account["state"] == "Active" && account["groups"] == 1;
    let synced = condition(developer, "AccountsSynced").is_some_and(|it| it["status"] == "True");
    synced && accounts.filter(its).count() == 1
}
