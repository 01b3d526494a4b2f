//! Groups of every sort, that want one member at least, and that nobody cleans up but usher.

use std::collections::BTreeSet;

use usher::api::provider::{Ldap, LockOut};
use usher::connectors::Connector;
use usher::connectors::error::ConnectorError;
use usher::plan::account::{AccountChange, Managed, Owned};

use crate::conformance::{Target, converge, owner, profile, read, wish};

use super::Directory;

const NOBODY: &str = "cn=empty-membership-placeholder";
/// The sorts of groups, the attribute with their members, and whether they may be empty.
pub const SORTS: [(&str, &str, bool); 3] =
    [("groupOfNames", "member", false), ("groupOfUniqueNames", "uniqueMember", false), ("posixGroup", "memberUid", true)];

pub async fn make(connector: &dyn Connector, person: &str) -> String {
    let create = AccountChange::Create { profile: connector.keeps(profile(person)), owner: owner(person) };
    connector.apply(&create).await.expect("made").id.expect("an id")
}

pub async fn change(connector: &dyn Connector, change: AccountChange) {
    connector.apply(&change).await.unwrap_or_else(|error| panic!("{change:?}: {}", error.chain()));
}

pub fn join(id: &str, group: &str) -> AccountChange {
    AccountChange::Join { id: id.to_owned(), group: group.to_owned() }
}

fn leave(id: &str, group: &str) -> AccountChange {
    AccountChange::Leave { id: id.to_owned(), group: group.to_owned() }
}

/// Nobody's name stands in for the last one who leaves, and goes as soon as somebody comes. Such a name gives nobody anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_must_not_be_empty_has_nobody_in_it() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let (ada, bob) = (make(connector.as_ref(), "ada").await, make(connector.as_ref(), "bob").await);
    for (class, attribute, may_be_empty) in SORTS {
        directory.make(class, class, attribute, if may_be_empty { &[] } else { &[NOBODY] }).await;
        let name = |person: &str| if may_be_empty { person.to_owned() } else { directory.server.person(person) };
        let empty: Vec<String> = if may_be_empty { Vec::new() } else { vec![NOBODY.to_owned()] };
        let members = || async { directory.server.values(&directory.server.group(class), attribute).await };
        change(connector.as_ref(), join(&ada, class)).await;
        assert_eq!(members().await, [name("ada")]);
        change(connector.as_ref(), join(&bob, class)).await;
        change(connector.as_ref(), leave(&ada, class)).await;
        assert_eq!(members().await, [name("bob")]);
        for _ in 0..2 {
            change(connector.as_ref(), leave(&bob, class)).await;
            assert_eq!(members().await, empty, "{class}");
        }
        assert!(read(connector.as_ref(), &bob, &Managed::All).await.groups.is_empty());
    }
}

/// Another name for nobody, by the settings.
#[tokio::test(flavor = "multi_thread")]
async fn who_nobody_is_can_be_set() {
    let directory = Directory::start(LockOut::Password).await;
    let nobody = format!("cn=nobody,{}", directory.server.env("BASE_DN"));
    let settings = Ldap { empty_group_member: Some(nobody.clone()), ..directory.settings() };
    let connector = directory.by(&settings, &directory.secret(), Some(directory.server.ca()));
    let ada = make(connector.as_ref(), "ada").await;
    directory.make("groupOfNames", "developers", "member", &[&directory.server.person("ada")]).await;
    change(connector.as_ref(), leave(&ada, "developers")).await;
    assert_eq!(directory.server.values(&directory.server.group("developers"), "member").await, [nobody]);
}

/// Her name leaves every group with her, managed or not, the last one of a group included: with overlays (groupOfNames here) and without.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_deleted_is_in_no_group_any_more() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let ada = make(connector.as_ref(), "ada").await;
    for (class, attribute, by_login) in SORTS {
        let hers = if by_login { "ada".to_owned() } else { directory.server.person("ada") };
        let other = if by_login { "eve".to_owned() } else { directory.server.person("eve") };
        directory.make(class, class, attribute, &[&hers]).await;
        directory.make(class, &format!("{class} of two"), attribute, &[&other, &hers]).await;
    }
    assert_eq!(read(connector.as_ref(), &ada, &Managed::All).await.groups.len(), 6);
    change(connector.as_ref(), AccountChange::Delete { id: ada, owned: Owned::Keep }).await;
    for (class, attribute, by_login) in SORTS {
        let other = if by_login { "eve".to_owned() } else { directory.server.person("eve") };
        let empty = if by_login { Vec::new() } else { vec![NOBODY.to_owned()] };
        assert_eq!(directory.server.values(&directory.server.group(class), attribute).await, empty, "{class}");
        assert_eq!(directory.server.values(&directory.server.group(&format!("{class} of two")), attribute).await, [other], "{class}");
    }
}

