//! A new login is several changes, of the entry and of each group: what becomes of them when they are cut short.

use std::collections::BTreeSet;

use usher::api::provider::{Ldap, LockOut};
use usher::connectors::Connector;
use usher::connectors::error::ConnectorError;
use usher::plan::account::{AccountChange, Managed, Owned, Presence, Wish, steps};

use crate::conformance::{Target, known, made, owner, profile, read, wish};

use super::Directory;
use super::membership::{SORTS, change, join, make};

/// The directory, with ada in a group of each sort, and another one in them. Only the first group is usher's to give and take. Returns her id as well.
async fn ada_in_groups() -> (Directory, String) {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let ada = make(connector.as_ref(), "ada").await;
    for (class, attribute, by_login) in SORTS {
        let other = if by_login { "eve".to_owned() } else { directory.server.person("eve") };
        directory.make(class, class, attribute, &[&other]).await;
        change(connector.as_ref(), join(&ada, class)).await;
    }
    (directory, ada)
}

fn to_be(username: &str) -> Wish {
    let wish = wish("ada", &["groupOfNames".to_owned()]);
    Wish { profile: profile(username), ..wish }
}

fn rename(connector: &dyn Connector, id: &str, username: &str) -> AccountChange {
    AccountChange::SetProfile { id: id.to_owned(), profile: connector.keeps(profile(username)) }
}

/// As usher tries again: what is missing, as long as something is.
async fn settle(connector: &dyn Connector, id: &str, wish: &Wish) {
    let can = connector.probe().await.expect("it answers");
    let wish = Wish { profile: connector.keeps(wish.profile.clone()), ..wish.clone() };
    for _ in 0..4 {
        let found = connector.find(&known(id, &wish.profile.username), &wish.managed).await.expect("an answer");
        let listed = connector.list(&wish.managed).await.expect("a list").into_iter().find(|it| it.id == id);
        let next = steps(found.as_ref(), &wish, &can);
        assert_eq!(steps(listed.as_ref(), &wish, &can), next, "a list tells what a look tells");
        assert!(next.obstacles.is_empty(), "{:?}", next.obstacles);
        if next.changes.is_empty() {
            return;
        }
        for step in next.changes {
            change(connector, step).await;
        }
    }
    panic!("it never settles");
}

/// Each group names the other one, and then her by this login; she is in no group by another.
async fn is_in_all_groups_as(directory: &Directory, username: &str) {
    for (class, attribute, by_login) in SORTS {
        let names = ["eve", username].map(|name| if by_login { name.to_owned() } else { directory.server.person(name) });
        let there: BTreeSet<String> = directory.server.values(&directory.server.group(class), attribute).await.into_iter().collect();
        assert_eq!(there, BTreeSet::from(names), "{class}");
    }
    let member_of = directory.server.values(&directory.server.person(username), "memberOf").await;
    assert_eq!(member_of, [directory.server.group("groupOfNames")]);
}

/// Wherever the connection is cut while she gets a new login: at the next try she is in the groups that she was in, and no group has her old name.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_login_that_was_cut_short_is_brought_to_its_end() {
    let (directory, ada) = ada_in_groups().await;
    let connector = directory.usher();
    let proxy = directory.proxy().await;
    let faulty = directory.at(&proxy.url(), proxy.ca());
    for (cut, login) in (0..).zip(["countess", "ada"].into_iter().cycle()) {
        proxy.cut_change_after(cut);
        let cut_off = faulty.apply(&rename(faulty.as_ref(), &ada, login)).await;
        settle(connector.as_ref(), &ada, &to_be(login)).await;
        is_in_all_groups_as(&directory, login).await;
        let Err(error) = cut_off else {
            assert!(cut >= 4, "the entry, its name and two groups are changed one after another, and no more than {cut} were");
            return;
        };
        assert!(matches!(error, ConnectorError::Unreachable { .. }), "{}", error.chain());
    }
}

