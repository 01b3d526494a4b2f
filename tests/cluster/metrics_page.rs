//! Every metric of docs/metrics.md: a running operator tells it, with the labels that the page says, and it moves with what it counts. Nothing else is told.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use rustix::process::Pid;
use serde_json::json;

use crate::accounts::{receipt, tells};
use crate::accounts_forge::{Forge, delivered, first_commit};
use crate::support::audit::OPERATOR;
use crate::support::client::{explain, kind, ready};
use crate::support::fleet::list;
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::pause::Paused;
use crate::support::people::{Stage, declare, developer, edit};
use crate::support::scrape::{Page, Scrape, page};
use crate::support::systems::System;
use crate::support::{AuditLevel, ControlPlane, client_as, wait_until};

const SOON: Duration = Duration::from_mins(2);
/// So many people come at once, and so many wait at most, as there may be 32 passes over people at once.
const CROWD: usize = 50;
const MOST_WAIT: f64 = 18.0;

/// An operator that exports, a forge, and a Role that gives an account there.
struct House {
    operator: Operator,
    client: Client,
    stage: Stage,
    forge: Forge,
    role: String,
    /// Where it exports to.
    record: PathBuf,
    page: Page,
    /// The metrics that were seen to move.
    moved: BTreeSet<String>,
}

impl House {
    /// What it exports to cannot be written yet: a folder is there.
    async fn on(plane: &ControlPlane) -> Self {
        let client = plane.admin_client().await;
        let record = plane.dir().join("record");
        std::fs::create_dir(&record).expect("a folder");
        let values = ["starterRoles=false", PATIENT[0], PATIENT[1], &format!("audit.export={}", record.display())];
        let install = Install::new(plane, &values).await;
        let operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
        operator.ready().await;
        let stage = Stage::new(&client).await;
        let forge = Forge::new(&client).await;
        let role = forge.role(&client, &stage).await;
        Self { operator, client, stage, forge, role, record, page: page(), moved: BTreeSet::new() }
    }

    /// Waits until a series has a value of some sort. Whenever it looks, all that is told must be documented.
    async fn shows(&mut self, series: &str, labels: &[(&str, &str)], right: impl Fn(f64) -> bool) -> f64 {
        wait_until(&format!("{series} {labels:?} is right"), SOON, async || {
            let scrape = Scrape::of(&self.operator).await?;
            let strangers = scrape.strangers(&self.page);
            assert!(strangers.is_empty(), "not as docs/metrics.md says: {strangers:?}");
            let value = scrape.value(series, labels);
            self.moved.extend(scrape.metric_of(series).map(str::to_owned));
            value.filter(|value| right(*value)).ok_or_else(|| format!("{value:?}"))
        })
        .await
    }

    async fn arrives(&self, person: &str) {
        self.stage.binding(&self.role, person).await;
        developer(&self.client, person, json!({})).await;
        tells(&self.client, person, &self.forge.provider, "Active").await;
        ready(&self.client, person).await;
    }

    async fn somebody_comes(&mut self) {
        let provider = self.forge.provider.clone();
        self.arrives("ada").await;
        self.shows("usher_leader", &[], one).await;
        self.shows("usher_declarations_total", &[("kind", "Developer")], one).await;
        self.shows("usher_reconciles_total", &[("kind", "Developer"), ("outcome", "Done")], |count| count >= 1.0).await;
        self.shows("usher_reconcile_seconds_count", &[("kind", "Developer")], |count| count >= 1.0).await;
        self.shows("usher_api_writes_total", &[("kind", "ServiceAccount"), ("verb", "create")], one).await;
        self.shows("usher_grants_total", &[("kind", "Grant"), ("outcome", "begun")], one).await;
        for series in ["usher_time_to_ready_seconds", "usher_time_to_accounts_seconds"] {
            self.shows(&format!("{series}_count"), &[], one).await;
            self.shows(&format!("{series}_sum"), &[], |seconds| (0.0..SOON.as_secs_f64()).contains(&seconds)).await;
        }
        self.shows("usher_provider_calls_total", &[("provider", &provider), ("outcome", "Answered")], |calls| calls >= 4.0).await;
        self.shows("usher_provider_state", &[("provider", &provider), ("state", "Connected")], one).await;
    }

