//! Who has what, divided into as few parts as it takes: each is some people who have the same things.

use std::collections::{BTreeMap, BTreeSet};

use super::Holdings;
use super::grant::Grant;

/// Some people, and what all of them have.
pub(super) type Group = (BTreeSet<String>, BTreeSet<Grant>);

/// Divides who has what. All parts together are just that, and nothing is in two of them.
///
/// Either people who have the same things are together, or things that the same people have: whichever takes fewer parts. The first suits teams of which nobody is in
/// two; the second suits what everybody has besides what her team has.
pub(super) fn groups(holdings: &Holdings) -> Vec<Group> {
    let mut by_things: BTreeMap<&BTreeSet<Grant>, BTreeSet<String>> = BTreeMap::new();
    let mut holders: BTreeMap<&Grant, BTreeSet<&String>> = BTreeMap::new();
    for (person, grants) in holdings.iter().filter(|(_, grants)| !grants.is_empty()) {
        by_things.entry(grants).or_default().insert(person.clone());
        for grant in grants {
            holders.entry(grant).or_default().insert(person);
        }
    }
    let mut by_people: BTreeMap<BTreeSet<&String>, BTreeSet<Grant>> = BTreeMap::new();
    for (grant, people) in holders {
        by_people.entry(people).or_default().insert(grant.clone());
    }
    if by_things.len() <= by_people.len() {
        by_things.into_iter().map(|(grants, people)| (people, grants.clone())).collect()
    } else {
        by_people.into_iter().map(|(people, grants)| (people.into_iter().cloned().collect(), grants)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(namespace: &str) -> Grant {
        Grant::Inside { environment: "dev".to_owned(), namespace: namespace.to_owned(), cluster_role: "edit".to_owned() }
    }

    fn holdings(all: &[(&str, &[&str])]) -> Holdings {
        all.iter().map(|(person, things)| ((*person).to_owned(), things.iter().map(|it| grant(it)).collect())).collect()
    }

    fn count(all: &[(&str, &[&str])]) -> usize {
        let holdings = holdings(all);
        let groups = groups(&holdings);
        let cells =
            groups.iter().flat_map(|(people, things)| people.iter().flat_map(move |person| things.iter().map(move |it| (person, it))));
        let cells: Vec<_> = cells.collect();
        let expected: BTreeSet<_> = holdings.iter().flat_map(|(person, things)| things.iter().map(move |it| (person, it))).collect();
        assert_eq!(cells.len(), expected.len(), "nothing is said twice");
        assert_eq!(cells.into_iter().collect::<BTreeSet<_>>(), expected);
        groups.len()
    }

    #[test]
    fn people_who_have_the_same_are_together() {
        assert_eq!(count(&[("ada", &["a", "b"]), ("bob", &["a", "b"]), ("cyd", &["b", "c"]), ("eve", &["b", "c"])]), 2);
    }

    #[test]
    fn what_everybody_has_is_said_once() {
        let all = [("a1", &["x", "a"][..]), ("a2", &["x", "a"]), ("ab", &["x", "a", "b"]), ("b", &["x", "b"]), ("x", &["x"])];
        assert_eq!(count(&all), 3);
    }

    #[test]
    fn nobody_and_nothing_is_no_group() {
        assert_eq!(count(&[("ada", &[])]), 0);
        assert_eq!(count(&[]), 0);
    }
}
