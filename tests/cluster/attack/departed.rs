//! Somebody who has left, and what she prepared while she could.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::credentials::mint;
use super::namespaced;
use crate::leaving::Leaver;
use crate::support::access::{Subject, can};
use crate::support::client::{apply, explain};
use crate::support::people::{IDENTITIES, all_refused, edit, whoami};
use crate::support::{throughout, wait_until};

const SOON: Duration = Duration::from_mins(1);

/// The kubeconfig of somebody, with another token in it.
fn with_token(kubeconfig: &str, token: &str) -> String {
    let mut config: serde_json::Value = serde_saphyr::from_str(kubeconfig).unwrap();
    config["users"][0]["user"]["token"] = token.into();
    config.to_string()
}

/// A token of ten years, as an administrator may mint it.
async fn for_ten_years(client: &Client, namespace: &str, account: &str) -> String {
    let answer = mint(client, namespace, account, Duration::from_hours(24 * 3_650)).await;
    answer.unwrap_or_else(|error| panic!("{}", explain(&error))).status.unwrap().token.unwrap()
}

#[tokio::test]
async fn a_departed_persons_kubeconfig_and_every_token_of_hers_are_refused() {
    let ada = Leaver::new(json!({})).await;
    let long = with_token(&ada.kubeconfig, &for_ten_years(&ada.client, IDENTITIES, &ada.account).await);
    for kubeconfig in [&ada.kubeconfig, &long] {
        assert_eq!(whoami(kubeconfig).await.as_deref(), Ok(format!("system:serviceaccount:{IDENTITIES}:{}", ada.account).as_str()));
    }
    ada.departs().await;
    ada.receipt("Complete").await;
    all_refused(&[ada.kubeconfig.clone(), long.clone()], Duration::from_secs(15)).await;
    // Nor do they work for somebody of that name who comes later.
    edit(&ada.client, "Developer", &ada.person, json!({"state": "Active"})).await;
    wait_until("she is back", SOON, async || if ada.may(&ada.workspace).await { Ok(()) } else { Err("she may not") }).await;
    assert_eq!((whoami(&ada.kubeconfig).await, whoami(&long).await), (Err(401), Err(401)));
}

/// A robot in her workspace, with a token that has no end and a right in a shared namespace, was her way back in.
#[tokio::test]
async fn a_service_account_and_a_token_secret_left_behind_in_a_workspace_are_dead() {
    let ada = Leaver::new(json!({})).await;
    apply(&ada.client, &format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: robot, namespace: {}}}}}", ada.workspace)).await;
    let kind = json!({"type": "kubernetes.io/service-account-token", "metadata": {"annotations": {"kubernetes.io/service-account.name": "robot"}}});
    let secrets = Api::<Secret>::namespaced(ada.client.clone(), &ada.workspace);
    let left: Secret = serde_json::from_value(json!(namespaced("v1", "Secret", &ada.workspace, "left", &kind))).unwrap();
    secrets.create(&PostParams::default(), &left).await.unwrap();
    let token = wait_until("the token is in the Secret", SOON, async || {
        let data = secrets.get("left").await.map_err(|error| explain(&error))?.data.unwrap_or_default();
        data.get("token").map(|token| String::from_utf8(token.0.clone()).unwrap()).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    let minted = for_ten_years(&ada.client, &ada.workspace, "robot").await;
    let ways = [with_token(&ada.kubeconfig, &token), with_token(&ada.kubeconfig, &minted)];
    for way in &ways {
        assert!(whoami(way).await.is_ok_and(|user| user.ends_with(":robot")));
    }
    ada.departs().await;
    ada.receipt("Complete").await;
    all_refused(&ways, SOON).await;
    let accounts = Api::<ServiceAccount>::namespaced(ada.client.clone(), &ada.workspace);
    assert!(accounts.get_opt("robot").await.unwrap().is_none());
    wait_until("the Secret went with its ServiceAccount", SOON, async || match secrets.get_opt("left").await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err("it is there".to_owned()),
        Err(error) => Err(explain(&error)),
    })
    .await;
}

#[tokio::test]
async fn a_role_binding_left_by_a_colleague_gives_a_departed_person_nothing() {
    let ada = Leaver::new(json!({})).await;
    let hers = format!("{{kind: ServiceAccount, name: {}, namespace: {IDENTITIES}}}", ada.account);
    ada.colleague_binds(&ada.stage.shared, "left", "admin", &hers).await;
    let cluster = format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: left-{}}},
          roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}, subjects: [{hers}]}}",
        ada.person
    );
    apply(&ada.client, &cluster).await;
    wait_until("she has more than usher gave", SOON, async || {
        if can(&ada.client, &ada.subject(), "delete", "nodes", None).await { Ok(()) } else { Err("not yet") }
    })
    .await;
    ada.departs().await;
    ada.receipt("Complete").await;
    assert!(!can(&ada.client, &ada.subject(), "delete", "nodes", None).await);
    assert!(!can(&ada.client, &ada.subject(), "create", "pods", Some(&ada.stage.shared)).await);
    // A colleague of good will makes another one. It does not last.
    ada.colleague_binds(&ada.stage.shared, "late", "admin", &hers).await;
    wait_until("it is taken out", SOON, async || {
        let binding = ada.role_binding(&ada.stage.shared, "late").await.unwrap();
        if binding.subjects.unwrap_or_default().is_empty() { Ok(()) } else { Err("she is in it") }
    })
    .await;
    // What decides follows what is written a moment later.
    wait_until("it gives her nothing", SOON, async || {
        let may = can(&ada.client, &ada.subject(), "create", "pods", Some(&ada.stage.shared)).await;
        if may { Err("she may") } else { Ok(()) }
    })
    .await;
}

/// A return puts back what usher may give, and no way to more.
#[tokio::test]
async fn a_return_puts_back_nothing_that_usher_may_not_give_and_hangs_on_nothing() {
    let ada = Leaver::new(json!({})).await;
    let bob = "{kind: User, name: bob, apiGroup: rbac.authorization.k8s.io}";
    for (binding, gives) in [("may", "view"), ("may-not", "cluster-admin")] {
        ada.colleague_binds(&ada.workspace, binding, gives, bob).await;
    }
    ada.departs().await;
    let receipt = ada.receipt("Complete").await;
    assert_eq!(receipt.data["status"]["sealed"].as_array().map(Vec::len), Some(2), "{}", receipt.data["status"]);
    edit(&ada.client, "Developer", &ada.person, json!({"state": "Active"})).await;
    wait_until("what may be put back is", SOON, async || {
        let back = ada.role_binding(&ada.workspace, "may").await.is_some();
        if back && ada.may(&ada.workspace).await && ada.may(&ada.stage.shared).await { Ok(()) } else { Err(format!("back: {back}")) }
    })
    .await;
    crate::support::client::ready(&ada.client, &ada.person).await;
    throughout("the other is not", Duration::from_secs(2), async || {
        if ada.role_binding(&ada.workspace, "may-not").await.is_none() { Ok(()) } else { Err("it is back") }
    })
    .await;
    assert!(!can(&ada.client, &Subject::user("bob"), "create", "pods", Some(&ada.workspace)).await);
}
