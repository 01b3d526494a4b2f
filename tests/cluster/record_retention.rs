//! The end of the record: what is over for longer than it is kept is deleted, and what goes on never.

use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use usher::api::GrantState;

use crate::support::client::{explain, kind, ready};
use crate::support::install::{Install, NAMESPACE, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::{Stage, developer, edit, grants, remove};
use crate::support::{AuditLevel, ControlPlane, throughout, wait_until};

/// Records go a few at a time, every ten seconds.
const SOON: Duration = Duration::from_mins(2);

async fn revisions(client: &Client, role: &str) -> Vec<Option<i64>> {
    let api = Api::<ControllerRevision>::namespaced(client.clone(), NAMESPACE);
    let list = api.list(&ListParams::default().labels(&format!("usher.dev/role={role}"))).await;
    let mut numbers: Vec<_> = list.unwrap_or_else(|error| panic!("{}", explain(&error))).items.iter().map(|it| it.revision).collect();
    numbers.sort();
    numbers
}

#[tokio::test]
async fn what_is_over_is_deleted_and_what_goes_on_is_not() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let install = Install::new(&plane, &["starterRoles=false", "audit.retention=3s", PATIENT[0], PATIENT[1]]).await;
    let mut operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
    operator.ready().await;
    let stage = Stage::new(&client).await;
    let (kept, short) = (stage.role("view").await, stage.role("edit").await);
    stage.binding(&kept, "ada").await;
    let binding = stage.binding(&short, "ada").await;
    stage.person("ada", json!({})).await;
    let states = async || {
        let mut states: Vec<_> = grants(&client, "ada").await.into_iter().map(|grant| (grant.role, grant.state)).collect();
        states.sort_by(|left, right| left.0.cmp(&right.0));
        states
    };
    wait_until("both are recorded", SOON, async || if states().await.len() == 2 { Ok(()) } else { Err(format!("{:?}", states().await)) })
        .await;

    // The Role is edited twice while ada holds it: what it contained as she began is needed, what is between is not.
    for description in ["second", "third"] {
        edit(&client, "Role", &kept, json!({"description": description})).await;
        let before = revisions(&client, &kept).await.len();
        wait_until(
            "it is kept",
            SOON,
            async || if revisions(&client, &kept).await.len() >= before.max(2) { Ok(()) } else { Err("not yet") },
        )
        .await;
    }
    remove(&client, "Binding", &binding).await;
    remove(&client, "Role", &short).await;
    wait_until("what is over is gone", SOON, async || {
        let (states, gone) = (states().await, revisions(&client, &short).await);
        if states == [(kept.clone(), GrantState::Active)] && gone.is_empty() { Ok(()) } else { Err(format!("{states:?} {gone:?}")) }
    })
    .await;
    throughout("what goes on is kept, and she has it", Duration::from_secs(3), async || {
        let (states, kept) = (states().await, revisions(&client, &kept).await);
        if states.len() == 1 && kept.contains(&Some(1)) && kept.contains(&Some(3)) { Ok(()) } else { Err(format!("{states:?} {kept:?}")) }
    })
    .await;
    operator.terminate().await;
    plane.stop().await;
}

#[tokio::test]
async fn of_one_role_no_more_revisions_are_kept_than_asked_for() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let install = Install::new(&plane, &["starterRoles=false", "audit.revisionsPerRole=2", PATIENT[0], PATIENT[1]]).await;
    let mut operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
    operator.ready().await;
    let stage = Stage::new(&client).await;
    let role = stage.role("view").await;
    for number in 2..=4 {
        edit(&client, "Role", &role, json!({"description": format!("revision {number}")})).await;
        wait_until("it is kept", SOON, async || {
            let kept = revisions(&client, &role).await;
            if kept.last() == Some(&Some(number)) { Ok(()) } else { Err(format!("{kept:?}")) }
        })
        .await;
    }
    wait_until("two are left", SOON, async || {
        let kept = revisions(&client, &role).await;
        if kept == [Some(3), Some(4)] { Ok(()) } else { Err(format!("{kept:?}")) }
    })
    .await;
    operator.terminate().await;
    plane.stop().await;
}

/// The receipt is told that the workspace is going, and nothing more when it is gone.
#[tokio::test]
async fn a_receipt_that_was_kept_for_a_workspace_goes_after_it() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let install = Install::new(&plane, &["starterRoles=false", "audit.retention=3s", PATIENT[0], PATIENT[1]]).await;
    let mut operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
    operator.ready().await;
    developer(&client, "ada", json!({})).await;
    ready(&client, "ada").await;
    let hold = json!({"metadata": {"name": "hold", "finalizers": ["example.com/hold"]}});
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "dev-ada");
    maps.create(&PostParams::default(), &serde_json::from_value(hold).expect("a ConfigMap")).await.expect("made");
    edit(&client, "Developer", "ada", json!({"state": "Departed"})).await;
    let departures = kind(&client, "Departure").await;
    let states = async || {
        let list = departures.list(&ListParams::default()).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
        list.items.into_iter().map(|it| it.data["status"]["state"].clone()).collect::<Vec<_>>()
    };
    wait_until("the receipt is complete", SOON, async || if states().await == ["Complete"] { Ok(()) } else { Err(json!(states().await)) })
        .await;
    remove(&client, "Developer", "ada").await;
    Api::<Namespace>::all(client.clone()).delete("dev-ada", &DeleteParams::default()).await.expect("it is there");
    throughout("the receipt is kept while there is something of hers", Duration::from_secs(15), async || {
        if states().await.len() == 1 { Ok(()) } else { Err("it is gone") }
    })
    .await;
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("hold", &PatchParams::default(), &release).await.expect("it is there");
    wait_until("the receipt is gone, too", SOON, async || if states().await.is_empty() { Ok(()) } else { Err(json!(states().await)) })
        .await;
    operator.terminate().await;
    plane.stop().await;
}
