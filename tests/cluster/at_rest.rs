//! A settled cluster is not written to, and what has to be written is written once (DESIGN.md, promise 6).
//!
//! Each test has a control plane of its own, so that every write in its audit log has a cause in the test.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, DynamicObject};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::support::audit::{Audit, Event, counts, lines};
use crate::support::client::{self, explain};
use crate::support::fleet::{Fleet, Member, developer, list};
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::{declare, edit, reaches};
use crate::support::{AuditLevel, ControlPlane, throughout, wait_until};

/// So long nothing is written before a cluster counts as settled: longer than any pause the operator makes between two looks.
const CALM: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(30);

/// A control plane with an operator and a company that has settled in.
pub struct House {
    // Dropped first, as its log goes with the control plane.
    pub operator: Operator,
    pub plane: ControlPlane,
    pub client: Client,
    pub fleet: Fleet,
}

impl House {
    pub async fn new(size: usize) -> Self {
        let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
        let client = plane.admin_client().await;
        let install = Install::new(&plane, &["environments.default=false", "starterRoles=false", PATIENT[0], PATIENT[1]]).await;
        let operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
        operator.ready().await;
        let mut fleet = Fleet::new(size);
        let audit = Audit::from_now(&plane);
        fleet.settle_in(&client).await;
        audit.still(CALM).await;
        Self { operator, plane, client, fleet }
    }

    /// Fails as soon as something is written within `period`.
    pub async fn silent(&self, what: &str, period: Duration) {
        let audit = Audit::from_now(&self.plane);
        self.still_silent(&audit, what, period).await;
    }

    pub async fn still_silent(&self, audit: &Audit, what: &str, period: Duration) {
        throughout(&format!("{what}: nothing is written"), period, async || {
            let writes = audit.writes();
            if writes.is_empty() { Ok(()) } else { Err(lines(&writes)) }
        })
        .await;
    }

    /// What is written after `edit`, until nothing more is.
    pub async fn writes_of(&self, edit: impl Future<Output = ()>) -> Vec<Event> {
        let audit = Audit::from_now(&self.plane);
        edit.await;
        wait_until("the edit leads to a write", SOON, async || if audit.writes().is_empty() { Err("none") } else { Ok(()) }).await;
        audit.still(CALM).await
    }
}

/// Two minutes, then every way of starting again, then edits that mean nothing.
#[tokio::test]
async fn settled_cluster_is_not_written_to() {
    let mut house = House::new(20).await;
    house.silent("two minutes of rest", Duration::from_mins(2)).await;

    let audit = Audit::from_now(&house.plane);
    house.operator.terminate().await;
    house.operator.restart().await;
    house.operator.ready().await;
    house.still_silent(&audit, "a restart", Duration::from_secs(10)).await;

    let audit = Audit::from_now(&house.plane);
    house.operator.restart().await;
    house.operator.ready().await;
    leads(&house.operator).await;
    house.still_silent(&audit, "a restart after a crash", Duration::from_secs(10)).await;

    let audit = Audit::from_now(&house.plane);
    edit_nothing(&house).await;
    house.still_silent(&audit, "edits that change nothing", Duration::from_secs(5)).await;
    house.fleet.exact(&house.client).await;

    let repairs = house.writes_of(damage(&house.client)).await;
    assert_eq!(
        count(&repairs, "create", "rolebindings.rbac.authorization.k8s.io"),
        1,
        "silence was obedience, not sleep:{}",
        lines(&repairs)
    );
    house.plane.stop().await;
}

