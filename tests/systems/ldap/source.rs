//! A part of a directory as a source of people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use usher::api::provider::LockOut;
use usher::api::source::{LdapTree, Origin, PeopleMapping, TeamOfGroup};
use usher::api::{Reason, SourceSpec};
use usher::connectors::Secrets;
use usher::connectors::directory::{Directory as Reader, open};
use usher::connectors::throttle::Throttle;
use usher::plan::source::mapping::Mapping;
use usher::plan::source::{Found, Person};

use super::Directory;
use super::server::{Server, add_value};
use crate::conformance::Target;
use crate::proxy::TcpProxy;

const CROWD: usize = 2_501;

fn tree(directory: &Directory) -> LdapTree {
    LdapTree {
        url: directory.server.env("URL").to_owned(),
        bind_dn: directory.server.env("ADMIN_USER").to_owned(),
        base_dn: directory.server.env("PEOPLE_DN").to_owned(),
        filter: "(objectClass=inetOrgPerson)".to_owned(),
        group_base_dn: Some(directory.server.env("GROUPS_DN").to_owned()),
        ..LdapTree::default()
    }
}

fn reader(directory: &Directory, tree: &LdapTree) -> Result<Arc<dyn Reader>, String> {
    let secrets = Secrets { credential: directory.secret().into(), ca: Some(directory.server.ca()) };
    open(Origin::Ldap(tree), secrets, Arc::new(Throttle::new(1_000_000))).map_err(|error| error.chain())
}

fn mapping(tree: &LdapTree) -> Mapping {
    let spec: SourceSpec = serde_json::from_value(json!({})).expect("defaults");
    let teams = vec![TeamOfGroup { group: "{team}-team".to_owned(), team: "{team}".to_owned() }];
    Mapping::of(&SourceSpec { ldap: Some(tree.clone()), people: PeopleMapping::default(), teams, ..spec })
}

async fn read(directory: &Directory, tree: &LdapTree) -> Result<Found, String> {
    reader(directory, tree)?.read(&mapping(tree)).await.map_err(|error| error.chain())
}

