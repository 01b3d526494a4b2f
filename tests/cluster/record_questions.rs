//! `usher who-has`, `who-had` and `why` against a real API server: what they say is so, and an auditor's rights are enough for them.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use usher::api::GrantState;

use crate::support::client;
use crate::support::install::{token, write_kubeconfig};
use crate::support::people::{Stage, account, declare, edit, grants, workspace};
use crate::support::{Output, Shared, name, operated, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// Ada holds a Role by her team through a Role that includes it; and an auditor asks.
struct Case {
    shared: Shared,
    stage: Stage,
    person: String,
    account: String,
    role: String,
    outer: String,
    binding: String,
    auditor: PathBuf,
}

impl Case {
    async fn new() -> Self {
        let shared = operated().await;
        let stage = Stage::new(&shared.client).await;
        let (person, binding, outer) = (name("ada"), name("bind"), name("outer"));
        let role = stage.role("view").await;
        declare(&shared.client, "Role", &outer, json!({"includes": [role]})).await;
        declare(&shared.client, "Binding", &binding, json!({"role": outer, "teams": [person], "reason": "on call"})).await;
        let developer = stage.person(&person, json!({"teams": [person]})).await;
        let auditor = reader(&shared, "usher-auditor").await;
        let case = Self { account: account(&developer), shared, stage, person, role, outer, binding, auditor };
        case.grant(GrantState::Active).await;
        case
    }

    async fn grant(&self, state: GrantState) {
        wait_until(&format!("a Grant is {state:?}"), SOON, async || {
            let seen = grants(&self.stage.client, &self.person).await;
            if seen.iter().any(|grant| grant.role == self.role && grant.state == state) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }

    async fn asks(&self, arguments: &[&str]) -> Output {
        self.shared.all.plane.usher_as(&self.auditor, arguments).await
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let said = self.asks(&[arguments, &["-o", "json"]].concat()).await;
        assert!(said.code != Some(2), "{said:?}");
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    async fn why(&self, question: &[&str]) -> Output {
        self.asks(&[&["why", &self.person], question].concat()).await
    }
}

/// A kubeconfig of somebody who has this ClusterRole; none at all where it is empty.
async fn reader(shared: &Shared, cluster_role: &str) -> PathBuf {
    let somebody = name("auditor");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": somebody, "namespace": "default"}});
    client::apply(&shared.client, &account.to_string()).await;
    if !cluster_role.is_empty() {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": somebody},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": cluster_role},
            "subjects": [{"kind": "ServiceAccount", "name": somebody, "namespace": "default"}],
        });
        client::apply(&shared.client, &binding.to_string()).await;
    }
    let plane = &shared.all.plane;
    let file = plane.dir().join(format!("{somebody}.kubeconfig"));
    write_kubeconfig(&file, plane, &token(plane, "default", &somebody).await, "default");
    file
}

#[tokio::test]
async fn who_has_names_person_role_place_binding_and_reason() {
    let case = Case::new().await;
    let table = case.asks(&["who-has", "--developer", &case.person]).await.ok();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["DEVELOPER", "ROLE", "TARGETS", "SINCE", "UNTIL", "VIA", "GRANTED-BY", "REASON"]);
    let grant = lines.iter().find(|line| line[1] == case.role).unwrap_or_else(|| panic!("{table}"));
    assert_eq!([grant[0], grant[2], grant[5]], [case.person.as_str(), &case.stage.environment, &case.binding]);
    assert!(table.contains(&format!("(team {})", case.person)) && table.contains("on call"), "{table}");

    let of_role = case.json(&["who-has", "--role", &case.role]).await;
    assert_eq!((of_role.as_array().unwrap().len(), &of_role[0]["developer"]), (1, &json!(case.person)));
    let here = case.json(&["who-has", "-n", &case.stage.shared]).await;
    assert_eq!((here.as_array().unwrap().len(), &here[0]["developer"], &here[0]["role"]), (1, &json!(case.person), &json!(case.role)));
    let csv = case.asks(&["who-has", "--developer", &case.person, "-o", "csv"]).await.ok();
    assert!(csv.starts_with("developer,uid,personId,role,") && csv.contains(",on call,"), "{csv}");
    let nobody = case.asks(&["who-has", "-n", "default"]).await.ok();
    assert_eq!(nobody, "Nobody holds anything of that.\n");
}

/// Her Role names one Environment only, so nothing is compared; but all was read.
#[tokio::test]
async fn an_auditor_may_ask_for_the_consistency_of_the_home_cluster() {
    let case = Case::new().await;
    let said = case.asks(&["consistency", "-e", &case.stage.environment]).await.ok();
    assert!(said.starts_with("There is nothing to compare"), "{said}");
}

/// Whoever may write RoleBindings in a namespace may write labels on them: that makes nobody a holder.
#[tokio::test]
async fn a_forged_label_makes_nobody_a_holder() {
    let case = Case::new().await;
    let elsewhere = name("elsewhere");
    client::namespace(&case.stage.client, &elsewhere, &[]).await;
    let forged = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "usher:role:forged", "namespace": elsewhere, "labels": {
            "app.kubernetes.io/managed-by": "usher", "usher.dev/role": case.role, "usher.dev/environment": case.stage.environment,
        }},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    });
    client::apply(&case.stage.client, &forged.to_string()).await;
    assert_eq!(case.json(&["who-has", "-n", &elsewhere]).await, json!([]));
}

