//! The row "Provisioning": from the first create of so many people until all of them are Ready, and what a bare client takes for the same writes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::Client;

use crate::calls::{Call, Schedule};
use crate::opened::{Opened, installed};
use crate::support::audit::{Audit, Event};
use crate::support::usage;
use crate::support::{AuditLevel, ControlPlane, client_of};
use crate::table::Row;
use crate::{floor, people, replay};

/// The operator has settled when it has written nothing for so long.
const QUIET: Duration = Duration::from_secs(3);
/// DESIGN.md, "Numbers".
const MUST_TIME: f64 = 1.3;
const MUST_WRITES: f64 = 1.5;

/// What was measured of usher.
struct Measured {
    seconds: f64,
    events: Vec<Event>,
    /// The moment when all were Ready, as the audit log writes it.
    ready_at: String,
    cpu: f64,
    /// Of the operator, the control plane and this process.
    all_cpu: f64,
    peak_mib: f64,
    /// Of the API server.
    server_cpu: f64,
    server_peak_mib: f64,
    shared: people::Shared,
}

/// What a bare client took.
struct Baseline {
    seconds: f64,
    /// Of the control plane and this process.
    all_cpu: f64,
}

/// Measures usher and both baselines, each on a control plane of its own.
pub async fn measure(people: usize) -> Vec<Row> {
    let usher = usher(people).await;
    let writes: Vec<Event> = usher.events.iter().filter(|event| replay::counts(event)).cloned().collect();
    let in_time: Vec<Event> = writes.iter().filter(|event| event.received <= usher.ready_at).cloned().collect();
    let replay = bare("replay", people, replay::calls(&in_time)).await;
    let floor = bare("floor", people, floor::calls(&people::names(people))).await;
    let calls = per_kind(&usher.events, people);
    let refused = usher.events.iter().filter(|event| event.is_write() && event.code >= 300).count();
    let doorbells = usher.events.iter().filter(|event| event.resource == "events").count();
    let count = people as f64;
    let shared = usher.shared;
    let mut rows = vec![
        Row::at_most(format!("Provisioning {people} people, s, vs replay"), usher.seconds, replay.seconds, MUST_TIME),
        Row::at_most("writes, vs floor", writes.len() as f64, count * floor::WRITES as f64, MUST_WRITES),
        Row::at_most("RoleBindings in shared namespaces, vs roles × namespaces × shards", shared.bindings as f64, shared.bound as f64, 1.0),
        Row::beside("Provisioning, s, vs floor", usher.seconds, floor.seconds),
        Row::beside("replay, s, vs floor", replay.seconds, floor.seconds),
        Row::beside("people/s, vs floor", count / usher.seconds, count / floor.seconds),
        Row::beside("CPU of everything, s, vs replay", usher.all_cpu, replay.all_cpu),
        Row::note("CPU of the operator, s", usher.cpu),
        Row::note("peak memory of the operator, MiB", usher.peak_mib),
        Row::note("CPU of the API server, s", usher.server_cpu),
        Row::note("peak memory of the API server, MiB", usher.server_peak_mib),
        Row::note("writes after all were Ready", (writes.len() - in_time.len()) as f64),
        Row::note("writes refused and made again", refused as f64),
        Row::note("Events (not counted as writes)", doorbells as f64),
        Row::note(
            "reads while people were provisioned",
            usher.events.iter().filter(|event| event.verb == "get" || event.verb == "list").count() as f64,
        ),
    ];
    rows.extend(calls);
    rows
}

async fn usher(people: usize) -> Measured {
    eprintln!("usher: a control plane, the chart and the operator");
    let Opened { operator, plane, admin, .. } = Opened::shared(AuditLevel::Request, &[]).await;
    let audit = Audit::from_now(&plane);
    let pid = operator.process();
    let [server, _] = plane.pids();
    let before = (usage::cpu_seconds(pid), cpu_without_operator(&plane), usage::cpu_seconds(server));
    let since = Instant::now();
    tokio::join!(people::all_ready(&admin, people, "usher", || usage::runs(pid)), people::declare(&admin, 0..people, |_| {}));
    let seconds = since.elapsed().as_secs_f64();
    let ready_at = replay::moment();
    let cpu = usage::cpu_seconds(pid) - before.0;
    let all_cpu = cpu + cpu_without_operator(&plane) - before.1;
    let (server_cpu, server_peak_mib) = (usage::cpu_seconds(server) - before.2, usage::peak_mib(server));
    eprintln!("usher: all are Ready after {seconds:.2} s");
    let events = settled(&audit).await;
    let shared = people::shared_bindings(&admin, people, people::SHARED.len()).await;
    let measured =
        Measured { seconds, events, ready_at, cpu, all_cpu, peak_mib: usage::peak_mib(pid), server_cpu, server_peak_mib, shared };
    drop(operator);
    plane.stop().await;
    measured
}

/// What the operator has asked, once it has stopped writing.
pub async fn settled(audit: &Audit) -> Vec<Event> {
    let mut writes = 0;
    loop {
        tokio::time::sleep(QUIET).await;
        let events = audit.operator();
        let now = events.iter().filter(|event| event.is_write() && !event.is_lease()).count();
        if now == writes {
            return events;
        }
        writes = now;
    }
}

/// Declares the same people while a bare client with the operator's credentials sends these requests.
async fn bare(what: &str, people: usize, calls: Vec<Call>) -> Baseline {
    eprintln!("{what}: a control plane and the chart, then {} writes", calls.len());
    let (plane, install) = installed(AuditLevel::Request, &[]).await;
    let admin = plane.admin_client().await;
    people::prepare(&admin).await;
    let client: Client = client_of(&install.kubeconfig()).await;
    let schedule = Schedule::new(calls, &people::names(people));
    let before = cpu_without_operator(&plane);
    let since = Instant::now();
    tokio::join!(
        people::all_ready(&admin, people, what, || true),
        people::declare(&admin, 0..people, |name| schedule.open(name)),
        schedule.run(&client)
    );
    let seconds = since.elapsed().as_secs_f64();
    let all_cpu = cpu_without_operator(&plane) - before;
    eprintln!("{what}: done after {seconds:.2} s");
    plane.stop().await;
    Baseline { seconds, all_cpu }
}

/// What the control plane and this process have used so far. Unlike time it does not depend on what else the machine does.
fn cpu_without_operator(plane: &ControlPlane) -> f64 {
    let etcd = plane.variable("ETCD_PID").parse().expect("a process id");
    let own = i32::try_from(std::process::id()).expect("a process id");
    plane.pids().into_iter().chain([etcd, own]).map(usage::cpu_seconds).sum()
}

/// Counts the operator's calls by verb and kind, and prints the counts.
fn per_kind(calls: &[Event], people: usize) -> Vec<Row> {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for event in calls {
        let shared = event.resource == "rolebindings" && !event.namespace.starts_with(people::HOME);
        let place = if shared { " (shared)" } else { "" };
        *counts.entry((format!("{}{place}", event.target()), event.verb.clone())).or_default() += 1;
    }
    println!("{:52} {:8} {:>8} {:>10}", "calls of the operator, by the audit log", "verb", "count", "a person");
    for ((target, verb), count) in &counts {
        println!("{target:52} {verb:8} {count:>8} {:>10.2}", *count as f64 / people as f64);
    }
    println!();
    counts.into_iter().map(|((target, verb), count)| Row::detail(format!("calls: {verb} {target}"), count as f64)).collect()
}
