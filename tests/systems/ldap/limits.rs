//! A list is whole or an error; connections are under TLS or none, bounded in time, and come back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use usher::api::provider::{Ldap, LockOut};
use usher::connectors::bounded::MOST_BYTES;
use usher::connectors::error::{ConnectorError, Retry};
use usher::plan::account::{Capability, Managed};

use crate::conformance::{Fault, Target, made, named};
use crate::flood::Flood;
use crate::proxy::TcpProxy;

use super::Directory;
use super::server::{Server, add_value};

const NONE: Managed = Managed::Only(BTreeSet::new());

/// A server that gives no more than so many, pages or not: usher does not take what it got for all.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_the_server_cuts_short_is_an_error() {
    let server = Server::start_with(|config| config.replace("size.prtotal=unlimited", "size.prtotal=700")).await;
    let directory = Directory::of(server, LockOut::Password);
    directory.make_crowd(701).await;
    let error = directory.usher().list(&NONE).await.expect_err("it is not whole");
    assert!(matches!(error, ConnectorError::Garbled { .. }) && error.to_string().contains("olcLimits"), "{}", error.chain());
}

/// The server forgets to say whether the list goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_does_not_say_whether_it_is_the_last_is_an_error() {
    let directory = Directory::start(LockOut::Password).await;
    directory.make_crowd(3).await;
    let proxy = directory.proxy().await;
    let connector = directory.at(&proxy.url(), proxy.ca());
    assert_eq!(connector.list(&NONE).await.expect("a list").len(), 3);
    proxy.forget_controls();
    let error = connector.list(&NONE).await.expect_err("it may go on");
    assert!(matches!(error, ConnectorError::Garbled { .. }), "{}", error.chain());
}

/// The base is not there, or usher may not see it: nobody is gone because of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_missing_is_an_error_and_not_an_empty_list() {
    let directory = Directory::start(LockOut::Password).await;
    let people = Ldap { base_dn: format!("ou=nowhere,{}", directory.server.env("BASE_DN")), ..directory.settings() };
    let groups = Ldap { group_base_dn: people.base_dn.clone(), ..directory.settings() };
    for (settings, field) in [(&people, "baseDN"), (&groups, "groupBaseDN")] {
        let connector = directory.by(settings, &directory.secret(), Some(directory.server.ca()));
        connector.list(&Managed::All).await.expect_err("there is nothing to list");
        connector.find(&named("ada"), &Managed::All).await.map_or_else(|_| (), |found| assert!(found.is_none() && field == "groupBaseDN"));
        let error = connector.probe().await.expect_err("that is told");
        assert!(matches!(error, ConnectorError::InvalidSettings { field: told, .. } if told == field), "{}", error.chain());
    }
}

/// Lists of several calls at once do not get into each other's way: a directory reads one at a time on each connection.
#[tokio::test(flavor = "multi_thread")]
async fn lists_at_once_are_all_whole() {
    let directory = Directory::start(LockOut::Password).await;
    directory.make_crowd(1_200).await;
    let connector = directory.usher();
    let lists = futures::future::join_all((0..4).map(|_| async { connector.list(&NONE).await })).await;
    for list in lists {
        assert_eq!(list.expect("a list").len(), 1_200);
    }
}

/// ldap:// has TLS before anything is said; a server whose certificate is another CA's, or for another name, is told nothing.
#[tokio::test(flavor = "multi_thread")]
async fn tls_is_always_verified() {
    let directory = Directory::start(LockOut::Password).await;
    let by_starttls = directory.server.env("URL_STARTTLS").to_owned();
    let by_tls = directory.server.env("URL").to_owned();
    let stranger = Server::start().await;
    for url in [&by_starttls, &by_tls] {
        let connector = directory.at(url, &directory.server.ca());
        let can = connector.probe().await.unwrap_or_else(|error| panic!("{url}: {}", error.chain()));
        assert!(
            can.is_superset(&BTreeSet::from([Capability::SshKeys, Capability::Password, Capability::Mark, Capability::List])),
            "{can:?}"
        );
        for (url, ca) in [(url.clone(), stranger.ca()), (url.replace("127.0.0.1", "127.0.0.2"), directory.server.ca())] {
            let error = directory.at(&url, &ca).probe().await.expect_err("nobody that it knows");
            assert!(matches!(error, ConnectorError::Unreachable { .. }), "{url}: {}", error.chain());
        }
    }
    let error = directory.by(&directory.settings(), &directory.secret(), None).probe().await.expect_err("no public CA signed it");
    assert!(error.chain().contains("certificate"), "{}", error.chain());
}

/// A connection that is used again ends with the server; the next call makes a new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_started_again_is_found_again() {
    let mut directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let (id, _) = made(connector.as_ref(), "ada").await;
    directory.server.restart();
    let account = connector.find(&named("ada"), &NONE).await.expect("an answer").expect("an account");
    assert_eq!(account.id, id);
}

