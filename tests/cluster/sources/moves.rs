//! Who comes, moves, is deactivated and activated in the directory: her access follows without a hand.

use serde_json::{Value, json};

use super::House;
use crate::support::people::edit;

#[tokio::test]
async fn who_moves_between_groups_changes_access_without_a_hand_and_who_is_deactivated_has_nothing() {
    let house = House::new(json!({})).await;
    let (viewers, editors) = (house.team("view").await, house.team("edit").await);
    let (viewing, editing) = (format!("teams/{viewers}"), format!("teams/{editors}"));
    let (ada, id) = house.person(&[&viewing]).await;
    let known = house.known(&ada).await;
    house.may(&known, &["get"]).await;

    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0NlUY7U3sKjG9EyYcPw3f1k2Qv8zOqjmrVyXk0Qn5M ada@home";
    edit(&house.client, "Developer", &ada, json!({"sshKeys": [{"name": "home", "key": key}], "displayName": "The Countess"})).await;
    house.realm.leave(&id, &viewing).await;
    house.realm.join(&id, &editing).await;
    house.may(&known, &["get", "create"]).await;
    let developer = house.developer(&ada).await.expect("she is there");
    let spec = &developer.data["spec"];
    assert_eq!(spec["teams"], json!([editors]));
    assert_eq!(
        (&spec["sshKeys"][0]["key"], &spec["displayName"]),
        (&json!(key), &json!("The Countess")),
        "what she was given by hand stays"
    );
    assert_eq!((&spec["personId"], &spec["email"]), (&json!(id), &json!(format!("{ada}@example.com"))));

    house.realm.admin("PUT", &format!("/users/{id}"), json!({"enabled": false})).await;
    house.may(&known, &[]).await;
    // Exactly what it told before would be taken for a copy of the past.
    let (bob, _) = house.person(&[&editing]).await;
    house.may(&house.known(&bob).await, &["get", "create"]).await;
    house.realm.admin("PUT", &format!("/users/{id}"), json!({"enabled": true})).await;
    let known = house.known(&ada).await;
    house.may(&known, &["get", "create"]).await;

    // Somebody else stays in it: of a group that nobody at all is told to be in any more nobody loses the team.
    house.realm.leave(&id, &editing).await;
    house.may(&known, &[]).await;
    let developer = house.developer(&ada).await.expect("she is there");
    assert_eq!(developer.data["spec"]["teams"], Value::Null);
    assert_eq!(developer.data["spec"]["state"], "Active");
}