    /// What a Role gives in two Environments is compared.
    async fn she_has_the_same_everywhere(&mut self) {
        let look = json!({"name": "look", "environments": ["*"], "clusterRoles": ["view"]});
        declare(&self.client, "Role", "everywhere", json!({"access": [look]})).await;
        self.stage.binding("everywhere", "ada").await;
        let environment = self.stage.environment.clone();
        self.shows("usher_consistency_ratio", &[("environment", &environment)], one).await;
    }

    async fn she_pushes(&mut self) {
        let ([username, password, _], _) = delivered(&self.client, "ada", &self.forge.provider).await;
        assert!(self.forge.git.pushes(None, &self.forge.git.https(&username, &password, "guild/engine")).await);
        first_commit(&self.client, "ada").await;
        self.shows("usher_time_to_first_commit_seconds_count", &[], one).await;
    }

    /// The four figures of everybody, who is ada alone.
    async fn the_figures_are_hers(&mut self) {
        let all = [("scorecard", "all")];
        let half = [("scorecard", "all"), ("percentile", "50")];
        self.shows("usher_scorecard_people", &all, one).await;
        self.shows("usher_scorecard_time_to_access_seconds", &half, |seconds| (0.0..SOON.as_secs_f64()).contains(&seconds)).await;
        self.shows("usher_scorecard_time_to_first_commit_seconds", &half, |seconds| seconds > 0.0).await;
        self.shows("usher_scorecard_access_error_ratio", &all, |share| share == 0.0).await;
        self.shows("usher_scorecard_consistency_ratio", &all, one).await;
        self.shows("usher_scorecard_touchpoints", &[("scorecard", "all"), ("kind", "waiver")], |count| count == 0.0).await;
        self.shows("usher_scorecard_denied_requests", &all, |requests| requests == 0.0).await;
        // No API server sends any here; tests/cluster/figures has them.
        self.shows("usher_audit_denials_total", &[], |requests| requests == 0.0).await;
        self.shows("usher_audit_dropped_total", &[], |requests| requests == 0.0).await;
    }

    async fn the_record_waits_and_is_exported(&mut self) {
        self.shows("usher_export_failures_total", &[], |tries| tries >= 1.0).await;
        self.shows("usher_export_waiting", &[], |changes| changes >= 1.0).await;
        self.shows("usher_exported_lines_total", &[], |lines| lines == 0.0).await;
        std::fs::remove_dir(&self.record).expect("an empty folder");
        let lines = self.shows("usher_exported_lines_total", &[], |lines| lines >= 1.0).await;
        self.shows("usher_export_waiting", &[], |changes| changes == 0.0).await;
        let written = std::fs::read_to_string(&self.record).expect("a file").lines().fold(0.0, |count, _| count + 1.0);
        assert!(written >= lines, "{written} were written, and {lines} are told");
    }

    async fn another_leaves_while_the_forge_hangs(&mut self, plane: &ControlPlane) {
        let provider = self.forge.provider.clone();
        let leaver = [("provider", provider.as_str()), ("lane", "departure")];
        self.arrives("eve").await;
        self.forge.system.pause();
        edit(&self.client, "Developer", "eve", json!({"state": "Departed"})).await;
        self.shows("usher_time_to_revoke_seconds_count", &[], one).await;
        self.shows("usher_provider_calls_total", &[("provider", &provider), ("outcome", "Unreachable")], |calls| calls >= 1.0).await;
        self.shows("usher_account_queue_length", &leaver, one).await;
        let first = self.shows("usher_account_queue_oldest_seconds", &leaver, |seconds| seconds > 0.0).await;
        self.shows("usher_account_queue_oldest_seconds", &leaver, |seconds| seconds > first + 1.0).await;
        self.shows("usher_provider_state", &[("provider", &provider), ("state", "Unreachable")], one).await;
        self.shows("usher_departures", &[("state", "Complete")], |people| people == 0.0).await;
        self.shows("usher_departures", &[], one).await;
        self.shows("usher_departures_overdue", &[], |people| people == 0.0).await;
        self.asked_for_long_ago(plane).await;
        self.shows("usher_departures_overdue", &[], one).await;
        self.forge.system.resume();
        receipt(&self.client, "eve", &provider, "Disabled").await;
        self.shows("usher_departures", &[("state", "Complete")], one).await;
        self.shows("usher_departures_overdue", &[], |people| people == 0.0).await;
        self.shows("usher_account_queue_length", &leaver, |accounts| accounts == 0.0).await;
    }

