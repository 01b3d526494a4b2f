//! What a start finds of edits that take something from many: who waits for a word goes on waiting, and is found by pages (DESIGN.md, promise 6, "Brake").

use std::time::Duration;

use kube::Client;
use serde_json::{Value, json};

use crate::support::audit::{Audit, lines};
use crate::support::client::kind;
use crate::support::operator::Operator;
use crate::support::people::{developer, edit};
use crate::support::{name, wait_until};

use super::start::ENOUGH;
use super::{Alone, SOON, Service, annotate, bind, outside, says, tells};

/// One question for each of them would be far more than [`ENOUGH`].
const PEOPLE: usize = 30;
/// How long the system takes for an answer at the start.
const SLOW: Duration = Duration::from_secs(1);

/// Waits until the Provider tells that everybody waits, and gives what it tells.
async fn all_wait(client: &Client, provider: &str) -> Value {
    wait_until("all of them wait", SOON, async || {
        let status = kind(client, "Provider").await.get(provider).await.expect("a Provider").data["status"].clone();
        let right = status["brake"]["removals"] == PEOPLE && status["brake"]["population"] == PEOPLE && status["state"] == "Braked";
        if right { Ok(status["brake"].clone()) } else { Err(status.to_string()) }
    })
    .await
}

/// Lets those through who wait, and waits until nobody is in a group any more but in these.
async fn released(client: &Client, service: &Service, brake: &Value, people: &[String], groups: &[&str]) {
    annotate(client, "Provider", &service.provider, "usher.dev/release", brake["digest"].clone()).await;
    for person in people {
        service.shows(person, true, groups).await;
    }
    wait_until("nobody waits", SOON, async || {
        let status = kind(client, "Provider").await.get(&service.provider).await.expect("a Provider").data["status"].clone();
        if status["brake"].is_null() { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

/// How many requests the operator counted since it started.
async fn calls(operator: &Operator, provider: &str) -> usize {
    let (_, text) = operator.get("/metrics").await.expect("metrics");
    let own = format!("usher_provider_calls_total{{provider=\"{provider}\"");
    text.lines().filter(|line| line.starts_with(&own)).filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

#[tokio::test]
async fn who_waits_for_a_word_is_found_by_pages_after_a_start() {
    let Alone { plane, client, mut operator, .. } = Alone::start().await;
    let client = &client;
    let (service, proxy) = Service::behind_proxy(client, json!({"verifyEvery": "24h", "brake": {"maxRemovals": 0, "maxPercent": 0}})).await;
    let role = outside(client, &[&service]).await;
    let gives = |groups: Value| json!({"accounts": [{"provider": service.provider, "groups": groups}]});
    edit(client, "Role", &role, gives(json!(["developers", "releases"]))).await;
    let people: Vec<String> = (0..PEOPLE).map(|_| name("ada")).collect();
    bind(client, &role, &people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for person in &people {
        developer(client, person, json!({})).await;
    }
    for person in &people {
        tells(client, person, &service.provider, "Active").await;
    }
    let asked_little = async |operator: &Operator| {
        let asked = proxy.asked();
        assert!(asked.iter().all(|asked| !asked.changes()), "{:?}", proxy.counts());
        assert!(asked.len() <= ENOUGH, "{}: {:?}", asked.len(), proxy.counts());
        wait_until("each of them is counted", SOON, async || match calls(operator, &service.provider).await {
            counted if counted == proxy.asked().len() => Ok(()),
            counted => Err(counted),
        })
        .await;
    };
    let looked = async || {
        let page = || proxy.asked().iter().any(|asked| asked.path.contains("/Users?") && !asked.path.contains("filter="));
        wait_until("everybody is looked at", SOON, async || if page() { Ok(()) } else { Err("no") }).await;
    };

    // They wait before the start.
    edit(client, "Role", &role, gives(json!(["releases"]))).await;
    let before = all_wait(client, &service.provider).await;
    for person in &people {
        says(client, "Developer", person, "AccountsSynced", "Braked").await;
    }
    Audit::from_now(&plane).still(Duration::from_secs(3)).await;
    operator.kill();
    proxy.forget();
    // Long enough to tell something of the Provider before everybody was looked at.
    proxy.delay(SLOW);
    let audit = Audit::from_now(&plane);
    operator.restart().await;
    operator.ready().await;
    looked().await;
    proxy.delay(Duration::ZERO);
    let writes = audit.still(Duration::from_secs(3)).await;
    assert!(writes.is_empty(), "{}", lines(&writes));
    asked_little(&operator).await;
    assert_eq!(all_wait(client, &service.provider).await, before, "the word for them is the same");
    released(client, &service, &before, &people, &["releases"]).await;

    // Nobody sees the edit that they would lose something by: no Role names the group any more, and that usher gave it only their statuses tell.
    Audit::from_now(&plane).still(Duration::from_secs(3)).await;
    operator.kill();
    edit(client, "Role", &role, gives(json!([]))).await;
    proxy.forget();
    operator.restart().await;
    operator.ready().await;
    let brake = all_wait(client, &service.provider).await;
    for person in &people {
        says(client, "Developer", person, "AccountsSynced", "Braked").await;
    }
    asked_little(&operator).await;
    released(client, &service, &brake, &people, &[]).await;
}
