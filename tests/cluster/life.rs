//! Suspending and leaving: what is taken at once, what stays, and what a return brings back.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::Api;
use serde_json::{Value, json};
use usher::api::GrantState;
use usher::api::grant::EndCause;

use crate::support::access::{Matrix, Questions};
use crate::support::audit::{Audit, Event};
use crate::support::client::{self, apply, condition};
use crate::support::people::{self, Stage, account, edit, grants, reaches, traces, workspace};
use crate::support::{Shared, name, operated, throughout, wait_until};

/// The API server remembers a token for ten seconds after its ServiceAccount went.
const REFUSED_WITHIN: Duration = Duration::from_secs(15);
/// "At once", with much room for a machine that does much else; how fast it is, `make bench` says.
const AT_ONCE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(30);
const PROBES: [&str; 4] = ["get pods", "create pods", "create deployments.apps", "get secrets"];
const LOOK: [&str; 1] = ["get pods"];

/// Somebody with a workspace in the default Environment that has content, and a Role in a shared namespace.
struct Cast {
    shared: Shared,
    stage: Stage,
    person: String,
    role: String,
    binding: String,
    workspace: String,
    account: String,
    kubeconfig: String,
    questions: Questions,
}

impl Cast {
    async fn new(more: Value) -> Self {
        let shared = operated().await;
        let stage = Stage::new(&shared.client).await;
        let person = name("ada");
        let role = stage.role("view").await;
        let binding = stage.binding(&role, &person).await;
        let developer = stage.person(&person, more).await;
        let workspace = workspace(&developer);
        let questions = Questions::new(&[(&person, people::subject(&developer))], &[&stage.shared, &workspace, ""], &PROBES);
        let kubeconfig = people::kubeconfig(&shared.client, &workspace).await;
        let account = account(&developer);
        let cast = Self { shared, stage, person, role, binding, workspace, account, kubeconfig, questions };
        cast.put_content().await;
        cast.questions.settle(&cast.stage.client, SOON, &cast.all()).await;
        assert_eq!(people::whoami(&cast.kubeconfig).await, Ok(cast.user()));
        cast
    }

    fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", people::IDENTITIES, self.account)
    }

    async fn put_content(&self) {
        let map = format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: work, namespace: {}}}, data: {{a: b}}}}", self.workspace);
        apply(&people::log_in(&self.kubeconfig).await, &map).await;
    }

    async fn content(&self) -> Option<ConfigMap> {
        Api::namespaced(self.stage.client.clone(), &self.workspace).get_opt("work").await.unwrap()
    }

    /// What she may do while nothing is taken: everything of these in her workspace, and look at the shared namespace.
    fn all(&self) -> Matrix {
        let mut cells = self.questions.cells(&[&self.person], &[&self.workspace], &PROBES);
        cells.extend(self.questions.cells(&[&self.person], &[&self.stage.shared], &LOOK));
        cells
    }

    /// Waits until nothing in the cluster speaks of her but the workspace and what keeps it as it is.
    async fn only_the_workspace_is_left(&self) {
        let expected = [format!("Namespace {}", self.workspace), format!("NetworkPolicy {}/usher", self.workspace)];
        wait_until("nothing is left of her but the workspace", SOON, async || {
            let mut left = traces(&self.stage.client, &self.person).await;
            // The receipt is meant to stay; `leaving` looks at it.
            left.retain(|trace| !trace.starts_with("Departure "));
            if left.iter().eq(&expected) { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }
}

#[tokio::test]
async fn suspension_takes_everything_but_the_workspace_and_active_brings_it_back() {
    let cast = Cast::new(json!({})).await;
    let client = &cast.stage.client;
    let uid = people::uid_of(client, &cast.workspace).await;

    edit(client, "Developer", &cast.person, json!({"state": "Suspended"})).await;
    let since = Instant::now();
    cast.questions.settle(client, AT_ONCE, &Matrix::new()).await;
    let developer = reaches(client, "Developer", &cast.person, "/status/state", "Suspended").await;
    let ready = condition(&developer, "Ready").unwrap();
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("True"), &json!("Suspended")));
    cast.only_the_workspace_is_left().await;
    people::all_refused(std::slice::from_ref(&cast.kubeconfig), REFUSED_WITHIN.saturating_sub(since.elapsed())).await;
    let kept = people::namespace(client, &cast.workspace).await.unwrap();
    assert_eq!(kept.uid().unwrap(), uid);
    assert!(!kept.annotations().contains_key("usher.dev/departed-at"), "{:?}", kept.annotations());
    assert!(cast.content().await.is_some());

    // Meanwhile her Roles change: what she comes back to is what she should have now.
    let other = cast.stage.role("edit").await;
    cast.stage.binding(&other, &cast.person).await;
    cast.questions.settle(client, AT_ONCE, &Matrix::new()).await;
    edit(client, "Developer", &cast.person, json!({"state": "Active"})).await;
    let mut expected = cast.all();
    expected.extend(cast.questions.cells(&[&cast.person], &[&cast.stage.shared], &PROBES));
    let developer = client::ready(client, &cast.person).await;
    cast.questions.settle(client, AT_ONCE, &expected).await;
    assert_eq!(developer.data["status"]["state"], "Active");
    assert_eq!((account(&developer), workspace(&developer)), (cast.account.clone(), cast.workspace.clone()));
    assert_eq!(people::uid_of(client, &cast.workspace).await, uid);
    assert!(cast.content().await.is_some());
    let anew = people::kubeconfig(client, &cast.workspace).await;
    assert_eq!(people::whoami(&anew).await, Ok(cast.user()));
    assert_eq!(people::whoami(&cast.kubeconfig).await, Err(401), "the old token is dead for good");
    suspension_ended_the_grant(&cast, &other).await;
}

