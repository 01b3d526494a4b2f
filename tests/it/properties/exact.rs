//! Promise 1: effective access is what unexpired Bindings of active Developers give, no more and no less, from nothing and after every edit.

use std::collections::BTreeSet;

use proptest::prelude::*;
use usher::api::Mode;
use usher::api::metadata::ENVIRONMENT;

use super::config;
use crate::cluster_model::Model;
use crate::effective::{Held, held_where};
use crate::naive::Naive;
use crate::worlds::{Written, edit, model, written};

/// What is there, but for Environments that are only observed.
fn enforced(model: &Model) -> BTreeSet<Held> {
    let observed =
        |name: &String| model.world.live_environments().any(|(it, environment)| it == name && environment.spec.mode == Mode::Observe);
    held_where(model, |_, label| !label(ENVIRONMENT).is_some_and(|name| observed(&name)))
}

/// Says who has too much, and who too little.
pub fn difference(actual: &BTreeSet<Held>, wanted: &BTreeSet<Held>) -> String {
    let lines =
        |left: &BTreeSet<Held>, right: &BTreeSet<Held>| left.difference(right).map(|held| format!("\n  {held:?}")).collect::<String>();
    format!("too much:{}\ntoo little:{}", lines(actual, wanted), lines(wanted, actual))
}

fn check(model: &Model) -> Result<(), TestCaseError> {
    let (actual, wanted) = (enforced(model), Naive::of(model).held());
    prop_assert!(actual == wanted, "{}", difference(&actual, &wanted));
    Ok(())
}

/// The model at rest in a world.
pub fn settled(written: &Written) -> Model {
    let mut model = model(written.now);
    written.apply(&mut model);
    model.settle();
    model.release();
    model.settle();
    model
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn access_from_nothing_is_exact(written in written()) {
        let mut model = model(written.now);
        written.apply(&mut model);
        model.settle();
        check(&model)?;
        model.release();
        model.settle();
        check(&model)?;
    }

    #[test]
    fn access_after_an_edit_is_exact((old, new) in edit()) {
        let mut model = settled(&old);
        new.after(&old).apply(&mut model);
        model.settle();
        check(&model)?;
        model.release();
        model.settle();
        check(&model)?;
    }

    #[test]
    fn planning_twice_changes_nothing((old, new) in edit()) {
        let mut model = settled(&old);
        new.after(&old).apply(&mut model);
        model.settle();
        let again = model.outstanding();
        prop_assert!(again.is_empty(), "{again:#?}");
    }
}
