//! Objects that were stored under another schema, and do not fit this one: they are reported and left alone, and nobody else notices (DESIGN.md, promise 7).

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::absence::{House, VALUES};
use crate::support::client::{explain, kind, ready};
use crate::support::fleet::{Member, developer, object, put};
use crate::support::wait_until;

const SOON: Duration = Duration::from_mins(1);
const KINDS: [(&str, &str); 3] = [("Developer", "developers"), ("Role", "roles"), ("Binding", "bindings")];

/// A CRD with its schema, to be loosened and restored.
struct Schema {
    api: Api<CustomResourceDefinition>,
    name: String,
    kind: &'static str,
    versions: Value,
}

impl Schema {
    async fn of(client: &Client, (kind, plural): (&'static str, &str)) -> Self {
        let api = Api::all(client.clone());
        let name = format!("{plural}.usher.dev");
        let crd: CustomResourceDefinition = api.get(&name).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
        Self { api, name, kind, versions: json!(crd.spec.versions) }
    }

    async fn set(&self, versions: &Value) {
        let patch = Patch::Merge(json!({"spec": {"versions": versions}}));
        self.api.patch(&self.name, &PatchParams::default(), &patch).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    }

    /// Lets anything be stored, until [`Self::restore`].
    async fn loosen(&self, client: &Client) {
        let mut versions = self.versions.clone();
        versions[0]["schema"] = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        self.set(&versions).await;
        self.accepts(client, true).await;
    }

    async fn restore(&self, client: &Client) {
        self.set(&self.versions).await;
        self.accepts(client, false).await;
    }

    /// Waits until nonsense is taken, or refused.
    async fn accepts(&self, client: &Client, wanted: bool) {
        let api = kind(client, self.kind).await;
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        wait_until(&format!("{} takes nonsense: {wanted}", self.name), SOON, async || {
            let taken = api.create(&dry, &object(self.kind, "nonsense", &json!("nonsense"))).await;
            if taken.is_ok() == wanted { Ok(()) } else { Err(format!("{taken:?}")) }
        })
        .await;
    }
}

/// Stores what no schema of today would take: new objects, and somebody who was fine before.
async fn spoil(client: &Client) {
    for (of, name, spec) in [
        ("Developer", "misfit", json!({"email": 7, "teams": "all"})),
        ("Role", "misfit", json!({"access": "everything"})),
        ("Binding", "misfit", json!({"role": "viewer", "developers": "everybody", "expiresAt": "never"})),
    ] {
        kind(client, of)
            .await
            .create(&PostParams::default(), &object(of, name, &spec))
            .await
            .unwrap_or_else(|error| panic!("{}", explain(&error)));
    }
    state(client, "p03", "Sabbatical").await;
}

async fn state(client: &Client, name: &str, state: &str) {
    let patch = Patch::Merge(json!({"spec": {"state": state}}));
    kind(client, "Developer")
        .await
        .patch(name, &PatchParams::default(), &patch)
        .await
        .unwrap_or_else(|error| panic!("{}", explain(&error)));
}

#[tokio::test]
async fn objects_that_do_not_fit_the_schema_are_left_alone_and_stop_nobody() {
    let mut house = House::with("charts/usher".as_ref(), &[]).await;
    let client = house.client.clone();
    let spoiling = async {
        // What was stored under another schema was let in by other policies, too.
        let ours = ["delete", "validatingadmissionpolicybindings", "-l", "app.kubernetes.io/name=usher"];
        house.plane.kubectl(&ours).await.ok();
        let mut schemas = Vec::new();
        for names in KINDS {
            schemas.push(Schema::of(&client, names).await);
        }
        for schema in &schemas {
            schema.loosen(&client).await;
        }
        spoil(&client).await;
        for schema in &schemas {
            schema.restore(&client).await;
        }
        house.install.upgrade("charts/usher".as_ref(), &VALUES).await.ok();
    };
    house.unharmed("objects spoilt under a running operator", spoiling).await;
    newcomer(&mut house, "late").await;
    wait_until("it says so", SOON, async || {
        let log = house.operator.log();
        let told = |name: &str| log.lines().any(|line| line.contains("does not fit its schema") && line.contains(&format!("\"{name}\"")));
        if told("misfit") && told("p03") { Ok(()) } else { Err("nothing in the log") }
    })
    .await;

    // After a restart nothing is remembered of what p03 was; what she has is kept, as nobody said that it should go.
    house.operator.restart().await;
    house.operator.ready().await;
    newcomer(&mut house, "later").await;
    house.removes_as_usual().await;

    state(&client, "p03", "Active").await;
    ready(&client, "p03").await;
    house.fleet.exact(&client).await;
    house.plane.stop().await;
}

/// Somebody comes, and everybody has exactly what is hers.
async fn newcomer(house: &mut House, name: &str) {
    let member = Member { name: name.to_owned(), web: true, ops: false };
    put(&house.client, developer(&member)).await;
    house.fleet.joined(&house.client, member).await;
    house.fleet.exact(&house.client).await;
}
