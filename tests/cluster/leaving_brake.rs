//! Many who leave at once lose access at once, but not their data before somebody says that it was meant (DESIGN.md, promise 3).

use std::time::Duration;

use futures::future::join_all;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use usher::api::Departure;

use crate::support::access::{Subject, can};
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::{declare, developer, edit, namespace, subject, workspace};
use crate::support::{AuditLevel, ControlPlane, client, throughout, wait_until};

const SOON: Duration = Duration::from_mins(1);

async fn receipt(client: &Client, person: &str) -> Option<Departure> {
    let api = Api::<Departure>::all(client.clone());
    let list = api.list(&ListParams::default().fields(&format!("spec.developer.name={person}"))).await.unwrap();
    list.items.into_iter().next()
}

/// Waits until all these receipts name one and the same batch, and gives its digest.
async fn held(client: &Client, people: &[&str]) -> String {
    wait_until("all of them are held as one batch", SOON, async || {
        let mut digests = Vec::new();
        for person in people {
            let status = receipt(client, person).await.and_then(|it| it.status).unwrap_or_default();
            let complete = status.conditions.iter().find(|it| it.type_ == "Complete").map(|it| (it.status.clone(), it.reason.clone()));
            if complete != Some(("False".to_owned(), "Braked".to_owned())) {
                return Err(format!("{person}: {status:?}"));
            }
            digests.extend(status.brake.filter(|brake| usize::try_from(brake.removals) == Ok(people.len())).map(|brake| brake.digest));
        }
        digests.dedup();
        if let [digest] = digests.as_slice() { Ok(digest.clone()) } else { Err(format!("{digests:?}")) }
    })
    .await
}

async fn release(client: &Client, person: &str, word: &str) {
    let name = receipt(client, person).await.unwrap().metadata.name.unwrap();
    let patch = json!({"metadata": {"annotations": {"usher.dev/release": word}}});
    Api::<Departure>::all(client.clone()).patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// Waits until a figure of everybody has a value.
async fn reaches_number(client: &Client, field: &str, value: i64) {
    let api = client::kind(client, "Scorecard").await;
    wait_until(&format!("{field} is {value}"), SOON, async || {
        let object = api.get("all").await.map_err(|error| client::explain(&error))?;
        if object.data.pointer(field) == Some(&json!(value)) { Ok(()) } else { Err(object.data["status"].to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_is_too_large_loses_access_at_once_and_data_when_it_is_released() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let more = ["environments.default=false", "starterRoles=false", "offboarding.brake.maxRemovals=2"];
    let install = Install::new(&plane, &[&more[..], &PATIENT[..]].concat()).await;
    let operator = Operator::start(&install).await;
    operator.ready().await;
    // Long enough for the last of a batch to be seen before the workspace of the first may go.
    let template = json!({"onDeparture": {"action": "Delete", "deleteAfter": "10s"}});
    declare(&client, "Environment", "dev", json!({"home": true, "workspace": template})).await;
    let people = ["ada", "bob", "cyd", "dan"];
    let mut places: Vec<(Subject, String)> = Vec::new();
    for person in people {
        developer(&client, person, json!({})).await;
        let ready = client::ready(&client, person).await;
        places.push((subject(&ready), workspace(&ready)));
    }
    let batch = ["ada", "bob", "cyd"];
    join_all(batch.iter().map(|person| edit(&client, "Developer", person, json!({"state": "Departed"})))).await;
    wait_until("they have nothing", SOON, async || {
        for (subject, workspace) in &places[..3] {
            if can(&client, subject, "get", "pods", Some(workspace)).await {
                return Err(format!("{subject:?} may"));
            }
        }
        Ok(())
    })
    .await;
    let first = held(&client, &batch).await;
    release(&client, "ada", "sha256:0").await;
    throughout("their workspaces stay beyond their date", Duration::from_secs(15), async || {
        for (_, workspace) in &places[..3] {
            if namespace(&client, workspace).await.is_none_or(|it| it.metadata.deletion_timestamp.is_some()) {
                return Err(format!("{workspace} goes"));
            }
        }
        Ok(())
    })
    .await;

    // A fourth makes it another batch, for which the word of the first is none.
    edit(&client, "Developer", "dan", json!({"state": "Departed"})).await;
    let grown = held(&client, &people).await;
    assert_ne!(grown, first);
    release(&client, "bob", &first).await;
    held(&client, &people).await;
    release(&client, "bob", &grown).await;
    for (_, workspace) in &places {
        wait_until(&format!("{workspace} goes, as it was meant"), SOON, async || {
            if namespace(&client, workspace).await.is_none() { Ok(()) } else { Err("it is there") }
        })
        .await;
    }
    wait_until("the receipts are complete", SOON, async || {
        for person in people {
            let status = receipt(&client, person).await.and_then(|it| it.status).unwrap_or_default();
            if !status.conditions.iter().any(|it| it.type_ == "Complete" && it.status == "True") || status.brake.is_some() {
                return Err(format!("{person}: {status:?}"));
            }
        }
        Ok(())
    })
    .await;
    // It was one word that let them through.
    reaches_number(&client, "/status/manualTouchpoints/byKind/release", 1).await;
    drop(operator);
    plane.stop().await;
}
