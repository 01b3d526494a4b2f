//! Locked out by one way or the other, whatever the password policy is, and what stays possible all the same.

use ldap3::exop::PasswordModify;
use secrecy::ExposeSecret;
use usher::api::provider::LockOut;
use usher::connectors::Connector;
use usher::connectors::error::{ConnectorError, Retry};
use usher::plan::account::{AccountChange, AccountState, Managed};

use crate::conformance::{Target, known, made, named, owner, profile, read};

use super::Directory;
use super::server::Server;

const NONE: Managed = Managed::Only(std::collections::BTreeSet::new());

async fn enable(connector: &dyn Connector, id: &str, enabled: bool) -> Result<(), ConnectorError> {
    connector.apply(&AccountChange::SetEnabled { id: id.to_owned(), enabled }).await.map(drop)
}

async fn issue(connector: &dyn Connector, id: &str) -> String {
    let issued = connector.apply(&AccountChange::IssuePassword { id: id.to_owned() }).await.expect("issued");
    issued.password.expect("a password").expose_secret().to_owned()
}

/// Sets an attribute of the policy that everybody is under.
async fn set_policy(directory: &Directory, attribute: &str, value: &str) {
    let policy = format!("cn=default,ou=policies,{}", directory.server.env("BASE_DN"));
    directory.server.set(&policy, attribute, &[value]).await;
}

/// With OpenLDAP's policy overlay each new password takes the lock away: usher puts it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_lets_nobody_in_who_is_locked_out() {
    for lock_out in [LockOut::Password, LockOut::Policy] {
        let directory = Directory::start(lock_out).await;
        let connector = directory.usher();
        let (id, old) = made(connector.as_ref(), "ada").await;
        enable(connector.as_ref(), &id, false).await.expect("locked out");
        let new = issue(connector.as_ref(), &id).await;
        assert!(!directory.log_in("ada", &new).await, "{lock_out:?}: she is still locked out");
        assert_eq!(read(connector.as_ref(), &id, &NONE).await.state, AccountState::Disabled, "{lock_out:?}");
        enable(connector.as_ref(), &id, true).await.expect("let in");
        assert!(directory.log_in("ada", &new).await && !directory.log_in("ada", &old).await, "{lock_out:?}");
    }
}

/// The lock of the policy counts only where that says so; the one by the password always does.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_without_locks_does_not_matter_to_who_is_locked_out_by_password() {
    let directory = Directory::start(LockOut::Password).await;
    set_policy(&directory, "pwdLockout", "FALSE").await;
    let connector = directory.usher();
    let (id, password) = made(connector.as_ref(), "ada").await;
    directory.server.set(&directory.server.person("ada"), "pwdAccountLockedTime", &["000001010000Z"]).await;
    assert!(directory.log_in("ada", &password).await, "a lock of the policy that does not count");
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.state, AccountState::Doubtful, "so it is not taken for one");
    enable(connector.as_ref(), &id, false).await.expect("locked out");
    assert!(!directory.log_in("ada", &password).await);
    enable(connector.as_ref(), &id, true).await.expect("let in");
    assert!(directory.log_in("ada", &password).await);
    assert!(directory.server.values(&directory.server.person("ada"), "pwdAccountLockedTime").await.is_empty());
}

/// A policy that checks each password refuses those it cannot check, such as one that is put aside: usher says so, and locks out as far as it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_refuses_hashes_is_told_with_the_remedy() {
    let mut directory = Directory::start(LockOut::Password).await;
    let (id, password) = made(directory.usher().as_ref(), "ada").await;
    set_policy(&directory, "pwdCheckQuality", "2").await;
    let error = enable(directory.usher().as_ref(), &id, false).await.expect_err("it is refused");
    assert!(matches!(error, ConnectorError::Rejected { .. }), "{}", error.chain());
    assert!(error.to_string().contains("lockOut: Policy"), "{error}");
    assert!(!directory.log_in("ada", &password).await, "locked by the policy all the same");
    assert_eq!(
        read(directory.usher().as_ref(), &id, &NONE).await.state,
        AccountState::Doubtful,
        "so that she is let in again when she is to be"
    );
    directory.lock_out = LockOut::Policy;
    let connector = directory.usher();
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.state, AccountState::Disabled);
    enable(connector.as_ref(), &id, true).await.expect("let in");
    assert!(directory.log_in("ada", &password).await);
    enable(connector.as_ref(), &id, false).await.expect("locked out");
    assert!(!directory.log_in("ada", &password).await);
}

