//! Systems that fail: it is told to whom it matters, others go on, and it heals without a hand (DESIGN.md, promise 7).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::client::{condition, kind};
use crate::support::people::{developer, edit, reaches, remove, subject};
use crate::support::{name, operated, wait_until};

use super::proxy::{Asked, Patience, Told};
use super::{NAMESPACE, SOON, Service, bind, outside, receipt, says, started, tells, told};

/// Whether a request is for a page of everybody, and not for somebody.
fn lists(asked: &Asked) -> bool {
    asked.path.contains("/Users?") && !asked.path.contains("filter=")
}

/// usher's own token is exchanged: nobody is asked again and again with the old one, and the new one in the Secret is enough for all that waited.
#[tokio::test]
async fn an_exchanged_token_is_said_with_the_remedy_and_heals_with_the_secret() {
    let shared = operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let (ada, bob, eve) = (name("ada"), name("bob"), name("eve"));
    bind(client, &role, &[&ada, &bob, &eve]).await;
    developer(client, &ada, json!({})).await;
    service.shows(&ada, true, &["developers"]).await;
    tells(client, &ada, &service.provider, "Active").await;

    let token = service.token();
    developer(client, &bob, json!({})).await;
    let message = says(client, "Provider", &service.provider, "Connected", "Unauthorized").await;
    assert!(message.contains("look at what credentialsSecret names"), "{message}");
    says(client, "Developer", &bob, "AccountsSynced", "Unauthorized").await;
    let asked = proxy.asked().len();
    developer(client, &eve, json!({})).await;
    says(client, "Developer", &eve, "AccountsSynced", "Unauthorized").await;
    assert_eq!(proxy.asked().len(), asked, "a wrong password is not tried for each of them");
    edit(client, "Developer", &ada, json!({"state": "Departed"})).await;
    receipt(client, &ada, &service.provider, "Unreachable").await;

    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let patch = json!({"stringData": {"token": token}});
    secrets.patch(&service.provider, &PatchParams::default(), &Patch::Merge(patch)).await.expect("rotated");
    for person in [&bob, &eve] {
        service.shows(person, true, &["developers"]).await;
        tells(client, person, &service.provider, "Active").await;
    }
    service.shows(&ada, false, &[]).await;
    receipt(client, &ada, &service.provider, "Disabled").await;
    reaches(client, "Provider", &service.provider, "/status/state", "Connected").await;
}

/// A system that asks for patience, or fails, is left alone for a while; who waits for it says so, and everybody else goes on.
#[tokio::test]
async fn a_system_that_asks_to_wait_or_fails_is_told_by_who_waits_for_it() {
    let shared = operated().await;
    let client = &shared.client;
    let ((sick, proxy), well) = tokio::join!(Service::behind_proxy(client, json!({})), Service::new(client, json!({})));
    let role = outside(client, &[&sick, &well]).await;
    reaches(client, "Provider", &sick.provider, "/status/state", "Connected").await;
    for (answer, reason) in [(Told::patience(1), "RateLimited"), (Told::broken(), "Unreachable")] {
        proxy.instead(move |_| Some(answer.clone()));
        let person = name("ada");
        bind(client, &role, &[&person]).await;
        developer(client, &person, json!({})).await;
        let message = says(client, "Developer", &person, "AccountsSynced", reason).await;
        assert!(message.contains("next try at") && message.contains(&sick.provider), "{message}");
        well.shows(&person, true, &["developers"]).await;
        tells(client, &person, &well.provider, "Active").await;
        assert_ne!(told(client, &person, &sick.provider).await["state"], "Active");
        proxy.instead(|_| None);
        sick.shows(&person, true, &["developers"]).await;
        tells(client, &person, &sick.provider, "Active").await;
    }
    reaches(client, "Provider", &sick.provider, "/status/state", "Connected").await;
}

