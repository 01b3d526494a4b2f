//! Locked out, revoked, deleted.

use std::collections::BTreeSet;

use usher::connectors::error::ConnectorError;
use usher::plan::account::{AccountChange, AccountState, Capability, Managed, Obstacle, Owned, Presence, steps};

use super::{Target, can, converge, known, made, named, read, wish};

const NONE: Managed = Managed::Only(BTreeSet::new());

/// While she is locked out nothing of hers works, what was issued included; then everything does again.
pub async fn who_is_locked_out_has_nothing_and_comes_back(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    if !can(connector.as_ref(), Capability::Password).await || !can(connector.as_ref(), Capability::Disable).await {
        return;
    }
    let (id, password) = made(connector.as_ref(), ada).await;
    let credential = target.issue(ada, &password).await;
    assert!(target.log_in(ada, &password).await);
    for _ in 0..2 {
        connector.apply(&AccountChange::SetEnabled { id: id.clone(), enabled: false }).await.expect("locked out");
    }
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.state, AccountState::Disabled);
    assert!(!target.log_in(ada, &password).await, "her password fails");
    if let Some(credential) = &credential {
        assert!(!target.accepts(credential).await, "and what was issued, too");
    }
    for _ in 0..2 {
        connector.apply(&AccountChange::SetEnabled { id: id.clone(), enabled: true }).await.expect("let in");
    }
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.state, AccountState::Enabled);
    assert!(target.log_in(ada, &password).await, "her password works again");
}

/// What was issued before she left is dead, even if she is let in again.
pub async fn what_was_issued_is_dead_for_ever(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    if !can(connector.as_ref(), Capability::RevokeTokens).await || !can(connector.as_ref(), Capability::Password).await {
        return;
    }
    let (id, password) = made(connector.as_ref(), ada).await;
    let credential = target.issue(ada, &password).await;
    if let Some(credential) = &credential {
        assert!(target.accepts(credential).await, "it works before");
    }
    let mut gone = wish(ada, &[]);
    gone.presence = Presence::Revoked;
    let (account, _) = converge(connector.as_ref(), &gone).await;
    let account = account.expect("an account");
    assert!(!account.credentials && account.state == AccountState::Disabled, "{account:?}");
    if can(connector.as_ref(), Capability::Mark).await && can(connector.as_ref(), Capability::List).await {
        let all = connector.list(&NONE).await.expect("a list");
        let listed = all.iter().find(|it| it.id == account.id).expect("she is listed");
        assert!(!listed.credentials, "who is revoked is not looked at again each time: {listed:?}");
    }
    connector.apply(&AccountChange::SetEnabled { id, enabled: true }).await.expect("let in");
    assert!(!target.log_in(ada, &password).await, "her old password fails");
    if let Some(credential) = &credential {
        assert!(!target.accepts(credential).await, "and what was issued, too");
    }
}

/// A system that cannot revoke what was issued never seems to have done so: she is locked out, and what is left is told each time.
pub async fn what_cannot_be_revoked_is_told(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    if can(connector.as_ref(), Capability::RevokeTokens).await {
        return;
    }
    let able = connector.probe().await.expect("it answers");
    let id = converge(connector.as_ref(), &wish(ada, &[])).await.0.expect("an account").id;
    let mut gone = wish(ada, &[]);
    gone.presence = Presence::Revoked;
    for _ in 0..2 {
        let account = converge(connector.as_ref(), &gone).await.0.expect("an account");
        assert_eq!(account.state, AccountState::Disabled);
        let left = steps(Some(&account), &gone, &able);
        assert_eq!((left.changes, left.obstacles), (Vec::new(), vec![Obstacle::Unsupported(Capability::RevokeTokens)]));
    }
    let error = connector.apply(&AccountChange::RevokeCredentials { id }).await.expect_err("it cannot");
    assert!(matches!(error, ConnectorError::Rejected { .. }), "{}", error.chain());
}

/// Deleted is gone, under its id and its name, and the name is free for another one.
pub async fn an_account_is_deleted(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    if !can(connector.as_ref(), Capability::Delete).await {
        return;
    }
    let group = target.group("developers");
    target.make_group(&group).await;
    let (account, _) = converge(connector.as_ref(), &wish(ada, std::slice::from_ref(&group))).await;
    let id = account.expect("an account").id;
    let mut gone = wish(ada, std::slice::from_ref(&group));
    (gone.presence, gone.groups) = (Presence::Gone, BTreeSet::new());
    let (left, _) = converge(connector.as_ref(), &gone).await;
    assert_eq!(left, None);
    assert_eq!(connector.find(&known(&id, ada), &NONE).await.expect("an answer"), None);
    let (again, _) = converge(connector.as_ref(), &wish(ada, &[])).await;
    assert!(again.expect("an account").groups.is_empty(), "nothing of the first one's is the second one's");
}

/// What she owns is not lost by accident: the account stays, locked out, and the error says what it owns and what to do.
pub async fn what_somebody_owns_keeps_the_account(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    if !can(connector.as_ref(), Capability::Delete).await || !can(connector.as_ref(), Capability::Password).await {
        return;
    }
    let (id, password) = made(connector.as_ref(), ada).await;
    if !target.own(ada, &password).await {
        return;
    }
    connector.apply(&AccountChange::SetEnabled { id: id.clone(), enabled: false }).await.expect("locked out");
    let error = connector.apply(&AccountChange::Delete { id: id.clone(), owned: Owned::Keep }).await.expect_err("it owns something");
    assert!(matches!(error, ConnectorError::OwnsObjects { .. }), "{}", error.chain());
    assert!(error.to_string().contains("ownedObjects"), "{error}");
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.state, AccountState::Disabled, "locked out all the same");
}

/// Somebody else gets it, and then the account goes.
pub async fn what_somebody_owned_is_handed_over(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    if !can(connector.as_ref(), Capability::Delete).await || !can(connector.as_ref(), Capability::Password).await {
        return;
    }
    let (id, password) = made(connector.as_ref(), ada).await;
    if !target.own(ada, &password).await {
        return;
    }
    let nobody = AccountChange::Delete { id: id.clone(), owned: Owned::Transfer("nobody-there".to_owned()) };
    let error = connector.apply(&nobody).await.expect_err("nobody to hand it to");
    assert!(error.to_string().contains("nobody-there"), "{}", error.chain());
    let heir = target.make_heir().await;
    connector.apply(&AccountChange::Delete { id: id.clone(), owned: Owned::Transfer(heir.clone()) }).await.expect("deleted");
    assert_eq!(connector.find(&named(ada), &NONE).await.expect("an answer"), None);
    assert!(target.heir_owns(&heir).await);
}
