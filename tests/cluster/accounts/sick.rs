//! Systems that fail: it is told to whom it matters, others go on, and it heals without a hand (DESIGN.md, promise 7).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::HeaderValue;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::support::people::{developer, edit, reaches};
use crate::support::{name, operated, wait_until};

use super::proxy::{Asked, Told};
use super::{NAMESPACE, SOON, Service, bind, outside, receipt, says, tells, told};

/// Whether a request is for a page of everybody, and not for somebody.
fn lists(asked: &Asked) -> bool {
    asked.path.contains("/Users?") && !asked.path.contains("filter=")
}

fn token(asked: &Asked) -> &str {
    asked.headers.get("Authorization").and_then(|it| it.to_str().ok()).unwrap_or_default()
}

/// The password of usher itself is another one: nobody is asked again and again with the old one, and the new one is enough.
#[tokio::test]
async fn a_rotated_credential_is_said_with_the_remedy_and_heals_with_the_secret() {
    let shared = operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let (ada, bob, eve) = (name("ada"), name("bob"), name("eve"));
    bind(client, &role, &[&ada, &bob, &eve]).await;
    developer(client, &ada, json!({})).await;
    service.shows(&ada, true, &["developers"]).await;

    let real = format!("Bearer {}", service.token);
    proxy.rewrite(move |asked| drop(asked.headers.insert("Authorization", HeaderValue::from_str(&real).expect("a header"))));
    proxy.instead(|asked| (token(asked) != "Bearer of-today").then(|| Told::json(401, &json!({"detail": "who are you"}))));
    developer(client, &bob, json!({})).await;
    let message = says(client, "Provider", &service.provider, "Connected", "Unauthorized").await;
    assert!(message.contains("look at the credentials that the Provider names"), "{message}");
    says(client, "Developer", &bob, "AccountsSynced", "Unauthorized").await;
    let asked = proxy.asked().len();
    developer(client, &eve, json!({})).await;
    says(client, "Developer", &eve, "AccountsSynced", "Unauthorized").await;
    assert_eq!(proxy.asked().len(), asked, "a wrong password is not tried for each of them");

    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let patch = json!({"stringData": {"token": "of-today"}});
    secrets.patch(&service.provider, &PatchParams::default(), &Patch::Merge(patch)).await.expect("rotated");
    for person in [&bob, &eve] {
        service.shows(person, true, &["developers"]).await;
        tells(client, person, &service.provider, "Active").await;
    }
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
