//! What people have today, said as Developers, Roles and Bindings; and what these cannot say. For clusters that were there before usher.
//!
//! Nothing that is made here gives more than somebody has already: what is doubtful is left, and told with the reason and the remedy.

mod accounts;
mod grant;
mod groups;
mod left;
mod manifest;
mod owners;
mod people;
mod seen;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Binding, Developer, Role};

use super::cluster::ClusterKey;
use super::covering::Rules;
use super::manifests::Manifests;
use super::placement::Scene;

pub use self::accounts::Accounts;
pub use self::left::{Left, Sort};

/// Where a namespace says whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerKey {
    /// A label of it.
    Label(String),
    /// An annotation of it.
    Annotation(String),
}

/// Which of an Environment's namespaces the Roles name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Just those in which people have something now.
    #[default]
    Named,
    /// All, also those that come later, where people have something in all that are there now.
    Whole,
}

/// What is imported, and how.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// What people wrote, and what clusters hold.
    pub scene: Scene<'a>,
    /// What the ClusterRoles of the clusters allow.
    pub rules: &'a Rules,
    /// The accounts of the outside systems that were asked.
    pub accounts: &'a Accounts,
    /// Where namespaces say whose they are.
    pub owner: Option<&'a OwnerKey>,
    /// The e-mail address of a user whose name is none, with `{user}` for that name without its prefix.
    pub email: Option<&'a str>,
    /// The only Environments to look at; none: all.
    pub environments: &'a BTreeSet<String>,
    /// Which namespaces the Roles name.
    pub reach: Reach,
}

impl Inputs<'_> {
    /// Whether an Environment is looked at.
    fn wants(&self, environment: &str) -> bool {
        self.environments.is_empty() || self.environments.contains(environment)
    }

    /// Whether a cluster is looked at.
    fn looks_at(&self, cluster: &ClusterKey) -> bool {
        let mut here = self.scene.world.live_environments().filter(|(_, environment)| ClusterKey::of(environment) == *cluster);
        self.environments.is_empty() || here.any(|(name, _)| self.wants(name))
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Import {
    /// The people who are no Developers yet.
    pub developers: Vec<Developer>,
    /// What they have.
    pub roles: Vec<Role>,
    /// Who has it.
    pub bindings: Vec<Binding>,
    /// What could not be said.
    pub left: BTreeSet<Left>,
}

/// What each person has, by the name of her Developer.
type Holdings = BTreeMap<String, BTreeSet<grant::Grant>>;

/// A namespace of a cluster.
type Place = (ClusterKey, String);

/// Says what people have as manifests, and lists what manifests cannot say.
pub fn import(inputs: Inputs<'_>) -> Import {
    let mut left = BTreeSet::new();
    let held = seen::held(inputs, &mut left);
    let mut people = people::people(inputs, &held, &mut left);
    let workspaces = owners::workspaces(inputs, &people, &held, &mut left);
    let mut holdings = grant::holdings(inputs, &people, &held, &workspaces, &mut left);
    owners::new_objects(inputs, &workspaces, &mut left);
    people.pin(&workspaces);
    accounts::pin(inputs, &mut people, &mut holdings, &mut left);
    let developers = people.needed(&holdings);
    owners::new_workspaces(inputs, &developers, &mut left);
    let (roles, bindings) = manifest::objects(inputs, &holdings);
    Import { developers, roles, bindings, left }
}

impl Import {
    /// The same as manifests that are laid over what is written.
    pub fn manifests(&self) -> Manifests {
        Manifests {
            developers: self.developers.clone(),
            roles: self.roles.clone(),
            bindings: self.bindings.clone(),
            ..Manifests::default()
        }
    }
}
