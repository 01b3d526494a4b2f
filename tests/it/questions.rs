//! The questions of auditors, asked of the model: who had what when, why somebody may do something, and what nobody owns any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleBinding};
use kube::ResourceExt;
use serde_json::{Value, json};
use usher::api::Grant;
use usher::plan::change::Write;
use usher::plan::cluster::ClusterKey;
use usher::plan::export::{Happened, Line};
use usher::plan::holdings::{Filter, held_at, held_now, newest};
use usher::plan::orphan::orphans;
use usher::plan::why::{Answer, Inquiry, Question, Reason, Rules, why};

use crate::cluster_model::Model;
use crate::record::{Grants, record};
use crate::worlds::{later, model, noon};

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// Ada is in the team that holds urole/lead, which includes urole/backend; dev has a shared namespace and workspaces.
fn company() -> Model {
    let mut company = model(noon());
    for document in [
        object("Environment", "dev", &json!({"namespaces": {"matchLabels": {"env": "dev"}}, "workspace": {}})),
        json!({"kind": "Namespace", "metadata": {"name": "shop", "labels": {"env": "dev"}}}),
        json!({"kind": "Namespace", "metadata": {"name": "strange", "labels": {}}}),
        object("Role", "lead", &json!({"includes": ["backend"]})),
        object(
            "Role",
            "backend",
            &json!({"access": [
                {"name": "look", "environments": ["dev"], "clusterRoles": ["view"]},
                {"name": "forward", "environments": ["dev"], "rules": [{"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["create"]}]},
            ]}),
        ),
        object("Developer", "ada", &json!({"email": "ada@x", "teams": ["payments"]})),
        object("Binding", "leads", &json!({"role": "lead", "teams": ["payments"], "reason": "she leads"})),
    ] {
        company.add(&document);
    }
    company.settle();
    company
}

/// What the ClusterRoles of the model allow: those that usher made, and the built-in ones.
fn rules(model: &Model) -> Rules {
    let own = model.clusters[&ClusterKey::Home].cluster_roles.iter();
    let mut cluster: BTreeMap<String, Vec<PolicyRule>> =
        own.map(|(name, role)| (name.clone(), role.rules.clone().unwrap_or_default())).collect();
    for (name, verbs) in crate::cluster_model::CLUSTER_ROLES {
        let rule = |(resource, verb): &(&str, &str)| PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec![(*resource).to_owned()]),
            verbs: vec![(*verb).to_owned()],
            ..PolicyRule::default()
        };
        cluster.insert(name.to_owned(), verbs.iter().map(rule).collect());
    }
    Rules { cluster, inside: BTreeMap::new() }
}

fn ask(model: &Model, verb: &str, resource: &str, namespace: Option<&str>) -> Answer {
    let (resource, sub) = resource.split_once('/').map_or((resource, None), |(resource, sub)| (resource, Some(sub.to_owned())));
    let question = Question {
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        subresource: sub,
        namespace: namespace.map(str::to_owned),
        ..Question::default()
    };
    let (rules, developer) = (rules(model), model.world.developer("ada").expect("she is there"));
    model.read(|scene| why(&Inquiry { scene, developer, question: &question, rules: &rules, now: model.now }))
}

#[track_caller]
fn only(answer: &Answer) -> &Reason {
    let [reason] = answer.reasons.as_slice() else { panic!("not one reason: {answer:?}") };
    reason
}

#[test]
fn a_role_is_named_with_the_binding_the_team_the_way_and_the_rule() {
    for (verb, resource, entry) in [("get", "pods", "look"), ("create", "pods/portforward", "forward")] {
        let answer = ask(&company(), verb, resource, Some("shop"));
        let Reason::Role { binding, team, roles, access, environment, rule, rbac } = only(&answer) else { panic!("{answer:?}") };
        assert_eq!((binding.as_str(), team.as_deref(), environment.as_deref()), ("ubind/leads", Some("payments"), Some("dev")));
        assert_eq!((roles.join(">"), access.join(",")), ("lead>backend".to_owned(), entry.to_owned()));
        assert!(
            rule.contains(verb) && rule.contains(resource) && rbac.starts_with("RoleBinding shop/usher:role:backend:"),
            "{rule} {rbac}"
        );
        assert!(answer.notes.is_empty(), "{answer:?}");
    }
}

#[test]
fn her_workspace_is_hers_and_elsewhere_she_may_nothing() {
    let company = company();
    assert!(
        matches!(only(&ask(&company, "create", "pods", Some("dev-ada"))), Reason::Owner { environment: Some(dev), .. } if dev == "dev")
    );
    let answer = ask(&company, "delete", "pods", Some("shop"));
    assert!(answer.reasons.is_empty() && answer.notes[0].contains("urole/backend, urole/lead"), "{answer:?}");
    let answer = ask(&company, "get", "pods", Some("strange"));
    assert!(answer.reasons.is_empty() && answer.notes[1].contains("belongs to no Environment"), "{answer:?}");
    assert!(ask(&company, "get", "pods", None).reasons.is_empty(), "what is in a namespace is not cluster-wide");
}

#[test]
fn whoever_stands_still_has_nothing_and_is_told_why() {
    let mut company = company();
    company.add(&object("Developer", "ada", &json!({"email": "ada@x", "teams": ["payments"], "state": "Suspended"})));
    company.settle();
    let answer = ask(&company, "get", "pods", Some("shop"));
    assert!(answer.reasons.is_empty() && answer.notes[0].contains("is Suspended"), "{answer:?}");
}

/// Somebody else's binding in a namespace.
fn foreign(model: &mut Model, name: &str, kind: &str, subject: &str, cluster_role: &str) {
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "strange"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": cluster_role},
        "subjects": [{"kind": kind, "name": subject}],
    }))
    .unwrap();
    model.state(&ClusterKey::Home).set_role_binding(&("strange".to_owned(), name.to_owned()), Some(Arc::new(binding)));
}

