//! What a Role contained at each revision: kept, once for each edit, and not by usher's kinds.

use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

use crate::support::client::{explain, kind};
use crate::support::install::NAMESPACE;
use crate::support::people::{Stage, edit, grants, remove};
use crate::support::{name, operated, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// The revisions of a Role, the first one first.
async fn revisions(stage: &Stage, role: &str) -> Vec<ControllerRevision> {
    let api = Api::<ControllerRevision>::namespaced(stage.client.clone(), NAMESPACE);
    let list = api.list(&ListParams::default().labels(&format!("usher.dev/role={role}"))).await;
    let mut revisions = list.unwrap_or_else(|error| panic!("{}", explain(&error))).items;
    revisions.sort_by_key(|revision| revision.revision);
    revisions
}

async fn there_are(stage: &Stage, role: &str, count: usize) -> Vec<ControllerRevision> {
    wait_until(&format!("{count} revisions"), SOON, async || {
        let found = revisions(stage, role).await;
        if found.len() == count { Ok(found) } else { Err(format!("{found:#?}")) }
    })
    .await
}

#[tokio::test]
async fn each_edit_of_a_role_is_kept_as_a_revision_that_grants_name() {
    let shared = operated().await;
    let stage = Stage::new(&shared.client).await;
    let (person, role) = (name("ada"), stage.role("view").await);
    there_are(&stage, &role, 1).await;
    let entry = json!({"name": "work", "environments": [stage.environment], "clusterRoles": ["edit"]});
    edit(&stage.client, "Role", &role, json!({"access": [entry], "description": "more"})).await;
    let found = there_are(&stage, &role, 2).await;
    stage.binding(&role, &person).await;
    stage.person(&person, json!({})).await;

    let live = kind(&stage.client, "Role").await.get(&role).await.unwrap();
    assert_eq!(found[1].revision, live.metadata.generation);
    assert_eq!(found[1].data.0, live.data["spec"], "exactly what was written");
    assert_eq!(found[0].data.0["access"][0]["clusterRoles"], json!(["view"]));
    let grant = wait_until("a Grant", SOON, async || grants(&stage.client, &person).await.pop().ok_or("none")).await;
    assert_eq!(Some(grant.role_revision), found[1].revision);

    // What it was like is kept when the Role is no more, and nothing of usher's kinds could take it along.
    remove(&stage.client, "Role", &role).await;
    let kept = there_are(&stage, &role, 2).await;
    assert!(kept.iter().all(|revision| revision.metadata.owner_references.is_none()));
}

#[tokio::test]
async fn the_revision_in_force_comes_back_when_somebody_deletes_it() {
    let shared = operated().await;
    let stage = Stage::new(&shared.client).await;
    let role = stage.role("view").await;
    let first = there_are(&stage, &role, 1).await.remove(0);
    // Access that came by a later pass of the Role says that the pass which wrote the revision is over.
    let person = name("ada");
    stage.binding(&role, &person).await;
    stage.person(&person, json!({})).await;
    let api = Api::<ControllerRevision>::namespaced(stage.client.clone(), NAMESPACE);
    api.delete(first.metadata.name.as_deref().unwrap(), &DeleteParams::default()).await.unwrap();
    wait_until("it is there again", SOON, async || {
        let found = revisions(&stage, &role).await;
        let again = found.first().filter(|again| again.metadata.uid != first.metadata.uid);
        again.map(|again| assert_eq!((&again.data, again.revision), (&first.data, first.revision))).ok_or_else(|| format!("{found:?}"))
    })
    .await;
}
