//! Of two replicas one works; the other takes over, soon and without doing anything twice (DESIGN.md, "Numbers": leader hand-over).

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DeleteParams};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::audit::{Audit, Event, lines, made_twice, tokens_twice};
use crate::support::client::{explain, kind, ready};
use crate::support::fleet::{Fleet, Member, developer, gone, object, put};
use crate::support::install::Install;
use crate::support::replica::Replica;
use crate::support::{AuditLevel, ControlPlane, wait_until};

const SOON: Duration = Duration::from_secs(30);
/// How long a Lease holds that nobody gives away, in ms (DESIGN.md, "Numbers").
const LEASE_MS: i128 = 10_000;
/// How many people arrive while the leader goes.
const BURST: usize = 40;

/// Two replicas and a company that has settled in.
struct Pair {
    // Dropped first, as their logs go with the control plane.
    leader: Replica,
    standby: Replica,
    plane: ControlPlane,
    client: Client,
    audit: Audit,
    fleet: Fleet,
}

impl Pair {
    async fn new() -> Self {
        let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
        let client = plane.admin_client().await;
        let install = Install::new(&plane, &["environments.default=false", "starterRoles=false"]).await;
        let audit = Audit::from_now(&plane);
        let leader = Replica::start(&plane, &install, "usher-0").await;
        leader.leads(&audit, SOON).await;
        let standby = Replica::start(&plane, &install, "usher-1").await;
        let mut fleet = Fleet::new(6);
        fleet.settle_in(&client).await;
        assert!(!leader.writes(&audit).is_empty(), "the leader is known by its token");
        Self { leader, standby, plane, client, audit, fleet }
    }

    /// Fails if the standby wrote anything at all, its Lease included.
    #[track_caller]
    fn assert_standby_silent(&self) {
        let writes = [self.standby.writes(&self.audit), self.standby.leases(&self.audit)].concat();
        assert!(writes.is_empty(), "the standby wrote:{}", lines(&writes));
    }

    /// Lets many people arrive at once, and waits until the leader is in the midst of it.
    async fn burst(&mut self) {
        let before = self.leader.writes(&self.audit).len();
        let newcomers = (0..BURST).map(|number| Member { name: format!("new{number:02}"), web: number.is_multiple_of(2), ops: false });
        self.fleet.people.extend(newcomers);
        let arrivals = self.fleet.people.iter().filter(|member| member.name.starts_with("new"));
        futures::future::join_all(arrivals.map(|member| put(&self.client, developer(member)))).await;
        wait_until("the leader is in the midst of it", SOON, async || {
            let count = self.leader.writes(&self.audit).len() - before;
            if count > 30 { Ok(()) } else { Err(count.to_string()) }
        })
        .await;
    }

    /// Everybody has arrived, and everything was made once.
    async fn settled(&mut self) {
        self.fleet.ready(&self.client).await;
        self.fleet.exact(&self.client).await;
        let writes = self.audit.still(Duration::from_secs(3)).await;
        let twice = made_twice(&writes);
        assert!(twice.is_empty(), "made twice: {twice:?}");
        self.fleet.in_order(&self.client).await;
    }

    /// Nothing came from the old leader once the new one led.
    #[track_caller]
    fn assert_no_write_after(&self, takeover: Timestamp) {
        let all = [self.leader.writes(&self.audit), self.leader.leases(&self.audit)].concat();
        // What a process had handed to its connection when it was stopped arrives when it goes on: the API server must refuse that.
        let late: Vec<_> = all.into_iter().filter(|event| event.at() > takeover && event.code < 300).collect();
        assert!(late.is_empty(), "the old leader wrote after {takeover}:{}", lines(&late));
    }
}

