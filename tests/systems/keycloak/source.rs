//! A realm as a source of people.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use usher::api::source::{KeycloakRealm, Origin, PeopleMapping, TeamOfGroup};
use usher::api::{Reason, SourceSpec};
use usher::connectors::Secrets;
use usher::connectors::directory::{Directory, open};
use usher::connectors::throttle::Throttle;
use usher::plan::source::mapping::Mapping;
use usher::plan::source::{Found, Person};

use super::Realm;
use crate::conformance::Target;
use crate::proxy::Told;

/// What usher needs to read, and no more.
const READS: [&str; 1] = ["view-users"];
const CROWD: usize = 2_501;

fn settings(realm: &Realm, url: &str) -> KeycloakRealm {
    KeycloakRealm { url: url.to_owned(), realm: realm.name.clone(), client_id: "usher".to_owned(), ..KeycloakRealm::default() }
}

fn reader(realm: &Realm, url: &str, ca: &str) -> Arc<dyn Directory> {
    let secrets = Secrets { credential: realm.secret.clone().into(), ca: Some(ca.to_owned()) };
    open(Origin::Keycloak(&settings(realm, url)), secrets, Arc::new(Throttle::new(1_000))).expect("a reader")
}

fn here(realm: &Realm) -> Arc<dyn Directory> {
    reader(realm, realm.system.env("URL"), &realm.ca)
}

fn mapping(realm: &Realm, people: PeopleMapping) -> Mapping {
    let team = |group: &str, team: &str| TeamOfGroup { group: group.to_owned(), team: team.to_owned() };
    let keycloak = Some(settings(realm, realm.system.env("URL")));
    let spec: SourceSpec = serde_json::from_value(json!({})).expect("defaults");
    Mapping::of(&SourceSpec {
        keycloak,
        people,
        teams: vec![team("/engineering/payments", "pay"), team("/engineering/{team}", "{team}")],
        ..spec
    })
}

fn by_name(found: &Found) -> BTreeMap<&str, &Person> {
    found.people.iter().map(|person| (person.attributes["username"].as_str(), person)).collect()
}

#[tokio::test]
async fn two_thousand_five_hundred_and_one_are_read_with_the_right_to_look_alone() {
    let realm = Realm::with(&READS, |_| {}).await;
    realm.make_crowd(CROWD - 2).await;
    for group in ["engineering/payments", "engineering/search", "sales/east"] {
        realm.make_group(group).await;
    }
    let ada = realm.make_whole("ada", "ada@example.com").await;
    let eve = realm.make_whole("eve", "eve@example.com").await;
    for (id, group) in [(&ada, "engineering/payments"), (&ada, "sales/east"), (&eve, "engineering/search")] {
        realm.admin("PUT", &format!("/users/{id}/groups/{}", realm.group_id(group).await), Value::Null).await;
    }
    realm.admin("PUT", &format!("/users/{eve}"), json!({ "enabled": false })).await;
    let people = PeopleMapping { display_name: Some("{firstName} {department}".to_owned()), ..PeopleMapping::default() };
    let found = here(&realm).read(&mapping(&realm, people)).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(found.people.len(), CROWD, "the client's own account is nobody");
    let people = by_name(&found);
    assert_eq!(people.len(), CROWD);
    let groups = |name: &str| people[name].groups.iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!((groups("ada"), groups("eve"), groups("stranger-7")), (vec!["/engineering/payments"], vec!["/engineering/search"], vec![]));
    assert_eq!((people["ada"].active, people["eve"].active), (Some(true), Some(false)));
    let told = |key: &str| people["ada"].attributes.get(key).map(String::as_str);
    assert_eq!((told("id"), told("email"), told("department")), (Some(ada.as_str()), Some("ada@example.com"), Some("engines")));
    assert_eq!(told("phone"), None, "what nobody asked for is not kept");
}

