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

/// She comes back while it is just being carried out that she is locked out: that ends first, and then she is let in.
#[tokio::test]
async fn who_comes_back_while_she_is_locked_out_is_let_in() {
    let shared = operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({"verifyEvery": "24h"})).await;
    let role = outside(client, &[&service]).await;
    let person = name("ada");
    let number = json!({"personId": name("person")});
    bind(client, &role, &[&person]).await;
    developer(client, &person, number.clone()).await;
    ready(client, &person).await;
    service.shows(&person, true, &["developers"]).await;
    proxy.forget();
    let locks_out = |asked: &super::proxy::Asked| asked.changes() && String::from_utf8_lossy(&asked.body).contains("\"active\"");
    proxy.hold(locks_out);
    remove(client, "Developer", &person).await;
    wait_until("she is being locked out", SOON, async || if proxy.asked().iter().any(locks_out) { Ok(()) } else { Err("no") }).await;
    developer(client, &person, number).await;
    proxy.let_go();
    wait_until("she is told to be in", SOON, async || {
        let account = super::told(client, &person, &service.provider).await;
        let user = service.user(&person).await;
        let right = account["state"] == "Active" && user.as_ref().is_some_and(|user| user["active"] == true);
        if right { Ok(()) } else { Err(format!("{account} {user:?}")) }
    })
    .await;
    service.shows(&person, true, &["developers"]).await;
    ready(client, &person).await;
}
