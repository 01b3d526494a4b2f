//! Writes before which another word does not count, and when those that were planned are not made any more.

use std::sync::Arc;

use serde_json::{Value, json};
use usher::api::metadata::PAUSED;
use usher::plan::source::claim::Effect;
use usher::plan::source::{plan_source, rests, still_means};
use usher::plan::world::World;

use super::model::{Cluster, follow, person, read, source};

#[test]
fn what_counts_before_others_words_counts_only_on_what_was_seen() {
    let (old, new) = (source("old", &json!({})), source("new", &json!({})));
    let mut cluster = Cluster::default();
    let mut people = [person("1", "ada", &["payments"])];
    follow(&mut cluster, &old, &read(0, &people));
    let versioned = |cluster: &Cluster| {
        let mut world = World::default();
        for (name, developer) in cluster.world(&[]).developers() {
            let mut developer = developer.as_ref().clone();
            developer.metadata.resource_version = Some("42".to_owned());
            world.set_developer(name, Some(Arc::new(developer)));
        }
        world
    };
    let version = |body: &Value| body["metadata"]["resourceVersion"].clone();
    let over = plan_source(&new, &versioned(&cluster), &read(1, &people), (&[], None));
    assert_eq!((over.writes[0].effect, over.writes[0].is_forced()), (Effect::TakesOver, true));
    assert_eq!(version(&over.writes[0].body("new")), "42");
    people[0].groups.clear();
    people[0].attributes.insert("firstName".to_owned(), "Countess".to_owned());
    let changed = plan_source(&old, &versioned(&cluster), &read(1, &people), (&[], None));
    assert_eq!(
        (changed.writes[0].is_forced(), version(&changed.writes[0].body("old"))),
        (false, Value::Null),
        "nobody is overwritten by that"
    );
    people[0].active = Some(false);
    let ended = plan_source(&old, &versioned(&cluster), &read(1, &people), (&[], None));
    assert_eq!((ended.writes[0].effect, ended.writes[0].is_forced()), (Effect::Ends, true));
    assert_eq!(version(&ended.writes[0].body("old")), "42");
}

#[test]
fn what_was_planned_is_not_meant_any_more_once_the_source_is_gone_paused_or_another() {
    let planned = source("hr", &json!({}));
    let paused = {
        let mut paused = planned.clone();
        paused.metadata.annotations = Some([(PAUSED.to_owned(), "true".to_owned())].into());
        paused
    };
    let (mut again, mut going) = (planned.clone(), planned.clone());
    again.metadata.uid = Some("another".to_owned());
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(super::at(0)));
    let observed = source("hr", &json!({"mode": "Observe"}));
    for (what, now, meant) in [
        ("the same", Some(&planned), true),
        ("gone", None, false),
        ("made again", Some(&again), false),
        ("going", Some(&going), false),
        ("paused", Some(&paused), false),
        ("observed", Some(&observed), false),
    ] {
        assert_eq!(still_means(&planned, now), meant, "{what}");
        let resting = ["going", "paused"].contains(&what);
        assert_eq!(now.is_some_and(rests), resting, "{what}: nothing is planned for it either");
    }
}
