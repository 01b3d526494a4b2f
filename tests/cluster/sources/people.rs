//! Who is who: names that others have, people who come back, and what is only looked at.

use kube::ResourceExt;
use serde_json::json;

use super::House;
use crate::accounts::says;
use crate::support::client::kind;
use crate::support::people::{developer, edit, reaches};
use crate::support::{name, throughout, wait_until};

#[tokio::test]
async fn a_name_that_somebody_else_has_is_told_and_nobody_is_touched() {
    let house = House::bare().await;
    let (taken, free) = (name("eve"), name("bob"));
    let before = developer(&house.client, &taken, json!({"teams": ["by-hand"]})).await;
    let id = house.person_called(&taken, &[]).await;
    house.person_called(&free, &[]).await;
    house.declare(house.realm.system.env("URL"), &house.realm.ca, json!({})).await;
    house.known(&free).await;
    let message = says(&house.client, "Source", &house.source, "Ready", "Conflict").await;
    assert!(message.contains(&format!("dev/{taken}")) && message.contains(&format!("set spec.personId: {id}")), "{message}");
    let status = house.is("InSync").await;
    assert_eq!((&status["lastRead"]["conflicts"], &status["problems"][0]["person"]), (&json!(1), &json!(id)));
    let after = house.developer(&taken).await.expect("she is there");
    assert_eq!((after.data["spec"].clone(), after.labels().len()), (before.data["spec"].clone(), 0));

    // The remedy that the message has.
    edit(&house.client, "Developer", &taken, json!({"personId": id})).await;
    says(&house.client, "Source", &house.source, "Ready", "AsPlanned").await;
    let after = wait_until("she is the Source's", super::SOON, async || {
        let after = house.developer(&taken).await.expect("she is there");
        if after.labels().get("usher.dev/source") == Some(&house.source) { Ok(after) } else { Err("not yet") }
    })
    .await;
    assert_eq!((&after.data["spec"]["teams"], after.uid()), (&json!(["by-hand"]), before.uid()));
}

#[tokio::test]
async fn who_comes_back_under_her_person_id_is_the_same() {
    let people = json!({"personId": "{number}"});
    let house = House::new(json!({"people": people, "absence": {"action": "Depart", "after": "2s"}})).await;
    let viewers = house.team("view").await;
    let user = |login: &str| json!({"username": login, "email": format!("{login}@example.com"), "enabled": true, "attributes": {"number": [house.source]}});
    let (ada, married) = (name("ada"), name("king"));
    let first = crate::support::systems::realm::id_in(&house.realm.admin("POST", "/users", user(&ada)).await);
    house.realm.join(&first, &format!("teams/{viewers}")).await;
    // Somebody else stays, or nobody would be told of.
    let other = json!({"username": name("bob"), "email": "bob@example.com", "enabled": true, "attributes": {"number": ["other"]}});
    house.realm.admin("POST", "/users", other).await;
    let known = house.known(&ada).await;
    house.may(&known, &["get"]).await;
    let before = house.developer(&ada).await.expect("she is there");

    house.realm.admin("DELETE", &format!("/users/{first}"), serde_json::Value::Null).await;
    reaches(&house.client, "Developer", &ada, "/status/state", "Departed").await;
    house.may(&known, &[]).await;
    let gone = house.developer(&ada).await.expect("she is there");
    assert!(gone.annotations().contains_key("usher.dev/missing-since"), "{:?}", gone.annotations());

    let again = crate::support::systems::realm::id_in(&house.realm.admin("POST", "/users", user(&married)).await);
    house.realm.join(&again, &format!("teams/{viewers}")).await;
    reaches(&house.client, "Developer", &ada, "/status/state", "Active").await;
    let known = house.known(&ada).await;
    house.may(&known, &["get"]).await;
    let after = house.developer(&ada).await.expect("she is there");
    assert_eq!(after.uid(), before.uid());
    assert_eq!(after.data["spec"]["email"], format!("{married}@example.com"));
    assert!(!after.annotations().contains_key("usher.dev/missing-since"));
    assert!(house.developer(&married).await.is_none(), "her name was given once");
}

#[tokio::test]
async fn what_is_only_observed_is_told_and_not_done() {
    let house = House::bare().await;
    let viewers = house.team("view").await;
    let (ada, _) = house.person(&[&format!("teams/{viewers}")]).await;
    house.declare(house.realm.system.env("URL"), &house.realm.ca, json!({"mode": "Observe"})).await;
    let status = house.is("Observing").await;
    assert_eq!(status["pending"], json!({"create": 1, "change": 0, "remove": 0, "missing": 0, "sample": [format!("make dev/{ada}")]}));
    throughout("nobody is made", super::A_WHILE, async || match house.developer(&ada).await {
        None => Ok(()),
        Some(developer) => Err(format!("{developer:?}")),
    })
    .await;

    edit(&house.client, "Source", &house.source, json!({"mode": "Enforce"})).await;
    let known = house.known(&ada).await;
    house.may(&known, &["get"]).await;
    edit(&house.client, "Source", &house.source, json!({"mode": "Observe", "teams": []})).await;
    let status = house.is("Observing").await;
    assert_eq!((&status["pending"]["remove"], &status["pending"]["sample"]), (&json!(1), &json!([format!("take a team from dev/{ada}")])));
    house.may_still(&known, &["get"]).await;
}

/// In a settled source nothing is written: not even that it was read.
#[tokio::test]
async fn a_settled_source_writes_nothing() {
    let house = House::new(json!({})).await;
    let (ada, _) = house.person(&[]).await;
    house.known(&ada).await;
    let versions = async || {
        let source = kind(&house.client, "Source").await.get(&house.source).await.expect("a Source");
        let developer = house.developer(&ada).await.expect("she is there");
        (source.resource_version(), developer.resource_version())
    };
    wait_until("a read that wrote nothing was told", super::SOON, async || {
        let status = house.settles(1).await;
        let ready = house.developer(&ada).await.is_some_and(|it| it.data["status"]["conditions"][0]["status"] == "True");
        if status["lastRead"]["created"] == 0 && ready { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let before = versions().await;
    throughout("nothing is written", super::A_WHILE, async || {
        let now = versions().await;
        if now == before { Ok(()) } else { Err(format!("{now:?} after {before:?}")) }
    })
    .await;
}