/// usher may write passwords and not read them: none is lost, she is locked out as far as that goes, it is told, and she comes back as she was.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_usher_may_not_read_is_never_written_over() {
    for policy in [true, false] {
        let directory = Directory::of(Server::start_blind(policy).await, LockOut::Password);
        let connector = directory.usher();
        connector.probe().await.expect("nobody has a password yet");
        let (id, password) = made(connector.as_ref(), "ada").await;
        issue(connector.as_ref(), &made(connector.as_ref(), "bob").await.0).await;
        if policy {
            let error = connector.probe().await.expect_err("it sees that it is told none");
            assert!(matches!(&error, ConnectorError::Unauthorized { .. }) && error.to_string().contains("userPassword"), "{error}");
        }
        for _ in 0..2 {
            let error = enable(connector.as_ref(), &id, false).await.expect_err("it cannot");
            assert!(
                matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains("read and change userPassword"),
                "{error}"
            );
            assert_eq!(directory.log_in("ada", &password).await, !policy, "the policy locks out, where there is one");
            assert_eq!(read(connector.as_ref(), &id, &NONE).await.state, AccountState::Doubtful);
        }
        let kept = directory.server.values(&directory.server.person("ada"), "userPassword").await;
        assert!(kept.len() == 1 && !kept[0].contains("usher-locked"), "{kept:?}");
        enable(connector.as_ref(), &id, true).await.expect("let in");
        assert!(directory.log_in("ada", &password).await);
    }
}

/// By the policy she is locked out without reading. What usher does not see it takes away all the same when she leaves for good, and does not claim to know.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_usher_may_not_read_is_taken_and_never_said_to_be_gone() {
    let directory = Directory::of(Server::start_blind(true).await, LockOut::Policy);
    let connector = directory.usher();
    let (id, password) = made(connector.as_ref(), "ada").await;
    connector.probe().await.expect("it need not read them");
    enable(connector.as_ref(), &id, false).await.expect("locked out");
    assert!(!directory.log_in("ada", &password).await);
    assert!(read(connector.as_ref(), &id, &NONE).await.credentials, "there is one that it does not see");
    enable(connector.as_ref(), &id, true).await.expect("let in");
    assert!(directory.log_in("ada", &password).await);
    enable(connector.as_ref(), &id, false).await.expect("locked out");
    connector.apply(&AccountChange::RevokeCredentials { id: id.clone() }).await.expect("revoked");
    assert!(directory.server.values(&directory.server.person("ada"), "userPassword").await.is_empty());
    let account = read(connector.as_ref(), &id, &NONE).await;
    assert_eq!((account.state, account.credentials), (AccountState::Disabled, true), "it may not even ask");
}

/// Whoever was locked out by one way comes back by the other, too.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_locked_out_one_way_is_let_in_the_other_way() {
    for (before, after) in [(LockOut::Password, LockOut::Policy), (LockOut::Policy, LockOut::Password)] {
        let mut directory = Directory::start(before).await;
        let (id, password) = made(directory.usher().as_ref(), "ada").await;
        enable(directory.usher().as_ref(), &id, false).await.expect("locked out");
        directory.lock_out = after;
        enable(directory.usher().as_ref(), &id, true).await.expect("let in");
        assert!(directory.log_in("ada", &password).await, "{before:?} {after:?}");
    }
}

/// Somebody who has no password yet can be locked out; and whoever comes back gets no password by that.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_password_is_locked_out_too() {
    for lock_out in [LockOut::Password, LockOut::Policy] {
        let directory = Directory::start(lock_out).await;
        let connector = directory.usher();
        let create = AccountChange::Create { profile: connector.keeps(profile("ada")), owner: owner("ada") };
        let id = connector.apply(&create).await.expect("made").id.expect("an id");
        enable(connector.as_ref(), &id, false).await.expect("locked out");
        let account = read(connector.as_ref(), &id, &NONE).await;
        assert_eq!((account.state, account.credentials), (AccountState::Disabled, false), "{lock_out:?}");
        enable(connector.as_ref(), &id, true).await.expect("let in");
        let account = read(connector.as_ref(), &id, &NONE).await;
        assert_eq!((account.state, account.credentials), (AccountState::Enabled, false), "{lock_out:?}");
        assert!(directory.server.values(&directory.server.person("ada"), "userPassword").await.is_empty());
    }
}

