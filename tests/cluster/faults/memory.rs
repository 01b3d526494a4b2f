//! Faults cost next to no memory: what is read anew replaces what was kept, and what waits is names.
//!
//! **Steady state** is what one process keeps for what it works with (RssAnon) after some days: it was started with everybody there, on each day some come, one
//! leaves and everybody is looked at, and at the end nothing is left to do. The **peak** is the most of it that it ever had (VmHWM, without its program), from its
//! start over as many days more, on each of which something fails.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::Client;
use serde_json::json;

use super::compaction::{UNCACHED, compact, told_gone};
use super::{arrive, at_rest, by, depart, in_the_midst, proxied, whole};
use crate::accounts::proxy::TcpProxy;
use crate::support::audit::Audit;
use crate::support::client;
use crate::support::fleet::{Fleet, Member};
use crate::support::install::PATIENT;
use crate::support::operator::Operator;
use crate::support::pause::Paused;
use crate::support::people::edit;
use crate::support::{AuditLevel, ControlPlane, usage};

const SETTLED: usize = 500;
/// So many come every day.
const NEWCOMERS: usize = 10;
/// Before the days on which something fails there are as many on which nothing does.
const QUIET_DAYS: [&str; 4] = ["Monday", "Tuesday", "Wednesday", "Thursday"];
/// A fault comes when so much was written for them, of some 14 writes each.
const MIDST: usize = 30;
const PAUSE: Duration = Duration::from_secs(20);
/// The most that the peak may be of the steady state.
const MOST: f64 = 1.2;

/// One operator, which speaks to its API server by way of a proxy, and a company.
struct House {
    operator: Operator,
    proxy: TcpProxy,
    audit: Audit,
    client: Client,
    fleet: Fleet,
    days: usize,
}

impl House {
    /// An operator that was started when everybody was there.
    async fn settled_on(plane: &ControlPlane) -> Self {
        let client = plane.admin_client().await;
        // It is patient, so that one process lives through everything.
        let (install, proxy) = proxied(plane, &PATIENT).await;
        let kubeconfig = install.kubeconfig_for(plane, "usher-0", &by(&proxy)).await;
        let operator = Operator::start_by(&install, kubeconfig, &["--identity", "usher-0"]).await;
        let (fleet, audit) = (Fleet::new(SETTLED), Audit::from_now(plane));
        let mut house = Self { operator, proxy, audit, client, fleet, days: 0 };
        house.fleet.namespaces(&house.client).await;
        house.fleet.apply(&house.client, &["Environment", "Role", "Binding"]).await;
        arrive(&house.client, &house.fleet.people).await;
        house.at_rest("all were onboarded").await;
        house.operator.restart().await;
        house.at_rest("started with everybody there").await;
        house
    }

    /// Some come and one leaves, and amid that something happens. Waits until all is well again.
    async fn day(
        &mut self,
        what: &str,
        plane: ControlPlane,
        happens: impl AsyncFnOnce(ControlPlane, &TcpProxy) -> ControlPlane,
    ) -> ControlPlane {
        self.days += 1;
        let name = |number: usize| format!("new{}-{number}", self.days);
        let people: Vec<_> =
            (0..NEWCOMERS).map(|number| Member { name: name(number), web: number.is_multiple_of(2), ops: false }).collect();
        let before = self.audit.writes().len();
        let amid = async {
            in_the_midst(&self.audit, before, MIDST).await;
            happens(plane, &self.proxy).await
        };
        let ((), plane) = tokio::join!(arrive(&self.client, &people), amid);
        self.fleet.people.extend(people);
        depart(&self.client, &mut self.fleet, &format!("p{:02}", self.days)).await;
        self.at_rest(what).await;
        plane
    }

    async fn at_rest(&mut self, what: &str) {
        self.operator.ready().await;
        whole(&self.client, &mut self.fleet).await;
        at_rest(&self.audit).await;
        println!("{what}: {:.1} MiB, {:.1} at most", self.memory(), self.peak());
    }

    fn pid(&self) -> i32 {
        self.operator.process()
    }

    fn memory(&self) -> f64 {
        usage::own_mib(self.pid())
    }

    fn peak(&self) -> f64 {
        usage::own_peak_mib(self.pid())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_takes_more_than_a_fifth_more_memory_than_the_steady_state() {
    let mut plane = ControlPlane::alone(AuditLevel::Metadata, UNCACHED).await;
    let mut house = House::settled_on(&plane).await;
    for day in QUIET_DAYS {
        plane = house.day(day, plane, everybody_is_looked_at).await;
    }
    let (steady, process) = (house.memory(), house.pid());
    plane = house.day("etcd hung", plane, etcd_hangs).await;
    plane = house.day("the network was cut", plane, network_is_cut).await;
    plane = house.day("the API server was killed", plane, async |plane, _| plane.restart_apiserver().await).await;
    plane = house.day("the history was gone", plane, history_goes).await;
    let gone: BTreeSet<_> = told_gone(&house.operator).into_iter().collect();
    println!("410 was told to the watches of {gone:?}");
    assert!(gone.len() > 10, "everything was read anew: {gone:?}");
    assert!(house.operator.is_alive() && house.pid() == process, "one process lived through it");
    let peak = house.peak();
    println!("{peak:.1} MiB at most, {:.2} times the steady state of {steady:.1}", peak / steady);
    assert!(peak <= MOST * steady, "{peak:.1} MiB at most, and {steady:.1} in the steady state");
    drop(house);
    plane.stop().await;
}

/// A Role that all hold is edited, and is as it was. Without that everybody is looked at every ten to twenty minutes.
async fn everybody_is_looked_at(plane: ControlPlane, _: &TcpProxy) -> ControlPlane {
    let client = plane.admin_client().await;
    for cluster_role in ["edit", "view"] {
        let access = json!([{"name": "look", "environments": ["*"], "clusterRoles": [cluster_role]}]);
        edit(&client, "Role", "viewer", json!({"access": access})).await;
    }
    plane
}

async fn etcd_hangs(plane: ControlPlane, _: &TcpProxy) -> ControlPlane {
    let paused = Paused::new(plane.etcd());
    tokio::time::sleep(PAUSE).await;
    drop(paused);
    plane
}

async fn network_is_cut(plane: ControlPlane, proxy: &TcpProxy) -> ControlPlane {
    proxy.hold();
    tokio::time::sleep(PAUSE).await;
    proxy.pass();
    plane
}

/// What the watches would go on from is compacted while their connections are broken, so that all of them list at once.
async fn history_goes(plane: ControlPlane, proxy: &TcpProxy) -> ControlPlane {
    proxy.break_off();
    for name in ["extra-1", "extra-2"] {
        client::namespace(&plane.admin_client().await, name, &[]).await;
    }
    compact(&plane).await;
    proxy.pass();
    plane
}
