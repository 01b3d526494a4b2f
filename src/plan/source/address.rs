//! Addresses that somebody else has. Where a cluster knows people by their address, whoever gets another one's would be taken for her, or take her access away: what
//! the directory says of that is a conflict, never a merge.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::super::world::World;
use super::PersonProblem;
use super::match_up::{Matched, conflict};

/// Whoever would get an address that another Developer has, or that several would get, keeps the one that she has.
pub(super) fn keep_apart(world: &World, matched: &mut Matched, problems: &mut Vec<PersonProblem>) {
    let mut having: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (name, developer) in world.developers() {
        having.entry(developer.spec.email.to_lowercase()).or_default().insert(name);
    }
    let mut getting: BTreeMap<String, usize> = BTreeMap::new();
    for (developer, wanted) in &matched.there {
        let email = wanted.email.to_lowercase();
        if email != developer.spec.email.to_lowercase() {
            *getting.entry(email).or_default() += 1;
        }
    }
    for (developer, wanted) in &mut matched.there {
        let (name, email) = (developer.name_any(), wanted.email.to_lowercase());
        if email == developer.spec.email.to_lowercase() {
            continue;
        }
        let other = having.get(&email).into_iter().flatten().find(|other| **other != name);
        let whose = match other {
            Some(other) => format!(
                "is dev/{other}'s, so dev/{name} keeps her own; give one of them another, or delete dev/{other} if she has departed"
            ),
            None if getting.get(&email).is_some_and(|several| *several > 1) => {
                format!("would be several people's, so dev/{name} keeps her own; give each of them one of her own")
            }
            None => continue,
        };
        problems.push(conflict(&wanted.person_id, format!("the address {} {whose}", wanted.email)));
        wanted.email.clone_from(&developer.spec.email);
        wanted.keeps_address = true;
    }
}
