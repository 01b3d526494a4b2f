//! That somebody may have nothing is carried out once it was answered, whatever her sender calls her by then, and whatever it is silent about.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use usher::api::Source;
use usher::plan::scim::Attributes;
use usher::plan::scim::ResourceKind;
use usher::plan::scim::patch::patch;
use usher::plan::scim::people::{remembering, spent};
use usher::plan::scim::record::Record;
use usher::plan::scim::resource::{replaced, take_in};
use usher::plan::source::belief::{Belief, Remembered, judge};
use usher::plan::source::mapping::Mapping;

use super::pushed::{attributes, person, read, shared, source, states};
use crate::sources::model::{Cluster, follow_beside, plan};

const NOW: &str = "2026-11-23T09:00:00Z";

/// What becomes of a record by other attributes.
fn next(source: &Source, record: &Record, attributes: &Attributes) -> Record {
    remembering(record, record.changed(attributes, Vec::new(), NOW), &Mapping::of(&source.spec))
}

/// What becomes of a record by a PATCH of one operation.
fn patched(source: &Source, record: &Record, operation: &Value) -> Record {
    let body = json!({"Operations": [operation]});
    next(source, record, &patch(ResourceKind::User, &record.attributes(), &body).expect("a PATCH"))
}

/// What becomes of a record by a PUT.
fn put(source: &Source, record: &Record, body: &Value) -> Record {
    next(source, record, &replaced(&record.attributes(), &take_in(ResourceKind::User, body).expect("a User")))
}

/// A Source, and its Developer Ada.
fn given(more: &Value) -> (Source, Cluster, Record) {
    let (source, mut cluster, ada) = (source(more), Cluster::default(), person(1, "ada", json!({"title": "t-1"})));
    follow_beside(&mut cluster, &[&source], &read(0, &source, std::slice::from_ref(&ada)), None);
    assert_eq!(states(&cluster), ["Active"]);
    (source, cluster, ada)
}

fn follow(cluster: &mut Cluster, source: &Source, hour: i64, records: &[Record]) {
    follow_beside(cluster, &[source], &read(hour, source, records), None);
}

#[test]
fn who_is_called_otherwise_by_her_sender_and_is_not_active_is_suspended() {
    let off = json!({"op": "replace", "path": "active", "value": false});
    for changed in [
        json!({"op": "replace", "path": "externalId", "value": "e-9"}),
        json!({"op": "remove", "path": "externalId"}),
        json!({"op": "replace", "path": "externalId", "value": ""}),
    ] {
        let (source, mut cluster, ada) = given(&json!({}));
        let ada = patched(&source, &patched(&source, &ada, &changed), &off);
        follow(&mut cluster, &source, 1, std::slice::from_ref(&ada));
        assert_eq!(states(&cluster), ["Suspended"], "{changed}");
        assert!(cluster.0["ada"].missing_since.is_none(), "she is told of");
        let told = read(2, &source, &[ada]);
        assert!(plan(&cluster, &[&source], &told, None).writes.is_empty(), "{changed}: and that is all");
    }
}

#[test]
fn who_is_known_by_something_else_than_an_external_id_is_suspended_all_the_same() {
    let (source, mut cluster, ada) = given(&json!({"people": {"personId": "{title}"}}));
    let off = put(&source, &ada, &json!({"userName": "ada@example.com", "active": false}));
    follow(&mut cluster, &source, 1, &[off]);
    assert_eq!(states(&cluster), ["Suspended"]);
}

#[test]
fn a_put_that_leaves_out_who_she_is_does_not_make_her_somebody_else() {
    let (source, mut cluster, ada) = given(&json!({}));
    let off = put(&source, &ada, &json!({"userName": "ada@example.com", "active": false}));
    assert_eq!(off.attributes()["externalId"], "e-1");
    follow(&mut cluster, &source, 1, &[off]);
    assert_eq!(states(&cluster), ["Suspended"]);
}

#[test]
fn who_is_called_otherwise_by_her_sender_and_is_deleted_departs_and_the_note_stays_until_then() {
    for changed in [json!({"externalId": "e-9"}), json!({"externalId": ""})] {
        let (source, mut cluster, ada) = given(&json!({}));
        let mut all = ada.attributes();
        all.extend(attributes(changed.clone()));
        let gone = next(&source, &ada, &all).deleted(NOW);
        let (notes, mapping) = (shared(std::slice::from_ref(&gone)), Mapping::of(&source.spec));
        let noon = "2026-11-23T12:00:00Z".parse().expect("a time");
        assert!(spent(&notes, &mapping, |id| id == "e-1", noon).is_empty(), "{changed}: her Developer is there");
        assert_eq!(spent(&notes, &mapping, |_| false, noon).len(), 1, "{changed}");
        follow(&mut cluster, &source, 1, &[gone]);
        assert_eq!(states(&cluster), ["Departed"], "{changed}");
    }
}

