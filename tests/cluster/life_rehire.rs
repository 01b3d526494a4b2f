//! The same name again: the same person finds what she left, and somebody else finds nothing of it.

use std::time::{Duration, Instant};

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::support::access::{Matrix, Questions, can};
use crate::support::client::{self, condition, kind};
use crate::support::people::{self, Stage, account, developer, remove, workspace};
use crate::support::{install, name, operated, wait_until};

const TIMES: usize = 50;
const REFUSED_WITHIN: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_same_person_fifty_times_keeps_her_workspace_and_no_old_token() {
    let shared = operated().await;
    let client = &shared.client;
    let stage = Stage::new(client).await;
    let person = name("ada");
    let role = stage.role("view").await;
    stage.binding(&role, &person).await;
    let number = json!({"personId": name("person")});
    let mut tokens = Vec::new();
    let mut uid = None;
    for _ in 0..TIMES {
        let ada = stage.person(&person, number.clone()).await;
        let now = people::uid_of(client, &workspace(&ada)).await;
        assert_eq!(*uid.get_or_insert_with(|| now.clone()), now);
        tokens.push(people::kubeconfig(client, &workspace(&ada)).await);
        remove(client, "Developer", &person).await;
    }
    let since = Instant::now();
    let ada = stage.person(&person, number).await;
    assert_eq!(Some(people::uid_of(client, &workspace(&ada)).await), uid);
    let newest = people::kubeconfig(client, &workspace(&ada)).await;
    let user = format!("system:serviceaccount:{}:{}", people::IDENTITIES, account(&ada));
    assert_eq!(people::whoami(&newest).await, Ok(user.clone()));
    assert!(can(client, &people::subject(&ada), "get", "pods", Some(&stage.shared)).await);
    people::all_refused(&tokens, REFUSED_WITHIN.saturating_sub(since.elapsed())).await;
    assert_eq!(people::whoami(&newest).await, Ok(user));
}

#[tokio::test]
async fn strangers_of_one_name_fifty_times_get_their_roles_and_nothing_of_the_first() {
    let shared = operated().await;
    let client = &shared.client;
    let stage = Stage::new(client).await;
    let person = name("ada");
    let role = stage.role("view").await;
    stage.binding(&role, &person).await;
    let first = stage.person(&person, json!({})).await;
    let place = workspace(&first);
    let uid = people::uid_of(client, &place).await;
    let mut tokens = vec![people::kubeconfig(client, &place).await];
    let mut accounts = vec![account(&first)];
    remove(client, "Developer", &person).await;
    for _ in 1..TIMES {
        developer(client, &person, json!({})).await;
        let stranger = refused(client, &person, &place).await;
        let subject = people::subject(&stranger);
        let questions = Questions::new(&[("she", subject)], &[&stage.shared, &place], &["get pods", "get secrets"]);
        questions.settle(client, SOON, &questions.cells(&["she"], &[&stage.shared], &["get pods"])).await;
        assert!(people::secret(client, &place).await.is_none(), "no credentials of hers in what another left");
        tokens.push(token_of(&shared.all.plane, &account(&stranger)).await);
        accounts.push(account(&stranger));
        remove(client, "Developer", &person).await;
    }
    let since = Instant::now();
    assert_eq!(people::uid_of(client, &place).await, uid);
    accounts.sort();
    accounts.dedup();
    assert_eq!(accounts.len(), TIMES, "everybody has an identity of her own");
    nobody_is_bound(client, &stage.shared, &person).await;
    people::all_refused(&tokens, REFUSED_WITHIN.saturating_sub(since.elapsed())).await;
}

/// Waits until the condition and the column say that the workspace is somebody else's, and what to do.
async fn refused(client: &kube::Client, person: &str, place: &str) -> kube::api::DynamicObject {
    let developer = client::wait_for_condition(&kind(client, "Developer").await, person, "Stalled", "True").await;
    let conflict = condition(&developer, "WorkspaceReady").unwrap();
    assert_eq!((&conflict["status"], &conflict["reason"]), (&json!("False"), &json!("Conflict")));
    let message = conflict["message"].as_str().unwrap();
    for word in [place, "another person", "pin another namespace", "delete it"] {
        assert!(message.contains(word), "{message}");
    }
    let column = developer.data["status"]["summary"]["message"].as_str().unwrap();
    assert!(column.starts_with(message), "{column}");
    assert_eq!(workspace(&developer), "", "nothing of the first one's shows");
    assert_eq!(developer.data["status"].get("workspaces").unwrap_or(&json!([])), &json!([]));
    developer
}

