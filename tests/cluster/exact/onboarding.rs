//! A Developer and a Binding are all it takes: namespace, RBAC, a credential that works, the record, and what is said about it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::{DEVELOP, Stage};
use crate::support::access::{Questions, Subject};
use crate::support::people::ADMIN;
use crate::support::{ControlPlane, wait_until};

const QUOTA: &[(&str, &str)] = &[("requests.cpu", "2"), ("requests.memory", "4Gi"), ("pods", "20")];

/// Everything that a template can say.
fn template() -> Value {
    json!({
        "labels": {"cost-center": "rnd"},
        "quota": QUOTA.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        "limits": {"default": {"cpu": "500m", "memory": "512Mi"}, "defaultRequest": {"cpu": "0.05"}},
        "podSecurity": "restricted",
    })
}

/// A cluster of its own, where dev is home with every kind of thing in its workspaces, and ada develops in dev and staging.
async fn stage() -> Stage {
    let stage = Stage::alone().await;
    stage.environment("dev", json!({"workspace": template()})).await;
    stage.environment("staging", json!({"workspace": {"clusterRole": "view", "isolation": "None"}})).await;
    let work = json!([stage.entry(&["dev", "staging"], json!({"clusterRoles": ["usher-developer"]}))]);
    stage.role("developer", work).await;
    let more = json!({"reason": "Builds payments", "expiresAt": "2126-12-01T00:00:00Z"});
    stage.bind("payments", "developer", &["ada"], more).await;
    stage.says("Environment", "dev", "Ready", ("True", "AsPlanned")).await;
    stage
}

/// The name of somebody's workspace.
fn workspace(stage: &Stage, environment: &str, person: &str) -> String {
    format!("{}-{}", stage.name(environment), stage.name(person))
}

#[tokio::test]
async fn a_workspace_is_made_as_its_template_says() {
    let stage = stage().await;
    let name = workspace(&stage, "dev", "ada");
    // Ready speaks of the template that is there when the workspace is looked at, so that is waited for.
    wait_until("the quota", std::time::Duration::from_mins(1), async || {
        let found = stage.plane().kubectl(&["get", "quota,limits,networkpolicy,rolebinding", "-n", &name, "-o", "name"]).await.stdout;
        if found.lines().count() == 4 { Ok(()) } else { Err(found) }
    })
    .await;
    stage.says("Developer", "ada", "Ready", ("True", "AsPlanned")).await;
    namespace(&stage, &name).await;
    let quota = stage.read(&["quota", "usher", "-n", &name]).await;
    for (resource, amount) in QUOTA {
        assert_eq!(quota["spec"]["hard"][resource], *amount);
    }
    let limits = stage.read(&["limitrange", "usher", "-n", &name]).await;
    let wanted =
        json!({"type": "Container", "default": {"cpu": "500m", "memory": "512Mi"}, "defaultRequest": {"cpu": "50m", "memory": "512Mi"}});
    assert_eq!(limits["spec"]["limits"], json!([wanted]));
    let policy = stage.read(&["networkpolicy", "usher", "-n", &name]).await;
    let wanted = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]});
    assert_eq!(policy["spec"], wanted);
    owner(&stage, &name, "usher-developer").await;
    let other = workspace(&stage, "staging", "ada");
    owner(&stage, &other, "view").await;
    let found = stage.plane().kubectl(&["get", "quota,limits,networkpolicy", "-n", &other, "-o", "name"]).await.ok();
    assert_eq!(found, "", "a template that asks for none of them");
}

/// The namespace's labels, and no owner reference: the garbage collector must not follow a CRD.
async fn namespace(stage: &Stage, name: &str) {
    let seen = stage.read(&["namespace", name]).await;
    let installation = stage.read(&["namespace", "kube-system"]).await["metadata"]["uid"].clone();
    let (ada, dev) = (stage.name("ada"), stage.name("dev"));
    for (label, value) in [
        ("app.kubernetes.io/managed-by", json!("usher")),
        ("usher.dev/installation", installation),
        ("usher.dev/developer", json!(ada)),
        ("usher.dev/workspace", json!(ada)),
        ("usher.dev/environment", json!(dev)),
        ("pod-security.kubernetes.io/enforce", json!("restricted")),
        ("cost-center", json!("rnd")),
    ] {
        assert_eq!(seen["metadata"]["labels"][label], value, "{label}");
    }
    assert!(seen["metadata"]["labels"]["usher.dev/person"].is_string(), "{seen}");
    assert_eq!(seen["metadata"].get("ownerReferences"), None);
}

