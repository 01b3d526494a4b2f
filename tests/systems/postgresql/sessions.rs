//! Passwords, sessions and usher's own connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use usher::api::provider::System;
use usher::connectors::connect;
use usher::connectors::error::{ConnectorError, Retry};
use usher::connectors::throttle::Throttle;
use usher::plan::account::{AccountChange, AccountState, Capability, Managed};

use crate::conformance::{Target, made, named, profile, read};

use super::Postgres;

/// NOLOGIN is asked only once, when somebody comes in: whoever is in stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_session_outlives_nologin_but_not_usher() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let (id, password) = made(connector.as_ref(), "ada").await;
    let session = target.issue("ada", &password).await.expect("a session");
    target.run("ALTER ROLE ada NOLOGIN").await;
    assert!(target.accepts(&session).await, "this is why usher ends sessions");
    connector.apply(&AccountChange::SetEnabled { id, enabled: false }).await.expect("locked out");
    assert!(!target.accepts(&session).await);
}

/// Who was let in at the very moment before shows up as a session only afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_slips_in_while_she_is_locked_out() {
    let target = Arc::new(Postgres::start().await);
    let connector = target.connector().await;
    let (id, password) = made(connector.as_ref(), "ada").await;
    for _ in 0..5 {
        connector.apply(&AccountChange::SetEnabled { id: id.clone(), enabled: true }).await.expect("let in");
        let stop = Arc::new(AtomicBool::new(false));
        let crowd: Vec<_> = (0..4)
            .map(|_| {
                let (target, stop, password) = (target.clone(), stop.clone(), password.clone());
                tokio::spawn(async move {
                    let mut sessions = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        sessions.extend(target.server().log_in(target.server().port, "postgres", "ada", &password).await.ok());
                    }
                    sessions
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        connector.apply(&AccountChange::SetEnabled { id: id.clone(), enabled: false }).await.expect("locked out");
        let open: i64 =
            target.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'ada' AND backend_type = 'client backend'").await;
        stop.store(true, Ordering::Relaxed);
        let mut sessions = Vec::new();
        for one in crowd {
            sessions.extend(one.await.expect("it ends"));
        }
        assert!(!sessions.is_empty(), "she was in before");
        for session in &sessions {
            assert!(session.simple_query("SELECT 1").await.is_err(), "a session is still open; {open} were told");
        }
    }
}

/// A session that acts as a group goes on doing so after she left it: so her sessions end with that. Those who stay in it, and what she opens then, go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_acts_as_a_group_that_she_left() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    for group in ["developers", "others"] {
        target.make_group(group).await;
    }
    target.run("CREATE TABLE plans (secret text); GRANT SELECT ON plans TO developers").await;
    let change = |change: AccountChange| {
        let connector = connector.clone();
        async move { connector.apply(&change).await.unwrap_or_else(|error| panic!("{}", error.chain())) }
    };
    let mut sessions = Vec::new();
    let mut ids = Vec::new();
    for person in ["ada", "bob"] {
        let (id, password) = made(connector.as_ref(), person).await;
        change(AccountChange::Join { id: id.clone(), group: "developers".to_owned() }).await;
        let session = target.session("postgres", person, &password).await.expect("she logs in");
        session.batch_execute("SET ROLE developers; SELECT FROM plans").await.expect("she may");
        sessions.push(session);
        ids.push((id, password));
    }
    let (ada, password) = &ids[0];
    target.run("REVOKE developers FROM ada").await;
    sessions[0].batch_execute("SELECT FROM plans").await.expect("this is why usher ends sessions");
    target.run("GRANT developers TO ada").await;
    // She was never in this one, so nothing ends.
    change(AccountChange::Leave { id: ada.clone(), group: "others".to_owned() }).await;
    sessions[0].batch_execute("SELECT FROM plans").await.expect("nothing was taken");
    if target.version >= 160_000 {
        target.run("REVOKE developers FROM ada GRANTED BY postgres").await;
    }
    change(AccountChange::Leave { id: ada.clone(), group: "developers".to_owned() }).await;
    sessions[0].batch_execute("SELECT FROM plans").await.expect_err("she left");
    sessions[1].batch_execute("SELECT FROM plans").await.expect("bob did not");
    let again = target.session("postgres", "ada", password).await.expect("she is not locked out");
    again.batch_execute("SELECT FROM plans").await.expect_err("she left");
    again.batch_execute("SET ROLE developers").await.expect_err("she left");
    target.run("DROP TABLE plans").await;
}

/// Where usher may not end sessions, she has left all the same, and it is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_keeps_a_group_is_told() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    target.make_group("developers").await;
    let (id, password) = made(connector.as_ref(), "ada").await;
    connector.apply(&AccountChange::Join { id: id.clone(), group: "developers".to_owned() }).await.expect("joined");
    let _session = target.issue("ada", &password).await.expect("a session");
    target.run("REVOKE pg_signal_backend FROM usher").await;
    let error = connector.apply(&AccountChange::Leave { id: id.clone(), group: "developers".to_owned() }).await.expect_err("it may not");
    assert!(error.chain().contains("pg_signal_backend"), "{}", error.chain());
    assert!(read(connector.as_ref(), &id, &Managed::All).await.groups.is_empty());
}

