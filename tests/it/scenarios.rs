//! The access rules by example, for people who do not program: `tests/scenarios/<name>/given.yaml` says what is there, `then.yaml` what follows.
//!
//! `given.yaml` begins with `story` and `now`; objects follow. A further document with `story` and `now` lets time pass: what came before is worked off
//! first, then what follows is applied. `UPDATE_SCENARIOS=1` writes every `then.yaml` anew; the review sees the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use kube::ResourceExt;
use serde_json::{Value, json};
use usher::api::developer::Identity;
use usher::api::{Grant, Mode};
use usher::plan::access::paused;
use usher::plan::bound::RbacBinding;
use usher::plan::change::Step;
use usher::plan::cluster::ClusterKey;

use crate::cluster_model::{CLUSTER_ROLES, Model};
use crate::effective::{Held, Right, held, held_where};
use crate::naive::Naive;
use crate::properties::exact::difference as exact;
use crate::record::{Grants, record};

#[test]
fn every_scenario_ends_as_written() {
    let update = std::env::vars().any(|(name, value)| name == "UPDATE_SCENARIOS" && value == "1");
    let mut wrong = String::new();
    let mut count = 0;
    for folder in folders() {
        count += 1;
        let given = std::fs::read_to_string(folder.join("given.yaml")).expect("a scenario has a given.yaml");
        let now = run(&given);
        let path = folder.join("then.yaml");
        if update {
            std::fs::write(&path, &now).expect("written");
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        if written != now {
            let name = folder.file_name().expect("a name").to_string_lossy();
            writeln!(wrong, "scenario {name} ends otherwise:\n{}", difference(&written, &now)).expect("a String");
        }
    }
    assert!(count >= 12, "there are scenarios, so if none is found the search is wrong");
    assert!(wrong.is_empty(), "\n{wrong}\nIf that is meant: UPDATE_SCENARIOS=1 cargo test --test it scenario, and review the difference.");
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut folders: Vec<_> = std::fs::read_dir(root).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

/// The lines that are in one text alone.
fn difference(before: &str, after: &str) -> String {
    let only = |left: &str, right: &str, sign: char| {
        let right: BTreeSet<&str> = right.lines().collect();
        left.lines().filter(|line| !right.contains(line)).map(|line| format!("  {sign} {line}\n")).collect::<String>()
    };
    format!("{}{}", only(before, after, '-'), only(after, before, '+'))
}

fn run(given: &str) -> String {
    let documents: Vec<Value> = serde_saphyr::from_multiple(given).unwrap_or_else(|error| panic!("{error}"));
    let mut model = Model::new("2000-01-01T00:00:00Z".parse().expect("a time"), [ClusterKey::Home]);
    for (name, _) in CLUSTER_ROLES {
        model.set_foreign_cluster_role(&ClusterKey::Home, name, false);
    }
    let mut grants = Grants::new();
    let mut text = String::new();
    for (at, document) in documents.iter().enumerate() {
        if let Some(now) = document["now"].as_str() {
            if at > 0 {
                text.push_str(&stage(&mut model, &mut grants));
            }
            model.now = now.parse().expect("a time");
            writeln!(text, "{}# {}, at {now}:", if at > 0 { "---\n" } else { "" }, document["story"].as_str().expect("a story").trim())
                .expect("a String");
        } else {
            model.add(document);
        }
    }
    text + &stage(&mut model, &mut grants)
}

/// Works off what is there and says how it ended. What is paused or observed apart, a naive reading of the rules says the same.
fn stage(model: &mut Model, grants: &mut Grants) -> String {
    model.settle();
    record(model, grants);
    assert_eq!(record(model, grants), 0, "recording twice records nothing");
    let people: BTreeMap<String, Value> = model.world.developers().map(|(name, _)| (name.clone(), person(model, name, grants))).collect();
    let naive = Naive::of(model).held();
    let enforced = held_where(model, |_, label| {
        let environment = label("usher.dev/environment").and_then(|name| model.world.environment(&name).cloned());
        environment.is_none_or(|environment| environment.spec.mode == Mode::Enforce)
    });
    let world = &model.world;
    let anything_paused = world.roles().any(|(_, it)| paused(it.as_ref()))
        || world.bindings().any(|(_, it)| paused(it.as_ref()))
        || world.developers().any(|(_, it)| paused(it.as_ref()))
        || world.environments().any(|(_, it)| paused(it.as_ref()));
    assert!(anything_paused || enforced == naive, "the naive reading of DESIGN.md says otherwise: {}", exact(&enforced, &naive));
    let sections = [
        ("people", json!(people)),
        ("findings", json!(says(model))),
        ("withheld", json!(withheld(model))),
        ("objects", json!(objects(model))),
    ];
    let filled = sections.into_iter().filter(|(_, value)| *value != json!({}) && *value != json!([]));
    filled.map(|(key, value)| serde_saphyr::to_string(&BTreeMap::from([(key, value)])).expect("YAML")).collect()
}

fn person(model: &Model, name: &str, grants: &Grants) -> Value {
    let plan = model.plan_developer(name).expect("she is there");
    let mut person = json!({"is": format!("{:?}", plan.standing)});
    let known: Vec<String> = plan.identities.iter().map(|identity| format!("{} as {}", identity.environment, subject(identity))).collect();
    let workspaces: Vec<String> = plan
        .workspaces
        .iter()
        .map(|it| {
            let home = if it.home { ", home" } else { "" };
            let end = it.delete_at.as_ref().map(|time| format!(", deleted at {}", time.0)).unwrap_or_default();
            format!("{} in {}{home}{end}", it.namespace, it.environment)
        })
        .collect();
    let subjects: BTreeSet<String> = plan.identities.iter().map(subject).collect();
    let has: Vec<String> = held(model).iter().filter(|it| subjects.contains(&it.subject)).map(right).collect();
    let record: Vec<String> = grants.values().filter(|grant| grant.spec.developer.name == name).map(|grant| interval(grant)).collect();
    for (key, list) in [("known", known), ("workspaces", workspaces), ("has", has), ("record", record)] {
        if !list.is_empty() {
            person[key] = json!(list);
        }
    }
    person
}

fn subject(identity: &Identity) -> String {
    match &identity.namespace {
        Some(namespace) => format!("{} {namespace}/{}", identity.kind, identity.name),
        None => format!("{} {}", identity.kind, identity.name),
    }
}

fn right(held: &Held) -> String {
    let what = match &held.right {
        Right::ClusterRole(name) => format!("ClusterRole {name}"),
        Right::Verb(verb) => verb.clone(),
    };
    match &held.namespace {
        Some(namespace) => format!("{what} in {namespace}"),
        None => format!("{what} cluster-wide"),
    }
}

fn interval(grant: &Grant) -> String {
    let spec = &grant.spec;
    let end = spec.ended.as_ref().map(|ended| format!(", ended {} ({:?})", ended.at.0, ended.cause)).unwrap_or_default();
    let until = spec.until.as_ref().map(|time| format!(", until {}", time.0)).unwrap_or_default();
    let targets: Vec<&str> = spec.targets.iter().map(|it| it.name.as_str()).collect();
    let via: Vec<&str> = spec.via.iter().map(|it| it.name.as_str()).collect();
    format!("urole/{} via {} in {} since {}{until}{end}", spec.role, via.join(","), targets.join(","), spec.since.0)
}

fn says(model: &Model) -> BTreeMap<String, Vec<String>> {
    let mut says: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (whose, finding) in model.all_findings() {
        says.entry(whose).or_default().push(format!("{}, {}: {}", finding.condition, finding.reason.as_str(), finding.message));
    }
    says
}

fn withheld(model: &Model) -> Vec<String> {
    let title = |step: &Step| {
        let meta = step.change.meta();
        let namespace = meta.namespace.as_ref().map(|it| format!("{it}/")).unwrap_or_default();
        format!("{:?} {} {namespace}{}", step.change.verb(), step.change.kind(), meta.name.as_deref().unwrap_or_default())
    };
    let roles = model.world.roles().filter_map(|(name, _)| model.plan_role(name)).flat_map(|plan| plan.withheld);
    let people = model.world.developers().filter_map(|(name, _)| model.plan_developer(name)).flat_map(|plan| plan.withheld);
    roles.chain(people).map(|step| title(&step)).collect()
}

/// What a binding gives, and to whom.
fn given(binding: &impl RbacBinding) -> Value {
    let title = |it: &k8s_openapi::api::rbac::v1::Subject| {
        let namespace = it.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{} {namespace}{}", it.kind, it.name)
    };
    json!({"gives": binding.role_ref().name, "to": binding.subjects().iter().map(title).collect::<Vec<_>>()})
}

/// What usher made: bindings with what they give to whom, ClusterRoles with their rules, the rest by name.
fn objects(model: &Model) -> BTreeMap<String, Value> {
    let mut objects = BTreeMap::new();
    let state = &model.clusters[&ClusterKey::Home];
    for ((namespace, name), bound) in state.role_bindings.iter().filter(|(_, bound)| bound.ours) {
        objects.insert(format!("RoleBinding {namespace}/{name}"), given(&bound.whole()));
    }
    for ((_, name), bound) in state.cluster_role_bindings.iter().filter(|(_, bound)| bound.ours) {
        objects.insert(format!("ClusterRoleBinding {name}"), given(&bound.whole()));
    }
    for (name, role) in &state.cluster_roles {
        let rules = role.rules.iter().flatten().map(|rule| {
            let names = rule.resource_names.as_ref().map(|names| format!(" {}", names.join(","))).unwrap_or_default();
            format!("{} {}{names}", rule.verbs.join(","), rule.resources.clone().unwrap_or_default().join(","))
        });
        objects.insert(format!("ClusterRole {name}"), json!(rules.collect::<Vec<_>>()));
    }
    for (name, namespace) in state.namespaces.iter().filter(|(_, it)| state.ours(it.as_ref())) {
        let notes = namespace.annotations().iter().filter(|(key, _)| !key.ends_with("developer-uid"));
        objects.insert(format!("Namespace {name}"), json!(notes.collect::<BTreeMap<_, _>>()));
    }
    let mut list = |kind: &str, keys: Vec<&(String, String)>| {
        for (namespace, name) in keys {
            objects.insert(format!("{kind} {namespace}/{name}"), json!({}));
        }
    };
    list("ServiceAccount", state.service_accounts.keys().collect());
    list("ResourceQuota", state.quotas.keys().collect());
    list("LimitRange", state.limits.keys().collect());
    list("NetworkPolicy", state.network_policies.keys().collect());
    list("Secret", state.secrets.keys().collect());
    list("ConfigMap", state.config_maps.keys().collect());
    objects
}
