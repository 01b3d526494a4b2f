//! An API server that cannot stamp who asked: before Kubernetes 1.36 there is no MutatingAdmissionPolicy.

use kube::api::PostParams;
use serde_json::json;

use super::{allowed, create, impersonate, note, refused};
use crate::support::client::{dry_run, explain, kind};
use crate::support::fleet::object;
use crate::support::install::Install;
use crate::support::operator::Operator;
use crate::support::{AuditLevel, ControlPlane, wait_until};

/// What makes an API server of today one of yesterday, in this.
const OLDER: [&str; 2] = [
    "--runtime-config=admissionregistration.k8s.io/v1/mutatingadmissionpolicies=false,admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings=false",
    "--disable-admission-plugins=MutatingAdmissionPolicy",
];

#[tokio::test]
async fn an_older_api_server_lacks_the_stamp_and_nothing_else_and_says_so() {
    let plane = ControlPlane::exclusive_with(AuditLevel::Metadata, &OLDER).await;
    let install = Install::in_plane(&plane);
    let notes = install.helm(&["install", "usher", "charts/usher", "--create-namespace"], &[]).await.ok();
    assert!(notes.contains("MISSING") && notes.contains("MutatingAdmissionPolicy"), "{notes}");
    install.write_kubeconfig(&plane).await;
    let operator = Operator::start(&install).await;
    operator.ready().await;
    assert!(operator.log().contains("MutatingAdmissionPolicy"), "the operator says so, too");

    let bob = impersonate(&plane, "bob", &["system:masters"]).await;
    let signed = |name: &str| {
        let mut object = object("Developer", "ada", &json!({"email": "ada@example.com"}));
        object.metadata.annotations = Some([("usher.dev/requested-by".to_owned(), name.to_owned())].into());
        object
    };
    wait_until("usher-marks is in force", super::SOON, async || match dry_run(&bob, &signed("alice")).await {
        Err(error) if explain(&error).contains("usher-marks") => Ok(()),
        Err(error) => Err(explain(&error)),
        Ok(_) => Err("allowed".to_owned()),
    })
    .await;
    let developers = kind(&bob, "Developer").await;
    refused("another's name", developers.create(&PostParams::default(), &signed("alice")).await, "usher-marks");
    let made = allowed("her own", developers.create(&PostParams::default(), &signed("bob")).await);
    assert_eq!(note(&made, "requested-by").as_deref(), Some("bob"));
    let bare = allowed("none", create(&bob, "Developer", "eve", json!({"email": "eve@example.com"})).await);
    assert_eq!(note(&bare, "requested-by"), None);
    let own = json!({"email": "x@example.com", "workspaces": [{"environment": "dev", "namespace": "usher-system"}]});
    refused("what is refused everywhere", create(&bob, "Developer", "mallory", own).await, "usher-developers");
    plane.stop().await;
}
