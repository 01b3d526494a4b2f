//! The network between the leader and the API server is cut, and back a minute later: with whatever the leader had sent when it was cut.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use serde_json::Value;

use super::{
    CALM, SOON, arrive, assert_nothing_twice, assert_one_wrote_at_a_time, at_rest, by, depart, in_the_midst, newcomers, proxied, whole,
};
use crate::support::audit::{Audit, Event, lines};
use crate::support::fleet::{Fleet, Member};
use crate::support::replica::{Replica, supervised};
use crate::support::{AuditLevel, ControlPlane, client_of, wait_until};

const CUT: Duration = Duration::from_mins(1);
const SETTLED: usize = 6;
const NEWCOMERS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn network_of_the_leader_cut_for_a_minute_never_lets_two_write() {
    let plane = ControlPlane::exclusive(AuditLevel::Request).await;
    let client = plane.admin_client().await;
    let (install, proxy) = proxied(&plane, &[]).await;
    let audit = Audit::from_now(&plane);
    let mut leader = Replica::start_via(&plane, &install, "usher-0", &by(&proxy)).await;
    leader.leads(&audit, SOON).await;
    let mut standby = Replica::start(&plane, &install, "usher-1").await;
    let mut fleet = Fleet::new(SETTLED);
    fleet.settle_in(&client).await;
    let settled = audit.still(CALM).await.len();

    fleet.people.extend(newcomers(NEWCOMERS));
    tokio::join!(arrive(&client, &fleet.people[SETTLED..]), async {
        in_the_midst(&audit, settled, 2).await;
        proxy.hold();
    });
    let since = Instant::now();
    let takeover = standby.leads(&audit, SOON).await;
    let meanwhile = async {
        depart(&client, &mut fleet, "p05").await;
        let late = Member { name: "late".to_owned(), web: true, ops: false };
        arrive(&client, std::slice::from_ref(&late)).await;
        fleet.people.push(late);
        whole(&client, &mut fleet).await;
        tokio::time::sleep(CUT.saturating_sub(since.elapsed())).await;
    };
    supervised(&mut [&mut leader], meanwhile).await;
    proxy.pass();
    ready_again(&mut leader).await;
    at_rest(&audit).await;
    let late: Vec<_> =
        audit.operator().into_iter().filter(|event| leader.sent(event) && event.is_write() && event.at() > takeover).collect();
    println!("the replica that was cut off ended {} times", leader.ended);
    assert!(leader.ended > 0, "it ends when it cannot renew its Lease");
    // Of a request that is refused because its sender is gone nobody knows whether it was carried out.
    assert!(late.is_empty(), "what it had sent came late:{}", lines(&late));
    assert_one_wrote_at_a_time(&audit);
    assert_overtaken_refused(&client_of(&install.dir().join("usher-0.kubeconfig")).await, &leader.writes(&audit), &standby.writes(&audit))
        .await;

    leads_again(&leader, &mut standby, &audit).await;
    depart(&client, &mut fleet, "p04").await;
    whole(&client, &mut fleet).await;
    assert_nothing_twice(&at_rest(&audit).await, &[]);
    assert_one_wrote_at_a_time(&audit);
    drop((leader, standby));
    plane.stop().await;
}

/// Whatever way it came, what one replica wrote is refused if it arrives when the other has written the same object since.
async fn assert_overtaken_refused(client: &Client, early: &[Event], late: &[Event]) {
    let overtaken = |event: &&Event| event.code < 300 && late.iter().any(|other| other.code < 300 && other.object() == event.object());
    let changes = early.iter().filter(|event| matches!(event.verb.as_str(), "patch" | "update") && !event.uri.contains("force=true"));
    let mut refused = 0;
    for event in changes.filter(overtaken) {
        let (method, content) =
            if event.verb == "update" { ("PUT", "application/json") } else { ("PATCH", "application/merge-patch+json") };
        let request = http::Request::builder().method(method).uri(&event.uri).header("content-type", content);
        let body = serde_json::to_vec(event.body.as_deref().expect("a body")).expect("JSON");
        let answer = client.request::<Value>(request.body(body).expect("a request")).await;
        let conflict = answer.as_ref().is_err_and(|error| matches!(error, kube::Error::Api(status) if status.code == 409));
        assert!(conflict, "it was carried out, or refused for another reason: {answer:?}{}", lines(std::slice::from_ref(event)));
        refused += 1;
    }
    println!("{refused} writes that were sent again were refused");
    assert!(refused > 0, "none was overtaken");
}

/// Connections that nobody speaks on any more look like those on which nothing happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_whose_connections_were_forgotten_takes_over_and_knows_what_happened() {
    let plane = ControlPlane::exclusive(AuditLevel::Request).await;
    let client = plane.admin_client().await;
    let (install, proxy) = proxied(&plane, &[]).await;
    let audit = Audit::from_now(&plane);
    let mut leader = Replica::start(&plane, &install, "usher-0").await;
    leader.leads(&audit, SOON).await;
    let standby = Replica::start_via(&plane, &install, "usher-1", &by(&proxy)).await;
    let mut fleet = Fleet::new(SETTLED);
    fleet.settle_in(&client).await;

    proxy.forget();
    depart(&client, &mut fleet, "p05").await;
    whole(&client, &mut fleet).await;
    leader.operator.kill();
    let since = Instant::now();
    standby.leads(&audit, SOON).await;
    println!("it led after {:.1?}", since.elapsed());
    depart(&client, &mut fleet, "p04").await;
    whole(&client, &mut fleet).await;
    println!("and knew everything after {:.1?}", since.elapsed());
    assert_nothing_twice(&at_rest(&audit).await, &[]);
    assert_one_wrote_at_a_time(&audit);
    drop((leader, standby));
    plane.stop().await;
}

async fn ready_again(replica: &mut Replica) {
    wait_until("the replica that was cut off is ready again", SOON, async || {
        replica.revive().await;
        match replica.operator.get("/readyz").await {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// The other is told to stop. Whoever leads now knows what happened without it, and has nothing to write.
async fn leads_again(replica: &Replica, other: &mut Replica, audit: &Audit) {
    let (before, told) = (audit.writes().len(), Timestamp::now());
    other.operator.terminate().await;
    wait_until("the replica that was cut off leads again", SOON, async || {
        if replica.leases(audit).iter().any(|event| event.at() > told) { Ok(()) } else { Err("it has not written the Lease") }
    })
    .await;
    let writes = at_rest(audit).await;
    assert_eq!(writes.len(), before, "there was nothing to write:{}", lines(&writes[before..]));
}
