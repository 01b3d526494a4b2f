//! Accounts that stay where they are: it is told which, why, and for how long (DESIGN.md, promise 4).

use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::{Api, DeleteParams, ListParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::support::client::{kind, ready};
use crate::support::people::{developer, edit, reaches, remove};
use crate::support::{name, operated, wait_until};

use super::{NAMESPACE, SOON, Service, bind, line, outside, receipt, says, tells};

/// What a receipt tells of what is left: the list, its count, the columns.
fn told(departure: &Value) -> Value {
    let status = &departure["status"];
    let (left, summary) = (status["leftovers"].as_array().cloned().unwrap_or_default(), &status["summary"]);
    json!({"left": left, "count": status["leftoverCount"], "column": summary["leftovers"], "message": summary["message"]})
}

/// Waits until a receipt tells that exactly this account is left, for this reason, and says so in every place where people look.
async fn tells_left(client: &Client, departure: &str, (provider, person): (&str, &str), reason: &str) {
    let (target, object) = (format!("provider/{provider}"), format!("account {person} at uprov/{provider}"));
    let message = format!("{object}: {reason}");
    let left = json!([{"target": target, "object": object, "reason": reason}]);
    let exactly = json!({"left": left, "count": 1, "column": "1", "message": message});
    wait_until("the receipt tells what is left", SOON, async || {
        let seen = kind(client, "Departure").await.get(departure).await.expect("a receipt").data;
        if told(&seen) == exactly { Ok(()) } else { Err(format!("{} is not {exactly}", told(&seen))) }
    })
    .await;
    assert_eq!(says(client, "Departure", departure, "Complete", "LeftoversRemain").await, message);
    let unrevoked = says(client, "Departure", departure, "CredentialsRevoked", "LeftoversRemain").await;
    assert_eq!(unrevoked, format!("what was issued may still work at {target}"));
    reaches(client, "Departure", departure, "/status/state", "Incomplete").await;
}

/// Waits until a receipt tells of nothing that is left.
async fn tells_nothing_left(client: &Client, departure: &str) {
    let seen = reaches(client, "Departure", departure, "/status/state", "Complete").await;
    assert_eq!(told(&seen.data), json!({"left": [], "count": null, "column": "0", "message": ""}));
    for condition in ["Complete", "CredentialsRevoked"] {
        assert_eq!(says(client, "Departure", departure, condition, "AsPlanned").await, "");
    }
}

#[tokio::test]
async fn an_account_that_is_never_touched_is_told_until_it_is_gone() {
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
    let departure = receipt(client, &person, &service.provider, "Failed").await.name_any();
    let reason = "is an administrator's or protected, and is never touched; choose another username, or see to it by hand";
    tells_left(client, &departure, (&service.provider, &person), &format!("account {person} {reason}")).await;

    service.delete(&user["id"]).await;
    assert_eq!(line(client, &person, &service.provider, "Gone").await["id"], user["id"]);
    tells_nothing_left(client, &departure).await;
}

/// The system hangs when she leaves, and its Provider goes after her Developer: nobody looks after her account until it is made again.
#[tokio::test]
async fn an_account_at_a_provider_that_is_gone_is_told_until_that_is_back() {
    let shared = operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({"verifyEvery": "24h"})).await;
    let role = outside(client, &[&service]).await;
    let person = name("ada");
    bind(client, &role, &[&person]).await;
    developer(client, &person, json!({})).await;
    tells(client, &person, &service.provider, "Active").await;
    proxy.silence();
    edit(client, "Developer", &person, json!({"state": "Departed"})).await;
    let departure = receipt(client, &person, &service.provider, "Unreachable").await.name_any();
    remove(client, "Developer", &person).await;
    let unrevoked = format!("what was issued may still work at provider/{}", service.provider);
    wait_until("the receipt waits for nothing else", SOON, async || {
        let says = says(client, "Departure", &departure, "CredentialsRevoked", "Departing").await;
        if says == unrevoked { Ok(()) } else { Err(says) }
    })
    .await;
    remove(client, "Provider", &service.provider).await;
    let reason = format!("uprov/{} was deleted, so nobody looks after the account; make it again, or waive this", service.provider);
    tells_left(client, &departure, (&service.provider, &person), &reason).await;
    assert_eq!(service.user(&person).await.expect("an account")["active"], true);

    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    secrets.delete(&service.provider, &DeleteParams::default()).await.expect("deleted");
    proxy.speak();
    service.declare(client, Some(&proxy), json!({})).await;
    service.shows(&person, false, &[]).await;
    receipt(client, &person, &service.provider, "Disabled").await;
    tells_nothing_left(client, &departure).await;
}

/// Of those who are there, of those who left, and of nobody whose account usher never had.
#[tokio::test]
async fn a_provider_that_goes_says_how_many_accounts_it_leaves() {
    let shared = operated().await;
    let client = &shared.client;
    let service = Service::new(client, json!({"verifyEvery": "24h"})).await;
    let role = outside(client, &[&service]).await;
    let [ada, bob, departed, deleted, stranger] = ["ada", "bob", "cyd", "dan", "eve"].map(name);
    service.stranger(&stranger, "somebody@elsewhere.example").await;
    bind(client, &role, &[&ada, &bob, &departed, &deleted, &stranger]).await;
    for person in [&ada, &bob, &departed, &deleted] {
        developer(client, person, json!({})).await;
        tells(client, person, &service.provider, "Active").await;
        ready(client, person).await;
    }
    developer(client, &stranger, json!({})).await;
    tells(client, &stranger, &service.provider, "Conflict").await;
    for person in [&departed, &deleted] {
        edit(client, "Developer", person, json!({"state": "Departed"})).await;
        receipt(client, person, &service.provider, "Disabled").await;
        tells(client, person, &service.provider, "Disabled").await;
    }
    remove(client, "Developer", &deleted).await;
    let provider = kind(client, "Provider").await.get(&service.provider).await.expect("a Provider");
    remove(client, "Provider", &service.provider).await;

    let events = Api::<Event>::all(client.clone());
    let of_it = ListParams::default().fields(&format!("involvedObject.uid={},reason=AccountsLeft", provider.uid().expect("a UID")));
    let rung = wait_until("an Event tells of it", SOON, async || {
        let list = events.list(&of_it).await.map_err(|error| error.to_string())?;
        list.items.into_iter().next().ok_or_else(|| "there is none".to_owned())
    })
    .await;
    let note = "4 accounts stay at the system as they are";
    assert_eq!((rung.type_.as_deref(), rung.message.as_deref()), (Some("Normal"), Some(note)), "{rung:?}");
    let about = (rung.involved_object.kind.as_deref(), rung.involved_object.name.as_deref());
    assert_eq!(about, (Some("Provider"), Some(service.provider.as_str())));
    for (person, active) in [(&ada, true), (&bob, true), (&departed, false), (&deleted, false), (&stranger, true)] {
        assert_eq!(service.user(person).await.expect("an account")["active"], active, "{person}");
    }
}