/// The system answers, but the first look at everybody fails half way: nobody waits for the next one that is due.
#[tokio::test]
async fn a_first_look_that_fails_is_made_again_at_once() {
    let shared = operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({"mode": "Observe", "verifyEvery": "24h"})).await;
    // So that looking for marks asks for no page.
    service.post("Users", json!({"schemas": [super::USER], "userName": "one", "externalId": "somebody's"})).await;
    reaches(client, "Provider", &service.provider, "/status/state", "Observing").await;
    let failed = Arc::new(AtomicUsize::new(0));
    let count = failed.clone();
    proxy.instead(move |asked| (lists(asked) && count.fetch_add(1, Ordering::Relaxed) < 3).then(Told::broken));
    edit(client, "Provider", &service.provider, json!({"mode": "Enforce"})).await;
    let role = outside(client, &[&service]).await;
    let person = name("ada");
    bind(client, &role, &[&person]).await;
    developer(client, &person, json!({})).await;
    service.shows(&person, true, &["developers"]).await;
    wait_until("the look is made until it succeeds", SOON, async || match failed.load(Ordering::Relaxed) {
        times if times > 3 => Ok(()),
        times => Err(times),
    })
    .await;
    reaches(client, "Provider", &service.provider, "/status/state", "Connected").await;
}

/// One account at which the system breaks, or that it refuses to usher, is that person's trouble alone.
#[tokio::test]
async fn an_account_at_which_a_system_breaks_is_one_persons_trouble() {
    let shared = operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let (broken, forbidden) = (name("bad"), name("off"));
    let others: Vec<String> = (0..6).map(|_| name("ada")).collect();
    let mut people: Vec<&str> = others.iter().map(String::as_str).collect();
    people.extend([broken.as_str(), forbidden.as_str()]);
    bind(client, &role, &people).await;
    let sick = Arc::new(AtomicBool::new(true));
    let (breaks, refuses, on) = (broken.clone(), forbidden.clone(), sick.clone());
    proxy.instead(move |asked| {
        let makes = |who: &str| on.load(Ordering::Relaxed) && asked.changes() && asked.json()["userName"] == who;
        let breaks = makes(&breaks).then(|| Told::json(500, &json!({"detail": "NullPointerException"})));
        breaks.or_else(|| makes(&refuses).then(|| Told::json(403, &json!({"detail": "not this one"}))))
    });
    developer(client, &broken, json!({})).await;
    developer(client, &forbidden, json!({})).await;
    says(client, "Developer", &broken, "AccountsSynced", "Unreachable").await;
    says(client, "Developer", &forbidden, "AccountsSynced", "Unauthorized").await;
    for person in &others {
        developer(client, person, json!({})).await;
    }
    for person in &others {
        service.shows(person, true, &["developers"]).await;
    }
    reaches(client, "Provider", &service.provider, "/status/state", "Connected").await;
    sick.store(false, Ordering::Relaxed);
    for person in [&broken, &forbidden] {
        service.shows(person, true, &["developers"]).await;
    }
}

