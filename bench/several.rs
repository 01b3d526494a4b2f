//! The rows of several clusters: people who get the same in three of them from one object, and what a bare client takes for the same writes to the same three at
//! once; and how long it takes until somebody who leaves is denied in all of them.

use std::time::Instant;

use futures::future::join_all;
use kube::Client;
use serde_json::json;

use crate::calls::Schedule;
use crate::leaving::{self, percentile};
use crate::opened::{Opened, installed};
use crate::people::{self, HOME, SHARED};
use crate::provisioning::settled;
use crate::replay;
use crate::support::audit::{Audit, Event};
use crate::support::client::apply;
use crate::support::install::{Install, NAMESPACE};
use crate::support::{AuditLevel, ControlPlane, client_of, usage};
use crate::table::Row;

/// How many people are in three clusters at most.
const MOST: usize = 500;
/// How many of them leave, one after another.
const LEAVERS: usize = 50;
/// docs/benchmarks.md.
const MUST_TIME: f64 = 1.3;
const MUST_LEAVE_MS: f64 = 500.0;

/// What was measured of usher.
struct Measured {
    /// Until all were Ready.
    seconds: f64,
    /// What it wrote until then, in each cluster.
    writes: Vec<Vec<Event>>,
    cpu: f64,
    peak_mib: f64,
    /// How long each took to leave, in milliseconds.
    leaving: Vec<f64>,
}

/// Measures usher, then a bare client, each on three control planes of its own.
pub async fn measure(people: usize) -> Vec<Row> {
    let people = people.min(MOST);
    eprintln!("several: three control planes, the chart and the operator");
    let usher = usher(people).await;
    let writes: usize = usher.writes.iter().map(Vec::len).sum();
    let replayed = bare(people, &usher.writes).await;
    vec![
        Row::at_most(format!("{people} people in three clusters, s, vs replay to all three at once"), usher.seconds, replayed, MUST_TIME),
        Row::note("writes a person in three clusters", writes as f64 / people as f64),
        Row::note("CPU of the operator, s", usher.cpu),
        Row::note("peak memory of the operator, three clusters, MiB", usher.peak_mib),
        Row::note("One person leaves, three clusters deny: p50, ms", percentile(&usher.leaving, 0.5)),
        Row::below("One person leaves, three clusters deny: p99, ms", percentile(&usher.leaving, 0.99), MUST_LEAVE_MS),
    ]
}

/// Each cluster's Environment, that of home first.
fn environments() -> [&'static str; 3] {
    [HOME, SHARED[0], SHARED[1]]
}

/// A cluster beside home: a control plane on which the chart's remote side is, and usher's kubeconfig for it.
async fn remote(audit: AuditLevel) -> (ControlPlane, String) {
    let plane = ControlPlane::start(audit).await;
    Install::in_plane(&plane).helm(&["install", "usher", "charts/usher", "--create-namespace"], &["side=Remote"]).await.ok();
    let kubeconfig = plane.usher(&["remote", "kubeconfig", "--namespace", NAMESPACE]).await.ok();
    (plane, kubeconfig)
}

/// What people share in three clusters. The Environments are of clusters by their place.
async fn prepare(clients: &[&Client], kubeconfigs: &[&String]) {
    let home = clients[0];
    people::served(home).await;
    for (environment, client) in environments().into_iter().zip(clients) {
        people::namespaces(client, environment).await;
    }
    for (environment, kubeconfig) in SHARED.into_iter().zip(kubeconfigs) {
        let meta = json!({"name": environment, "namespace": NAMESPACE});
        apply(home, &json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"kubeconfig": kubeconfig}}).to_string())
            .await;
    }
    for environment in environments() {
        let mut spec =
            json!({"namespaces": {"matchLabels": {"env": environment}}, "home": environment == HOME, "workspace": people::workspace()});
        if environment != HOME {
            spec["cluster"] = json!({"kubeconfigSecret": {"name": environment, "key": "kubeconfig"}});
        }
        people::declare_one(home, "Environment", environment, &spec).await;
    }
    people::roles_in(home, &environments()).await;
}

async fn usher(people: usize) -> Measured {
    let audit = AuditLevel::Request;
    let ((one, of_one), (two, of_two)) = tokio::join!(remote(audit), remote(audit));
    let Opened { operator, plane, admin, .. } = Opened::with(audit, &[]).await;
    let clients = [admin, one.admin_client().await, two.admin_client().await];
    prepare(&clients.each_ref(), &[&of_one, &of_two]).await;
    people::taken_in(&clients[0]).await;
    let planes = [plane, one, two];
    let (audits, pid) = (planes.each_ref().map(Audit::from_now), operator.process());
    let (cpu, since) = (usage::cpu_seconds(pid), Instant::now());
    tokio::join!(people::all_ready(&clients[0], people, "several", || usage::runs(pid)), people::declare(&clients[0], 0..people, |_| {}));
    let seconds = since.elapsed().as_secs_f64();
    let ready_at = replay::moment();
    eprintln!("several: all are Ready after {seconds:.2} s");
    let events = join_all(audits.iter().map(settled)).await;
    let in_time = |events: Vec<Event>| events.into_iter().filter(|event| replay::counts(event) && event.received <= ready_at).collect();
    let writes = events.into_iter().map(in_time).collect();
    let (cpu, peak_mib) = (usage::cpu_seconds(pid) - cpu, usage::peak_mib(pid));
    for client in &clients {
        people::shared_bindings(client, people, 1).await;
    }
    let places: Vec<_> =
        environments().into_iter().zip(&clients).flat_map(|(environment, client)| people::places(client, environment)).collect();
    let names = people::names(people);
    let leaving = leaving::all_leave_from(&clients[0], &names[..LEAVERS.min(people)], &places).await;
    drop(operator);
    stop(planes).await;
    Measured { seconds, writes, cpu, peak_mib, leaving }
}

/// Declares the same people while bare clients send these requests to the three clusters at once. Returns the seconds until all is done.
async fn bare(people: usize, events: &[Vec<Event>]) -> f64 {
    eprintln!("several: three control planes and the chart, then the same writes");
    let audit = AuditLevel::Request;
    let ((one, of_one), (two, of_two), (home, install)) = tokio::join!(remote(audit), remote(audit), installed(audit, &[]));
    let admins = [home.admin_client().await, one.admin_client().await, two.admin_client().await];
    prepare(&admins.each_ref(), &[&of_one, &of_two]).await;
    let mut clients = vec![client_of(&install.kubeconfig()).await];
    for (plane, kubeconfig) in [(&one, &of_one), (&two, &of_two)] {
        let file = plane.dir().join("usher.kubeconfig");
        std::fs::write(&file, kubeconfig).expect("space on the disk");
        clients.push(client_of(&file).await);
    }
    let names = people::names(people);
    let schedules: Vec<_> = events.iter().map(|events| Schedule::new(replay::calls(events), &names)).collect();
    let since = Instant::now();
    let open = |name: &str| schedules.iter().for_each(|schedule| schedule.open(name));
    let runs = join_all(schedules.iter().zip(&clients).map(|(schedule, client)| schedule.run(client)));
    let ((), (), _) =
        tokio::join!(people::all_ready(&admins[0], people, "replay", || true), people::declare(&admins[0], 0..people, open), runs);
    let seconds = since.elapsed().as_secs_f64();
    eprintln!("several: the replay is done after {seconds:.2} s");
    stop([home, one, two]).await;
    seconds
}

async fn stop(planes: [ControlPlane; 3]) {
    for plane in planes {
        plane.stop().await;
    }
}
