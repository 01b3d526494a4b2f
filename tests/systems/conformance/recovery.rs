//! What is lost on the way or changed behind usher's back is as it should be after another try.

use std::collections::BTreeSet;

use usher::connectors::error::{ConnectorError, Retry};
use usher::plan::account::{AccountChange, AccountState, Capability, Managed, Owned, Presence, Wish, steps};

use super::{Fault, Hand, Target, can, converge, named, owner, profile, read, wish};

const NONE: Managed = Managed::Only(BTreeSet::new());

/// The change is made, or the first part of it, and nobody says so.
async fn cut(target: &dyn Target, change: &AccountChange) {
    let faulty = target.faulty(Fault::CutAfter).await.expect("every connection can be cut");
    let error = faulty.apply(change).await.expect_err("the answer is lost");
    assert!(matches!(error, ConnectorError::Unreachable { .. }), "{change:?}: {}", error.chain());
}

/// What somebody is to have, one thing after another, so that each sort of change comes first once.
pub(super) fn goals(ada: &str, groups: &[String; 2]) -> Vec<Wish> {
    let [_, releases] = groups;
    let mut wished = wish(ada, groups);
    wished.groups.remove(releases);
    let mut goals = vec![wished.clone()];
    let mut goal = |edit: &dyn Fn(&mut Wish)| {
        edit(&mut wished);
        goals.push(wished.clone());
    };
    goal(&|it| it.profile.display_name = "Ada King".to_owned());
    goal(&|it| it.groups = BTreeSet::from(groups.clone()));
    goal(&|it| it.groups = BTreeSet::from([releases.clone()]));
    goal(&|it| it.groups.clear());
    goal(&|it| it.presence = Presence::LockedOut);
    goal(&|it| it.presence = Presence::Active);
    goal(&|it| it.presence = Presence::LockedOut);
    goal(&|it| it.presence = Presence::Revoked);
    goal(&|it| it.presence = Presence::Gone);
    goals
}

/// Each sort of change is cut off once: another try reaches the goal, and makes no more than was missing.
pub async fn every_change_whose_answer_was_lost_is_made_in_the_end(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    let able = connector.probe().await.expect("it answers");
    let groups = [target.group("developers"), target.group("releases")];
    for group in &groups {
        target.make_group(group).await;
    }
    let mut goals = goals(ada, &groups).into_iter();
    let id = converge(connector.as_ref(), &goals.next().expect("a goal")).await.0.expect("an account").id;
    if able.contains(&Capability::Password) {
        let issue = AccountChange::IssuePassword { id: id.clone() };
        cut(target, &issue).await;
        let issued = connector.apply(&issue).await.expect("issued again").password.expect("a password");
        assert!(target.log_in(ada, secrecy::ExposeSecret::expose_secret(&issued)).await, "the one that was told is the one that works");
    }
    for goal in goals {
        let goal = Wish { profile: connector.keeps(goal.profile.clone()), ..goal };
        let found = connector.find(&named(ada), &goal.managed).await.expect("an answer");
        let missing = steps(found.as_ref(), &goal, &able).changes;
        let Some(change) = missing.first() else { continue };
        cut(target, change).await;
        let (account, changes) = converge(connector.as_ref(), &goal).await;
        assert!(changes <= missing.len(), "{change:?}: {changes} changes more");
        let Some(account) = account else {
            assert_eq!(goal.presence, Presence::Gone, "{change:?}");
            continue;
        };
        assert_eq!(account.id, id, "{change:?}");
        assert_eq!(account.state == AccountState::Enabled, goal.presence == Presence::Active, "{change:?}");
    }
    assert_eq!(connector.find(&named(ada), &NONE).await.expect("an answer").is_none(), able.contains(&Capability::Delete));
}

/// Somebody changes an account by the system's own means: the next look sees it, and it is put right.
pub async fn what_was_changed_by_hand_is_put_right(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    let groups = [target.group("developers"), target.group("releases")];
    for group in &groups {
        target.make_group(group).await;
    }
    let mut wished = wish(ada, &groups);
    wished.groups.remove(&groups[1]);
    let (before, _) = converge(connector.as_ref(), &wished).await;
    let before = before.expect("an account");
    for hand in [Hand::TakesOutOf(&groups[0]), Hand::PutsInto(&groups[1]), Hand::Names("Somebody Else")] {
        if target.by_hand(&before.id, hand).await {
            assert_ne!(read(connector.as_ref(), &before.id, &wished.managed).await, before, "{hand:?}: it is seen");
            assert_eq!(converge(connector.as_ref(), &wished).await, (Some(before.clone()), 1), "{hand:?}");
        }
    }
    if !can(connector.as_ref(), Capability::Disable).await {
        return;
    }
    wished.groups.clear();
    for presence in [Presence::LockedOut, Presence::Revoked] {
        wished.presence = presence;
        converge(connector.as_ref(), &wished).await;
        if target.by_hand(&before.id, Hand::LetsIn).await {
            assert_eq!(read(connector.as_ref(), &before.id, &NONE).await.state, AccountState::Enabled, "{presence:?}: it is seen");
            let account = converge(connector.as_ref(), &wished).await.0.expect("an account");
            assert_eq!(account.state, AccountState::Disabled, "{presence:?}");
        }
    }
}

/// usher's own credential is exchanged at the system: what holds the old one is told so, and the new one works.
pub async fn an_exchanged_credential_is_refused_and_the_new_one_works(target: &dyn Target) {
    let live = target.connector().await;
    let ada = &target.login("ada");
    live.find(&named(ada), &NONE).await.expect("an answer");
    let Some(fresh) = target.exchange_credential().await else { return };
    for _ in 0..2 {
        let error = live.find(&named(ada), &NONE).await.expect_err("it has the old one");
        assert!(matches!(error, ConnectorError::Unauthorized { .. }) && error.retry() == Retry::OnChange, "{}", error.chain());
        assert!(!error.chain().contains(&target.secret()) && !format!("{error:?}").contains(&target.secret()), "no secret in an error");
    }
    fresh.probe().await.unwrap_or_else(|error| panic!("{}", error.chain()));
    let create = AccountChange::Create { profile: fresh.keeps(profile(ada)), owner: owner(ada) };
    let id = fresh.apply(&create).await.expect("made").id.expect("an id");
    fresh.apply(&AccountChange::Delete { id, owned: Owned::Keep }).await.expect("deleted");
}
