//! A cluster that does not answer keeps nobody waiting elsewhere, and is caught up with when it is back.

use std::time::{Duration, Instant};

use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};

use super::{FULL, NOTHING, PROBES, SHARED, SOON, Several};
use crate::support::access::Questions;
use crate::support::client::{condition, explain, kind, ready};
use crate::support::people::{declare, developer, edit, remove, subject};
use crate::support::{name, wait_until};

/// What is done meanwhile elsewhere takes no longer than it does on a busy machine anyway.
const PROMPT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_cluster_that_hangs_delays_nobody_elsewhere_and_is_caught_up_with() {
    let several = Several::take().await;
    let home = several.home();
    let (role, stays, leaves, comes) = (name("role"), name("ada"), name("bob"), name("eve"));
    several.role(&role).await;
    for person in [&stays, &leaves] {
        developer(home, person, json!({})).await;
    }
    declare(home, "Binding", &role, json!({"role": role, "developers": [stays, leaves, comes]})).await;
    let (ada, bob) = (ready(home, &stays).await, ready(home, &leaves).await);
    several.settle(&ada, FULL).await;
    several.settle(&bob, FULL).await;

    let paused = several.staging().pause();
    let began = Instant::now();
    // Somebody leaves and somebody comes while nobody knows yet that the cluster hangs.
    edit(home, "Developer", &leaves, json!({"state": "Departed"})).await;
    developer(home, &comes, json!({})).await;
    let eve = identified(&several, &comes).await;
    elsewhere(&several, &bob, NOTHING).await;
    elsewhere(&several, &eve, FULL).await;
    let took = began.elapsed();
    println!("elsewhere it took {took:?}");
    assert!(took < PROMPT, "elsewhere it took {took:?}");

    // It says so: the Environment, with how much waits, and whom it concerns.
    let message = several.environment("staging", "Connected", "False", "Unreachable").await;
    assert!(message.contains("API server"), "{message}");
    let api = kind(home, "Environment").await;
    wait_until("it is told how much waits", SOON, async || {
        let pending = api.get("staging").await.map_err(|error| explain(&error))?.data["status"]["summary"]["pending"].clone();
        let some = pending.as_str().is_some_and(|pending| pending.contains('+') && pending != "+0 ~0 -0");
        if some { Ok(()) } else { Err(pending.to_string()) }
    })
    .await;
    for environment in ["dev", "prod"] {
        several.environment(environment, "Ready", "True", "AsPlanned").await;
    }
    unreachable(&several, "Developer", &comes).await;
    let ada = kind(home, "Developer").await.get(&stays).await.unwrap();
    assert_eq!(condition(&ada, "Ready").unwrap()["status"], "True", "she lacks nothing: {}", ada.data["status"]);

    // The receipt owes it, and her deletion does not wait for it.
    let target = owed(&several, &leaves).await;
    assert!(target["lastError"].as_str().is_some_and(|error| error.contains("staging-kubeconfig")), "{target}");
    assert!(target["nextTryAt"].is_string() && target["attempts"].as_i64() > Some(0), "{target}");
    remove(home, "Developer", &leaves).await;

    drop(paused);
    several.environment("staging", "Ready", "True", "AsPlanned").await;
    several.settle(&bob, NOTHING).await;
    several.settle(&eve, FULL).await;
    ready(home, &comes).await;
    wait_until("nothing is owed any more", Duration::from_mins(2), async || {
        let receipt = receipt(&several, &leaves).await?;
        if receipt["state"] == "Complete" { Ok(()) } else { Err(receipt.to_string()) }
    })
    .await;
    for person in [&stays, &comes] {
        edit(home, "Developer", person, json!({"state": "Departed"})).await;
    }
    several.settle(&eve, NOTHING).await;
}

/// A Developer as soon as it is told how the clusters know her.
async fn identified(several: &Several, name: &str) -> DynamicObject {
    let api = kind(several.home(), "Developer").await;
    wait_until("it is told how the clusters know her", SOON, async || {
        let developer = api.get(name).await.map_err(|error| explain(&error))?;
        let known = developer.data["status"]["identities"].as_array().map_or(0, Vec::len);
        if known == 3 { Ok(developer) } else { Err(developer.data["status"].to_string()) }
    })
    .await
}

/// What somebody may do in the clusters that answer.
pub(super) async fn elsewhere(several: &Several, developer: &DynamicObject, expected: [&[&str]; 3]) {
    let questions = Questions::new(&[("she", subject(developer))], &[SHARED], &PROBES);
    for at in [0, 2] {
        questions.settle(&several.clients[at], SOON, &questions.cells(&["she"], &[SHARED], expected[at])).await;
    }
}

pub(super) async fn unreachable(several: &Several, kind_name: &str, name: &str) {
    let api = kind(several.home(), kind_name).await;
    wait_until(&format!("{kind_name} {name} says that something waits"), SOON, async || {
        let object = api.get(name).await.map_err(|error| explain(&error))?;
        let ready = condition(&object, "Ready").cloned().unwrap_or_default();
        if ready["reason"] == "Unreachable" { Ok(()) } else { Err(object.data["status"].to_string()) }
    })
    .await;
}

async fn receipt(several: &Several, person: &str) -> Result<Value, String> {
    let api = kind(several.home(), "Departure").await;
    let all = api.list(&ListParams::default().fields(&format!("spec.developer.name={person}"))).await.map_err(|error| explain(&error))?;
    Ok(all.items.into_iter().next().ok_or("no receipt")?.data["status"].clone())
}

/// The line of staging on a receipt, as soon as it says that something is owed there, and that the others are in order.
async fn owed(several: &Several, person: &str) -> Value {
    wait_until("the receipt owes something to staging, and to nobody else", SOON, async || {
        let status = receipt(several, person).await?;
        let line = |name: &str| {
            let targets = status["targets"].as_array().into_iter().flatten();
            targets.into_iter().find(|target| target["target"] == format!("environment/{name}")).cloned().unwrap_or_default()
        };
        let others = line("dev")["state"] == "Retained" && line("prod")["state"] == "Gone";
        if line("staging")["state"] == "Unreachable" && others && status["state"] == "Incomplete" {
            Ok(line("staging"))
        } else {
            Err(status.to_string())
        }
    })
    .await
}
