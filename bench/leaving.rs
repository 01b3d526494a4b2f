//! The row "One person leaves": from the request until the API server denies everything, in all 20 shared namespaces; while nothing else happens, and while
//! others are provisioned.

use std::time::{Duration, Instant};

use futures::future::join_all;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use usher::api::Developer;

use crate::opened::Opened;
use crate::people;
use crate::support::AuditLevel;
use crate::support::access::{Subject, can};
use crate::support::audit::Audit;
use crate::support::client::ready;
use crate::support::usage;
use crate::table::Row;

/// How many leave while nothing else happens; and while others are provisioned.
const IDLE: usize = 50;
const BUSY: usize = 20;
/// DESIGN.md, "Numbers".
const MUST_IDLE_MS: f64 = 250.0;
const MUST_BUSY_MS: f64 = 1_000.0;
/// The time between two questions, which the API server has for usher's writes.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// The time between two who leave.
const PAUSE: Duration = Duration::from_millis(200);
const GIVE_UP: Duration = Duration::from_mins(1);

/// A namespace, and who may ask about it.
type Place = (Client, String);

/// Measures how long it takes until somebody who leaves is denied.
pub async fn measure(others: usize) -> Vec<Row> {
    eprintln!("leaving: a control plane, the chart and the operator");
    let Opened { operator, plane, admin, .. } = Opened::shared(AuditLevel::Metadata, &[]).await;
    let leavers = IDLE + BUSY;
    let pid = operator.process();
    tokio::join!(people::all_ready(&admin, leavers, "leaving", || usage::runs(pid)), people::declare(&admin, 0..leavers, |_| {}));
    let names = people::names(leavers);
    let audit = Audit::from_now(&plane);
    let idle = all_leave(&admin, &names[..IDLE]).await;
    let writes = audit.operator().iter().filter(|event| event.is_write() && !event.is_lease() && event.resource != "events").count();
    eprintln!("leaving: {IDLE} left; now {BUSY} more while {others} others are provisioned");
    let (busy, ()) = tokio::join!(all_leave(&admin, &names[IDLE..]), people::declare(&admin, leavers..leavers + others, |_| {}));
    drop(operator);
    plane.stop().await;
    vec![
        Row::note("One person leaves, 20 namespaces deny, idle: p50, ms", percentile(&idle, 0.5)),
        Row::below("One person leaves, 20 namespaces deny, idle: p99, ms", percentile(&idle, 0.99), MUST_IDLE_MS),
        Row::note(format!("One person leaves while {others} are provisioned: p50, ms"), percentile(&busy, 0.5)),
        Row::below(format!("One person leaves while {others} are provisioned: p99, ms"), percentile(&busy, 0.99), MUST_BUSY_MS),
        Row::note("writes of the operator a departure, receipt included", writes as f64 / IDLE as f64),
    ]
}

/// Lets people leave one after another. Returns how long each took, in milliseconds.
pub async fn all_leave(client: &Client, names: &[String]) -> Vec<f64> {
    let places: Vec<_> = people::SHARED.into_iter().flat_map(|environment| people::places(client, environment)).collect();
    all_leave_from(client, names, &places).await
}

/// The same, from namespaces of several clusters.
pub async fn all_leave_from(client: &Client, names: &[String], places: &[Place]) -> Vec<f64> {
    let mut times = Vec::new();
    for name in names {
        times.push(leaves(client, name, places).await.as_secs_f64() * 1_000.0);
        tokio::time::sleep(PAUSE).await;
    }
    times
}

async fn leaves(client: &Client, name: &str, places: &[Place]) -> Duration {
    let developer = ready(client, name).await;
    let identity = &developer.data["status"]["identities"][0];
    let subject = Subject::service_account("usher-identities", identity["name"].as_str().expect("an identity"));
    for (cluster, place) in places {
        assert!(can(cluster, &subject, "get", "pods", Some(place)).await, "{name} may work in {place}");
    }
    let api: Api<Developer> = Api::all(client.clone());
    let since = Instant::now();
    api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"spec": {"state": "Departed"}}))).await.expect("she leaves");
    until_denied(&subject, places.iter().collect(), since).await;
    since.elapsed()
}

/// Asks about one place until it is denied there, which is little work for the API server, and then about all that are left at once.
async fn until_denied(subject: &Subject, mut places: Vec<&Place>, since: Instant) {
    while let Some((cluster, place)) = places.first() {
        while can(cluster, subject, "get", "pods", Some(place)).await {
            assert!(since.elapsed() < GIVE_UP, "{subject:?} still may work in {place}");
            tokio::time::sleep(ASK_AGAIN).await;
        }
        let asked = places.into_iter().map(async |place| can(&place.0, subject, "get", "pods", Some(&place.1)).await.then_some(place));
        places = join_all(asked).await.into_iter().flatten().collect();
    }
}

/// The value that such a share of times does not exceed.
pub fn percentile(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len());
    sorted[at - 1]
}
