//! What people wrote: it does not disappear by accident, nor past the operator.

use std::time::Duration;

use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::json;

use super::{Siege, allowed, change, create, delete, in_force, may_bind, refused, rule};
use crate::support::access::can;
use crate::support::client::{explain, kind, ready};
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::{reaches, subject, workspace};
use crate::support::{AuditLevel, ControlPlane, name, throughout, wait_until};

#[tokio::test]
async fn the_finalizer_comes_off_only_by_the_operator_or_with_the_verb_release() {
    let siege = Siege::new().await;
    let (person, role) = (name("dev"), name("role"));
    allowed("a Role", create(&siege.client, "Role", &role, json!({})).await);
    let (_, binder) = siege.somebody(&["usher-binder"], &[may_bind(&role)]).await;
    allowed("somebody", create(&binder, "Developer", &person, json!({"email": "a@example.com"})).await);
    ready(&siege.client, &person).await;
    for finalizers in [json!(null), json!([]), json!(["example.com/other"])] {
        let strip = json!({"metadata": {"finalizers": finalizers}});
        refused("stripping it", change(&binder, "Developer", &person, strip).await, "usher-finalizer");
    }
    let more = json!({"metadata": {"finalizers": ["example.com/other", "usher.dev/offboard"]}});
    allowed("one of her own next to it", change(&binder, "Developer", &person, more).await);
    let right = rule("usher.dev", "developers", &[&person], &["release"]);
    let (_, releaser) = siege.somebody(&["usher-binder"], &[right]).await;
    allowed("with release", change(&releaser, "Developer", &person, json!({"metadata": {"finalizers": null}})).await);
}

/// The garbage collector may not bind, and takes its own finalizer off all the same.
#[tokio::test]
async fn foreground_deletion_of_a_binding_ends() {
    let siege = Siege::new().await;
    let (role, binding) = (name("role"), name("bind"));
    allowed("a Role", create(&siege.client, "Role", &role, json!({})).await);
    let (_, binder) = siege.somebody(&["usher-binder"], &[may_bind(&role)]).await;
    allowed("a Binding", create(&binder, "Binding", &binding, json!({"role": role, "developers": ["nobody"]})).await);
    let parameters = DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    let bindings = kind(&binder, "Binding").await;
    bindings.delete(&binding, &parameters).await.unwrap();
    wait_until("the Binding is gone", super::SOON, async || match bindings.get_opt(&binding).await {
        Ok(None) => Ok(()),
        Ok(Some(object)) => Err(format!("{:?}", object.metadata)),
        Err(error) => Err(explain(&error)),
    })
    .await;
}

#[tokio::test]
async fn a_definition_is_deleted_only_after_it_was_annotated() {
    let siege = Siege::new().await;
    let crds: kube::Api<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> =
        kube::Api::all(siege.client.clone());
    for crd in usher::api::crds() {
        let crd = crd.metadata.name.unwrap();
        // A dry run asks admission, and deletes nothing should it say yes.
        refused(&crd, crds.delete(&crd, &DeleteParams { dry_run: true, ..DeleteParams::default() }).await.map(drop), "usher-definitions");
    }
    let all = crds.delete_collection(&DeleteParams { dry_run: true, ..DeleteParams::default() }, &kube::api::ListParams::default()).await;
    refused("all of them", all.map(drop), "usher-definitions");
}

/// A GitOps tool applies what is in Git every second and prunes what is not; somebody deletes the wrong folder, and puts it back.
async fn a_folder_is_missing_in_git(plane: &ControlPlane, client: &kube::Client) {
    let bob = ready(client, "bob").await;
    let (known, place) = (subject(&bob), workspace(&bob));
    let manifest = |person: &str| {
        let email = format!("{person}@example.com");
        json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": person, "labels": {"from": "git"}}, "spec": {"email": email}})
    };
    let sync = async |people: &[&str]| {
        let folder = json!({"apiVersion": "v1", "kind": "List", "items": people.iter().map(|person| manifest(person)).collect::<Vec<_>>()});
        let prune = ["--prune", "--selector=from=git", "--prune-allowlist=usher.dev/v1alpha1/Developer"];
        plane.kubectl_with(&[&["apply", "-f", "-"][..], &prune].concat(), &folder.to_string()).await
    };
    sync(&["ada", "bob"]).await.ok();
    for _ in 0..5 {
        let said = sync(&["ada"]).await;
        assert!(
            !said.success && said.stderr.contains("dev/bob has not departed, so it cannot be deleted: first kubectl patch"),
            "it says what to do: {said:?}"
        );
        throughout("bob works on", Duration::from_secs(1), async || {
            if can(client, &known, "get", "pods", Some(&place)).await { Ok(()) } else { Err("he may not") }
        })
        .await;
    }
    let there = kind(client, "Developer").await.get("bob").await.unwrap();
    assert!(there.metadata.deletion_timestamp.is_none() && there.metadata.uid == bob.metadata.uid, "{:?}", there.metadata);
    sync(&["ada", "bob"]).await.ok();
}

/// A wrong folder deleted in Git locks nobody out: by default, deleting is refused to everybody.
#[tokio::test]
async fn a_developer_is_deleted_only_after_she_was_told_to_depart() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let values = ["protection.deleteDeveloper=RequireDeparted", "starterRoles=false", PATIENT[0], PATIENT[1]];
    let install = Install::new(&plane, &values).await;
    let operator = Operator::start(&install).await;
    operator.ready().await;
    in_force(&client, &super::impersonate(&plane, crate::support::audit::OPERATOR, &["system:masters"]).await).await;
    for person in ["ada", "bob"] {
        allowed("somebody", create(&client, "Developer", person, json!({"email": format!("{person}@example.com")})).await);
        ready(&client, person).await;
    }
    a_folder_is_missing_in_git(&plane, &client).await;
    refused("by an administrator", delete(&client, "Developer", "ada").await, "usher-developer-deletion");
    let all = kind(&client, "Developer").await.delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await;
    refused("all of them", all.map(drop), "usher-developer-deletion");
    change(&client, "Developer", "ada", json!({"spec": {"state": "Suspended"}})).await.unwrap();
    refused("suspended", delete(&client, "Developer", "ada").await, "usher-developer-deletion");

    change(&client, "Developer", "ada", json!({"spec": {"state": "Departed"}})).await.unwrap();
    allowed("told to depart, without waiting", delete(&client, "Developer", "ada").await);
    change(&client, "Developer", "bob", json!({"spec": {"endsAt": "2020-01-01T00:00:00Z"}})).await.unwrap();
    reaches(&client, "Developer", "bob", "/status/state", "Departed").await;
    allowed("departed by her date", delete(&client, "Developer", "bob").await);
    plane.stop().await;
}
