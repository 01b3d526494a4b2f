//! Cluster-wide rules need every Environment of the cluster, so this has a cluster of its own.

use serde_json::{Value, json};

use super::{Stage, VIEW};
use crate::support::access::Matrix;

const GEARS: &[&str] = &["list gears.example.com"];
const NAMES: [&str; 3] = ["dev", "staging", "prod"];

fn gears(environments: Vec<String>) -> Value {
    let rules = json!([{"apiGroups": ["example.com"], "resources": ["gears"], "verbs": ["list"]}]);
    json!({"name": "wide", "environments": environments, "cluster": true, "rules": rules})
}

async fn role(stage: &Stage, environments: Vec<String>) {
    let look = stage.entry(&["dev"], json!({"clusterRoles": ["view"]}));
    stage.role("wide", json!([look, gears(environments)])).await;
}

/// Allows cluster-wide rules in an Environment, or not.
async fn allow(stage: &Stage, what: &str, allowed: bool) {
    stage.environment(what, json!({"allowClusterScope": allowed})).await;
}

async fn narrowed(stage: &Stage, because: &str) {
    let said = stage.says("Role", "wide", "AccessApplied", ("False", "ClusterAccessNarrowed")).await;
    assert!(said.contains(because), "{said}");
}

/// The stage where all is allowed, what everybody has without the cluster-wide rules, and with them.
async fn stage() -> (Stage, Matrix, Matrix) {
    let mut stage = Stage::alone().await;
    let few = stage.cells(&["ada", "bob"], &["dev-pay", "dev-web"], VIEW);
    stage
        .step("bound", few.clone(), async |stage| {
            role(stage, stage.names(&NAMES)).await;
            stage.bind("all", "wide", &["ada", "bob"], json!({})).await;
        })
        .await;
    let all = &few | &stage.everywhere(&["ada", "bob"], GEARS);
    (stage, few, all)
}

#[tokio::test]
async fn cluster_wide_rules_need_every_environment_of_the_cluster() {
    let (mut stage, few, all) = stage().await;
    narrowed(&stage, "does not allow it (allowClusterScope)").await;
    stage.step("one", few.clone(), async |stage| allow(stage, "dev", true).await).await;
    stage.step("two", few.clone(), async |stage| allow(stage, "staging", true).await).await;
    stage.step("every one", all.clone(), async |stage| allow(stage, "prod", true).await).await;
    stage.says("Role", "wide", "Ready", ("True", "AsPlanned")).await;
    stage.step("one not", few.clone(), async |stage| allow(stage, "staging", false).await).await;
    narrowed(&stage, &format!("uenv/{} does not allow it", stage.name("staging"))).await;
    stage.step("all again", all.clone(), async |stage| allow(stage, "staging", true).await).await;

    let names = stage.names(&["dev", "staging"]);
    stage.step("one is not named", few.clone(), async |stage| role(stage, names).await).await;
    narrowed(&stage, &format!("uenv/{} is on the same cluster and is not named", stage.name("prod"))).await;
    let star = vec!["*".to_owned()];
    stage.step("every one by *", all.clone(), async |stage| role(stage, star).await).await;
    let new = async |stage: &Stage| stage.environment("fourth", json!({})).await;
    stage.step("a new one that does not allow it", few.clone(), new).await;
    stage.step("which does", all.clone(), async |stage| allow(stage, "fourth", true).await).await;
    let names = stage.names(&NAMES);
    stage.step("named one by one", few.clone(), async |stage| role(stage, names).await).await;
    stage.step("it goes", all, async |stage| stage.delete("Environment", "fourth").await).await;
    let observe = json!({"allowClusterScope": true, "mode": "Observe"});
    stage.step("one is only observed", few, async |stage| stage.environment("prod", observe).await).await;
    narrowed(&stage, &format!("uenv/{} is only observed", stage.name("prod"))).await;
}

#[tokio::test]
async fn cluster_wide_rules_follow_people_and_rules() {
    let (mut stage, few, all) = stage().await;
    for name in NAMES {
        allow(&stage, name, true).await;
    }
    stage.stands(all.clone()).await;
    let only = json!({"environments": stage.names(&["dev", "staging"])});
    stage.step("a narrower Binding", few.clone(), async |stage| stage.bind("all", "wide", &["ada", "bob"], only).await).await;
    let bob = &few | &stage.everywhere(&["bob"], GEARS);
    let every = json!({"environments": stage.names(&NAMES)});
    stage.step("one whole Binding", bob, async |stage| stage.bind("bob", "wide", &["bob"], every).await).await;
    stage.step("as before", all.clone(), async |stage| stage.bind("all", "wide", &["ada", "bob"], json!({})).await).await;
    let without_ada = all.iter().filter(|cell| cell.person != "ada").cloned().collect();
    let suspend = async |stage: &Stage| stage.developer("ada", json!({"state": "Suspended"})).await;
    stage.step("suspended", without_ada, suspend).await;
    stage.step("back", all.clone(), async |stage| stage.developer("ada", json!({})).await).await;

    let other = &few | &stage.everywhere(&["ada", "bob"], super::GET);
    let edit = async |stage: &Stage| {
        let mut entry = gears(stage.names(&NAMES));
        entry["rules"] = json!([{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]);
        stage.role("wide", json!([stage.entry(&["dev"], json!({"clusterRoles": ["view"]})), entry])).await;
    };
    stage.step("other rules", other, edit).await;
    let inside = &few | &stage.cells(&["ada", "bob"], &["dev-pay", "dev-web"], super::GET);
    let edit = async |stage: &Stage| {
        let rules = json!([{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]);
        let entry = stage.entry(&["dev"], json!({"name": "wide", "rules": rules}));
        stage.role("wide", json!([stage.entry(&["dev"], json!({"clusterRoles": ["view"]})), entry])).await;
    };
    stage.step("the same rules in namespaces only", inside, edit).await;
    stage.step("the Role goes", Matrix::new(), async |stage| stage.delete("Role", "wide").await).await;
}

/// What the chart's fence forbids is Denied, and the rest of the Role counts.
#[tokio::test]
async fn cluster_wide_rules_only_read_and_never_secrets() {
    let (mut stage, few, _) = stage().await;
    for name in NAMES {
        allow(&stage, name, true).await;
    }
    for (resource, verb, because) in [("gears", "create", "the verb \"create\""), ("secrets", "get", "Secrets")] {
        let group = if resource == "secrets" { "" } else { "example.com" };
        let edit = async |stage: &Stage| {
            let mut entry = gears(stage.names(&NAMES));
            entry["rules"] = json!([{"apiGroups": [group], "resources": [resource], "verbs": [verb]}]);
            stage.role("wide", json!([stage.entry(&["dev"], json!({"clusterRoles": ["view"]})), entry])).await;
        };
        edit(&stage).await;
        stage.stands(few.clone()).await;
        let said = stage.says("Role", "wide", "Accepted", ("False", "Denied")).await;
        assert!(said.contains(because) && said.contains("fence.clusterScope"), "{said}");
        stage.says("Role", "wide", "Stalled", ("True", "Denied")).await;
    }
}
