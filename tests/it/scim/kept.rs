//! How a resource is kept: as an object that any replica reads, and of several that speak of one resource the one that counts.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use usher::plan::scim::pushed::{Pushed, Resources, counting, is_as_left, left_over, repeats};
use usher::plan::scim::record::{Id, MOST_MEMBERS, Owner, Record, name_of_user};
use usher::plan::scim::{Attributes, ResourceKind};

const THEN: &str = "2026-11-23T08:00:00Z";
const NOW: &str = "2026-11-23T09:00:00Z";

pub const HR: Owner<'static> = Owner { source: "hr", uid: "uid-of-hr" };

pub fn id(number: u16) -> Id {
    let [high, low] = number.to_be_bytes();
    Id::new([0, 0, 0, 0, 0, 0, 0, 0, high, low])
}

fn attributes(value: Value) -> Attributes {
    value.as_object().cloned().expect("an object")
}

pub fn user(number: u16, login: &str) -> Record {
    Record::new(
        (ResourceKind::User, HR, id(number)),
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
    let group = Record::new((ResourceKind::Group, HR, id(7)), &attributes(json!({"displayName": "payments"})), members, THEN);
    for record in [user(1, "ada"), group] {
        let mut object = record.object("usher-system", "here").expect("small enough");
        object.metadata.resource_version = Some("17".to_owned());
        let text = serde_json::to_string(&object).expect("JSON");
        let read = Record::read(serde_json::from_str::<ConfigMap>(&text).expect("a ConfigMap")).expect("a record");
        assert_eq!((&read.text, &read.members, &read.stamp, read.id), (&record.text, &record.members, &record.stamp, record.id));
        assert_eq!((read.kind, read.owner(), read.version()), (record.kind, HR, "W/\"17\"".to_owned()));
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
    let group = Record::new((ResourceKind::Group, HR, id(1)), &long, members.clone(), THEN);
    let object = serde_json::to_string(&group.object("usher-system", "here").expect("it fits")).expect("JSON");
    assert!(object.len() < 100 * 1024, "{} bytes", object.len());
    let more = [members, vec![id(9_999)]].concat();
    let error = Record::new((ResourceKind::Group, HR, id(1)), &long, more, THEN).object("a", "b").expect_err("too many");
    assert!(error.status == 413 && error.detail.contains("5000"), "{}", error.detail);
    let many: Vec<Value> = (0..90).map(|number| json!({"value": format!("{number}{}", "z".repeat(1_000))})).collect();
    let user = Record::new((ResourceKind::User, HR, id(1)), &attributes(json!({"userName": "a", "emails": many})), Vec::new(), THEN);
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

/// What is under the name that somebody moved away from is read again before it goes: another replica may have answered meanwhile.
#[test]
fn what_was_changed_where_it_was_is_not_taken_away_as_the_rest_of_a_move() {
    let before = user(1, "ada");
    let moved = before.changed(&attributes(json!({"userName": "lovelace"})), Vec::new(), NOW);
    let moved = moved.stamp.moved.expect("a move");
    assert!(is_as_left(&moved, id(1), &before));
    let changed = before.changed(&attributes(json!({"userName": "ada", "active": false})), Vec::new(), NOW);
    assert!(!is_as_left(&moved, id(1), &changed), "what was answered would be lost");
    assert!(!is_as_left(&moved, id(1), &user(2, "ada")), "somebody else's");
}

fn group(number: u16, name: &str, more: Value, version: &str) -> Record {
    let mut all = attributes(json!({"displayName": name}));
    all.extend(attributes(more));
    let mut group = Record::new((ResourceKind::Group, HR, id(number)), &all, Vec::new(), THEN);
    group.meta.resource_version = Some(version.to_owned());
    group
}

/// A sender that hears no answer sends it again. Two groups of one name are no team at all.
#[test]
fn a_group_that_is_pushed_again_is_the_one_that_was_pushed_before() {
    let plain = json!({});
    let made = group(2, "Payments", plain.clone(), "20");
    for (what, other, repeated) in [
        ("an older one", group(1, "payments", plain.clone(), "10"), true),
        ("itself", made.clone(), false),
        ("a newer one, which is the repetition", group(3, "Payments", plain.clone(), "30"), false),
        ("another name", group(1, "Search", plain.clone(), "10"), false),
        ("what its sender tells apart", group(1, "Payments", json!({"externalId": "7"}), "10"), false),
    ] {
        assert_eq!(repeats(&made, &records(&[&made, &other])), repeated, "{what}");
    }
    let mut changed = group(1, "Payments", plain, "10").changed(&attributes(json!({"displayName": "payments"})), vec![id(9)], NOW);
    changed.meta.resource_version = Some("40".to_owned());
    assert!(repeats(&made, &records(&[&changed, &made])), "an older one that was changed since");
    let gone = changed.deleted(NOW);
    assert!(!repeats(&made, &records(&[&changed, &gone, &made])), "one that was deleted is none");
}

#[test]
fn only_what_takes_something_from_somebody_stops_what_is_under_way() {
    let mut pushed = Pushed::default();
    let grows = |group: &Record, members: &[u16]| group.changed(&group.attributes(), members.iter().map(|it| id(*it)).collect(), NOW);
    let mut set = |record: Option<Record>, name: &str| {
        let before = pushed.losses("hr");
        pushed.set(name, record.map(Arc::new));
        pushed.losses("hr") > before
    };
    let mut put = |record: &Record| set(Some(record.clone()), record.name());
    let empty = group(7, "payments", json!({}), "1");
    let (one, two) = (grows(&empty, &[1]), grows(&empty, &[1, 2]));
    assert_eq!([put(&empty), put(&one), put(&two), put(&two)], [false; 4], "who is added loses nothing");
    assert_eq!([put(&one), put(&two), put(&grows(&two, &[2, 3]))], [true, false, true], "who is taken out does");
    let renamed = two.changed(&attributes(json!({"displayName": "search"})), two.members.clone(), NOW);
    assert!(put(&renamed), "all of them lose the team");
    let ada = user(1, "ada");
    let off = ada.changed(&attributes(json!({"userName": "ada", "active": false})), Vec::new(), NOW);
    assert_eq!([put(&ada), put(&off), put(&off), put(&ada), put(&ada.deleted(NOW))], [false, true, false, false, true]);
    assert!(set(None, renamed.name()), "and so does a group that goes");
}

#[test]
fn those_are_found_of_whom_something_is_said_whatever_its_letters() {
    let all = records(&[&user(1, "Ada"), &user(2, "bob"), &group(3, "Payments", json!({}), "1")]);
    let resources = Resources::among(&all);
    assert_eq!(resources.saying(ResourceKind::User, "userName", "ada"), [id(1)]);
    assert_eq!(resources.saying(ResourceKind::User, "externalId", "e-2"), [id(2)]);
    assert_eq!(resources.saying(ResourceKind::Group, "displayName", "PAYMENTS"), [id(3)]);
    assert_eq!(resources.saying(ResourceKind::Group, "displayName", "ada"), Vec::<Id>::new());
}

#[test]
fn what_was_pushed_for_a_source_is_nothing_to_another_one_of_its_name() {
    let mut pushed = Pushed::default();
    let other = Owner { source: "hr", uid: "uid-of-another" };
    let old = user(1, "ada");
    let new = Record::new((ResourceKind::User, other, id(2)), &old.attributes(), Vec::new(), NOW);
    for record in [&old, &new] {
        pushed.set(record.name(), Some(Arc::new(record.clone())));
    }
    assert_eq!((pushed.of(HR).len(), pushed.of(other).len()), (1, 1), "nor is a login of the one taken at the other");
    assert_eq!(names(&pushed.of_others("hr", Some("uid-of-another"))), [old.name()]);
    assert_eq!((pushed.of_others("hr", None).len(), pushed.of_others("it", None).len()), (2, 0));
}