/// A token for a ServiceAccount of somebody who has no Secret, as a kubeconfig.
async fn token_of(plane: &crate::support::ControlPlane, account: &str) -> String {
    let token = install::token(plane, people::IDENTITIES, account).await;
    let file = plane.dir().join(format!("{account}.kubeconfig"));
    install::write_kubeconfig(&file, plane, &token, "default");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(people::whoami(&text).await, Ok(format!("system:serviceaccount:{}:{account}", people::IDENTITIES)));
    text
}

async fn nobody_is_bound(client: &kube::Client, namespace: &str, person: &str) {
    let bindings = Api::<RoleBinding>::namespaced(client.clone(), namespace).list(&ListParams::default()).await.unwrap();
    let text = serde_json::to_string(&bindings.items).unwrap();
    assert!(!text.contains(person), "{text}");
}

#[tokio::test]
async fn a_person_id_that_is_added_later_keeps_the_workspace() {
    let shared = operated().await;
    let client = &shared.client;
    let stage = Stage::new(client).await;
    let person = name("ada");
    let role = stage.role("view").await;
    stage.binding(&role, &person).await;
    let before = stage.person(&person, json!({})).await;
    let uid = people::uid_of(client, &workspace(&before)).await;
    let number = json!({"personId": name("person")});

    people::edit(client, "Developer", &person, number.clone()).await;
    let after = client::ready(client, &person).await;
    assert_eq!(workspace(&after), workspace(&before));
    assert_eq!(people::uid_of(client, &workspace(&after)).await, uid);
    let subject = people::subject(&after);
    let questions = Questions::new(&[("ada", subject)], &[&stage.shared, &workspace(&after)], &["get pods"]);
    let all = questions.cells(&["ada"], &[&stage.shared, &workspace(&after)], &["get pods"]);
    questions.settle(client, SOON, &all).await;
    let user = format!("system:serviceaccount:{}:{}", people::IDENTITIES, account(&after));
    wait_until("her kubeconfig is for her new identity", SOON, async || {
        let seen = people::whoami(&people::kubeconfig(client, &workspace(&after)).await).await;
        if seen == Ok(user.clone()) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;

    remove(client, "Developer", &person).await;
    let again = stage.person(&person, number).await;
    assert_eq!(people::uid_of(client, &workspace(&again)).await, uid, "now she is known by her number");
}

/// What a restore from a backup brings: the first one's workspace with a Secret in it, and no mark that she departed.
#[tokio::test]
async fn a_stranger_of_the_same_name_never_gets_the_first_ones_secret() {
    let shared = operated().await;
    let client = &shared.client;
    let stage = Stage::new(client).await;
    let person = name("ada");
    let first = stage.person(&person, json!({"personId": name("first")})).await;
    let place = workspace(&first);
    let token = people::kubeconfig(client, &place).await;
    remove(client, "Developer", &person).await;
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone());
    let unmark = json!({"metadata": {"annotations": {"usher.dev/departed-at": null}}});
    namespaces.patch(&place, &PatchParams::default(), &Patch::Merge(unmark)).await.unwrap();
    let old = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: usher-kubeconfig, namespace: {place}}}, stringData: {{kubeconfig: old}}}}"
    );
    client::apply(client, &old).await;

    developer(client, &person, json!({"personId": name("second")})).await;
    let second = refused(client, &person, &place).await;
    let questions = Questions::new(&[("second", people::subject(&second))], &[&place], &["get secrets", "get pods"]);
    questions.settle(client, SOON, &Matrix::new()).await;
    let secret = people::secret(client, &place).await.expect("it stays");
    assert_eq!(secret.data.unwrap()["kubeconfig"].0, b"old");
    people::all_refused(&[token], REFUSED_WITHIN).await;
}
