//! Why somebody may do something: which Binding, Role and rule give it; or whose binding does, if usher did not.
//!
//! The answer is read from the RBAC that is in force, not from what should be: it explains what the API server would answer.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use kube::ResourceExt;
use serde::Serialize;

use crate::api::metadata::{ENTRY, ENVIRONMENT, IDENTITIES_NAMESPACE, ROLE};
use crate::api::{Developer, Role};

use super::access::{Standing, Via, covers, held_roles, lock_holds, standing, team};
use super::bound::{Bound, RbacBinding};
use super::cluster::{ClusterKey, ClusterState};
use super::covering::{gives, has};
use super::identity::Known;
use super::placement::Scene;
use super::subjects::known_in;
use super::world::World;

/// At most this many words of one list are told.
const MOST_WORDS: usize = 6;

/// What somebody wants to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// get, list, watch, create …
    pub verb: String,
    /// The API group; empty for the core one.
    pub group: String,
    /// The plural.
    pub resource: String,
    /// Such as log.
    pub subresource: Option<String>,
    /// One object.
    pub name: Option<String>,
    /// Where; nothing for what is cluster-wide.
    pub namespace: Option<String>,
}

impl Question {
    /// In words.
    pub fn words(&self) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let sub = self.subresource.as_ref().map(|sub| format!("/{sub}")).unwrap_or_default();
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let place = self.namespace.as_ref().map_or_else(|| "cluster-wide".to_owned(), |namespace| format!("in namespace {namespace}"));
        format!("{} {}{group}{sub}{name} {place}", self.verb, self.resource)
    }

    /// The resource as rules write it.
    fn path(&self) -> String {
        self.subresource.as_ref().map_or_else(|| self.resource.clone(), |sub| format!("{}/{sub}", self.resource))
    }

    /// Whether a rule allows it, as the API server reads rules.
    pub fn allowed_by(&self, rule: &PolicyRule) -> bool {
        let names = rule.resource_names.as_deref().unwrap_or_default();
        has(&rule.verbs, &self.verb)
            && gives(rule, &self.group, &self.path())
            && (names.is_empty() || self.name.as_ref().is_some_and(|name| names.contains(name)))
    }
}

/// The rules of ClusterRoles by name, and of Roles of RBAC by name in the namespace of the question.
#[derive(Debug, Default)]
pub struct Rules {
    /// Of ClusterRoles.
    pub cluster: BTreeMap<String, Vec<PolicyRule>>,
    /// Of Roles in the namespace.
    pub inside: BTreeMap<String, Vec<PolicyRule>>,
}

impl Rules {
    fn of(&self, reference: &RoleRef) -> &[PolicyRule] {
        let table = if reference.kind == "Role" { &self.inside } else { &self.cluster };
        table.get(&reference.name).map(Vec::as_slice).unwrap_or_default()
    }
}

/// One way in which it is allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "by", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Reason {
    /// A Role, by a Binding.
    Role {
        /// ubind/<name>.
        binding: String,
        /// The team by which the Binding names her; nothing where it names her herself.
        team: Option<String>,
        /// The Roles from that of the Binding to that which gives it, each including the next.
        roles: Vec<String>,
        /// The access entries of the last Role that name what holds the rule.
        access: Vec<String>,
        /// The Environment; nothing for what is cluster-wide.
        environment: Option<String>,
        /// The rule, in words.
        rule: String,
        /// What of RBAC carries it.
        rbac: String,
    },
    /// She owns the workspace.
    Owner {
        /// The Environment.
        environment: Option<String>,
        /// The rule, in words.
        rule: String,
        /// What of RBAC carries it.
        rbac: String,
    },
    /// A binding of usher's that no Binding explains: an orphan, or access that is on its way out.
    Unexplained {
        /// The rule, in words.
        rule: String,
        /// What of RBAC carries it.
        rbac: String,
    },
    /// A binding that usher did not make.
    Others {
        /// The subject that stands for her.
        subject: String,
        /// The rule, in words.
        rule: String,
        /// What of RBAC carries it.
        rbac: String,
    },
}

/// Why, or why not.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Every way in which it is allowed.
    pub reasons: Vec<Reason>,
    /// What stands in the way, and what the answer does not know.
    pub notes: Vec<String>,
}

/// What the answer depends on.
pub struct Inquiry<'a> {
    /// What people wrote and the cluster holds.
    pub scene: Scene<'a>,
    /// The person.
    pub developer: &'a Developer,
    /// What she wants to do.
    pub question: &'a Question,
    /// What roles of RBAC allow.
    pub rules: &'a Rules,
    /// The present.
    pub now: Timestamp,
}