#[tokio::test]
async fn the_owner_of_a_workspace_is_named() {
    let case = Case::new().await;
    let home = client::ready(&case.stage.client, &case.person).await;
    let namespace = workspace(&home);
    let owners = case.json(&["who-has", "-n", &namespace]).await;
    assert_eq!((&owners[0]["developer"], &owners[0]["role"]), (&json!(case.person), &json!("(owner)")), "{owners}");
    let said = case.why(&["create", "deployments", "-n", &namespace]).await.ok();
    assert!(said.contains("it is her own workspace"), "{said}");
}

#[tokio::test]
async fn who_had_looks_at_a_moment() {
    let case = Case::new().await;
    let since = grants(&case.stage.client, &case.person).await.iter().find(|grant| grant.role == case.role).unwrap().since.0;
    wait_until("a later second", SOON, async || if Timestamp::now().as_second() > since.as_second() { Ok(()) } else { Err("not yet") })
        .await;
    edit(&case.stage.client, "Developer", &case.person, json!({"state": "Suspended"})).await;
    case.grant(GrantState::Ended).await;
    let ended = grants(&case.stage.client, &case.person).await.iter().find(|grant| grant.role == case.role).unwrap().ended.clone().unwrap();
    let at = async |moment: Timestamp| case.json(&["who-had", "--at", &moment.to_string(), "--developer", &case.person]).await;
    let then = at(since).await;
    let mine = then.as_array().unwrap().iter().find(|it| it["role"] == json!(case.role)).unwrap_or_else(|| panic!("{then}"));
    assert_eq!(
        (&mine["endedWhy"], &mine["targets"]),
        (&json!("DeveloperSuspended"), &json!([format!("environment/{}", case.stage.environment)]))
    );
    assert_eq!(at(ended.at.0).await, json!([]), "not at the second at which it was gone");
    let before = case.asks(&["who-had", "--at", "2020-01-01", "--developer", &case.person]).await;
    assert!(before.success && before.stderr.contains("begins at") && before.stdout.contains("Nobody held"), "{before:?}");
    let after = case.asks(&["who-had", "--at", "2999-01-01"]).await;
    assert!(after.code == Some(2) && after.stderr.contains("usher plan"), "{after:?}");
}

#[tokio::test]
async fn why_names_binding_role_and_rule_and_agrees_with_the_api_server() {
    let case = Case::new().await;
    let namespace = case.stage.shared.as_str();
    let said = case.why(&["get", "pods", "-n", namespace]).await.ok();
    let way = format!(
        "ubind/{} (team {}) gives urole/{}, which includes urole/{}, access work",
        case.binding, case.person, case.outer, case.role
    );
    assert!(said.contains(&way) && said.contains("rule: get,list,watch") && said.contains("ClusterRole view"), "{said}");
    assert!(case.why(&["list", "deployments", "-n", namespace]).await.ok().contains("deployments.apps"), "the group is found");

    let refused = case.why(&["delete", "pods/web", "-n", namespace]).await;
    assert!(
        refused.code == Some(1) && refused.stdout.contains("may not delete pods web") && refused.stdout.contains(&case.role),
        "{refused:?}"
    );
    for (verb, resource) in [("get", "pods"), ("delete", "pods"), ("get", "secrets"), ("watch", "services"), ("list", "nodes")] {
        let user = format!("--as=system:serviceaccount:usher-identities:{}", case.account);
        let groups =
            ["--as-group=system:authenticated", "--as-group=system:serviceaccounts", "--as-group=system:serviceaccounts:usher-identities"];
        let asked = [&["auth", "can-i", verb, resource, "-n", namespace, &user], groups.as_slice()].concat();
        let truth = case.shared.all.plane.kubectl(&asked).await.stdout.starts_with("yes");
        let said = case.why(&[verb, resource, "-n", namespace]).await;
        assert_eq!((said.success, said.code.is_some_and(|code| code < 2)), (truth, true), "{verb} {resource}: {said:?}");
    }
}

#[tokio::test]
async fn why_says_what_others_gave_and_that_usher_did_not() {
    let case = Case::new().await;
    let theirs = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "theirs", "namespace": case.stage.shared},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": case.account, "namespace": "usher-identities"}],
    });
    client::apply(&case.stage.client, &theirs.to_string()).await;
    let said = case.why(&["delete", "pods", "-n", &case.stage.shared]).await.ok();
    assert!(said.contains("usher did not give it") && said.contains(&format!("RoleBinding {}/theirs", case.stage.shared)), "{said}");
    let answer = case.json(&["why", &case.person, "delete", "pods", "-n", &case.stage.shared]).await;
    assert_eq!((&answer["allowed"], &answer["reasons"][0]["by"]), (&json!(true), &json!("others")));
}

#[tokio::test]
async fn errors_name_the_remedy() {
    let case = Case::new().await;
    for (question, words) in [
        (&["why", "no-such-person", "get", "pods"][..], "dev/no-such-person does not exist; `kubectl get dev`"),
        (&["why", &case.person, "get", "no-such-things"], "kubectl api-resources"),
        (&["who-had", "--at", "yesterday"], "2026-10-31T17:00:00Z"),
        (&["who-had", "--at", "2026-10-31", "--from", "/nonexistent/grants.jsonl"], "/nonexistent/grants.jsonl"),
    ] {
        let said = case.asks(question).await;
        assert!(said.code == Some(2) && said.stderr.contains(words), "{question:?}: {said:?}");
    }
    let stranger = reader(&case.shared, "").await;
    for question in
        [&["who-has"][..], &["who-had", "--at", "2026-10-31"], &["why", &case.person, "get", "pods.", "-n", "default"], &["orphans"]]
    {
        let said = case.shared.all.plane.usher_as(&stranger, question).await;
        assert!(
            said.code == Some(2) && said.stderr.contains("you may not") && said.stderr.contains("usher-auditor"),
            "{question:?}: {said:?}"
        );
    }
}
