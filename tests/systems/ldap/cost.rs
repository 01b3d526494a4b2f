//! What a look at everybody costs on the wire.

use std::collections::{BTreeMap, BTreeSet};

use usher::api::provider::LockOut;
use usher::plan::account::Managed;

use crate::conformance::Target;

use super::Directory;

/// 2,501 people are six pages, whatever is told of them: a login, these, and a request for each 100 groups that are managed, or each 500 if all are. The next look
/// costs the same, and none of them changes anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_everybody_costs_pages() {
    let directory = Directory::start(LockOut::Password).await;
    directory.make_crowd(2_501).await;
    let everybody: Vec<String> = (0..2_501).map(|number| directory.server.person(&format!("stranger-{number}"))).collect();
    let everybody: Vec<&str> = everybody.iter().map(String::as_str).collect();
    directory.make("groupOfNames", "developers", "member", &everybody).await;
    let names: BTreeSet<String> = (0..249).map(|number| format!("team-{number}")).chain(["developers".to_owned()]).collect();
    let before = directory.server.everything().await;
    for (managed, requests) in [(Managed::All, 1), (Managed::Only(BTreeSet::new()), 0), (Managed::Only(names), 3)] {
        let proxy = directory.proxy().await;
        let connector = directory.at(&proxy.url(), proxy.ca());
        for look in 1..=2 {
            let all = connector.list(&managed).await.expect("a list");
            let members = all.iter().filter(|account| account.groups.contains("developers")).count();
            assert_eq!((all.len(), members), (2_501, if requests == 0 { 0 } else { 2_501 }));
            assert_eq!(proxy.counts(), BTreeMap::from([("bind", look), ("search", look * (6 + requests))]), "{requests}");
        }
    }
    assert!(directory.server.everything().await == before, "nothing was changed");
}