/// The holding before, the one after, and the one of the Role that she got meanwhile.
async fn suspension_ended_the_grant(cast: &Cast, other: &str) {
    let seen = wait_until("three Grants", SOON, async || {
        let grants = grants(&cast.stage.client, &cast.person).await;
        if grants.len() == 3 { Ok(grants) } else { Err(format!("{grants:?}")) }
    })
    .await;
    let mut seen: Vec<_> = seen.iter().map(|grant| (grant.role.as_str(), grant.state, grant.ended.as_ref().map(|end| end.cause))).collect();
    seen.sort_by_key(|(role, state, _)| (*role == other, *state == GrantState::Active));
    let role = cast.role.as_str();
    assert_eq!(
        seen,
        [
            (role, GrantState::Ended, Some(EndCause::DeveloperSuspended)),
            (role, GrantState::Active, None),
            (other, GrantState::Active, None)
        ]
    );
}

#[tokio::test]
async fn departure_takes_access_then_credentials_and_keeps_the_workspace() {
    let cast = Cast::new(json!({})).await;
    let client = &cast.stage.client;
    let audit = Audit::from_now(&cast.shared.all.plane);
    let before = Timestamp::now();
    edit(client, "Developer", &cast.person, json!({"state": "Departed"})).await;
    let since = Instant::now();
    cast.questions.settle(client, AT_ONCE, &Matrix::new()).await;
    let developer = reaches(client, "Developer", &cast.person, "/status/state", "Departed").await;
    let ready = condition(&developer, "Ready").unwrap();
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("True"), &json!("Departed")));
    cast.only_the_workspace_is_left().await;
    assert_order(&cast, &audit);

    let kept = people::namespace(client, &cast.workspace).await.unwrap();
    let departed: Timestamp = kept.annotations()["usher.dev/departed-at"].parse().unwrap();
    assert!(before - SignedDuration::from_secs(1) <= departed && departed <= Timestamp::now(), "{departed}");
    assert!(!kept.annotations().contains_key("usher.dev/delete-at"), "retained without an end");
    assert!(cast.content().await.is_some());
    people::all_refused(std::slice::from_ref(&cast.kubeconfig), REFUSED_WITHIN.saturating_sub(since.elapsed())).await;
    let ends = grants(client, &cast.person).await;
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].ended.as_ref().map(|end| end.cause), Some(EndCause::DeveloperDeparted));

    // The same object may come back, to what she left.
    edit(client, "Developer", &cast.person, json!({"state": "Active"})).await;
    client::ready(client, &cast.person).await;
    cast.questions.settle(client, AT_ONCE, &cast.all()).await;
    let back = people::namespace(client, &cast.workspace).await.unwrap();
    assert_eq!(back.uid(), kept.uid());
    assert!(!back.annotations().contains_key("usher.dev/departed-at"), "{:?}", back.annotations());
}

