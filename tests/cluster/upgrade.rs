//! From the chart of an earlier commit to this one, with people in place.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::Api;
use tempfile::TempDir;
use tokio::process::Command;

use crate::absence::{House, VALUES};
use crate::support::audit::{Audit, lines};
use crate::support::fleet::list;
use crate::support::install::Install;
use crate::support::{AuditLevel, ControlPlane};

const CHART: &str = "charts/usher";
/// Until the upgrade, today's operator stands in for yesterday's. What it may need beyond yesterday's chart it has by this; afterwards today's chart has to do.
const YESTERDAY: &str = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: yesterday},
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin},
    subjects: [{kind: ServiceAccount, name: usher, namespace: usher-system}]}";

/// What git prints, if there is a git and a repository that knows the answer.
async fn git(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.args(["-C", env!("CARGO_MANIFEST_DIR")]).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().await.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The last commit whose chart was another one than that of this checkout.
async fn commit_before() -> Option<String> {
    let history = git(&["log", "-n", "2", "--format=%H", "--", CHART]).await?;
    let edited = !git(&["status", "--porcelain", "--", CHART]).await?.is_empty();
    history.lines().nth(usize::from(!edited)).map(str::to_owned)
}

/// The chart before this one, unpacked; in a checkout that has no history, this one.
async fn previous(scratch: &TempDir) -> PathBuf {
    let Some(commit) = commit_before().await else {
        println!("this checkout has no earlier chart: upgrading from the present one");
        return PathBuf::from(CHART);
    };
    let file = scratch.path().join("chart.tar");
    let path = file.to_str().expect("a path in UTF-8");
    git(&["archive", "--output", path, &commit, CHART]).await.expect("a commit that is there");
    let mut tar = Command::new("tar");
    let status = tar.arg("-xf").arg(&file).arg("-C").arg(scratch.path()).status().await.expect("tar");
    assert!(status.success());
    println!("upgrading from the chart of {commit}");
    scratch.path().join(CHART)
}

#[tokio::test]
async fn upgrade_from_the_previous_chart_changes_nothing_for_people() {
    let scratch = TempDir::new().expect("a folder");
    let mut house = House::with(&previous(&scratch).await, &[YESTERDAY]).await;
    let kinds = async || {
        let crds = list::<CustomResourceDefinition>(Api::all(house.client.clone())).await;
        crds.iter().map(|crd| (crd.name_any(), crd.uid())).collect::<Vec<_>>()
    };
    let before = kinds().await;
    house.unharmed("the upgrade", async { drop(house.install.upgrade(Path::new(CHART), &VALUES).await.ok()) }).await;
    house.plane.kubectl(&["delete", "clusterrolebinding", "yesterday"]).await.ok();
    assert_eq!(kinds().await, before, "kinds are upgraded, never replaced: their objects would go");

    let audit = Audit::from_now(&house.plane);
    house.operator.restart().await;
    house.operator.ready().await;
    house.unharmed("the operator is started anew", async { house.ready().await }).await;
    house.removes_as_usual().await;
    let refused: Vec<_> = audit.operator().into_iter().filter(|event| event.code == 403).collect();
    assert!(refused.is_empty(), "refused by the upgraded chart:{}", lines(&refused));
    house.plane.stop().await;
}

#[tokio::test]
async fn chart_passes_lint_and_wrong_values_are_explained() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let install = Install::in_plane(&plane);
    let lint = install.helm(&["lint", CHART, "--strict"], &[]).await.ok();
    assert!(lint.contains("0 chart(s) failed") && !lint.contains("[WARNING]"), "{lint}");
    for (value, place, says) in [
        ("fence.mayBind=view", "/fence/mayBind", "want array"),
        ("log.format=xml", "/log/format", "must be one of 'json', 'text'"),
        ("leaderElection.leaseDuration=500ms", "/leaderElection/leaseDuration", "does not match"),
        ("image.digest=abc", "/image/digest", "sha256"),
        ("networkPolicy.apiServerPorts={70000}", "/networkPolicy/apiServerPorts/0", "want 65,535"),
        ("fence.clusterScope.verb={get}", "/fence/clusterScope", "'verb' not allowed"),
    ] {
        let output = install.helm(&["template", "usher", CHART], &[value]).await;
        assert!(!output.success && output.stderr.contains(place) && output.stderr.contains(says), "{value}: {output:?}");
    }
    plane.stop().await;
}
