//! How usher itself is let in: tokens that end, secrets that change, roles that are missing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use usher::api::provider::System as Kind;
use usher::connectors::error::{ConnectorError, Retry};
use usher::connectors::throttle::Throttle;
use usher::connectors::{Secrets, connect};
use usher::plan::account::Managed;

use super::{ROLES, Realm};
use crate::conformance::{Target, named};

const NONE: Managed = Managed::Only(BTreeSet::new());

fn logins(proxy: &crate::proxy::HttpsProxy) -> usize {
    proxy.asked().iter().filter(|asked| asked.path.ends_with("/protocol/openid-connect/token")).count()
}

/// A token of Keycloak's lives a minute; here two seconds.
#[tokio::test]
async fn a_run_that_is_longer_than_a_tokens_life_never_fails() {
    let realm = Realm::with(&ROLES, |body| body["accessTokenLifespan"] = json!(2)).await;
    realm.make_whole("ada", "ada@example.com").await;
    let proxy = realm.proxy().await;
    let refused = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = refused.clone();
    proxy.edit(move |_, told| {
        let refusal = usize::from(told.status.as_u16() == 401);
        counted.fetch_add(refusal, std::sync::atomic::Ordering::Relaxed);
    });
    let connector = realm.connector_behind(&proxy);
    let start = Instant::now();
    let mut looks = 0;
    while start.elapsed() < Duration::from_secs(7) {
        let found = connector.find(&named("ada"), &NONE).await.unwrap_or_else(|error| panic!("{}", error.chain()));
        assert!(found.is_some());
        looks += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let logins = logins(&proxy);
    assert!((3..=7).contains(&logins), "{logins} in {looks} looks");
    assert_eq!(refused.load(std::sync::atomic::Ordering::Relaxed), 0, "a token is replaced before it ends");
}

#[tokio::test]
async fn many_at_once_log_in_once() {
    let realm = Realm::start().await;
    let proxy = realm.proxy().await;
    let connector = realm.connector_behind(&proxy);
    let looks = (0..20).map(|_| async { connector.find(&named("nobody"), &NONE).await.expect("an answer") });
    futures::future::join_all(looks).await;
    assert_eq!(logins(&proxy), 1);
}

/// All tokens so far are made worthless, as an administrator does in an emergency; and then the secret is another one.
#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let realm = Realm::start().await;
    let proxy = realm.proxy().await;
    let connector = realm.connector_behind(&proxy);
    connector.probe().await.expect("it answers");
    realm.refuse_tokens().await;
    assert_eq!(logins(&proxy), 1);
    connector.find(&named("nobody"), &NONE).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(logins(&proxy), 2);
    let client = realm.client_id("usher").await;
    realm.admin("POST", &format!("/clients/{client}/client-secret"), Value::Null).await;
    connector.find(&named("nobody"), &NONE).await.expect("a token outlives its secret");
    realm.refuse_tokens().await;
    let error = connector.find(&named("nobody"), &NONE).await.expect_err("the secret is another one");
    assert!(matches!(error, ConnectorError::Unauthorized { .. }) && error.retry() == Retry::OnChange, "{}", error.chain());
    assert_eq!(logins(&proxy), 3, "asked once and no more");
    assert!(!error.chain().contains(&realm.secret()), "{}", error.chain());
}

#[tokio::test]
async fn a_missing_role_is_named() {
    for roles in [&["manage-users"][..], &["view-users", "view-clients"], &["manage-users", "query-clients"], &[]] {
        let realm = Realm::with(roles, |_| {}).await;
        let error = realm.connector_here().probe().await.expect_err("it may not");
        let text = error.chain();
        assert!(matches!(error, ConnectorError::Unauthorized { .. }), "{roles:?}: {text}");
        assert!(ROLES.iter().all(|role| text.contains(role)) && text.contains("client usher"), "{roles:?}: {text}");
    }
    Realm::start().await.connector_here().probe().await.expect("these two are enough");
}

#[tokio::test]
async fn a_realm_that_is_not_there_is_told() {
    let realm = Realm::start().await;
    let with = |name: &str| {
        let settings = usher::api::provider::Keycloak { realm: name.to_owned(), ..realm.settings(realm.system.env("URL")) };
        let secrets = Secrets { credential: realm.secret().into(), ca: Some(realm.ca.clone()) };
        connect(Kind::Keycloak(&settings), secrets, Arc::new(Throttle::new(100)))
    };
    let error = with("nowhere").expect("nothing is sent yet").probe().await.expect_err("there is none");
    assert!(matches!(error, ConnectorError::InvalidSettings { .. }) && error.to_string().contains("nowhere"), "{}", error.chain());
    let error = with("master").expect_err("it administers all others");
    assert!(matches!(error, ConnectorError::InvalidSettings { .. }), "{}", error.chain());
}
