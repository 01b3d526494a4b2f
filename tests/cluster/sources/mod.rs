//! People from a directory (DESIGN.md, "Sources"): they come, move and leave there, and their access follows; what the directory tells by mistake hurts nobody.

mod bad_reads;
mod brake;
mod crowds;
mod directory;
mod moves;
mod owners;
mod people;

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::accounts::proxy::HttpsProxy;
use crate::accounts::{NAMESPACE, SOON};
use crate::support::access::{Subject, can};
use crate::support::client::{explain, kind};
use crate::support::people::{Stage, declare, find, known, reaches};
use crate::support::systems::realm::{Realm, id_in};
use crate::support::{Shared, name, operated, throughout, wait_until};

/// What usher needs to read a realm.
pub const READS: [&str; 1] = ["view-users"];
/// Several reads.
const A_WHILE: Duration = Duration::from_secs(5);

/// A realm whose people are a test's own, and the Source that it is.
pub struct House {
    shared: Shared,
    pub client: Client,
    pub stage: Stage,
    pub realm: Realm,
    pub source: String,
}

impl House {
    /// A realm, and a Source that reads it each second, with what else is said.
    async fn new(more: Value) -> Self {
        let house = Self::bare().await;
        house.declare(house.realm.system.env("URL"), &house.realm.ca, more).await;
        house
    }

    /// The same behind a proxy.
    async fn behind_proxy(more: Value) -> (Self, HttpsProxy) {
        let house = Self::bare().await;
        let proxy = HttpsProxy::start(house.realm.system.env("URL"), Some(&house.realm.ca)).await;
        house.declare(&proxy.url(), proxy.ca(), more).await;
        (house, proxy)
    }

    /// A realm without a Source yet.
    async fn bare() -> Self {
        let shared = operated().await;
        let client = shared.client.clone();
        let stage = Stage::new(&client).await;
        Self { shared, client, stage, realm: Realm::with(&READS, |_| {}).await, source: name("hr") }
    }

    async fn declare(&self, url: &str, ca: &str, more: Value) {
        declare_source(&self.client, &self.source, &self.realm, (url, ca), more).await;
    }

    /// Makes somebody in the realm: her name and her id there.
    async fn person(&self, groups: &[&str]) -> (String, String) {
        let login = name("ada");
        (login.clone(), self.person_called(&login, groups).await)
    }

    async fn person_called(&self, login: &str, groups: &[&str]) -> String {
        let user =
            json!({"username": login, "email": format!("{login}@example.com"), "firstName": "Some", "lastName": "Body", "enabled": true});
        let id = id_in(&self.realm.admin("POST", "/users", user).await);
        for group in groups {
            self.realm.join(&id, group).await;
        }
        id
    }

    /// A group of the realm that is a team, and what a Role gives that team: one ClusterRole in the shared namespace.
    async fn team(&self, cluster_role: &str) -> String {
        let team = name("team");
        self.realm.make_group_at(&format!("teams/{team}")).await;
        let role = self.stage.role(cluster_role).await;
        declare(&self.client, "Binding", &name("bind"), json!({"role": role, "teams": [team]})).await;
        team
    }

    /// Everybody of the Source.
    async fn everybody(&self) -> Vec<DynamicObject> {
        let hers = ListParams::default().labels(&format!("usher.dev/source={}", self.source));
        kind(&self.client, "Developer").await.list(&hers).await.unwrap_or_else(|error| panic!("{}", explain(&error))).items
    }

    async fn developer(&self, person: &str) -> Option<DynamicObject> {
        find(&self.client, person).await
    }

    async fn known(&self, person: &str) -> Subject {
        known(&self.client, person, SOON).await
    }

    async fn may(&self, who: &Subject, verbs: &[&str]) {
        may((&self.client, &self.stage.shared), who, verbs).await;
    }

    async fn may_still(&self, who: &Subject, verbs: &[&str]) {
        may_still((&self.client, &self.stage.shared), who, verbs).await;
    }

    async fn is(&self, state: &str) -> Value {
        reaches(&self.client, "Source", &self.source, "/status/state", state).await.data["status"].clone()
    }

    /// Waits until all that the realm tells was carried out by a read that began after now.
    async fn settles(&self, people: usize) -> Value {
        wait_until(&format!("usource/{} is in sync with {people}", self.source), SOON, async || {
            let source = kind(&self.client, "Source").await.get(&self.source).await.map_err(|error| explain(&error))?;
            let status = source.data["status"].clone();
            let settled = status["state"] == "InSync" && status["lastRead"]["people"] == people;
            if settled { Ok(status) } else { Err(status.to_string()) }
        })
        .await
    }

    async fn release(&self, word: &str) {
        let patch = json!({"metadata": {"annotations": {"usher.dev/release": word}}});
        kind(&self.client, "Source").await.patch(&self.source, &PatchParams::default(), &Patch::Merge(patch)).await.expect("annotated");
    }
}

/// Waits until somebody may do exactly this with pods in a namespace.
async fn may(place: (&Client, &str), who: &Subject, verbs: &[&str]) {
    wait_until(&format!("{who:?} may {verbs:?}"), SOON, async || {
        let seen = seen(place, who).await;
        if seen == verbs { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

/// For several reads somebody may do exactly this.
async fn may_still(place: (&Client, &str), who: &Subject, verbs: &[&str]) {
    throughout(&format!("{who:?} may {verbs:?}"), A_WHILE, async || {
        let seen = seen(place, who).await;
        if seen == verbs { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

async fn seen((client, namespace): (&Client, &str), who: &Subject) -> Vec<&'static str> {
    let mut verbs = Vec::new();
    for verb in ["get", "create"] {
        if can(client, who, verb, "pods", Some(namespace)).await {
            verbs.push(verb);
        }
    }
    verbs
}

/// Declares a realm as a Source.
pub async fn declare_source(client: &Client, source: &str, realm: &Realm, (url, ca): (&str, &str), more: Value) {
    credentials(client, source, &realm.secret, ca).await;
    let mut spec = json!({
        "keycloak": {
            "url": url, "realm": realm.name,
            "credentialsSecret": {"name": source, "key": "secret"}, "caSecret": {"name": source, "key": "ca.crt"},
        },
        "every": "1s", "requestsPerSecond": 1000,
        "teams": [{"group": "/teams/{team}", "team": "{team}"}],
    });
    spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    declare(client, "Source", source, spec).await;
}

/// Puts usher's credentials for a source where usher runs.
pub async fn credentials(client: &Client, source: &str, secret: &str, ca: &str) {
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": source}, "stringData": {"secret": secret, "ca.crt": ca}});
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).expect("a Secret")).await.expect("made");
}