/// As long as usher may not end sessions, one that is open is a way in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_usher_may_not_end_is_told() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    assert!(connector.probe().await.expect("it answers").contains(&Capability::RevokeTokens));
    let (id, password) = made(connector.as_ref(), "ada").await;
    let session = target.issue("ada", &password).await.expect("a session");
    target.run("REVOKE pg_signal_backend FROM usher").await;
    assert!(!connector.probe().await.expect("it answers").contains(&Capability::RevokeTokens));
    let lock = AccountChange::SetEnabled { id: id.clone(), enabled: false };
    let error = connector.apply(&lock).await.expect_err("it may not");
    assert!(error.chain().contains("pg_signal_backend"), "{}", error.chain());
    assert!(!target.log_in("ada", &password).await, "nothing new is opened all the same");
    assert_eq!(read(connector.as_ref(), &id, &Managed::All).await.state, AccountState::Enabled, "she is in");
    target.run("GRANT pg_signal_backend TO usher").await;
    connector.apply(&lock).await.expect("locked out");
    assert!(!target.accepts(&session).await);
    assert_eq!(read(connector.as_ref(), &id, &Managed::All).await.state, AccountState::Disabled);
}

/// Only the verifier is sent, so a server that logs everything logs no password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_is_in_the_servers_log() {
    let target = Postgres::start().await;
    target.set("log_statement", "all").await;
    let connector = target.connector().await;
    let create = AccountChange::Create { profile: connector.keeps(profile("ada")), owner: crate::conformance::owner("ada") };
    let id = connector.apply(&create).await.expect("made").id.expect("an id");
    let issued = connector.apply(&AccountChange::IssuePassword { id }).await.expect("issued").password.expect("a password");
    assert!(target.log_in("ada", issued.expose_secret()).await);
    let log = target.server().log();
    assert!(log.contains("SCRAM-SHA-256$") && log.contains("CREATE ROLE"), "the log tells everything");
    assert!(!log.contains(issued.expose_secret()));
}

/// Nothing that anybody set meanwhile works: the password has run out, and she cannot change that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_was_taken_stays_taken() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let (id, password) = made(connector.as_ref(), "ada").await;
    connector.apply(&AccountChange::RevokeCredentials { id: id.clone() }).await.expect("revoked");
    assert!(!target.log_in("ada", &password).await);
    target.run("ALTER ROLE ada PASSWORD 'another-Passw0rd'").await;
    assert!(!target.log_in("ada", "another-Passw0rd").await);
    let account = read(connector.as_ref(), &id, &Managed::All).await;
    assert!(!account.credentials && account.state == AccountState::Enabled, "{account:?}");
    let issued = connector.apply(&AccountChange::IssuePassword { id: id.clone() }).await.expect("issued").password.expect("a password");
    assert!(target.log_in("ada", issued.expose_secret()).await, "what usher issues works again");
    assert!(read(connector.as_ref(), &id, &Managed::All).await.credentials);
}

/// A day that somebody set for a password to run out stays, unless it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_runs_out_when_somebody_said_so() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let (id, _) = made(connector.as_ref(), "ada").await;
    let until = "SELECT rolvaliduntil::text FROM pg_roles WHERE rolname = 'ada'";
    for (before, after) in [("2100-01-01 00:00:00+00", "2100-01-01 00:00:00+00"), ("2000-01-01 00:00:00+00", "infinity")] {
        target.run(&format!("SET timezone = 'UTC'; ALTER ROLE ada VALID UNTIL '{before}'")).await;
        let issued = connector.apply(&AccountChange::IssuePassword { id: id.clone() }).await.expect("issued").password.expect("a password");
        assert!(target.log_in("ada", issued.expose_secret()).await);
        assert_eq!(target.value::<String>(until).await, after);
    }
}

/// MD5 passwords do not outlive a new name; those that usher issues do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_outlives_a_new_name() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let (id, password) = made(connector.as_ref(), "ada").await;
    let married = AccountChange::SetProfile { id: id.clone(), profile: connector.keeps(profile("ada king")) };
    for _ in 0..2 {
        connector.apply(&married).await.expect("renamed");
    }
    assert!(target.log_in("ada king", &password).await && !target.log_in("ada", &password).await);
    let (other, _) = made(connector.as_ref(), "ada").await;
    assert_ne!(id, other, "the name is free, and nobody is mistaken for her");
    let error = connector.apply(&AccountChange::SetProfile { id, profile: connector.keeps(profile("ada")) }).await.expect_err("taken");
    assert!(matches!(error, ConnectorError::Rejected { .. }), "{}", error.chain());
}

