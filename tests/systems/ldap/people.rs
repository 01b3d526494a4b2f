//! Entries of people: what usher writes, what it leaves to others, and names of any letters.

use std::collections::BTreeSet;

use usher::api::provider::{Ldap, LockOut};
use usher::connectors::error::ConnectorError;
use usher::plan::account::{AccountChange, AccountKey, Capability, Managed, Owned, PublicKey};

use crate::conformance::{Target, converge, known, made, named, owner, profile, read, wish};

use super::Directory;
use super::server::add_value;

const NONE: Managed = Managed::Only(BTreeSet::new());

/// A login with every character that means something in names and filters is one login, and no way out of the base.
#[tokio::test(flavor = "multi_thread")]
async fn a_strange_login_is_no_way_out() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    directory.make_group("developers").await;
    let managed = Managed::Only(BTreeSet::from(["developers".to_owned()]));
    for login in ["a,b+c\"d\\e<f>;g=h #(*)|&!", " ada ", "#ada", "*", "ada*)(uid=*", "ada,ou=groups", "Zoë Ünïcode"] {
        let mut wanted = connector.keeps(profile("ada"));
        wanted.username = login.to_owned();
        let create = AccountChange::Create { profile: wanted.clone(), owner: owner("ada") };
        let id = connector.apply(&create).await.unwrap_or_else(|error| panic!("{login}: {}", error.chain())).id.expect("an id");
        assert_eq!(connector.apply(&create).await.expect("made before").id.as_ref(), Some(&id));
        connector.apply(&AccountChange::Join { id: id.clone(), group: "developers".to_owned() }).await.expect("joined");
        let account = connector.find(&named(login), &managed).await.expect("an answer").expect("an account");
        assert_eq!((&account.id, account.profile.username.as_str(), account.groups.len()), (&id, login, 1));
        assert_eq!(connector.list(&managed).await.expect("a list"), [account]);
        wanted.username = format!("{login}2");
        connector.apply(&AccountChange::SetProfile { id: id.clone(), profile: wanted.clone() }).await.expect("renamed");
        let account = read(connector.as_ref(), &id, &managed).await;
        assert_eq!((account.profile.username, account.groups.len()), (wanted.username, 1));
        connector.apply(&AccountChange::Delete { id, owned: Owned::Keep }).await.expect("deleted");
        assert!(connector.list(&managed).await.expect("a list").is_empty());
    }
}

/// What usher writes into an entry.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_has_what_others_look_for() {
    let directory = Directory::start(LockOut::Password).await;
    converge(directory.usher().as_ref(), &wish("ada", &[])).await;
    let dn = directory.server.person("ada");
    let mark = owner("ada").mark();
    for (attribute, value) in [
        ("cn", "ada Lovelace"),
        ("sn", "Lovelace"),
        ("givenName", "ada"),
        ("displayName", "ada Lovelace"),
        ("mail", "ada@example.com"),
        ("employeeType", mark.as_str()),
    ] {
        assert_eq!(directory.server.values(&dn, attribute).await, [value], "{attribute}");
    }
}

/// What a company's own people keep of her stays: other names, other addresses, other values beside the mark, other keys.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ushers_is_left_alone() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let id = directory.make_stranger("ada", "ada@example.com").await;
    let dn = directory.server.person("ada");
    let own_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0NlUY7U3sKjG9EyYcPw3f1k2Qv8zOqjmrVyXk0Qn5M ada@home";
    for (attribute, values) in [
        ("objectClass", &["inetOrgPerson", "ldapPublicKey"][..]),
        ("cn", &["Augusta Ada King"]),
        ("sn", &["King Noel"]),
        ("displayName", &["Ada Lovelace"]),
        ("employeeType", &["Contractor"]),
        ("sshPublicKey", &[own_key]),
    ] {
        directory.server.set(&dn, attribute, values).await;
    }
    add_value(&mut directory.server.root().await, &dn, "mail", "countess@example.com").await;
    connector.apply(&AccountChange::Adopt { id: id.clone(), owner: owner("ada") }).await.expect("adopted");
    let mut wanted = connector.keeps(profile("ada"));
    wanted.display_name = "Ada Lovelace".to_owned();
    wanted.email = "ada.king@example.com".to_owned();
    wanted.ssh_keys = BTreeSet::from([PublicKey { title: "laptop".to_owned(), key: "ssh-ed25519 AAAA".to_owned() }]);
    connector.apply(&AccountChange::SetProfile { id: id.clone(), profile: wanted.clone() }).await.expect("changed");
    let account = read(connector.as_ref(), &id, &NONE).await;
    assert_eq!((account.profile, account.owner), (wanted.clone(), Some(owner("ada"))));
    for (attribute, values) in [
        ("cn", &["Augusta Ada King"][..]),
        ("sn", &["King Noel"]),
        ("mail", &["ada.king@example.com", "countess@example.com"]),
        ("employeeType", &["Contractor", &owner("ada").mark()]),
        ("sshPublicKey", &[own_key, "ssh-ed25519 AAAA usher: laptop"]),
    ] {
        let there: BTreeSet<String> = directory.server.values(&dn, attribute).await.into_iter().collect();
        assert_eq!(there, values.iter().map(|&value| value.to_owned()).collect(), "{attribute}");
    }
    wanted.ssh_keys.clear();
    connector.apply(&AccountChange::SetProfile { id: id.clone(), profile: wanted }).await.expect("changed");
    assert_eq!(directory.server.values(&dn, "sshPublicKey").await, [own_key]);
    connector.apply(&AccountChange::RevokeCredentials { id }).await.expect("revoked");
    assert!(directory.server.values(&dn, "sshPublicKey").await.is_empty(), "but all go when she leaves");
    assert!(!directory.server.values(&dn, "objectClass").await.contains(&"ldapPublicKey".to_owned()));
}

