//! Who should have what, by brute force and from the text of DESIGN.md ("Exactly who gets what") alone. It shares no code with the planner's
//! `access`, `placement`, `includes` and `territory`: where the two differ, one of them has misread the page.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use kube::ResourceExt;
use usher::api::metadata::{DEPARTED_AT, DEVELOPER, DEVELOPER_UID, ENVIRONMENT, INSTALLATION, PERSON, WORKSPACE};
use usher::api::role::{Access, AccessRule};
use usher::api::{Binding, DesiredState, Developer, Environment, Lock, Mode, Role};
use usher::plan::cluster::ClusterKey;
use usher::plan::identity::service_account;
use usher::plan::person::Person;
use usher::plan::subjects::person_of;

use crate::cluster_model::{Model, OWN_NAMESPACE};
use crate::effective::{Held, Right, rights};

/// One thing that one person should have in one Environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub person: String,
    pub environment: String,
    pub held: Held,
}

/// Everything that decides, in lists.
pub struct Naive<'a> {
    model: &'a Model,
    people: Vec<&'a Developer>,
    roles: Vec<&'a Role>,
    bindings: Vec<&'a Binding>,
    environments: Vec<&'a Environment>,
    locks: Vec<&'a Lock>,
    now: Timestamp,
}

fn going(object: &impl ResourceExt) -> bool {
    object.meta().deletion_timestamp.is_some()
}

impl<'a> Naive<'a> {
    pub fn of(model: &'a Model) -> Self {
        Self {
            model,
            people: model.world.developers().map(|(_, developer)| developer.as_ref()).collect(),
            roles: model.world.roles().map(|(_, role)| role.as_ref()).filter(|role| !going(*role)).collect(),
            bindings: model.world.bindings().map(|(_, binding)| binding.as_ref()).filter(|binding| !going(*binding)).collect(),
            environments: model.world.environments().map(|(_, environment)| environment.as_ref()).filter(|it| !going(*it)).collect(),
            // A Lock that is being deleted is there until it is lifted or over.
            locks: model.world.locks().map(|(_, lock)| lock.as_ref()).collect(),
            now: model.now,
        }
    }

    /// Everything that anybody should have, but for Environments that are only observed: there usher changes nothing.
    pub fn cells(&self) -> BTreeSet<Cell> {
        let mut cells = self.by_roles();
        for person in self.people.iter().filter(|person| self.active(person)) {
            cells.extend(self.own(person));
        }
        cells
    }

    /// The part of it that Roles give.
    pub fn by_roles(&self) -> BTreeSet<Cell> {
        let mut cells = BTreeSet::new();
        for person in self.people.iter().filter(|person| self.active(person)) {
            for binding in self.bindings.iter().filter(|binding| self.holds(person, binding)) {
                for role in self.roles.iter().filter(|role| self.gives(&binding.spec.role, &role.name_any())) {
                    for access in &role.spec.access {
                        cells.extend(if access.cluster {
                            self.wide(person, binding, access)
                        } else {
                            self.inside(person, binding, access)
                        });
                    }
                }
            }
        }
        cells
    }

    /// What everybody should have.
    pub fn held(&self) -> BTreeSet<Held> {
        self.cells().into_iter().map(|cell| cell.held).collect()
    }

    /// "while the Developer is Active (`startsAt ≤ now < endsAt`, no Lock)".
    pub fn active(&self, person: &Developer) -> bool {
        let begun = person.spec.starts_at.as_ref().is_none_or(|start| start.0 <= self.now);
        let running = person.spec.ends_at.as_ref().is_none_or(|end| self.now < end.0);
        person.spec.state == DesiredState::Active && begun && running && !going(person) && !self.locked(&person.name_any())
    }

    /// "while it exists the person has nothing"; "until lifted: true is set or until has passed".
    fn locked(&self, name: &str) -> bool {
        let over = |lock: &Lock| lock.spec.lifted || lock.spec.until.as_ref().is_some_and(|until| until.0 <= self.now);
        self.locks.iter().any(|lock| lock.spec.developer == name && !over(lock))
    }

    /// "holds a Binding if named in `developers` or in one of `teams`, while … the Binding is (`startsAt ≤ now < expiresAt`)".
    fn holds(&self, person: &Developer, binding: &Binding) -> bool {
        let named = binding.spec.developers.contains(&person.name_any());
        let member = person.spec.teams.iter().any(|team| binding.spec.teams.contains(team));
        let begun = binding.spec.starts_at.as_ref().is_none_or(|start| start.0 <= self.now);
        let running = binding.spec.expires_at.as_ref().is_none_or(|end| self.now < end.0);
        (named || member) && begun && running
    }

