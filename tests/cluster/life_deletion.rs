//! Workspaces that a written policy deletes: not before their visible date, not after a return, and then really.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::support::client;
use crate::support::install::Install;
use crate::support::operator::Operator;
use crate::support::people::{self, declare, developer, edit, reaches, remove, workspace};
use crate::support::{AuditLevel, ControlPlane, throughout, wait_until};

/// How long workspaces are kept.
const KEPT: SignedDuration = SignedDuration::from_secs(6);
/// The controller manager empties a namespace, then takes it away.
const DELETED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_workspace_is_deleted_at_its_date_unless_its_person_is_back() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let install = Install::new(&plane, &["environments.default=false", "starterRoles=false"]).await;
    let operator = Operator::start(&install).await;
    operator.ready().await;
    let client = plane.admin_client().await;
    let workspaces = json!({"onDeparture": {"action": "Delete", "deleteAfter": "6s"}});
    declare(&client, "Environment", "lab", json!({"home": true, "workspace": workspaces})).await;

    let people = [("gone", json!({})), ("deleted", json!({})), ("back", json!({})), ("again", json!({"personId": "7"}))];
    for (name, more) in &people {
        hired(&client, name, more.clone()).await;
    }
    let uid = people::uid_of(&client, "lab-back").await;
    let again = people::uid_of(&client, "lab-again").await;
    for name in ["gone", "back"] {
        edit(&client, "Developer", name, json!({"state": "Departed"})).await;
    }
    for name in ["deleted", "again"] {
        remove(&client, "Developer", name).await;
    }
    let date = date_of(&client, "lab-gone").await;
    let shown = reaches(&client, "Developer", "gone", "/status/workspaces/0/deleteAt", &date.to_string()).await;
    assert_eq!(shown.data["status"]["workspaces"][0]["namespace"], "lab-gone");
    for name in ["lab-deleted", "lab-back", "lab-again"] {
        date_of(&client, name).await;
    }

    edit(&client, "Developer", "back", json!({"state": "Active"})).await;
    developer(&client, "again", json!({"personId": "7"})).await;
    for name in ["back", "again"] {
        let returned = client::ready(&client, name).await;
        assert_eq!(returned.data["status"]["workspaces"][0].get("deleteAt"), None);
    }
    let until = Duration::try_from((date - SignedDuration::from_millis(100)).duration_since(Timestamp::now())).unwrap();
    throughout("nothing is deleted before its date", until, async || {
        let there = Api::<Namespace>::all(client.clone()).get_metadata("lab-gone").await.unwrap();
        if there.metadata.deletion_timestamp.is_none() || Timestamp::now() >= date { Ok(()) } else { Err("deleted early") }
    })
    .await;
    for name in ["lab-gone", "lab-deleted"] {
        wait_until(&format!("{name} is deleted"), DELETED_WITHIN, async || match people::namespace(&client, name).await {
            None => Ok(()),
            Some(there) => Err(format!("{:?}", there.metadata)),
        })
        .await;
    }
    for (name, uid) in [("back", uid), ("again", again)] {
        assert_eq!(people::uid_of(&client, &format!("lab-{name}")).await, uid, "{name}");
        let maps = Api::<ConfigMap>::namespaced(client.clone(), &format!("lab-{name}"));
        assert!(maps.get_opt("work").await.unwrap().is_some(), "{name}");
        let there = people::namespace(&client, &format!("lab-{name}")).await.unwrap();
        let notes = there.annotations();
        assert!(!notes.contains_key("usher.dev/delete-at") && !notes.contains_key("usher.dev/departed-at"), "{notes:?}");
    }
}

/// Somebody with content in her workspace.
async fn hired(client: &Client, name: &str, more: Value) {
    developer(client, name, more).await;
    let place = workspace(&client::ready(client, name).await);
    assert_eq!(place, format!("lab-{name}"));
    let map = serde_json::from_value(json!({"metadata": {"name": "work"}})).unwrap();
    Api::<ConfigMap>::namespaced(client.clone(), &place).create(&PostParams::default(), &map).await.unwrap();
}

/// The date on a workspace, which lies as far behind the departure as the policy says.
async fn date_of(client: &Client, name: &str) -> Timestamp {
    wait_until(&format!("{name} has a date"), Duration::from_secs(20), async || {
        let namespace = people::namespace(client, name).await.expect("it is there");
        let note = |key: &str| namespace.annotations().get(key).and_then(|at| at.parse::<Timestamp>().ok());
        let (departed, deleted) = (note("usher.dev/departed-at"), note("usher.dev/delete-at"));
        match departed.zip(deleted) {
            Some((departed, deleted)) => {
                assert_eq!(deleted.duration_since(departed), KEPT);
                Ok(deleted)
            }
            None => Err(format!("{:?}", namespace.annotations())),
        }
    })
    .await
}