fn by_login(found: &Found) -> BTreeMap<&str, &Person> {
    found.people.iter().map(|person| (person.attributes["uid"].as_str(), person)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_five_hundred_and_one_are_read() {
    let directory = Directory::start(LockOut::Policy).await;
    directory.make_crowd(CROWD - 2).await;
    directory.make_stranger("ada", "ada@example.com").await;
    let id = directory.make_stranger("eve", "eve@example.com").await;
    let (ada, eve) = (directory.server.person("ada"), directory.server.person("eve"));
    directory.make("groupOfNames", "payments-team", "member", &[&ada, &eve]).await;
    directory.make("posixGroup", "search-team", "memberUid", &["eve"]).await;
    directory.make("groupOfNames", "sales", "member", &[&ada]).await;
    directory.server.set(&eve, "pwdAccountLockedTime", &["000001010000Z"]).await;
    let tree = tree(&directory);
    let found = read(&directory, &tree).await.unwrap();
    let people = by_login(&found);
    assert_eq!((found.people.len(), people.len()), (CROWD, CROWD));
    let groups = |name: &str| people[name].groups.iter().map(String::as_str).collect::<Vec<_>>();
    let (payments, search) = (directory.server.group("payments-team"), directory.server.group("search-team"));
    assert_eq!((groups("ada"), groups("eve"), groups("stranger-7")), (vec![&*payments], vec![&*payments, &*search], vec![]));
    assert_eq!(found.groups, BTreeMap::from([(payments.clone(), "payments-team".to_owned()), (search.clone(), "search-team".to_owned())]));
    assert_eq!((people["ada"].active, people["eve"].active), (Some(true), Some(false)));
    assert_eq!(people["eve"].attributes["entryUUID"], id);
    assert_eq!(found.versions.len(), CROWD + 3, "entries of people and of groups");

    let mut root = directory.server.root().await;
    add_value(&mut root, &directory.server.group("payments-team"), "member", &directory.server.person("stranger-7")).await;
    let later = read(&directory, &tree).await.unwrap();
    let group = directory.server.group("payments-team");
    assert!(found.versions[&group] < later.versions[&group], "versions grow: {} {}", found.versions[&group], later.versions[&group]);
    assert!(found.versions.iter().all(|(id, version)| later.versions[id] >= *version));
}

/// A cn is nobody's own below an entry, and values are in no order.
#[tokio::test(flavor = "multi_thread")]
async fn two_groups_of_one_name_are_two_and_of_several_values_it_is_always_the_same() {
    let directory = Directory::start(LockOut::Password).await;
    for login in ["ada", "eve"] {
        directory.make_stranger(login, &format!("{login}@example.com")).await;
    }
    let (ada, eve) = (directory.server.person("ada"), directory.server.person("eve"));
    directory.make("groupOfNames", "ops-team", "member", &[&ada]).await;
    let mine = format!("ou=mine,{}", directory.server.env("GROUPS_DN"));
    directory.server.add(&mine, &[("objectClass", &["organizationalUnit"]), ("ou", &["mine"])]).await;
    let forged = format!("cn=ops-team,{mine}");
    directory.server.add(&forged, &[("objectClass", &["groupOfNames"]), ("cn", &["ops-team"]), ("member", &[&eve])]).await;
    let found = read(&directory, &tree(&directory)).await.unwrap();
    let real = directory.server.group("ops-team");
    let people = by_login(&found);
    assert_eq!((&people["ada"].groups, &people["eve"].groups), (&BTreeSet::from([real.clone()]), &BTreeSet::from([forged.clone()])));
    assert_eq!(found.groups, BTreeMap::from([(real, "ops-team".to_owned()), (forged, "ops-team".to_owned())]));

    for mails in [["b@example.com", "a@example.com", "c@example.com"], ["c@example.com", "b@example.com", "a@example.com"]] {
        directory.server.set(&ada, "mail", &[]).await;
        for mail in mails {
            add_value(&mut directory.server.root().await, &ada, "mail", mail).await;
        }
        let found = read(&directory, &tree(&directory)).await.unwrap();
        assert_eq!(by_login(&found)["ada"].attributes["mail"], "a@example.com");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_keeps_some_back_or_breaks_off_is_an_error() {
    let server = Server::start_with(|config| config.replace("size.prtotal=unlimited", "size.prtotal=700")).await;
    let directory = Directory::of(server, LockOut::Password);
    directory.make_crowd(701).await;
    let error = read(&directory, &tree(&directory)).await.expect_err("it is not whole");
    assert!(error.contains("olcLimits"), "{error}");

    let directory = Directory::start(LockOut::Password).await;
    directory.make_crowd(1_200).await;
    let proxy = TcpProxy::start(&format!("127.0.0.1:{}", directory.server.env("PORT"))).await;
    let behind = LdapTree { url: format!("ldaps://{}", proxy.address()), ..tree(&directory) };
    assert_eq!(read(&directory, &behind).await.unwrap().people.len(), 1_200);
    let whole = proxy.answered();
    let cut = async {
        while proxy.answered() < whole * 3 / 2 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        proxy.break_off();
    };
    let (found, ()) = tokio::join!(read(&directory, &behind), cut);
    found.expect_err("it broke off in the middle");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_no_use_is_told_by_its_field() {
    let directory = Directory::start(LockOut::Password).await;
    directory.make_stranger("ada", "ada@example.com").await;
    let nowhere = format!("ou=nowhere,{}", directory.server.env("BASE_DN"));
    let good = tree(&directory);
    for (bad, field) in [
        (LdapTree { base_dn: nowhere.clone(), ..good.clone() }, "ldap.baseDN"),
        (LdapTree { base_dn: "nonsense".to_owned(), ..good.clone() }, "ldap.baseDN"),
        (LdapTree { group_base_dn: Some(nowhere), ..good.clone() }, "ldap.groupBaseDN"),
        (LdapTree { group_base_dn: None, ..good.clone() }, "ldap.groupBaseDN"),
        (LdapTree { filter: "objectClass=".to_owned(), ..good.clone() }, "ldap.filter"),
    ] {
        let error = read(&directory, &bad).await.expect_err(field);
        assert!(error.starts_with(field), "{field}: {error}");
    }
    let secrets = Secrets { credential: "wrong".into(), ca: Some(directory.server.ca()) };
    let refused = open(Origin::Ldap(&good), secrets, Arc::new(Throttle::new(1_000))).expect("a reader");
    assert_eq!(refused.read(&mapping(&good)).await.expect_err("refused").reason(), Reason::Unauthorized);
}
