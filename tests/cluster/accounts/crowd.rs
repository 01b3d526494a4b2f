//! A system with thousands of accounts: nobody is lost, no stranger is touched, and a look at everybody costs pages, not people.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::client::kind;
use crate::support::people::{developer, edit};
use crate::support::systems::shared;
use crate::support::{name, operated, wait_until};

use super::proxy::{HttpsProxy, Told};
use super::{SOON, Service, bind, outside, tells};

const CROWD: usize = 2_501;
/// As many as the connector asks for.
const PAGE: usize = 100;
/// What a look at everybody asks besides pages of users: what the service can do, marks, groups.
const BESIDES: usize = 12;

/// A tenant with so many users that nobody has to make one by one: what the server keeps is a line for each.
async fn crowded() -> Service {
    let system = shared("scim").await;
    let like = Service::of(system).await;
    like.stranger("model", "model@elsewhere.example").await;
    let kept = |service: &Service| system.dir().join("tenants").join(format!("{}.jsonl", service.provider));
    let text = std::fs::read_to_string(kept(&like)).expect("what the server keeps");
    let (groups, users): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains("\"Group\""));
    let (model, id) = (users.first().expect("a user"), like.user("model").await.expect("a user")["id"].clone());
    let crowd = Service::empty(system);
    let mut lines = groups.join("\n");
    for number in 0..CROWD {
        let line = model.replace("model", &format!("stranger-{number}")).replace(id.as_str().expect("an id"), &format!("{number:032x}"));
        write!(lines, "\n{line}").expect("memory");
    }
    std::fs::write(kept(&crowd), lines + "\n").expect("space on the disk");
    crowd
}

/// Everybody, page by page.
async fn everybody(service: &Service) -> Vec<Value> {
    let mut all = Vec::new();
    while let page @ [_, ..] = service.resources(&format!("Users?startIndex={}&", all.len() + 1)).await.as_slice() {
        all.extend_from_slice(page);
    }
    all
}

fn pages(proxy: &HttpsProxy) -> usize {
    proxy.asked().iter().filter(|asked| asked.path.contains("/Users?") && !asked.path.contains("filter=")).count()
}

#[tokio::test]
async fn a_look_at_thousands_loses_nobody_touches_nobody_and_costs_pages() {
    let shared_plane = operated().await;
    let client = &shared_plane.client;
    let service = crowded().await;
    let proxy = HttpsProxy::start(&service.base, Some(&super::ca(shared("scim").await))).await;
    let before = everybody(&service).await;
    assert_eq!(before.len(), CROWD);
    let people: Vec<String> = (0..3).map(|_| name("ada")).collect();
    service.declare(client, Some(&proxy), json!({"verifyEvery": "24h"})).await;
    let role = outside(client, &[&service]).await;
    bind(client, &role, &people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for person in &people {
        developer(client, person, json!({})).await;
    }
    for person in &people {
        tells(client, person, &service.provider, "Active").await;
    }

    let count = async |least: usize| {
        wait_until("everybody was looked at", SOON, async || match pages(&proxy) {
            seen if seen >= least => Ok(()),
            seen => Err(seen),
        })
        .await;
    };
    proxy.forget();
    // The same server by other words: everybody is looked at again, by another connection.
    edit(client, "Provider", &service.provider, json!({"requestsPerSecond": 150})).await;
    let all = (CROWD + people.len()).div_ceil(PAGE);
    count(all).await;
    let counted = wait_until("everybody was counted", SOON, async || {
        let provider = kind(client, "Provider").await.get(&service.provider).await.expect("a Provider");
        let accounts = provider.data["status"]["accounts"].clone();
        if accounts["managed"] == people.len() && accounts["unmanaged"] == CROWD { Ok(accounts) } else { Err(accounts.to_string()) }
    })
    .await;
    assert_eq!(counted["conflicts"], 0);
    let asked = proxy.asked();
    assert!(asked.iter().all(|asked| !asked.changes()), "{:?}", proxy.counts());
    assert!(asked.len() <= all + BESIDES, "{}: {:?}", asked.len(), proxy.counts());

    let after = everybody(&service).await;
    let names = |users: &[Value]| users.iter().map(|user| user["userName"].to_string()).collect::<BTreeSet<_>>();
    assert_eq!(after.len(), CROWD + people.len());
    let strangers: Vec<&Value> =
        after.iter().filter(|user| user["userName"].as_str().is_some_and(|it| it.starts_with("stranger-"))).collect();
    assert_eq!(strangers, before.iter().collect::<Vec<_>>(), "no stranger is touched");
    assert!(people.iter().all(|person| names(&after).contains(&json!(person).to_string())));
}

/// Ten at whom the system breaks, among two hundred: the others have their accounts while it still does.
#[tokio::test]
async fn ten_at_whom_a_system_breaks_delay_nobody_of_two_hundred() {
    let shared_plane = operated().await;
    let client = &shared_plane.client;
    let (service, proxy) = Service::behind_proxy(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let people: Vec<String> = (0..200).map(|_| name("ada")).collect();
    let poisoned: BTreeSet<String> = people.iter().step_by(20).cloned().collect();
    let breaks = Arc::new(AtomicBool::new(true));
    let (bad, on) = (poisoned.clone(), breaks.clone());
    proxy.instead(move |asked| {
        let poisoned = || asked.json()["userName"].as_str().is_some_and(|name| bad.contains(name));
        (on.load(Ordering::Relaxed) && asked.changes() && poisoned()).then(|| Told::json(500, &json!({"detail": "NullPointerException"})))
    });
    for some in people.chunks(100) {
        bind(client, &role, &some.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    futures::future::join_all(people.iter().map(|person| developer(client, person, json!({})))).await;
    let has = async |least: usize| {
        // So many on a plane that others keep busy, too.
        wait_until(&format!("{least} have accounts"), SOON * 3, async || {
            let users = everybody(&service).await;
            let active = users.iter().filter(|user| user["active"] == true).count();
            if active >= least { Ok(active) } else { Err(active) }
        })
        .await
    };
    assert_eq!(has(people.len() - poisoned.len()).await, people.len() - poisoned.len());
    let first = poisoned.first().expect("some");
    assert_ne!(super::told(client, first, &service.provider).await["state"], "Active");
    crate::support::people::reaches(client, "Provider", &service.provider, "/status/state", "Connected").await;
    breaks.store(false, Ordering::Relaxed);
    assert_eq!(has(people.len()).await, people.len());
}