/// The bindings went before the identity, and that before nothing else but marks.
fn assert_order(cast: &Cast, audit: &Audit) {
    let writes = audit.writes();
    let of = |event: &Event| event.namespace == cast.stage.shared || event.namespace == cast.workspace;
    let last_access = writes.iter().rposition(|event| event.resource == "rolebindings" && of(event)).expect("bindings");
    let first_credential = writes
        .iter()
        .position(|event| event.resource == "serviceaccounts" && event.name == cast.account || event.resource == "secrets" && of(event))
        .expect("credentials");
    assert!(last_access < first_credential, "access first: {writes:#?}");
}

#[tokio::test]
async fn an_end_date_is_kept_to_the_second() {
    let shared = operated().await;
    let client = &shared.client;
    let stage = Stage::new(client).await;
    let person = name("ada");
    let role = stage.role("view").await;
    stage.binding(&role, &person).await;
    let end = Timestamp::from_second(Timestamp::now().as_second() + 12).unwrap();
    let developer = stage.person(&person, json!({"endsAt": end.to_string()})).await;
    let workspace = workspace(&developer);
    assert_eq!(developer.data["status"]["summary"]["expires"], end.to_string());
    let questions = Questions::new(&[(&person, people::subject(&developer))], &[&stage.shared, &workspace], &LOOK);
    let all = questions.cells(&[&person], &[&stage.shared, &workspace], &LOOK);
    questions.settle(client, AT_ONCE, &all).await;

    let margin = SignedDuration::from_millis(150);
    let left = Duration::try_from((end - margin).duration_since(Timestamp::now())).expect("she was Ready long before");
    throughout("she has all until her end", left, async || {
        let seen = questions.ask(client).await;
        // An answer that came too late says nothing.
        if seen == all || Timestamp::now() >= end { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    let within = end + SignedDuration::from_secs(15);
    questions.settle(client, Duration::try_from(within.duration_since(Timestamp::now())).unwrap(), &Matrix::new()).await;
    reaches(client, "Developer", &person, "/status/state", "Departed").await;

    // A later end is a word that brings her back.
    edit(client, "Developer", &person, json!({"endsAt": "2127-01-01T00:00:00Z"})).await;
    questions.settle(client, AT_ONCE, &all).await;
}

#[tokio::test]
async fn deletion_of_a_developer_waits_for_access_only_and_leaves_nothing_else() {
    let cast = Cast::new(json!({})).await;
    let client = &cast.stage.client;
    let since = Instant::now();
    people::remove(client, "Developer", &cast.person).await;
    let took = since.elapsed();
    assert!(took < AT_ONCE, "{took:?}");
    crate::support::access::assert_matrix_eq(&cast.questions.ask(client).await, &Matrix::new());
    cast.only_the_workspace_is_left().await;
    let kept = people::namespace(client, &cast.workspace).await.unwrap();
    assert!(kept.annotations().contains_key("usher.dev/departed-at"), "{:?}", kept.annotations());
    assert!(cast.content().await.is_some());
    let ends = grants(client, &cast.person).await;
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].ended.as_ref().map(|end| end.cause), Some(EndCause::DeveloperDeleted));
    let binding = reaches(client, "Binding", &cast.binding, "/status/state", "Active").await;
    assert_eq!(binding.data["spec"]["developers"], json!([cast.person]), "what people wrote is theirs");
    people::all_refused(std::slice::from_ref(&cast.kubeconfig), REFUSED_WITHIN.saturating_sub(since.elapsed())).await;
}
