//! Whose an account is: what usher did not make it leaves alone, unless somebody says otherwise (DESIGN.md, promise 5).

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};

use crate::support::client::{kind, ready};
use crate::support::people::{developer, edit, remove};
use crate::support::{name, operated, wait_until};

use super::{SOON, Service, bind, line, outside, receipt, says, tells};

fn same(before: &Value, after: &Value) {
    for field in ["id", "userName", "name", "emails", "externalId", "active", "meta"] {
        assert_eq!(before[field], after[field], "{field}");
    }
}

/// The same two strangers, one with her login and one with her e-mail address, at Providers that say different things.
#[tokio::test]
async fn an_account_is_adopted_as_the_provider_says() {
    let shared = operated().await;
    let client = &shared.client;
    let (by_email, by_username, never, plain) = tokio::join!(
        Service::new(client, json!({"adopt": "ByEmail"})),
        Service::new(client, json!({"adopt": "ByUsername"})),
        Service::new(client, json!({})),
        Service::new(client, json!({}))
    );
    let person = name("ada");
    let email = format!("{person}@example.com");
    let hers = by_email.stranger("alovelace", &email.to_uppercase()).await;
    let named = by_username.stranger(&person, "other@elsewhere.example").await;
    let untouched = never.stranger(&person, &email).await;
    let namesake = by_username.stranger("alovelace", &email).await;
    let role = outside(client, &[&by_email, &by_username, &never, &plain]).await;
    bind(client, &role, &[&person]).await;
    developer(client, &person, json!({})).await;
    assert_eq!(tells(client, &person, &by_email.provider, "Active").await["id"], hers["id"]);
    assert_eq!(tells(client, &person, &by_username.provider, "Active").await["id"], named["id"]);
    let conflict = tells(client, &person, &never.provider, "Conflict").await;
    assert!(conflict["message"].as_str().is_some_and(|it| it.contains(&person) && it.contains("adopt: true")), "{conflict}");
    same(&untouched, &never.user(&person).await.expect("an account"));
    same(&namesake, &by_username.user("alovelace").await.expect("an account"));
    // Whoever had an account before has a password for it, which is hers.
    passwords_once(client, &person, &plain.provider).await;
    edit(client, "Developer", &person, json!({"displayName": "Augusta King"})).await;
    for service in [&by_email, &by_username, &plain] {
        wait_until("another look has been had", SOON, async || match service.user(&person).await {
            Some(user) if user["name"]["formatted"] == "Augusta King" => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    let passwords = passwords_once(client, &person, &plain.provider).await;
    assert_eq!(passwords, [format!("{}.password", plain.provider)]);

    edit(client, "Developer", &person, json!({"state": "Departed"})).await;
    assert_eq!(line(client, &person, &by_email.provider, "Disabled").await["id"], hers["id"]);
    receipt(client, &person, &by_username.provider, "Disabled").await;
    receipt(client, &person, &never.provider, "Gone").await;
    same(&untouched, &never.user(&person).await.expect("an account"));
}

/// The passwords in somebody's Secret, once there is one for this Provider.
async fn passwords_once(client: &Client, person: &str, provider: &str) -> Vec<String> {
    let keys = wait_until("a password is delivered", SOON, async || {
        let list = ListParams::default().labels(&format!("usher.dev/developer={person}")).fields("metadata.name=usher-accounts");
        let secrets = Api::<Secret>::all(client.clone()).list(&list).await.map_err(|error| error.to_string())?;
        let keys: Vec<String> = secrets.items.into_iter().filter_map(|secret| secret.data).flatten().map(|(key, _)| key).collect();
        if keys.contains(&format!("{provider}.password")) { Ok(keys) } else { Err(format!("{keys:?}")) }
    });
    keys.await.into_iter().filter(|key| key.ends_with(".password")).collect()
}

/// A pin by id means that account and no other: not one that merely has her login, nor one that another person has by a pin.
#[tokio::test]
async fn a_pin_means_one_account_and_one_person() {
    let shared = operated().await;
    let client = &shared.client;
    let (service, gone) = tokio::join!(Service::new(client, json!({})), Service::new(client, json!({})));
    let (ada, bob) = (name("ada"), name("bob"));
    let pinned = service.stranger("shared", "shared@example.com").await;
    let namesake = gone.stranger(&ada, "ada@elsewhere.example").await;
    let role = outside(client, &[&service, &gone]).await;
    bind(client, &role, &[&ada]).await;
    let pin = json!({"provider": service.provider, "id": pinned["id"], "adopt": true});
    let missing = json!({"provider": gone.provider, "id": "00000000-0000-0000-0000-000000000000", "adopt": true});
    developer(client, &ada, json!({"accounts": [pin, missing]})).await;
    tells(client, &ada, &service.provider, "Active").await;
    tells(client, &ada, &gone.provider, "Conflict").await;
    same(&namesake, &gone.user(&ada).await.expect("an account"));

    let role = outside(client, &[&service]).await;
    bind(client, &role, &[&bob]).await;
    developer(client, &bob, json!({"accounts": [pin]})).await;
    tells(client, &bob, &service.provider, "Conflict").await;
    assert_eq!(tells(client, &ada, &service.provider, "Active").await["id"], pinned["id"]);
    edit(client, "Developer", &bob, json!({"state": "Departed"})).await;
    receipt(client, &bob, &service.provider, "Gone").await;
    service.shows(&ada, true, &["developers"]).await;
}

/// Somebody takes off the mark of an account that usher made. It stays hers by its id, and goes with her.
#[tokio::test]
async fn an_account_that_lost_its_mark_is_marked_again_and_locked_out_all_the_same() {
    let shared = operated().await;
    let client = &shared.client;
    let service = Service::new(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let (ada, bob, eve) = (name("ada"), name("bob"), name("eve"));
    bind(client, &role, &[&ada, &bob, &eve]).await;
    for person in [&ada, &bob, &eve] {
        developer(client, person, json!({})).await;
        ready(client, person).await;
        tells(client, person, &service.provider, "Active").await;
    }
    // Hers stays, so that the service still is seen to keep marks.
    for person in [&ada, &bob] {
        let user = service.user(person).await.expect("an account");
        service.set(&user["id"], "externalId", json!("")).await;
    }
    edit(client, "Developer", &bob, json!({"state": "Departed"})).await;
    receipt(client, &bob, &service.provider, "Disabled").await;
    service.shows(&bob, false, &[]).await;
    edit(client, "Provider", &service.provider, json!({"requestsPerSecond": 100})).await;
    crate::support::wait_until("it is marked again", super::SOON, async || {
        let user = service.user(&ada).await.expect("an account");
        if user["externalId"].as_str().is_some_and(|mark| mark.starts_with("usher/")) { Ok(()) } else { Err(user.to_string()) }
    })
    .await;
}

/// Somebody was made an administrator by hand. usher touches no administrator, and says so instead of waiting for ever.
#[tokio::test]
async fn an_administrator_who_leaves_is_a_leftover_with_a_word() {
    let shared = operated().await;
    let client = &shared.client;
    let service = Service::new(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let person = name("ada");
    bind(client, &role, &[&person]).await;
    developer(client, &person, json!({})).await;
    tells(client, &person, &service.provider, "Active").await;
    let user = service.user(&person).await.expect("an account");
    service.set(&user["id"], "userType", json!("Administrator")).await;
    edit(client, "Developer", &person, json!({"state": "Departed"})).await;
    let line = line(client, &person, &service.provider, "Failed").await;
    assert!(line["lastError"].as_str().is_some_and(|it| it.contains("administrator")), "{line}");
    let departure = receipt(client, &person, &service.provider, "Failed").await;
    let departure = departure.metadata.name.expect("a name");
    let message = says(client, "Departure", &departure, "CredentialsRevoked", "LeftoversRemain").await;
    assert!(message.contains(&service.provider), "{message}");
    assert_eq!(service.user(&person).await.expect("an account")["active"], true);
    service.set(&user["id"], "userType", json!("Employee")).await;
    receipt(client, &person, &service.provider, "Disabled").await;
}

/// Marks of usher's whose person it does not know are told by name, and the accounts stay as they are.
#[tokio::test]
async fn accounts_of_nobody_are_named_and_left() {
    let shared = operated().await;
    let client = &shared.client;
    let service = Service::new(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let (ada, old, gone) = (name("ada"), name("old"), name("gone"));
    bind(client, &role, &[&ada]).await;
    developer(client, &ada, json!({})).await;
    tells(client, &ada, &service.provider, "Active").await;
    let mark = service.user(&ada).await.expect("an account")["externalId"].as_str().expect("a mark").to_owned();
    let installation = mark.split('/').nth(1).expect("an installation");
    for (username, mark) in [(&old, mark.clone()), (&gone, format!("usher/{installation}/uid-nobody/{gone}"))] {
        let user = service.stranger(username, &format!("{username}@example.com")).await;
        service.set(&user["id"], "externalId", json!(mark)).await;
    }
    let before = [service.user(&old).await, service.user(&gone).await];
    edit(client, "Provider", &service.provider, json!({"requestsPerSecond": 100})).await;
    let left = crate::support::wait_until("both are listed", super::SOON, async || {
        let said = shared.all.plane.usher(&["orphans", "-o", "json"]).await;
        let all: Vec<Value> = serde_json::from_str(&said.stdout).map_err(|error| format!("{error}: {said:?}"))?;
        let here: Vec<Value> = all.into_iter().filter(|it| it["provider"] == service.provider.as_str()).collect();
        if here.len() == 2 { Ok(here) } else { Err(said.stdout) }
    })
    .await;
    let why = |username: &str| left.iter().find(|it| it["name"] == username).map(|it| it["why"].to_string()).unwrap_or_default();
    assert!(why(&old).contains("has another account now") && why(&gone).contains("does not exist"), "{left:?}");
    let said = shared.all.plane.usher(&["orphans"]).await;
    assert!(said.code == Some(1) && said.stdout.contains(&format!("Account {gone} at uprov/{}", service.provider)), "{said:?}");
    assert_eq!([service.user(&old).await, service.user(&gone).await], before);
}

/// Nobody's status tells of it any more and no Role gives it, as after a restore without Bindings: it is kept, and named until a Binding explains it.
#[tokio::test]
async fn an_account_that_only_its_mark_tells_of_is_kept_and_named() {
    let shared = operated().await;
    let client = &shared.client;
    let service = Service::new(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let person = name("ada");
    bind(client, &role, &[&person]).await;
    developer(client, &person, json!({})).await;
    tells(client, &person, &service.provider, "Active").await;
    remove(client, "Provider", &service.provider).await;
    edit(client, "Role", &role, json!({"accounts": null})).await;
    crate::support::wait_until("nothing tells of it", super::SOON, async || {
        let account = super::told(client, &person, &service.provider).await;
        if account.is_null() { Ok(()) } else { Err(account.to_string()) }
    })
    .await;
    service.shows(&person, true, &["developers"]).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), super::NAMESPACE);
    secrets.delete(&service.provider, &DeleteParams::default()).await.expect("deleted");
    service.declare(client, None, json!({})).await;
    let named = crate::support::wait_until("it is named", super::SOON, async || {
        let provider = kind(client, "Provider").await.get(&service.provider).await.expect("a Provider");
        provider.data["status"]["orphans"]
            .as_array()
            .and_then(|all| all.first())
            .cloned()
            .ok_or_else(|| provider.data["status"].to_string())
    })
    .await;
    assert!(named["why"] == format!("no Role gives dev/{person} an account here") && named["username"] == person.as_str(), "{named}");
    service.shows(&person, true, &["developers"]).await;
    edit(client, "Role", &role, json!({"accounts": [{"provider": service.provider, "groups": ["developers"]}]})).await;
    tells(client, &person, &service.provider, "Active").await;
}

/// Her pin means another account now. The one before bears her mark still: it is named while she is there, and she is locked out of both when she leaves.
#[tokio::test]
async fn every_account_that_bears_her_mark_is_locked_out() {
    let shared = operated().await;
    let client = &shared.client;
    let service = Service::new(client, json!({"verifyEvery": "24h"})).await;
    let (first, second) = (service.stranger("first", "first@example.com").await, service.stranger("second", "second@example.com").await);
    let role = outside(client, &[&service]).await;
    let person = name("ada");
    bind(client, &role, &[&person]).await;
    let pin = |account: &Value| json!({"accounts": [{"provider": service.provider, "id": account["id"], "username": account["userName"], "adopt": true}]});
    developer(client, &person, pin(&first)).await;
    service.shows("first", true, &["developers"]).await;
    edit(client, "Developer", &person, pin(&second)).await;
    service.shows("second", true, &["developers"]).await;
    wait_until("the other account is hers", SOON, async || {
        let account = super::told(client, &person, &service.provider).await;
        if account["id"] == second["id"] && account["state"] == "Active" { Ok(()) } else { Err(account.to_string()) }
    })
    .await;
    edit(client, "Developer", &person, json!({"state": "Departed"})).await;
    assert_eq!(line(client, &person, &service.provider, "Disabled").await["id"], second["id"]);
    for username in ["first", "second"] {
        assert_eq!(service.user(username).await.expect("an account")["active"], false, "{username} at the time the receipt says so");
        service.shows(username, false, &[]).await;
    }
}

/// The service takes marks and loses them. An account is hers by its id alone, from the moment it is made; and never that of who has the name next.
#[tokio::test]
async fn where_no_mark_is_kept_the_id_says_whose_an_account_is() {
    let shared = operated().await;
    let client = &shared.client;
    let system = crate::support::systems::shared("scim").await;
    let service = Service::of(system).await;
    let proxy = super::proxy::HttpsProxy::start(&service.base, Some(&super::ca(system))).await;
    proxy.edit(|_, told| told.body = String::from_utf8_lossy(&told.body).replace("externalId", "lost").into());
    let role = outside(client, &[&service]).await;
    let (person, pinned) = (name("ada"), name("bob"));
    bind(client, &role, &[&person, &pinned]).await;
    service.declare(client, Some(&proxy), json!({"verifyEvery": "24h"})).await;
    developer(client, &person, json!({})).await;
    let id = tells(client, &person, &service.provider, "Active").await["id"].clone();
    assert_eq!(service.user(&person).await.expect("an account")["id"], id);
    service.shows(&person, true, &["developers"]).await;
    edit(client, "Developer", &person, json!({"state": "Departed"})).await;
    assert_eq!(line(client, &person, &service.provider, "Disabled").await["id"], id);
    service.shows(&person, false, &[]).await;
    remove(client, "Developer", &person).await;
    // Another person by the same name.
    developer(client, &person, json!({"email": "another@example.com"})).await;
    let conflict = tells(client, &person, &service.provider, "Conflict").await;
    assert!(conflict["id"].is_null(), "{conflict}");
    service.shows(&person, false, &[]).await;
}

/// Nothing in the cluster tells that her account was there before usher, as after a restore: its mark does, and her password stays hers.
#[tokio::test]
async fn a_password_of_her_own_outlasts_whatever_the_cluster_forgets() {
    let shared = operated().await;
    let client = &shared.client;
    let service = Service::new(client, json!({"adopt": "ByUsername"})).await;
    let person = name("ada");
    service.stranger(&person, "ada@elsewhere.example").await;
    let role = outside(client, &[&service]).await;
    bind(client, &role, &[&person]).await;
    developer(client, &person, json!({})).await;
    assert_eq!(tells(client, &person, &service.provider, "Active").await["adopted"], true);
    ready(client, &person).await;
    let mark = service.user(&person).await.expect("an account")["externalId"].clone();
    assert!(mark.as_str().is_some_and(|mark| mark.ends_with("/adopted")), "{mark}");
    remove(client, "Provider", &service.provider).await;
    edit(client, "Role", &role, json!({"accounts": null})).await;
    wait_until("nothing tells of it", SOON, async || {
        let account = super::told(client, &person, &service.provider).await;
        if account.is_null() { Ok(()) } else { Err(account.to_string()) }
    })
    .await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), super::NAMESPACE);
    secrets.delete(&service.provider, &DeleteParams::default()).await.expect("deleted");
    service.declare(client, None, json!({})).await;
    let plain = Service::new(client, json!({})).await;
    let accounts = [&service, &plain].map(|it| json!({"provider": it.provider, "groups": ["developers"]}));
    edit(client, "Role", &role, json!({"accounts": accounts})).await;
    assert_eq!(tells(client, &person, &service.provider, "Active").await["adopted"], true);
    tells(client, &person, &plain.provider, "Active").await;
    let passwords = passwords_once(client, &person, &plain.provider).await;
    assert_eq!(passwords, [format!("{}.password", plain.provider)]);
    ready(client, &person).await;
    assert!(!super::made(&shared.all.operator.log(), &service.provider).values().flatten().any(|change| change == "issue a password"));
}
