//! The audit record and every status: the operator's to write, and nobody's to delete before its time.

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};

use super::{Siege, allowed, annotate, change, create, delete, refused, rule};
use crate::support::client::{explain, kind};
use crate::support::{name, wait_until};

const POLICY: &str = "usher-record";
const SINCE: &str = "2026-01-01T00:00:00Z";

fn grant() -> Value {
    json!({"developer": {"name": "ada", "uid": "u"}, "role": "backend", "roleRevision": 1, "grantedBy": "x", "since": SINCE, "state": "Active",
        "summary": {"targets": "", "via": "", "until": ""}})
}

fn departure() -> Value {
    json!({"developer": {"name": "ada", "uid": "u"}, "requestedBy": "x", "requestedAt": SINCE})
}

/// One of each kind of record, and somebody who may write them all as far as RBAC is asked.
struct Archive {
    siege: Siege,
    client: Client,
    grant: String,
    departure: String,
    scorecard: String,
}

impl Archive {
    async fn new(more: &[Value]) -> Self {
        let siege = Siege::new().await;
        let [grant_name, departure_name, scorecard] = ["grant", "departure", "scorecard"].map(name);
        let operator = siege.unbound_operator().await;
        allowed("a Grant of usher's", create(&operator, "Grant", &grant_name, grant()).await);
        allowed("a Departure of usher's", create(&operator, "Departure", &departure_name, departure()).await);
        allowed("a Scorecard of usher's", create(&operator, "Scorecard", &scorecard, json!({"team": scorecard})).await);
        let verbs = ["get", "list", "create", "update", "patch", "delete", "deletecollection"];
        let writes = ["grants", "departures", "scorecards", "developers/status", "departures/status", "scorecards/status"]
            .map(|resource| rule("usher.dev", resource, &[], &verbs));
        let (_, client) = siege.somebody(&["usher-binder"], &[&writes, more].concat()).await;
        Self { siege, client, grant: grant_name, departure: departure_name, scorecard }
    }
}

#[tokio::test]
async fn grants_and_departures_are_neither_made_nor_changed_by_hand() {
    let archive = Archive::new(&[]).await;
    for client in [&archive.client, &archive.siege.client] {
        refused("a Grant", create(client, "Grant", &name("grant"), grant()).await, POLICY);
        refused("a Departure", create(client, "Departure", &name("departure"), departure()).await, POLICY);
        refused("a Scorecard", create(client, "Scorecard", &name("scorecard"), json!({})).await, POLICY);
        refused("whom it is about", change(client, "Scorecard", &archive.scorecard, json!({"spec": {"team": "eve"}})).await, POLICY);
        refused("its window", change(client, "Scorecard", &archive.scorecard, json!({"spec": {"window": "1d"}})).await, POLICY);
        for (of, object) in [("Grant", &archive.grant), ("Departure", &archive.departure)] {
            refused("its spec", change(client, of, object, json!({"spec": {"developer": {"name": "eve"}}})).await, POLICY);
            refused(
                "its labels",
                change(client, of, object, json!({"metadata": {"labels": {"usher.dev/developer": "eve"}}})).await,
                POLICY,
            );
            refused("its notes", change(client, of, object, json!({"metadata": {"annotations": {"note": "x"}}})).await, POLICY);
            refused("a finalizer", change(client, of, object, json!({"metadata": {"finalizers": ["example.com/x"]}})).await, POLICY);
        }
        refused("a waiver on a Grant", annotate(client, "Grant", &archive.grant, "waive", Some("a=b")).await, POLICY);
    }
}

