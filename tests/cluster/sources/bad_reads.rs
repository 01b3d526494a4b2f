//! A directory that tells of nobody, of half of them, breaks off, or tells what was true yesterday takes nobody's access away (pains 9 to 11).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::House;
use crate::accounts::proxy::Told;
use crate::accounts::says;
use crate::support::access::Subject;
use crate::support::wait_until;

/// Whether a request asks for a page of people.
fn lists_people(path: &str) -> bool {
    path.contains("/users?")
}

/// Four people in a team whose members may look: the team, and one of them.
async fn four_viewers(house: &House) -> (String, Subject) {
    let viewers = house.team("view").await;
    let group = format!("teams/{viewers}");
    let (ada, _) = house.person(&[&group]).await;
    for _ in 0..3 {
        house.person(&[&group]).await;
    }
    let known = house.known(&ada).await;
    house.may(&known, &["get"]).await;
    house.settles(4).await;
    (viewers, known)
}

#[tokio::test]
async fn a_directory_that_tells_nobody_half_of_them_or_breaks_off_takes_nobodys_access_away() {
    let (house, proxy) = House::behind_proxy(json!({"absence": {"action": "Depart", "after": "1s"}, "brake": {"maxRemovals": 1000}})).await;
    let (_, known) = four_viewers(&house).await;

    proxy.instead(|asked| {
        let count = asked.path.contains("/users/count").then(|| Told::json(200, &json!(0)));
        count.or_else(|| lists_people(&asked.path).then(|| Told::json(200, &json!([]))))
    });
    let message = says(&house.client, "Source", &house.source, "Ready", "Incomplete").await;
    assert!(message.contains("it tells of nobody"), "{message}");
    house.may_still(&known, &["get"]).await;

    proxy.instead(|_| None);
    house.settles(4).await;
    proxy.edit(|asked, told| {
        if let (true, Some(users)) = (lists_people(&asked.path), told.value().as_array()) {
            told.set(&Value::from(users[users.len() / 2..].to_vec()));
        }
    });
    let message = says(&house.client, "Source", &house.source, "Connected", "Unreachable").await;
    assert!(message.contains("2 of 4"), "{message}");
    house.may_still(&known, &["get"]).await;

    proxy.edit(|_, _| {});
    house.settles(4).await;
    proxy.instead(|asked| asked.path.contains("/members?").then(|| Told::json(500, &json!({"error": "unknown_error"}))));
    let message = says(&house.client, "Source", &house.source, "Connected", "Unreachable").await;
    assert!(message.contains("500") && message.contains("nobody loses anything"), "{message}");
    house.may_still(&known, &["get"]).await;
    proxy.instead(|_| None);
    house.settles(4).await;
    house.may_still(&known, &["get"]).await;
}

/// Groups that are there and tell of nobody, or no group at all; and half of a group's page.
#[tokio::test]
async fn a_directory_that_tells_of_no_member_or_no_group_takes_nobodys_team() {
    let (house, proxy) = House::behind_proxy(json!({"absence": {"after": "1h"}})).await;
    let (viewers, known) = four_viewers(&house).await;
    for empty in ["/members?", "/groups?", "/children?"] {
        proxy.instead(move |asked| asked.path.contains(empty).then(|| Told::json(200, &json!([]))));
        let message = says(&house.client, "Source", &house.source, "Ready", "Incomplete").await;
        assert!(message.contains(&format!("any more: {viewers}")) && message.contains("usher.dev/release=sha256:"), "{message}");
        house.may_still(&known, &["get"]).await;
        proxy.instead(|_| None);
        house.settles(4).await;
    }
    proxy.edit(|asked, told| {
        if let (true, Some(members)) = (asked.path.contains("/members?"), told.value().as_array()) {
            told.set(&Value::from(members.iter().take(1).cloned().collect::<Vec<_>>()));
        }
    });
    house.may_still(&known, &["get"]).await;
    for developer in house.everybody().await {
        assert_eq!(developer.data["spec"]["teams"], json!([viewers]), "{:?}", developer.metadata.name);
    }
}

/// A replica that lags, or a backup that was restored: everything is as it was before she moved.
#[tokio::test]
async fn yesterdays_state_is_not_believed() {
    let (house, proxy) = House::behind_proxy(json!({"absence": {"action": "Depart", "after": "1h"}})).await;
    let (viewers, editors) = (house.team("view").await, house.team("edit").await);
    let (viewing, editing) = (format!("teams/{viewers}"), format!("teams/{editors}"));
    let (ada, id) = house.person(&[&viewing]).await;
    let known = house.known(&ada).await;
    house.may(&known, &["get"]).await;
    let yesterday: Arc<Mutex<BTreeMap<String, Value>>> = Arc::default();
    let lists: Arc<AtomicUsize> = Arc::default();
    let (kept, seen) = (yesterday.clone(), lists.clone());
    proxy.edit(move |asked, told| {
        kept.lock().insert(asked.path.clone(), told.value());
        seen.fetch_add(usize::from(lists_people(&asked.path)), Ordering::SeqCst);
    });
    // Between the first list of people and the third there is a read as a whole.
    wait_until("yesterday is kept", super::SOON, async || match lists.load(Ordering::SeqCst) {
        3.. => Ok(()),
        few => Err(few),
    })
    .await;
    proxy.edit(|_, _| {});

    // In this order, as a read may come between: who has come into another team has not left an empty one for no reason.
    house.realm.leave(&id, &viewing).await;
    house.realm.join(&id, &editing).await;
    house.may(&known, &["get", "create"]).await;
    let (bob, _) = house.person(&[&editing]).await;
    let newcomer = house.known(&bob).await;
    house.may(&newcomer, &["get", "create"]).await;

    let kept = yesterday.clone();
    proxy.instead(move |asked| kept.lock().get(&asked.path).filter(|_| !asked.changes()).map(|told| Told::json(200, told)));
    let message = says(&house.client, "Source", &house.source, "Ready", "Incomplete").await;
    assert!(message.contains("copy of the past") && message.contains("usher.dev/release=sha256:"), "{message}");
    house.may_still(&known, &["get", "create"]).await;
    house.may_still(&newcomer, &["get", "create"]).await;

    proxy.instead(|_| None);
    house.settles(2).await;
    house.may_still(&known, &["get", "create"]).await;
}