/// A group that does not exist keeps nobody out of the others.
#[tokio::test]
async fn a_group_that_is_missing_is_said_and_the_others_are_given() {
    let shared = operated().await;
    let client = &shared.client;
    let service = Service::new(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    edit(client, "Role", &role, json!({"accounts": [{"provider": service.provider, "groups": ["absent", "developers", "releases"]}]}))
        .await;
    let person = name("ada");
    bind(client, &role, &[&person]).await;
    developer(client, &person, json!({})).await;
    service.shows(&person, true, &["developers", "releases"]).await;
    let message = says(client, "Developer", &person, "AccountsSynced", "ChangeRejected").await;
    assert!(message.contains("there is no group absent"), "{message}");
    edit(client, "Developer", &person, json!({"state": "Departed"})).await;
    receipt(client, &person, &service.provider, "Disabled").await;
}

/// What makes an account.
fn makes(asked: &Asked) -> bool {
    asked.changes() && asked.path.ends_with("/Users")
}

/// One request is answered with a time to wait while others are under way: until it is over nothing is sent for anybody, whatever the others came to.
#[tokio::test]
async fn a_time_to_wait_is_waited_for_whatever_else_is_answered() {
    const WAIT: Duration = Duration::from_secs(10);
    let shared = operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let people: Vec<String> = (0..12).map(|_| name("ada")).collect();
    bind(client, &role, &people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    reaches(client, "Provider", &service.provider, "/status/state", "Connected").await;
    let patience = Patience::ask(&proxy, WAIT, makes);
    for person in &people {
        developer(client, person, json!({})).await;
    }
    says(client, "Provider", &service.provider, "Connected", "RateLimited").await;
    for person in &people {
        service.shows(person, true, &["developers"]).await;
    }
    patience.was_kept();
    reaches(client, "Provider", &service.provider, "/status/state", "Connected").await;
}

/// No system gets more requests in a second than its Provider allows, nor more than a few at once.
#[tokio::test]
async fn a_system_gets_no_more_at_once_than_it_is_good_for() {
    const PER_SECOND: usize = 8;
    const AT_ONCE: usize = 4;
    let shared = operated().await;
    let client = &shared.client;
    let ((service, proxy), well) =
        tokio::join!(Service::behind_proxy(client, json!({"requestsPerSecond": PER_SECOND})), Service::new(client, json!({})));
    let role = outside(client, &[&service, &well]).await;
    let people: Vec<String> = (0..12).map(|_| name("ada")).collect();
    bind(client, &role, &people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    reaches(client, "Provider", &service.provider, "/status/state", "Connected").await;
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let seen = times.clone();
    proxy.instead(move |_| {
        seen.lock().push(Instant::now());
        None
    });
    proxy.hold(makes);
    for person in &people {
        developer(client, person, json!({})).await;
    }
    let made = || proxy.asked().iter().filter(|asked| makes(asked)).count();
    wait_until("as many as may be are under way", SOON, async || if made() >= AT_ONCE { Ok(()) } else { Err(made()) }).await;
    for person in &people {
        tells(client, person, &well.provider, "Active").await;
    }
    assert_eq!(made(), AT_ONCE, "everybody was asked for, and the other system has all of them");
    proxy.let_go();
    for person in &people {
        tells(client, person, &service.provider, "Active").await;
    }
    let times = times.lock();
    // What was saved up within a second, and what is allowed in the next; and a clock that is not ours.
    let most = times
        .iter()
        .enumerate()
        .map(|(at, first)| times[at..].iter().take_while(|it| it.duration_since(*first) < Duration::from_secs(1)).count());
    assert!(most.clone().max() <= Some(2 * PER_SECOND + 2), "{:?}", most.max());
    let all = times.last().expect("requests").duration_since(*times.first().expect("requests"));
    let least = (times.len() - 2 * PER_SECOND) * 1000 / PER_SECOND * 9 / 10;
    assert!(all.as_millis() >= least as u128, "{} in {all:?}", times.len());
}

/// It lets itself be read and takes no change: that is told as one outage, with who waits and the next try, and is over when it is over.
#[tokio::test]
async fn a_system_that_takes_no_change_is_quarantined_and_heals_without_a_hand() {
    let shared = operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let people: Vec<String> = (0..6).map(|_| name("ada")).collect();
    bind(client, &role, &people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    reaches(client, "Provider", &service.provider, "/status/state", "Connected").await;
    proxy.instead(|asked| asked.changes().then(|| Told::json(429, &json!({"detail": "not now"}))));
    for person in &people {
        developer(client, person, json!({})).await;
    }
    for person in &people {
        says(client, "Developer", person, "AccountsSynced", "RateLimited").await;
    }
    let version = async |person: &str| kind(client, "Developer").await.get(person).await.expect("a Developer").metadata.resource_version;
    let mut before = Vec::new();
    for person in &people {
        before.push(version(person).await);
    }
    reaches(client, "Provider", &service.provider, "/status/state", "Quarantined").await;
    says(client, "Provider", &service.provider, "Ready", "Quarantined").await;
    let summary = kind(client, "Provider").await.get(&service.provider).await.expect("a Provider").data["status"]["summary"].clone();
    assert!(summary["queue"].as_str().is_some_and(|queue| queue.parse().is_ok_and(|queue: usize| queue >= people.len())), "{summary}");
    assert_ne!(summary["nextTry"], "", "{summary}");
    for (person, before) in people.iter().zip(before) {
        assert_eq!(version(person).await, before, "each further try is the Provider's to tell");
    }
    proxy.instead(|_| None);
    for person in &people {
        tells(client, person, &service.provider, "Active").await;
    }
    reaches(client, "Provider", &service.provider, "/status/state", "Connected").await;
}

/// A process that is gone: while it is, access in the cluster, the other system and departures are there as ever; and it heals without a hand.
#[tokio::test]
async fn a_system_that_is_stopped_delays_nobody_else_and_heals_without_a_hand() {
    let (_shared, client, stage) = started().await;
    let client = &client;
    let (mut sick, well) = tokio::join!(Service::alone(client), Service::new(client, json!({})));
    let role = name("role");
    let entry = json!({"name": "work", "environments": [stage.environment], "clusterRoles": ["view"]});
    let accounts: Vec<Value> = [&sick, &well].map(|it| json!({"provider": it.provider, "groups": ["developers"]})).into();
    crate::support::people::declare(client, "Role", &role, json!({"access": [entry], "accounts": accounts})).await;
    let (leaver, comer) = (name("bob"), name("ada"));
    bind(client, &role, &[&leaver, &comer]).await;
    developer(client, &leaver, json!({})).await;
    sick.shows(&leaver, true, &["developers"]).await;
    well.shows(&leaver, true, &["developers"]).await;
    crate::support::client::ready(client, &leaver).await;

    sick.own.as_ref().expect("a server of its own").kill();
    developer(client, &comer, json!({})).await;
    edit(client, "Developer", &leaver, json!({"state": "Departed"})).await;
    well.shows(&comer, true, &["developers"]).await;
    well.shows(&leaver, false, &[]).await;
    let seen = wait_until("her identity is told", SOON, async || {
        let developer = kind(client, "Developer").await.get(&comer).await.expect("a Developer");
        if developer.data["status"]["identities"].is_array() { Ok(developer) } else { Err(developer.data.to_string()) }
    })
    .await;
    wait_until("she may work in the cluster", SOON, async || {
        if crate::support::access::can(client, &subject(&seen), "get", "pods", Some(&stage.shared)).await { Ok(()) } else { Err("no") }
    })
    .await;
    let message = says(client, "Developer", &comer, "AccountsSynced", "Unreachable").await;
    assert!(message.contains(&format!("see kubectl get uprov {}", sick.provider)) && message.contains("next try at"), "{message}");
    let receipt_while = receipt(client, &leaver, &sick.provider, "Unreachable").await;
    assert_ne!(receipt_while.data["status"]["summary"]["accessGone"], "", "{:?}", receipt_while.data);
    let next_try =
        async || kind(client, "Provider").await.get(&sick.provider).await.expect("a Provider").data["status"]["summary"]["nextTry"].clone();
    for _ in 0..2 {
        let before = next_try().await;
        wait_until("it was tried again", SOON, async || if next_try().await == before { Err(before.clone()) } else { Ok(()) }).await;
    }
    let developer = kind(client, "Developer").await.get(&comer).await.expect("a Developer");
    assert_eq!(
        condition(&developer, "AccountsSynced").expect("a condition")["message"],
        message,
        "her cell tells of the outage, not of each try"
    );

    sick.own = Some(sick.own.take().expect("a server of its own").restart().await);
    sick.shows(&comer, true, &["developers"]).await;
    sick.shows(&leaver, false, &[]).await;
    receipt(client, &leaver, &sick.provider, "Disabled").await;
    reaches(client, "Provider", &sick.provider, "/status/state", "Connected").await;
    crate::support::client::ready(client, &comer).await;
    for provider in [&sick.provider, &well.provider] {
        remove(client, "Provider", provider).await;
    }
}
