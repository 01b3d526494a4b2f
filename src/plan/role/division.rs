//! Which of several bindings names whom, where a Role's people in a place are more than one binding should hold.
//!
//! Whoever is in a binding stays in it: the API server reads and writes a binding as a whole, so what one who comes or goes costs is the size of hers, and
//! of no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::plan::bound::People;
use crate::plan::identity::Known;
use crate::plan::rbac::{BYTES_PER_BINDING, SUBJECTS_PER_BINDING};

/// The most bindings among which people are divided: twice as many as they fill. Who is in one beyond that, as many have left, moves.
pub(super) fn most(subjects: &BTreeSet<Known>) -> usize {
    let bytes: usize = subjects.iter().map(Known::size).sum();
    2 * subjects.len().div_ceil(SUBJECTS_PER_BINDING).max(bytes.div_ceil(BYTES_PER_BINDING)).max(1)
}

/// Divides people among bindings, by number. `seen`: who is named in which of them now, in the order of their numbers.
pub(super) fn divide<'a>(
    subjects: &'a BTreeSet<Known>,
    seen: impl Iterator<Item = (usize, &'a BTreeSet<Known>)>,
) -> BTreeMap<usize, People> {
    let most = most(subjects);
    let mut seats = Seats::default();
    let mut left: BTreeSet<&Known> = subjects.iter().collect();
    for (shard, people) in seen.filter(|(shard, _)| *shard < most) {
        for known in people {
            if seats.room(shard, known) && left.remove(known) {
                seats.take(shard, known);
            }
        }
    }
    let mut shard = None;
    for known in left {
        let next = shard.filter(|shard| seats.room(*shard, known)).unwrap_or_else(|| seats.emptiest(known));
        seats.take(next, known);
        shard = Some(next);
    }
    seats.0.into_iter().map(|(shard, taken)| (shard, Arc::new(taken.people))).collect()
}

/// Who is named in a binding, and the bytes which that takes.
#[derive(Default)]
struct Taken {
    people: BTreeSet<Known>,
    bytes: usize,
}

impl Taken {
    fn room(&self, known: &Known) -> bool {
        self.people.len() < SUBJECTS_PER_BINDING && self.bytes + known.size() <= BYTES_PER_BINDING
    }
}

#[derive(Default)]
struct Seats(BTreeMap<usize, Taken>);

impl Seats {
    fn room(&self, shard: usize, known: &Known) -> bool {
        self.0.get(&shard).is_none_or(|taken| taken.room(known))
    }

    fn take(&mut self, shard: usize, known: &Known) {
        let taken = self.0.entry(shard).or_default();
        taken.bytes += known.size();
        taken.people.insert(known.clone());
    }

    /// The binding with the fewest people if there is room in it, else the first that is not there. So those who come together come into one.
    fn emptiest(&self, known: &Known) -> usize {
        let open = self.0.iter().filter(|(_, taken)| taken.room(known)).min_by_key(|(_, taken)| taken.people.len());
        open.map_or_else(|| (0..=self.0.len()).find(|shard| !self.0.contains_key(shard)).unwrap_or_default(), |(shard, _)| *shard)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn person(number: usize) -> Known {
        Known::ServiceAccount(format!("person-{number}-abcdefghij").into())
    }

    fn people(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<Known> {
        numbers.into_iter().map(person).collect()
    }

    fn again(subjects: &BTreeSet<Known>, seen: &BTreeMap<usize, People>) -> BTreeMap<usize, People> {
        divide(subjects, seen.iter().map(|(shard, people)| (*shard, people.as_ref())))
    }

    /// Everybody once, no binding too large, and not too many of them.
    fn sound(subjects: &BTreeSet<Known>, divided: &BTreeMap<usize, People>) {
        let named: Vec<&Known> = divided.values().flat_map(|people| people.iter()).collect();
        assert_eq!(named.len(), subjects.len());
        assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), subjects.iter().collect());
        for people in divided.values() {
            assert!(people.len() <= SUBJECTS_PER_BINDING && people.iter().map(Known::size).sum::<usize>() <= BYTES_PER_BINDING);
        }
        assert!(divided.keys().all(|shard| *shard < most(subjects)), "{:?}", divided.keys());
    }

    #[test]
    fn those_who_come_together_fill_one_binding_after_another() {
        let all = people(0..=2 * SUBJECTS_PER_BINDING);
        let divided = again(&all, &BTreeMap::new());
        assert_eq!(divided.values().map(|people| people.len()).collect::<Vec<_>>(), [SUBJECTS_PER_BINDING, SUBJECTS_PER_BINDING, 1]);
    }

    #[test]
    fn long_names_make_more_bindings() {
        let long: BTreeSet<Known> = (0..400).map(|number| Known::User(format!("{number}{}", "x".repeat(1_000)).into())).collect();
        let divided = again(&long, &BTreeMap::new());
        sound(&long, &divided);
        assert!(divided.len() > 400 / SUBJECTS_PER_BINDING);
    }

    #[test]
    fn one_who_leaves_or_comes_changes_one_binding() {
        let all = people(0..5 * SUBJECTS_PER_BINDING);
        let divided = again(&all, &BTreeMap::new());
        let changed = |now: &BTreeMap<usize, People>| now.iter().filter(|(shard, people)| divided.get(shard) != Some(people)).count();
        let mut fewer = all.clone();
        fewer.remove(&person(7));
        assert_eq!(changed(&again(&fewer, &divided)), 1);
        let mut more = all;
        more.insert(person(9_999));
        assert_eq!(changed(&again(&more, &divided)), 1);
    }

    #[test]
    fn when_most_have_left_the_others_come_together() {
        let divided = again(&people(0..20 * SUBJECTS_PER_BINDING), &BTreeMap::new());
        let few: BTreeSet<Known> = divided.values().filter_map(|people| people.first().cloned()).collect();
        assert_eq!(few.len(), 20);
        let now = again(&few, &divided);
        sound(&few, &now);
        assert!(now.len() <= 2);
    }

    proptest! {
        #[test]
        fn whoever_comes_and_goes_all_are_named_once_and_a_second_look_moves_nobody(
            seen in prop::collection::btree_map(0_usize..12, prop::collection::vec(0_usize..700, 0..260), 0..8),
            now in prop::collection::vec(0_usize..700, 0..600),
        ) {
            let seen: BTreeMap<usize, People> = seen.into_iter().map(|(shard, numbers)| (shard, Arc::new(people(numbers)))).collect();
            let now = people(now);
            let divided = again(&now, &seen);
            sound(&now, &divided);
            prop_assert_eq!(again(&now, &divided), divided);
        }
    }
}