/// The only binding in a workspace is the owner's.
async fn owner(stage: &Stage, namespace: &str, cluster_role: &str) {
    let bindings = stage.read(&["rolebindings", "-n", namespace]).await;
    let [binding] = bindings["items"].as_array().unwrap().as_slice() else { panic!("not one binding: {bindings}") };
    assert_eq!(binding["roleRef"]["name"], cluster_role);
    let [subject] = binding["subjects"].as_array().unwrap().as_slice() else { panic!("not one subject: {binding}") };
    assert_eq!((&subject["kind"], &subject["namespace"]), (&json!("ServiceAccount"), &json!("usher-identities")));
    let account = subject["name"].as_str().unwrap();
    assert!(account.starts_with(&format!("{}-", stage.name("ada"))), "{account}");
    let account = stage.read(&["serviceaccount", account, "-n", "usher-identities"]).await;
    assert_eq!(account["automountServiceAccountToken"], false);
    assert_eq!(account["metadata"]["labels"]["usher.dev/developer"], stage.name("ada"));
    assert_eq!(binding["metadata"].get("ownerReferences"), None);
}

/// In a workspace the owner holds the template's ClusterRole and nobody else anything, whatever Roles they hold.
#[tokio::test]
async fn a_workspace_is_its_owners_alone_and_follows_the_template() {
    let stage = stage().await;
    stage.role("all", json!([stage.entry(&["dev", "staging", "prod"], json!({"clusterRoles": ["edit"]}))])).await;
    stage.bind("all", "all", &["ada", "bob"], json!({})).await;
    let (hers, his) = (workspace(&stage, "dev", "ada"), workspace(&stage, "dev", "bob"));
    let people = [("ada", stage.subject("ada").await), ("bob", stage.subject("bob").await)];
    let questions = Questions::new(&people, &[&hers, &his], &["get pods", "create pods", "create serviceaccounts"]);
    let own = |probes| &questions.cells(&["ada"], &[&hers], probes) | &questions.cells(&["bob"], &[&his], probes);
    let soon = std::time::Duration::from_mins(1);
    questions.settle(&stage.client, soon, &own(DEVELOP)).await;
    for (cluster_role, gives) in [("view", super::VIEW), ("edit", super::EDIT), ("usher-developer", DEVELOP)] {
        let edit = async { stage.environment("dev", json!({"workspace": {"clusterRole": cluster_role}})).await };
        let before = questions.ask(&stage.client).await;
        questions.follow(&stage.client, cluster_role, (&before, &own(gives)), edit).await;
    }
    let before = own(DEVELOP);
    let denied = async { stage.environment("dev", json!({"workspace": {"clusterRole": "cluster-admin"}})).await };
    questions.follow(&stage.client, "cluster-admin", (&before, &own(&[])), denied).await;
    stage.says("Environment", "dev", "Accepted", ("False", "Denied")).await;
    stage.says("Developer", "ada", "WorkspaceReady", ("False", "Denied")).await;
    // What the template no longer asks for is gone as well.
    let left = stage.plane().kubectl(&["get", "quota,limits", "-n", &hers, "-o", "name"]).await.ok();
    assert_eq!(left, "");
}

