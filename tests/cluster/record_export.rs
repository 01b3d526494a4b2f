//! The export of the record: every change as a line, at least once, across restarts; and nobody's access waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use usher::api::GrantState;

use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::{Stage, edit, grants};
use crate::support::{AuditLevel, ControlPlane, wait_until};

const SOON: Duration = Duration::from_mins(1);

/// An operator that exports, and a person with a Role.
struct House {
    operator: Operator,
    plane: ControlPlane,
    stage: Stage,
    file: PathBuf,
}

impl House {
    /// `to`: a file in the control plane's folder, or a path of its own.
    async fn new(to: &str, before: impl FnOnce(&Path)) -> Self {
        let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
        let file = plane.dir().join(to);
        before(&file);
        let export = format!("audit.export={}", file.display());
        let install = Install::new(&plane, &["starterRoles=false", &export, PATIENT[0], PATIENT[1]]).await;
        let operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
        operator.ready().await;
        let stage = Stage::new(&plane.admin_client().await).await;
        Self { operator, plane, stage, file }
    }

    /// Gives ada a Role, as always: she is Ready, and it is recorded.
    async fn onboard(&self) {
        let role = self.stage.role("view").await;
        self.stage.binding(&role, "ada").await;
        self.stage.person("ada", json!({})).await;
        self.recorded(GrantState::Active).await;
    }

    async fn recorded(&self, state: GrantState) {
        wait_until(&format!("the Grant is {state:?}"), SOON, async || {
            let seen = grants(&self.stage.client, "ada").await;
            if seen.len() == 1 && seen[0].state == state { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }

    async fn measured(&self, metric: &str) -> f64 {
        let (_, text) = self.operator.get("/metrics").await.unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(metric)?.trim().parse().ok());
        line.unwrap_or_default()
    }
}

/// The lines of Grants that are there so far.
fn lines(text: &str) -> Vec<Value> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn of_kind(lines: &[Value], kind: &str) -> Vec<Value> {
    lines.iter().filter(|line| line["kind"] == kind).cloned().collect()
}

#[tokio::test]
async fn every_change_is_a_line_and_a_restart_says_everything_again() {
    let mut house = House::new("grants.jsonl", |_| {}).await;
    let read = || lines(&std::fs::read_to_string(&house.file).unwrap_or_default());
    house.onboard().await;
    let since = grants(&house.stage.client, "ada").await[0].since.0;
    wait_until("a later second", SOON, async || if Timestamp::now().as_second() > since.as_second() { Ok(()) } else { Err("not yet") })
        .await;
    edit(&house.stage.client, "Developer", "ada", json!({"state": "Departed"})).await;
    house.recorded(GrantState::Ended).await;
    let file = house.file.clone();
    let read_file = || lines(&std::fs::read_to_string(&file).unwrap_or_default());
    let states = |lines: &[Value]| -> Vec<String> {
        let states = of_kind(lines, "Grant").into_iter().map(|line| line["object"]["spec"]["state"].as_str().unwrap().to_owned());
        states.collect()
    };
    wait_until("begin, end and departure are exported", SOON, async || {
        let lines = read();
        let complete = states(&lines).ends_with(&["Ended".to_owned()]) && !of_kind(&lines, "Departure").is_empty();
        if complete { Ok(()) } else { Err(format!("{lines:#?}")) }
    })
    .await;
    let first = read();
    assert!(states(&first).first().is_some_and(|state| state == "Active"), "{first:#?}");
    assert!(first.iter().all(|line| line["object"]["metadata"]["uid"].is_string() && line["object"]["apiVersion"] == "usher.dev/v1alpha1"));

    house.operator.restart().await;
    house.operator.ready().await;
    let kept = wait_until("everything is said again", SOON, async || {
        let kept: Vec<Value> = read_file().into_iter().filter(|line| line["event"] == "Kept").collect();
        if of_kind(&kept, "Grant").len() == 1 && of_kind(&kept, "Departure").len() == 1 { Ok(kept) } else { Err(format!("{kept:?}")) }
    })
    .await;
    assert_ne!(kept[0]["stream"], first[0]["stream"]);
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in read_file() {
        numbers.entry(line["stream"].as_str().unwrap().to_owned()).or_default().push(line["sequence"].as_u64().unwrap());
    }
    for (stream, numbers) in &numbers {
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "a gap in {stream}: {numbers:?}");
    }

    // The export says the same as the cluster.
    let since = since.to_string();
    let asked = ["who-had", "--at", &since, "-o", "json"];
    let (cluster, export) =
        (house.plane.usher(&asked).await.ok(), house.plane.usher(&[&asked[..], &["--from", file.to_str().unwrap()]].concat()).await.ok());
    assert_eq!(cluster, export);
    assert!(cluster.contains("DeveloperDeparted"), "{cluster}");
    house.operator.terminate().await;
    house.plane.stop().await;
}

#[tokio::test]
async fn a_full_disk_delays_nobody_and_is_told() {
    let mut house = House::new("/dev/full", |_| {}).await;
    house.onboard().await;
    wait_until("it is told", SOON, async || {
        let (failures, waiting) = (house.measured("usher_export_failures_total").await, house.measured("usher_export_waiting").await);
        let told = house.operator.log().contains("the record cannot be exported");
        if failures >= 1.0 && waiting >= 1.0 && told { Ok(()) } else { Err(format!("{failures} failures, {waiting} wait, told: {told}")) }
    })
    .await;
    // And whoever leaves has nothing any more, all the same.
    edit(&house.stage.client, "Developer", "ada", json!({"state": "Departed"})).await;
    house.recorded(GrantState::Ended).await;
    assert!(house.operator.terminate().await < Duration::from_secs(10), "nor does it keep the operator from ending");
    house.plane.stop().await;
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_delays_nobody_and_loses_nothing() {
    let fifo = |path: &Path| {
        let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo");
        assert!(made.success());
    };
    let mut house = House::new("pipe", fifo).await;
    house.onboard().await;
    wait_until("it is told", SOON, async || if house.operator.log().contains("the export hangs") { Ok(()) } else { Err("not yet") }).await;
    let file = house.file.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use std::io::BufRead;
        let pipe = std::fs::File::open(file).expect("the pipe");
        for line in std::io::BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let mut seen = BTreeSet::new();
    wait_until("the line of the Grant comes, late", SOON, async || {
        seen.extend(receiver.try_iter());
        if seen.iter().any(|line| line.contains("\"Grant\"") && line.contains("ada")) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    house.operator.terminate().await;
    house.plane.stop().await;
}
