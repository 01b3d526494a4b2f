//! A Role that outgrows one binding is divided among several, and put together again, without a gap; and below that the number of bindings is the
//! number of places, not of people.

use std::collections::BTreeSet;

use kube::ResourceExt;
use usher::api::role::Access;
use usher::api::{Developer, DeveloperSpec, Role, RoleSpec};
use usher::plan::cluster::ClusterKey;
use usher::plan::rbac::SUBJECTS_PER_BINDING;

use crate::cluster_model::{Model, Task};
use crate::crowd::held_by_everybody;
use crate::effective::{Held, held};
use crate::worlds::{finish, model};

/// As many as fill four bindings in each place, and twelve.
const FEW: usize = 4 * SUBJECTS_PER_BINDING;
const MANY: usize = 12 * SUBJECTS_PER_BINDING;

/// A Role with one ClusterRole in the two namespaces of dev.
fn role() -> Role {
    let access =
        Access { name: "e".to_owned(), environments: vec!["dev".to_owned()], cluster_roles: vec!["view".to_owned()], ..Access::default() };
    finish(Role::new("a", RoleSpec { access: vec![access], ..RoleSpec::default() }), false, 0)
}

fn person(number: usize) -> Developer {
    let name = format!("person-{number}");
    let spec = DeveloperSpec { email: format!("{name}@x"), teams: vec!["t".to_owned()], ..DeveloperSpec::default() };
    finish(Developer::new(&name, spec), false, 0)
}

fn with_people(count: usize) -> Model {
    let written = held_by_everybody(vec![role()]);
    let mut model = model(written.now);
    written.apply(&mut model);
    for name in written.developers.keys() {
        model.set_developer(name, None);
    }
    set_people(&mut model, count);
    model
}

fn set_people(model: &mut Model, count: usize) {
    for number in 0..MANY {
        let there = model.world.developer(&format!("person-{number}")).is_some();
        if there != (number < count) {
            model.set_developer(&format!("person-{number}"), (number < count).then(|| person(number)));
        }
    }
}

/// Works off the Role alone, looking after every write.
fn settle(model: &mut Model, look: &mut dyn FnMut(&Model)) {
    let waiting = model.settle_in(&[Task::Role("a".to_owned())], look);
    assert!(waiting.is_empty());
}

fn bindings(model: &Model) -> Vec<usize> {
    let state = &model.clusters[&ClusterKey::Home];
    state.role_bindings.values().filter(|it| it.ours).map(|it| it.subjects.len()).collect()
}

fn names(held: &BTreeSet<Held>) -> BTreeSet<&str> {
    held.iter().map(|it| it.subject.as_str()).collect()
}

#[test]
fn a_role_that_grows_and_shrinks_is_divided_without_a_gap() {
    let mut model = with_people(FEW);
    settle(&mut model, &mut |_| {});
    let few = held(&model);
    assert_eq!(bindings(&model), [SUBJECTS_PER_BINDING; 8]);

    set_people(&mut model, MANY);
    settle(&mut model, &mut |model| assert!(held(model).is_superset(&few), "somebody had a gap while the Role grew"));
    let many = held(&model);
    assert_eq!(names(&many).len(), MANY);
    assert_eq!(many.len(), 2 * MANY);
    assert_eq!(bindings(&model), [SUBJECTS_PER_BINDING; 24]);

    // The Binding names fewer people: those who are not meant any more stay as Developers, so theirs is taken, not left.
    for number in FEW..MANY {
        let mut developer = person(number);
        developer.spec.teams.clear();
        model.set_developer(&developer.name_any(), Some(developer));
    }
    settle(&mut model, &mut |model| {
        let now = held(model);
        assert!(now.is_superset(&few), "somebody had a gap while the Role shrank");
        assert!(now.is_subset(&many));
    });
    assert_eq!(held(&model), few);
    let few = bindings(&model);
    assert!(few.len() <= 2 * 8 && few.iter().all(|size| *size <= SUBJECTS_PER_BINDING), "{few:?}");
}

#[test]
fn the_number_of_bindings_does_not_depend_on_the_number_of_people() {
    let count = |people: usize| {
        let mut model = with_people(people);
        settle(&mut model, &mut |_| {});
        bindings(&model).len()
    };
    assert_eq!([1, 2, 50, SUBJECTS_PER_BINDING].map(count), [2, 2, 2, 2]);
}
