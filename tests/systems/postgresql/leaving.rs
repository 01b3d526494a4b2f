//! DROP ROLE is refused as long as a role owns anything in any database, or anything was granted to it.

use usher::connectors::Connector;
use usher::connectors::error::ConnectorError;
use usher::plan::account::{AccountChange, Managed, Owned};

use crate::conformance::{Target, made, named};

use super::Postgres;

/// A bit of everything, in the database of the session. What is granted to colleagues is a setting of hers as much as a right of theirs.
const ESTATE: &str = "CREATE SCHEMA bench;
    CREATE TABLE bench.engine (wheel serial PRIMARY KEY, teeth int CHECK (teeth > 0));
    CREATE VIEW bench.wheels AS SELECT wheel FROM bench.engine;
    CREATE FUNCTION bench.turn() RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE TYPE bench.metal AS ENUM ('brass', 'tin');
    CREATE POLICY hers ON bench.engine TO ada USING (true);
    GRANT SELECT ON bench.engine TO PUBLIC;
    ALTER DEFAULT PRIVILEGES IN SCHEMA bench GRANT SELECT ON TABLES TO PUBLIC;
    SELECT lo_create(0)";

/// How much she owns, in all databases.
const OWNS: &str =
    "SELECT count(*) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND deptype = 'o' AND refobjid = to_regrole('ada')";

struct Estate {
    target: Postgres,
    connector: std::sync::Arc<dyn Connector>,
    id: String,
}

/// Ada owns things in two databases, and a third as a whole.
async fn estate() -> Estate {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let (id, password) = made(connector.as_ref(), "ada").await;
    target.make_workshop("ada").await;
    target.run("CREATE DATABASE \"the attic\" OWNER foreman").await;
    target.run("GRANT CREATE ON DATABASE \"the attic\" TO ada").await;
    for database in ["workshop", "the attic"] {
        let session = target.session(database, "ada", &password).await.expect("she logs in");
        session.batch_execute(ESTATE).await.expect("she may");
    }
    target.run("CREATE DATABASE lab OWNER ada").await;
    Estate { target, connector, id }
}

impl Estate {
    async fn delete(&self, owned: Owned) -> Result<(), ConnectorError> {
        self.connector.apply(&AccountChange::Delete { id: self.id.clone(), owned }).await.map(|_| ())
    }

    async fn gone(&self) -> bool {
        self.connector.find(&named("ada"), &Managed::All).await.expect("an answer").is_none()
    }
}

/// It says where: whoever has to look after it finds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_she_owns_is_told_by_database() {
    let estate = estate().await;
    let before: i64 = estate.target.value(OWNS).await;
    let error = estate.delete(Owned::Keep).await.expect_err("it owns things");
    let text = error.to_string();
    assert!(matches!(error, ConnectorError::OwnsObjects { .. }), "{text}");
    for part in ["database lab", "objects in database workshop", "objects in database the attic"] {
        assert!(text.contains(part), "{text}");
    }
    let error = estate.delete(Owned::Archive).await.expect_err("nothing can be archived");
    assert!(matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains("Transfer"), "{error}");
    let error = estate.delete(Owned::Transfer("ada".to_owned())).await.expect_err("she is who leaves");
    assert!(matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains("itself"), "{error}");
    assert_eq!(estate.target.value::<i64>(OWNS).await, before, "nothing is touched");
}

/// In every database, and the databases themselves. usher is nobody's equal afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_handed_over() {
    let estate = estate().await;
    let heir = estate.target.make_heir().await;
    estate.delete(Owned::Transfer(heir.clone())).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    assert!(estate.gone().await);
    for database in ["workshop", "the attic"] {
        let admin = estate.target.server().admin(database).await;
        let owners = "SELECT DISTINCT pg_get_userbyid(owner)::text FROM (
            SELECT nspowner FROM pg_namespace WHERE nspname = 'bench'
            UNION ALL SELECT relowner FROM pg_class WHERE relnamespace = 'bench'::regnamespace
            UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'bench'::regnamespace
            UNION ALL SELECT typowner FROM pg_type WHERE typnamespace = 'bench'::regnamespace
            UNION ALL SELECT lomowner FROM pg_largeobject_metadata) AS theirs (owner)";
        let owners: Vec<String> = admin.query(owners, &[]).await.expect("owners").iter().map(|row| row.get(0)).collect();
        assert_eq!(owners, std::slice::from_ref(&heir), "{database}");
        admin.batch_execute("SELECT wheel FROM bench.wheels; SELECT bench.turn()").await.expect("all of it is there");
        admin.batch_execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata").await.expect("tidy");
    }
    assert_eq!(estate.target.value::<String>("SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = 'lab'").await, heir);
    let equals: bool = estate.target.value("SELECT pg_has_role('usher', 'heir', 'USAGE')").await;
    assert_eq!(equals, estate.target.version >= 160_000, "no more than it was before");
}

