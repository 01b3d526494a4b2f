//! Names are anything up to 63 bytes, and some are there to break statements.

use std::collections::BTreeSet;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use usher::connectors::Connector;
use usher::connectors::error::ConnectorError;
use usher::plan::account::{AccountChange, Managed, Owned};

use crate::conformance::{Target, named, owner, profile, read};

use super::Postgres;

/// What somebody may think of who means ill, and what any person may be called.
const NAMES: [&str; 16] = [
    "ada\"; DROP ROLE grace; --",
    "ada'; DROP ROLE grace; --",
    "\\'; DROP ROLE grace; --",
    "$usher$ $$ $1 %I %L %s {name}",
    "\\",
    "\"",
    "'",
    "' || current_user || '",
    " ",
    "Ada",
    "ada.lovelace@example.com",
    "a\nb\tc\r",
    "Äda Øst 李 🦀",
    "user",
    "current_user",
    "αβγδεζηθικλμνξοπρστυφχψωάέήίόύώ1",
];

async fn live(target: &Postgres, connector: &dyn Connector, name: &str, group: &str) {
    let create = AccountChange::Create { profile: connector.keeps(profile(name)), owner: owner("ada") };
    let id = connector.apply(&create).await.unwrap_or_else(|error| panic!("{name:?}: {}", error.chain())).id.expect("an id");
    assert_eq!(connector.apply(&create).await.expect("made before").id.as_ref(), Some(&id));
    let there: i64 = target.admin.query_one("SELECT count(*) FROM pg_roles WHERE rolname = $1", &[&name]).await.expect("a count").get(0);
    assert_eq!(there, 1, "{name:?} is called that at the server");
    let account = connector.find(&named(name), &Managed::All).await.expect("an answer").expect("an account");
    assert_eq!((account.id.as_str(), account.profile.username.as_str()), (id.as_str(), name));
    for change in [
        AccountChange::Join { id: id.clone(), group: group.to_owned() },
        AccountChange::SetProfile { id: id.clone(), profile: connector.keeps(profile("plain")) },
        AccountChange::SetProfile { id: id.clone(), profile: connector.keeps(profile(name)) },
        AccountChange::IssuePassword { id: id.clone() },
        AccountChange::SetEnabled { id: id.clone(), enabled: false },
    ] {
        connector.apply(&change).await.unwrap_or_else(|error| panic!("{name:?}, {change:?}: {}", error.chain()));
    }
    let account = read(connector, &id, &Managed::All).await;
    assert_eq!((account.profile.username.as_str(), account.groups), (name, BTreeSet::from([group.to_owned()])));
    for change in
        [AccountChange::Leave { id: id.clone(), group: group.to_owned() }, AccountChange::Delete { id: id.clone(), owned: Owned::Keep }]
    {
        connector.apply(&change).await.unwrap_or_else(|error| panic!("{name:?}, {change:?}: {}", error.chain()));
    }
    assert_eq!(connector.find(&named(name), &Managed::All).await.expect("an answer"), None);
}

/// A name is a name, whatever is in it, and nothing else happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_never_more_than_a_name() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let grace = target.make_stranger("grace", "grace@example.com").await;
    let mut runner = TestRunner::deterministic();
    let any = "[^\\x00]{1,15}|['\"\\\\$%;-]{1,63}|[a-z]{63}";
    let dice = proptest::string::string_regex(any).expect("a pattern").prop_filter("what the server keeps for itself", |name| {
        name.len() <= 63 && !name.starts_with("pg_") && !["none", "public", "plain", "postgres", "usher"].contains(&name.as_str())
    });
    let thrown: Vec<String> = (0..24).map(|_| dice.new_tree(&mut runner).expect("a name").current()).collect();
    for name in NAMES.into_iter().chain(thrown.iter().map(String::as_str)) {
        let group = if name == "team" { "teams".to_owned() } else { name.chars().rev().chain("!".chars()).take(15).collect() };
        target.make_group(&group).await;
        live(&target, connector.as_ref(), name, &group).await;
        target.run(&super::server::named("DROP ROLE {name}", &group)).await;
    }
    assert_eq!(target.value::<String>("SELECT oid::text FROM pg_roles WHERE rolname = 'grace'").await, grace, "she is still there");
}

/// The server cuts longer names in silence: somebody else would be meant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_name_is_refused_and_never_cut() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let (long, cut) = ("a".repeat(64), "a".repeat(63));
    let stranger = target.make_stranger(&cut, "a@example.com").await;
    assert_eq!(connector.find(&named(&long), &Managed::All).await.expect("an answer"), None, "it is not the one with the name cut");
    for name in [long.clone(), "é".repeat(32)] {
        let create = AccountChange::Create { profile: connector.keeps(profile(&name)), owner: owner("ada") };
        let error = connector.apply(&create).await.expect_err("too long");
        assert!(matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains("63"), "{}", error.chain());
    }
    let create = AccountChange::Create { profile: connector.keeps(profile("ada")), owner: owner("ada") };
    let id = connector.apply(&create).await.expect("made").id.expect("an id");
    connector.apply(&AccountChange::SetProfile { id: id.clone(), profile: connector.keeps(profile(&long)) }).await.expect_err("too long");
    connector.apply(&AccountChange::Join { id: id.clone(), group: long }).await.expect_err("no such group");
    let account = read(connector.as_ref(), &id, &Managed::All).await;
    assert!(account.profile.username == "ada" && account.groups.is_empty(), "{account:?}");
    assert_eq!(target.value::<i64>("SELECT count(*) FROM pg_roles WHERE rolname !~ '^pg_'").await, 4, "usher, the superuser and these two");
    assert!(read(connector.as_ref(), &stranger, &Managed::All).await.owner.is_none());
}

/// Names that the server keeps for itself are refused in its words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_the_server_keeps_for_itself_are_refused() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    for name in ["pg_ada", "public", "none", "postgres", "usher", "pg_monitor"] {
        let create = AccountChange::Create { profile: connector.keeps(profile(name)), owner: owner("ada") };
        let error = connector.apply(&create).await.expect_err(name);
        assert!(matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains(name), "{}", error.chain());
    }
}

/// What the administrators wrote about a role stays when usher marks it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_stays_beside_the_mark() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let id = target.make_stranger("ada", "ada@example.com").await;
    target.run("COMMENT ON ROLE ada IS 'of the data team''s\nask Grace'").await;
    for _ in 0..2 {
        connector.apply(&AccountChange::Adopt { id: id.clone(), owner: owner("ada") }).await.expect("adopted");
        assert_eq!(read(connector.as_ref(), &id, &Managed::All).await.owner, Some(owner("ada")));
        let comment: String = target.value("SELECT shobj_description('ada'::regrole, 'pg_authid')").await;
        assert_eq!(comment, format!("of the data team's\nask Grace\n{}", owner("ada").mark()));
    }
}