/// A receipt that is complete and a Lock that is applied have nothing to say any more.
#[tokio::test]
async fn who_left_and_who_is_locked_are_not_written_to() {
    let mut house = House::new(3).await;
    let client = house.client.clone();
    let writes = house
        .writes_of(async {
            edit(&client, "Developer", "p00", json!({"state": "Departed"})).await;
            declare(&client, "Lock", "stolen", json!({"developer": "p01", "reason": "SEC-91"})).await;
            reaches(&client, "Lock", "stolen", "/status/state", "Applied").await;
            let departures = client::kind(&client, "Departure").await;
            wait_until("the receipt is complete", Duration::from_mins(1), async || {
                let all = list::<DynamicObject>(departures.clone()).await;
                let states: Vec<_> = all.iter().map(|it| it.data["status"]["state"].to_string()).collect();
                if states == ["\"Complete\""] { Ok(()) } else { Err(format!("{states:?}")) }
            })
            .await;
        })
        .await;
    show("a departure and a Lock", &writes);
    house.silent("a quarter of a minute of rest", Duration::from_secs(15)).await;
    let audit = Audit::from_now(&house.plane);
    house.operator.restart().await;
    house.operator.ready().await;
    leads(&house.operator).await;
    house.still_silent(&audit, "a restart", Duration::from_secs(15)).await;
    house.plane.stop().await;
}

/// One write for each thing a newcomer needs, and one for each list on which she now stands.
#[tokio::test]
async fn every_write_of_an_onboarding_is_made_once() {
    let house = House::new(3).await;
    let eve = Member { name: "eve".to_owned(), web: true, ops: false };
    let before = (summed(&house.operator, "usher_api_writes_total").await, summed(&house.operator, PASSES).await);
    let writes = house
        .writes_of(async {
            client::apply(&house.client, &json!(developer(&eve)).to_string()).await;
            client::ready(&house.client, "eve").await;
        })
        .await;
    show("an onboarding with two Roles in three Environments", &writes);

    let expected = [
        // Personal: the finalizer and the status; the workspace with its four objects; the identity, its token and the two letters to her.
        ("patch developers.usher.dev", 1),
        ("patch developers/status.usher.dev", 1),
        ("create namespaces", 1),
        ("create resourcequotas", 1),
        ("create limitranges", 1),
        ("create networkpolicies.networking.k8s.io", 1),
        ("create serviceaccounts", 1),
        ("create serviceaccounts/token", 1),
        ("patch secrets", 1),
        ("patch configmaps", 1),
        ("create rolebindings.rbac.authorization.k8s.io", 1),
        // Her Roles: viewer in six namespaces, editor in four; a Grant each; and the counts of holders and workspaces.
        ("update rolebindings.rbac.authorization.k8s.io", 10),
        ("create grants.usher.dev", 2),
        ("patch roles/status.usher.dev", 2),
        ("patch bindings/status.usher.dev", 2),
        ("patch environments/status.usher.dev", 1),
    ];
    assert_eq!(stored(&writes), expected.map(|(what, count)| (what.to_owned(), count)).into(), "{}", lines(&writes));
    assert_once(&writes);
    let (told, passes) =
        (summed(&house.operator, "usher_api_writes_total").await - before.0, summed(&house.operator, PASSES).await - before.1);
    let really = stored(&writes).values().sum::<usize>();
    assert_eq!(told, really, "what the operator counts is what the API server was asked");
    assert!(passes <= MOST_PASSES, "{passes} passes over Developers: what she is given is no reason to look at her again");
    house.plane.stop().await;
}

/// Passes over people.
const PASSES: &str = "usher_reconciles_total{kind=\"Developer\"";
/// When she comes, after the finalizer, and when bindings name her; bursts become one. It was eight.
const MOST_PASSES: usize = 10;

