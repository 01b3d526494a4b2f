//! What usher's role may do, what it may not, and whom it never touches.

use usher::connectors::error::{ConnectorError, Retry};
use usher::plan::account::{AccountChange, Capability, Managed, Owned};

use crate::conformance::{Target, made, named, owner, profile, read};

use super::Postgres;

/// A mark that its bearer can write is none, and a password that ran out must not come back by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_changes_her_own_mark_or_lets_her_password_live() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let (id, password) = made(connector.as_ref(), "ada").await;
    let session = target.session("postgres", "ada", &password).await.expect("she logs in");
    for statement in ["COMMENT ON ROLE ada IS 'nobody''s'", "ALTER ROLE ada VALID UNTIL 'infinity'", "ALTER ROLE ada CREATEROLE"] {
        let error = session.batch_execute(statement).await.expect_err(statement);
        assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("42501"), "{statement}");
    }
    session.batch_execute("ALTER ROLE ada PASSWORD 'my-own-Passw0rd'").await.expect("her password is hers");
    assert_eq!(read(connector.as_ref(), &id, &Managed::All).await.owner, Some(owner("ada")));
}

/// Who administers the server is told as such, and so is usher itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_are_told() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    for right in ["SUPERUSER", "CREATEROLE", "BYPASSRLS", "REPLICATION", "CREATEDB"] {
        target.run(&format!("CREATE ROLE {right}_1 LOGIN {right}")).await;
    }
    let all = connector.list(&Managed::All).await.expect("a list");
    let administers: Vec<(&str, bool)> = all.iter().map(|it| (it.profile.username.as_str(), it.administrator)).collect();
    for (name, administrator) in [
        ("postgres", true),
        ("usher", true),
        ("superuser_1", true),
        ("createrole_1", true),
        ("bypassrls_1", true),
        ("replication_1", true),
        ("createdb_1", false),
    ] {
        assert!(administers.contains(&(name, administrator)), "{name}: {administers:?}");
    }
    let builtin = connector.find(&named("pg_monitor"), &Managed::All).await.expect("an answer").expect("it is there");
    assert!(builtin.administrator && !all.iter().any(|account| account.id == builtin.id), "it is no account");
}

/// Roles that nobody can log in as are groups, unless usher marked them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_no_accounts() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    target.make_group("developers").await;
    let (id, _) = made(connector.as_ref(), "ada").await;
    connector.apply(&AccountChange::SetEnabled { id: id.clone(), enabled: false }).await.expect("locked out");
    let all = connector.list(&Managed::All).await.expect("a list");
    let names: Vec<&str> = all.iter().map(|account| account.profile.username.as_str()).collect();
    assert!(!names.contains(&"developers") && names.contains(&"ada"), "{names:?}");
    let create = AccountChange::Create { profile: connector.keeps(profile("developers")), owner: owner("developers") };
    let error = connector.apply(&create).await.expect_err("a group has that name");
    assert!(matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains("taken"), "{}", error.chain());
}

/// Somebody who can make functions in the database that usher is connected to does not get to answer usher's questions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_somebody_planted_is_not_run() {
    let target = Postgres::start().await;
    let id = target.make_stranger("ada", "ada@example.com").await;
    target.run("GRANT CREATE ON SCHEMA public TO ada").await;
    let session = target.session("postgres", "ada", "a-strangers-Passw0rd").await.expect("she logs in");
    let forged = owner("ada").mark();
    let plant = format!(
        "CREATE FUNCTION public.shobj_description(oid, text) RETURNS text LANGUAGE sql AS $$ SELECT '{forged}'::text $$;
        GRANT EXECUTE ON FUNCTION public.shobj_description(oid, text) TO PUBLIC"
    );
    session.batch_execute(&plant).await.expect("she may");
    let fooled: Option<String> = target.value(&format!("SELECT shobj_description({id}, 'pg_authid')")).await;
    assert_eq!(fooled.as_ref(), Some(&forged), "who asks without care gets her answer");
    let connector = target.connector().await;
    assert_eq!(read(connector.as_ref(), &id, &Managed::All).await.owner, None);
    target.run("DROP FUNCTION public.shobj_description(oid, text)").await;
}