/// Somebody was deleted by hand, and groups still name her: the next one of her name is in none of them.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_inherits_the_groups_of_who_had_the_name_before() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    for (class, attribute, by_login) in SORTS {
        let hers = if by_login { "ada".to_owned() } else { directory.server.person("ada") };
        directory.make(class, class, attribute, &[&hers]).await;
    }
    let ada = make(connector.as_ref(), "ada").await;
    assert_eq!(read(connector.as_ref(), &ada, &Managed::All).await.groups, BTreeSet::new());
    // And if it is made again, as after an answer that was lost, groups that she is in by now stay.
    change(connector.as_ref(), join(&ada, "posixGroup")).await;
    assert_eq!(make(connector.as_ref(), "ada").await, ada);
    assert_eq!(read(connector.as_ref(), &ada, &Managed::All).await.groups, BTreeSet::from(["posixGroup".to_owned()]));
}

/// The same for a new login: what an interrupted rename or a deletion by hand left is not hers.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_login_inherits_no_groups() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    for (class, attribute, by_login) in SORTS {
        let hers = if by_login { "countess".to_owned() } else { directory.server.person("countess") };
        directory.make(class, class, attribute, &[&hers]).await;
    }
    let ada = make(connector.as_ref(), "ada").await;
    change(connector.as_ref(), join(&ada, "posixGroup")).await;
    change(connector.as_ref(), leave(&ada, "posixGroup")).await;
    change(connector.as_ref(), AccountChange::SetProfile { id: ada.clone(), profile: connector.keeps(profile("countess")) }).await;
    let account = read(connector.as_ref(), &ada, &Managed::All).await;
    assert_eq!((account.profile.username.as_str(), account.groups), ("countess", BTreeSet::new()));
}

/// Groups follow a new login, whether the directory sees to it or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_login_keeps_the_groups() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let ada = make(connector.as_ref(), "ada").await;
    for (class, attribute, by_login) in SORTS {
        let other = if by_login { "eve".to_owned() } else { directory.server.person("eve") };
        directory.make(class, class, attribute, &[&other]).await;
        change(connector.as_ref(), join(&ada, class)).await;
    }
    let before = read(connector.as_ref(), &ada, &Managed::All).await.groups;
    assert_eq!(before.len(), 3);
    change(connector.as_ref(), AccountChange::SetProfile { id: ada.clone(), profile: connector.keeps(profile("countess")) }).await;
    let account = read(connector.as_ref(), &ada, &Managed::All).await;
    assert_eq!((account.profile.username.as_str(), account.groups), ("countess", before));
    for (class, attribute, by_login) in SORTS {
        let old = if by_login { "ada".to_owned() } else { directory.server.person("ada") };
        assert!(!directory.server.values(&directory.server.group(class), attribute).await.contains(&old), "{class}");
    }
}

/// Names of groups compare without regard to case, and are told as the Role has them.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_told_as_the_role_spells_it() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    directory.make_group("Developers").await;
    let (account, _) = converge(connector.as_ref(), &wish("ada", &["developers".to_owned()])).await;
    assert_eq!(account.expect("an account").groups, BTreeSet::from(["developers".to_owned()]));
    let managed = Managed::Only(BTreeSet::from(["developers".to_owned()]));
    let listed = connector.list(&managed).await.expect("a list");
    let groups: Vec<_> = listed.into_iter().flat_map(|account| account.groups).collect();
    assert_eq!(groups, ["developers"]);
}

/// Which of two is meant nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn two_groups_of_one_name_are_told() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let below = format!("ou=others,{}", directory.server.env("GROUPS_DN"));
    directory.server.add(&below, &[("objectClass", &["organizationalUnit"]), ("ou", &["others"])]).await;
    directory.make_group("developers").await;
    let other = [("objectClass", &["groupOfNames"][..]), ("cn", &["developers"]), ("member", &[NOBODY])];
    directory.server.add(&format!("cn=developers,{below}"), &other).await;
    let ada = make(connector.as_ref(), "ada").await;
    let error = connector.apply(&join(&ada, "developers")).await.expect_err("which one?");
    assert!(matches!(error, ConnectorError::Rejected { .. }) && error.to_string().contains("2 groups"), "{}", error.chain());
}

/// More groups than fit into one request, and names with characters that mean something in filters and names.
#[tokio::test(flavor = "multi_thread")]
async fn many_groups_with_strange_names_are_told() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let ada = make(connector.as_ref(), "ada").await;
    let names: BTreeSet<String> = (0..230).map(|number| format!("a*(b)\\c, \"d\"+e=<{number}>; #f")).collect();
    let hers = directory.server.person("ada");
    let mut root = directory.server.root().await;
    for name in &names {
        let group = [("objectClass", &["groupOfNames"][..]), ("cn", &[name.as_str()]), ("member", &[hers.as_str()])];
        super::server::add(&mut root, &directory.server.group(name), &group).await;
    }
    let managed = Managed::Only(names.clone());
    assert_eq!(read(connector.as_ref(), &ada, &managed).await.groups, names);
    assert_eq!(connector.list(&managed).await.expect("a list")[0].groups, names);
    let first = names.first().expect("one");
    change(connector.as_ref(), leave(&ada, first)).await;
    change(connector.as_ref(), join(&ada, first)).await;
    assert_eq!(directory.server.values(&directory.server.group(first), "member").await, [hers]);
}