/// The count is as it is, and the list is not.
#[tokio::test]
async fn half_an_answer_or_an_error_in_the_middle_is_an_error() {
    let realm = Realm::with(&READS, |_| {}).await;
    realm.make_crowd(1_500).await;
    let proxy = realm.proxy().await;
    let reader = reader(&realm, &proxy.url(), proxy.ca());
    let mapping = mapping(&realm, PeopleMapping::default());
    assert_eq!(reader.read(&mapping).await.expect("all of it").people.len(), 1_500);
    proxy.edit(|asked, told| {
        if let (true, Some(users)) = (asked.path.contains("/users?"), told.value().as_array()) {
            told.set(&Value::from(users[..users.len() / 2].to_vec()));
        }
    });
    let error = reader.read(&mapping).await.expect_err("half of it");
    assert!(error.chain().contains("of 1500"), "{}", error.chain());
    proxy.edit(|_, _| {});
    proxy.instead(|asked| asked.path.contains("first=950").then(|| Told::json(500, &json!({ "error": "unknown_error" }))));
    let error = reader.read(&mapping).await.expect_err("the second page is none");
    assert_eq!(error.reason(), Reason::Unreachable, "{}", error.chain());
}

/// Nobody counts the members of a group, so only an empty page is the end.
#[tokio::test]
async fn a_page_of_a_group_that_is_cut_short_is_not_its_end() {
    let realm = Realm::with(&READS, |_| {}).await;
    realm.make_group("engineering/search").await;
    for number in 0..5 {
        let id = realm.make_whole(&format!("person{number}"), &format!("person{number}@example.com")).await;
        realm.join(&id, "engineering/search").await;
    }
    let proxy = realm.proxy().await;
    let reader = reader(&realm, &proxy.url(), proxy.ca());
    proxy.edit(|asked, told| {
        if let (true, Some(members)) = (asked.path.contains("/members?"), told.value().as_array()) {
            told.set(&Value::from(members.iter().take(2).cloned().collect::<Vec<_>>()));
        }
    });
    let found = reader.read(&mapping(&realm, PeopleMapping::default())).await.expect("all of it");
    assert_eq!(found.people.iter().filter(|person| person.groups.contains("/engineering/search")).count(), 5);
    assert_eq!(found.groups.get("/engineering/search").map(String::as_str), Some("/engineering/search"), "{:?}", found.groups);
}

#[tokio::test]
async fn what_is_not_told_is_not_made_up_and_values_without_an_order_have_one() {
    let realm = Realm::with(&READS, |_| {}).await;
    realm.make_whole("ada", "ada@example.com").await;
    let proxy = realm.proxy().await;
    let reader = reader(&realm, &proxy.url(), proxy.ca());
    let people = PeopleMapping { display_name: Some("{phone}".to_owned()), ..PeopleMapping::default() };
    for turned in [false, true] {
        proxy.edit(move |asked, told| {
            let mut users = told.value();
            if let (true, Some([ada])) = (asked.path.contains("/users?"), users.as_array_mut().map(Vec::as_mut_slice)) {
                ada.as_object_mut().expect("a user").remove("enabled");
                let phones = ada["attributes"]["phone"].as_array_mut().expect("phones");
                phones.sort_by_key(|phone| (phone == "1") == turned);
                told.set(&users);
            }
        });
        let found = reader.read(&mapping(&realm, people.clone())).await.expect("all of it");
        let ada = by_name(&found)["ada"];
        assert_eq!((ada.active, ada.attributes["phone"].as_str()), (None, "1"));
    }
}

#[tokio::test]
async fn who_may_not_look_is_told_which_role_is_missing() {
    let realm = Realm::with(&["query-groups"], |_| {}).await;
    realm.make_whole("ada", "ada@example.com").await;
    let error = here(&realm).read(&mapping(&realm, PeopleMapping::default())).await.expect_err("it may not look");
    assert_eq!(error.reason(), Reason::Unauthorized);
    assert!(error.chain().contains("view-users of the client realm-management"), "{}", error.chain());
    let shown = format!("{:?} {error:?}", here(&realm));
    assert!(!shown.contains(&realm.secret), "{shown}");
}