/// Says why somebody may do something in the home cluster.
pub fn why(inquiry: &Inquiry<'_>) -> Answer {
    let mut answer = Answer::default();
    let Some(state) = inquiry.scene.clusters.get(&ClusterKey::Home) else { return answer };
    let known = identities(inquiry);
    let held = held_roles(inquiry.scene.world, inquiry.developer, inquiry.now);
    let here = state.role_bindings.iter().filter(|((namespace, _), _)| inquiry.question.namespace.as_ref() == Some(namespace));
    for ((namespace, name), bound) in here {
        reasons(inquiry, (&known, &held), bound, &format!("RoleBinding {namespace}/{name}"), &mut answer);
    }
    for ((_, name), bound) in &state.cluster_role_bindings {
        reasons(inquiry, (&known, &held), bound, &format!("ClusterRoleBinding {name}"), &mut answer);
    }
    answer.reasons.sort();
    answer.reasons.dedup();
    notes(inquiry, state, (&known, &held), &mut answer);
    answer
}

/// The names by which the cluster knows her.
fn identities(inquiry: &Inquiry<'_>) -> BTreeSet<Known> {
    let scene = inquiry.scene;
    let here = scene.world.live_environments().filter(|(_, environment)| ClusterKey::of(environment) == ClusterKey::Home);
    here.filter_map(|(_, environment)| known_in(scene, inquiry.developer, environment).ok()).collect()
}

/// The subject that stands for her, if one does: herself, or a group that the API server puts her into.
fn standing_for<'a>(subjects: &'a [Subject], known: &BTreeSet<Known>) -> Option<&'a Subject> {
    let account = |name: &str| format!("system:serviceaccount:{IDENTITIES_NAMESPACE}:{name}");
    let groups = |known: &Known| match known {
        Known::ServiceAccount(_) => {
            vec![
                "system:authenticated".to_owned(),
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{IDENTITIES_NAMESPACE}"),
            ]
        }
        Known::User(_) => vec!["system:authenticated".to_owned()],
    };
    subjects.iter().find(|subject| match subject.kind.as_str() {
        "Group" => known.iter().any(|known| groups(known).contains(&subject.name)),
        "User" => known.iter().any(|known| match known {
            Known::User(name) => **name == *subject.name,
            Known::ServiceAccount(name) => account(name) == subject.name,
        }),
        _ => Known::read(subject).is_some_and(|found| known.contains(&found)),
    })
}

fn reasons<K: RbacBinding>(
    inquiry: &Inquiry<'_>,
    (known, held): (&BTreeSet<Known>, &BTreeMap<String, Via>),
    bound: &Bound<K>,
    title: &str,
    answer: &mut Answer,
) {
    let subjects = bound.all_subjects();
    let Some(subject) = standing_for(&subjects, known) else { return };
    let reference = bound.role_ref();
    let rbac = format!("{title}: {} {}", reference.kind, reference.name);
    for rule in inquiry.rules.of(reference).iter().filter(|rule| inquiry.question.allowed_by(rule)) {
        let (rule, rbac) = (rule_words(rule, inquiry.question), rbac.clone());
        if !bound.ours {
            answer.reasons.push(Reason::Others { subject: format!("{} {}", subject.kind, subject.name), rule, rbac });
            continue;
        }
        let environment = bound.labels().get(ENVIRONMENT).cloned();
        let Some(role) = bound.labels().get(ROLE) else {
            answer.reasons.push(Reason::Owner { environment, rule, rbac });
            continue;
        };
        let explained = explain(inquiry, held, role, environment.as_deref());
        if explained.is_empty() {
            answer.reasons.push(Reason::Unexplained { rule, rbac });
            continue;
        }
        let entry = inquiry
            .scene
            .clusters
            .get(&ClusterKey::Home)
            .and_then(|state| state.cluster_roles.get(&reference.name).and_then(|role| role.labels().get(ENTRY).cloned()));
        let access = inquiry.scene.world.live_role(role).map(|role| entries(role, &reference.name, entry.as_deref())).unwrap_or_default();
        answer.reasons.extend(explained.into_iter().map(|(binding, team, roles)| Reason::Role {
            binding: format!("ubind/{binding}"),
            team,
            roles,
            access: access.clone(),
            environment: environment.clone(),
            rule: rule.clone(),
            rbac: rbac.clone(),
        }));
    }
}

/// The Bindings by which she holds a Role in an Environment: each with the team, and the Roles from its own to this one.
fn explain(
    inquiry: &Inquiry<'_>,
    held: &BTreeMap<String, Via>,
    role: &str,
    environment: Option<&str>,
) -> Vec<(String, Option<String>, Vec<String>)> {
    let world = inquiry.scene.world;
    let via = held.get(role).into_iter().flat_map(|via| via.iter());
    let there = via.filter(|(_, scope)| environment.is_none_or(|environment| covers(scope, environment)));
    there
        .filter_map(|(name, _)| {
            let binding = world.binding(name)?;
            Some((name.clone(), team(binding, inquiry.developer), path(world, &binding.spec.role, role)))
        })
        .collect()
}

