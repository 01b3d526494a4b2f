//! What locking out and revoking do to each sort of thing that lets somebody in.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use usher::plan::account::{AccountChange, AccountState, Managed};

use super::Realm;
use crate::conformance::{Target, made, read};

const NONE: Managed = Managed::Only(BTreeSet::new());

/// Sessions are ended; what she made to last is hers again when she comes back.
#[tokio::test]
async fn offline_tokens_outlast_a_lock_out_and_sessions_do_not() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    let (id, password) = made(connector.as_ref(), "ada").await;
    let issued = realm.issue("ada", &password).await.expect("tokens");
    let tokens: Vec<&str> = issued.split(' ').collect();
    let set = |enabled| AccountChange::SetEnabled { id: id.clone(), enabled };
    connector.apply(&set(false)).await.expect("locked out");
    assert!(!realm.accepts(&issued).await, "nothing works meanwhile");
    assert_eq!(realm.admin("GET", &format!("/users/{id}/sessions"), Value::Null).await.body, json!([]));
    connector.apply(&set(true)).await.expect("let in");
    assert!(!realm.knows(tokens[0]).await && !realm.refreshes("kubernetes", tokens[1]).await, "her session is over");
    assert!(realm.refreshes("kubernetes", tokens[2]).await, "her offline token is not");
}

/// Each sort of what may let her in counts, and none is left.
#[tokio::test]
async fn every_sort_of_what_was_issued_is_told_and_revoked() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    let provider = json!({
        "alias": "corporation", "providerId": "oidc", "enabled": true,
        "config": { "clientId": "x", "clientSecret": "y", "authorizationUrl": "https://id.example.com/a", "tokenUrl": "https://id.example.com/t" },
    });
    realm.admin("POST", "/identity-provider/instances", provider).await;
    // What a client is called may be a URL.
    let client = "https://app.example.com/saml";
    realm.admin("POST", "/clients", json!({ "clientId": client, "publicClient": true, "directAccessGrantsEnabled": true })).await;
    let id = realm.make_whole("ada", "ada@example.com").await;
    connector.apply(&AccountChange::Adopt { id: id.clone(), owner: crate::conformance::owner("ada") }).await.expect("adopted");
    let told = async || read(connector.as_ref(), &id, &NONE).await.credentials;
    let revoke = async || connector.apply(&AccountChange::RevokeCredentials { id: id.clone() }).await.expect("revoked");
    assert!(!told().await, "nothing yet");
    realm.admin("POST", &format!("/users/{id}/federated-identity/corporation"), json!({ "userId": "1", "userName": "ada" })).await;
    assert!(told().await, "she logs in at another identity provider");
    revoke().await;
    assert!(!told().await);
    let password = json!({ "type": "password", "value": "Correct-horse-1", "temporary": false });
    realm.admin("PUT", &format!("/users/{id}/reset-password"), password).await;
    assert!(told().await, "she has a password");
    let online = realm.tokens("kubernetes", ("ada", "Correct-horse-1"), "openid").await.expect("she logs in");
    let offline = realm.tokens(client, ("ada", "Correct-horse-1"), "openid offline_access").await.expect("she logs in");
    without_password(&realm, &id).await;
    assert!(told().await, "she has a session");
    realm.admin("POST", &format!("/users/{id}/logout"), json!({})).await;
    assert!(told().await, "she has an offline session");
    revoke().await;
    assert!(!told().await);
    let refresh = |tokens: &Value| tokens["refresh_token"].as_str().expect("a token").to_owned();
    assert!(!realm.refreshes("kubernetes", &refresh(&online)).await && !realm.refreshes(client, &refresh(&offline)).await);
}

async fn without_password(realm: &Realm, id: &str) {
    let credentials = realm.admin("GET", &format!("/users/{id}/credentials"), Value::Null).await.body;
    for credential in credentials.as_array().expect("credentials") {
        let path = format!("/users/{id}/credentials/{}", credential["id"].as_str().expect("an id"));
        realm.admin("DELETE", &path, Value::Null).await;
    }
}

/// A list of users tells nothing that was issued: usher notes what it revoked, and takes the note back before anything is issued again.
#[tokio::test]
async fn a_list_knows_who_was_revoked() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    let (id, _) = made(connector.as_ref(), "ada").await;
    let listed = async || {
        let all = connector.list(&NONE).await.expect("a list");
        let account = all.into_iter().find(|account| account.id == id).expect("she is listed");
        (account.state == AccountState::Enabled, account.credentials)
    };
    let apply = async |change: AccountChange| drop(connector.apply(&change).await.expect("done"));
    let set = |enabled| AccountChange::SetEnabled { id: id.clone(), enabled };
    assert_eq!(listed().await, (true, true));
    apply(set(false)).await;
    assert_eq!(listed().await, (false, true), "she may come back");
    assert!(read(connector.as_ref(), &id, &NONE).await.credentials, "as long as a list does not know it a look does not say otherwise");
    for _ in 0..2 {
        apply(AccountChange::RevokeCredentials { id: id.clone() }).await;
        assert_eq!(listed().await, (false, false));
    }
    apply(AccountChange::IssuePassword { id: id.clone() }).await;
    assert_eq!(listed().await, (false, true), "there is a password again");
    apply(AccountChange::RevokeCredentials { id: id.clone() }).await;
    apply(set(true)).await;
    apply(set(false)).await;
    assert_eq!(listed().await, (false, true), "she was in meanwhile");
}
