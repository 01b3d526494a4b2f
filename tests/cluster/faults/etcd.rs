//! etcd hangs for a while, so the API server answers nobody: whoever led cannot renew the Lease, and nobody else can take it.

use std::time::Duration;

use jiff::Timestamp;

use super::{CALM, arrive, assert_nothing_twice, assert_one_wrote_at_a_time, at_rest, depart, in_the_midst, newcomers, whole};
use crate::support::audit::Audit;
use crate::support::fleet::Fleet;
use crate::support::install::Install;
use crate::support::pause::Paused;
use crate::support::replica::{Replica, supervised};
use crate::support::{AuditLevel, ControlPlane};

const PAUSE: Duration = Duration::from_secs(20);
const SETTLED: usize = 8;
const NEWCOMERS: usize = 30;

#[tokio::test]
async fn etcd_paused_for_20_seconds_in_the_midst_of_edits_and_a_departure_ends_the_leader_and_loses_nothing() {
    let plane = ControlPlane::alone(AuditLevel::Request, &[]).await;
    let client = plane.admin_client().await;
    let install = Install::new(&plane, &["environments.default=false", "starterRoles=false"]).await;
    let audit = Audit::from_now(&plane);
    let (mut one, mut other) = (Replica::start(&plane, &install, "usher-0").await, Replica::start(&plane, &install, "usher-1").await);
    let mut fleet = Fleet::new(SETTLED);
    fleet.settle_in(&client).await;
    let settled = audit.still(CALM).await.len();

    fleet.people.extend(newcomers(NEWCOMERS));
    let people = fleet.people[SETTLED..].to_vec();
    let pausing = async {
        in_the_midst(&audit, settled, 60).await;
        let (paused, since) = (Paused::new(plane.etcd()), Timestamp::now());
        tokio::time::sleep(PAUSE).await;
        drop(paused);
        (since, Timestamp::now())
    };
    let leaving = async {
        in_the_midst(&audit, settled, 50).await;
        depart(&client, &mut fleet, "p01").await;
        whole(&client, &mut fleet).await;
    };
    let all = async { tokio::join!(pausing, arrive(&client, &people), leaving).0 };
    let (paused, resumed) = supervised(&mut [&mut one, &mut other], all).await;

    let writes = supervised(&mut [&mut one, &mut other], at_rest(&audit)).await;
    let (before, after) = (writes.iter().filter(|it| it.at() < paused).count(), writes.iter().filter(|it| it.at() > resumed).count());
    println!("{} writes, {before} before etcd paused and {after} after; replicas ended {} times", writes.len(), one.ended + other.ended);
    assert!(before > settled && after > 0, "it was in the midst of it");
    assert!(one.ended + other.ended > 0, "the leader ends when it cannot renew its Lease");
    assert_nothing_twice(&writes, &[resumed]);
    assert_one_wrote_at_a_time(&audit);
    drop((one, other));
    plane.stop().await;
}
