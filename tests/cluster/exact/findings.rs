//! What only shows across objects is a condition that names the culprit, and the rest goes on working.

use serde_json::{Value, json};

use super::{DEVELOP, GET, Stage, VIEW};
use crate::support::access::Matrix;
use crate::support::fleet::gone;

const DEV: &[&str] = &["dev-pay", "dev-web"];

/// A Role that looks at dev, and whatever else its entry says.
async fn viewer(stage: &Stage, more: Value) {
    let mut entry = stage.entry(&["dev"], json!({"clusterRoles": ["view"]}));
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    stage.role("viewer", json!([entry])).await;
}

/// Waits until an object says what is wrong, in the condition and in Ready, with each of `words`, and that waiting cannot help if so.
async fn complains(stage: &Stage, (kind, what): (&str, &str), (condition, reason): (&str, &str), words: &[&str]) {
    for condition in [condition, "Ready"] {
        let said = stage.says(kind, what, condition, ("False", reason)).await;
        assert!(words.iter().all(|word| said.contains(word)), "{kind} {what} {condition}: {said}");
    }
    let stalls = matches!(reason, "Conflict" | "InvalidSpec" | "Denied" | "IncludeCycle");
    let object = stage.api(kind).await.get(&stage.name(what)).await.unwrap();
    let stalled = crate::support::client::condition(&object, "Stalled").is_some();
    assert_eq!(stalled, stalls, "{kind} {what}: {}", object.data["status"]);
}

/// Waits until an object is Ready and has nothing else to say.
async fn content(stage: &Stage, kind: &str, what: &str) {
    assert_eq!(stage.says(kind, what, "Ready", ("True", "AsPlanned")).await, "");
}

#[tokio::test]
async fn a_missing_role_is_named_and_works_once_it_is_there() {
    let mut stage = Stage::new().await;
    stage.bind("all", "viewer", &["ada"], json!({})).await;
    let role = format!("urole/{} does not exist", stage.name("viewer"));
    complains(&stage, ("Binding", "all"), ("ReferencesResolved", "RoleNotFound"), &[&role]).await;
    let after = stage.cells(&["ada"], DEV, VIEW);
    stage.step("it is made", after, async |stage| viewer(stage, json!({})).await).await;
    content(&stage, "Binding", "all").await;
}

#[tokio::test]
async fn a_missing_developer_is_named_and_the_others_hold() {
    let mut stage = Stage::new().await;
    viewer(&stage, json!({})).await;
    let after = stage.cells(&["ada"], DEV, VIEW);
    stage.step("with a stranger", after, async |stage| stage.bind("all", "viewer", &["ada", "eve"], json!({})).await).await;
    let eve = format!("dev/{} does not exist", stage.name("eve"));
    complains(&stage, ("Binding", "all"), ("ReferencesResolved", "DeveloperNotFound"), &[&eve]).await;
    stage.developer("eve", json!({})).await;
    content(&stage, "Binding", "all").await;
    let eve = stage.subject("eve").await;
    assert!(crate::support::access::can(&stage.client, &eve, "get", "pods", Some(&stage.name("dev-pay"))).await);
}

#[tokio::test]
async fn a_missing_environment_is_named_and_the_others_count() {
    let mut stage = Stage::new().await;
    stage.role("viewer", json!([stage.entry(&["dev", "nowhere"], json!({"clusterRoles": ["view"]}))])).await;
    let after = stage.cells(&["ada"], DEV, VIEW);
    let narrowed = json!({"environments": stage.names(&["dev", "nowhere"])});
    stage.step("bound", after, async |stage| stage.bind("all", "viewer", &["ada"], narrowed).await).await;
    let nowhere = format!("uenv/{} does not exist", stage.name("nowhere"));
    for (kind, what) in [("Role", "viewer"), ("Binding", "all")] {
        complains(&stage, (kind, what), ("ReferencesResolved", "EnvironmentNotFound"), &[&nowhere]).await;
    }
    stage.environment("nowhere", json!({})).await;
    content(&stage, "Role", "viewer").await;
    content(&stage, "Binding", "all").await;
}