#[test]
fn what_others_gave_is_said_to_be_theirs() {
    for kind in ["User", "Group"] {
        let mut company = company();
        let account = company.clusters[&ClusterKey::Home].service_accounts.keys().next().unwrap().1.clone();
        let subject =
            if kind == "User" { format!("system:serviceaccount:usher-identities:{account}") } else { "system:authenticated".to_owned() };
        foreign(&mut company, "theirs", kind, &subject, "edit");
        foreign(&mut company, "not-hers", "User", "somebody", "edit");
        let answer = ask(&company, "create", "pods", Some("strange"));
        let Reason::Others { subject: named, rbac, .. } = only(&answer) else { panic!("{answer:?}") };
        assert_eq!((named, rbac.as_str()), (&format!("{kind} {subject}"), "RoleBinding strange/theirs: ClusterRole edit"));
    }
}

#[test]
fn rules_are_read_as_the_api_server_reads_them() {
    let rule = |verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]| PolicyRule {
        verbs: crate::worlds::owned(verbs),
        api_groups: Some(crate::worlds::owned(groups)),
        resources: Some(crate::worlds::owned(resources)),
        resource_names: (!names.is_empty()).then(|| crate::worlds::owned(names)),
        ..PolicyRule::default()
    };
    let pods = Question { verb: "get".to_owned(), resource: "pods".to_owned(), ..Question::default() };
    let log = Question { subresource: Some("log".to_owned()), ..pods.clone() };
    let one = Question { name: Some("web".to_owned()), ..pods.clone() };
    let apps = Question { group: "apps".to_owned(), ..pods.clone() };
    for (rule, expected) in [
        (rule(&["get"], &[""], &["pods"], &[]), [true, false, true, false]),
        (rule(&["*"], &["*"], &["*"], &[]), [true, true, true, true]),
        (rule(&["get"], &[""], &["*/log"], &[]), [false, true, false, false]),
        (rule(&["get"], &["apps"], &["pods"], &[]), [false, false, false, true]),
        (rule(&["get"], &[""], &["pods"], &["web"]), [false, false, true, false]),
        (rule(&["list"], &[""], &["pods", "pods/log"], &[]), [false, false, false, false]),
    ] {
        assert_eq!([&pods, &log, &one, &apps].map(|question| question.allowed_by(&rule)), expected, "{rule:?}");
    }
}

fn everyone(grants: &Grants) -> Vec<&Grant> {
    grants.values().map(AsRef::as_ref).collect()
}

#[test]
fn who_had_what_is_said_to_the_second() {
    let (mut company, mut grants) = (company(), Grants::new());
    record(&company, &mut grants);
    company.now = later(10);
    company.add(&object("Developer", "ada", &json!({"email": "ada@x", "teams": []})));
    company.settle();
    record(&company, &mut grants);
    let roles = |at| held_at(everyone(&grants), at, &Filter::default()).into_iter().map(|it| it.role).collect::<Vec<_>>();
    assert!(roles(later(-1)).is_empty());
    // urole/lead itself gives nothing anywhere, so there is nothing to record of it.
    assert_eq!(roles(noon()), ["backend"]);
    assert_eq!(roles(later(9)), ["backend"]);
    assert!(roles(later(10)).is_empty() && held_now(everyone(&grants), &Filter::default()).is_empty());
    let [then] = held_at(everyone(&grants), noon(), &Filter::default()).try_into().unwrap();
    assert_eq!(
        (then.via.join(","), then.targets.join(","), then.reason.as_str()),
        ("leads (team payments)".to_owned(), "environment/dev".to_owned(), "she leads")
    );
    assert_eq!((then.ended_why.as_str(), then.ended_by.as_str()), ("DeveloperEdited", "unknown"));
    for (developer, role, found) in
        [(Some("ada"), None, 1), (Some("bob"), None, 0), (None, Some("backend"), 1), (Some("ada"), Some("lead"), 0)]
    {
        let filter = Filter { developer: developer.map(str::to_owned), role: role.map(str::to_owned) };
        assert_eq!(held_at(everyone(&grants), noon(), &filter).len(), found, "{filter:?}");
    }
}