#[tokio::test]
async fn standby_writes_nothing_and_takes_over_at_once_when_the_leader_is_told_to_stop() {
    let mut pair = Pair::new().await;
    pair.assert_standby_silent();
    pair.burst().await;
    pair.assert_standby_silent();

    let told = Timestamp::now();
    let took = pair.leader.operator.terminate().await;
    let takeover = pair.standby.leads(&pair.audit, SOON).await;
    let first =
        wait_until("the new leader works", SOON, async || pair.standby.writes(&pair.audit).into_iter().next().ok_or("no write")).await;
    pair.settled().await;
    let released = pair.leader.leases(&pair.audit).last().map(Event::at).expect("the old leader held the Lease");
    let since = |at: Timestamp, from: Timestamp| at.duration_since(from).as_millis();
    println!(
        "hand-over: the process ended after {took:.0?}; after SIGTERM led after {} ms, first write after {} ms",
        since(takeover, told),
        since(first.at(), told)
    );
    pair.assert_no_write_after(takeover);
    // How long it takes is for `make bench` to say, on a quiet machine; here it matters that nobody waited until the Lease ran out.
    assert!(told < released && released < takeover, "the leader gives the Lease away: {told}, {released}, {takeover}");
    assert!(since(takeover, released) < LEASE_MS / 2, "taken over only {} ms after it was free", since(takeover, released));
    let twice = tokens_twice(&[pair.leader.writes(&pair.audit), pair.standby.writes(&pair.audit)].concat());
    assert!(twice.is_empty(), "more than one token for {twice:?}");
    pair.plane.stop().await;
}

#[tokio::test]
async fn standby_takes_over_within_15_seconds_when_the_leader_is_killed() {
    let mut pair = Pair::new().await;
    pair.burst().await;
    pair.leader.operator.kill();
    let killed = Instant::now();
    let takeover = pair.standby.leads(&pair.audit, Duration::from_secs(20)).await;
    wait_until("the new leader works", SOON, async || if pair.standby.writes(&pair.audit).is_empty() { Err("no write") } else { Ok(()) })
        .await;
    let took = killed.elapsed();
    println!("killed: the other works after {took:.1?}");
    assert!(took < Duration::from_secs(15), "the other worked only after {took:?}");
    pair.settled().await;
    pair.assert_no_write_after(takeover);
    pair.plane.stop().await;
}

/// A process that hangs still believes that it leads when it goes on, with a memory and a queue of yesterday.
#[tokio::test]
async fn leader_that_hung_writes_nothing_when_it_goes_on_and_ends() {
    let mut pair = Pair::new().await;
    pair.burst().await;
    pair.leader.operator.signal(Signal::STOP);
    let takeover = pair.standby.leads(&pair.audit, Duration::from_secs(20)).await;
    pair.settled().await;
    while_it_hangs(&pair).await;

    pair.leader.operator.signal(Signal::CONT);
    let status = pair.leader.operator.ended(Duration::from_secs(10)).await;
    assert!(!status.success(), "whoever runs it is to start it again: {status}");
    pair.audit.still(Duration::from_secs(3)).await;
    pair.assert_no_write_after(takeover);
    let holder = lease_holder(&pair.client).await;
    assert!(!holder.is_empty(), "the old leader gave away a Lease that was not its own");
    let api = kind(&pair.client, "Developer").await;
    assert_eq!(api.get("p03").await.unwrap().data["status"]["state"], "Suspended");
    pair.plane.stop().await;
}

/// Work that the old leader would do otherwise than the new one: somebody goes, somebody is suspended, somebody comes, rules change.
async fn while_it_hangs(pair: &Pair) {
    let api = kind(&pair.client, "Developer").await;
    api.delete("p05", &DeleteParams::default()).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    gone(&pair.client, "Developer", "p05").await;
    let mut suspended = developer(&pair.fleet.people[3]);
    suspended.data["spec"]["state"] = Value::from("Suspended");
    put(&pair.client, suspended).await;
    put(&pair.client, object("Developer", "late", &json!({"email": "late@example.com", "teams": ["all"]}))).await;
    ready(&pair.client, "late").await;
    put(&pair.client, object("Role", "viewer", &json!({"access": [{"name": "look", "environments": ["dev"], "clusterRoles": ["view"]}]})))
        .await;
    pair.audit.still(Duration::from_secs(3)).await;
}

async fn lease_holder(client: &Client) -> String {
    let api = Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(client.clone(), "usher-system");
    let lease = api.get("usher").await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default()
}
