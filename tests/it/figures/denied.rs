//! Whether a denied request was an error: by the pure plan alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;
use usher::api::Grant;
use usher::plan::cluster::ClusterKey;
use usher::plan::scorecard::denied::{Record, Request, error, needed};
use usher::plan::why::Question;

use crate::cluster_model::Model;
use crate::worlds::noon;

/// ada, who is known by her address, holds urole/backend in uenv/dev: ClusterRole view, and inline rules on widgets.
fn company() -> Model {
    let mut model = Model::new(noon(), [ClusterKey::Home]);
    model.set_namespace(&ClusterKey::Home, "shop", Some(BTreeMap::from([("env".to_owned(), "dev".to_owned())])));
    for object in [
        json!({"kind": "Environment", "metadata": {"name": "dev"}, "spec": {
            "namespaces": {"matchLabels": {"env": "dev"}}, "identity": {"user": "oidc:{email}"}}}),
        json!({"kind": "Role", "metadata": {"name": "backend"}, "spec": {"access": [
            {"name": "look", "environments": ["dev"], "clusterRoles": ["view"]},
            {"name": "own", "environments": ["dev"], "rules": [{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]}]}}),
        json!({"kind": "Binding", "metadata": {"name": "ada"}, "spec": {"role": "backend", "developers": ["ada"]}}),
        json!({"kind": "Developer", "metadata": {"name": "ada", "uid": "1"}, "spec": {"email": "ada@example.com"}}),
    ] {
        let mut object = object;
        object["apiVersion"] = json!("usher.dev/v1alpha1");
        model.add(&object);
    }
    model.settle();
    model
}

fn request(verb: &str, group: &str, resource: &str, namespace: &str) -> Request {
    let question = Question {
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: Some(namespace.to_owned()),
        ..Question::default()
    };
    Request { user: "oidc:ada@example.com".to_owned(), question, at: noon(), times: 1 }
}

fn grant(since: Timestamp) -> Arc<Grant> {
    let object = json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": "Grant", "metadata": {"name": "g"},
        "spec": {
            "developer": {"name": "ada", "uid": "1"}, "role": "backend", "roleRevision": 1, "grantedBy": "bob", "since": since, "state": "Active",
            "targets": [{"name": "environment/dev", "since": since}], "summary": {"targets": "dev", "via": "ada", "until": ""},
        },
    });
    Arc::new(serde_json::from_value(object).expect("a Grant"))
}

/// The target that an error is of, where the Role has always been as it is.
fn judged(model: &Model, request: &Request, since: Timestamp) -> Option<String> {
    judged_with(model, request, since, Some(noon() - SignedDuration::from_hours(1)))
}

fn judged_with(model: &Model, request: &Request, since: Timestamp, unchanged: Option<Timestamp>) -> Option<String> {
    let pods = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["pods".to_owned()]),
        verbs: vec!["get".to_owned(), "list".to_owned()],
        ..PolicyRule::default()
    };
    let existing = BTreeMap::from([("view".to_owned(), vec![pods])]);
    let record = Record { grants: &[grant(since)], unchanged: &|_| unchanged };
    model.read(|scene| error(scene, request, &existing, record, noon())).map(|denial| denial.target)
}

fn before() -> Timestamp {
    noon() - SignedDuration::from_mins(1)
}

#[test]
fn what_a_role_allows_and_was_denied_is_an_error() {
    let model = company();
    let target = Some("environment/dev".to_owned());
    assert_eq!(judged(&model, &request("list", "", "pods", "shop"), before()), target, "by an existing ClusterRole");
    assert_eq!(judged(&model, &request("get", "example.com", "widgets", "shop"), before()), target, "by inline rules");
}

#[test]
fn what_no_role_allows_is_denied_rightly() {
    let model = company();
    for other in [
        request("delete", "", "pods", "shop"),
        request("list", "", "secrets", "shop"),
        request("list", "", "pods", "other"),
        Request { user: "oidc:eve@example.com".to_owned(), ..request("list", "", "pods", "shop") },
        Request { user: "system:serviceaccount:shop:default".to_owned(), ..request("list", "", "pods", "shop") },
    ] {
        assert_eq!(judged(&model, &other, before()), None, "{other:?}");
    }
}

#[test]
fn what_was_asked_before_it_was_given_is_no_error() {
    assert_eq!(judged(&company(), &request("list", "", "pods", "shop"), noon()), None);
}

#[test]
fn a_moment_that_is_told_in_whole_seconds_may_be_a_second_later() {
    let (model, since) = (company(), before());
    let asked = |milliseconds| Request { at: since + SignedDuration::from_millis(milliseconds), ..request("list", "", "pods", "shop") };
    assert_eq!(judged(&model, &asked(500), since), None, "it may have been given 900 ms after");
    assert!(judged(&model, &asked(1_000), since).is_some());
}

#[test]
fn what_a_role_came_to_allow_after_it_was_asked_for_is_no_error() {
    let (model, request) = (company(), request("list", "", "pods", "shop"));
    let judged = |unchanged| judged_with(&model, &request, noon() - SignedDuration::from_hours(24), unchanged);
    assert_eq!(judged(Some(noon())), None, "it was edited at that moment");
    assert_eq!(judged(None), None, "what it says now is not in place yet");
    assert!(judged(Some(before())).is_some());
}

#[test]
fn what_is_asked_for_in_a_namespace_that_was_just_made_is_no_error() {
    let mut model = company();
    let made = |model: &mut Model, at: Timestamp| {
        let labels = Some(BTreeMap::from([("env".to_owned(), "dev".to_owned())]));
        let metadata = ObjectMeta { name: Some("shop".to_owned()), labels, creation_timestamp: Some(Time(at)), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        model.state(&ClusterKey::Home).set_namespace("shop", Some(Arc::new(namespace)));
    };
    made(&mut model, noon());
    assert_eq!(judged(&model, &request("list", "", "pods", "shop"), before()), None);
    made(&mut model, before());
    assert!(judged(&model, &request("list", "", "pods", "shop"), before()).is_some());
}

#[test]
fn who_is_suspended_is_denied_rightly() {
    let mut model = company();
    let suspended = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": "ada", "uid": "1"},
        "spec": {"email": "ada@example.com", "state": "Suspended"}});
    model.add(&suspended);
    assert_eq!(judged(&model, &request("list", "", "pods", "shop"), before()), None);
}

#[test]
fn only_what_can_matter_is_read_from_the_cluster() {
    let model = company();
    let names = |request: &Request| model.read(|scene| needed(scene, request, noon())).into_iter().collect::<Vec<_>>();
    assert_eq!(names(&request("list", "", "pods", "shop")), ["view"]);
    assert!(names(&request("list", "", "pods", "other")).is_empty());
    assert!(names(&Request { user: "bob".to_owned(), ..request("list", "", "pods", "shop") }).is_empty());
}