/// It hangs while a connection is open: given up in time, and asked by another connection once it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_on_an_open_connection_is_given_up() {
    let directory = Directory::start(LockOut::Password).await;
    let proxy = TcpProxy::start(&format!("127.0.0.1:{}", directory.server.env("PORT"))).await;
    let connector = directory.at(&format!("ldaps://{}", proxy.address()), &directory.server.ca());
    made(connector.as_ref(), "ada").await;
    proxy.silence();
    let start = Instant::now();
    let error = connector.find(&named("ada"), &NONE).await.expect_err("no answer");
    assert!(matches!(error, ConnectorError::Unreachable { .. }) && error.retry() == Retry::Backoff, "{}", error.chain());
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    proxy.pass();
    assert!(connector.find(&named("ada"), &NONE).await.expect("an answer").is_some());
}

/// usher's password is changed while it is connected: it is told as refused, and the new one works.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_changed_is_refused_and_the_new_one_works() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    made(connector.as_ref(), "ada").await;
    directory.server.set(directory.server.env("ADMIN_USER"), "userPassword", &["its-next-Passw0rd"]).await;
    // A list has a connection of its own; the one that is open goes on.
    let error = connector.list(&NONE).await.expect_err("refused");
    assert!(matches!(error, ConnectorError::Unauthorized { .. }) && error.retry() == Retry::OnChange, "{}", error.chain());
    let next = directory.by(&directory.settings(), "its-next-Passw0rd", Some(directory.server.ca()));
    assert!(next.find(&named("ada"), &NONE).await.expect("an answer").is_some());
}

/// The process hangs, and takes connections all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_stopped_is_given_up_and_found_again() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    made(connector.as_ref(), "ada").await;
    directory.server.pause();
    let start = Instant::now();
    let error = connector.find(&named("ada"), &NONE).await.expect_err("no answer");
    assert!(matches!(error, ConnectorError::Unreachable { .. }) && start.elapsed() < Duration::from_secs(45), "{}", error.chain());
    directory.server.resume();
    assert!(connector.find(&named("ada"), &NONE).await.expect("an answer").is_some());
}

/// One connection serves call after call.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again() {
    let directory = Directory::start(LockOut::Password).await;
    let proxy = directory.proxy().await;
    let connector = directory.at(&proxy.url(), proxy.ca());
    for _ in 0..5 {
        connector.find(&named("ada"), &NONE).await.expect("an answer");
    }
    futures::future::join_all((0..20).map(|_| async { connector.find(&named("ada"), &NONE).await.expect("an answer") })).await;
    assert_eq!((proxy.connections(), proxy.asked()), (1, 26), "a login, and a search for each");
}

/// A failure of the system as a whole is not this account's.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_unavailable_ails() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.faulty(Fault::Broken).await.expect("a proxy");
    let error = connector.list(&NONE).await.expect_err("it is unavailable");
    assert!(error.ails() && error.chain().contains("unavailable"), "{}", error.chain());
}

/// Somebody fills her entry with what she may write, until nothing could hold it: it is not read, and others are found still.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_far_too_large_is_not_read() {
    let directory = Directory::start(LockOut::Password).await;
    let (_, bob) = (made(directory.usher().as_ref(), "ada").await, made(directory.usher().as_ref(), "bob").await);
    directory.server.set(&directory.server.person("ada"), "objectClass", &["inetOrgPerson", "ldapPublicKey"]).await;
    let mut root = directory.server.root().await;
    for letter in 'a'..='t' {
        let key = letter.to_string().repeat(3_500_000);
        add_value(&mut root, &directory.server.person("ada"), "sshPublicKey", &key).await;
    }
    let proxy = TcpProxy::start(&format!("127.0.0.1:{}", directory.server.env("PORT"))).await;
    let connector = directory.at(&format!("ldaps://{}", proxy.address()), &directory.server.ca());
    let look = async || connector.find(&named("ada"), &NONE).await.map(drop);
    let list = async || connector.list(&NONE).await.map(drop);
    for answer in [look().await, list().await] {
        let error = answer.expect_err("nobody reads all that");
        assert!(matches!(error, ConnectorError::Garbled { .. }) && error.to_string().contains("larger than"), "{}", error.chain());
    }
    assert!(proxy.answered() < 3 * MOST_BYTES, "{} bytes for two answers of 70 million", proxy.answered());
    let found = connector.find(&named("bob"), &NONE).await.expect("an answer").expect("an account");
    assert_eq!(found.id, bob.0);
}

/// A message that claims to be two gigabytes long, and goes on and on.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_end_is_left() {
    let directory = Directory::start(LockOut::Password).await;
    let flood = Flood::start(None, &[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 2, 1, 1, 0x61, 0x84, 0x7f, 0xff, 0xff, 0xf0]).await;
    let error = directory.at(&format!("ldaps://{}", flood.address), &flood.ca).probe().await.expect_err("it has no end");
    assert!(matches!(error, ConnectorError::Garbled { .. }) && error.to_string().contains("larger than"), "{}", error.chain());
    assert!(flood.taken() < 2 * MOST_BYTES, "{}", flood.taken());
}
