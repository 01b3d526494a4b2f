//! Whether a cluster holds what a [`Fleet`] needs, each thing once, and nothing else of usher's: nothing is missing and nothing is left over.
//!
//! Access is asked of the API server: [`Fleet::exact`]. For many people that is too much to ask, and this reads the same from the bindings.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, Subject};
use kube::api::{Api, DynamicObject};
use kube::{Client, ResourceExt};

use super::client::kind;
use super::fleet::{DEV, Fleet, Member, PROD, STAGING, list};
use super::people::{IDENTITIES, SECRET};
use super::wait_until;

const DEADLINE: Duration = Duration::from_mins(2);
const EVERYWHERE: &str = "the whole cluster";

/// By what is spoken of, such as `urole/viewer in shop-dev`: names, as often as there are things.
type Order = BTreeMap<String, Vec<String>>;

impl Fleet {
    /// Waits until everything is there once and nothing else.
    pub async fn in_order(&self, client: &Client) {
        let expected = sorted(self.order());
        wait_until("nothing is missing, left over or there twice", DEADLINE, async || {
            let seen = sorted(read(client).await);
            if seen == expected { Ok(()) } else { Err(difference(&seen, &expected)) }
        })
        .await;
    }

    fn order(&self) -> Order {
        let mut order = Order::new();
        let mut add = |what: String, name: &str| order.entry(what).or_default().push(name.to_owned());
        for member in &self.people {
            let (account, user) = (self.account(member), format!("oidc:{}@example.com", member.name));
            for (role, places) in held(member) {
                add("Active Grants".to_owned(), &format!("{} {role}", member.name));
                places.iter().for_each(|place| add(bound(role, place), if DEV.contains(place) { account } else { &user }));
                if places.contains(&EVERYWHERE) {
                    add(bound(role, EVERYWHERE), account);
                }
            }
            add(format!("owner of {}", member.workspace()), account);
            add("identities".to_owned(), account);
            add("credentials".to_owned(), &member.workspace());
        }
        self.ended.iter().for_each(|grant| add("ended Grants".to_owned(), grant));
        for member in self.people.iter().chain(&self.departed) {
            ["workspaces", "quotas", "limits", "network policies"].iter().for_each(|what| add((*what).to_owned(), &member.workspace()));
        }
        order
    }

    fn account(&self, member: &Member) -> &str {
        self.identities.get(&member.name).unwrap_or_else(|| panic!("{} has no identity in dev yet", member.name))
    }
}

/// The Roles of somebody and where they give something.
pub(super) fn held(member: &Member) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut held = vec![("viewer", [DEV, STAGING, PROD].concat())];
    if member.web {
        held.push(("editor", [DEV, STAGING].concat()));
    }
    if member.ops {
        held.push(("ops", [&PROD[..], &[EVERYWHERE]].concat()));
    }
    held
}

fn bound(role: &str, place: &str) -> String {
    format!("urole/{role} in {place}")
}

async fn read(client: &Client) -> Order {
    let mut order = Order::new();
    let mut add = |what: String, name: &str| order.entry(what).or_default().push(name.to_owned());
    for binding in list::<RoleBinding>(Api::all(client.clone())).await.iter().filter(|binding| binding.name_any().starts_with("usher:")) {
        let place = binding.namespace().unwrap_or_default();
        let what = role_of(binding).map_or_else(|| format!("owner of {place}"), |role| bound(&role, &place));
        names(binding.subjects.as_ref()).for_each(|name| add(what.clone(), name));
    }
    for binding in list::<ClusterRoleBinding>(Api::all(client.clone())).await {
        let Some(role) = role_of(&binding) else { continue };
        names(binding.subjects.as_ref()).for_each(|name| add(bound(&role, EVERYWHERE), name));
    }
    for grant in list::<DynamicObject>(kind(client, "Grant").await).await {
        let text = |pointer: &str| grant.data["spec"].pointer(pointer).and_then(|value| value.as_str()).unwrap_or_default();
        let what = if text("/state") == "Active" { "Active Grants" } else { "ended Grants" };
        add(what.to_owned(), &format!("{} {}", text("/developer/name"), text("/role")));
    }
    for namespace in list::<Namespace>(Api::all(client.clone())).await {
        if namespace.labels().contains_key("usher.dev/workspace") {
            add("workspaces".to_owned(), &namespace.name_any());
        }
    }
    for account in list::<ServiceAccount>(Api::namespaced(client.clone(), IDENTITIES)).await {
        if account.labels().contains_key("usher.dev/developer") {
            add("identities".to_owned(), &account.name_any());
        }
    }
    for secret in list::<Secret>(Api::all(client.clone())).await.iter().filter(|secret| secret.name_any() == SECRET) {
        add("credentials".to_owned(), &secret.namespace().unwrap_or_default());
    }
    places(&list::<ResourceQuota>(Api::all(client.clone())).await).for_each(|place| add("quotas".to_owned(), &place));
    places(&list::<LimitRange>(Api::all(client.clone())).await).for_each(|place| add("limits".to_owned(), &place));
    places(&list::<NetworkPolicy>(Api::all(client.clone())).await).for_each(|place| add("network policies".to_owned(), &place));
    order
}

/// The namespaces of those objects that usher made.
fn places<K: ResourceExt>(objects: &[K]) -> impl Iterator<Item = String> {
    let ours = |object: &&K| object.labels().get("app.kubernetes.io/managed-by").is_some_and(|by| by == "usher");
    objects.iter().filter(ours).map(|object| object.namespace().unwrap_or_default())
}

fn role_of(binding: &impl ResourceExt) -> Option<String> {
    binding.labels().get("usher.dev/role").cloned()
}

fn names(subjects: Option<&Vec<Subject>>) -> impl Iterator<Item = &String> {
    subjects.into_iter().flatten().map(|subject| &subject.name)
}

fn sorted(mut order: Order) -> Order {
    order.values_mut().for_each(|names| names.sort());
    order
}

fn difference(seen: &Order, expected: &Order) -> String {
    let none = Vec::new();
    let mut text = String::new();
    for what in seen.keys().chain(expected.keys().filter(|what| !seen.contains_key(*what))) {
        let (seen, expected) = (seen.get(what).unwrap_or(&none), expected.get(what).unwrap_or(&none));
        if seen != expected {
            let count = |names: &[String], name: &String| names.iter().filter(|other| *other == name).count();
            let missing: Vec<_> = expected.iter().filter(|name| count(seen, name) < count(expected, name)).collect();
            let excess: Vec<_> = seen.iter().filter(|name| count(seen, name) > count(expected, name)).collect();
            text += &format!("\n  {what}: missing {missing:?}, too many {excess:?}");
        }
    }
    text
}
