//! Each write that an edit needs is made, once, and no other: read from the audit log, object by object (DESIGN.md, promise 6).
//!
//! `at_rest` counts an onboarding, an edit of rules, rest and restarts.

use std::time::Duration;

use kube::api::DynamicObject;
use serde_json::json;

use crate::at_rest::{House, assert_once, show, stored};
use crate::support::audit::{Audit, Event, lines};
use crate::support::client::{self, kind};
use crate::support::fleet::{Fleet, list};
use crate::support::people::{edit, reaches};
use crate::support::wait_until;

const SOON: Duration = Duration::from_mins(1);
const CALM: Duration = Duration::from_secs(5);
/// The most that a receipt tells until it is complete: what it looks at next is told, too.
const MOST_TOLD: usize = 8;

/// Fails if anything else was written, or more often.
#[track_caller]
fn assert_counts(what: &str, writes: &[Event], expected: &[(&str, usize)]) {
    show(what, writes);
    let expected = expected.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect();
    assert_eq!(stored(writes), expected, "{what}:{}", lines(writes));
    assert_once(writes);
}

#[tokio::test]
async fn every_write_of_a_departure_is_made_once() {
    let house = House::new(6).await;
    let departures = kind(&house.client, "Departure").await;
    let writes = house
        .writes_of(async {
            edit(&house.client, "Developer", "p00", json!({"state": "Departed"})).await;
            wait_until("the receipt is complete", SOON, async || {
                let states: Vec<_> = list::<DynamicObject>(departures.clone()).await.into_iter().map(|it| it.data).collect();
                if states.iter().any(|it| it["status"]["state"] == "Complete") { Ok(()) } else { Err(json!(states)) }
            })
            .await;
        })
        .await;
    // The ServiceAccount default of her workspace comes back by itself, and goes again as long as she might have had a token of it; a receipt tells how far it is.
    let repeats =
        |event: &Event| (event.namespace == "dev-p00" && event.name == "default") || event.target() == "departures/status.usher.dev";
    let (repeated, writes): (Vec<Event>, Vec<Event>) = writes.into_iter().partition(repeats);
    let told = repeated.iter().filter(|event| event.resource == "departures").count();
    assert!((2..=MOST_TOLD).contains(&told) && repeated.len() > told, "{}", lines(&repeated));
    let expected = [
        // Out of the shared bindings and of her own; her identity, her credentials and the letter; what her workspace lets others do; and when it goes.
        ("update rolebindings.rbac.authorization.k8s.io", 12),
        ("update clusterrolebindings.rbac.authorization.k8s.io", 1),
        ("delete rolebindings.rbac.authorization.k8s.io", 1),
        ("delete serviceaccounts", 1),
        ("delete secrets", 1),
        ("delete configmaps", 1),
        ("update networkpolicies.networking.k8s.io", 1),
        ("patch namespaces", 1),
        // The record, and what is said of her, her Roles and their Bindings.
        ("create departures.usher.dev", 1),
        ("patch grants.usher.dev", 3),
        ("patch developers/status.usher.dev", 1),
        ("patch roles/status.usher.dev", 3),
        ("patch bindings/status.usher.dev", 3),
    ];
    assert_counts("a departure of somebody with three Roles", &writes, &expected);
    house.plane.stop().await;
}

#[tokio::test]
async fn moving_a_role_is_a_binding_made_and_one_removed_in_each_namespace() {
    let house = House::new(6).await;
    let writes = house
        .writes_of(async {
            let access = json!([{"name": "look", "environments": ["*"], "clusterRoles": ["edit"]}]);
            edit(&house.client, "Role", "viewer", json!({"access": access})).await;
        })
        .await;
    let expected = [
        ("create rolebindings.rbac.authorization.k8s.io", 6),
        ("delete rolebindings.rbac.authorization.k8s.io", 6),
        ("patch roles/status.usher.dev", 1),
        ("create controllerrevisions.apps", 1),
    ];
    assert_counts("a Role moved to another ClusterRole", &writes, &expected);
    house.plane.stop().await;
}

#[tokio::test]
async fn every_write_of_a_suspension_and_of_a_return_is_made_once() {
    let house = House::new(6).await;
    let away = house
        .writes_of(async {
            edit(&house.client, "Developer", "p00", json!({"state": "Suspended"})).await;
            reaches(&house.client, "Developer", "p00", "/status/state", "Suspended").await;
        })
        .await;
    let expected = [
        ("update rolebindings.rbac.authorization.k8s.io", 12),
        ("update clusterrolebindings.rbac.authorization.k8s.io", 1),
        ("delete rolebindings.rbac.authorization.k8s.io", 1),
        ("delete serviceaccounts", 1),
        ("delete secrets", 1),
        ("delete configmaps", 1),
        ("patch grants.usher.dev", 3),
        ("patch developers/status.usher.dev", 1),
        ("patch roles/status.usher.dev", 3),
        ("patch bindings/status.usher.dev", 3),
    ];
    assert_counts("a suspension of somebody with three Roles", &away, &expected);
    let back = house
        .writes_of(async {
            edit(&house.client, "Developer", "p00", json!({"state": "Active"})).await;
            client::ready(&house.client, "p00").await;
        })
        .await;
    let expected = [
        ("create serviceaccounts", 1),
        ("create serviceaccounts/token", 1),
        ("patch secrets", 1),
        ("patch configmaps", 1),
        ("create rolebindings.rbac.authorization.k8s.io", 1),
        ("update rolebindings.rbac.authorization.k8s.io", 12),
        ("update clusterrolebindings.rbac.authorization.k8s.io", 1),
        ("create grants.usher.dev", 3),
        ("patch developers/status.usher.dev", 1),
        ("patch roles/status.usher.dev", 3),
        ("patch bindings/status.usher.dev", 3),
    ];
    assert_counts("her return", &back, &expected);
    house.plane.stop().await;
}

/// What kubectl applies with a note of its own, again and again, and labels of others on what usher made.
#[tokio::test]
async fn applying_the_same_and_labels_that_matter_to_nobody_are_not_answered() {
    let house = House::new(3).await;
    let everything: Vec<_> = Fleet::KINDS.iter().flat_map(|kind| house.fleet.manifests(kind)).map(|object| json!(object)).collect();
    let manifests = json!({"apiVersion": "v1", "kind": "List", "items": everything}).to_string();
    let audit = Audit::from_now(&house.plane);
    for _ in 0..2 {
        house.plane.kubectl_with(&["apply", "-f", "-"], &manifests).await.ok();
    }
    house.still_silent(&audit, "what is there is applied again", CALM).await;

    let audit = Audit::from_now(&house.plane);
    for (kind, place) in [
        ("namespace", None),
        ("clusterrole", None),
        ("serviceaccount", Some("usher-identities")),
        ("rolebinding", Some("shop-dev")),
        ("rolebinding", Some("dev-p00")),
        ("secret", Some("dev-p00")),
        ("configmap", Some("dev-p00")),
        ("resourcequota", Some("dev-p00")),
        ("networkpolicy", Some("dev-p00")),
    ] {
        let place: Vec<&str> = place.into_iter().flat_map(|place| ["--namespace", place]).collect();
        let command = ["label", kind, "--selector=app.kubernetes.io/managed-by=usher", "weather=fine"];
        house.plane.kubectl(&[&command[..], &place].concat()).await.ok();
    }
    house.still_silent(&audit, "what usher made gets a label", CALM).await;
    house.fleet.exact(&house.client).await;
    house.plane.stop().await;
}
