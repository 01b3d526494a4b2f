//! Answers that no memory would hold.

use std::sync::Arc;

use secrecy::SecretString;
use usher::api::provider::System;
use usher::connectors::bounded::MOST_BYTES;
use usher::connectors::error::ConnectorError;
use usher::connectors::throttle::Throttle;
use usher::connectors::{Secrets, connect};
use usher::plan::account::{AccountChange, Managed};

use crate::conformance::{Target, made, named, owner};
use crate::flood::Flood;

use super::Postgres;

/// A comment of 200 million characters is read as far as a mark may be in it, and is nobody's undoing; it is never cut by being written back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_that_is_far_too_long_is_read_in_part() {
    let target = Postgres::start().await;
    let id = target.make_stranger("ada", "ada@example.com").await;
    made(target.connector().await.as_ref(), "bob").await;
    target.run("DO $$ BEGIN EXECUTE format('COMMENT ON ROLE ada IS %L', repeat('x', 200000000)); END $$").await;
    let proxy = target.proxy().await;
    let connector = target.connector_at(proxy.address().port(), target.password());
    let all = connector.list(&Managed::All).await.expect("a list");
    let bobs: Vec<_> = all.iter().filter(|account| account.owner == Some(owner("bob"))).collect();
    assert_eq!((all.len(), bobs.len()), (4, 1));
    let ada = connector.find(&named("ada"), &Managed::All).await.expect("an answer").expect("an account");
    assert!(ada.owner.is_none() && proxy.answered() < 100_000, "{} bytes", proxy.answered());
    let error = connector.apply(&AccountChange::Adopt { id: id.clone(), owner: owner("ada") }).await.expect_err("no room");
    assert!(matches!(error, ConnectorError::Rejected { .. }) && error.to_string().contains("comment"), "{}", error.chain());
    assert_eq!(target.value::<i32>(&format!("SELECT length(shobj_description({id}, 'pg_authid'))")).await, 200_000_000);
    target.run("COMMENT ON ROLE ada IS 'of the data team'").await;
    connector.apply(&AccountChange::Adopt { id, owner: owner("ada") }).await.expect("adopted");
}

/// More than 32 MiB about all roles together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_far_too_large_is_not_read() {
    let target = Postgres::start().await;
    target.make_crowd(4_000).await;
    let comment = "EXECUTE format('COMMENT ON ROLE %I IS %L', 'stranger-' || number, repeat('x', 10000))";
    target.run(&format!("DO $$ BEGIN FOR number IN 0..3999 LOOP {comment}; END LOOP; END $$")).await;
    let proxy = target.proxy().await;
    let connector = target.connector_at(proxy.address().port(), target.password());
    for _ in 0..2 {
        let error = connector.list(&Managed::All).await.expect_err("nobody reads all that");
        assert!(matches!(error, ConnectorError::Garbled { .. }) && error.to_string().contains("larger than"), "{}", error.chain());
        let found = connector.find(&named("stranger-1"), &Managed::All).await.expect("an answer");
        assert!(found.is_some(), "one of them can be looked at");
    }
    assert!(proxy.answered() < 3 * MOST_BYTES, "{} bytes", proxy.answered());
}

/// A message that claims to be two gigabytes long, and goes on and on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_end_is_left() {
    let target = Postgres::start().await;
    let flood = Flood::start(Some((&[0, 0, 0, 8, 4, 210, 22, 47], b"S")), b"R\x7f\xff\xff\xff").await;
    let settings = target.settings(&format!("postgresql://{}/postgres", flood.address));
    let secrets = Secrets { credential: SecretString::from(target.password()), ca: Some(flood.ca.clone()) };
    let connector = connect(System::Postgresql(&settings), secrets, Arc::new(Throttle::new(100))).expect("a connector");
    let error = connector.probe().await.expect_err("it has no end");
    assert!(matches!(error, ConnectorError::Garbled { .. }) && error.to_string().contains("larger than"), "{}", error.chain());
    assert!(flood.taken() < 2 * MOST_BYTES, "{}", flood.taken());
}
