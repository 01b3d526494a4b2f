//! How clusters know people.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::Subject;
use kube::ResourceExt;

use crate::api::metadata::IDENTITIES_NAMESPACE;
use crate::api::{DesiredState, Developer, Environment};

use super::cluster::ClusterKey;
use super::person::Person;
use super::world::deleting;

/// A name by which a cluster knows somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Known {
    /// A ServiceAccount in `usher-identities`.
    ServiceAccount(Arc<str>),
    /// A user of the cluster's own authenticator.
    User(Arc<str>),
}

/// Why an Environment has no name for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The pattern needs a field that the Developer lacks.
    Missing(&'static str),
    /// The rendered name belongs to Kubernetes.
    Reserved(String),
    /// Somebody else made the ServiceAccount of that name, and holds its tokens.
    Stranger,
    /// An older Developer has the name.
    Taken {
        /// The user name.
        user: String,
        /// The Developer who has it.
        by: String,
    },
}

impl Known {
    /// The subject of a binding.
    pub fn subject(&self) -> Subject {
        match self {
            Self::ServiceAccount(name) => Subject {
                kind: "ServiceAccount".to_owned(),
                name: name.to_string(),
                namespace: Some(IDENTITIES_NAMESPACE.to_owned()),
                api_group: None,
            },
            Self::User(name) => Subject {
                kind: "User".to_owned(),
                name: name.to_string(),
                namespace: None,
                api_group: Some("rbac.authorization.k8s.io".to_owned()),
            },
        }
    }

    /// Reads a subject that usher could have written.
    pub fn read(subject: &Subject) -> Option<Self> {
        match subject.kind.as_str() {
            "ServiceAccount" if subject.namespace.as_deref() == Some(IDENTITIES_NAMESPACE) => {
                Some(Self::ServiceAccount(subject.name.as_str().into()))
            }
            "User" => Some(Self::User(subject.name.as_str().into())),
            _ => None,
        }
    }

    /// The bytes that a subject takes in a binding, roughly.
    pub fn size(&self) -> usize {
        self.text().len() + 80
    }

    /// Its name.
    pub fn text(&self) -> &str {
        match self {
            Self::ServiceAccount(name) | Self::User(name) => name,
        }
    }
}

/// The ServiceAccount of a person.
pub fn service_account(developer: &str, person: &Person) -> String {
    format!("{developer}-{}", person.digest())
}

/// The Developer's name in the name of a ServiceAccount.
pub fn developer_of_service_account(name: &str) -> Option<&str> {
    name.rsplit_once('-').map(|(developer, _)| developer)
}

/// How an Environment knows a Developer.
pub fn known(developer: &Developer, person: &Person, environment: &Environment, users: &UserIndex) -> Result<Known, Unknown> {
    match user(developer, environment) {
        None => Ok(Known::ServiceAccount(service_account(&developer.name_any(), person).into())),
        Some(Err(unknown)) => Err(unknown),
        Some(Ok(user)) => match users.holder(&ClusterKey::of(environment), &user) {
            Some(holder) if holder != developer.name_any() => Err(Unknown::Taken { user, by: holder.to_owned() }),
            _ => Ok(Known::User(user.into())),
        },
    }
}

/// Whether an Environment knows a Developer by this user name, unless an older one has it.
pub fn user_is(developer: &Developer, environment: &Environment, name: &str) -> bool {
    user(developer, environment) == Some(Ok(name.to_owned()))
}

/// The user name of a Developer in an Environment; `None` where she is known by a ServiceAccount.
fn user(developer: &Developer, environment: &Environment) -> Option<Result<String, Unknown>> {
    let pattern = environment.spec.identity.as_ref().and_then(|identity| identity.user.as_deref());
    if let Some(user) = &developer.spec.kubernetes_user {
        return Some(Ok(user.clone()));
    }
    pattern.map(|pattern| render(pattern, developer))
}

