//! Leaving: what becomes of accounts by the Provider's word, and that nothing overtakes it (DESIGN.md, promises 2 and 3).

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

use crate::support::client::{kind, ready};
use crate::support::people::{ask_to_delete, declare, developer, edit, reaches, remove};
use crate::support::{name, operated, wait_until};

use super::{NAMESPACE, SOON, Service, bind, line, outside, receipt, tells};

/// A page of everybody is under way and does not end; who leaves is locked out meanwhile.
#[tokio::test]
async fn a_departure_overtakes_a_look_at_everybody() {
    let shared = operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let person = name("ada");
    bind(client, &role, &[&person]).await;
    developer(client, &person, json!({})).await;
    service.shows(&person, true, &["developers"]).await;
    tells(client, &person, &service.provider, "Active").await;
    let lists = |asked: &super::proxy::Asked| asked.path.contains("/Users?") && !asked.path.contains("filter=");
    proxy.forget();
    proxy.hold(lists);
    edit(client, "Provider", &service.provider, json!({"verifyEvery": "9m"})).await;
    wait_until("the look is under way", SOON, async || if proxy.asked().iter().any(lists) { Ok(()) } else { Err("no page is asked for") })
        .await;
    edit(client, "Developer", &person, json!({"state": "Departed"})).await;
    service.shows(&person, false, &[]).await;
    receipt(client, &person, &service.provider, "Disabled").await;
    proxy.let_go();
    reaches(client, "Provider", &service.provider, "/status/state", "Connected").await;
    assert_eq!(line(client, &person, &service.provider, "Disabled").await["credentials"], "Revoked");
}

/// Her account is just being made when her Developer is deleted: it is locked out as soon as it is there.
#[tokio::test]
async fn an_account_that_comes_after_its_owner_left_is_locked_out() {
    let shared = operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({"verifyEvery": "24h"})).await;
    let role = outside(client, &[&service]).await;
    reaches(client, "Provider", &service.provider, "/status/state", "Connected").await;
    let person = name("ada");
    let login = person.clone();
    proxy.hold(move |asked| asked.method == http::Method::POST && asked.json()["userName"] == login.as_str());
    bind(client, &role, &[&person]).await;
    developer(client, &person, json!({})).await;
    wait_until("it is being made", SOON, async || {
        if proxy.asked().iter().any(|asked| asked.json()["userName"] == person.as_str()) { Ok(()) } else { Err("no") }
    })
    .await;
    remove(client, "Developer", &person).await;
    assert!(service.user(&person).await.is_none());
    proxy.let_go();
    service.shows(&person, false, &[]).await;
    receipt(client, &person, &service.provider, "Disabled").await;
}

/// The system is away and was never asked about her: her receipt tells what her status told, and finds it when the system is back.
#[tokio::test]
async fn an_account_by_another_login_is_found_though_its_owner_is_gone() {
    let shared = operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({"verifyEvery": "24h"})).await;
    let role = outside(client, &[&service]).await;
    let (person, login) = (name("ada"), name("lovelace"));
    bind(client, &role, &[&person]).await;
    developer(client, &person, json!({"username": login})).await;
    tells(client, &person, &service.provider, "Active").await;
    // Another desk, which never saw her.
    remove(client, "Provider", &service.provider).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    secrets.delete(&service.provider, &DeleteParams::default()).await.expect("deleted");
    proxy.silence();
    service.declare(client, Some(&proxy), json!({})).await;
    remove(client, "Developer", &person).await;
    let departures = kind(client, "Departure").await;
    let list = departures.list(&ListParams::default().fields(&format!("spec.developer.name={person}"))).await.expect("receipts");
    let status = &list.items.first().expect("a receipt").data["status"];
    let target = format!("provider/{}", service.provider);
    let told = status["targets"].as_array().into_iter().flatten().find(|line| line["target"] == target).expect("a line");
    assert_eq!(told["username"], json!(login), "{status}");
    assert_eq!(service.user(&login).await.expect("an account")["active"], true);
    proxy.speak();
    service.shows(&login, false, &[]).await;
    receipt(client, &person, &service.provider, "Disabled").await;
}

