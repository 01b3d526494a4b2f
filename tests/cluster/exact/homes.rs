//! What only shows among Environments. They are few and everybody's, so each test has a cluster of its own.

use serde_json::json;

use super::{Stage, VIEW};

/// The younger of two homes says which is the older; people keep the Secrets where they are.
#[tokio::test]
async fn of_two_home_environments_the_younger_is_a_conflict() {
    let stage = Stage::alone().await;
    stage.environment("prod", json!({"home": true, "workspace": {}})).await;
    let said = stage.says("Environment", "prod", "Accepted", ("False", "Conflict")).await;
    assert!(said.contains(&format!("uenv/{} is home already", stage.name("dev"))), "{said}");
    stage.says("Environment", "prod", "Stalled", ("True", "Conflict")).await;
    stage.says("Environment", "dev", "Ready", ("True", "AsPlanned")).await;
    stage.says("Developer", "ada", "Ready", ("True", "AsPlanned")).await;
    let home = format!("{}-{}", stage.name("dev"), stage.name("ada"));
    assert_eq!(stage.columns("dev", &stage.name("ada")).await["WORKSPACE"], home);
    stage.environment("prod", json!({"workspace": {}})).await;
    stage.says("Environment", "prod", "Ready", ("True", "AsPlanned")).await;
}

/// Without any Environment people say so, and have nothing; with one again they are as before.
#[tokio::test]
async fn without_an_environment_developers_say_so() {
    let mut stage = Stage::alone().await;
    stage.role("viewer", json!([stage.entry(&["dev"], json!({"clusterRoles": ["view"]}))])).await;
    let all = stage.cells(&["ada"], &["dev-pay", "dev-web"], VIEW);
    stage.step("bound", all.clone(), async |stage| stage.bind("all", "viewer", &["ada"], json!({})).await).await;
    let nothing = stage.cells(&[], &[], &[]);
    let delete = async |stage: &Stage| {
        for environment in ["dev", "staging", "prod"] {
            stage.delete("Environment", environment).await;
        }
    };
    stage.step("none is left", nothing, delete).await;
    let said = stage.says("Developer", "ada", "WorkspaceReady", ("False", "NoEnvironment")).await;
    assert!(said.contains("there is no Environment"), "{said}");
    stage.says("Developer", "ada", "Ready", ("False", "NoEnvironment")).await;
    stage.step("one is back", all, async |stage| stage.environment("dev", json!({})).await).await;
    stage.says("Developer", "ada", "Ready", ("True", "AsPlanned")).await;
}

/// Several, none of them home: there is nowhere to put the kubeconfig, and the Roles hold all the same.
#[tokio::test]
async fn without_a_home_only_credentials_are_missing() {
    let mut stage = Stage::alone().await;
    stage.role("viewer", json!([stage.entry(&["dev"], json!({"clusterRoles": ["view"]}))])).await;
    let all = stage.cells(&["ada"], &["dev-pay", "dev-web"], VIEW);
    stage.step("bound", all.clone(), async |stage| stage.bind("all", "viewer", &["ada"], json!({})).await).await;
    stage.step("no home", all, async |stage| stage.environment("dev", json!({"home": false})).await).await;
    let said = stage.says("Developer", "ada", "CredentialsReady", ("False", "NoEnvironment")).await;
    assert!(said.contains("home: true"), "{said}");
    stage.says("Developer", "ada", "AccessApplied", ("True", "AsPlanned")).await;
}

/// A workspace that was also a shared namespace would be everybody's.
#[tokio::test]
async fn workspace_labels_that_make_workspaces_shared_are_refused() {
    let mut stage = Stage::alone().await;
    stage.role("viewer", json!([stage.entry(&["dev", "prod"], json!({"clusterRoles": ["edit"]}))])).await;
    stage.bind("all", "viewer", &["bob"], json!({})).await;
    let all = stage.cells(&["bob"], &["dev-pay", "dev-web", "prod-pay", "prod-web"], super::EDIT);
    stage.stands(all.clone()).await;
    let workspace = json!({"workspace": {"labels": {"stage": stage.name("prod")}}});
    stage.step("labels", all, async |stage| stage.environment("dev", workspace).await).await;
    let said = stage.says("Environment", "dev", "Accepted", ("False", "InvalidSpec")).await;
    assert!(said.contains(&format!("uenv/{}", stage.name("prod"))), "{said}");
    stage.says("Environment", "dev", "Stalled", ("True", "InvalidSpec")).await;
    let said = stage.says("Developer", "ada", "WorkspaceReady", ("False", "InvalidSpec")).await;
    assert!(said.contains("workspace.labels"), "{said}");
    let home = format!("{}-{}", stage.name("dev"), stage.name("ada"));
    let bob = stage.subject_of("bob");
    assert!(!crate::support::access::can(&stage.client, &bob, "get", "pods", Some(&home)).await, "bob in ada's workspace");
    let labels = stage.read(&["namespace", &home]).await["metadata"]["labels"].clone();
    assert_eq!(labels.get("stage"), None, "{labels}");
}