/// What a person changes between usher's reading and writing is not lost: her new password is what comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_meanwhile_is_not_lost() {
    let directory = Directory::start(LockOut::Password).await;
    let (id, first) = made(directory.usher().as_ref(), "ada").await;
    let proxy = directory.proxy().await;
    let connector = directory.at(&proxy.url(), proxy.ca());
    connector.find(&named("ada"), &NONE).await.expect("an answer");
    let (there, go) = proxy.hold_next_search();
    let locking = tokio::spawn({
        let (connector, id) = (connector.clone(), id.clone());
        async move { enable(connector.as_ref(), &id, false).await }
    });
    there.notified().await;
    let second = issue(directory.usher().as_ref(), &id).await;
    go.notify_one();
    locking.await.expect("it ends").expect("locked out");
    assert!(!directory.log_in("ada", &second).await && !directory.log_in("ada", &first).await);
    enable(connector.as_ref(), &id, true).await.expect("let in");
    assert!(directory.log_in("ada", &second).await && !directory.log_in("ada", &first).await);
}

/// LDAP lets nobody end another one's connection, and on it she may give herself a new password, which lets her in again: docs/reference/providers/ldap.md says so,
/// and what to do. usher sees it and locks her out again.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_goes_on() {
    for lock_out in [LockOut::Password, LockOut::Policy] {
        let directory = Directory::start(lock_out).await;
        let connector = directory.usher();
        let (id, password) = made(connector.as_ref(), "ada").await;
        let mut open = directory.server.log_in(&directory.server.person("ada"), &password).await.expect("she logs in");
        enable(connector.as_ref(), &id, false).await.expect("locked out");
        let change = |old, new| PasswordModify { user_id: None, old_pass: old, new_pass: Some(new) };
        open.extended(change(None, "her-new-Passw0rd")).await.expect("an answer").success().expect("if that has changed, so must the page");
        assert!(directory.log_in("ada", "her-new-Passw0rd").await, "{lock_out:?}");
        assert_eq!(read(connector.as_ref(), &id, &NONE).await.state, AccountState::Enabled, "{lock_out:?}: usher sees it");
        enable(connector.as_ref(), &id, false).await.expect("locked out");
        assert!(!directory.log_in("ada", "her-new-Passw0rd").await, "{lock_out:?}");
    }
}

/// A policy that wants the old password for a new one wants it of usher, too: it is told, and whoever is to be locked out is.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_wants_the_old_password_is_told() {
    let mut directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let (id, password) = made(connector.as_ref(), "ada").await;
    set_policy(&directory, "pwdSafeModify", "TRUE").await;
    let error = connector.apply(&AccountChange::IssuePassword { id: id.clone() }).await.expect_err("it is refused");
    assert!(error.to_string().contains("old password") && error.retry() == Retry::OnChange, "{}", error.chain());
    let error = enable(connector.as_ref(), &id, false).await.expect_err("it is refused");
    assert!(error.to_string().contains("lockOut: Policy"), "{}", error.chain());
    assert!(!directory.log_in("ada", &password).await, "locked by the policy all the same");
    directory.lock_out = LockOut::Policy;
    let connector = directory.usher();
    for enabled in [true, false] {
        enable(connector.as_ref(), &id, enabled).await.expect("as by hand");
        assert_eq!(directory.log_in("ada", &password).await, enabled);
    }
}

/// Nobody's account is locked for ever because it was told by an id that changed: ids stay when entries move.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_moved_is_found_by_its_id_and_locked_out() {
    let directory = Directory::start(LockOut::Password).await;
    let connector = directory.usher();
    let (id, password) = made(connector.as_ref(), "ada").await;
    let former = format!("ou=former,{}", directory.server.env("PEOPLE_DN"));
    directory.server.add(&former, &[("objectClass", &["organizationalUnit"]), ("ou", &["former"])]).await;
    let mut root = directory.server.root().await;
    let moved = root.modifydn(&directory.server.person("ada"), "uid=ada", true, Some(&former)).await.expect("an answer");
    moved.success().expect("moved");
    let account = connector.find(&known(&id, "ada"), &NONE).await.expect("an answer").expect("an account");
    assert_eq!((account.id.as_str(), account.profile.username.as_str()), (id.as_str(), "ada"));
    enable(connector.as_ref(), &id, false).await.expect("locked out");
    assert!(directory.server.log_in(&format!("uid=ada,{former}"), &password).await.is_none());
    assert!(connector.list(&NONE).await.expect("a list").iter().any(|account| account.id == id));
}
