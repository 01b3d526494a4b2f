//! Tokens are renewed in time, once, and by the marks on the Secret alone.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::support::audit::Audit;
use crate::support::client;
use crate::support::install::Install;
use crate::support::operator::Operator;
use crate::support::people::{self, developer, workspace};
use crate::support::{AuditLevel, ControlPlane, throughout, wait_until};

const SOON: Duration = Duration::from_secs(20);
/// Long enough for a loop of renewals to show.
const QUIET: Duration = Duration::from_secs(5);

fn note(secret: &Secret, key: &str) -> Timestamp {
    secret.annotations()[key].parse().unwrap()
}

#[tokio::test]
async fn a_token_that_is_due_is_renewed_once_at_the_next_start() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let install = Install::new(&plane, &["credentials.lifetime=10m"]).await;
    let mut operator = Operator::start(&install).await;
    operator.ready().await;
    let client = plane.admin_client().await;
    for person in ["due", "fresh"] {
        developer(&client, person, json!({})).await;
    }
    let place = workspace(&client::ready(&client, "due").await);
    let other = workspace(&client::ready(&client, "fresh").await);
    let (before, untouched) = (people::secret(&client, &place).await.unwrap(), people::secret(&client, &other).await.unwrap());
    let life = note(&before, "usher.dev/token-expires-at").duration_since(note(&before, "usher.dev/token-issued-at"));
    assert!((590..=610).contains(&life.as_secs()), "the chart's lifetime: {life}");
    let old = people::kubeconfig(&client, &place).await;

    operator.terminate().await;
    let past = |minutes| (Timestamp::now() - SignedDuration::from_mins(minutes)).to_string();
    let notes = json!({"usher.dev/token-issued-at": past(6), "usher.dev/token-expires-at": (Timestamp::now() + SignedDuration::from_mins(4)).to_string()});
    let api = Api::<Secret>::namespaced(client.clone(), &place);
    let patch = Patch::Merge(json!({"metadata": {"annotations": notes}}));
    let aged = api.patch(people::SECRET, &PatchParams::default(), &patch).await.unwrap();
    let audit = Audit::from_now(&plane);
    operator.restart().await;
    operator.ready().await;
    let renewed = wait_until("the Secret is written anew", SOON, async || {
        let seen = people::secret(&client, &place).await.expect("it is there");
        if seen.resource_version() == aged.resource_version() { Err("not yet") } else { Ok(seen) }
    })
    .await;
    assert!(note(&renewed, "usher.dev/token-issued-at") >= note(&before, "usher.dev/token-issued-at"));
    let new = people::kubeconfig(&client, &place).await;
    assert_ne!(new, old);
    assert_eq!(people::whoami(&new).await, people::whoami(&old).await, "one identity");
    assert!(people::whoami(&new).await.is_ok());

    let tokens = || audit.writes().into_iter().filter(|event| event.subresource == "token").count();
    wait_until("the request is in the log", SOON, async || if tokens() > 0 { Ok(()) } else { Err("not yet") }).await;
    throughout("it is renewed once, and nobody else's", QUIET, async || match tokens() {
        1 => Ok(()),
        more => Err(format!("{more} tokens")),
    })
    .await;
    let now = people::secret(&client, &place).await.unwrap();
    assert_eq!(now.resource_version(), renewed.resource_version());
    assert_eq!(people::secret(&client, &other).await.unwrap().resource_version(), untouched.resource_version());
}

/// A person is served by the marks; nobody needs to restart anything.
#[tokio::test]
async fn a_token_becomes_due_while_the_operator_runs() {
    let shared = crate::support::operated().await;
    let client = &shared.client;
    let person = crate::support::name("ada");
    developer(client, &person, json!({})).await;
    let place = workspace(&client::ready(client, &person).await);
    let before = people::secret(client, &place).await.unwrap();
    // Half of this life is over in two seconds at the latest, and two fifths are not yet.
    let now = Timestamp::now();
    let notes = json!({
        "usher.dev/token-issued-at": (now - SignedDuration::from_secs(38)).to_string(),
        "usher.dev/token-expires-at": (now + SignedDuration::from_secs(62)).to_string(),
    });
    let api = Api::<Secret>::namespaced(client.clone(), &place);
    let patch = Patch::Merge(json!({"metadata": {"annotations": notes}}));
    let aged = api.patch(people::SECRET, &PatchParams::default(), &patch).await.unwrap();
    let renewed = wait_until("the Secret is written anew", SOON, async || {
        let seen = people::secret(client, &place).await.expect("it is there");
        if seen.resource_version() == aged.resource_version() { Err("not yet") } else { Ok(seen) }
    })
    .await;
    assert!(note(&renewed, "usher.dev/token-expires-at") > now + SignedDuration::from_hours(24 * 29), "{renewed:?}");
    assert_ne!(renewed.annotations()["usher.dev/data-digest"], before.annotations()["usher.dev/data-digest"]);
    assert!(people::whoami(&people::kubeconfig(client, &place).await).await.is_ok());
}