#[tokio::test]
async fn a_missing_cluster_role_is_named_and_bound_once_it_is_there() {
    let mut stage = Stage::alone_with(&["fence.mayBind={view,edit,usher-developer,late}"]).await;
    viewer(&stage, json!({"clusterRoles": ["view", "late"]})).await;
    let some = stage.cells(&["ada"], DEV, VIEW);
    stage.step("bound", some.clone(), async |stage| stage.bind("all", "viewer", &["ada"], json!({})).await).await;
    complains(&stage, ("Role", "viewer"), ("ReferencesResolved", "ClusterRoleNotFound"), &["ClusterRole late"]).await;
    let late = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: late}, rules: [{apiGroups: [example.com], resources: [widgets], verbs: [get]}]}";
    let all = &some | &stage.cells(&["ada"], DEV, GET);
    stage.step("it is made", all, async |stage| drop(crate::support::client::apply(&stage.client, late).await)).await;
    content(&stage, "Role", "viewer").await;
    let late = crate::support::client::manifest(late);
    stage.step("it goes", some, async |stage| crate::support::client::delete(&stage.client, &late).await).await;
    complains(&stage, ("Role", "viewer"), ("ReferencesResolved", "ClusterRoleNotFound"), &["ClusterRole late"]).await;
}

/// The chart's `fence.mayBind` says which.
#[tokio::test]
async fn a_cluster_role_that_may_not_be_given_is_denied_and_the_rest_counts() {
    let mut stage = Stage::new().await;
    stage.bind("all", "viewer", &["ada"], json!({})).await;
    let after = stage.cells(&["ada"], DEV, VIEW);
    for forbidden in ["cluster-admin", "admin"] {
        let edit = async |stage: &Stage| viewer(stage, json!({"clusterRoles": ["view", forbidden]})).await;
        edit(&stage).await;
        stage.stands(after.clone()).await;
        complains(&stage, ("Role", "viewer"), ("Accepted", "Denied"), &[forbidden, "fence.mayBind"]).await;
    }
    viewer(&stage, json!({})).await;
    content(&stage, "Role", "viewer").await;
}

