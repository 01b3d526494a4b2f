//! Who asked: stamped at admission, and nobody's to write.

use serde_json::json;

use super::{Siege, allowed, annotate, change, create, impersonate, may_bind, note, refused};
use crate::support::client::kind;
use crate::support::fleet::object;
use crate::support::name;
use crate::support::shared::APPLIER;

const STAMP: &str = "requested-by";

#[tokio::test]
async fn requested_by_is_whoever_changed_spec_or_labels_last() {
    let siege = Siege::new().await;
    let (person, role) = (name("dev"), name("role"));
    allowed("a Role", create(&siege.client, "Role", &role, json!({})).await);
    let (first, one) = siege.somebody(&["usher-binder"], &[may_bind(&role)]).await;
    let (second, two) = siege.somebody(&["usher-binder"], &[may_bind(&role)]).await;
    let made = allowed("somebody", create(&one, "Developer", &person, json!({"email": "a@example.com"})).await);
    assert_eq!(note(&made, STAMP), Some(first.clone()));
    let renamed = allowed("a change", change(&two, "Developer", &person, json!({"spec": {"displayName": "Ada"}})).await);
    assert_eq!(note(&renamed, STAMP), Some(second.clone()));
    let labelled = allowed("a label", change(&one, "Developer", &person, json!({"metadata": {"labels": {"team": "x"}}})).await);
    assert_eq!(note(&labelled, STAMP), Some(first.clone()));
    let paused = allowed("a pause", annotate(&two, "Developer", &person, "paused", Some("true")).await);
    assert_eq!(note(&paused, STAMP), Some(first), "an annotation asks for nothing");
    let binding = json!({"role": role, "developers": [person]});
    let bound = allowed("a Binding", create(&two, "Binding", &name("bind"), binding).await);
    assert_eq!(note(&bound, STAMP), Some(second));
}

/// The finalizer and the status are written by the operator meanwhile, and change nothing.
#[tokio::test]
async fn requested_by_survives_the_operators_own_writes() {
    let siege = Siege::new().await;
    let person = name("dev");
    let (user, client) = siege.somebody(&["usher-binder"], &[]).await;
    allowed("somebody", create(&client, "Developer", &person, json!({"email": "a@example.com"})).await);
    let ready = crate::support::client::ready(&siege.client, &person).await;
    assert_eq!(ready.metadata.finalizers.as_deref(), Some(&["usher.dev/offboard".to_owned()][..]));
    assert_eq!(note(&ready, STAMP), Some(user));
}

#[tokio::test]
async fn requested_by_is_neither_forged_nor_stripped() {
    let siege = Siege::new().await;
    let person = name("dev");
    let (user, client) = siege.somebody(&["usher-binder"], &[]).await;
    let mut forged = object("Developer", &person, &json!({"email": "a@example.com"}));
    forged.metadata.annotations = Some([("usher.dev/requested-by".to_owned(), "boss".to_owned())].into());
    let made = kind(&client, "Developer").await.create(&kube::api::PostParams::default(), &forged).await.unwrap();
    assert_eq!(note(&made, STAMP), Some(user.clone()), "forged when it was made");
    for value in [Some("boss"), None] {
        let made = allowed("an annotation", annotate(&client, "Developer", &person, STAMP, value).await);
        assert_eq!(note(&made, STAMP), Some(user.clone()), "{value:?}");
    }
    let both = json!({"metadata": {"annotations": {"usher.dev/requested-by": "boss"}}, "spec": {"displayName": "Ada"}});
    let made = allowed("a change that says who made it", change(&siege.client, "Developer", &person, both).await);
    assert_eq!(note(&made, STAMP).as_deref(), Some("usher-local-admin"));
    let all = json!({"metadata": {"annotations": null}});
    let made = allowed("no annotations at all", change(&client, "Developer", &person, all).await);
    assert_eq!(note(&made, STAMP).as_deref(), Some("usher-local-admin"));
}

#[tokio::test]
async fn on_whose_behalf_is_taken_from_trusted_appliers_only_and_only_for_what_they_applied() {
    let siege = Siege::new().await;
    let person = name("dev");
    let git = impersonate(siege.plane(), APPLIER, &["system:masters"]).await;
    let (user, client) = siege.somebody(&["usher-binder"], &[]).await;
    let notes = json!({"usher.dev/on-behalf-of": "carol", "usher.dev/change": "https://git.example.com/pulls/41"});
    let mut applied = object("Developer", &person, &json!({"email": "a@example.com"}));
    applied.metadata.annotations = serde_json::from_value(notes).unwrap();
    refused(
        "an untrusted applier",
        kind(&client, "Developer").await.create(&kube::api::PostParams::default(), &applied).await,
        "usher-marks",
    );
    let made = kind(&git, "Developer").await.create(&kube::api::PostParams::default(), &applied).await.unwrap();
    assert_eq!(note(&made, "on-behalf-of").as_deref(), Some("carol"));
    for field in ["on-behalf-of", "change"] {
        refused(field, annotate(&client, "Developer", &person, field, Some("mallory")).await, "usher-marks");
    }
    // What somebody else edits is not what carol asked for.
    let edited = allowed("an edit", change(&client, "Developer", &person, json!({"spec": {"displayName": "Ada"}})).await);
    assert_eq!((note(&edited, STAMP), note(&edited, "on-behalf-of"), note(&edited, "change")), (Some(user), None, None));
}

#[tokio::test]
async fn marks_of_usher_on_what_people_write_are_not_forged() {
    let siege = Siege::new().await;
    let person = name("dev");
    let (_, client) = siege.somebody(&["usher-binder"], &[]).await;
    allowed("somebody", create(&client, "Developer", &person, json!({"email": "a@example.com"})).await);
    for label in ["usher.dev/person", "usher.dev/installation", "usher.dev/developer"] {
        let patch = json!({"metadata": {"labels": {label: "x"}}});
        refused(label, change(&client, "Developer", &person, patch).await, "usher-marks");
    }
    for mark in ["developer-uid", "departed-at", "adopted"] {
        refused(mark, annotate(&client, "Developer", &person, mark, Some("x")).await, "usher-marks");
    }
    refused("a brake", annotate(&client, "Developer", &person, "release", Some("sha256:0")).await, "usher-marks");
    allowed("a label of her own", change(&client, "Developer", &person, json!({"metadata": {"labels": {"example.com/x": "y"}}})).await);
    allowed("a pause", annotate(&client, "Developer", &person, "paused", Some("true")).await);
}
