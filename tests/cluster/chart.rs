//! The chart by the real Helm: what the operator gets from it, and what stays when it goes.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::support::client::{apply, explain, kind};
use crate::support::install::Install;
use crate::support::{AuditLevel, ControlPlane, client_of};

/// The operator runs with these rights in every other test, so that what they prove holds for a real installation.
#[tokio::test]
async fn operator_has_the_rights_of_the_chart_and_no_more() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let install = Install::new(&plane, &[]).await;
    let operator = client_of(&install.kubeconfig()).await;
    assert_eq!(operator.default_namespace(), "usher-system");

    kind(&operator, "Developer").await.list(&ListParams::default()).await.unwrap();
    let secrets = Api::<Secret>::all(operator.clone());
    let refusal = secrets.list(&ListParams::default()).await.unwrap_err();
    assert!(explain(&refusal).contains("cannot list resource \"secrets\""), "{refusal}");
    let hers = ListParams::default().fields("metadata.name=usher-kubeconfig");
    assert_eq!(secrets.list(&hers).await.unwrap().items.len(), 0);
    plane.stop().await;
}

/// Uninstalling is not offboarding: the kinds, with all that people wrote, the identities and the role of workspaces stay.
#[tokio::test]
async fn uninstall_keeps_kinds_people_and_identities() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let install = Install::new(&plane, &[]).await;
    apply(&client, "{apiVersion: usher.dev/v1alpha1, kind: Developer, metadata: {name: ada}, spec: {email: ada@example.com}}").await;
    let before = kept(&client).await;
    assert_eq!(before.len(), usher::api::crds().len() + 3, "{before:?}");

    install.upgrade("charts/usher".as_ref(), &["starterRoles=false"]).await.ok();
    assert_eq!(kept(&client).await, before, "an upgrade replaces none of them");
    install.uninstall().await.ok();
    assert_eq!(kept(&client).await, before, "nor does an uninstall");
    let again = Install::new(&plane, &[]).await;
    assert_eq!(kept(&client).await, before, "nor does a reinstall");
    client_of(&again.kubeconfig()).await.apiserver_version().await.unwrap();
    plane.stop().await;
}

#[tokio::test]
async fn values_that_do_not_exist_are_refused() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let helm = async |values: &[&str]| Install::in_plane(&plane).helm(&["template", "usher", "charts/usher"], values).await;
    helm(&["starterRoles=false"]).await.ok();
    for value in ["starterRole=false", "fence.mayBindd={view}", "credentials.lifetime=a month", "replicas=many"] {
        let output = helm(&[value]).await;
        let field = value.split(['=', '.']).next().unwrap();
        assert!(!output.success && output.stderr.contains(field), "{value}: {output:?}");
    }
}

/// Names and UIDs of everything that outlives the chart.
async fn kept(client: &Client) -> Vec<(String, String)> {
    let mut kept = Vec::new();
    for crd in usher::api::crds() {
        kept.push(uid::<CustomResourceDefinition>(client, &crd.name_any()).await);
    }
    kept.push(uid::<Namespace>(client, "usher-identities").await);
    kept.push(uid::<ClusterRole>(client, "usher-developer").await);
    let ada = kind(client, "Developer").await.get("ada").await.unwrap();
    assert!(ada.metadata.deletion_timestamp.is_none());
    kept.push((ada.name_any(), ada.uid().unwrap()));
    kept
}

async fn uid<K>(client: &Client, name: &str) -> (String, String)
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let object = Api::<K>::all(client.clone()).get(name).await.unwrap_or_else(|error| panic!("{name}: {}", explain(&error)));
    assert!(object.meta().deletion_timestamp.is_none(), "{name} is going");
    (name.to_owned(), object.uid().expect("a UID"))
}