    /// "its Role and, transitively, all that the Role includes. In an include cycle every Role gives its own access only".
    fn gives(&self, role: &str, other: &str) -> bool {
        if role == other {
            return self.roles.iter().any(|it| it.name_any() == role);
        }
        !self.in_circle(role) && self.includes(role).iter().any(|next| self.gives(next, other))
    }

    fn includes(&self, role: &str) -> Vec<String> {
        let found = self.roles.iter().find(|it| it.name_any() == role);
        let names = found.map(|it| it.spec.includes.clone()).unwrap_or_default();
        names.into_iter().filter(|name| self.roles.iter().any(|it| it.name_any() == *name)).collect()
    }

    fn in_circle(&self, role: &str) -> bool {
        self.leads_to(role, role, self.roles.len())
    }

    fn leads_to(&self, from: &str, to: &str, steps: usize) -> bool {
        steps > 0 && self.includes(from).iter().any(|next| next == to || self.leads_to(next, to, steps - 1))
    }

    /// "the intersection of its `environments` (`["*"]` = all), the Binding's `environments` (left out = all that the Role names) and the
    /// Environments that exist".
    fn intersection(&self, access: &Access, binding: &Binding) -> Vec<&'a Environment> {
        let named = |name: &String| access.environments.iter().any(|it| it == "*" || it == name);
        let meant = |name: &String| binding.spec.environments.as_ref().is_none_or(|names| names.contains(name));
        self.environments.iter().copied().filter(|environment| named(&environment.name_any()) && meant(&environment.name_any())).collect()
    }

    fn inside(&self, person: &Developer, binding: &Binding, access: &Access) -> Vec<Cell> {
        let mut cells = Vec::new();
        for environment in self.intersection(access, binding).into_iter().filter(|it| it.spec.mode == Mode::Enforce) {
            let cluster = ClusterKey::of(environment);
            let Some(subject) = self.subject(person, environment) else { continue };
            for namespace in self.namespaces(&cluster) {
                if self.belongs_to(namespace, &cluster).as_deref() != Some(&environment.name_any()) || !chosen(namespace, access) {
                    continue;
                }
                for right in self.inside_rights(&cluster, access) {
                    cells.push(cell(person, environment, Some(namespace.name_any()), &subject, right));
                }
            }
        }
        cells
    }

    fn inside_rights(&self, cluster: &ClusterKey, access: &Access) -> Vec<Right> {
        let may_bind = ["view", "edit", "usher-developer"];
        let exists = |name: &str| self.model.clusters.get(cluster).is_some_and(|state| state.foreign_cluster_roles.contains(name));
        let existing = access.cluster_roles.iter().filter(|name| may_bind.contains(&name.as_str()) && exists(name));
        let mut given: Vec<Right> = existing.map(|name| Right::ClusterRole(name.clone())).collect();
        if access.rules.iter().all(allowed) {
            given.extend(rights(access.rules.iter().map(as_policy)));
        }
        given
    }

    /// "only if every Environment on that cluster is in the intersection and has `allowClusterScope`; … get, list and watch only and no Secrets".
    fn wide(&self, person: &Developer, binding: &Binding, access: &Access) -> Vec<Cell> {
        let mut cells = Vec::new();
        let reads = |rule: &AccessRule| rule.verbs.iter().all(|verb| ["get", "list", "watch"].contains(&verb.as_str()));
        let secrets = |rule: &AccessRule| rule.resources.iter().any(|resource| resource == "secrets" || resource.starts_with("secrets/"));
        if !access.rules.iter().all(|rule| allowed(rule) && reads(rule) && !secrets(rule)) {
            return cells;
        }
        let meant: Vec<String> = self.intersection(access, binding).iter().map(|environment| environment.name_any()).collect();
        for cluster in self.model.clusters.keys() {
            let here: Vec<&Environment> = self.environments.iter().copied().filter(|it| ClusterKey::of(it) == *cluster).collect();
            let whole =
                here.iter().all(|it| meant.contains(&it.name_any()) && it.spec.allow_cluster_scope && it.spec.mode == Mode::Enforce);
            if !whole {
                continue;
            }
            for environment in here {
                let Some(subject) = self.subject(person, environment) else { continue };
                let given = rights(access.rules.iter().map(as_policy));
                cells.extend(given.into_iter().map(|right| cell(person, environment, None, &subject, right)));
            }
        }
        cells
    }

    fn namespaces(&self, cluster: &ClusterKey) -> Vec<&'a Namespace> {
        let state = self.model.clusters.get(cluster);
        state.into_iter().flat_map(|state| state.namespaces.values()).map(AsRef::as_ref).filter(|namespace| !going(*namespace)).collect()
    }

    /// "A namespace belongs to the Environment whose selector matches it in that cluster; two that match are a Conflict on both, and it belongs to
    /// neither until settled. Never matched, whatever the labels: `kube-*`, `default`, `usher-identities`, usher's own namespace, any workspace."
    fn belongs_to(&self, namespace: &Namespace, cluster: &ClusterKey) -> Option<String> {
        let name = namespace.name_any();
        if never_matched(&name) || namespace.labels().contains_key(WORKSPACE) {
            return None;
        }
        let matching = self.matching(namespace, cluster);
        (matching.len() == 1).then(|| matching[0].clone())
    }

    fn matching(&self, namespace: &Namespace, cluster: &ClusterKey) -> Vec<String> {
        let here = self.environments.iter().filter(|environment| ClusterKey::of(environment) == *cluster);
        let matches = here.filter(|environment| {
            let selector = environment.spec.namespaces.as_ref();
            selector.is_some_and(|it| matches(namespace, it.match_labels.as_ref(), it.match_expressions.as_ref()))
        });
        matches.map(|environment| environment.name_any()).collect()
    }

    /// "`identity.user` …; otherwise a ServiceAccount … `Developer.spec.kubernetesUser` overrides it. Rendered names may not start with `system:` and
    /// are unique: of two Developers with one identity the younger is a Conflict".
    pub fn subject(&self, person: &Developer, environment: &Environment) -> Option<String> {
        let Some(user) = user(person, environment) else {
            let known = self.model.read(|scene| person_of(scene, person));
            return Some(format!("ServiceAccount usher-identities/{}", service_account(&person.name_any(), &known)));
        };
        let user = user?;
        let cluster = ClusterKey::of(environment);
        // Who has left has no name any more. A Developer whose endsAt has passed keeps hers until her state says so: the planner's index has no clock.
        let rivals =
            self.people.iter().filter(|it| it.name_any() != person.name_any() && it.spec.state != DesiredState::Departed && !going(**it));
        let mut claiming = rivals.filter(|rival| {
            let everywhere = self.model.world.environments().filter(|(_, it)| ClusterKey::of(it) == cluster);
            everywhere.map(|(_, it)| user_of(rival, it)).any(|name| name.as_ref() == Some(&user))
        });
        let age = |it: &Developer| (it.creation_timestamp().map(|time| time.0), it.uid());
        (!claiming.any(|rival| age(rival) < age(person))).then(|| format!("User {user}"))
    }

    /// "In a workspace the owner holds `workspace.clusterRole` and nobody else anything by usher, while the owner is Active."
    fn own(&self, person: &Developer) -> Vec<Cell> {
        let mut cells = Vec::new();
        for environment in self.environments.iter().filter(|it| it.spec.mode == Mode::Enforce) {
            let Some(template) = &environment.spec.workspace else { continue };
            let cluster = ClusterKey::of(environment);
            let Some(subject) = self.subject(person, environment) else { continue };
            let given = self.inside_rights(&cluster, &Access { cluster_roles: vec![template.cluster_role.clone()], ..Access::default() });
            let Some(namespace) = self.workspace(person, environment) else { continue };
            cells.extend(given.into_iter().map(|right| cell(person, environment, Some(namespace.name_any()), &subject, right)));
        }
        cells
    }

    /// The namespace that is hers in an Environment, as it was made: pinned, or the one she has already, or the template's.
    fn workspace(&self, person: &Developer, environment: &Environment) -> Option<&'a Namespace> {
        let template = environment.spec.workspace.as_ref()?;
        let cluster = ClusterKey::of(environment);
        let all = self.namespaces(&cluster);
        let pinned = person.spec.workspaces.iter().find(|pin| pin.environment == environment.name_any()).map(|pin| pin.namespace.clone());
        let made = template.name.replace("{environment}", &environment.name_any()).replace("{developer}", &person.name_any());
        let already = all.iter().find(|it| self.hers(it, person, environment)).map(|it| it.name_any());
        let name = pinned.or(already).unwrap_or(made);
        let namespace = all.into_iter().find(|it| it.name_any() == name)?;
        let labelled = Namespace {
            metadata: kube::core::ObjectMeta { labels: Some(template.labels.clone()), ..Default::default() },
            ..Namespace::default()
        };
        let refused = never_matched(&name) || !self.matching(&labelled, &cluster).is_empty();
        (!refused && self.hers(namespace, person, environment)).then_some(namespace)
    }

    /// Promise 10: hers is what was made for her, or for somebody of her name who never began to leave, unless a personId says otherwise.
    fn hers(&self, namespace: &Namespace, person: &Developer, environment: &Environment) -> bool {
        let label = |key: &str| namespace.labels().get(key).cloned();
        let note = |key: &str| namespace.annotations().get(key).cloned();
        let own = Person::own(person).as_str().to_owned();
        let mark = label(PERSON).unwrap_or_default();
        let two_ids = own.starts_with("id-") && mark.starts_with("id-");
        let same = mark == own || note(DEVELOPER_UID) == person.uid() || (note(DEPARTED_AT).is_none() && !two_ids);
        label(INSTALLATION).is_some()
            && label(DEVELOPER) == Some(person.name_any())
            && label(ENVIRONMENT) == Some(environment.name_any())
            && same
    }
}