/// A Lock locks her out of everything, tells each account, and gives it back when it is lifted.
#[tokio::test]
async fn a_lock_tells_of_accounts_and_gives_them_back() {
    let shared = operated().await;
    let client = &shared.client;
    let (one, two) = tokio::join!(Service::new(client, json!({})), Service::alone(client));
    let role = outside(client, &[&one, &two]).await;
    let person = name("ada");
    bind(client, &role, &[&person]).await;
    developer(client, &person, json!({})).await;
    ready(client, &person).await;
    let ids = [
        tells(client, &person, &one.provider, "Active").await["id"].clone(),
        tells(client, &person, &two.provider, "Active").await["id"].clone(),
    ];
    two.pause();
    let lock = name("stolen");
    declare(client, "Lock", &lock, json!({"developer": person, "reason": "SEC-91 laptop stolen"})).await;
    one.shows(&person, false, &[]).await;
    let state = async |provider: &str| {
        let lock = kind(client, "Lock").await.get(&lock).await.expect("a Lock");
        let targets = lock.data["status"]["targets"].as_array().cloned().unwrap_or_default();
        let line = targets.into_iter().find(|line| line["target"] == format!("provider/{provider}")).unwrap_or_default();
        (line, lock.data["status"].clone())
    };
    wait_until("it tells which account may still work", SOON, async || {
        let ((first, _), (second, status)) = (state(&one.provider).await, state(&two.provider).await);
        let right = first["state"] == "Disabled" && second["state"] == "Unreachable" && status["state"] == "Applying";
        if right { Ok(()) } else { Err(format!("{first} {second} {status}")) }
    })
    .await;
    two.resume();
    let applied = reaches(client, "Lock", &lock, "/status/state", "Applied").await;
    for (service, id) in [&one, &two].into_iter().zip(&ids) {
        let (line, _) = state(&service.provider).await;
        assert_eq!((&line["state"], &line["id"], &line["credentials"]), (&json!("Disabled"), id, &json!("Revoked")), "{}", applied.data);
        service.shows(&person, false, &[]).await;
    }
    let targets = applied.data["status"]["summary"]["targets"].as_str().unwrap_or_default().to_owned();
    assert!(targets.split_once('/').is_some_and(|(done, all)| done == all && all.parse::<usize>().is_ok_and(|all| all >= 2)), "{targets}");
    edit(client, "Lock", &lock, json!({"lifted": true})).await;
    for service in [&one, &two] {
        service.shows(&person, true, &["developers"]).await;
    }
    reaches(client, "Lock", &lock, "/status/state", "Lifted").await;
    ask_to_delete(client, "Lock", &lock).await;
}

/// What she was issued is dead for good under a Lock: when it is lifted she gets a password that is another one.
#[tokio::test]
async fn a_lock_that_is_lifted_issues_a_new_password() {
    let shared = operated().await;
    let client = &shared.client;
    let service = Service::new(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let person = name("ada");
    bind(client, &role, &[&person]).await;
    developer(client, &person, json!({})).await;
    let password = async || {
        let list = ListParams::default().labels(&format!("usher.dev/developer={person}")).fields("metadata.name=usher-accounts");
        let secrets = Api::<Secret>::all(client.clone()).list(&list).await.expect("a list");
        let key = format!("{}.password", service.provider);
        secrets.items.into_iter().filter_map(|secret| secret.data).find_map(|mut data| data.remove(&key)).map(|bytes| bytes.0)
    };
    let first = wait_until("a password is delivered", SOON, async || password().await.ok_or("there is none")).await;
    ready(client, &person).await;
    let lock = name("stolen");
    declare(client, "Lock", &lock, json!({"developer": person, "reason": "SEC-91 laptop stolen"})).await;
    reaches(client, "Lock", &lock, "/status/state", "Applied").await;
    service.shows(&person, false, &[]).await;
    assert!(password().await.is_none(), "it is worthless");
    edit(client, "Lock", &lock, json!({"lifted": true})).await;
    service.shows(&person, true, &["developers"]).await;
    let second = wait_until("a new password is delivered", SOON, async || password().await.ok_or("there is none")).await;
    assert_ne!(first, second);
    ask_to_delete(client, "Lock", &lock).await;
}
