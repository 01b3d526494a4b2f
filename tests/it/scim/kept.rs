//! How a resource is kept: as an object that any replica reads, and of several that speak of one resource the one that counts.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use usher::plan::scim::pushed::{Resources, counting, left_over};
use usher::plan::scim::record::{Id, MOST_MEMBERS, Record, name_of_user};
use usher::plan::scim::{Attributes, ResourceKind};

const THEN: &str = "2026-11-23T08:00:00Z";
const NOW: &str = "2026-11-23T09:00:00Z";

pub fn id(number: u16) -> Id {
    let [high, low] = number.to_be_bytes();
    Id::new([0, 0, 0, 0, 0, 0, 0, 0, high, low])
}

fn attributes(value: Value) -> Attributes {
    value.as_object().cloned().expect("an object")
}

pub fn user(number: u16, login: &str) -> Record {
    Record::new(
        (ResourceKind::User, "hr", id(number)),
        &attributes(json!({"userName": login, "externalId": format!("e-{number}")})),
        Vec::new(),
        THEN,
    )
}

fn records(all: &[&Record]) -> Vec<Arc<Record>> {
    all.iter().map(|record| Arc::new((*record).clone())).collect()
}

fn names(all: &[Arc<Record>]) -> Vec<String> {
    all.iter().map(|record| record.name().to_owned()).collect()
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let members = vec![id(1), id(2)];
    let group = Record::new((ResourceKind::Group, "hr", id(7)), &attributes(json!({"displayName": "payments"})), members, THEN);
    for record in [user(1, "ada"), group] {
        let mut object = record.object("usher-system", "here").expect("small enough");
        object.metadata.resource_version = Some("17".to_owned());
        let text = serde_json::to_string(&object).expect("JSON");
        let read = Record::read(serde_json::from_str::<ConfigMap>(&text).expect("a ConfigMap")).expect("a record");
        assert_eq!((&read.text, &read.members, &read.stamp, read.id), (&record.text, &record.members, &record.stamp, record.id));
        assert_eq!((read.kind, read.source.as_str(), read.version()), (record.kind, "hr", "W/\"17\"".to_owned()));
    }
}

#[test]
fn objects_of_others_are_no_records() {
    let mut object = user(1, "ada").object("usher-system", "here").expect("small enough");
    object.metadata.name = Some("usher-settings".to_owned());
    assert_eq!(Record::read(object.clone()), None, "by its name");
    object.metadata.name = Some("usher-scim-x".to_owned());
    object.metadata.labels = None;
    assert_eq!(Record::read(object), None, "by its labels");
    assert_eq!(Record::read(ConfigMap::default()), None);
}

/// The name of the object is what keeps two people of one login apart, whichever replicas they are pushed to.
#[test]
fn nobody_else_of_the_source_gets_a_login_whatever_its_letters() {
    assert_eq!(name_of_user("hr", "Ada@Example.com"), name_of_user("hr", "ada@example.COM"));
    assert_ne!(name_of_user("hr", "ada"), name_of_user("it", "ada"));
    assert_ne!(name_of_user("hr", "ada"), name_of_user("hr", "ada "));
    let name = name_of_user("hr", &"x".repeat(4_000));
    assert!(name.len() <= 63 && name.starts_with("usher-scim-user-"), "{name}");
}

#[test]
fn no_object_is_larger_than_a_hundred_kibibytes() {
    let members: Vec<Id> = (0..u16::try_from(MOST_MEMBERS).expect("a number")).map(id).collect();
    let long = attributes(json!({"displayName": "x".repeat(4_000), "externalId": "y".repeat(4_000)}));
    let group = Record::new((ResourceKind::Group, "hr", id(1)), &long, members.clone(), THEN);
    let object = serde_json::to_string(&group.object("usher-system", "here").expect("it fits")).expect("JSON");
    assert!(object.len() < 100 * 1024, "{} bytes", object.len());
    let more = [members, vec![id(9_999)]].concat();
    let error = Record::new((ResourceKind::Group, "hr", id(1)), &long, more, THEN).object("a", "b").expect_err("too many");
    assert!(error.status == 413 && error.detail.contains("5000"), "{}", error.detail);
    let many: Vec<Value> = (0..90).map(|number| json!({"value": format!("{number}{}", "z".repeat(1_000))})).collect();
    let user = Record::new((ResourceKind::User, "hr", id(1)), &attributes(json!({"userName": "a", "emails": many})), Vec::new(), THEN);
    assert_eq!(user.object("a", "b").expect_err("too much").status, 413);
}

#[test]
fn whoever_is_called_otherwise_moves_and_counts_once() {
    let before = user(1, "ada");
    let after = before.changed(&attributes(json!({"userName": "lovelace"})), Vec::new(), NOW);
    assert_ne!(before.name(), after.name());
    let both = records(&[&before, &after]);
    assert_eq!(counting(&both)[&id(1)].name(), after.name(), "also before the old object is gone");
    assert_eq!(names(&left_over(&both)), [before.name()]);
    assert_eq!(counting(&records(&[&after]))[&id(1)].name(), after.name());
}

#[test]
fn whoever_was_changed_where_she_was_has_not_moved() {
    let before = user(1, "ada");
    let moved = before.changed(&attributes(json!({"userName": "lovelace"})), Vec::new(), NOW);
    let changed = before.changed(&attributes(json!({"userName": "ada", "active": false})), Vec::new(), NOW);
    let both = records(&[&changed, &moved]);
    assert_eq!(counting(&both)[&id(1)].text, changed.text, "what was answered is not lost");
    assert_eq!(names(&left_over(&both)), [moved.name()]);
    // Somebody else may have the old login by now.
    let other = user(2, "ada");
    assert_eq!(counting(&records(&[&other, &moved])).len(), 2);
}

#[test]
fn whoever_is_deleted_stays_so_and_her_login_is_free() {
    let ada = user(1, "ada");
    let gone = ada.deleted(NOW);
    assert_ne!(gone.name(), ada.name());
    let both = records(&[&ada, &gone]);
    assert!(counting(&both)[&id(1)].stamp.deleted.is_some(), "also before the old object is gone");
    assert!(Resources::among(&both).get(id(1)).is_none());
    assert_eq!(names(&left_over(&both)), [ada.name()]);
    let next = user(2, "ada");
    assert_eq!(next.name(), ada.name());
    assert_eq!(Resources::among(&records(&[&gone, &next])).of_kind(ResourceKind::User).len(), 1);
}
