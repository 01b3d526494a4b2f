//! Uninstalling is not offboarding (DESIGN.md, promise 9): CRDs or the chart gone and back, with people in place, change nobody's namespace, data or access.
//!
//! Access is asked about all the while: not even for a moment may somebody have more or less.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use kube::{Client, ResourceExt};
use serde_json::json;

use crate::support::access::{assert_matrix_eq, difference};
use crate::support::audit::{Audit, lines};
use crate::support::client::{apply, condition, kind, wait_for_condition};
use crate::support::fleet::Fleet;
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::{AuditLevel, ControlPlane, throughout, wait_until};

const SOON: Duration = Duration::from_mins(1);
/// So long nothing is written before the operator counts as having done what it wanted to do.
const CALM: Duration = Duration::from_secs(1);
/// The plurals of usher's kinds.
const CRDS: [&str; 5] = ["developers", "roles", "bindings", "environments", "grants"];
/// How people put things back: as in a book, with the reasons before the people, and the wrong way round.
const ORDERS: [[&str; 4]; 3] = [
    ["Environment", "Role", "Developer", "Binding"],
    ["Binding", "Role", "Environment", "Developer"],
    ["Developer", "Binding", "Role", "Environment"],
];
pub const VALUES: [&str; 4] = ["environments.default=false", "starterRoles=false", PATIENT[0], PATIENT[1]];
/// A name to come back under.
const NAMED: [&str; 2] = ["--identity", "usher-0"];

/// A control plane with an operator and a company.
pub struct House {
    // Dropped first, as its log goes with the control plane.
    pub operator: Operator,
    pub plane: ControlPlane,
    pub client: Client,
    pub install: Install,
    pub audit: Audit,
    pub fleet: Fleet,
}

impl House {
    async fn new() -> Self {
        Self::with(Path::new("charts/usher"), &[]).await
    }

    /// With a chart of its own, and objects that are there before it.
    pub async fn with(chart: &Path, before: &[&str]) -> Self {
        let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
        let client = plane.admin_client().await;
        for object in before {
            apply(&client, object).await;
        }
        let install = Install::in_plane(&plane);
        install.helm(&["install", "usher", chart.to_str().expect("a path in UTF-8"), "--create-namespace"], &VALUES).await.ok();
        install.write_kubeconfig(&plane).await;
        let operator = Operator::start_with(&install, &NAMED).await;
        operator.ready().await;
        let audit = Audit::from_now(&plane);
        let mut fleet = Fleet::new(6);
        fleet.settle_in(&client).await;
        audit.still(CALM).await;
        Self { operator, plane, client, install, audit, fleet }
    }

    /// Does `work` while three of the people are asked about all the time, and compares everybody's belongings before and after.
    pub async fn unharmed(&self, what: &str, work: impl Future<Output = ()>) {
        let before = self.fleet.belongings(&self.client).await;
        let some: Vec<_> = self.fleet.people.iter().take(3).collect();
        let (questions, expected) = self.fleet.expectation(&some);
        let rounds = Cell::new(0);
        let watching = async {
            loop {
                let seen = questions.ask(&self.client).await;
                assert!(seen == expected, "{what}: access changed:{}", difference(&seen, &expected));
                rounds.set(rounds.get() + 1);
            }
        };
        let work = async {
            work.await;
            let enough = rounds.get() + 2;
            wait_until("it was looked at afterwards, too", SOON, async || if rounds.get() >= enough { Ok(()) } else { Err(rounds.get()) })
                .await;
        };
        tokio::select! {
            () = work => {}
            () = watching => {}
        }
        self.fleet.exact(&self.client).await;
        let after = self.fleet.belongings(&self.client).await;
        let changed: Vec<_> =
            before.iter().map(|(key, value)| (key, Some(value), after.get(key))).filter(|(_, before, after)| before != after).collect();
        let added: Vec<_> = after.keys().filter(|key| !before.contains_key(*key)).collect();
        assert!(changed.is_empty() && added.is_empty(), "{what}: before and after differ: {changed:?}, and there is more: {added:?}");
        println!("{what}: unharmed in {} looks", rounds.get());
    }

    /// Deletes CRDs, with everything of these kinds. That takes two steps, as no policy sees their objects go.
    async fn delete(&self, plurals: &[&str], wait: bool) {
        let names: Vec<_> = plurals.iter().map(|plural| format!("{plural}.usher.dev")).collect();
        for name in &names {
            // One that is gone already has nothing to be annotated.
            self.plane.kubectl(&["annotate", "--overwrite", "crd", name, "usher.dev/allow-deletion=true"]).await;
        }
        let wait = if wait { ["--wait=true", "--timeout=60s"] } else { ["--wait=false", "--ignore-not-found"] };
        let arguments: Vec<&str> = ["delete", "crd"].into_iter().chain(wait).chain(names.iter().map(String::as_str)).collect();
        self.plane.kubectl(&arguments).await.ok();
    }