/// The Roles from one to another that it gives, each including the next.
fn path(world: &World, from: &str, to: &str) -> Vec<String> {
    let mut path = vec![from.to_owned()];
    let mut at = from;
    while at != to {
        let includes = world.live_role(at).map(|role| role.spec.includes.as_slice()).unwrap_or_default();
        let leads = |next: &&String| !path.contains(next) && world.includes().given_by_role(next).any(|given| given == to);
        let Some(next) = includes.iter().find(leads) else { break };
        path.push(next.clone());
        at = next;
    }
    path
}

/// The access entries of a Role that give a ClusterRole: by name, or by the rules that it was made from.
fn entries(role: &Role, cluster_role: &str, made_from: Option<&str>) -> Vec<String> {
    let gives = role.spec.access.iter().filter(|access| match made_from {
        Some(entry) => access.name == entry,
        None => access.cluster_roles.iter().any(|name| name == cluster_role),
    });
    gives.map(|access| access.name.clone()).collect()
}

/// A rule in words; of a long one what was asked for, and some more.
fn rule_words(rule: &PolicyRule, question: &Question) -> String {
    let path = question.path();
    let some = |list: &[String]| {
        let (asked, rest): (Vec<&str>, Vec<&str>) =
            list.iter().map(String::as_str).partition(|item| [question.verb.as_str(), &path, &question.group].contains(item));
        let words: Vec<&str> = asked.into_iter().chain(rest).collect();
        match words.get(..MOST_WORDS) {
            Some(first) if words.len() > MOST_WORDS => format!("{}…", first.join(",")),
            _ => list.join(","),
        }
    };
    let groups: Vec<String> = rule.api_groups.iter().flatten().filter(|group| !group.is_empty()).cloned().collect();
    let groups = if groups.is_empty() { String::new() } else { format!(" ({})", some(&groups)) };
    let names = rule.resource_names.as_deref().filter(|names| !names.is_empty()).map(|names| format!(" named {}", some(names)));
    format!("{} {}{groups}{}", some(&rule.verbs), some(rule.resources.as_deref().unwrap_or_default()), names.unwrap_or_default())
}

/// What stands in the way, and what this does not know.
fn notes(inquiry: &Inquiry<'_>, state: &ClusterState, (known, held): (&BTreeSet<Known>, &BTreeMap<String, Via>), answer: &mut Answer) {
    let name = inquiry.developer.name_any();
    let standing = standing(inquiry.scene.world, inquiry.developer, inquiry.now);
    let given = answer.reasons.iter().any(|reason| !matches!(reason, Reason::Others { .. }));
    let locks = inquiry.scene.world.locks_of(&name).filter(|lock| lock_holds(lock, inquiry.now));
    answer.notes.extend(locks.map(|lock| format!("ulock/{} holds: {}", lock.name_any(), lock.spec.reason)));
    if standing != Standing::Active {
        answer.notes.push(format!("dev/{name} is {standing:?}, so usher gives her nothing"));
    } else if !given {
        let roles: Vec<String> = held.keys().map(|role| format!("urole/{role}")).collect();
        answer.notes.push(match roles.len() {
            0 => format!("dev/{name} holds no Role: no Binding names her or one of her teams now"),
            _ => format!("dev/{name} holds {}, and none of these gives it there", roles.join(", ")),
        });
        answer.notes.extend(inquiry.question.namespace.as_ref().map(|namespace| whose(state, namespace)));
    }
    if known.iter().any(|known| matches!(known, Known::User(_))) {
        answer
            .notes
            .push("groups that her identity provider adds are not known here; `kubectl auth can-i` with her own kubeconfig is".to_owned());
    }
}

/// To which Environment a namespace belongs, if to any.
fn whose(state: &ClusterState, namespace: &str) -> String {
    let environments: Vec<String> = state.territory.of(namespace).into_iter().map(|name| format!("uenv/{name}")).collect();
    match (state.namespaces.contains_key(namespace), environments.len()) {
        (false, _) => format!("namespace {namespace} does not exist"),
        (true, 0) => format!("namespace {namespace} belongs to no Environment, so no Role gives anything there"),
        (true, 1) => format!("namespace {namespace} belongs to {}", environments.join(", ")),
        (true, _) => format!("namespace {namespace} is contested by {}, so it belongs to none of them", environments.join(" and ")),
    }
}
