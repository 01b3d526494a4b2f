//! Those whom usher does not know, and what the server keeps of them.

use usher::plan::account::Owner;

use crate::conformance::{Target, owner, work_among_strangers};

use super::Postgres;
use super::server::everything;

/// Strangers of every sort, in the groups that usher gives and takes and in others; one is at work.
async fn make_strangers(target: &Postgres) -> tokio_postgres::Client {
    target.make_crowd(20).await;
    for group in ["developers", "releases", "choir"] {
        target.make_group(group).await;
    }
    let others = Owner { installation: "7b1c1f0a-5f6e-4a52-8d5e-2f3c0f3b9a77".to_owned(), ..owner("ada") }.mark();
    target
        .run(&format!(
            "COMMENT ON ROLE \"stranger-1\" IS 'of the data team'; COMMENT ON ROLE \"stranger-2\" IS '{others}';
            ALTER ROLE \"stranger-3\" NOLOGIN; ALTER ROLE \"stranger-4\" VALID UNTIL '-infinity';
            ALTER ROLE \"stranger-5\" SET work_mem = '1MB'; GRANT \"stranger-7\" TO \"stranger-6\";
            GRANT developers, releases TO \"stranger-6\"; GRANT developers, choir TO \"stranger-7\" WITH ADMIN OPTION;
            CREATE ROLE \"ada king\" LOGIN; CREATE ROLE \"Ada\" LOGIN"
        ))
        .await;
    target.make_stranger("worker", "worker@example.com").await;
    target.run("GRANT developers TO worker").await;
    target.make_workshop("worker").await;
    let session = target.session("workshop", "worker", "a-strangers-Passw0rd").await.expect("a session");
    session.batch_execute("CREATE SCHEMA bench; CREATE TABLE bench.engine (wheel int); SET ROLE developers").await.expect("done");
    session
}

/// From the first day of usher's people to the last nothing changes of anybody else's, and nobody else's session ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_untouched() {
    for target in [Postgres::start().await, Postgres::by_superuser().await] {
        let session = make_strangers(&target).await;
        let before = everything(&target.admin).await;
        assert!(before["worker"].iter().any(|row| row.starts_with("session")) && before["stranger-6"].len() == 4, "{before:?}");
        work_among_strangers(target.connector().await.as_ref(), &["developers".to_owned(), "releases".to_owned()]).await;
        let after = everything(&target.admin).await;
        let differ: Vec<_> = before.keys().chain(after.keys()).filter(|role| before.get(*role) != after.get(*role)).collect();
        assert!(differ.is_empty(), "{differ:?}");
        session.batch_execute("SELECT").await.expect("she is at work still");
    }
}
