//! The instruments: a matrix or an audit reader that saw nothing would make every test of exactness pass.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, WatchParams};
use serde_json::json;

use crate::support::access::{self, Matrix, Questions, Subject, assert_matrix_eq, can};
use crate::support::audit::{self, Audit, counts};
use crate::support::client::{self, apply};
use crate::support::{bare, client_of, install, name, throughout, wait_until};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn names_are_unique_labels() {
    let names: std::collections::BTreeSet<_> = (0..2_000).map(|_| name("ada")).collect();
    assert_eq!(names.len(), 2_000);
    assert!(
        names.iter().all(|name| name.len() <= 11 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')),
        "{names:?}"
    );
}

#[tokio::test]
#[should_panic(expected = "after 30ms still not: the moon is green; last seen: grey")]
async fn waiting_in_vain_says_for_what_and_what_was_seen() {
    wait_until("the moon is green", Duration::from_millis(10), async || Err::<(), _>("grey")).await;
}

#[tokio::test]
#[should_panic(expected = "no longer: the moon is grey; seen: green")]
async fn watching_fails_at_the_first_change() {
    let mut looks = 0;
    throughout("the moon is grey", SOON, async || {
        looks += 1;
        if looks < 3 { Ok(()) } else { Err("green") }
    })
    .await;
}

#[tokio::test]
async fn matrix_shows_what_rbac_gives() {
    let client = bare().await.admin_client().await;
    let (one, two, group) = (name("one"), name("two"), name("group"));
    for namespace in [&one, &two] {
        client::namespace(&client, namespace, &[]).await;
    }
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "view", "namespace": one},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("oidc:{group}")},
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": format!("system:serviceaccounts:{two}")},
        ],
    });
    let binding = apply(&client, &binding.to_string()).await;

    let people = [
        ("ada", Subject::user(&format!("oidc:{group}"))),
        ("bob", Subject::user(&format!("oidc:{group}-b"))),
        ("robot", Subject::service_account(&two, "robot")),
    ];
    let probes = ["get pods", "get pods/log", "create pods/exec", "list deployments.apps", "get secrets"];
    let questions = Questions::new(&people, &[&one, &two, ""], &probes);
    let seen = questions.cells(&["ada", "robot"], &[&one], &["get pods", "get pods/log", "list deployments.apps"]);
    questions.settle(&client, SOON, &seen).await;
    assert_matrix_eq(&questions.ask(&client).await, &seen);
    assert!(can(&client, &people[0].1, "get", "pods/log", Some(&one)).await);

    client::delete(&client, &binding).await;
    questions.settle(&client, SOON, &Matrix::new()).await;
}

#[test]
fn difference_names_only_cells_that_differ() {
    let questions = Questions::new(&[("ada", Subject::user("ada")), ("bob", Subject::user("bob"))], &["one", ""], &["get pods"]);
    let expected = questions.cells(&["ada", "bob"], &["one"], &["get pods"]);
    let actual = questions.cells(&["ada"], &["one", ""], &["get pods"]);
    assert_eq!(access::difference(&actual, &expected), "\n  missing  bob: get pods in one\n  excess   ada: get pods in the whole cluster");
    assert_eq!(access::difference(&expected, &expected), "");
}

/// The operator's ServiceAccount, played by the test.
#[tokio::test]
async fn audit_shows_the_operators_requests_and_nobody_elses() {
    let plane = bare().await;
    let admin = plane.admin_client().await;
    client::namespace(&admin, install::NAMESPACE, &[]).await;
    apply(&admin, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: usher, namespace: usher-system}}").await;
    let binding = "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: usher, namespace: usher-system},
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}, subjects: [{kind: ServiceAccount, name: usher, namespace: usher-system}]}";
    apply(&admin, binding).await;
    let subject = Subject::service_account(install::NAMESPACE, "usher");
    wait_until("it may write", SOON, async || {
        if can(&admin, &subject, "create", "configmaps", Some(install::NAMESPACE)).await { Ok(()) } else { Err("no") }
    })
    .await;

    let file = plane.dir().join("audit-test.kubeconfig");
    install::write_kubeconfig(&file, plane, &install::token(plane, install::NAMESPACE, "usher").await, install::NAMESPACE);
    let client = client_of(&file).await;
    let audit = Audit::from_now(plane);
    act_as_operator(&client).await;
    let ignored = client::manifest("{apiVersion: v1, kind: ConfigMap, metadata: {name: audit-admin, namespace: usher-system}}");
    client::apply_as(&admin, client::TEST, ignored).await.unwrap();

    let expected = [
        ("create", "selfsubjectaccessreviews.authorization.k8s.io"),
        ("delete", "configmaps"),
        ("get", "secrets"),
        ("patch", "configmaps"),
        ("patch", "leases.coordination.k8s.io"),
        ("watch", "configmaps"),
    ];
    let expected = expected.map(|(verb, target)| ((verb.to_owned(), target.to_owned()), 1)).into();
    wait_until("the requests are written", SOON, async || {
        let seen = counts(&audit.operator());
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    let (events, later) = (audit.operator(), Audit::from_now(plane));
    assert_eq!(events.len(), audit.events().len(), "the administrator's requests are not written");
    let refused = events.iter().find(|event| event.verb == "get").unwrap();
    assert_eq!((refused.code, refused.namespace.as_str()), (403, "kube-system"));
    let writes: Vec<_> = audit.writes().into_iter().map(|event| (event.verb, event.namespace, event.name)).collect();
    let write = |verb: &str| (verb.to_owned(), install::NAMESPACE.to_owned(), "audit".to_owned());
    assert_eq!(writes, [write("patch"), write("delete")]);
    assert_eq!(later.events(), [], "a later reader sees only what is later");
    assert_eq!(audit::OPERATOR, events[0].user);
}

/// A write, a watch, a lease, a question and a refusal.
async fn act_as_operator(client: &kube::Client) {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), install::NAMESPACE);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "audit"}});
    maps.patch("audit", &PatchParams::apply("usher"), &Patch::Apply(&map)).await.unwrap();
    let mut watch = maps.watch(&WatchParams::default().timeout(10), "0").await.unwrap().boxed();
    watch.next().await.unwrap().unwrap();
    drop(watch);
    maps.delete("audit", &DeleteParams::default()).await.unwrap();
    let lease = client::manifest("{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: usher, namespace: usher-system}}");
    let leases = Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(client.clone(), install::NAMESPACE);
    leases.patch("usher", &PatchParams::apply("usher"), &Patch::Apply(&lease)).await.unwrap();
    let review: SelfSubjectAccessReview =
        serde_json::from_value(json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}})).unwrap();
    Api::<SelfSubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await.unwrap();
    let secrets = Api::<k8s_openapi::api::core::v1::Secret>::namespaced(client.clone(), "kube-system");
    secrets.get("nothing").await.unwrap_err();
}