/// usher makes nobody a superuser, even where it could.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_superuser_is_no_group() {
    for target in [Postgres::start().await, Postgres::by_superuser().await] {
        let connector = target.connector().await;
        target.run("CREATE ROLE root SUPERUSER").await;
        let (id, _) = made(connector.as_ref(), "ada").await;
        let error = connector.apply(&AccountChange::Join { id: id.clone(), group: "root".to_owned() }).await.expect_err("no");
        assert!(matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains("superuser"), "{}", error.chain());
        assert!(read(connector.as_ref(), &id, &Managed::All).await.groups.is_empty());
    }
}

/// A group by which one takes over the server or usher, itself or through what it is in, is refused by name; groups that are only about data are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_administers_the_server_is_refused() {
    for target in [Postgres::start().await, Postgres::by_superuser().await] {
        let connector = target.connector().await;
        let (id, _) = made(connector.as_ref(), "ada").await;
        let join = |group: &str| AccountChange::Join { id: id.clone(), group: group.to_owned() };
        for right in ["CREATEROLE", "REPLICATION", "BYPASSRLS", "SUPERUSER"] {
            target.run(&format!("CREATE ROLE has_{right} {right}")).await;
        }
        target.run("CREATE ROLE is_usher IN ROLE usher").await;
        let own = ["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"];
        let rights = ["has_createrole", "has_replication", "has_bypassrls", "has_superuser", "usher"];
        for (number, role) in own.into_iter().chain(rights).chain(["is_usher"]).enumerate() {
            let deep = format!("deep_{number}");
            target.run(&format!("CREATE ROLE over_{number} IN ROLE {role}; CREATE ROLE {deep} IN ROLE over_{number}")).await;
            target.entrust(role).await;
            target.entrust(&deep).await;
            for group in [role, deep.as_str()] {
                let error = connector.apply(&join(group)).await.expect_err(group);
                let told = if role == "is_usher" { "usher" } else { role };
                assert!(matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains(told), "{}", error.chain());
            }
        }
        assert!(read(connector.as_ref(), &id, &Managed::All).await.groups.is_empty());
        target.make_group("developers").await;
        target.run("GRANT pg_read_all_data TO developers").await;
        connector.apply(&join("developers")).await.expect("it is about data");
        target.run("GRANT pg_execute_server_program TO developers").await;
        connector.apply(&AccountChange::Leave { id, group: "developers".to_owned() }).await.expect("out of it anybody gets");
    }
}

/// A role without CREATEROLE can look, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_usher_may_not_do_is_told() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let (id, _) = made(connector.as_ref(), "ada").await;
    target.run("ALTER ROLE usher NOCREATEROLE").await;
    assert_eq!(connector.probe().await.expect("it answers"), [Capability::List].into());
    let create = AccountChange::Create { profile: connector.keeps(profile("bob")), owner: owner("bob") };
    let error = connector.apply(&create).await.expect_err("it may not");
    assert!(matches!(&error, ConnectorError::Unauthorized { .. }) && error.retry() == Retry::OnChange, "{}", error.chain());
    let error = connector.apply(&AccountChange::SetEnabled { id, enabled: false }).await.expect_err("it may not");
    assert!(matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains("permission"), "{}", error.chain());
}

/// Since version 16 a role gives only what it was given. One group that was forgotten stops nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_usher_was_not_given_is_told() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    target.run("CREATE ROLE forgotten").await;
    let (id, _) = made(connector.as_ref(), "ada").await;
    let join = AccountChange::Join { id: id.clone(), group: "forgotten".to_owned() };
    let joined = connector.apply(&join).await;
    if target.version < 160_000 {
        joined.expect("CREATEROLE was enough before");
        return;
    }
    let error = joined.expect_err("it was not given");
    assert!(matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains("ADMIN option"), "{}", error.chain());
    assert!(!error.ails());
    target.run("GRANT forgotten TO usher WITH ADMIN OPTION").await;
    connector.apply(&join).await.expect("now it was");
}

