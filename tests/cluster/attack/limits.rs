//! What a Role asks of its Bindings: an end, and a reason.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Siege, allowed, change, create, refused};
use crate::support::{name, wait_until};

const POLICY: &str = "usher-binding-limits";

fn later(hours: f64) -> String {
    let moment = Timestamp::now() + SignedDuration::from_secs_f64(hours * 3_600.0);
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A Role, once admission knows it: its parameters are watched.
async fn role(siege: &Siege, spec: Value) -> String {
    let role = name("role");
    allowed("a Role", create(&siege.client, "Role", &role, spec).await);
    wait_until("admission knows the Role", super::SOON, async || {
        let bare = crate::support::fleet::object("Binding", &name("bind"), &json!({"role": role, "developers": ["nobody"]}));
        match crate::support::client::dry_run(&siege.client, &bare).await {
            Err(_) => Ok(()),
            Ok(_) => Err("not yet"),
        }
    })
    .await;
    role
}

async fn bind(siege: &Siege, role: &str, more: Value) -> Result<kube::api::DynamicObject, kube::Error> {
    let mut spec = json!({"role": role, "developers": ["nobody"]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    create(&siege.client, "Binding", &name("bind"), spec).await
}

#[tokio::test]
async fn a_binding_ends_within_the_max_duration_of_its_role() {
    let siege = Siege::new().await;
    let role = role(&siege, json!({"maxDuration": "8h"})).await;
    refused("no end", bind(&siege, &role, json!({})).await, POLICY);
    refused("a late one", bind(&siege, &role, json!({"expiresAt": later(8.1)})).await, POLICY);
    let made = allowed("in time", bind(&siege, &role, json!({"expiresAt": later(7.9)})).await);
    // From its start, if that is later than its creation.
    allowed("later, as it starts later", bind(&siege, &role, json!({"startsAt": later(24.0), "expiresAt": later(31.9)})).await);
    refused("an early start", bind(&siege, &role, json!({"startsAt": later(-24.0), "expiresAt": later(8.1)})).await, POLICY);
    let bound = made.metadata.name.unwrap();
    refused("longer afterwards", change(&siege.client, "Binding", &bound, json!({"spec": {"expiresAt": later(9.0)}})).await, POLICY);
    refused("without end afterwards", change(&siege.client, "Binding", &bound, json!({"spec": {"expiresAt": null}})).await, POLICY);
    allowed("shorter afterwards", change(&siege.client, "Binding", &bound, json!({"spec": {"expiresAt": later(1.0)}})).await);
}

/// CEL's own durations have neither.
#[tokio::test]
async fn days_and_weeks_and_repeated_units_are_counted() {
    let siege = Siege::new().await;
    for (limit, hours) in [("2d", 48.0), ("1w", 168.0), ("1w1d1h30m30m", 194.0), ("90m", 1.5), ("7200s", 2.0)] {
        let role = role(&siege, json!({"maxDuration": limit})).await;
        allowed(limit, bind(&siege, &role, json!({"expiresAt": later(hours - 0.2)})).await);
        refused(limit, bind(&siege, &role, json!({"expiresAt": later(hours + 0.2)})).await, POLICY);
    }
}

#[tokio::test]
async fn a_role_that_asks_for_a_reason_gets_one() {
    let siege = Siege::new().await;
    let role = role(&siege, json!({"requireReason": true})).await;
    refused("none", bind(&siege, &role, json!({})).await, POLICY);
    refused("an empty one", bind(&siege, &role, json!({"reason": "  "})).await, POLICY);
    let made = allowed("one", bind(&siege, &role, json!({"reason": "on call"})).await);
    let bound = made.metadata.name.unwrap();
    refused("taken away", change(&siege.client, "Binding", &bound, json!({"spec": {"reason": null}})).await, POLICY);
}
