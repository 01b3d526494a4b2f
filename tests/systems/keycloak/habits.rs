//! What Keycloak does with users that others do not.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use usher::connectors::error::ConnectorError;
use usher::plan::account::{AccountChange, AccountKey, Capability, Managed};

use super::{ROLES, Realm};
use crate::conformance::{Target, can, converge, known, made, named, owner, profile, read, wish};
use crate::proxy::Told;

const NONE: Managed = Managed::Only(BTreeSet::new());

/// What must stay as it was, whatever usher writes.
fn own_of(user: &Value) -> Vec<Value> {
    let names = ["username", "email", "firstName", "lastName", "emailVerified", "requiredActions", "createdTimestamp"];
    let mut own: Vec<Value> = names.iter().map(|name| user[*name].clone()).collect();
    own.extend(["department", "phone"].iter().map(|name| user["attributes"][*name].clone()));
    own
}

#[tokio::test]
async fn no_write_wipes_what_it_does_not_speak_of() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    let id = realm.make_whole("ada", "ada@example.com").await;
    realm.admin("PUT", &format!("/users/{id}"), json!({ "requiredActions": ["CONFIGURE_TOTP"] })).await;
    let before = own_of(&realm.user(&id).await);
    assert!(before.iter().all(|value| !value.is_null()), "{before:?}");
    let account = read(connector.as_ref(), &id, &NONE).await;
    for change in [
        AccountChange::Adopt { id: id.clone(), owner: owner("ada") },
        AccountChange::SetProfile { id: id.clone(), profile: account.profile.clone() },
        AccountChange::SetEnabled { id: id.clone(), enabled: false },
        AccountChange::RevokeCredentials { id: id.clone() },
        AccountChange::SetEnabled { id: id.clone(), enabled: true },
        AccountChange::RevokeCredentials { id: id.clone() },
        AccountChange::IssuePassword { id: id.clone() },
    ] {
        connector.apply(&change).await.unwrap_or_else(|error| panic!("{change:?}: {}", error.chain()));
        assert_eq!(own_of(&realm.user(&id).await), before, "after {change:?}");
    }
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.owner, Some(owner("ada")), "and neither does a later one wipe the mark");
}

/// Keycloak drops attributes that a realm does not allow and says that all is well; and what a person may write herself is no mark.
#[tokio::test]
async fn only_a_mark_that_is_kept_and_out_of_her_hands_is_one() {
    let realm = Realm::start().await;
    let declared = |edit: &[&str]| {
        let one = |name: &str| json!({ "name": name, "permissions": { "view": ["admin"], "edit": edit } });
        vec![one("usher.owner"), one("usher.revoked")]
    };
    let cases = [
        (None, vec![], false),
        (Some("ENABLED"), vec![], false),
        (Some("ADMIN_VIEW"), vec![], false),
        (Some("ADMIN_EDIT"), vec![], true),
        (None, declared(&["admin"]), true),
        (None, declared(&["admin", "user"]), false),
        (Some("ADMIN_EDIT"), declared(&["admin", "user"]), false),
    ];
    let first = realm.admin("GET", "/users/profile", Value::Null).await.body;
    for (number, (policy, attributes, marks)) in cases.into_iter().enumerate() {
        let mut now = first.clone();
        let fields = now.as_object_mut().expect("a profile");
        fields.remove("unmanagedAttributePolicy");
        fields.extend(policy.map(|policy| ("unmanagedAttributePolicy".to_owned(), json!(policy))));
        now["attributes"].as_array_mut().expect("attributes").extend(attributes);
        realm.admin("PUT", "/users/profile", now).await;
        let connector = realm.connector_here();
        assert_eq!(can(connector.as_ref(), Capability::Mark).await, marks, "case {number}");
        let who = format!("ada-{number}");
        let create = AccountChange::Create { profile: connector.keeps(profile(&who)), owner: owner(&who) };
        let id = connector.apply(&create).await.expect("made").id.expect("an id");
        connector.apply(&AccountChange::Adopt { id: id.clone(), owner: owner(&who) }).await.expect("nothing to do, or done");
        if policy == Some("ENABLED") {
            let forged = json!({ "attributes": { "usher.owner": [owner("eve").mark()] }, "firstName": "A", "lastName": "B" });
            realm.admin("PUT", &format!("/users/{id}"), forged).await;
        }
        let account = read(connector.as_ref(), &id, &NONE).await;
        assert_eq!(account.owner, marks.then(|| owner(&who)), "case {number}");
        let listed = connector.list(&NONE).await.expect("a list").into_iter().find(|it| it.id == id).expect("she is listed");
        assert_eq!(listed.owner, account.owner, "case {number}");
    }
}

#[tokio::test]
async fn she_cannot_change_her_mark() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    let (id, password) = made(connector.as_ref(), "ada").await;
    let tokens = realm.tokens("kubernetes", ("ada", &password), "openid").await.expect("she logs in");
    let url = format!("{}/realms/{}/account", realm.system.env("URL"), realm.name);
    let attributes = json!({ "usher.owner": [owner("eve").mark()], "usher.revoked": ["never"] });
    let body =
        json!({ "username": "ada", "email": "ada@example.com", "firstName": "Countess", "lastName": "Lovelace", "attributes": attributes });
    let answer = super::reply(realm.client.post(url).bearer_auth(tokens["access_token"].as_str().expect("a token")).json(&body)).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let account = read(connector.as_ref(), &id, &NONE).await;
    assert_eq!(account.profile.display_name, "Countess Lovelace", "her name is hers to change");
    assert_eq!(account.owner, Some(owner("ada")));
    assert!(realm.user(&id).await["attributes"].get("usher.revoked").is_none());
}