/// Since version 16 the server remembers who gave a group, and several may have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_others_gave_is_taken_or_told() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    target.make_group("developers").await;
    let (id, _) = made(connector.as_ref(), "ada").await;
    let group = "developers".to_owned();
    connector.apply(&AccountChange::Join { id: id.clone(), group: group.clone() }).await.expect("joined");
    target.run("GRANT developers TO ada").await;
    let left = connector.apply(&AccountChange::Leave { id: id.clone(), group: group.clone() }).await;
    if target.version >= 160_000 {
        let error = left.expect_err("the superuser gave it, too");
        assert!(matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains("postgres"), "{}", error.chain());
        assert!(read(connector.as_ref(), &id, &Managed::All).await.groups.contains("developers"), "never a pretended success");
        target.run("REVOKE developers FROM ada").await;
        connector.apply(&AccountChange::Leave { id: id.clone(), group }).await.expect("left");
    } else {
        left.expect("whoever gave it");
    }
    assert!(read(connector.as_ref(), &id, &Managed::All).await.groups.is_empty());
}

/// A superuser takes what anybody gave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_superuser_takes_what_anybody_gave() {
    let target = Postgres::by_superuser().await;
    let connector = target.connector().await;
    let (id, _) = made(connector.as_ref(), "ada").await;
    target.run("CREATE ROLE developers; GRANT developers TO usher WITH ADMIN OPTION; GRANT developers TO ada").await;
    target.run("SET ROLE usher; GRANT developers TO ada; RESET ROLE").await;
    connector.apply(&AccountChange::Leave { id: id.clone(), group: "developers".to_owned() }).await.expect("left");
    assert!(read(connector.as_ref(), &id, &Managed::All).await.groups.is_empty());
}

/// What is wrong with the server as a whole is told as what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_closed_door_is_told_apart() {
    let target = Postgres::start().await;
    let ask = async || target.connector().await.find(&named("ada"), &Managed::All).await.map(|_| ());
    ask().await.expect("all is well");
    target.run("ALTER ROLE usher CONNECTION LIMIT 0").await;
    let full = ask().await.expect_err("it is full");
    assert!(matches!(full, ConnectorError::Unreachable { .. }) && full.retry() == Retry::Backoff, "{}", full.chain());
    target.run("ALTER ROLE usher CONNECTION LIMIT -1 NOLOGIN").await;
    let locked = ask().await.expect_err("usher is locked out");
    assert!(matches!(locked, ConnectorError::Unauthorized { .. }), "{}", locked.chain());
    target.run("ALTER ROLE usher LOGIN; ALTER ROLE usher SET default_transaction_read_only = on").await;
    let standby = ask().await.expect_err("it takes no changes");
    assert!(matches!(standby, ConnectorError::Unreachable { .. }) && standby.retry() == Retry::Backoff, "{}", standby.chain());
    target.run("ALTER ROLE usher RESET ALL").await;
    ask().await.expect("all is well again");
    let settings = target.settings(&format!("postgresql://127.0.0.1:{}/nowhere", target.server().port));
    let throttle = std::sync::Arc::new(usher::connectors::throttle::Throttle::new(100));
    let system = usher::api::provider::System::Postgresql(&settings);
    let elsewhere = usher::connectors::connect(system, target.secrets(target.password()), throttle).expect("a connector");
    let error = elsewhere.probe().await.expect_err("there is no such database");
    assert!(matches!(error, ConnectorError::InvalidSettings { field: "url", .. }), "{}", error.chain());
}

/// An id that is no oid is nobody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_another_system_is_nobodys() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let id = "2b1f0a5e-1111-4a52-8d5e-2f3c0f3b9a77".to_owned();
    connector.apply(&AccountChange::Delete { id: id.clone(), owned: Owned::Keep }).await.expect("nobody is gone already");
    connector.apply(&AccountChange::SetEnabled { id: id.clone(), enabled: false }).await.expect("nobody is locked out already");
    for change in [AccountChange::SetEnabled { id: id.clone(), enabled: true }, AccountChange::IssuePassword { id }] {
        let error = connector.apply(&change).await.expect_err("nobody");
        assert!(matches!(error, ConnectorError::Rejected { .. }), "{}", error.chain());
    }
}
