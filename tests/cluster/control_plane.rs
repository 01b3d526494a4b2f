//! The control plane itself: if its controllers did nothing, tests of deletion would pass for nothing.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, DeleteParams};
use serde_json::json;

use crate::support::client::{self, apply};
use crate::support::{AuditLevel, ControlPlane, bare, name, wait_until};

const SOON: Duration = Duration::from_mins(1);

#[tokio::test]
async fn deleted_namespace_disappears() {
    let client = bare().await.admin_client().await;
    let name = name("gone");
    client::namespace(&client, &name, &[]).await;
    let namespaces = Api::<Namespace>::all(client);
    namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
    wait_until("the namespace is gone", SOON, async || match namespaces.get_opt(&name).await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test]
async fn object_is_collected_when_its_owner_is_gone() {
    let client = bare().await.admin_client().await;
    let namespace = name("collect");
    client::namespace(&client, &namespace, &[]).await;
    let config_map = |name: &str, owners: serde_json::Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace, "ownerReferences": owners}})
            .to_string()
    };
    let owner = apply(&client, &config_map("owner", json!([]))).await;
    let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid});
    apply(&client, &config_map("owned", json!([reference]))).await;
    apply(&client, &config_map("free", json!([]))).await;

    let api = Api::<ConfigMap>::namespaced(client, &namespace);
    api.delete("owner", &DeleteParams::background()).await.unwrap();
    wait_until("what was owned is gone", SOON, async || match api.get_opt("owned").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(api.get_opt("free").await.unwrap().is_some(), "what nobody owns stays");
}

#[tokio::test]
async fn built_in_cluster_roles_are_aggregated() {
    let api = Api::<ClusterRole>::all(bare().await.admin_client().await);
    for (role, resource) in [("view", "configmaps"), ("edit", "configmaps"), ("admin", "rolebindings")] {
        let rules = api.get(role).await.unwrap().rules.unwrap_or_default();
        let found = rules.iter().any(|rule| rule.resources.iter().flatten().any(|name| name == resource));
        assert!(found, "{role} says nothing of {resource}: {rules:?}");
    }
}

#[tokio::test]
async fn quota_counts_and_refuses() {
    let client = bare().await.admin_client().await;
    let namespace = name("quota");
    client::namespace(&client, &namespace, &[]).await;
    // kube-root-ca.crt comes by itself, at any moment, and counts; Secrets do not.
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": namespace}, "spec": {"hard": {"secrets": "1"}}});
    apply(&client, &quota.to_string()).await;
    let quotas = Api::<ResourceQuota>::namespaced(client.clone(), &namespace);
    let wait_for_use = async |wanted: &str| {
        wait_until(&format!("the quota counts {wanted}"), SOON, async || {
            let used =
                quotas.get("few").await.map_err(|error| error.to_string())?.status.and_then(|status| status.used).unwrap_or_default();
            if used.get("secrets").is_some_and(|used| used.0 == wanted) { Ok(()) } else { Err(format!("{used:?}")) }
        })
        .await;
    };
    let secret = |name: &str| {
        client::manifest(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}).to_string())
    };

    wait_for_use("0").await;
    client::apply_as(&client, client::TEST, secret("one")).await.unwrap();
    wait_for_use("1").await;
    let refusal = client::apply_as(&client, client::TEST, secret("two")).await.unwrap_err();
    assert!(client::explain(&refusal).contains("exceeded quota: few"), "{refusal}");
}

#[tokio::test]
async fn new_namespace_gets_its_service_account() {
    let client = bare().await.admin_client().await;
    let namespace = name("account");
    client::namespace(&client, &namespace, &[]).await;
    let accounts = Api::<ServiceAccount>::namespaced(client, &namespace);
    wait_until("the ServiceAccount default is there", SOON, async || match accounts.get_opt("default").await {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test]
async fn stopped_control_plane_leaves_nothing() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    plane.admin_client().await.apiserver_version().await.unwrap();
    let (pids, dir) = (plane.pids(), plane.dir().to_owned());
    assert!(pids.into_iter().all(runs), "{pids:?}");
    plane.stop().await;
    assert!(!pids.into_iter().any(runs), "{pids:?}");
    assert!(std::env::var_os("USHER_TEST_DIR").is_some() || !dir.exists(), "{}", dir.display());
}

fn runs(pid: i32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    rustix::process::test_kill_process(pid).is_ok()
}
