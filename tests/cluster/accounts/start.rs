//! A start of the operator, and kinds of usher's that go: neither changes anything at a system (DESIGN.md, promises 6 and 9).

use futures::future::join_all;
use kube::api::ListParams;
use serde_json::json;

use crate::support::audit::{Audit, lines};
use crate::support::client::{kind, ready};
use crate::support::people::{declare, developer, edit, remove};
use crate::support::{name, wait_until};

use super::{ALONE, Alone, SOON, Service, bind, home, outside, receipt, tells};

/// How many have accounts: one question for each of them would be far more than [`ENOUGH`].
const PEOPLE: usize = 16;
/// What a start may ask the system: what it can do, marks, groups, one page of users; and twice about whoever is in conflict.
pub const ENOUGH: usize = 16;

#[tokio::test]
async fn neither_a_start_nor_kinds_that_go_change_any_account() {
    let Alone { plane, client, install, mut operator } = Alone::start().await;
    let client = &client;
    home(client).await;
    let (service, proxy) = Service::behind_proxy(client, json!({"verifyEvery": "24h"})).await;
    let role = outside(client, &[&service]).await;
    let people: Vec<String> = (0..PEOPLE).map(|_| name("ada")).collect();
    bind(client, &role, &people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (conflict, others) = people.split_first().expect("people");
    service.stranger(conflict, "somebody@elsewhere.example").await;
    developer(client, conflict, json!({})).await;
    for person in others {
        developer(client, person, json!({})).await;
    }
    for person in others {
        tells(client, person, &service.provider, "Active").await;
        ready(client, person).await;
    }
    tells(client, conflict, &service.provider, "Conflict").await;
    // Some were locked out long ago, with and without a Developer.
    for person in others.iter().take(6) {
        edit(client, "Developer", person, json!({"state": "Departed"})).await;
    }
    for person in others.iter().take(6) {
        receipt(client, person, &service.provider, "Disabled").await;
        wait_until("her receipt is complete", SOON, async || {
            let departures = kind(client, "Departure").await.list(&ListParams::default()).await.expect("receipts");
            let mut hers = departures.items.iter().filter(|it| it.data["spec"]["developer"]["name"] == *person);
            if hers.all(|it| it.data["status"]["state"] == "Complete") { Ok(()) } else { Err("no") }
        })
        .await;
        tells(client, person, &service.provider, "Disabled").await;
    }
    for person in others.iter().take(3) {
        remove(client, "Developer", person).await;
    }
    // The stranger came after the last look at everybody.
    edit(client, "Provider", &service.provider, json!({"requestsPerSecond": 190})).await;
    wait_until("he is counted", SOON, async || {
        let counts = kind(client, "Provider").await.get(&service.provider).await.expect("a Provider").data["status"]["accounts"].clone();
        if counts["unmanaged"] == 1 && counts["managed"] == PEOPLE - 1 { Ok(()) } else { Err(counts.to_string()) }
    })
    .await;
    let audit = Audit::from_now(&plane);
    audit.still(std::time::Duration::from_secs(3)).await;

    operator.kill();
    proxy.forget();
    let audit = Audit::from_now(&plane);
    operator.restart().await;
    operator.ready().await;
    let looked = || proxy.asked().iter().any(|asked| asked.path.contains("/Users?") && !asked.path.contains("filter="));
    wait_until("everybody is looked at", SOON, async || if looked() { Ok(()) } else { Err("no") }).await;
    let writes = audit.still(std::time::Duration::from_secs(3)).await;
    assert!(writes.is_empty(), "{}", lines(&writes));
    let asked = proxy.asked();
    assert!(asked.iter().all(|asked| !asked.changes()), "{:?}", proxy.counts());
    assert!(asked.len() <= ENOUGH, "{}: {:?}", asked.len(), proxy.counts());

    // What gives people their accounts disappears with its kind: that is no edit.
    for plural in ["bindings.usher.dev", "roles.usher.dev"] {
        plane.kubectl(&["annotate", "crd", plural, "usher.dev/allow-deletion=true"]).await.ok();
        plane.kubectl(&["delete", "crd", plural, "--wait=true", "--timeout=60s"]).await.ok();
    }
    proxy.forget();
    edit(client, "Provider", &service.provider, json!({"requestsPerSecond": 150})).await;
    let by_one = |person: &String| proxy.asked().iter().any(|asked| asked.path.contains("/Users/") || asked.path.contains(person.as_str()));
    let stay = &others[6..];
    wait_until("it is looked whether they are to lose it", SOON, async || if stay.iter().any(by_one) { Ok(()) } else { Err("no") }).await;
    // Nor is it one after a start, when the kinds are there again, and empty.
    operator.kill();
    install.upgrade("charts/usher".as_ref(), &ALONE).await.ok();
    wait_until("the kinds are back", SOON, async || {
        let found = plane.kubectl(&["get", "roles.usher.dev,bindings.usher.dev"]).await;
        if found.success { Ok(()) } else { Err("no") }
    })
    .await;
    operator.restart().await;
    operator.ready().await;
    for person in stay {
        spared(client, person).await;
    }
    let accounts = json!([{"provider": service.provider, "groups": ["developers"]}]);
    declare(client, "Role", &role, json!({"accounts": accounts})).await;
    bind(client, &role, &people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for person in stay {
        ready(client, person).await;
    }
    assert!(proxy.asked().iter().all(|asked| !asked.changes()), "{:?}", proxy.counts());
    for person in stay {
        service.shows(person, true, &["developers"]).await;
    }
}

/// Waits until somebody is told that no Binding explains her account, and that it is kept.
async fn spared(client: &kube::Client, person: &str) {
    wait_until("her account is kept", SOON, async || {
        let developer = kind(client, "Developer").await.get(person).await.expect("a Developer");
        let message = developer.data["status"]["accounts"][0]["message"].as_str().unwrap_or_default().to_owned();
        if message.contains("kept until a Binding explains it") { Ok(()) } else { Err(developer.data["status"].to_string()) }
    })
    .await;
}

/// How many left, at a system that cannot say that nothing of theirs works any more: their receipts stay open.
const LEAVERS: usize = 200;
/// What one who comes may cost: to be looked for, made, put into a group and looked at again.
const NEWCOMER: usize = 16;

/// Who left long ago and is locked out costs pages at a look at everybody and at a start, and stands before nobody who comes.
#[tokio::test]
async fn who_left_without_a_revocation_costs_pages() {
    let Alone { plane, client, mut operator, .. } = Alone::start().await;
    let client = &client;
    let (service, proxy) = Service::behind_proxy(client, json!({"verifyEvery": "24h"})).await;
    edit(client, "Provider", &service.provider, json!({"scim": {"disablingRevokes": false}})).await;
    let role = outside(client, &[&service]).await;
    let people: Vec<String> = (0..LEAVERS).map(|_| name("ada")).collect();
    let (first, second) = (name("eve"), name("eve"));
    for some in people.chunks(100) {
        bind(client, &role, &some.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    bind(client, &role, &[&first, &second]).await;
    join_all(people.iter().map(|person| developer(client, person, json!({})))).await;
    wait_until("all are let in", SOON * 2, async || {
        let developers = kind(client, "Developer").await.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let active = developers.items.iter().filter(|it| it.data["status"]["accounts"][0]["state"] == "Active").count();
        if active == LEAVERS { Ok(()) } else { Err(active.to_string()) }
    })
    .await;
    join_all(people.iter().map(|person| edit(client, "Developer", person, json!({"state": "Departed"})))).await;
    wait_until("all receipts tell what is left", SOON * 2, async || {
        let receipts = kind(client, "Departure").await.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let told = receipts.items.iter().filter(|it| it.data["status"]["targets"][0]["state"] == "Failed").count();
        if told == LEAVERS { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    // Half of them are gone altogether.
    join_all(people.iter().step_by(2).map(|person| remove(client, "Developer", person))).await;
    let settled = async || {
        loop {
            let before = proxy.asked().len();
            Audit::from_now(&plane).still(std::time::Duration::from_secs(3)).await;
            if proxy.asked().len() == before {
                return;
            }
        }
    };
    settled().await;

    proxy.forget();
    // The same system by other words: everybody is looked at again.
    edit(client, "Provider", &service.provider, json!({"requestsPerSecond": 20})).await;
    developer(client, &first, json!({})).await;
    let look = async |comes: &str| {
        tells(client, comes, &service.provider, "Active").await;
        let looked = || proxy.asked().iter().any(|asked| asked.path.contains("/Users?") && !asked.path.contains("filter="));
        wait_until("everybody is looked at", SOON, async || if looked() { Ok(()) } else { Err("no") }).await;
        settled().await;
        let asked = proxy.asked().len();
        assert!(asked <= ENOUGH + LEAVERS.div_ceil(100) + NEWCOMER, "{asked}: {:?}", proxy.counts());
    };
    look(&first).await;

    operator.kill();
    proxy.forget();
    developer(client, &second, json!({})).await;
    operator.restart().await;
    operator.ready().await;
    look(&second).await;
}
