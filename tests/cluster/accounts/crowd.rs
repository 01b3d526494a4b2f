//! A system with thousands of accounts: nobody is lost, no stranger is touched, and a look at everybody costs pages, not people.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::support::client::kind;
use crate::support::people::{developer, edit};
use crate::support::systems::shared;
use crate::support::{name, operated, wait_until};

use super::proxy::HttpsProxy;
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