/// All of a series in a scrape of the operator.
async fn summed(operator: &Operator, series: &str) -> usize {
    let (_, text) = operator.get("/metrics").await.expect("a scrape");
    let lines = text.lines().filter(|line| line.starts_with(series) && !line.contains("kind=\"Scorecard\""));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

#[tokio::test]
async fn editing_rules_is_one_write_and_the_news_of_it() {
    let house = House::new(6).await;
    let role = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Role", "metadata": {"name": "ops"}, "spec": {"access": [
        {"name": "care", "environments": ["prod"], "rules": [{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get", "list"]}]},
        {"name": "nodes", "environments": ["*"], "cluster": true, "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]},
    ]}});
    let writes = house
        .writes_of(async {
            client::apply(&house.client, &role.to_string()).await;
        })
        .await;
    show("an edit of rules", &writes);
    let expected =
        [("update clusterroles.rbac.authorization.k8s.io", 1), ("patch roles/status.usher.dev", 1), ("create controllerrevisions.apps", 1)];
    assert_eq!(stored(&writes), expected.map(|(what, count)| (what.to_owned(), count)).into(), "{}", lines(&writes));
    house.plane.stop().await;
}

/// What is written, without Events, which are the doorbell and no state, and without figures, which are told beside it.
pub fn stored(writes: &[Event]) -> BTreeMap<String, usize> {
    let others: Vec<Event> = writes.iter().filter(|event| !event.is_figure()).cloned().collect();
    let counted = counts(&others).into_iter().filter(|((_, target), _)| !target.starts_with("events"));
    counted.map(|((verb, target), count)| (format!("{verb} {target}"), count)).collect()
}

/// Nothing is written twice, nor refused.
#[track_caller]
pub fn assert_once(writes: &[Event]) {
    let mut seen: BTreeMap<_, usize> = BTreeMap::new();
    for event in writes.iter().filter(|event| event.resource != "events" && !event.is_figure()) {
        assert!(event.code < 300, "{event:?}");
        *seen.entry((&event.verb, event.target(), &event.namespace, &event.name)).or_default() += 1;
    }
    seen.retain(|_, count| *count > 1);
    // A token is asked for by POST to the account, which has one name; objects that are created have theirs in the body.
    seen.retain(|(verb, _, _, name), _| !(verb.as_str() == "create" && name.is_empty()));
    assert!(seen.is_empty(), "more than once: {seen:?}{}", lines(writes));
}

fn count(writes: &[Event], verb: &str, target: &str) -> usize {
    writes.iter().filter(|event| event.verb == verb && event.target() == target).count()
}

pub fn show(what: &str, writes: &[Event]) {
    println!("{what}: {} writes", writes.len());
    for ((verb, target), count) in counts(writes) {
        println!("  {count:3} {verb} {target}");
    }
}

/// Waits until a replica says that it works.
async fn leads(operator: &Operator) {
    wait_until("it leads", SOON, async || {
        let log = operator.log();
        let since = log.rsplit("---- started ----").next().unwrap_or_default();
        if since.contains("\"leading\"") { Ok(()) } else { Err("not yet") }
    })
    .await;
}

/// What GitOps and people do all day: the same again, and labels that nobody selects by.
async fn edit_nothing(house: &House) {
    for kind in Fleet::KINDS {
        for object in house.fleet.manifests(kind) {
            let yaml = json!(object).to_string();
            let again = house.plane.kubectl_with(&["apply", "--server-side", "--field-manager", client::TEST, "-f", "-"], &yaml).await;
            again.ok();
        }
    }
    for command in [
        &["label", "namespace", "shop-dev", "weather=fine"][..],
        &["label", "namespace", "dev-p00", "weather=fine"],
        &["label", "namespace", "default", "weather=fine"],
        &["label", "developer", "p00", "weather=fine"],
        &["annotate", "urole", "viewer", "example.com/note=read"],
        &["create", "namespace", "strange"],
        &["create", "rolebinding", "theirs", "--clusterrole=view", "--user=somebody", "--namespace=shop-dev"],
    ] {
        house.plane.kubectl(command).await.ok();
    }
}

/// Takes away one binding of a Role.
async fn damage(client: &Client) {
    let bindings = list::<RoleBinding>(Api::namespaced(client.clone(), "shop-dev")).await;
    let victim = bindings.iter().find(|binding| binding.name_any().starts_with("usher:role:viewer")).expect("it is there");
    let api = Api::<RoleBinding>::namespaced(client.clone(), "shop-dev");
    api.delete(&victim.name_any(), &DeleteParams::default()).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
}
