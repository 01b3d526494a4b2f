//! What the operator writes because of a Source: people who come from one, what a Source says of them, and nothing else of what people wrote.

use kube::api::{Patch, PatchParams};
use kube::{Client, Error};
use serde_json::{Value, json};

use super::{Siege, allowed, create, refused};
use crate::support::client::kind;
use crate::support::name;

/// Applies a Developer as the operator does for a Source. A dry run asks admission, and writes nothing.
async fn apply(client: &Client, person: &str, labels: Value, spec: Value) -> Result<(), Error> {
    let object =
        json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": person, "labels": labels}, "spec": spec});
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("usher-source/hr").force() };
    kind(client, "Developer").await.patch(person, &parameters, &Patch::Apply(object)).await.map(drop)
}

#[tokio::test]
async fn the_operator_makes_people_of_sources_only_and_says_of_them_what_a_source_says() {
    let siege = Siege::new().await;
    let (operator, new) = (siege.operator().await, name("new"));
    let said = json!({"email": "a@example.com", "displayName": "A", "personId": new, "teams": ["payments"], "state": "Active"});
    let with = |more: Value| {
        let mut spec = said.clone();
        spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        spec
    };
    let hr = || json!({"usher.dev/source": "hr"});
    allowed("somebody of a Source", apply(&operator, &new, hr(), said.clone()).await);
    refused("of none", apply(&operator, &new, json!({}), said.clone()).await, "usher-fence-declarations");
    refused("without a personId", apply(&operator, &new, hr(), json!({"email": "a@example.com"})).await, "usher-fence-declarations");
    refused(
        "with other labels",
        apply(&operator, &new, json!({"usher.dev/source": "hr", "a": "b"}), said.clone()).await,
        "usher-fence-declarations",
    );
    let key = json!([{"name": "k", "key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0NlUY7U3sKjG9EyYcPw3f1k2Qv8zOqjmrVyXk0Qn5M"}]);
    for more in [
        json!({"username": "root"}),
        json!({"kubernetesUser": "oidc:root"}),
        json!({"manager": "eve"}),
        json!({"sshKeys": key}),
        json!({"startsAt": "2030-01-01T00:00:00Z"}),
        json!({"endsAt": "2030-01-01T00:00:00Z"}),
        json!({"workspaces": [{"environment": "dev", "namespace": "x"}]}),
        json!({"accounts": [{"provider": "forge", "username": "root", "adopt": true}]}),
    ] {
        refused(&more.to_string(), apply(&operator, &new, hr(), with(more.clone())).await, "usher-fence-declarations");
    }
}

#[tokio::test]
async fn the_operator_takes_no_developer_for_a_source_who_is_not_the_same_person() {
    let siege = Siege::new().await;
    let operator = siege.operator().await;
    let (stranger, known) = (name("eve"), name("ada"));
    allowed("a stranger", create(&siege.client, "Developer", &stranger, json!({"email": "eve@example.com"})).await);
    allowed("somebody known", create(&siege.client, "Developer", &known, json!({"email": "ada@example.com", "personId": known})).await);
    let said = |id: &str| json!({"email": "other@example.com", "personId": id, "teams": ["payments"]});
    let hr = || json!({"usher.dev/source": "hr"});
    refused("a stranger", apply(&operator, &stranger, hr(), said("7")).await, "usher-fence-declarations");
    allowed("the same person", apply(&operator, &known, hr(), said(&known)).await);
    refused("without the mark", apply(&operator, &known, json!({}), said(&known)).await, "usher-fence-declarations");
    refused("with a key", apply(&operator, &known, hr(), json!({"personId": known, "manager": "eve"})).await, "usher-fence-declarations");
}

#[tokio::test]
async fn nobody_but_usher_says_that_somebody_is_of_a_source() {
    let siege = Siege::new().await;
    let (_, admin) = siege.somebody(&["usher-admin"], &[]).await;
    let (_, binder) = siege.somebody(&["usher-binder"], &[]).await;
    let new = name("new");
    let marked = apply(&admin, &new, json!({"usher.dev/source": "hr"}), json!({"email": "a@example.com"})).await;
    refused("a mark by hand", marked, "usher-marks");
    allowed("without", apply(&admin, &new, json!({}), json!({"email": "a@example.com"})).await);
    let realm = json!({"url": "https://id.example.com", "realm": "staff", "credentialsSecret": {"name": "a", "key": "b"}});
    let written = create(&binder, "Source", &name("hr"), json!({"keycloak": realm, "mode": "Observe"})).await;
    assert!(matches!(written, Err(Error::Api(status)) if status.code == 403), "a Source gives teams, so administrators write it");
}