#[tokio::test]
async fn a_status_is_written_by_usher_alone() {
    let archive = Archive::new(&[]).await;
    let person = name("dev");
    allowed("somebody", create(&archive.client, "Developer", &person, json!({"email": "a@example.com"})).await);
    let departed = Patch::Merge(json!({"status": {"state": "Departed"}}));
    for client in [&archive.client, &archive.siege.client] {
        let answer = kind(client, "Developer").await.patch_status(&person, &PatchParams::default(), &departed).await;
        refused("saying that she has departed", answer, POLICY);
        let complete = Patch::Merge(json!({"status": {"state": "Complete"}}));
        let answer = kind(client, "Departure").await.patch_status(&archive.departure, &PatchParams::default(), &complete).await;
        refused("completing a Departure", answer, POLICY);
        let perfect = Patch::Merge(json!({"status": {"consistency": {"value": "100%"}}}));
        let answer = kind(client, "Scorecard").await.patch_status(&archive.scorecard, &PatchParams::default(), &perfect).await;
        refused("figures that usher did not find", answer, POLICY);
    }
    // A status that is sent along is not stored.
    let sent = allowed("sent along", change(&archive.client, "Developer", &person, json!({"status": {"state": "Departed"}})).await);
    assert_ne!(sent.data["status"]["state"], "Departed");
}

#[tokio::test]
async fn the_record_is_deleted_only_with_the_verb_purge() {
    let archive = Archive::new(&[]).await;
    for (of, object) in [("Grant", &archive.grant), ("Departure", &archive.departure), ("Scorecard", &archive.scorecard)] {
        refused("one", delete(&archive.client, of, object).await, POLICY);
        let all: Api<DynamicObject> = kind(&archive.client, of).await;
        let selected = ListParams::default().fields(&format!("metadata.name={object}"));
        refused("a collection", all.delete_collection(&DeleteParams::default(), &selected).await.map(drop), POLICY);
    }
    let right = rule("usher.dev", "grants", &[&archive.grant], &["purge", "delete"]);
    let (_, purger) = archive.siege.somebody(&[], &[right, rule("usher.dev", "departures", &[], &["delete"])]).await;
    refused("a Departure by whoever may purge Grants", delete(&purger, "Departure", &archive.departure).await, POLICY);
    allowed("her Grant", delete(&purger, "Grant", &archive.grant).await);
}

/// A policy on the garbage collector's writes would leave such a deletion hanging for ever.
#[tokio::test]
async fn foreground_deletion_of_a_record_ends() {
    let archive = Archive::new(&[]).await;
    let parameters = DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    let departures = kind(&archive.siege.client, "Departure").await;
    departures.delete(&archive.departure, &parameters).await.unwrap();
    wait_until("the Departure is gone", super::SOON, async || match departures.get_opt(&archive.departure).await {
        Ok(None) => Ok(()),
        Ok(Some(object)) => Err(format!("{:?}", object.metadata)),
        Err(error) => Err(explain(&error)),
    })
    .await;
}

#[tokio::test]
async fn a_leftover_is_waived_only_with_the_verb_waive_and_a_brake_released_only_with_release() {
    let archive = Archive::new(&[]).await;
    for mark in ["waive", "release"] {
        refused(mark, annotate(&archive.client, "Departure", &archive.departure, mark, Some("a=b")).await, POLICY);
        let right = rule("usher.dev", "departures", &[&archive.departure], &["patch", mark]);
        let (_, client) = archive.siege.somebody(&["usher-viewer"], &[right]).await;
        let other = if mark == "waive" { "release" } else { "waive" };
        refused(other, annotate(&client, "Departure", &archive.departure, other, Some("y=z")).await, POLICY);
        allowed(mark, annotate(&client, "Departure", &archive.departure, mark, Some("a=b")).await);
        let more = json!({"metadata": {"annotations": {format!("usher.dev/{mark}"): "c=d"}}, "spec": {"requestedBy": "eve"}});
        refused("more along with it", change(&client, "Departure", &archive.departure, more).await, POLICY);
    }
    // Whoever runs usher may do both, and still not rewrite or purge.
    let (_, admin) = archive.siege.somebody(&["usher-admin"], &[]).await;
    allowed("by usher-admin", annotate(&admin, "Departure", &archive.departure, "waive", Some("e=f")).await);
    refused("deleting by usher-admin", delete(&admin, "Departure", &archive.departure).await, "cannot delete");
}