    /// Waits until CRDs whose deletion was asked for are gone.
    async fn gone(&self, plurals: &[&str]) {
        for plural in plurals {
            wait_until(&format!("CRD {plural} is gone"), SOON, async || {
                let found =
                    self.plane.kubectl(&["get", "crd", &format!("{plural}.usher.dev"), "--ignore-not-found", "-o", "yaml"]).await.ok();
                if found.is_empty() { Ok(()) } else { Err(found) }
            })
            .await;
        }
    }

    /// Brings the chart back, then the manifests in this order, with time for mistakes between the kinds.
    async fn put_back(&self, order: &[&str]) {
        self.install.upgrade("charts/usher".as_ref(), &VALUES).await.ok();
        for kind in order {
            self.fleet.apply(&self.client, &[kind]).await;
            self.audit.still(CALM).await;
        }
        self.ready().await;
    }

    /// Everything says that it is as asked.
    pub async fn ready(&self) {
        for name in Fleet::KINDS {
            let api = kind(&self.client, name).await;
            for object in self.fleet.manifests(name) {
                let seen = wait_for_condition(&api, &object.name_any(), "Ready", "True").await;
                assert!(condition(&seen, "Ready").is_some_and(|ready| ready["reason"] != "Orphans"), "{}", seen.data["status"]);
            }
        }
        self.audit.still(CALM).await;
    }

    /// A removal is one again.
    pub async fn removes_as_usual(&mut self) {
        for ops in [false, true] {
            self.fleet.people[0].ops = ops;
            let kept = json!({"role": "ops", "developers": ["p05"], "reason": "on call"});
            let manifest = crate::support::fleet::object("Binding", "ops", &kept);
            let manifest = if ops { self.fleet.manifests("Binding").remove(2) } else { manifest };
            crate::support::fleet::put(&self.client, manifest).await;
            self.fleet.exact(&self.client).await;
        }
        self.audit.still(CALM).await;
    }
}

#[tokio::test]
async fn each_crd_deleted_under_a_running_operator_and_back_changes_nothing() {
    let mut house = House::new().await;
    for (number, plural) in CRDS.into_iter().enumerate() {
        let work = async {
            house.delete(&[plural], true).await;
            house.audit.still(CALM).await;
            house.put_back(&ORDERS[number % 3]).await;
        };
        house.unharmed(&format!("CRD {plural}, put back as {:?}", ORDERS[number % 3]), work).await;
    }
    house.removes_as_usual().await;
    house.plane.stop().await;
}

#[tokio::test]
async fn all_crds_deleted_under_a_running_operator_and_back_changes_nothing() {
    let mut house = House::new().await;
    for order in &ORDERS {
        let work = async {
            house.delete(&CRDS, true).await;
            house.audit.still(CALM).await;
            house.put_back(order).await;
        };
        house.unharmed(&format!("all CRDs, put back as {order:?}"), work).await;
        house.removes_as_usual().await;
    }
    house.plane.stop().await;
}

/// With nobody there to take the finalizers off, the CRDs wait for the operator; it finds all of them going when it starts.
#[tokio::test]
async fn crds_deleted_while_the_operator_is_down_change_nothing() {
    let mut house = House::new().await;
    for (plurals, order) in [(&CRDS[..], &ORDERS[1]), (&CRDS[..1], &ORDERS[2]), (&CRDS[2..3], &ORDERS[0])] {
        house.operator.terminate().await;
        let next = Cell::new(None);
        let work = async {
            house.delete(plurals, false).await;
            let calm = Audit::from_now(&house.plane);
            throughout("nobody works", Duration::from_secs(1), async || if calm.writes().is_empty() { Ok(()) } else { Err("somebody") })
                .await;
            next.set(Some(Operator::start_with(&house.install, &NAMED).await));
            house.gone(plurals).await;
            house.audit.still(CALM).await;
            house.put_back(order).await;
        };
        house.unharmed(&format!("{plurals:?} deleted while the operator was down, put back as {order:?}"), work).await;
        house.operator = next.take().expect("started");
        house.removes_as_usual().await;
    }
    house.plane.stop().await;
}

#[tokio::test]
async fn chart_uninstalled_and_installed_again_changes_nothing() {
    let mut house = House::new().await;
    let quiet = Audit::from_now(&house.plane);
    let work = async {
        house.install.uninstall().await.ok();
        let seen = Duration::from_secs(3);
        throughout("an operator without rights writes nothing", seen, async || {
            let writes = quiet.writes();
            if writes.is_empty() { Ok(()) } else { Err(lines(&writes)) }
        })
        .await;
        house.install.helm(&["install", "usher", "charts/usher"], &VALUES).await.ok();
        house.install.write_kubeconfig(&house.plane).await;
    };
    house.unharmed("the chart uninstalled and installed again", work).await;
    // Its token was that of a ServiceAccount which is gone.
    house.operator.restart().await;
    house.operator.ready().await;
    house.unharmed("the operator is back", async { house.ready().await }).await;
    let writes = quiet.still(CALM).await;
    assert!(writes.is_empty(), "there was nothing to write:{}", lines(&writes));
    house.removes_as_usual().await;

    let everyone: Vec<_> = house.fleet.people.iter().collect();
    let (questions, expected) = house.fleet.expectation(&everyone);
    assert_matrix_eq(&questions.ask(&house.client).await, &expected);
    house.plane.stop().await;
}
