//! Whoever has the operator's token: namespaces, identities, tokens and Secrets.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};

use super::fence::{Raid, ours};
use super::{allowed, namespaced, refused};
use crate::support::client::{self, apply, dry_run, manifest};
use crate::support::{name, wait_until};

const WORKSPACES: &str = "usher-fence-workspaces";
const CREDENTIALS: &str = "usher-fence-credentials";

/// Asks for a token of a ServiceAccount.
pub async fn mint(client: &Client, namespace: &str, account: &str, life: Duration) -> Result<TokenRequest, Error> {
    let request = TokenRequest {
        spec: Some(TokenRequestSpec { expiration_seconds: Some(life.as_secs().try_into().unwrap()), ..TokenRequestSpec::default() }),
        ..TokenRequest::default()
    };
    Api::<ServiceAccount>::namespaced(client.clone(), namespace).create_token_request(account, &PostParams::default(), &request).await
}

/// Waits until Kubernetes itself has made a ServiceAccount: it is asked for before admission is.
async fn exists(client: &Client, namespace: &str, account: &str) {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    wait_until(&format!("ServiceAccount {account} is in {namespace}"), Duration::from_mins(1), async || {
        accounts.get(account).await.map(drop).map_err(|error| client::explain(&error))
    })
    .await;
}

fn namespace(name: &str, more: &Value) -> kube::api::DynamicObject {
    let mut object = json!({"apiVersion": "v1", "kind": "Namespace"});
    super::merge(&mut object, more);
    object["metadata"]["name"] = name.into();
    manifest(&object.to_string())
}

/// What usher puts on a workspace, and what it puts on one that it takes over.
fn marks(adopted: bool) -> Value {
    let mut marks = ours();
    marks["metadata"]["labels"]["usher.dev/workspace"] = "nobody".into();
    if adopted {
        marks["metadata"]["annotations"]["usher.dev/adopted"] = "true".into();
    }
    marks
}

#[tokio::test]
async fn the_operator_makes_workspaces_and_no_other_namespace() {
    let raid = Raid::new().await;
    allowed("a workspace", raid.makes(&namespace(&name("w"), &marks(false))).await);
    refused("any namespace", raid.makes(&namespace(&name("w"), &ours())).await, WORKSPACES);
    refused("one without marks", raid.makes(&namespace(&name("w"), &json!({}))).await, WORKSPACES);
    refused("one of Kubernetes", raid.makes(&namespace(&format!("kube-{}", name("w")), &marks(false))).await, WORKSPACES);
}

#[tokio::test]
async fn the_operator_touches_no_namespace_of_others_but_to_take_it_over() {
    let raid = Raid::new().await;
    let theirs = namespace(&raid.place, &json!({}));
    refused(
        "a label that lets people in",
        raid.changes(&theirs, json!({"metadata": {"labels": {"usher.dev/managed": "true"}}})).await,
        WORKSPACES,
    );
    refused("making it its own", raid.changes(&theirs, ours()).await, WORKSPACES);
    refused("without saying whose it was", raid.changes(&theirs, marks(false)).await, WORKSPACES);
    refused("deleting it", raid.deletes(&theirs).await, WORKSPACES);
    allowed("as the workspace that somebody pins", raid.changes(&theirs, marks(true)).await);
    for system in ["kube-system", "default", "usher-identities", "usher-system"] {
        refused(system, raid.changes(&namespace(system, &json!({})), marks(true)).await, WORKSPACES);
        // Some of them Kubernetes itself protects first.
        let by = if system.starts_with("usher") { WORKSPACES } else { "may not be deleted" };
        refused(system, raid.deletes(&namespace(system, &json!({}))).await, by);
    }
    // Once taken over it is not deleted, nor is it forgotten that somebody else made it.
    let adopted = raid.stranger(namespace(&name("adopted"), &marks(true))).await;
    refused("deleting one that it took over", raid.deletes(&adopted).await, WORKSPACES);
    refused("forgetting", raid.changes(&adopted, json!({"metadata": {"annotations": {"usher.dev/adopted": null}}})).await, WORKSPACES);
    let own = raid.stranger(namespace(&name("own"), &marks(false))).await;
    allowed("deleting its own", raid.deletes(&own).await);
}

/// CVE of Capsule on the status and finalize sub-resources of namespaces: every door is looked at, not the front one only.
#[tokio::test]
async fn the_operator_writes_neither_status_nor_finalizers_of_namespaces() {
    let raid = Raid::new().await;
    let own = raid.stranger(namespace(&name("own"), &marks(false))).await;
    let name = own.metadata.name.clone().unwrap();
    for door in ["status", "finalize"] {
        let body = serde_json::to_vec(&own).unwrap();
        let request = http::Request::put(format!("/api/v1/namespaces/{name}/{door}?dryRun=All"))
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        refused(door, raid.operator.request::<Value>(request).await, WORKSPACES);
    }
}