fn cell(person: &Developer, environment: &Environment, namespace: Option<String>, subject: &str, right: Right) -> Cell {
    Cell {
        person: person.name_any(),
        environment: environment.name_any(),
        held: Held { cluster: ClusterKey::of(environment), namespace, subject: subject.to_owned(), right },
    }
}

fn never_matched(name: &str) -> bool {
    name.starts_with("kube-") || ["default", "usher-identities", OWN_NAMESPACE].contains(&name)
}

/// The name that the cluster's own authenticator gives her; nothing where a ServiceAccount stands for her, nothing within where she can have no name.
#[expect(clippy::option_option, reason = "no user name, and no way to have one, are two things")]
fn user(person: &Developer, environment: &Environment) -> Option<Option<String>> {
    if let Some(user) = &person.spec.kubernetes_user {
        return Some(Some(user.clone()));
    }
    let pattern = environment.spec.identity.as_ref()?.user.as_ref()?;
    if pattern.contains("{personId}") && person.spec.person_id.is_none() {
        return Some(None);
    }
    let username = person.spec.username.clone().unwrap_or_else(|| person.name_any());
    let text = pattern
        .replace("{email}", &person.spec.email)
        .replace("{username}", &username)
        .replace("{name}", &person.name_any())
        .replace("{personId}", person.spec.person_id.as_deref().unwrap_or_default());
    Some((!text.starts_with("system:")).then_some(text))
}

