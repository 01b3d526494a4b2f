//! A week of a company in every minute: people come and go, Roles are edited, Bindings begin and end, the API server restarts. After each round everything is as it
//! was before, nothing waits, and in the end the operator is no bigger than when it had warmed up.
//!
//! `USHER_MINUTES` says for how long (`make soak`: an hour); without it there are a few rounds.

use std::time::{Duration, Instant};

use futures::future::join_all;
use kube::Client;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::support::client::{kind, ready};
use crate::support::fleet::{Fleet, Member, developer, list, object, put};
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::{edit, remove};
use crate::support::scrape::Scrape;
use crate::support::{AuditLevel, ControlPlane, usage, wait_until};

const SOON: Duration = Duration::from_mins(2);
/// So long nothing waits and nothing is written before the operator counts as at rest.
const CALM: Duration = Duration::from_secs(2);
const STAYING: usize = 20;
const COMING: usize = 4;
/// In each so many rounds the API server restarts while people come.
const A_RESTART_EVERY: usize = 4;
/// So many rounds there are at least, of half a minute each.
const FEWEST: usize = 6;
/// So long it takes until all that is remembered for a while has begun to be forgotten, Events after six minutes and what went after ten, and everybody was looked
/// at again.
const WARM_UP: Duration = Duration::from_mins(20);
/// The most by which memory may grow after that, in parts of what it was; and in the last rounds before.
const MOST_GROWTH: f64 = 0.1;
const MOST_COLD_GROWTH: f64 = 0.25;
/// Connections on which nothing happens are kept for a minute and a half, and there may be one for each pass over people at once.
const CONNECTIONS: f64 = 32.0;
/// Threads that may block come and go.
const THREADS: f64 = 2.0;
/// What is over is not kept here, and tokens are renewed after half of this: so what there is stays the same.
const VALUES: [&str; 7] = [
    "environments.default=false",
    "starterRoles=false",
    "offboarding.brake.maxRemovals=1000000",
    "audit.retention=1s",
    "audit.revisionsPerRole=5",
    "credentials.lifetime=10m",
    PATIENT[0],
];

/// What the operator uses at rest.
#[derive(Clone, Copy, Debug)]
struct Rest {
    /// Since the first round began.
    after: Duration,
    mib: f64,
    files: f64,
    threads: f64,
}

struct House {
    operator: Operator,
    client: Client,
    fleet: Fleet,
}

impl House {
    async fn on(plane: &ControlPlane) -> Self {
        let client = plane.admin_client().await;
        let install = Install::new(plane, &[&VALUES[..], &PATIENT[1..]].concat()).await;
        let operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
        operator.ready().await;
        let mut fleet = Fleet::new(STAYING);
        fleet.settle_in(&client).await;
        let end = json!({"action": "Delete", "deleteAfter": "1s"});
        edit(&client, "Environment", "dev", json!({"workspace": {"onDeparture": end}})).await;
        Self { operator, client, fleet }
    }

    /// Some come, work for a moment and leave.
    async fn round(&self, number: usize, plane: ControlPlane) -> ControlPlane {
        let member = |of: usize| Member { name: format!("r{number}-{of}"), web: of.is_multiple_of(2), ops: false };
        let people: Vec<Member> = (0..COMING).map(member).collect();
        let restarts = async { if number.is_multiple_of(A_RESTART_EVERY) { plane.restart_apiserver().await } else { plane } };
        let (plane, _) = tokio::join!(restarts, join_all(people.iter().map(|member| put(&self.client, developer(member)))));
        let names: Vec<&str> = people.iter().map(|member| member.name.as_str()).collect();
        put(&self.client, object("Binding", "stint", &json!({"role": "ops", "developers": names, "reason": "on call"}))).await;
        self.edit_roles("edit", &["get", "list"]).await;
        join_all(names.iter().map(|name| ready(&self.client, name))).await;
        self.edit_roles("view", &["get"]).await;
        remove(&self.client, "Binding", "stint").await;
        join_all(people.iter().map(|member| put(&self.client, departed(member)))).await;
        join_all(names.iter().map(|name| remove(&self.client, "Developer", name))).await;
        plane
    }