#[tokio::test]
async fn forbidden_inline_rules_are_denied_and_the_rest_counts() {
    let mut stage = Stage::new().await;
    stage.bind("all", "viewer", &["ada"], json!({})).await;
    let after = stage.cells(&["ada"], DEV, VIEW);
    let rule = |group: &str, resource: &str, verb: &str| json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]});
    let forbidden = [
        (rule("", "pods", "*"), "the verb \"*\""),
        (rule("*", "pods", "get"), "the API group \"*\""),
        (rule("", "*", "get"), "the resource \"*\""),
        (rule("rbac.authorization.k8s.io", "rolebindings", "create"), "the API group \"rbac.authorization.k8s.io\""),
        (rule("", "serviceaccounts", "impersonate"), "the verb \"impersonate\""),
        (rule("", "serviceaccounts/token", "create"), "the resource \"serviceaccounts/token\""),
        (rule("usher.dev", "developers", "update"), "the API group \"usher.dev\""),
        (rule("", "namespaces", "update"), "the resource \"namespaces\""),
    ];
    for (rule, because) in forbidden {
        let fine = json!({"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]});
        viewer(&stage, json!({"rules": [fine, rule]})).await;
        complains(&stage, ("Role", "viewer"), ("Accepted", "Denied"), &[because]).await;
        stage.stands(after.clone()).await;
    }
    let rules = json!([{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]);
    let all = &after | &stage.cells(&["ada"], DEV, GET);
    stage.step("a good one", all, async |stage| viewer(stage, json!({"rules": rules})).await).await;
    content(&stage, "Role", "viewer").await;
}

#[tokio::test]
async fn roles_in_an_include_cycle_give_their_own_and_say_so() {
    let mut stage = Stage::new().await;
    let put = async |stage: &Stage, what: &str, includes: &[&str], cluster_role: &str, environment: &str| {
        let access = stage.entry(&[environment], json!({"clusterRoles": [cluster_role]}));
        stage.put("Role", what, json!({"includes": stage.names(includes), "access": [access]})).await;
    };
    put(&stage, "viewer", &[], "view", "dev").await;
    put(&stage, "developer", &["viewer"], "usher-developer", "staging").await;
    let staging = ["staging-pay", "staging-web"];
    let view = stage.cells(&["bob"], DEV, VIEW);
    let apart = &stage.cells(&["ada"], &staging, DEVELOP) | &view;
    let both = &apart | &stage.cells(&["ada"], DEV, VIEW);
    stage
        .step("included", both.clone(), async |stage| {
            stage.bind("ada", "developer", &["ada"], json!({})).await;
            stage.bind("bob", "viewer", &["bob"], json!({})).await;
        })
        .await;
    stage.step("a cycle", apart, async |stage| put(stage, "viewer", &["developer"], "view", "dev").await).await;
    let names = [format!("urole/{}", stage.name("viewer")), format!("urole/{}", stage.name("developer"))];
    for role in ["viewer", "developer"] {
        complains(&stage, ("Role", role), ("ReferencesResolved", "IncludeCycle"), &[&names[0], &names[1]]).await;
    }
    stage.step("cut", both, async |stage| put(stage, "viewer", &[], "view", "dev").await).await;
    content(&stage, "Role", "developer").await;
    put(&stage, "viewer", &["viewer"], "view", "dev").await;
    complains(&stage, ("Role", "viewer"), ("ReferencesResolved", "IncludeCycle"), &[&names[0]]).await;
}

/// Of two people with one user name the younger has nothing and says so; when she goes, the older keeps all.
#[tokio::test]
async fn the_younger_of_one_identity_has_nothing_and_takes_nothing_along() {
    let mut stage = Stage::new().await;
    viewer(&stage, json!({})).await;
    let after = stage.cells(&["bob"], DEV, VIEW);
    stage.step("bob", after.clone(), async |stage| stage.bind("bob", "viewer", &["bob"], json!({})).await).await;
    let bobs = json!({"kubernetesUser": format!("oidc:{}", stage.name("bob"))});
    let work = stage.entry(&["prod"], json!({"clusterRoles": ["usher-developer"]}));
    stage.role("developer", json!([work])).await;
    let come = async |stage: &Stage| {
        stage.developer("eve", bobs.clone()).await;
        stage.bind("eve", "developer", &["eve", "ada"], json!({})).await;
        let bob = format!("dev/{}, who is older", stage.name("bob"));
        complains(stage, ("Developer", "eve"), ("AccessApplied", "Conflict"), &[&bob]).await;
    };
    let with_ada = &after | &stage.cells(&["ada"], &["prod-pay", "prod-web"], DEVELOP);
    stage.step("eve comes", with_ada.clone(), come).await;
    content(&stage, "Developer", "bob").await;
    for (what, spec) in [("suspended", json!({"state": "Suspended"})), ("departs", json!({"state": "Departed"}))] {
        let mut eve = bobs.clone();
        eve.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let edit = async |stage: &Stage| {
            stage.developer("eve", eve).await;
            stage.says("Developer", "eve", "AccessApplied", ("True", "AsPlanned")).await;
        };
        stage.step(what, with_ada.clone(), edit).await;
    }
    let goes = async |stage: &Stage| {
        stage.delete("Developer", "eve").await;
        // What is declared before that would be an edit of her who goes.
        gone(&stage.client, "Developer", &stage.name("eve")).await;
    };
    stage.step("deleted", with_ada.clone(), goes).await;
    // The other way round: when the older leaves, the name is the younger's.
    stage.step("eve is back", with_ada.clone(), async |stage| stage.developer("eve", bobs.clone()).await).await;
    let hers: Matrix = &with_ada | &stage.cells(&["bob"], &["prod-pay", "prod-web"], DEVELOP);
    let hers = &hers - &after;
    stage.step("bob is deleted", hers, async |stage| stage.delete("Developer", "bob").await).await;
    // Her workspace is that of the eve who departed; her own identity and Roles are in force.
    stage.says("Developer", "eve", "AccessApplied", ("True", "AsPlanned")).await;
}