/// A few connections are kept, however much was asked at once; a new one is made when they are lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_connections_are_kept_and_replaced() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let finds = (0..50).map(|_| async { connector.find(&named("ada"), &Managed::All).await.expect("an answer") });
    futures::future::join_all(finds).await;
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'usher'";
    let most = target.value::<i64>(connections).await;
    assert!((2..=4).contains(&most), "{most} connections: requests at once neither wait for each other nor take all that the server has");
    target.run("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'usher'").await;
    // That it is gone, usher may hear only by asking.
    if let Err(error) = connector.find(&named("ada"), &Managed::All).await {
        assert!(matches!(error, ConnectorError::Unreachable { .. }), "{}", error.chain());
    }
    connector.find(&named("ada"), &Managed::All).await.expect("it is connected again");
    assert_eq!(target.value::<i64>(connections).await, 1);
}

/// A server that falls silent in the middle is given up in time, and so is the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_is_left() {
    let target = Postgres::start().await;
    let proxy = target.proxy().await;
    let connector = target.connector_at(proxy.address().port(), target.password());
    connector.probe().await.expect("it answers");
    proxy.silence();
    let start = Instant::now();
    let ada = named("ada");
    let calls = (0..3).map(|_| connector.find(&ada, &Managed::All));
    for answer in futures::future::join_all(calls).await {
        let error = answer.expect_err("no answer");
        assert!(matches!(error, ConnectorError::Unreachable { .. }), "{}", error.chain());
    }
    assert!(start.elapsed() < Duration::from_secs(30), "it took {:?}", start.elapsed());
    proxy.pass();
    connector.find(&named("ada"), &Managed::All).await.expect("it answers again");
}

/// usher's password is changed: it is told as refused as soon as a connection has to be made, and the new one works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_was_changed_is_refused_and_the_new_one_works() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    connector.probe().await.expect("it answers");
    target.run("ALTER ROLE usher PASSWORD 'its-next-Passw0rd'").await;
    target.run("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'usher'").await;
    let mut answer = connector.find(&named("ada"), &Managed::All).await;
    if let Err(ConnectorError::Unreachable { .. }) = answer {
        // That the connection is gone, usher may hear only by asking.
        answer = connector.find(&named("ada"), &Managed::All).await;
    }
    let error = answer.expect_err("refused");
    assert!(matches!(error, ConnectorError::Unauthorized { .. }) && error.retry() == Retry::OnChange, "{}", error.chain());
    target.connector_at(target.server().port, "its-next-Passw0rd").probe().await.expect("this one works");
}

/// Who waits for somebody's lock gives up, and others do not queue behind him for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_somebody_holds_is_waited_for_briefly() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let (id, _) = made(connector.as_ref(), "ada").await;
    target.run("BEGIN; ALTER ROLE ada CONNECTION LIMIT 5").await;
    let start = Instant::now();
    let error = connector.apply(&AccountChange::SetEnabled { id: id.clone(), enabled: false }).await.expect_err("it is locked");
    assert!(error.retry() == Retry::Backoff && start.elapsed() < Duration::from_secs(10), "{}", error.chain());
    target.run("COMMIT").await;
    connector.apply(&AccountChange::SetEnabled { id, enabled: false }).await.expect("locked out");
}

/// Neither a stranger's certificate nor one for another name is good enough, nor none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_to_a_server_that_cannot_prove_who_it_is() {
    let target = Postgres::start().await;
    let port = target.server().port;
    let ask = async |url: String, ca: Option<String>| {
        let settings = target.settings(&url);
        let secrets = usher::connectors::Secrets { ca, ..target.secrets(target.password()) };
        let connector = connect(System::Postgresql(&settings), secrets, Arc::new(Throttle::new(100))).expect("a connector");
        connector.probe().await
    };
    let ca = Some(target.server().ca.clone());
    ask(format!("postgresql://localhost:{port}/postgres"), ca.clone()).await.expect("this is what it is called");
    let error = ask(format!("postgresql://127.0.0.1:{port}/postgres"), None).await.expect_err("no public CA signed that");
    assert!(matches!(error, ConnectorError::Unreachable { .. }) && error.chain().contains("certificate"), "{}", error.chain());
    // Another address of the same machine, which the certificate does not name.
    let listener = TcpListener::bind("127.0.0.2:0").await.expect("a port");
    let elsewhere = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("the server");
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    });
    let error = ask(format!("postgresql://{elsewhere}/postgres"), ca.clone()).await.expect_err("another name");
    assert!(matches!(error, ConnectorError::Unreachable { .. }) && error.chain().contains("certificate"), "{}", error.chain());
    // A server that speaks no TLS says N to the question for it.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let plain = listener.local_addr().expect("an address");
    let heard = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut question = [0; 8];
        client.read_exact(&mut question).await.expect("the question for TLS");
        client.write_all(b"N").await.expect("an answer");
        let mut more = Vec::new();
        client.read_to_end(&mut more).await.expect("the end");
        more
    });
    let error = ask(format!("postgresql://{plain}/postgres"), ca).await.expect_err("no TLS");
    assert!(matches!(error, ConnectorError::Unreachable { .. }), "{}", error.chain());
    assert!(heard.await.expect("it ends").is_empty(), "nothing was said without TLS");
}
