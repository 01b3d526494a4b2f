//! Which Roles a Role gives, through `includes`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;

use crate::api::Role;

/// Every Role's includes, transitively. In a cycle every Role gives its own access only.
#[derive(Debug, Default)]
pub struct Includes {
    gives: BTreeMap<String, BTreeSet<String>>,
    given_by: BTreeMap<String, BTreeSet<String>>,
    cycles: BTreeMap<String, BTreeSet<String>>,
}

impl Includes {
    /// Works out the includes of these Roles.
    pub fn of<'a>(roles: impl IntoIterator<Item = &'a Arc<Role>>) -> Self {
        let direct: BTreeMap<String, Vec<String>> = roles.into_iter().map(|role| (role.name_any(), role.spec.includes.clone())).collect();
        let cycles: BTreeMap<String, BTreeSet<String>> = direct
            .keys()
            .filter_map(|name| {
                let below = reach(name, &direct, &BTreeMap::new());
                let ring: BTreeSet<String> =
                    below.iter().filter(|other| reach(other, &direct, &BTreeMap::new()).contains(name)).cloned().collect();
                (!ring.is_empty()).then(|| (name.clone(), ring))
            })
            .collect();
        let mut includes = Self { cycles, ..Self::default() };
        for name in direct.keys() {
            let mut gives = reach(name, &direct, &includes.cycles);
            gives.insert(name.clone());
            for role in &gives {
                includes.given_by.entry(role.clone()).or_default().insert(name.clone());
            }
            includes.gives.insert(name.clone(), gives);
        }
        includes
    }

    /// The Roles that a Role gives, itself among them; nothing for a Role that does not exist.
    pub fn given_by_role(&self, role: &str) -> impl Iterator<Item = &String> {
        self.gives.get(role).into_iter().flatten()
    }

    /// The Roles that give a Role, itself among them.
    pub fn giving(&self, role: &str) -> impl Iterator<Item = &String> {
        self.given_by.get(role).into_iter().flatten()
    }

    /// The Roles of the cycle that a Role is in.
    pub fn cycle(&self, role: &str) -> Option<&BTreeSet<String>> {
        self.cycles.get(role)
    }
}

/// The existing Roles below one, not entering what a Role in a cycle includes.
fn reach(start: &str, direct: &BTreeMap<String, Vec<String>>, cycles: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = vec![start];
    while let Some(name) = open.pop() {
        if cycles.contains_key(name) {
            continue;
        }
        for include in direct.get(name).into_iter().flatten() {
            if direct.contains_key(include) && seen.insert(include.clone()) {
                open.push(include);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RoleSpec;

    fn role(name: &str, includes: &[&str]) -> Arc<Role> {
        let includes = includes.iter().map(|name| (*name).to_owned()).collect();
        Arc::new(Role::new(name, RoleSpec { includes, ..RoleSpec::default() }))
    }

    fn gives(includes: &Includes, name: &str) -> Vec<String> {
        includes.given_by_role(name).cloned().collect()
    }

    #[test]
    fn includes_are_transitive() {
        let includes = Includes::of(&[role("a", &["b"]), role("b", &["c", "missing"]), role("c", &[])]);
        assert_eq!(gives(&includes, "a"), ["a", "b", "c"]);
        assert_eq!(includes.giving("c").cloned().collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn in_a_cycle_every_role_gives_its_own_only() {
        let includes = Includes::of(&[role("a", &["b", "d"]), role("b", &["a"]), role("c", &["a"]), role("d", &[])]);
        assert_eq!(gives(&includes, "a"), ["a"]);
        assert_eq!(gives(&includes, "b"), ["b"]);
        assert_eq!(gives(&includes, "c"), ["a", "c"]);
        assert!(includes.cycle("a").is_some() && includes.cycle("c").is_none());
    }

    #[test]
    fn a_role_that_includes_itself_is_a_cycle() {
        let includes = Includes::of(&[role("a", &["a", "b"]), role("b", &[])]);
        assert_eq!(gives(&includes, "a"), ["a"]);
    }
}
