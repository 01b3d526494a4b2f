//! What no ClusterRole of the operator's may contain, word by word: the fence and the planner refuse the same.

use serde_json::{Value, json};
use usher::plan::fence::{FORBIDDEN_GROUPS, FORBIDDEN_RESOURCES, FORBIDDEN_VERBS};

use super::fence::Raid;
use super::{allowed, cluster_role, refused};
use crate::support::name;

const POLICY: &str = "usher-fence-access";

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

#[tokio::test]
async fn the_operator_writes_no_rule_that_the_planner_would_refuse() {
    let raid = Raid::new().await;
    let own = |rules: Value| cluster_role(&format!("usher:role:{}:0", name("x")), &rules);
    let harmless = rule(&[""], &["pods", "pods/log"], &["get", "list"]);
    allowed("a harmless one", raid.makes(&own(json!([harmless]))).await);
    let mut wrong: Vec<Value> = Vec::new();
    wrong.extend(
        FORBIDDEN_VERBS
            .iter()
            .copied()
            .chain(["impersonate", "impersonate:user-info"])
            .map(|verb| rule(&["apps"], &["deployments"], &["get", verb])),
    );
    wrong.extend(FORBIDDEN_GROUPS.map(|group| rule(&["apps", group], &["deployments"], &["get"])));
    wrong.extend(
        FORBIDDEN_RESOURCES
            .iter()
            .copied()
            .chain(["*/token", "*/proxy", "*/status"])
            .map(|resource| rule(&[""], &["pods", resource], &["get"])),
    );
    wrong.push(json!({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}));
    for rule in wrong {
        let object = own(json!([harmless, rule]));
        refused(&rule.to_string(), raid.makes(&object).await, POLICY);
    }
}

#[tokio::test]
async fn the_operator_writes_no_cluster_role_that_aggregates_or_is_aggregated() {
    let raid = Raid::new().await;
    let rules = json!([rule(&[""], &["secrets"], &["get"])]);
    for into in ["admin", "edit", "view", "cluster-reader"] {
        let mut object = cluster_role("usher:role:x:0", &rules);
        object.metadata.labels.get_or_insert_default().insert(format!("rbac.authorization.k8s.io/aggregate-to-{into}"), "true".to_owned());
        refused(into, raid.makes(&object).await, POLICY);
    }
    let mut object = cluster_role("usher:role:x:0", &json!([]));
    object.data["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
    refused("an aggregation of others", raid.makes(&object).await, POLICY);
}

#[tokio::test]
async fn the_operator_writes_no_cluster_role_of_another_name() {
    let raid = Raid::new().await;
    for name in ["usher", "usher-developer", "usher:owner:x", "usherrole", "edit-more"] {
        refused(name, raid.makes(&cluster_role(name, &json!([]))).await, POLICY);
    }
}

/// `cluster: true` reads, and no Secrets.
#[tokio::test]
async fn the_operator_gives_cluster_wide_what_the_values_allow() {
    let raid = Raid::new().await;
    let wide = |rule: Value| cluster_role("usher:cluster:x:0", &json!([rule]));
    allowed("nodes", raid.makes(&wide(rule(&[""], &["nodes"], &["get", "list", "watch"]))).await);
    refused("writing", raid.makes(&wide(rule(&[""], &["pods"], &["get", "create"]))).await, POLICY);
    refused("Secrets", raid.makes(&wide(rule(&[""], &["secrets"], &["get"]))).await, POLICY);
    allowed(
        "both in namespaces",
        raid.makes(&cluster_role("usher:role:x:0", &json!([rule(&[""], &["secrets", "pods"], &["create"])]))).await,
    );
}
