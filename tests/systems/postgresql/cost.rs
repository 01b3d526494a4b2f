//! What a look at everybody costs the server.

use usher::plan::account::Managed;

use crate::conformance::Target;

use super::Postgres;
use super::server::everything;

/// What usher's sessions asked for, as the server's log has it, each by how it begins.
fn asked(target: &Postgres) -> Vec<String> {
    let log = target.server().log();
    let own = log.lines().filter_map(|line| line.strip_prefix("usher: LOG:  "));
    own.map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ")).collect()
}

/// 2,501 people are one statement, whatever is told of them; the session that it comes by is prepared once. None changes anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_at_everybody_is_one_statement() {
    let target = Postgres::start().await;
    target.make_crowd(2_501).await;
    target.make_group("developers").await;
    target
        .run("DO $$ BEGIN FOR number IN 0..2500 LOOP EXECUTE format('GRANT developers TO %I', 'stranger-' || number); END LOOP; END $$")
        .await;
    target.set("log_line_prefix", "%u: ").await;
    target.set("log_statement", "all").await;
    let before = everything(&target.admin).await;
    assert!(before.len() > 2_501);
    let connector = target.connector().await;
    let look = async || {
        let all = connector.list(&Managed::All).await.expect("a list");
        let members = all.iter().filter(|account| account.groups.contains("developers")).count();
        // usher's own role and the superuser's are accounts, too.
        assert_eq!((all.len(), members), (2_503, 2_501));
    };
    let (prepared, listed) = (["statement: SHOW transaction_read_only", "statement: SET search_path"], "execute <unnamed>: SELECT");
    look().await;
    assert_eq!(asked(&target), [&prepared[..], &[listed]].concat());
    look().await;
    assert_eq!(asked(&target), [&prepared[..], &[listed; 2]].concat());
    assert!(everything(&target.admin).await == before, "nothing was changed");
}