#[test]
fn what_she_was_called_before_is_not_hers_once_somebody_else_is_called_so() {
    let (source, mut cluster, ada) = given(&json!({}));
    let mut all = ada.attributes();
    all.extend(attributes(json!({"externalId": "e-9", "active": false})));
    let off = next(&source, &ada, &all);
    let heir = person(2, "heir", json!({"externalId": "e-1"}));
    follow(&mut cluster, &source, 1, &[off.clone(), heir.clone()]);
    assert_eq!(states(&cluster), ["Active"]);
    let records = [off.deleted(NOW), heir];
    follow(&mut cluster, &source, 2, &records);
    assert_eq!(states(&cluster), ["Active"]);
    let noon = "2026-11-23T12:00:00Z".parse().expect("a time");
    let left = spent(&shared(&records), &Mapping::of(&source.spec), |id| id == "e-1", noon);
    assert_eq!(left.len(), 1, "a note that ends nobody is of no use");
}

#[test]
fn who_is_called_as_before_again_is_as_active_as_is_said() {
    let (source, mut cluster, ada) = given(&json!({}));
    let off = patched(&source, &ada, &json!({"op": "replace", "value": {"externalId": "e-9", "active": false}}));
    follow(&mut cluster, &source, 1, std::slice::from_ref(&off));
    let back = patched(&source, &off, &json!({"op": "replace", "value": {"externalId": "e-1", "active": true}}));
    assert_eq!(back.stamp.former, ["e-9"]);
    follow(&mut cluster, &source, 2, &[back]);
    assert_eq!(states(&cluster), ["Active"]);
}

#[test]
fn not_all_that_she_was_ever_called_is_remembered() {
    let (source, _, mut ada) = given(&json!({}));
    for number in 0..100 {
        ada = patched(&source, &ada, &json!({"op": "replace", "path": "externalId", "value": format!("n-{number}")}));
    }
    assert_eq!((ada.stamp.former.len(), ada.stamp.former.last().map(String::as_str)), (32, Some("n-98")));
}

/// Most of a directory that nothing tells apart is not believed; what a sender says of somebody it says of her alone.
#[test]
fn people_whom_nothing_tells_apart_hold_up_nobodys_end_and_nobody_is_missing_beside_them() {
    let (source, mut cluster, ada) = given(&json!({}));
    let bob = person(2, "bob", json!({}));
    follow(&mut cluster, &source, 1, &[ada.clone(), bob]);
    let mut records = vec![patched(&source, &ada, &json!({"op": "replace", "path": "active", "value": false}))];
    records.extend((11..15).map(|number| person(number, &format!("x{number}"), json!({"externalId": ""}))));
    let told = read(2, &source, &records);
    assert!(matches!(judge(&source.spec, &told, &std::collections::BTreeMap::new(), &Remembered::default(), None), Belief::Believed(_)));
    let planned = plan(&cluster, &[&source], &told, None);
    assert_eq!((planned.losing.clone(), planned.missing.clone()), (BTreeSet::from(["ada".to_owned()]), BTreeSet::new()));
    assert!(planned.findings.iter().any(|finding| finding.message.contains("personId")), "{:?}", planned.findings);
    assert_eq!(planned.problems.len(), 4, "{:?}", planned.problems);
    follow(&mut cluster, &source, 3, &records);
    assert_eq!(states(&cluster), ["Suspended", "Active"]);
}

/// What was answered may not have been carried out yet, so that silence must not take it back.
#[test]
fn that_she_is_not_active_stands_until_something_else_is_said() {
    let (source, mut cluster, ada) = given(&json!({}));
    let off = patched(&source, &ada, &json!({"op": "replace", "path": "active", "value": false}));
    let silent = [
        put(&source, &off, &json!({"userName": "ada@example.com", "externalId": "e-1"})),
        put(&source, &off, &json!({"userName": "ada@example.com", "externalId": "e-1", "active": null})),
        patched(&source, &off, &json!({"op": "replace", "path": "active", "value": null})),
        patched(&source, &off, &json!({"op": "replace", "value": {"active": null}})),
        patched(&source, &off, &json!({"op": "remove", "path": "active"})),
    ];
    for record in silent {
        assert_eq!(record.active(), Some(false));
        follow(&mut cluster, &source, 1, &[record]);
        assert_eq!(states(&cluster), ["Suspended"]);
    }
    let on = put(&source, &off, &json!({"userName": "ada@example.com", "externalId": "e-1", "active": "true"}));
    follow(&mut cluster, &source, 2, &[on]);
    assert_eq!(states(&cluster), ["Active"]);
}
