//! The history that watches go on from is gone: while the operator's connections are broken etcd is compacted, so that every watch is told 410 Gone.

use serde_json::{Value, json};

use super::{CALM, arrive, assert_nothing_twice, at_rest, by, depart, proxied, whole};
use crate::support::audit::Audit;
use crate::support::client;
use crate::support::fleet::{Fleet, Member};
use crate::support::install::PATIENT;
use crate::support::operator::Operator;
use crate::support::replica::Replica;
use crate::support::{AuditLevel, ControlPlane};

/// Without its cache the API server takes what watches ask for from etcd, and not from a history of its own.
pub(super) const UNCACHED: &[&str] = &["--watch-cache=false"];
const SETTLED: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_compacted_under_broken_watches_is_read_anew_and_nothing_is_done_twice() {
    let plane = ControlPlane::alone(AuditLevel::Request, UNCACHED).await;
    let client = plane.admin_client().await;
    let (install, proxy) = proxied(&plane, &PATIENT).await;
    let audit = Audit::from_now(&plane);
    let replica = Replica::start_via(&plane, &install, "usher-0", &by(&proxy)).await;
    let mut fleet = Fleet::new(SETTLED);
    // A namespace that disappears without a watch that sees it.
    client::namespace(&client, "extra-dev", &[("stage", "dev")]).await;
    fleet.settle_in(&client).await;
    let settled = audit.still(CALM).await.len();

    proxy.break_off();
    depart(&client, &mut fleet, "p01").await;
    let newcomers = [("new0", true), ("new1", false)].map(|(name, web)| Member { name: name.to_owned(), web, ops: false });
    arrive(&client, &newcomers).await;
    fleet.people.extend(newcomers);
    let moved = fleet.people.iter_mut().find(|member| member.name == "p02").expect("she is there");
    moved.web = false;
    fleet.ended.push("p02 editor".to_owned());
    arrive(&client, std::slice::from_ref(moved)).await;
    plane.kubectl(&["delete", "namespace", "extra-dev", "--wait=true", "--timeout=60s"]).await.ok();
    compact(&plane).await;
    assert_eq!(audit.writes().len(), settled, "it reaches nobody");
    proxy.pass();

    whole(&client, &mut fleet).await;
    let gone = told_gone(&replica.operator);
    println!("410 was told to the watches of {gone:?}");
    let kinds = ["Developer", "Binding", "RoleBinding", "Namespace"];
    assert!(kinds.iter().all(|kind| gone.iter().any(|told| told == kind)), "not all were told 410: {gone:?}");
    assert_nothing_twice(&at_rest(&audit).await, &[]);
    assert_eq!(replica.ended, 0);
    assert!(replica.operator.is_alive(), "it goes on by itself");
    drop(replica);
    plane.stop().await;
}

/// The kinds whose watches were told that what they want to go on from is gone.
pub(super) fn told_gone(operator: &Operator) -> Vec<String> {
    let log = operator.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told = lines.filter(|line| line.to_string().contains("Expired") || line.to_string().contains("410"));
    told.filter_map(|line| line.pointer("/fields/kind").or_else(|| line.get("kind"))?.as_str().map(str::to_owned)).collect()
}

/// Compacts etcd to its newest revision.
pub(super) async fn compact(plane: &ControlPlane) {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let ask = async |path: &str, body: Value| -> Value {
        let answer = http.post(format!("{}/v3/kv/{path}", plane.variable("ETCD_URL"))).json(&body).send().await.expect("etcd answers");
        answer.error_for_status().expect("etcd does it").json().await.expect("JSON")
    };
    let newest = ask("range", json!({"key": "AA=="})).await["header"]["revision"].clone();
    ask("compaction", json!({"revision": newest, "physical": true})).await;
}