#[tokio::test]
async fn the_operator_writes_quotas_limits_and_policies_in_workspaces_only() {
    let raid = Raid::new().await;
    let workspace = raid.workspace().await;
    for (version, kind) in [("v1", "ResourceQuota"), ("v1", "LimitRange"), ("networking.k8s.io/v1", "NetworkPolicy")] {
        let object = |place: &str| {
            let mut more = ours();
            more["spec"] = match kind {
                "ResourceQuota" => json!({"hard": {"pods": "1"}}),
                "LimitRange" => json!({"limits": []}),
                _ => json!({"podSelector": {}}),
            };
            namespaced(version, kind, place, "usher", &more)
        };
        allowed(kind, raid.makes(&object(&workspace)).await);
        refused(kind, raid.makes(&object(&raid.place)).await, WORKSPACES);
        refused(kind, raid.makes(&object("kube-system")).await, WORKSPACES);
    }
}

#[tokio::test]
async fn the_operator_issues_identities_and_tokens_in_their_namespace_only() {
    let raid = Raid::new().await;
    let workspace = raid.workspace().await;
    let account = |place: &str, name: &str, more: &Value| namespaced("v1", "ServiceAccount", place, name, more);
    allowed("an identity", raid.makes(&account("usher-identities", &name("ada"), &ours())).await);
    refused("one without marks", raid.makes(&account("usher-identities", &name("ada"), &json!({}))).await, CREDENTIALS);
    for place in [raid.place.as_str(), workspace.as_str(), "kube-system"] {
        refused(place, raid.makes(&account(place, &name("ada"), &ours())).await, CREDENTIALS);
        exists(&raid.siege.client, place, "default").await;
        refused(place, mint(&raid.operator, place, "default", Duration::from_mins(10)).await.map(drop), CREDENTIALS);
    }
    let theirs = raid.stranger(account("usher-identities", &name("theirs"), &json!({}))).await;
    refused("relabelling a stranger's", raid.changes(&theirs, ours()).await, CREDENTIALS);
    refused("deleting a stranger's", raid.deletes(&theirs).await, CREDENTIALS);
    let own = raid.stranger(account("usher-identities", &name("own"), &ours())).await;
    let issued = mint(&raid.operator, "usher-identities", own.metadata.name.as_deref().unwrap(), Duration::from_mins(10)).await;
    allowed("a token of its own", issued);
    // A departure seals workspaces: the ServiceAccounts in them go.
    let sealed = raid.stranger(account(&workspace, &name("bot"), &json!({}))).await;
    allowed("sealing", raid.deletes(&sealed).await);
    refused("rather than changing it", raid.changes(&sealed, ours()).await, CREDENTIALS);
    let elsewhere = raid.stranger(account(&raid.place, &name("bot"), &json!({}))).await;
    refused("anywhere else", raid.deletes(&elsewhere).await, CREDENTIALS);
}

#[tokio::test]
async fn the_operator_writes_its_own_secrets_in_workspaces_only() {
    let raid = Raid::new().await;
    let workspace = raid.workspace().await;
    let secret = |place: &str, name: &str, more: &Value| namespaced("v1", "Secret", place, name, more);
    for name in ["usher-kubeconfig", "usher-accounts"] {
        allowed(name, raid.makes(&secret(&workspace, name, &ours())).await);
        refused("without marks", raid.makes(&secret(&workspace, name, &json!({}))).await, CREDENTIALS);
        for place in [raid.place.as_str(), "kube-system", "usher-system"] {
            refused(place, raid.makes(&secret(place, name, &ours())).await, CREDENTIALS);
        }
    }
    refused("another name", raid.makes(&secret(&workspace, "else", &ours())).await, CREDENTIALS);
    let mut token = ours();
    token["type"] = "kubernetes.io/service-account-token".into();
    token["metadata"]["annotations"]["kubernetes.io/service-account.name"] = "default".into();
    refused("a token without an end", raid.makes(&secret(&workspace, "usher-kubeconfig", &token)).await, CREDENTIALS);
    let theirs = raid.stranger(secret(&workspace, "usher-accounts", &json!({}))).await;
    refused("relabelling a stranger's", raid.changes(&theirs, ours()).await, CREDENTIALS);
    refused("deleting a stranger's", raid.deletes(&theirs).await, CREDENTIALS);
}

/// No policy sees reads, so RBAC alone limits them: with the operator's real token.
#[tokio::test]
async fn the_operator_reads_no_secret_but_those_of_its_own_names() {
    let raid = Raid::new().await;
    let operator = raid.siege.operator().await;
    let theirs = apply(
        &raid.admin,
        &format!("{{apiVersion: v1, kind: Secret, metadata: {{name: db, namespace: {}}}, stringData: {{a: b}}}}", raid.place),
    )
    .await;
    let all = Api::<Secret>::all(operator.clone());
    let here = Api::<Secret>::namespaced(operator.clone(), &raid.place);
    refused("one", here.get(theirs.metadata.name.as_deref().unwrap()).await, "cannot get resource \"secrets\"");
    refused("all", all.list(&ListParams::default()).await.map(|list| list.items.len()), "cannot list resource \"secrets\"");
    let named = |name: &str| ListParams::default().fields(&format!("metadata.name={name}"));
    refused("all of another name", all.list(&named("db")).await.map(|list| list.items.len()), "cannot list resource \"secrets\"");
    allowed("all of its own name", all.list(&named("usher-kubeconfig")).await);
    for object in [client::manifest("{apiVersion: v1, kind: Pod, metadata: {name: x, namespace: default}, spec: {containers: []}}")] {
        refused("a pod that would mount one", dry_run(&operator, &object).await, "cannot create resource \"pods\"");
    }
}