#[test]
fn an_export_is_read_as_often_as_it_was_written_and_in_any_order() {
    let (mut company, mut grants) = (company(), Grants::new());
    record(&company, &mut grants);
    let version = |grants: &Grants, version: &str| {
        let mut grant = grants.values().next().unwrap().as_ref().clone();
        grant.metadata.resource_version = Some(version.to_owned());
        grant.metadata.uid = Some("u".to_owned());
        grant
    };
    let running = version(&grants, "9");
    company.now = later(10);
    company.add(&object("Developer", "ada", &json!({"email": "ada@x", "teams": []})));
    company.settle();
    record(&company, &mut grants);
    let ended = version(&grants, "10");
    let line = |event, grant: &Grant| Line::of("stream", 1, event, grant).text();
    let text = [line(Happened::Written, &ended), line(Happened::Kept, &running), line(Happened::Gone, &ended)].concat();
    let read: Vec<Grant> = text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap().grant().expect("a Grant")).collect();
    assert_eq!(newest(read), [ended]);
}

/// What is an orphan: its title, its owner, and whether it goes as a whole.
fn titles(model: &Model) -> BTreeSet<(String, String, bool)> {
    let found = model.read(orphans);
    found.iter().map(|it| (it.title().split(':').next().unwrap().to_owned(), it.owner.to_string(), it.goes_whole())).collect()
}

fn set(items: &[(&str, &str, bool)]) -> BTreeSet<(String, String, bool)> {
    items.iter().map(|(title, owner, whole)| ((*title).to_owned(), (*owner).to_owned(), *whole)).collect()
}

#[test]
fn what_has_an_owner_is_no_orphan() {
    assert!(titles(&company()).is_empty(), "{:?}", titles(&company()));
    let mut left = company();
    left.add(&object("Developer", "ada", &json!({"email": "ada@x", "state": "Departed"})));
    left.settle();
    left.set_developer("ada", None);
    assert!(titles(&left).is_empty(), "her workspace is kept by policy: {:?}", titles(&left));
}

#[test]
fn what_was_a_vanished_person_s_is_an_orphan() {
    let mut company = company();
    company.set_developer("ada", None);
    let account = company.clusters[&ClusterKey::Home].service_accounts.keys().next().unwrap().1.clone();
    let expected = [
        ("RoleBinding dev-ada/usher", "dev/ada", true),
        (&format!("ServiceAccount usher-identities/{account}"), "dev/ada", true),
        ("Namespace dev-ada", "dev/ada", true),
        ("RoleBinding shop/usher", "urole/backend", true),
    ];
    assert_eq!(titles(&company), set(&expected));
    // Somebody else of that name is not the owner either.
    let mut stranger = object("Developer", "ada", &json!({"email": "ada@x", "personId": "9"}));
    stranger["metadata"]["uid"] = json!("another");
    let mut first = company;
    let mut identified = object("Developer", "ada", &json!({"email": "ada@x", "personId": "1"}));
    identified["metadata"]["uid"] = json!("first");
    first.add(&identified);
    first.settle();
    first.add(&stranger);
    let why: Vec<String> = first.read(orphans).into_iter().map(|it| it.why).collect();
    assert!(why.iter().any(|why| why.contains("another person's than today's dev/ada")), "{why:?}");
}

#[test]
fn what_was_a_vanished_role_s_is_an_orphan_and_others_objects_never_are() {
    let mut company = company();
    foreign(&mut company, "theirs", "User", "somebody", "edit");
    company.set_role("backend", None);
    let expected = [("RoleBinding shop/usher", "urole/backend", true), ("ClusterRole usher", "urole/backend", true)];
    assert_eq!(titles(&company), set(&expected));
}

#[test]
fn of_a_binding_with_others_in_it_only_the_orphaned_subjects_go() {
    let mut company = company();
    company.add(&object("Developer", "bob", &json!({"email": "bob@x", "teams": ["payments"]})));
    company.settle();
    company.set_developer("ada", None);
    let found = company.read(orphans);
    let shared: Vec<_> = found.iter().filter(|it| it.removal.meta().namespace.as_deref() == Some("shop")).collect();
    assert_eq!(shared.len(), 2, "of both access entries: {found:?}");
    for orphan in shared {
        assert!(!orphan.goes_whole() && orphan.subjects()[0].starts_with("ada-"), "{orphan:?}");
        let usher::plan::change::Change::RoleBinding(Write::Replace(rest)) = &orphan.removal else { panic!("{orphan:?}") };
        let left: Vec<&str> = rest.subjects.iter().flatten().map(|subject| subject.name.as_str()).collect();
        assert!(left.len() == 1 && left[0].starts_with("bob-") && !rest.name_any().is_empty(), "{left:?}");
    }
}