/// The same if her login is to be another one by then, or the old one again.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_login_that_was_cut_short_gives_way_to_the_next() {
    for login in ["ada", "lovelace"] {
        let (directory, ada) = ada_in_groups().await;
        let connector = directory.usher();
        cut_rename(&directory, &ada).await;
        settle(connector.as_ref(), &ada, &to_be(login)).await;
        is_in_all_groups_as(&directory, login).await;
    }
}

/// She leaves before the next try: neither name of hers is in a group afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_after_it_is_in_no_group() {
    for presence in [Presence::Revoked, Presence::Gone] {
        let (directory, ada) = ada_in_groups().await;
        let connector = directory.usher();
        cut_rename(&directory, &ada).await;
        let groups = ["groupOfNames", "groupOfUniqueNames", "posixGroup"].map(str::to_owned);
        let leaves = Wish { presence, groups: BTreeSet::new(), managed: Managed::Only(groups.into()), ..to_be("countess") };
        settle(connector.as_ref(), &ada, &leaves).await;
        for (class, attribute, _) in SORTS {
            let there = directory.server.values(&directory.server.group(class), attribute).await;
            assert!(there.len() == 1 && there[0].contains("eve"), "{class}: {there:?}");
        }
    }
}

/// Somebody else got the old name before the next try: she has neither more groups by it nor fewer.
#[tokio::test(flavor = "multi_thread")]
async fn who_got_the_old_name_keeps_her_groups() {
    let (directory, ada) = ada_in_groups().await;
    let connector = directory.usher();
    cut_rename(&directory, &ada).await;
    let (other, _) = made(connector.as_ref(), "ada").await;
    let groups = async |id: &str| read(connector.as_ref(), id, &Managed::All).await.groups;
    assert!(groups(&other).await.is_empty(), "what the first one had is not hers");
    change(connector.as_ref(), join(&other, "groupOfUniqueNames")).await;
    settle(connector.as_ref(), &ada, &to_be("countess")).await;
    assert_eq!(groups(&other).await, BTreeSet::from(["groupOfUniqueNames".to_owned()]));
    assert_eq!(groups(&ada).await, BTreeSet::from(["groupOfNames".to_owned()]), "the directory itself saw to this one");
    change(connector.as_ref(), AccountChange::Delete { id: ada, owned: Owned::Keep }).await;
    assert_eq!(groups(&other).await, BTreeSet::from(["groupOfUniqueNames".to_owned()]));
}

/// An attribute that takes one value has the mark and no room for a note: she is renamed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_leaves_no_room_stands_in_no_way() {
    let (directory, _) = ada_in_groups().await;
    let settings = Ldap { mark_attribute: Some("employeeNumber".to_owned()), ..directory.settings() };
    let connector = directory.by(&settings, &directory.secret(), Some(directory.server.ca()));
    let bob = make(connector.as_ref(), "bob").await;
    change(connector.as_ref(), join(&bob, "groupOfUniqueNames")).await;
    change(connector.as_ref(), rename(connector.as_ref(), &bob, "robert")).await;
    let account = read(connector.as_ref(), &bob, &Managed::All).await;
    assert_eq!((account.profile, account.owner), (connector.keeps(profile("robert")), Some(owner("bob"))));
    assert_eq!(account.groups, BTreeSet::from(["groupOfUniqueNames".to_owned()]));
}

/// The entry gets its new name, and the connection is cut before any group hears of it.
async fn cut_rename(directory: &Directory, id: &str) {
    let proxy = directory.proxy().await;
    proxy.cut_next_rename();
    let faulty = directory.at(&proxy.url(), proxy.ca());
    let error = faulty.apply(&rename(faulty.as_ref(), id, "countess")).await.expect_err("the answer is lost");
    assert!(matches!(error, ConnectorError::Unreachable { .. }), "{}", error.chain());
    assert_eq!(directory.server.values(&directory.server.person("countess"), "uid").await, ["countess"]);
    assert_eq!(directory.server.values(&directory.server.group("posixGroup"), "memberUid").await, ["eve", "ada"]);
}
