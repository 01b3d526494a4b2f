//! What a Role contained, revision by revision: kept as ControllerRevisions in usher's namespace.
//!
//! A revision is written after the access that it describes, once per spec. Its number is the Role's generation, which Grants name; a generation without
//! a revision of its own (a deletion makes one) contained what the last one before it did.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use serde_json::Value;

use crate::api::Role;
use crate::api::metadata::{CHANGE, ON_BEHALF_OF, REQUESTED_BY, ROLE, ROLE_UID};

use super::change::labels;
use super::name::{digest, fingerprint};
use super::request::Request;
use super::settings::Settings;
use super::world::deleting;

/// The revision to write for a Role as it is, unless the newest one says the same already.
pub fn plan_revision(settings: &Settings, role: &Role, seen: &[Arc<ControllerRevision>]) -> Option<ControllerRevision> {
    if deleting(role) {
        return None;
    }
    let uid = role.uid().unwrap_or_default();
    let spec = serde_json::to_value(&role.spec).ok()?;
    let newest = seen.iter().filter(|revision| revision.annotations().get(ROLE_UID) == Some(&uid)).max_by_key(|revision| revision.revision);
    let generation = role.metadata.generation.unwrap_or_default();
    let known = newest.is_some_and(|newest| newest.revision >= Some(generation) || newest.data.0 == content_of(&spec));
    if known {
        return None;
    }
    let name = role.name_any();
    let request = Request::of(role);
    let notes =
        [(ROLE_UID, Some(uid.clone())), (REQUESTED_BY, Some(request.by)), (ON_BEHALF_OF, request.on_behalf_of), (CHANGE, request.change)];
    Some(ControllerRevision {
        metadata: ObjectMeta {
            name: Some(self::name(&name, &digest(&[&uid, &generation.to_string()]))),
            namespace: Some(settings.namespace.clone()),
            labels: Some(labels(&settings.installation, [(ROLE, name.as_str())])),
            annotations: Some(notes.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()),
            ..ObjectMeta::default()
        },
        data: RawExtension(spec),
        revision: Some(generation),
    })
}

/// Since when a Role has been in place as it is now: its revision is written after that. Nothing before.
pub fn in_place_since(settings: &Settings, role: &Role, seen: &[Arc<ControllerRevision>]) -> Option<Timestamp> {
    if plan_revision(settings, role, seen).is_some() {
        return None;
    }
    let uid = role.uid();
    let newest =
        seen.iter().filter(|revision| revision.annotations().get(ROLE_UID) == uid.as_ref()).max_by_key(|revision| revision.revision);
    newest?.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// What a revision is called: the Role, and a digest of its UID and generation.
pub fn name(role: &str, digest: &str) -> String {
    format!("usher-role-{role}-{digest}")
}

/// A revision as it is remembered: only a digest of what it contains, as nobody decides by more.
pub fn remembered(mut revision: ControllerRevision) -> ControllerRevision {
    if !revision.data.0.is_string() {
        revision.data = RawExtension(content_of(&revision.data.0));
    }
    revision
}

fn content_of(spec: &Value) -> Value {
    Value::from(fingerprint(spec.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::api::RoleSpec;

    fn settings() -> Settings {
        Settings::of("usher-system", "here")
    }

    fn role(generation: i64, description: &str) -> Role {
        let mut role = Role::new("backend", RoleSpec { description: Some(description.to_owned()), ..RoleSpec::default() });
        role.metadata.generation = Some(generation);
        role.metadata.uid = Some("1".to_owned());
        role.annotations_mut().insert(REQUESTED_BY.to_owned(), "alice".to_owned());
        role
    }

    fn seen(role: &Role) -> Arc<ControllerRevision> {
        Arc::new(remembered(plan_revision(&settings(), role, &[]).expect("nothing was seen yet")))
    }

    #[test]
    fn a_revision_holds_the_spec_and_its_author() {
        let revision = plan_revision(&settings(), &role(3, "x"), &[]).expect("a revision");
        assert_eq!((revision.revision, revision.data), (Some(3), RawExtension(serde_json::json!({"description": "x"}))));
        assert_eq!(revision.metadata.namespace.as_deref(), Some("usher-system"));
        assert_eq!(revision.metadata.annotations.unwrap_or_default().get(REQUESTED_BY).map(String::as_str), Some("alice"));
        assert!(revision.metadata.owner_references.is_none());
    }

    #[test]
    fn one_revision_for_each_spec_and_one_more_when_an_old_one_returns() {
        let first = seen(&role(1, "a"));
        assert_eq!(plan_revision(&settings(), &role(1, "a"), std::slice::from_ref(&first)), None, "it is there");
        assert_eq!(plan_revision(&settings(), &role(2, "a"), std::slice::from_ref(&first)), None, "another generation, the same content");
        let second = seen(&role(2, "b"));
        let both = [first, second];
        assert_eq!(plan_revision(&settings(), &role(2, "b"), &both), None);
        let third = plan_revision(&settings(), &role(3, "a"), &both).expect("as at first, but later");
        assert_eq!(third.revision, Some(3));
        assert!(both.iter().all(|other| other.name_any() != third.name_any()));
    }

    #[test]
    fn a_role_is_in_place_as_it_is_since_its_newest_revision() {
        let made = |role: &Role, second| {
            let mut revision = Arc::unwrap_or_clone(seen(role));
            revision.metadata.creation_timestamp = Timestamp::from_second(second).ok().map(Time);
            Arc::new(revision)
        };
        let since = |role: &Role, seen: &[Arc<ControllerRevision>]| in_place_since(&settings(), role, seen).map(Timestamp::as_second);
        let (first, second) = (made(&role(1, "a"), 100), made(&role(2, "b"), 200));
        assert_eq!(since(&role(1, "a"), &[]), None);
        assert_eq!(since(&role(2, "b"), std::slice::from_ref(&first)), None, "it is being applied");
        assert_eq!(since(&role(2, "b"), &[first, second]), Some(200));
    }

    #[test]
    fn a_role_made_anew_has_revisions_of_its_own() {
        let first = seen(&role(1, "a"));
        let mut again = role(1, "a");
        again.metadata.uid = Some("2".to_owned());
        let revision = plan_revision(&settings(), &again, std::slice::from_ref(&first)).expect("another Role");
        assert_ne!(revision.name_any(), first.name_any());
    }
}