/// A database that lets nobody in is told by name, and what can be done is done; the next try goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_lets_nobody_in_is_told() {
    let estate = estate().await;
    let heir = estate.target.make_heir().await;
    for (close, open) in [
        ("ALTER DATABASE workshop ALLOW_CONNECTIONS false", "ALTER DATABASE workshop ALLOW_CONNECTIONS true"),
        (
            "ALTER DATABASE workshop OWNER TO postgres; REVOKE CONNECT ON DATABASE workshop FROM PUBLIC",
            "GRANT CONNECT ON DATABASE workshop TO PUBLIC; ALTER DATABASE workshop OWNER TO foreman",
        ),
    ] {
        estate.target.run(close).await;
        let error = estate.delete(Owned::Transfer(heir.clone())).await.expect_err("it is closed");
        assert!(matches!(&error, ConnectorError::Rejected { .. }) && !error.ails(), "{}", error.chain());
        assert!(error.to_string().contains("database workshop") && error.to_string().contains("CONNECT"), "{error}");
        estate.target.run(open).await;
    }
    estate.delete(Owned::Transfer(heir)).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    assert!(estate.gone().await);
}

/// What was only granted to her is no property: it goes with her.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_granted_goes_with_her() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let (id, _) = made(connector.as_ref(), "ada").await;
    target.make_workshop("ada").await;
    let admin = target.server().admin("workshop").await;
    let grant = "SET ROLE foreman; CREATE TABLE bench (tool text); GRANT SELECT, INSERT ON bench TO ada;
        ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO ada";
    admin.batch_execute("GRANT CREATE ON SCHEMA public TO foreman").await.expect("granted");
    admin.batch_execute(grant).await.expect("granted");
    let member: bool = target.value("SELECT pg_has_role('usher', 'foreman', 'USAGE')").await;
    connector.apply(&AccountChange::Delete { id, owned: Owned::Keep }).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(connector.find(&named("ada"), &Managed::All).await.expect("an answer"), None);
    assert_eq!(target.owner_of("bench").await, "foreman", "nothing else is touched");
    assert_eq!(
        target.value::<bool>("SELECT pg_has_role('usher', 'foreman', 'USAGE')").await,
        member,
        "usher has no more rights than before"
    );
}

/// What a superuser granted to a person, only a superuser revokes. She is locked out all the same, and it is told what keeps her role.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_superuser_revokes_is_told() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let (id, password) = made(connector.as_ref(), "ada").await;
    target.run("CREATE TABLE public.safe (key text); GRANT SELECT ON public.safe TO ada").await;
    let delete = AccountChange::Delete { id, owned: Owned::Keep };
    let error = connector.apply(&delete).await.expect_err("it may not");
    let text = error.to_string();
    assert!(matches!(error, ConnectorError::Rejected { .. }) && text.contains("safe") && text.contains("DROP OWNED BY"), "{text}");
    assert!(!target.log_in("ada", &password).await);
    target.run("DROP OWNED BY ada").await;
    connector.apply(&delete).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    target.run("DROP TABLE public.safe").await;
}

/// A superuser needs nobody's help for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_superuser_revokes_what_was_granted() {
    let target = Postgres::by_superuser().await;
    let connector = target.connector().await;
    let (id, _) = made(connector.as_ref(), "ada").await;
    target.run("CREATE TABLE public.safe (key text); GRANT SELECT ON public.safe TO ada").await;
    connector.apply(&AccountChange::Delete { id, owned: Owned::Keep }).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(target.value::<i64>("SELECT count(*) FROM pg_roles WHERE rolname = 'ada'").await, 0);
    target.run("DROP TABLE public.safe").await;
}

/// DROP ROLE leaves sessions of the role open, with its rights.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_the_account() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    let (id, password) = made(connector.as_ref(), "ada").await;
    let session = target.issue("ada", &password).await.expect("a session");
    connector.apply(&AccountChange::Delete { id, owned: Owned::Keep }).await.expect("deleted");
    assert!(!target.accepts(&session).await);
}

/// Since version 16 what she gave others with her right to give it depends on her.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_she_gave_others_keeps_nobody() {
    let target = Postgres::start().await;
    let connector = target.connector().await;
    target.make_group("developers").await;
    let (id, password) = made(connector.as_ref(), "ada").await;
    made(connector.as_ref(), "bob").await;
    target.run("GRANT developers TO ada WITH ADMIN OPTION").await;
    let session = target.session("postgres", "ada", &password).await.expect("she logs in");
    session.batch_execute("GRANT developers TO bob").await.expect("she may");
    drop(session);
    let deleted = connector.apply(&AccountChange::Delete { id, owned: Owned::Keep }).await;
    deleted.unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(connector.find(&named("ada"), &Managed::All).await.expect("an answer"), None);
}
