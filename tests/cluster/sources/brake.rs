//! Too many at once: nothing is carried out until somebody says that it was meant.

use serde_json::{Value, json};

use super::{House, READS, Realm, credentials};
use crate::accounts::{SOON, says};
use crate::support::people::edit;
use crate::support::{name, wait_until};

#[tokio::test]
async fn too_many_who_would_lose_something_wait_for_exactly_one_word() {
    let house = House::new(json!({"brake": {"maxRemovals": 2, "maxPercent": 10}, "absence": {"after": "1s"}})).await;
    let viewers = house.team("view").await;
    let group = format!("teams/{viewers}");
    let mut people = Vec::new();
    for _ in 0..5 {
        people.push(house.person(&[&group]).await.0);
    }
    let known = house.known(&people[0]).await;
    house.may(&known, &["get"]).await;
    house.settles(5).await;
    for person in &people {
        house.known(person).await;
        wait_until("she is in the team", SOON, async || {
            let developer = house.developer(person).await.ok_or("she is not there")?;
            if developer.data["spec"]["teams"] == json!([viewers]) { Ok(()) } else { Err("she is not") }
        })
        .await;
    }

    // Somebody deletes the group, and that lasts.
    house.realm.admin("DELETE", &format!("/groups/{}", house.realm.group_id(&group).await), Value::Null).await;
    let status = house.is("Braked").await;
    let digest = status["brake"]["digest"].as_str().expect("a digest");
    assert_eq!(
        (&status["brake"]["removals"], &status["brake"]["population"], &status["pending"]["remove"]),
        (&json!(5), &json!(5), &json!(5)),
        "{status}"
    );
    let message = says(&house.client, "Source", &house.source, "Ready", "Braked").await;
    assert!(message.contains(&format!("usher.dev/release={digest}")), "{message}");
    let (late, _) = house.person(&[]).await;
    house.may_still(&known, &["get"]).await;
    assert!(house.developer(&late).await.is_none(), "a read that is not carried out makes nobody either");

    house.release("sha256:of-another-batch").await;
    house.may_still(&known, &["get"]).await;
    house.release(digest).await;
    house.may(&known, &[]).await;
    house.known(&late).await;
    house.is("InSync").await;
    for person in &people {
        let developer = house.developer(person).await.expect("they are there");
        assert_eq!((&developer.data["spec"]["teams"], &developer.data["spec"]["state"]), (&Value::Null, &json!("Active")));
    }
}

#[tokio::test]
async fn another_directory_takes_nothing_from_few_people_either_and_makes_nobody() {
    let house = House::new(json!({"absence": {"after": "1s"}})).await;
    let viewers = house.team("view").await;
    let (ada, _) = house.person(&[&format!("teams/{viewers}")]).await;
    house.person(&[]).await;
    let known = house.known(&ada).await;
    house.may(&known, &["get"]).await;
    house.settles(2).await;

    let (other, mistake, stranger) = (Realm::with(&READS, |_| {}).await, name("mistake"), name("eve"));
    other.admin("POST", "/users", json!({"username": stranger, "email": format!("{stranger}@example.com"), "enabled": true})).await;
    credentials(&house.client, &mistake, &other.secret, &other.ca).await;
    let realm = |realm: &str, secret: &str| json!({"keycloak": {"realm": realm, "credentialsSecret": {"name": secret}}});
    edit(&house.client, "Source", &house.source, realm(&other.name, &mistake)).await;
    let status = house.is("Braked").await;
    assert_eq!((&status["brake"]["removals"], &status["brake"]["population"]), (&json!(2), &json!(2)), "{status}");
    house.may_still(&known, &["get"]).await;
    assert!(house.developer(&stranger).await.is_none());

    edit(&house.client, "Source", &house.source, realm(&house.realm.name, &house.source)).await;
    house.settles(2).await;
    house.may_still(&known, &["get"]).await;
}
