//! What waits for a word: a brake, a pause, a Provider that is only observed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::client::{kind, ready};
use crate::support::people::{developer, edit, reaches};
use crate::support::{name, operated, wait_until};

use super::{SOON, Service, annotate, bind, made, outside, receipt, says, tells, told};

/// While a Provider is paused nothing is given and no edit takes anything; who leaves is locked out all the same.
#[tokio::test]
async fn a_paused_provider_gives_nothing_and_locks_leavers_out() {
    let shared = operated().await;
    let client = &shared.client;
    let service = Service::new(client, json!({})).await;
    let role = outside(client, &[&service]).await;
    let (stays, leaves, comes) = (name("ada"), name("bob"), name("eve"));
    bind(client, &role, &[&stays, &leaves, &comes]).await;
    for person in [&stays, &leaves] {
        developer(client, person, json!({})).await;
        ready(client, person).await;
        service.shows(person, true, &["developers"]).await;
    }
    annotate(client, "Provider", &service.provider, "usher.dev/paused", json!("true")).await;
    says(client, "Provider", &service.provider, "Ready", "Paused").await;
    developer(client, &comes, json!({})).await;
    edit(client, "Role", &role, json!({"accounts": [{"provider": service.provider, "groups": ["releases"]}]})).await;
    for person in [&stays, &comes] {
        let message = says(client, "Developer", person, "AccountsSynced", "Paused").await;
        assert!(message.contains("remove the annotation usher.dev/paused"), "{message}");
    }
    edit(client, "Developer", &leaves, json!({"state": "Departed"})).await;
    receipt(client, &leaves, &service.provider, "Disabled").await;
    service.shows(&leaves, false, &[]).await;
    service.shows(&stays, true, &["developers"]).await;
    assert!(service.user(&comes).await.is_none());

    annotate(client, "Provider", &service.provider, "usher.dev/paused", json!(null)).await;
    for person in [&stays, &comes] {
        service.shows(person, true, &["releases"]).await;
        ready(client, person).await;
    }
}

/// What is told while a Provider is observed is, word for word, what is done when it is not any more; and switching back ends it.
#[tokio::test]
async fn what_is_observed_is_what_is_done_then() {
    let shared = operated().await;
    let client = &shared.client;
    let more = json!({"mode": "Observe", "adopt": "ByUsername", "initialCredentials": "None"});
    let service = Service::new(client, more).await;
    let role = outside(client, &[&service]).await;
    let (new, known, disabled) = (name("ada"), name("bob"), name("eve"));
    let before = service.stranger(&known, &format!("{known}@example.com")).await;
    let locked = service.stranger(&disabled, "other@example.com").await;
    service.set(&locked["id"], "active", json!(false)).await;
    let people = [&new, &known, &disabled];
    bind(client, &role, &people.map(String::as_str)).await;
    let mut would = BTreeMap::new();
    for person in people {
        developer(client, person, json!({})).await;
        let words = wait_until("it is told what would be done", SOON, async || {
            let account = told(client, person, &service.provider).await;
            let words = account["message"].as_str().and_then(|it| it.strip_prefix("only observed: would ").map(str::to_owned));
            words.ok_or_else(|| account.to_string())
        })
        .await;
        would.insert(person.clone(), words.split(", ").map(str::to_owned).collect::<Vec<_>>());
    }
    assert_eq!(would[&new], ["make it", "add it to developers"]);
    assert!(would[&disabled].contains(&"let it in".to_owned()), "{would:?}");
    assert!(made(&shared.all.operator.log(), &service.provider).is_empty());
    assert_eq!(service.user(&known).await.expect("an account")["meta"], before["meta"]);
    assert!(service.user(&new).await.is_none());

    edit(client, "Provider", &service.provider, json!({"mode": "Enforce"})).await;
    for person in people {
        service.shows(person, true, &["developers"]).await;
        tells(client, person, &service.provider, "Active").await;
        ready(client, person).await;
    }
    assert_eq!(made(&shared.all.operator.log(), &service.provider), would);

    edit(client, "Provider", &service.provider, json!({"mode": "Observe"})).await;
    reaches(client, "Provider", &service.provider, "/status/state", "Observing").await;
    edit(client, "Developer", &new, json!({"state": "Suspended"})).await;
    wait_until("it is told what would be taken", SOON, async || {
        let account = told(client, &new, &service.provider).await;
        if account["message"].as_str().is_some_and(|it| it.contains("would lock it out")) { Ok(()) } else { Err(account.to_string()) }
    })
    .await;
    assert_eq!(made(&shared.all.operator.log(), &service.provider), would);
    service.shows(&new, true, &["developers"]).await;
}

/// A batch that was released once is no word for the same people another time.
#[tokio::test]
async fn a_word_for_one_batch_is_none_for_the_next() {
    let shared = operated().await;
    let client = &shared.client;
    let service = Service::new(client, json!({"brake": {"maxRemovals": 0, "maxPercent": 0}})).await;
    let role = outside(client, &[&service]).await;
    let people = [name("ada"), name("bob")];
    bind(client, &role, &people.each_ref().map(String::as_str)).await;
    for person in &people {
        developer(client, person, json!({})).await;
        service.shows(person, true, &["developers"]).await;
        tells(client, person, &service.provider, "Active").await;
    }
    let held = async || {
        wait_until("both wait", SOON, async || {
            let provider = kind(client, "Provider").await.get(&service.provider).await.expect("a Provider");
            let brake = provider.data["status"]["brake"].clone();
            if brake["removals"] == 2 { Ok(brake["digest"].clone()) } else { Err(provider.data["status"].to_string()) }
        })
        .await
    };
    let accounts = |groups: Value| json!({"accounts": [{"provider": service.provider, "groups": groups}]});
    edit(client, "Role", &role, accounts(json!([]))).await;
    let word = held().await;
    annotate(client, "Provider", &service.provider, "usher.dev/release", word.clone()).await;
    for person in &people {
        service.shows(person, true, &[]).await;
    }
    edit(client, "Role", &role, accounts(json!(["developers"]))).await;
    for person in &people {
        service.shows(person, true, &["developers"]).await;
    }
    edit(client, "Role", &role, accounts(json!([]))).await;
    assert_ne!(held().await, word, "the annotation is still there");
    for person in &people {
        assert_eq!(service.groups(person).await, ["developers"]);
    }
}
