//! Who pushed, and when.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use usher::connectors::Connector;
use usher::plan::account::{Account, AccountChange};

use super::habits::apply;
use super::{By, Forge};
use crate::conformance::{Target, made};

/// Gitea tells of a push about a second later.
async fn pushed(connector: &dyn Connector, id: &str) -> Timestamp {
    let account = Account { id: id.to_owned(), ..Account::default() };
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if let Some(at) = connector.first_push(&account).await.expect("an answer") {
            return at;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody tells of a push");
}

async fn silent(connector: &dyn Connector, id: &str) -> bool {
    let account = Account { id: id.to_owned(), ..Account::default() };
    connector.first_push(&account).await.expect("an answer").is_none()
}

/// Over HTTPS and over SSH, to repositories that nobody else sees, and however much came after it.
#[tokio::test]
async fn the_first_push_is_told_once_and_for_all() {
    let forge = Forge::start().await;
    let [ada, bob, countess] = &["ada", "bob", "countess"].map(|name| forge.login(name));
    let connector = forge.usher();
    let (ada_id, password) = made(connector.as_ref(), ada).await;
    let (bob_id, other) = made(connector.as_ref(), bob).await;
    for (username, password) in [(ada, &password), (bob, &other)] {
        // What she did before is no push, nor is what others do to her repository.
        forge.own(username, password).await;
        forge.as_one(By::Password(username, password), "PATCH", "/user/settings", json!({ "hide_activity": true })).await;
    }
    let added = json!({ "permission": "write" });
    forge.as_one(By::Password(ada, &password), "PUT", &format!("/repos/{ada}/engine/collaborators/{bob}"), added).await;
    assert!(silent(connector.as_ref(), &ada_id).await && silent(connector.as_ref(), &bob_id).await);
    let before = Timestamp::now();
    assert!(forge.git.pushes(None, &forge.git.https(ada, &password, &format!("{ada}/engine"))).await);
    let first = pushed(connector.as_ref(), &ada_id).await;
    let second = Duration::from_secs(1);
    assert!(first >= before - second && first <= Timestamp::now() + second, "{before} {first}");
    assert!(silent(connector.as_ref(), &bob_id).await, "that was not he");
    let (key, public) = forge.git.key().await;
    forge.as_one(By::Password(bob, &other), "POST", "/user/keys", json!({ "title": "hers", "key": public })).await;
    assert!(forge.git.pushes(Some(key.as_path()), &forge.git.ssh(&format!("{bob}/engine"))).await);
    let his = pushed(connector.as_ref(), &bob_id).await;
    assert!(his >= first, "{first} {his}");
    // Much later, by another name, and while she is locked out: still the first one.
    for number in 0..120 {
        let body = json!({ "title": format!("Step {number}") });
        forge.as_one(By::Password(ada, &password), "POST", &format!("/repos/{ada}/engine/issues"), body).await;
    }
    assert!(forge.git.pushes(None, &forge.git.https(ada, &password, &format!("{ada}/engine"))).await);
    forge.rename(&ada_id, countess).await;
    apply(connector.as_ref(), AccountChange::SetEnabled { id: ada_id.clone(), enabled: false }).await;
    assert_eq!(pushed(connector.as_ref(), &ada_id).await, first);
    assert!(silent(connector.as_ref(), "777777").await, "who is not there never pushed");
}
