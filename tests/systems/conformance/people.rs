//! Others' accounts, and many of them.

use std::collections::BTreeSet;

use usher::connectors::Connector;
use usher::connectors::error::ConnectorError;
use usher::plan::account::{Account, AccountChange, Capability, Managed, Owned, Owner, steps};

use super::recovery::goals;
use super::{Target, can, converge, named, owner, profile, read, wish};

const NONE: Managed = Managed::Only(BTreeSet::new());

/// An account of her name that usher did not make is told as such; it cannot be made, and is not touched.
pub async fn a_strangers_account_is_nobodys(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    let id = target.make_stranger(ada, &format!("{ada}@elsewhere.example")).await;
    let before = connector.find(&named(ada), &NONE).await.expect("an answer").expect("an account");
    assert_eq!((before.id.as_str(), &before.owner), (id.as_str(), &None));
    let create = AccountChange::Create { profile: connector.keeps(profile(ada)), owner: owner(ada) };
    let error = connector.apply(&create).await.expect_err("the name is taken");
    assert!(matches!(error, ConnectorError::Rejected { .. }), "{}", error.chain());
    let after = connector.find(&named(ada), &NONE).await.expect("an answer").expect("an account");
    assert_eq!(before, after);
}

/// Two clusters may share a system.
pub async fn another_installations_account_is_told(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    if !can(connector.as_ref(), Capability::Mark).await {
        return;
    }
    let other = Owner { installation: "7b1c1f0a-5f6e-4a52-8d5e-2f3c0f3b9a77".to_owned(), ..owner(ada) };
    let create = |owner: &Owner| AccountChange::Create { profile: connector.keeps(profile(ada)), owner: owner.clone() };
    connector.apply(&create(&other)).await.expect("made");
    let account = connector.find(&named(ada), &NONE).await.expect("an answer").expect("an account");
    assert_eq!(account.owner, Some(other));
    let error = connector.apply(&create(&owner(ada))).await.expect_err("it is not ours");
    assert!(matches!(error, ConnectorError::Rejected { .. }), "{}", error.chain());
    let listed = connector.list(&NONE).await.expect("a list");
    let listed = listed.into_iter().find(|it| it.id == account.id).expect("it is listed");
    assert_eq!(listed.owner, account.owner);
}

/// What was a stranger's becomes hers, with the same id and everything else as it was.
pub async fn an_account_is_adopted(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    if !can(connector.as_ref(), Capability::Mark).await {
        return;
    }
    let id = target.make_stranger(ada, &format!("{ada}@example.com")).await;
    let before = read(connector.as_ref(), &id, &NONE).await;
    connector.apply(&AccountChange::Adopt { id: id.clone(), owner: owner(ada) }).await.expect("adopted");
    let after = read(connector.as_ref(), &id, &NONE).await;
    assert_eq!(after.owner, Some(owner(ada)));
    assert_eq!(usher::plan::account::Account { owner: None, ..after }, before);
}

/// Once it is so, nothing is sent any more.
pub async fn the_second_run_changes_nothing(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    let groups = [target.group("developers"), target.group("releases")];
    for group in &groups {
        target.make_group(group).await;
    }
    let (first, changes) = converge(connector.as_ref(), &wish(ada, &groups)).await;
    assert!(changes >= 1);
    let (second, changes) = converge(connector.as_ref(), &wish(ada, &groups)).await;
    assert_eq!((second, changes), (first, 0));
}

/// 2,501 accounts: everybody is listed once, she among them, and nobody is touched.
pub async fn no_page_is_lost(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    target.make_crowd(2_500).await;
    let (account, _) = converge(connector.as_ref(), &wish(ada, &[])).await;
    let account = account.expect("an account");
    let all = connector.list(&NONE).await.expect("a list");
    let crowd: BTreeSet<&str> =
        all.iter().map(|account| account.profile.username.as_str()).filter(|name| name.starts_with("stranger-")).collect();
    assert_eq!(crowd.len(), 2_500);
    let listed = all.iter().find(|it| it.id == account.id).expect("she is listed");
    assert!(listed.credentials || !account.credentials, "a list may not know that nothing was issued, but never that something was");
    assert_eq!(Account { credentials: account.credentials, ..listed.clone() }, account, "a list tells of her what a look does");
    assert!(all.iter().filter(|account| account.profile.username.starts_with("stranger-")).all(|account| account.owner.is_none()));
}

/// All that usher does for its own people, from the first day to the last. Afterwards they are gone. stranger-1 is somebody else.
pub async fn work_among_strangers(connector: &dyn Connector, groups: &[String; 2]) {
    let able = connector.probe().await.expect("it answers");
    let bob = converge(connector, &wish("bob", groups)).await.0.expect("an account").id;
    for goal in goals("ada", groups) {
        let (account, _) = converge(connector, &goal).await;
        for managed in [Managed::All, goal.managed.clone()] {
            for listed in connector.list(&managed).await.expect("a list") {
                let idle = listed.owner.is_some() || steps(Some(&listed), &goal, &able).changes.is_empty();
                assert!(idle, "{listed:?} is to be changed for {goal:?}");
            }
        }
        let Some(account) = account else { continue };
        for (username, is_free) in [("stranger-1", false), ("countess", true)] {
            let change = AccountChange::SetProfile { id: account.id.clone(), profile: connector.keeps(profile(username)) };
            assert_eq!(connector.apply(&change).await.is_ok(), is_free, "{username}");
        }
        connector.apply(&AccountChange::IssuePassword { id: account.id.clone() }).await.expect("issued");
        let back = AccountChange::SetProfile { id: account.id, profile: connector.keeps(goal.profile.clone()) };
        connector.apply(&back).await.expect("renamed back");
    }
    let create = AccountChange::Create { profile: connector.keeps(profile("stranger-1")), owner: owner("eve") };
    let error = connector.apply(&create).await.expect_err("the name is taken");
    assert!(matches!(error, ConnectorError::Rejected { .. }), "{}", error.chain());
    connector.apply(&AccountChange::Delete { id: bob, owned: Owned::Keep }).await.expect("deleted");
}