    /// One Role gets another ClusterRole, and another other rules.
    async fn edit_roles(&self, cluster_role: &str, verbs: &[&str]) {
        let look = json!([{"name": "look", "environments": ["*"], "clusterRoles": [cluster_role]}]);
        put(&self.client, object("Role", "viewer", &json!({"access": look}))).await;
        let rules = json!([{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": verbs}]);
        let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]);
        let access = json!([
            {"name": "care", "environments": ["prod"], "rules": rules},
            {"name": "nodes", "environments": ["*"], "cluster": true, "rules": nodes},
        ]);
        put(&self.client, object("Role", "ops", &json!({"access": access}))).await;
    }

    /// Waits until everything is as it was before anybody came, and says what the operator uses then.
    async fn rest(&self, since: Instant) -> Rest {
        self.fleet.in_order(&self.client).await;
        let receipts = kind(&self.client, "Departure").await;
        wait_until("no receipt is kept any more", SOON, async || match list::<DynamicObject>(receipts.clone()).await.len() {
            0 => Ok(()),
            kept => Err(kept),
        })
        .await;
        self.nothing_waits().await;
        let pid = self.operator.process();
        Rest { after: since.elapsed(), mib: usage::own_mib(pid), files: usage::open_files(pid), threads: usage::threads(pid) }
    }

    async fn nothing_waits(&self) {
        let mut seen = (f64::NEG_INFINITY, Instant::now());
        wait_until("nothing waits and nothing is written", SOON, async || {
            let scrape = Scrape::of(&self.operator).await?;
            let told = |series: &str| scrape.value(series, &[]).ok_or_else(|| format!("no {series}"));
            let (writes, waiting) = (told("usher_api_writes_total")?, told("usher_queue_length")?);
            let oldest = told("usher_queue_oldest_seconds")?;
            if writes > seen.0 || waiting > 0.0 || oldest > 0.0 {
                seen = (writes, Instant::now());
            }
            if seen.1.elapsed() > CALM { Ok(()) } else { Err(format!("{writes} writes, {waiting} wait, the oldest for {oldest} s")) }
        })
        .await;
    }
}

fn departed(member: &Member) -> DynamicObject {
    let mut object = developer(member);
    object.data["spec"]["state"] = Value::from("Departed");
    object
}

#[tokio::test]
async fn coming_and_going_for_long_leaves_nothing_behind_in_the_operator() {
    let minutes = std::env::var("USHER_MINUTES").map_or(0, |minutes| minutes.parse().expect("USHER_MINUTES is a number"));
    let period = Duration::from_mins(minutes);
    let mut plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let house = House::on(&plane).await;
    let (mut rests, since) = (Vec::new(), Instant::now());
    while since.elapsed() < period || rests.len() < FEWEST {
        plane = house.round(rests.len(), plane).await;
        let rest = house.rest(since).await;
        rests.push(rest);
        println!(
            "round {}, {:.0?} of {period:.0?}: {:.2} MiB, {} files, {} threads",
            rests.len(),
            rest.after,
            rest.mib,
            rest.files,
            rest.threads
        );
    }
    house.fleet.exact(&house.client).await;
    let warm = rests.iter().position(|rest| rest.after > WARM_UP).unwrap_or(rests.len());
    let (rests, most) =
        if rests.len() - warm < FEWEST { (&rests[rests.len() - FEWEST..], MOST_COLD_GROWTH) } else { (&rests[warm..], MOST_GROWTH) };
    assert_flat("MiB", rests, |rest| rest.mib, most * rests[0].mib);
    assert_flat("open files", rests, |rest| rest.files, CONNECTIONS);
    assert_flat("threads", rests, |rest| rest.threads, THREADS);
    drop(house);
    plane.stop().await;
}

/// The operator uses no more of something from rest to rest, but for chance.
#[track_caller]
fn assert_flat(what: &str, rests: &[Rest], of: impl Fn(&Rest) -> f64, chance: f64) {
    let figures: Vec<f64> = rests.iter().map(of).collect();
    let growth = growth(&figures);
    println!(
        "{what} at {} rests: {:.1} first, {:.1} last, {growth:+.2} by the line that fits best",
        figures.len(),
        figures[0],
        figures[figures.len() - 1]
    );
    assert!(growth <= chance, "{growth:.2} {what} came to be: {figures:?}");
}

/// By how much figures grew from the first to the last, by the line that fits them best.
fn growth(figures: &[f64]) -> f64 {
    let places = || std::iter::successors(Some(0.0), |place| Some(place + 1.0)).zip(figures);
    let (count, sum) = places().fold((0.0, 0.0), |(_, sum), (place, figure)| (place + 1.0, sum + figure));
    let (middle, mean) = ((count - 1.0) / 2.0, sum / count);
    let slope = |of: &dyn Fn(f64, f64) -> f64| places().map(|(place, figure)| of(place - middle, figure - mean)).sum::<f64>();
    slope(&|place, figure| place * figure) / slope(&|place, _| place * place) * (count - 1.0)
}

#[test]
fn the_line_that_fits_best_tells_growth_from_chance() {
    assert!((growth(&[10.0, 11.0, 12.0, 13.0]) - 3.0).abs() < 1e-9);
    assert!(growth(&[10.0, 12.0, 12.0, 10.0]).abs() < 1e-9);
}
