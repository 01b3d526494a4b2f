//! What is sent again, said otherwise, or said to another Source of the same name: what was answered holds, and nothing else comes of it.

use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

use super::{House, SOON, user};
use crate::support::client::{explain, kind};
use crate::support::install::NAMESPACE;
use crate::support::scim::{Sender, declare_source};
use crate::support::{name, wait_until};

#[tokio::test]
async fn who_is_called_otherwise_by_her_sender_is_deactivated_all_the_same() {
    let house = House::new(json!({})).await;
    let ((ada, id), (bob, other)) = (house.person().await, house.person().await);
    house.state(&ada, "Active").await;
    house.state(&bob, "Active").await;
    let path = format!("/Users/{id}");
    house.sender.patch(&path, json!([{"op": "replace", "path": "externalId", "value": format!("new-{ada}")}])).await.is(200);
    house.sender.patch(&path, json!([{"op": "replace", "path": "active", "value": false}])).await.is(200);
    // Without a word of who she is, and then without one of whether she may have anything.
    let path = format!("/Users/{other}");
    let off = json!({"userName": format!("{bob}@example.com"), "active": false});
    house.sender.with("PUT", &path, &[], Some(&off)).await.is(200);
    let silent = json!({"userName": format!("{bob}@example.com"), "title": "Boss"});
    let put = house.sender.with("PUT", &path, &[], Some(&silent)).await.is(200).body;
    assert_eq!((&put["active"], &put["externalId"], &put["title"]), (&json!(false), &json!(format!("ext-{bob}")), &json!("Boss")));
    house.state(&ada, "Suspended").await;
    house.state(&bob, "Suspended").await;
    house.sender.with("DELETE", &format!("/Users/{id}"), &[], None).await.is(204);
    house.state(&ada, "Departed").await;
}

#[tokio::test]
async fn a_group_that_is_sent_again_is_there_once_and_found_by_its_name() {
    let house = House::new(json!({"mode": "Observe"})).await;
    let group = json!({"displayName": name("Team"), "externalId": "7"});
    let answers = join_all((0..6).map(|_| house.sender.post("/Groups", &group))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
    let again = house.sender.post("/Groups", &group).await.is(409);
    assert_eq!(again.body["scimType"], "uniqueness", "{again:?}");
    let found = house.sender.find("Groups", &format!("displayName eq {}", group["displayName"])).await;
    let made = answers.iter().find(|answer| answer.status == 201).expect("one").id();
    assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(1), &json!(made)));
    // What its sender tells apart is another one.
    house.sender.post("/Groups", &json!({"displayName": group["displayName"], "externalId": "8"})).await.is(201);
    house.sender.with("DELETE", &format!("/Groups/{made}"), &[], None).await.is(204);
    house.sender.post("/Groups", &group).await.is(201);
}

#[tokio::test]
async fn what_was_pushed_for_a_source_goes_with_it_and_another_one_of_its_name_has_none_of_it() {
    let house = House::new(json!({})).await;
    let (ada, id) = house.person().await;
    house.state(&ada, "Active").await;
    let sources = kind(&house.client, "Source").await;
    sources.delete(&house.source, &DeleteParams::default()).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    let maps: Api<ConfigMap> = Api::namespaced(house.client.clone(), NAMESPACE);
    let own = ListParams::default().labels(&format!("usher.dev/source={}", house.source));
    wait_until("nothing is left of what was pushed", SOON, async || {
        let left = maps.list(&own).await.map_err(|error| explain(&error))?.items.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await;
    let token = declare_source(&house.client, &house.source, json!({})).await;
    let sender = Sender::new(&house.shared.all.operator, &house.shared.all.scim_ca, &house.source, &token).await;
    sender.let_in().await;
    assert_eq!(sender.get("/Users").await.is(200).body["totalResults"], 0);
    sender.get(&format!("/Users/{id}")).await.is(404);
    // The same person, by her externalId, is the same Developer.
    sender.post("/Users", &user(&ada)).await.is(201);
    wait_until("she is told of", SOON, async || {
        let source = sources.get(&house.source).await.map_err(|error| explain(&error))?;
        let last = source.data["status"]["lastRead"].clone();
        if last["people"] == 1 && last["missing"] == 0 { Ok(()) } else { Err(last.to_string()) }
    })
    .await;
    house.state(&ada, "Active").await;
}

/// Whoever is taken out of a Group goes first, but not for ever.
#[tokio::test]
async fn a_group_that_changes_all_the_time_holds_up_nobody_else() {
    let house = House::new(json!({})).await;
    let (ada, id) = house.person().await;
    house.state(&ada, "Active").await;
    let group = format!("/Groups/{}", house.team("view", &[&id]).await);
    let busy = async {
        loop {
            for op in ["remove", "add"] {
                house.sender.patch(&group, json!([{"op": op, "path": "members", "value": [{"value": id}]}])).await.is(204);
            }
        }
    };
    let people = async {
        let logins: Vec<String> = (0..24).map(|_| name("new")).collect();
        for login in &logins {
            house.sender.post("/Users", &user(login)).await.is(201);
        }
        for login in &logins {
            house.state(login, "Active").await;
        }
    };
    tokio::select! {
        () = busy => {}
        () = people => {}
    }
}