fn user_of(person: &Developer, environment: &Environment) -> Option<String> {
    user(person, environment).flatten()
}

/// "`namespaces` choose: a label selector or `names`, always within the environment's own selector; left out = all of them".
fn chosen(namespace: &Namespace, access: &Access) -> bool {
    let Some(choice) = &access.namespaces else { return true };
    match &choice.names {
        Some(names) => names.contains(&namespace.name_any()),
        None => matches(namespace, choice.match_labels.as_ref(), choice.match_expressions.as_ref()),
    }
}

fn matches(
    namespace: &Namespace,
    labels: Option<&std::collections::BTreeMap<String, String>>,
    expressions: Option<&Vec<LabelSelectorRequirement>>,
) -> bool {
    let has = |key: &String| namespace.labels().get(key);
    labels.into_iter().flatten().all(|(key, value)| has(key) == Some(value))
        && expressions.into_iter().flatten().all(|it| {
            let listed = has(&it.key).is_some_and(|value| it.values.iter().flatten().any(|one| one == value));
            match it.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => has(&it.key).is_some(),
                _ => has(&it.key).is_none(),
            }
        })
}

/// fence.md: what inline rules may never say. Only what the generators can say is looked for.
fn allowed(rule: &AccessRule) -> bool {
    let verbs = ["*", "escalate", "bind", "impersonate"];
    let resources = ["*", "*/token", "serviceaccounts/token", "nodes/proxy"];
    !rule.verbs.iter().any(|verb| verbs.contains(&verb.as_str()))
        && !rule.resources.iter().any(|resource| resources.contains(&resource.as_str()))
        && !rule.api_groups.iter().any(|group| ["*", "rbac.authorization.k8s.io", "usher.dev"].contains(&group.as_str()))
}

fn as_policy(rule: &AccessRule) -> k8s_openapi::api::rbac::v1::PolicyRule {
    k8s_openapi::api::rbac::v1::PolicyRule {
        api_groups: Some(rule.api_groups.clone()),
        resources: Some(rule.resources.clone()),
        resource_names: Some(rule.resource_names.clone()),
        verbs: rule.verbs.clone(),
        non_resource_urls: None,
    }
}
