//! Who asked for a Grant, who ended it, and why: what the record says after each kind of edit, and that it accuses nobody of what it cannot know.

use kube::ResourceExt;
use serde_json::{Value, json};
use usher::api::grant::EndCause::{self, *};
use usher::api::{GrantSpec, GrantState};

use crate::cluster_model::Model;
use crate::record::{Grants, record};
use crate::worlds::{later, model, noon};

/// One of usher's objects, as somebody wrote it last.
fn object(kind: &str, name: &str, by: &str, generation: i64, spec: &Value) -> Value {
    json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": kind, "spec": spec,
        "metadata": {"name": name, "generation": generation, "annotations": {"usher.dev/requested-by": by}},
    })
}

fn ada(by: &str, more: &Value) -> Value {
    let mut spec = json!({"email": "ada@x", "teams": ["payments"]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object("Developer", "ada", by, 1, &spec)
}

fn role(name: &str, by: &str, generation: i64, environments: &[&str], includes: &[&str]) -> Value {
    let access = json!([{"name": "work", "environments": environments, "clusterRoles": ["view"]}]);
    let access = if environments.is_empty() { json!([]) } else { access };
    object("Role", name, by, generation, &json!({"access": access, "includes": includes}))
}

fn binding(name: &str, by: &str, spec: &Value) -> Value {
    object("Binding", name, by, 1, spec)
}

/// A Binding that was there before and that somebody wrote again.
fn edited(by: &str, spec: &Value) -> Value {
    object("Binding", "b", by, 2, spec)
}

/// The same object, on its way out.
fn deleted(mut object: Value) -> Value {
    object["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
    object
}

/// Ada, written by dora, holds urole/backend, written by rita, by one Binding, written by bill.
struct Case {
    model: Model,
    grants: Grants,
}

impl Case {
    fn new(binding: &Value) -> Self {
        Self::of(&[ada("dora", &json!({})), role("backend", "rita", 1, &["dev"], &[]), binding.clone()])
    }

    fn of(documents: &[Value]) -> Self {
        let mut case = Self { model: model(noon()), grants: Grants::new() };
        for name in ["dev", "prod"] {
            case.model.add(&object("Environment", name, "root", 1, &json!({"namespaces": {"matchLabels": {"env": name}}})));
            case.model.add(&json!({"kind": "Namespace", "metadata": {"name": format!("shop-{name}"), "labels": {"env": name}}}));
        }
        documents.iter().for_each(|document| case.model.add(document));
        case.goes_on();
        assert!(case.grants.values().all(|grant| grant.spec.state == GrantState::Active) && !case.grants.is_empty());
        case
    }

    fn goes_on(&mut self) {
        self.model.settle();
        record(&self.model, &mut self.grants);
    }

    fn grant(&self, role: &str) -> GrantSpec {
        self.grants.values().find(|grant| grant.spec.role == role).expect("a Grant").spec.clone()
    }

    /// What an edit makes of the Grant of urole/backend.
    fn after(mut self, edits: &[Value]) -> (EndCause, String) {
        edits.iter().for_each(|edit| self.model.add(edit));
        self.goes_on();
        let end = self.grant("backend").ended.unwrap_or_else(|| panic!("it goes on: {:#?}", self.grant("backend")));
        (end.cause, end.by)
    }
}

fn hers() -> Value {
    binding("b", "bill", &json!({"role": "backend", "developers": ["ada"]}))
}

fn by_team() -> Value {
    binding("b", "bill", &json!({"role": "backend", "teams": ["payments"]}))
}

#[track_caller]
fn check(found: (EndCause, String), cause: EndCause, by: &str) {
    assert_eq!((found.0, found.1.as_str()), (cause, by));
}

#[test]
fn a_grant_names_the_author_of_its_binding_and_what_a_trusted_applier_said() {
    let mut by_git = hers();
    let notes = by_git["metadata"]["annotations"].as_object_mut().unwrap();
    notes.insert("usher.dev/on-behalf-of".to_owned(), "bob@x".into());
    notes.insert("usher.dev/change".to_owned(), "https://git.x/pulls/41".into());
    by_git["spec"]["reason"] = "on call".into();
    let grant = Case::new(&by_git).grant("backend");
    assert_eq!(grant.granted_by, "bill");
    assert_eq!((grant.on_behalf_of.as_deref(), grant.change.as_deref()), (Some("bob@x"), Some("https://git.x/pulls/41")));
    assert_eq!((grant.reason.as_deref(), grant.via[0].team.as_deref()), (Some("on call"), None));

    let grant = Case::new(&by_team()).grant("backend");
    assert_eq!((grant.granted_by.as_str(), grant.on_behalf_of, grant.via[0].team.as_deref()), ("bill", None, Some("payments")));
    let mut unsigned = hers();
    unsigned["metadata"]["annotations"] = json!({});
    assert_eq!(Case::new(&unsigned).grant("backend").granted_by, "unknown");
}

#[test]
fn of_several_bindings_the_oldest_says_who_and_why() {
    let mut young = binding("a", "yves", &json!({"role": "backend", "developers": ["ada"], "reason": "young"}));
    young["metadata"]["creationTimestamp"] = json!("2026-02-01T00:00:00Z");
    let mut old = binding("z", "olga", &json!({"role": "backend", "teams": ["payments"], "reason": "old"}));
    old["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let grant = Case::of(&[ada("dora", &json!({})), role("backend", "rita", 1, &["dev"], &[]), young, old]).grant("backend");
    assert_eq!((grant.granted_by.as_str(), grant.reason.as_deref()), ("olga", Some("old")));
}

#[test]
fn an_end_by_an_edit_of_the_person_names_her_last_author() {
    for (edit, cause) in [
        (json!({"state": "Suspended"}), DeveloperSuspended),
        (json!({"state": "Departed"}), DeveloperDeparted),
        (json!({"startsAt": later(60).to_string()}), DeveloperSuspended),
        (json!({"endsAt": later(-60).to_string()}), DeveloperDeparted),
    ] {
        check(Case::new(&hers()).after(&[ada("sue", &edit)]), cause, "sue");
    }
    check(Case::new(&by_team()).after(&[ada("sue", &json!({"teams": ["search"]}))]), DeveloperEdited, "sue");
}

#[test]
fn an_end_by_an_edit_of_the_binding_names_its_last_author() {
    for edit in [
        json!({"role": "backend", "developers": ["bob"]}),
        json!({"role": "backend", "developers": ["ada"], "environments": ["prod"]}),
        json!({"role": "backend", "developers": ["ada"], "startsAt": later(60).to_string()}),
        json!({"role": "other", "developers": ["ada"]}),
    ] {
        let case = Case::of(&[
            ada("dora", &json!({})),
            role("backend", "rita", 1, &["dev"], &[]),
            hers(),
            role("other", "rita", 1, &["prod"], &[]),
        ]);
        check(case.after(&[edited("bea", &edit)]), BindingEdited, "bea");
    }
    let case = Case::new(&by_team());
    check(case.after(&[edited("bea", &json!({"role": "backend", "teams": ["search"]}))]), BindingEdited, "bea");
    let case = Case::new(&hers());
    let past = json!({"role": "backend", "developers": ["ada"], "expiresAt": later(-60).to_string()});
    check(case.after(&[edited("bea", &past)]), BindingExpired, "bea");
}

#[test]
fn nobody_ends_what_expires_as_announced() {
    let end = json!({"role": "backend", "developers": ["ada"], "expiresAt": later(60).to_string()});
    let mut case = Case::new(&binding("b", "bill", &end));
    case.model.now = later(61);
    check(case.after(&[]), BindingExpired, "nobody (expired)");
    let mut case = Case::of(&[ada("dora", &json!({"endsAt": later(60).to_string()})), role("backend", "rita", 1, &["dev"], &[]), hers()]);
    case.model.now = later(61);
    check(case.after(&[]), DeveloperDeparted, "nobody (expired)");
}

#[test]
fn who_deletes_is_unknown() {
    let role_now = || role("backend", "rita", 1, &["dev"], &[]);
    check(Case::new(&hers()).after(&[deleted(hers())]), BindingDeleted, "unknown (deleted)");
    check(Case::new(&hers()).after(&[deleted(role_now())]), RoleDeleted, "unknown (deleted)");
    check(Case::new(&hers()).after(&[deleted(ada("dora", &json!({})))]), DeveloperDeleted, "unknown (deleted)");
    let gone = deleted(object("Environment", "dev", "root", 1, &json!({"namespaces": {"matchLabels": {"env": "dev"}}})));
    check(Case::new(&hers()).after(&[gone]), EnvironmentDeleted, "unknown (deleted)");
}

#[test]
fn an_end_by_an_edit_of_the_role_names_its_last_author() {
    check(Case::new(&hers()).after(&[role("backend", "rob", 2, &[], &[])]), RoleEdited, "rob");
}

/// Ada holds urole/outer, which includes urole/middle, which includes urole/backend.
fn nested() -> Case {
    Case::of(&[
        ada("dora", &json!({})),
        role("backend", "rita", 1, &["dev"], &[]),
        role("middle", "mia", 1, &["dev"], &["backend"]),
        role("outer", "olaf", 1, &["dev"], &["middle"]),
        binding("b", "bill", &json!({"role": "outer", "developers": ["ada"]})),
    ])
}

#[test]
fn an_end_of_an_inclusion_names_an_author_only_if_there_is_but_one() {
    check(nested().after(&[role("backend", "rob", 2, &[], &[])]), RoleEdited, "rob");
    check(nested().after(&[role("outer", "olaf", 2, &["dev"], &[])]), RoleEdited, "olaf");
    // Whether middle or outer was edited cannot be told from what is left.
    check(nested().after(&[role("middle", "max", 2, &["dev"], &[])]), RoleEdited, "unknown");
    check(nested().after(&[role("middle", "olaf", 2, &["dev"], &[])]), RoleEdited, "olaf");
    check(nested().after(&[deleted(role("middle", "mia", 1, &["dev"], &["backend"]))]), RoleEdited, "unknown");
    check(nested().after(&[role("middle", "max", 2, &["dev"], &["backend", "outer"])]), RoleEdited, "unknown");
}

/// A ClusterRole that went takes the access with it; whoever wrote the Role last did not.
#[test]
fn what_nobody_edited_is_nobody_s_deed() {
    let mut case = Case::new(&hers());
    case.model.set_foreign_cluster_role(&usher::plan::cluster::ClusterKey::Home, "view", false);
    check(case.after(&[]), RoleEdited, "unknown");
}

#[test]
fn moving_from_a_team_to_ones_own_name_goes_on_in_one_grant() {
    let mut case = Case::new(&by_team());
    case.model.add(&edited("bea", &json!({"role": "backend", "teams": ["payments"], "developers": ["ada"]})));
    case.goes_on();
    assert_eq!(case.grant("backend").via.len(), 1, "she still holds it by the team");
    case.model.add(&ada("sue", &json!({"teams": []})));
    case.goes_on();
    let grant = case.grant("backend");
    let ways: Vec<_> = grant.via.iter().map(|via| (via.team.as_deref(), via.until.is_some())).collect();
    assert_eq!((ways, grant.state), (vec![(Some("payments"), true), (None, false)], GrantState::Active));
    assert_eq!(grant.granted_by, "bill", "as it began");
    check(case.after(&[edited("bea", &by_team()["spec"])]), BindingEdited, "bea");
}

/// Purged Grants do not count any more; the name of the next is still one that no other has.
#[test]
fn the_name_of_a_grant_is_free_whatever_was_purged() {
    let mut case = Case::new(&hers());
    for round in 0..4 {
        for state in ["Suspended", "Active"] {
            case.model.add(&ada("sue", &json!({"state": state})));
            case.goes_on();
        }
        let oldest = case.grants.values().min_by_key(|grant| (grant.spec.since.0, grant.spec.state == GrantState::Active)).expect("one");
        let oldest = oldest.name_any();
        if round % 2 == 0 {
            case.grants.remove(&oldest);
        }
        case.model.now = later(round + 1);
    }
    assert_eq!(case.grants.values().filter(|grant| grant.spec.state == GrantState::Active).count(), 1);
}
