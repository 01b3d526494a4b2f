//! Access follows what is pushed.

use kube::api::ListParams;
use serde_json::json;

use super::{House, SOON, user};
use crate::support::client::{explain, kind};
use crate::support::people::reaches;
use crate::support::{name, throughout, wait_until};

#[tokio::test]
async fn who_is_pushed_gets_what_her_groups_give_and_loses_all_of_it_when_she_is_deactivated() {
    let house = House::new(json!({})).await;
    let (ada, id) = house.person().await;
    house.team("view", &[&id]).await;
    let who = house.known(&ada).await;
    house.may(&who, &["get"]).await;
    // As Entra ID says it by default.
    house.sender.patch(&format!("/Users/{id}"), json!([{"op": "Replace", "path": "active", "value": "False"}])).await.is(200);
    house.may(&who, &[]).await;
    house.state(&ada, "Suspended").await;
    // As Okta says it.
    house.sender.patch(&format!("/Users/{id}"), json!([{"op": "replace", "value": {"active": true}}])).await.is(200);
    house.state(&ada, "Active").await;
    let who = house.known(&ada).await;
    house.may(&who, &["get"]).await;
    // A PATCH of which nothing is kept is an error, and takes nobody for gone.
    let nothing =
        house.sender.patch(&format!("/Users/{id}"), json!([{"op": "replace", "path": "isEnabled", "value": false}])).await.is(400);
    assert_eq!(nothing.body["scimType"], "invalidPath", "{nothing:?}");
    house.may(&who, &["get"]).await;
}

#[tokio::test]
async fn moving_between_groups_changes_access_and_leaving_the_last_one_takes_it() {
    let house = House::new(json!({})).await;
    let ((ada, id), (_, other)) = (house.person().await, house.person().await);
    let (viewers, editors) = (house.team("view", &[&id, &other]).await, house.team("edit", &[]).await);
    let who = house.known(&ada).await;
    house.may(&who, &["get"]).await;
    house
        .sender
        .patch(&format!("/Groups/{editors}"), json!([{"op": "Add", "path": "members", "value": [{"$ref": null, "value": id}]}]))
        .await
        .is(204);
    house.may(&who, &["get", "create"]).await;
    house
        .sender
        .patch(&format!("/Groups/{viewers}"), json!([{"op": "remove", "path": format!("members[value eq \"{id}\"]")}]))
        .await
        .is(204);
    house.sender.patch(&format!("/Groups/{editors}"), json!([{"op": "Remove", "path": "members", "value": [{"value": id}]}])).await.is(204);
    house.may(&who, &[]).await;
    assert!(house.developer(&ada).await.is_some_and(|it| it.data["spec"]["state"] == "Active"), "she is still there");
    house.sender.with("DELETE", &format!("/Groups/{viewers}"), &[], None).await.is(204);
    assert_eq!(house.sender.get(&format!("/Groups/{viewers}")).await.status, 404);
}

#[tokio::test]
async fn who_is_deleted_departs_with_a_receipt_and_who_is_pushed_again_comes_back() {
    let house = House::new(json!({})).await;
    let (ada, id) = house.person().await;
    let team = house.team("view", &[&id]).await;
    let who = house.known(&ada).await;
    house.may(&who, &["get"]).await;
    house.sender.with("DELETE", &format!("/Users/{id}"), &[], None).await.is(204);
    house.sender.get(&format!("/Users/{id}")).await.is(404);
    house.may(&who, &[]).await;
    house.state(&ada, "Departed").await;
    wait_until("there is a receipt", SOON, async || {
        let departures = kind(&house.client, "Departure").await.list(&ListParams::default()).await.map_err(|error| explain(&error))?;
        departures.items.iter().find(|it| it.data["spec"]["developer"]["name"] == ada).map(|_| ()).ok_or_else(|| "none".to_owned())
    })
    .await;
    let group = house.sender.get(&format!("/Groups/{team}")).await.is(200);
    assert!(group.body["members"].as_array().is_none_or(Vec::is_empty), "nobody who was deleted is a member: {group:?}");
    // The same person by her externalId.
    let back = house.sender.post("/Users", &user(&ada)).await.is(201).id();
    assert_ne!(back, id, "an id is nobody else's");
    house.state(&ada, "Active").await;
}

#[tokio::test]
async fn the_brake_holds_a_mass_and_a_word_lets_it_through() {
    let house = House::new(json!({"brake": {"maxRemovals": 2, "maxPercent": 1}})).await;
    let mut people = Vec::new();
    for _ in 0..5 {
        people.push(house.person().await);
    }
    for (ada, _) in &people {
        house.known(ada).await;
    }
    for (_, id) in &people {
        house.sender.patch(&format!("/Users/{id}"), json!([{"op": "replace", "path": "active", "value": false}])).await.is(200);
    }
    let status = reaches(&house.client, "Source", &house.source, "/status/state", "Braked").await.data["status"].clone();
    let held = status["brake"]["removals"].as_u64().unwrap_or_default();
    assert!((1..=5).contains(&held), "{status}");
    let active = async || {
        let mut active = 0;
        for (ada, _) in &people {
            active += u64::from(house.developer(ada).await.is_some_and(|it| it.data["spec"]["state"] == "Active"));
        }
        active
    };
    throughout("those who are held keep what they have", std::time::Duration::from_secs(3), async || {
        let now = active().await;
        if now >= 3 { Ok(()) } else { Err(format!("{now} are active")) }
    })
    .await;
    let status = reaches(&house.client, "Source", &house.source, "/status/state", "Braked").await.data["status"].clone();
    let word = status["brake"]["digest"].as_str().expect("a word");
    let patch = json!({"metadata": {"annotations": {"usher.dev/release": word}}});
    let sources = kind(&house.client, "Source").await;
    sources.patch(&house.source, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch)).await.expect("annotated");
    for (ada, _) in &people {
        house.state(ada, "Suspended").await;
    }
}

#[tokio::test]
async fn a_source_that_is_observed_keeps_what_is_pushed_and_makes_nobody() {
    let house = House::new(json!({"mode": "Observe"})).await;
    let (ada, id) = house.person().await;
    house.sender.get(&format!("/Users/{id}")).await.is(200);
    let status = wait_until("it says what would be done", SOON, async || {
        let source = kind(&house.client, "Source").await.get(&house.source).await.map_err(|error| explain(&error))?;
        let status = source.data["status"].clone();
        if status["pending"]["create"] == 1 { Ok(status) } else { Err(status.to_string()) }
    })
    .await;
    assert_eq!((&status["state"], &status["lastRead"]["people"]), (&json!("Observing"), &json!(1)), "{status}");
    assert!(house.developer(&ada).await.is_none());
}

#[tokio::test]
async fn a_login_that_is_somebody_elses_developer_is_a_conflict_that_is_told() {
    let house = House::new(json!({})).await;
    let ada = name("ada");
    crate::support::people::developer(&house.client, &ada, json!({"personId": format!("{ada}-other")})).await;
    house.sender.post("/Users", &user(&ada)).await.is(201);
    wait_until("the Source says who clashes", SOON, async || {
        let source = kind(&house.client, "Source").await.get(&house.source).await.map_err(|error| explain(&error))?;
        let problems = source.data["status"]["problems"].to_string();
        if problems.contains("Conflict") && problems.contains(&ada) { Ok(()) } else { Err(problems) }
    })
    .await;
}
