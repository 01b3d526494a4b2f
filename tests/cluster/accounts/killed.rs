//! The operator is killed in the midst of making accounts, and Locks cannot be read for a while: nothing is made twice, and nobody is forgotten.

use std::collections::BTreeSet;

use kube::api::ListParams;
use serde_json::{Value, json};

use crate::support::client::kind;
use crate::support::people::{declare, developer, reaches};
use crate::support::{name, wait_until};

use super::{ALONE, Alone, SOON, Service, bind, home, outside, tells};

const PEOPLE: usize = 30;

#[tokio::test]
async fn killed_while_it_makes_accounts_it_makes_each_once_and_forgets_nobody() {
    let Alone { plane, client, install, mut operator } = Alone::start().await;
    let client = &client;
    home(client).await;
    let (service, proxy) = Service::behind_proxy(client, json!({"verifyEvery": "24h"})).await;
    let role = outside(client, &[&service]).await;
    let people: Vec<String> = (0..PEOPLE).map(|_| name("ada")).collect();
    bind(client, &role, &people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for person in &people {
        developer(client, person, json!({})).await;
    }
    let makes = |asked: &super::proxy::Asked| asked.method == http::Method::POST && asked.path.ends_with("/Users");
    wait_until("it is at work", SOON, async || match proxy.asked().iter().filter(|asked| makes(asked)).count() {
        0..5 => Err("no"),
        _ => Ok(()),
    })
    .await;
    operator.restart().await;
    operator.ready().await;
    for person in &people {
        tells(client, person, &service.provider, "Active").await;
    }
    let users = service.resources("Users").await;
    let names: BTreeSet<&str> = users.iter().filter_map(|user| user["userName"].as_str()).collect();
    assert_eq!((users.len(), names), (PEOPLE, people.iter().map(String::as_str).collect()), "each exactly once");
    for person in &people {
        service.shows(person, true, &["developers"]).await;
    }

    // Somebody comes while Locks cannot be read. Where there are some their going is an event.
    declare(client, "Lock", "stolen", json!({"developer": "cyd", "reason": "SEC-91 laptop stolen"})).await;
    reaches(client, "Lock", "stolen", "/status/state", "Applied").await;
    plane.kubectl(&["annotate", "crd", "locks.usher.dev", "usher.dev/allow-deletion=true"]).await.ok();
    plane.kubectl(&["delete", "crd", "locks.usher.dev", "--wait=true", "--timeout=60s"]).await.ok();
    let comes = name("bob");
    bind(client, &role, &[&comes]).await;
    developer(client, &comes, json!({})).await;
    wait_until("it is told that nothing is added", SOON, async || {
        let list = kind(client, "Developer").await.list(&ListParams::default()).await.expect("people");
        let hers = list.items.into_iter().find(|it| it.metadata.name.as_ref() == Some(&comes)).expect("a Developer");
        let conditions: Vec<Value> = hers.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if conditions.iter().any(|it| it["reason"] == "LocksUnreadable") { Ok(()) } else { Err(format!("{conditions:?}")) }
    })
    .await;
    assert!(service.user(&comes).await.is_none());
    install.upgrade("charts/usher".as_ref(), &ALONE).await.ok();
    tells(client, &comes, &service.provider, "Active").await;
    service.shows(&comes, true, &["developers"]).await;
}