fn render(pattern: &str, developer: &Developer) -> Result<String, Unknown> {
    let name = developer.name_any();
    if pattern.contains("{personId}") && developer.spec.person_id.is_none() {
        return Err(Unknown::Missing("personId"));
    }
    let values: BTreeMap<&str, &str> = BTreeMap::from([
        ("email", developer.spec.email.as_str()),
        ("username", developer.spec.username.as_deref().unwrap_or(&name)),
        ("name", name.as_str()),
        ("personId", developer.spec.person_id.as_deref().unwrap_or_default()),
    ]);
    let user = substitute(pattern, &values);
    if user.starts_with("system:") { Err(Unknown::Reserved(user)) } else { Ok(user) }
}

/// Replaces each `{key}` once, so that a value which looks like a key stays as it is.
fn substitute(pattern: &str, values: &BTreeMap<&str, &str>) -> String {
    let mut text = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        if let Some((value, tail)) = after.split_once('}').and_then(|(key, tail)| values.get(key).map(|value| (value, tail))) {
            text.push_str(value);
            rest = tail;
        } else {
            text.push('{');
            rest = after;
        }
    }
    text.push_str(rest);
    text
}

/// Who has which user name: of several Developers the one who was first and has not left.
#[derive(Debug, Default)]
pub struct UserIndex {
    claims: HashMap<(ClusterKey, String), BTreeSet<Claim>>,
}

/// Whether the claimant has left, when she was made, her UID and name: who is still here sorts before who has left, the older before the younger.
type Claim = (bool, Option<i64>, String, String);

impl UserIndex {
    /// The index over these Developers and Environments.
    pub fn of<'a>(
        developers: impl Iterator<Item = &'a Arc<Developer>>,
        environments: impl Iterator<Item = &'a Arc<Environment>> + Clone,
    ) -> Self {
        let mut index = Self::default();
        for developer in developers {
            index.replace(None, Some(developer), environments.clone());
        }
        index
    }

    /// Takes in a change of one Developer.
    pub fn replace<'a>(
        &mut self,
        old: Option<&Developer>,
        new: Option<&Developer>,
        environments: impl Iterator<Item = &'a Arc<Environment>> + Clone,
    ) {
        for (key, claim) in old.iter().flat_map(|developer| claims(developer, environments.clone())) {
            if let Some(claims) = self.claims.get_mut(&key) {
                claims.remove(&claim);
                if claims.is_empty() {
                    self.claims.remove(&key);
                }
            }
        }
        for (key, claim) in new.iter().flat_map(|developer| claims(developer, environments.clone())) {
            self.claims.entry(key).or_default().insert(claim);
        }
    }

    /// The Developer who has a user name in a cluster.
    pub fn holder(&self, cluster: &ClusterKey, user: &str) -> Option<&str> {
        let claims = self.claims.get(&(cluster.clone(), user.to_owned()))?;
        claims.first().map(|(.., name)| name.as_str())
    }

    /// Everybody who claims one of the user names of a Developer.
    pub fn rivals<'a>(&self, developer: &Developer, environments: impl Iterator<Item = &'a Arc<Environment>> + Clone) -> BTreeSet<String> {
        let claimed = claims(developer, environments);
        let rivals = claimed.iter().filter_map(|(key, _)| self.claims.get(key)).flatten();
        rivals.map(|(.., name)| name.clone()).filter(|name| *name != developer.name_any()).collect()
    }
}

fn claims<'a>(developer: &Developer, environments: impl Iterator<Item = &'a Arc<Environment>>) -> BTreeSet<((ClusterKey, String), Claim)> {
    let left = developer.spec.state == DesiredState::Departed || deleting(developer);
    let created = developer.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
    let claim = (left, created, developer.uid().unwrap_or_default(), developer.name_any());
    environments
        .filter_map(|environment| Some((ClusterKey::of(environment), user(developer, environment)?.ok()?)))
        .map(|key| (key, claim.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_looks_like_a_key_stays() {
        let values = BTreeMap::from([("email", "{name}@x"), ("name", "ada")]);
        assert_eq!(substitute("oidc:{email}/{name}/{other}", &values), "oidc:{name}@x/ada/{other}");
    }
}
