//! Locks: set by many, lifted by few.

use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Siege, allowed, change, create, delete, refused, rule};
use crate::support::client::kind;
use crate::support::name;
use crate::support::people::reaches;

const POLICY: &str = "usher-locks";

/// A Lock for somebody who does not exist, and who is set by a responder.
async fn lock(siege: &Siege, more: Value) -> (kube::Client, String) {
    let (_, responder) = siege.somebody(&["usher-responder"], &[]).await;
    let lock = name("lock");
    let mut spec = json!({"developer": "nobody", "reason": "SEC-91 laptop stolen"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    allowed("a Lock by a responder", create(&responder, "Lock", &lock, spec).await);
    (responder, lock)
}

#[tokio::test]
async fn a_lock_is_lifted_or_weakened_only_with_the_verb_lift() {
    let siege = Siege::new().await;
    let (responder, lock) = lock(&siege, json!({"until": "2099-01-01T00:00:00Z"})).await;
    let spec = |spec: Value| json!({"spec": spec});
    for weaker in [
        json!({"lifted": true}),
        json!({"until": "2098-01-01T00:00:00Z"}),
        json!({"until": "2099-01-01T00:00:00+01:00"}),
        json!({"developer": "somebody"}),
        json!({"revokeCredentials": false}),
    ] {
        refused(&weaker.to_string(), change(&responder, "Lock", &lock, spec(weaker.clone())).await, POLICY);
    }
    allowed("a later end", change(&responder, "Lock", &lock, spec(json!({"until": "2099-06-01T00:00:00Z"}))).await);
    allowed("no end", change(&responder, "Lock", &lock, spec(json!({"until": null}))).await);
    refused("an end where there was none", change(&responder, "Lock", &lock, spec(json!({"until": "2100-01-01T00:00:00Z"}))).await, POLICY);
    allowed("another reason", change(&responder, "Lock", &lock, spec(json!({"reason": "SEC-92"}))).await);
    let (_, lifter) = siege.somebody(&["usher-responder"], &[rule("usher.dev", "locks", &[&lock], &["lift"])]).await;
    allowed("lifted", change(&lifter, "Lock", &lock, spec(json!({"lifted": true}))).await);
    allowed("and set again by a responder", change(&responder, "Lock", &lock, spec(json!({"lifted": false}))).await);
}

#[tokio::test]
async fn a_lock_that_holds_is_deleted_by_nobody() {
    let siege = Siege::new().await;
    let (responder, lock) = lock(&siege, json!({})).await;
    refused("by a responder", delete(&responder, "Lock", &lock).await, "cannot delete");
    let (_, deleter) = siege.somebody(&["usher-responder"], &[rule("usher.dev", "locks", &[], &["delete", "lift"])]).await;
    refused("by whoever may lift it", delete(&deleter, "Lock", &lock).await, POLICY);
    refused("by an administrator", delete(&siege.client, "Lock", &lock).await, POLICY);
    allowed("lifted", change(&deleter, "Lock", &lock, json!({"spec": {"lifted": true}})).await);
    allowed("and then deleted", delete(&deleter, "Lock", &lock).await);
}

/// Only usher knows the time: admission has no clock.
#[tokio::test]
async fn a_lock_whose_time_usher_says_is_over_can_be_deleted() {
    let siege = Siege::new().await;
    let soon = (Timestamp::now() + SignedDuration::from_secs(5)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (_, lock) = lock(&siege, json!({"until": soon})).await;
    let lifted = Patch::Merge(json!({"status": {"state": "Lifted"}}));
    let answer = kind(&siege.client, "Lock").await.patch_status(&lock, &PatchParams::default(), &lifted).await;
    refused("saying so oneself", answer, "usher-record");
    refused("before that", delete(&siege.client, "Lock", &lock).await, POLICY);
    reaches(&siege.client, "Lock", &lock, "/status/state", "Lifted").await;
    allowed("deleted", delete(&siege.client, "Lock", &lock).await);
}

/// Sets Locks, nothing else.
#[tokio::test]
async fn a_responder_writes_nothing_but_locks() {
    let siege = Siege::new().await;
    let (_, responder) = siege.somebody(&["usher-responder"], &[]).await;
    refused("a Developer", create(&responder, "Developer", &name("dev"), json!({"email": "a@example.com"})).await, "cannot create");
    refused("a Binding", create(&responder, "Binding", &name("bind"), json!({"role": "a", "developers": ["b"]})).await, "cannot create");
    refused("a Role", create(&responder, "Role", &name("role"), json!({})).await, "cannot create");
}