/// Realms want a last name of everybody who logs in.
#[tokio::test]
async fn who_has_one_name_only_logs_in() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    let mut wished = wish("Ada", &[]);
    wished.profile.display_name = "Ada".to_owned();
    wished.profile.email = "Ada@Example.com".to_owned();
    wished.password = true;
    let create = AccountChange::Create { profile: connector.keeps(wished.profile.clone()), owner: wished.owner.clone() };
    let id = connector.apply(&create).await.expect("made").id.expect("an id");
    let issued = connector.apply(&AccountChange::IssuePassword { id: id.clone() }).await.expect("issued");
    let password = secrecy::ExposeSecret::expose_secret(&issued.password.expect("a password")).to_owned();
    assert!(realm.log_in("ada", &password).await);
    let account = read(connector.as_ref(), &id, &NONE).await;
    assert_eq!((account.profile.display_name.as_str(), account.profile.email.as_str()), ("Ada", "ada@example.com"));
    wished.password = false;
    assert_eq!(converge(connector.as_ref(), &wished).await.1, 0, "and there is nothing to change any more");
}

/// Who checks addresses checks the new one.
#[tokio::test]
async fn a_new_address_is_not_verified() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    let id = realm.make_whole("ada", "ada@example.com").await;
    let mut profile = connector.keeps(profile("ada"));
    connector.apply(&AccountChange::SetProfile { id: id.clone(), profile: profile.clone() }).await.expect("changed");
    assert_eq!(realm.user(&id).await["emailVerified"], true, "her address is the same");
    profile.email = "king@example.com".to_owned();
    connector.apply(&AccountChange::SetProfile { id: id.clone(), profile }).await.expect("changed");
    let user = realm.user(&id).await;
    assert_eq!((&user["email"], &user["emailVerified"]), (&json!("king@example.com"), &json!(false)));
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    realm.make_whole("bob", "bob@example.com").await;
    let id = realm.make_whole("ada", "ada@example.com").await;
    let with = |edit: fn(&mut usher::plan::account::Profile)| {
        let mut it = connector.keeps(profile("ada"));
        edit(&mut it);
        AccountChange::SetProfile { id: id.clone(), profile: it }
    };
    let taken = AccountChange::Create {
        profile: usher::plan::account::Profile { email: "bob@example.com".to_owned(), ..connector.keeps(profile("eve")) },
        owner: owner("eve"),
    };
    for (change, words) in [
        (with(|it| it.username = "countess".to_owned()), "Edit username"),
        (with(|it| it.display_name = "Ada (engines)".to_owned()), "lastName"),
        (with(|it| it.email = "bob@example.com".to_owned()), "e-mail address is taken"),
        (taken, "e-mail address is taken"),
        (AccountChange::CancelInvite { id: id.clone() }, "no invitations"),
        (AccountChange::Join { id: id.clone(), group: "engineering/../x".to_owned() }, "engineering/payments"),
        (AccountChange::IssuePassword { id: "..".to_owned() }, "no such account"),
    ] {
        let error = connector.apply(&change).await.expect_err("it is refused");
        assert!(matches!(error, ConnectorError::Rejected { .. }) && error.to_string().contains(words), "{}", error.chain());
    }
    realm.set(json!({ "passwordPolicy": "length(100)" })).await;
    let error = connector.apply(&AccountChange::IssuePassword { id }).await.expect_err("it is too short");
    assert!(matches!(error, ConnectorError::Rejected { .. }) && error.to_string().contains("minimum length 100"), "{}", error.chain());
}

/// A realm may let several people have one address; then it belongs to none of them for certain.
#[tokio::test]
async fn an_address_of_two_people_finds_neither() {
    let realm = Realm::with(&ROLES, |body| {
        body["duplicateEmailsAllowed"] = json!(true);
        body["loginWithEmailAllowed"] = json!(false);
    })
    .await;
    let connector = realm.connector_here();
    let key = AccountKey { email: Some("Team@Example.com".to_owned()), ..named("ada") };
    let one = realm.make_whole("one", "team@example.com").await;
    assert_eq!(connector.find(&key, &NONE).await.expect("an answer").expect("an account").id, one);
    realm.make_whole("two", "team@example.com").await;
    assert_eq!(connector.find(&key, &NONE).await.expect("an answer"), None);
}

/// A 404 of a proxy would look like somebody who is gone.
#[tokio::test]
async fn only_keycloak_says_that_somebody_is_gone() {
    let realm = Realm::start().await;
    let id = realm.make_whole("ada", "ada@example.com").await;
    let proxy = realm.proxy().await;
    let connector = realm.connector_behind(&proxy);
    connector.probe().await.expect("it answers");
    for answer in [json!({}), json!({ "error": "Realm not found." }), json!({ "error": "HTTP 404 Not Found" })] {
        let told = Told::json(404, &answer);
        proxy.instead(move |_| Some(told.clone()));
        let key = known(&id, "ada");
        let looked = connector.find(&key, &NONE).await.expect_err("nobody knows");
        let deleted = AccountChange::Delete { id: id.clone(), owned: usher::plan::account::Owned::Keep };
        let deleted = connector.apply(&deleted).await.expect_err("nobody knows");
        for error in [looked, deleted] {
            assert!(matches!(error, ConnectorError::Garbled { .. }), "{}", error.chain());
        }
    }
    proxy.instead(|_| None);
    assert!(connector.find(&known(&id, "ada"), &NONE).await.expect("an answer").is_some());
}
