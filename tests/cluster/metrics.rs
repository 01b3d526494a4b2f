//! What is measured of accounts in outside systems, as a scrape reads it (docs/metrics.md).

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::support::people::{Stage, declare, developer, edit, reaches, remove};
use crate::support::systems::System;
use crate::support::{Shared, name, operated, wait_until};

const SOON: Duration = Duration::from_mins(1);

/// Declares a SCIM server as a Provider, and a Role that gives an account there.
async fn declared(client: &Client, stage: &Stage, system: &System) -> (String, String) {
    let (provider, role) = (name("scim"), name("role"));
    let ca = std::fs::read_to_string(system.ca_file()).expect("a certificate");
    let values = json!({"token": system.env("TOKEN"), "ca.crt": ca});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": provider}, "stringData": values});
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "usher-system");
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).expect("a Secret")).await.expect("made");
    let scim = json!({
        "url": format!("{}/{provider}/v2", system.env("URL")), "disablingRevokes": true,
        "credentialsSecret": {"name": provider, "key": "token"}, "caSecret": {"name": provider, "key": "ca.crt"},
    });
    declare(client, "Provider", &provider, json!({"scim": scim, "requestsPerSecond": 200})).await;
    let entry = json!({"name": "work", "environments": [stage.environment], "clusterRoles": ["view"]});
    declare(client, "Role", &role, json!({"access": [entry], "accounts": [{"provider": provider}]})).await;
    (provider, role)
}

/// The value of a series, by its name and one after another what else its labels say.
async fn measured(shared: &Shared, series: &str, labels: &[&str]) -> Option<f64> {
    let (_, text) = shared.all.operator.get("/metrics").await.unwrap_or_default();
    let its = |line: &&str| line.starts_with(series) && labels.iter().all(|label| line.contains(label));
    text.lines().find(its)?.rsplit(' ').next()?.parse().ok()
}

/// Waits until a series has a value of some sort.
pub async fn becomes(shared: &Shared, series: &str, labels: &[&str], right: impl Fn(f64) -> bool) -> f64 {
    wait_until(&format!("{series} {labels:?} is right"), SOON, async || match measured(shared, series, labels).await {
        Some(value) if right(value) => Ok(value),
        other => Err(format!("{other:?}")),
    })
    .await
}

#[tokio::test]
async fn a_desk_is_measured_while_its_system_hangs_and_is_forgotten_with_its_provider() {
    let shared = operated().await;
    let client = shared.client.clone();
    let stage = Stage::new(&client).await;
    let system = System::start("scim").await;
    let (provider, role) = declared(&client, &stage, &system).await;
    let at = format!("provider=\"{provider}\"");
    let person = name("ada");
    stage.binding(&role, &person).await;
    let before = measured(&shared, "usher_time_to_accounts_seconds_count", &[]).await.unwrap_or_default();
    developer(&client, &person, json!({})).await;
    reaches(&client, "Developer", &person, "/status/accounts/0/state", "Active").await;
    becomes(&shared, "usher_time_to_accounts_seconds_count", &[], |count| count > before).await;
    // A look at everybody, one for her, one that makes it, one that sees it: none of them is only thought of.
    let calls = [at.as_str(), "outcome=\"Answered\""];
    becomes(&shared, "usher_provider_calls_total", &calls, |calls| calls >= 4.0).await;
    let length = "usher_account_queue_length";
    let age = "usher_account_queue_oldest_seconds";
    let lane = [at.as_str(), "lane=\"departure\""];
    becomes(&shared, length, &lane, |waiting| waiting == 0.0).await;

    system.pause();
    edit(&client, "Developer", &person, json!({"state": "Departed"})).await;
    becomes(&shared, "usher_provider_calls_total", &[&at, "outcome=\"Unreachable\""], |calls| calls >= 1.0).await;
    becomes(&shared, length, &lane, |waiting| waiting >= 1.0).await;
    let first = becomes(&shared, age, &lane, |seconds| seconds > 0.0).await;
    // Nothing happens at that desk meanwhile, and the age grows all the same.
    becomes(&shared, age, &lane, |seconds| seconds > first + 1.0).await;

    system.resume();
    becomes(&shared, length, &lane, |waiting| waiting == 0.0).await;
    remove(&client, "Provider", &provider).await;
    wait_until("nothing is told of a Provider that is gone", SOON, async || {
        let (_, text) = shared.all.operator.get("/metrics").await.unwrap_or_default();
        let left: Vec<&str> = text.lines().filter(|line| line.contains(&at)).collect();
        if left.is_empty() && !text.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    })
    .await;
}
