//! The rows "Leader hand-over": from SIGTERM to the leader, or SIGKILL, until the other replica does what was declared at that moment; nothing is done twice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kube::api::{Api, DynamicObject, PostParams};
use serde_json::json;
use usher::api::Developer;

use crate::opened::Opened;
use crate::people;
use crate::support::AuditLevel;
use crate::support::audit::{Audit, Event};
use crate::support::client::{kind, ready};
use crate::support::install::Install;
use crate::support::operator::Operator;
use crate::support::wait_until;
use crate::table::Row;

/// How often the leader is told to stop.
const ROUNDS: usize = 10;
/// How often it is killed, which takes as long as a Lease lasts.
const KILLS: usize = 3;
/// DESIGN.md, "Numbers".
const MUST_MS: f64 = 1_000.0;
const MUST_KILLED_MS: f64 = 15_000.0;
const GIVE_UP: Duration = Duration::from_secs(30);
/// The time in which a new replica reads the cluster and looks at the Lease.
const SETTLE: Duration = Duration::from_secs(1);

/// Measures how long nobody works when a leader is told to stop.
pub async fn measure() -> Vec<Row> {
    eprintln!("hand-over: a control plane, the chart and two replicas, {ROUNDS} times");
    let Opened { operator: mut leader, plane, install, admin } = Opened::shared(AuditLevel::Metadata, &[]).await;
    let (audit, mut times, mut killed) = (Audit::from_now(&plane), Vec::new(), Vec::new());
    for round in 0..ROUNDS + KILLS {
        let standby = started(&install).await;
        tokio::time::sleep(SETTLE).await;
        let since = Instant::now();
        let name = format!("h{round:02}");
        if round < ROUNDS {
            let (_, taken) = tokio::join!(leader.terminate(), worked(&admin, &name, since));
            times.push(taken.as_secs_f64() * 1_000.0);
        } else {
            leader.kill();
            killed.push(worked(&admin, &name, since).await.as_secs_f64() * 1_000.0);
        }
        ready(&admin, &name).await;
        leader = standby;
    }
    let twice = made_twice(&audit.still(SETTLE).await);
    drop(leader);
    plane.stop().await;
    times.sort_by(f64::total_cmp);
    killed.sort_by(f64::total_cmp);
    vec![
        Row::note("Leader told to stop, the other works: median, ms", times[ROUNDS / 2]),
        Row::below(format!("Leader told to stop, the other works: worst of {ROUNDS}, ms"), times[ROUNDS - 1], MUST_MS),
        Row::below(format!("Leader killed, the other works: worst of {KILLS}, ms"), killed[KILLS - 1], MUST_KILLED_MS),
        Row::most("objects of newcomers that were made twice", twice as f64, 0.0),
    ]
}

/// How many creates in a newcomer's workspace succeeded for a second time: each kind is made there once.
fn made_twice(writes: &[Event]) -> usize {
    let inside = |event: &&Event| {
        event.verb == "create" && event.code < 300 && event.resource != "events" && event.namespace.starts_with(people::HOME)
    };
    let mut seen = BTreeSet::new();
    writes.iter().filter(inside).filter(|event| !seen.insert((event.target(), event.namespace.clone()))).count()
}

async fn started(install: &Install) -> Operator {
    let operator = Operator::start(install).await;
    operator.ready().await;
    operator
}

/// Declares somebody a moment after the leader was told to stop, and waits for the first write about her.
async fn worked(admin: &kube::Client, name: &str, since: Instant) -> Duration {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let spec = json!({"email": format!("{name}@example.com"), "teams": ["all"]});
    let developer = Developer::new(name, serde_json::from_value(spec).expect("a spec"));
    Api::<Developer>::all(admin.clone()).create(&PostParams::default(), &developer).await.expect("she is declared");
    let api: Api<DynamicObject> = kind(admin, "Developer").await;
    wait_until("somebody works on her", GIVE_UP, async || {
        let found = api.get_metadata(name).await.map_err(|error| error.to_string())?;
        if found.metadata.finalizers.is_some() { Ok(()) } else { Err("nobody has".to_owned()) }
    })
    .await;
    since.elapsed()
}
