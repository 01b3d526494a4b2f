//! Promise 11: the record says what people have, since when, and until when; it follows access and is written once.

use std::collections::BTreeSet;

use proptest::prelude::*;
use usher::api::{Grant, GrantState};

use super::config;
use super::exact::settled;
use crate::cluster_model::Model;
use crate::naive::Naive;
use crate::record::{Grants, record};
use crate::worlds::edit;

fn active(grants: &Grants) -> impl Iterator<Item = &Grant> {
    grants.values().map(AsRef::as_ref).filter(|grant| grant.spec.state == GrantState::Active)
}

fn check(model: &Model, grants: &Grants) -> Result<(), TestCaseError> {
    let running: BTreeSet<(String, String)> =
        active(grants).map(|grant| (grant.spec.developer.name.clone(), grant.spec.role.clone())).collect();
    prop_assert_eq!(running.len(), active(grants).count(), "two Grants of one Role run at once");
    let recorded: BTreeSet<(String, String)> = active(grants)
        .flat_map(|grant| {
            let open = grant.spec.targets.iter().filter(|target| target.until.is_none());
            open.map(|target| (grant.spec.developer.name.clone(), target.name.replace("environment/", "")))
        })
        .collect();
    let given: BTreeSet<(String, String)> = Naive::of(model).by_roles().into_iter().map(|cell| (cell.person, cell.environment)).collect();
    let silent: Vec<_> = given.difference(&recorded).collect();
    prop_assert!(silent.is_empty(), "held and not recorded: {silent:?}");
    let naive = Naive::of(model);
    for (person, _) in &recorded {
        let developer = model.world.developer(person);
        prop_assert!(developer.is_some_and(|it| naive.active(it)), "recorded of {person}, who has nothing");
    }
    for grant in grants.values() {
        prop_assert_eq!(grant.spec.state == GrantState::Ended, grant.spec.ended.is_some());
        let open = grant.spec.targets.iter().chain(&grant.spec.via).filter(|it| it.until.is_none()).count();
        prop_assert!(grant.spec.state == GrantState::Active || open == 0, "an ended Grant has no open end");
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_record_says_what_people_have((old, new) in edit()) {
        let mut grants = Grants::new();
        let mut model = settled(&old);
        record(&model, &mut grants);
        check(&model, &grants)?;
        let before = grants.clone();
        new.after(&old).apply(&mut model);
        model.settle();
        record(&model, &mut grants);
        prop_assert_eq!(record(&model, &mut grants), 0, "recording twice records nothing");
        check(&model, &grants)?;
        for (name, grant) in before {
            let now = &grants[&name];
            prop_assert_eq!(&grant.spec.since, &now.spec.since);
            prop_assert!(grant.spec.ended.is_none() || grant == *now, "what has ended is not written again");
        }
    }
}