/// Some directories name people by cn: their entries keep their names.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_not_named_by_its_login_keeps_its_name() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let dn = format!("cn=Ada Lovelace,{}", directory.server.env("PEOPLE_DN"));
    let entry = [
        ("objectClass", &["inetOrgPerson"][..]),
        ("cn", &["Ada Lovelace"]),
        ("sn", &["Lovelace"]),
        ("uid", &["alovelace"]),
        ("mail", &["ada@example.com"]),
    ];
    directory.server.add(&dn, &entry).await;
    directory.make("groupOfNames", "developers", "member", &[&dn]).await;
    directory.make("posixGroup", "unix", "memberUid", &["alovelace"]).await;
    let key = AccountKey { email: Some("ADA@example.com".to_owned()), ..named("ada") };
    let account = connector.find(&key, &Managed::All).await.expect("an answer").expect("found by her address");
    assert_eq!((account.profile.username.as_str(), account.groups.len()), ("alovelace", 2));
    let mut wanted = connector.keeps(profile("ada"));
    wanted.display_name = "Ada King".to_owned();
    connector.apply(&AccountChange::SetProfile { id: account.id.clone(), profile: wanted.clone() }).await.expect("changed");
    let account = read(connector.as_ref(), &account.id, &Managed::All).await;
    assert_eq!((account.profile, account.groups.len()), (wanted, 2));
    assert_eq!(directory.server.values(&dn, "cn").await, ["Ada Lovelace"]);
}

/// Which of several who share an address is meant nobody can tell: it is nobody's, unless one of them has the login.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_several_have_is_nobodys() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    for login in ["alovelace", "zlovelace"] {
        directory.make_stranger(login, "ada@example.com").await;
    }
    let key = |login: &str| AccountKey { email: Some("ada@example.com".to_owned()), ..named(login) };
    assert_eq!(connector.find(&key("ada"), &NONE).await.expect("an answer"), None);
    let found = connector.find(&key("zlovelace"), &NONE).await.expect("an answer").expect("by her login");
    assert_eq!(found.profile.username, "zlovelace");
    assert!(
        directory.make_stranger("ada", "other@example.com").await
            == connector.find(&key("ada"), &NONE).await.expect("an answer").expect("hers").id
    );
}

/// The login that is to be hers is somebody's: neither of them changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_taken_is_told() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let (id, _) = made(connector.as_ref(), "ada").await;
    directory.make_stranger("countess", "countess@example.com").await;
    let change = AccountChange::SetProfile { id: id.clone(), profile: connector.keeps(profile("countess")) };
    let error = connector.apply(&change).await.expect_err("it is taken");
    assert!(matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains("the name is taken"), "{}", error.chain());
    assert_eq!(connector.find(&known(&id, "ada"), &NONE).await.expect("an answer").expect("an account").profile.username, "ada");
}

/// Her login differs by its letter case only.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_gets_its_letter_case_back() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let (id, _) = made(connector.as_ref(), "ada").await;
    assert!(directory.rename(&id, "ADA").await);
    assert_eq!(connector.find(&named("ada"), &NONE).await.expect("an answer").expect("an account").profile.username, "ADA");
    converge(connector.as_ref(), &wish("ada", &[])).await;
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.profile.username, "ada");
}

/// usher's own account is an administrator's, however its name is spelled.
#[tokio::test(flavor = "multi_thread")]
async fn usher_itself_is_protected() {
    let directory = Directory::start(LockOut::Password).await;
    let own = directory.server.env("ADMIN_USER").to_owned();
    let edits = vec![ldap3::Mod::Add("objectClass", ["uidObject"].into()), ldap3::Mod::Add("uid", ["usher"].into())];
    directory.server.root().await.modify(&own, edits).await.expect("an answer").success().expect("it has a login");
    directory.make_stranger("ada", "ada@example.com").await;
    for bind_dn in [own.clone(), own.replace("cn=usher,", "CN=Usher , ")] {
        let settings = Ldap { base_dn: directory.server.env("BASE_DN").to_owned(), bind_dn, ..directory.settings() };
        let connector = directory.by(&settings, &directory.secret(), Some(directory.server.ca()));
        let found = connector.find(&named("usher"), &NONE).await.expect("an answer").expect("an account");
        assert!(found.administrator, "{found:?}");
        let listed = connector.list(&NONE).await.expect("a list");
        let administrators: Vec<&str> = listed.iter().filter(|it| it.administrator).map(|it| it.profile.username.as_str()).collect();
        assert_eq!((administrators, listed.len()), (vec!["usher"], 2));
    }
}

/// Another attribute for the mark, by the settings; one that does not exist is no place for it.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_mark_is_can_be_set() {
    let directory = Directory::start(LockOut::Password).await;
    let with = |attribute: &str| {
        let settings = Ldap { mark_attribute: Some(attribute.to_owned()), ..directory.settings() };
        directory.by(&settings, &directory.secret(), Some(directory.server.ca()))
    };
    let connector = with("businessCategory");
    assert!(connector.probe().await.expect("it answers").contains(&Capability::Mark));
    let (account, _) = converge(connector.as_ref(), &wish("ada", &[])).await;
    assert_eq!(account.expect("an account").owner, Some(owner("ada")));
    assert_eq!(directory.server.values(&directory.server.person("ada"), "businessCategory").await, [owner("ada").mark()]);
    assert!(!with("noSuchThing").probe().await.expect("it answers").contains(&Capability::Mark));
}
