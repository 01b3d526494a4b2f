//! When their time has come accounts are deleted, if the Provider says so; but not those of people who came back.

use serde_json::json;

use crate::support::client::ready;
use crate::support::people::{developer, edit, remove};
use crate::support::{name, operated, wait_until};

use super::{SOON, Service, bind, line, outside, receipt, tells};

/// Long enough to come back on a busy machine.
const DELETE_AFTER: &str = "40s";

#[tokio::test]
async fn accounts_go_when_the_provider_says_so_and_not_after_a_return() {
    let shared = operated().await;
    let client = &shared.client;
    let (deletes, later, retains) = tokio::join!(
        Service::new(client, json!({"onDeparture": {"action": "Delete"}})),
        Service::new(client, json!({"onDeparture": {"action": "Disable", "deleteAfter": DELETE_AFTER}})),
        Service::new(client, json!({"onDeparture": {"action": "Retain"}}))
    );
    let role = outside(client, &[&deletes, &later, &retains]).await;
    let (back, leaver) = (name("ada"), name("bob"));
    bind(client, &role, &[&back, &leaver]).await;
    let number = json!({"personId": name("person")});
    developer(client, &back, number.clone()).await;
    developer(client, &leaver, json!({})).await;
    for person in [&back, &leaver] {
        ready(client, person).await;
        for service in [&deletes, &later, &retains] {
            service.shows(person, true, &["developers"]).await;
        }
    }
    let id = tells(client, &back, &later.provider, "Active").await["id"].clone();
    remove(client, "Developer", &back).await;
    assert_eq!(line(client, &back, &later.provider, "Disabled").await["id"], id);
    developer(client, &back, number).await;
    later.shows(&back, true, &["developers"]).await;

    edit(client, "Developer", &leaver, json!({"state": "Departed"})).await;
    let disabled = line(client, &leaver, &later.provider, "Disabled").await;
    assert!(disabled["deleteAt"].is_string(), "{disabled}");
    receipt(client, &leaver, &deletes.provider, "Gone").await;
    assert!(deletes.user(&leaver).await.is_none());
    let retained = line(client, &leaver, &retains.provider, "Retained").await;
    assert_eq!((&retained["deleteAt"], &retained["credentials"]), (&json!(null), &json!("Revoked")), "{retained}");
    retains.shows(&leaver, false, &[]).await;
    later.shows(&leaver, false, &[]).await;
    // Hers was due before his.
    receipt(client, &leaver, &later.provider, "Gone").await;
    wait_until("his account is deleted", SOON, async || if later.user(&leaver).await.is_none() { Ok(()) } else { Err("it is there") })
        .await;
    assert_eq!(later.user(&back).await.expect("she came back")["id"], id);
    later.shows(&back, true, &["developers"]).await;
    assert!(retains.user(&leaver).await.is_some());
}