/// Runs `usher` as whoever may read people's Secrets.
async fn usher(plane: &ControlPlane, arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_usher"));
    command.args(arguments).env_clear().env("KUBECONFIG", plane.kubeconfig()).stdin(Stdio::null());
    let output = command.output().await.expect("usher runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Writes the kubeconfig that `usher kubeconfig` prints, once it knows both workspaces: people were Ready before they had the second.
async fn kubeconfig(stage: &Stage, person: &str) -> PathBuf {
    let file = stage.plane().dir().join(format!("{person}.kubeconfig"));
    wait_until("a kubeconfig with both workspaces", std::time::Duration::from_mins(1), async || {
        let text = usher(stage.plane(), &["kubeconfig", &stage.name(person)]).await;
        let whole = ["dev", "staging"].iter().all(|environment| text.contains(&workspace(stage, environment, person)));
        std::fs::write(&file, &text).expect("space on the disk");
        if whole { Ok(()) } else { Err("one is missing") }
    })
    .await;
    file
}

/// Runs kubectl with somebody's kubeconfig.
async fn as_person(plane: &ControlPlane, file: &Path, arguments: &[&str]) -> crate::support::Output {
    plane.kubectl(&[&["--kubeconfig", file.to_str().unwrap()], arguments].concat()).await
}

#[tokio::test]
async fn her_kubeconfig_logs_in_and_reaches_what_is_hers_and_nothing_else() {
    let stage = stage().await;
    stage.says("Developer", "ada", "Ready", ("True", "AsPlanned")).await;
    stage.says("Developer", "bob", "Ready", ("True", "AsPlanned")).await;
    let plane = stage.plane();
    let file = kubeconfig(&stage, "ada").await;
    let ada = async |arguments: &[&str]| as_person(plane, &file, arguments).await;

    let who: Value = serde_json::from_str(&ada(&["auth", "whoami", "-o", "json"]).await.ok()).unwrap();
    let user = who["status"]["userInfo"]["username"].as_str().unwrap().to_owned();
    assert!(user.starts_with(&format!("system:serviceaccount:usher-identities:{}-", stage.name("ada"))), "{user}");
    let contexts = ada(&["config", "get-contexts", "-o", "name"]).await.ok();
    assert_eq!(contexts.lines().collect::<Vec<_>>(), sorted(stage.names(&["dev", "staging", "prod"])));
    assert_eq!(ada(&["config", "current-context"]).await.ok().trim(), stage.name("dev"));

    ada(&["create", "configmap", "mine", "--from-literal=a=b"]).await.ok();
    assert_eq!(stage.read(&["configmap", "mine", "-n", &workspace(&stage, "dev", "ada")]).await["data"]["a"], "b");
    ada(&["--context", &stage.name("staging"), "get", "pods"]).await.ok();
    let shared = stage.name("staging-pay");
    ada(&["create", "configmap", "ours", "--from-literal=a=b", "-n", &shared]).await.ok();
    let his = workspace(&stage, "dev", "bob");
    let elsewhere: [&[&str]; 6] = [
        &["create", "configmap", "no", "-n", &stage.name("prod-pay")],
        &["get", "configmaps", "-n", &his],
        &["--context", &stage.name("staging"), "create", "configmap", "no"],
        &["get", "secrets", "-n", "usher-identities"],
        &["get", "developers.usher.dev"],
        &["create", "token", "default"],
    ];
    for arguments in elsewhere {
        let refused = ada(arguments).await;
        assert!(!refused.success && refused.stderr.to_lowercase().contains("forbidden"), "{arguments:?}: {refused:?}");
    }
}

/// Who is known by the cluster's own authenticator gets contexts, and no credential.
#[tokio::test]
async fn a_kubeconfig_of_a_user_of_the_authenticator_has_no_token() {
    let stage = stage().await;
    stage.says("Developer", "bob", "Ready", ("True", "AsPlanned")).await;
    let text = std::fs::read_to_string(kubeconfig(&stage, "bob").await).unwrap();
    assert!(text.contains(&workspace(&stage, "dev", "bob")) && !text.contains("token"), "{text}");
    let accounts = stage.plane().kubectl(&["get", "serviceaccounts", "-n", "usher-identities", "-o", "name"]).await.ok();
    assert!(!accounts.contains(&stage.name("bob")), "{accounts}");
    let user = Subject::user(&format!("oidc:{}", stage.name("bob")));
    let hers = workspace(&stage, "dev", "bob");
    // What is Ready is written; the API server's own authorizer may be a little behind that.
    wait_until("she may work in it", Duration::from_secs(10), async || {
        crate::support::access::can(&stage.client, &user, "create", "pods", Some(&hers)).await.then_some(()).ok_or("no")
    })
    .await;
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[tokio::test]
async fn the_record_and_the_columns_say_what_she_has() {
    let stage = stage().await;
    stage.says("Developer", "ada", "Ready", ("True", "AsPlanned")).await;
    stage.says("Binding", "payments", "Ready", ("True", "AsPlanned")).await;
    let grant = grant(&stage).await;
    wait_until("her status names her Role", Duration::from_secs(10), async || {
        let status = stage.api("Developer").await.get(&stage.name("ada")).await.unwrap().data["status"].clone();
        if status["roles"].as_array().is_some_and(|roles| !roles.is_empty()) { Ok(()) } else { Err(status) }
    })
    .await;
    assert_eq!(
        columns(&stage, "dev", "ada", &["STATE", "READY", "ROLES", "WORKSPACE", "FOREIGN", "MESSAGE"]).await,
        ["Active", "True", &stage.name("developer"), &workspace(&stage, "dev", "ada"), "0", ""]
    );
    let both = sorted(stage.names(&["dev", "staging"])).join(",");
    assert_eq!(columns(&stage, "urole", "developer", &["HOLDERS", "ENVIRONMENTS", "READY"]).await, ["1", &both, "True"]);
    assert_eq!(
        columns(&stage, "ubind", "payments", &["ROLE", "STATE", "HOLDERS", "EXPIRES", "READY", "REASON"]).await,
        [&stage.name("developer"), "Active", "1", "2126-12-01T00:00:00Z", "True", "Builds payments"]
    );
    assert_eq!(
        columns(&stage, "uenv", "dev", &["CLUSTER", "MODE", "NAMESPACES", "WORKSPACES", "PENDING", "READY"]).await,
        ["in-cluster", "Enforce", "2", "4", "+0 ~0 -0", "True"]
    );
    let row = stage.columns("grant", grant["metadata"]["name"].as_str().unwrap()).await;
    assert_eq!((row["TARGETS"].as_str(), row["STATE"].as_str(), row["GRANTED-BY"].as_str()), (both.as_str(), "Active", ADMIN));

    let home = workspace(&stage, "dev", "ada");
    let ada = stage.api("Developer").await.get(&stage.name("ada")).await.unwrap().data;
    let staging = workspace(&stage, "staging", "ada");
    let wanted = json!([{"environment": stage.name("dev"), "namespace": home, "home": true}, {"environment": stage.name("staging"), "namespace": staging, "home": false}]);
    assert_eq!(ada["status"]["workspaces"], wanted);
    let wanted = json!([{"name": stage.name("developer"), "via": [stage.name("payments")], "environments": sorted(stage.names(&["dev", "staging"])), "expiresAt": "2126-12-01T00:00:00Z"}]);
    assert_eq!(ada["status"]["roles"], wanted);
    assert!(ada["status"]["timeline"]["accessReadyAt"].is_string() && ada["status"]["timeline"]["declaredAt"].is_string());
    let welcome = stage.read(&["configmap", "usher-welcome", "-n", &home]).await.to_string();
    assert!([home, staging, stage.name("developer")].iter().all(|word| welcome.contains(word)), "{welcome}");
    let secret = stage.read(&["secret", "usher-kubeconfig", "-n", &workspace(&stage, "dev", "ada")]).await;
    assert_eq!(secret["data"].as_object().unwrap().keys().collect::<Vec<_>>(), ["kubeconfig"]);
}

async fn columns(stage: &Stage, short: &str, what: &str, names: &[&str]) -> Vec<String> {
    let row = stage.columns(short, &stage.name(what)).await;
    names.iter().map(|name| row.get(*name).unwrap_or_else(|| panic!("no {name} in {row:?}")).clone()).collect()
}

/// The one Grant, with every field.
async fn grant(stage: &Stage) -> Value {
    let (ada, role) = (stage.name("ada"), stage.name("developer"));
    let selector = format!("spec.developer.name={ada},spec.role={role},spec.state=Active");
    // The record follows access, and the status follows the record.
    let grant = wait_until("there is one Grant", Duration::from_secs(10), async || {
        let grants = stage.read(&["grants", "--field-selector", &selector]).await;
        match grants["items"].as_array().unwrap().as_slice() {
            [grant] => Ok(grant.clone()),
            _ => Err(grants),
        }
    })
    .await;
    let (spec, since) = (&grant["spec"], &grant["spec"]["since"]);
    let uid = stage.read(&["dev", &ada]).await["metadata"]["uid"].clone();
    assert_eq!(spec["developer"], json!({"name": ada, "uid": uid}));
    let targets: Vec<Value> = sorted(stage.names(&["dev", "staging"]))
        .iter()
        .map(|name| json!({"name": format!("environment/{name}"), "since": since}))
        .collect();
    assert_eq!(spec["targets"], json!(targets));
    assert_eq!(spec["via"], json!([{"name": stage.name("payments"), "since": since}]));
    assert_eq!(spec["roleRevision"], stage.read(&["urole", &role]).await["metadata"]["generation"]);
    let fields = ["role", "grantedBy", "reason", "until", "state"].map(|field| spec[field].as_str().unwrap_or_default());
    assert_eq!(fields, [role.as_str(), ADMIN, "Builds payments", "2126-12-01T00:00:00Z", "Active"]);
    let labels = &grant["metadata"]["labels"];
    assert_eq!(
        (&labels["usher.dev/developer"], &labels["usher.dev/role"], &labels["usher.dev/state"]),
        (&json!(ada), &json!(role), &json!("Active"))
    );
    assert_eq!(grant["metadata"].get("ownerReferences"), None);
    grant.clone()
}