    /// What is overdue waits for ten minutes, so the receipt is dated back in the operator's own name, who alone may write it.
    async fn asked_for_long_ago(&self, plane: &ControlPlane) {
        let receipts = list::<DynamicObject>(kind(&self.client, "Departure").await).await;
        let operator = client_as(&plane.kubeconfig(), OPERATOR, &["system:masters"]).await;
        let ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
        let patch = Patch::Merge(json!({"spec": {"requestedAt": ago.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}}));
        let name = receipts[0].metadata.name.as_deref().expect("a name");
        let patched = kind(&operator, "Departure").await.patch(name, &PatchParams::default(), &patch).await;
        patched.unwrap_or_else(|error| panic!("{}", explain(&error)));
    }

    /// Many come while the API server hangs: all passes that there may be are under way, and the others wait.
    async fn many_come(&mut self, plane: &ControlPlane) {
        let newcomers = [("kind", "Developer"), ("lane", "new")];
        let hung = Paused::new(self.operator.pid());
        for number in 0..CROWD {
            developer(&self.client, &format!("new{number}"), json!({})).await;
        }
        let server = Paused::new(Pid::from_raw(plane.pids()[0]).expect("a process id"));
        drop(hung);
        self.shows("usher_queue_length", &newcomers, |people| (1.0..=MOST_WAIT).contains(&people)).await;
        let first = self.shows("usher_queue_oldest_seconds", &newcomers, |seconds| seconds > 0.0).await;
        self.shows("usher_queue_oldest_seconds", &newcomers, |seconds| seconds > first + 1.0).await;
        drop(server);
        self.shows("usher_queue_length", &[], |waiting| waiting == 0.0).await;
        self.shows("usher_queue_oldest_seconds", &[], |seconds| seconds == 0.0).await;
    }

    /// A directory in which nobody is yet, so nothing is done by it.
    async fn a_directory_is_read(&mut self) {
        let directory = System::start("ldap").await;
        let ca = std::fs::read_to_string(directory.ca_file()).expect("a CA");
        crate::sources::credentials(&self.client, "directory", directory.env("ADMIN_PASSWORD"), &ca).await;
        let ldap = json!({
            "url": directory.env("URL"), "bindDN": directory.env("ADMIN_USER"), "baseDN": directory.env("PEOPLE_DN"),
            "credentialsSecret": {"name": "directory", "key": "secret"}, "caSecret": {"name": "directory", "key": "ca.crt"},
        });
        declare(&self.client, "Source", "directory", json!({"ldap": ldap, "every": "1s"})).await;
        self.shows("usher_source_reads_total", &[("source", "directory"), ("outcome", "Complete")], |reads| reads >= 2.0).await;
        self.shows("usher_source_state", &[("source", "directory"), ("state", "Incomplete")], one).await;
        self.shows("usher_source_read_age_seconds", &[("source", "directory")], |age| (0.0..5.0).contains(&age)).await;
        directory.pause();
        let labels = [("source", "directory"), ("outcome", "Unreachable")];
        self.shows("usher_source_reads_total", &labels, |reads| reads >= 1.0).await;
        self.shows("usher_source_read_age_seconds", &[("source", "directory")], |age| age > 5.0).await;
    }

    async fn all_of_the_page(&mut self) {
        self.shows("usher_watch_restarts_total", &[("kind", "Developer")], |times| times >= 1.0).await;
        let scrape = Scrape::of(&self.operator).await.expect("a scrape");
        let documented: BTreeSet<&str> = self.page.keys().map(String::as_str).collect();
        assert_eq!(scrape.metrics(), documented, "what a scrape has on the left, docs/metrics.md on the right");
        let moved: BTreeSet<&str> = self.moved.iter().map(String::as_str).collect();
        assert_eq!(moved, documented, "what was seen to move here on the left, docs/metrics.md on the right");
    }
}

/// A count of one, or the sign of a state.
fn one(value: f64) -> bool {
    (value - 1.0).abs() < f64::EPSILON
}

#[tokio::test]
async fn every_metric_of_the_page_is_told_as_it_says_and_moves_with_what_it_counts() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let mut house = House::on(&plane).await;
    house.somebody_comes().await;
    house.she_has_the_same_everywhere().await;
    house.the_record_waits_and_is_exported().await;
    house.she_pushes().await;
    house.the_figures_are_hers().await;
    house.another_leaves_while_the_forge_hangs(&plane).await;
    house.a_directory_is_read().await;
    house.many_come(&plane).await;
    let plane = plane.restart_apiserver().await;
    house.all_of_the_page().await;
    drop(house);
    plane.stop().await;
}
