//! Accounts come, change and are found again.

use std::collections::BTreeSet;

use usher::connectors::error::ConnectorError;
use usher::plan::account::{AccountChange, AccountState, Capability, Managed, PublicKey};

use super::{Target, can, converge, known, made, named, owner, profile, read, wish};

const NONE: Managed = Managed::Only(BTreeSet::new());

/// Who is not there is not found, and nothing can be taken from her.
pub async fn nobody_is_found(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    assert_eq!(connector.find(&named("nobody"), &NONE).await.expect("an answer"), None);
    let create = AccountChange::Create { profile: connector.keeps(profile(ada)), owner: owner(ada) };
    let id = connector.apply(&create).await.expect("made").id.expect("an id");
    connector.apply(&AccountChange::Delete { id: id.clone(), owned: usher::plan::account::Owned::Keep }).await.expect("deleted");
    assert_eq!(connector.find(&known(&id, ada), &NONE).await.expect("an answer"), None);
    for change in [
        AccountChange::SetEnabled { id: id.clone(), enabled: false },
        AccountChange::RevokeCredentials { id: id.clone() },
        AccountChange::Delete { id: id.clone(), owned: usher::plan::account::Owned::Keep },
    ] {
        connector.apply(&change).await.unwrap_or_else(|error| panic!("{change:?}: {}", error.chain()));
    }
}

/// Making it again, as after an answer that was lost, makes no second one.
pub async fn an_account_is_made_once(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    let create = AccountChange::Create { profile: connector.keeps(profile(ada)), owner: owner(ada) };
    let id = connector.apply(&create).await.expect("made").id.expect("an id");
    assert_eq!(connector.apply(&create).await.expect("made before").id.as_ref(), Some(&id));
    let account = connector.find(&named(ada), &NONE).await.expect("an answer").expect("an account");
    assert_eq!(account.id, id);
    assert_eq!(account.profile, connector.keeps(profile(ada)));
    assert_eq!(account.state, AccountState::Enabled);
    assert!(!account.administrator, "{account:?}");
    // Where nothing can be revoked, nobody can tell that nothing was issued either.
    assert_eq!(account.credentials, !can(connector.as_ref(), Capability::RevokeTokens).await, "{account:?}");
    if can(connector.as_ref(), Capability::Mark).await {
        assert_eq!(account.owner, Some(owner(ada)));
    }
}

/// Two replicas may meet for a moment.
pub async fn two_who_make_it_at_once_make_one(target: &dyn Target) {
    let (one, other) = (target.connector().await, target.connector().await);
    let ada = &target.login("ada");
    let create = AccountChange::Create { profile: one.keeps(profile(ada)), owner: owner(ada) };
    let (first, second) = tokio::join!(one.apply(&create), other.apply(&create));
    let ids: BTreeSet<String> = [first, second].into_iter().flatten().filter_map(|applied| applied.id).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let all = one.list(&NONE).await.expect("a list");
    assert_eq!(all.iter().filter(|account| account.profile.username == *ada).count(), 1);
}

/// What usher issues is what she logs in with.
pub async fn a_password_that_was_issued_logs_in(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    if !can(connector.as_ref(), Capability::Password).await {
        let create = AccountChange::Create { profile: connector.keeps(profile(ada)), owner: owner(ada) };
        let id = connector.apply(&create).await.expect("made").id.expect("an id");
        let answer = connector.apply(&AccountChange::IssuePassword { id }).await;
        assert!(matches!(answer, Err(ConnectorError::Rejected { .. })), "it says that it cannot: {answer:?}");
        return;
    }
    let (id, password) = made(connector.as_ref(), ada).await;
    assert!(target.log_in(ada, &password).await);
    assert!(!target.log_in(ada, "not-her-Passw0rd").await);
    assert!(read(connector.as_ref(), &id, &NONE).await.credentials, "a password is something issued");
}

/// Her name and address change; her groups, her mark and her password stay.
pub async fn a_profile_changes_and_nothing_else(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    let group = target.group("developers");
    target.make_group(&group).await;
    let wished = wish(ada, std::slice::from_ref(&group));
    converge(connector.as_ref(), &wished).await;
    let mut married = wished.clone();
    married.profile.display_name = "Ada King".to_owned();
    married.profile.email = format!("{ada}.king@example.com");
    let (account, _) = converge(connector.as_ref(), &married).await;
    let account = account.expect("an account");
    assert_eq!(account.profile, connector.keeps(married.profile));
    assert!(account.groups.contains(&group) && account.state == AccountState::Enabled, "{account:?}");
    if can(connector.as_ref(), Capability::Mark).await {
        assert_eq!(account.owner, Some(owner(ada)));
    }
}

/// Somebody gave her another login by hand: she is found by her id, and gets her own back.
pub async fn an_account_that_was_renamed_is_found_by_its_id(target: &dyn Target) {
    let connector = target.connector().await;
    let [ada, countess] = &["ada", "countess"].map(|person| target.login(person));
    let create = AccountChange::Create { profile: connector.keeps(profile(ada)), owner: owner(ada) };
    let id = connector.apply(&create).await.expect("made").id.expect("an id");
    if !target.rename(&id, countess).await {
        return;
    }
    let account = connector.find(&known(&id, ada), &NONE).await.expect("an answer").expect("an account");
    assert_eq!((account.id.as_str(), account.profile.username.as_str()), (id.as_str(), countess.as_str()));
    connector.apply(&AccountChange::SetProfile { id: id.clone(), profile: connector.keeps(profile(ada)) }).await.expect("changed");
    let account = connector.find(&named(ada), &NONE).await.expect("an answer").expect("an account");
    assert_eq!(account.id, id);
}

/// Groups are given and taken, each as often as one likes.
pub async fn groups_come_and_go(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    let (developers, releases) = (target.group("developers"), target.group("releases"));
    for group in [&developers, &releases] {
        target.make_group(group).await;
    }
    let id = converge(connector.as_ref(), &wish(ada, &[])).await.0.expect("an account").id;
    let managed = Managed::Only(BTreeSet::from([developers.clone(), releases.clone()]));
    let join = |group: &String| AccountChange::Join { id: id.clone(), group: group.clone() };
    let leave = |group: &String| AccountChange::Leave { id: id.clone(), group: group.clone() };
    for change in [join(&developers), join(&developers), join(&releases)] {
        connector.apply(&change).await.unwrap_or_else(|error| panic!("{change:?}: {}", error.chain()));
    }
    assert_eq!(read(connector.as_ref(), &id, &managed).await.groups, BTreeSet::from([developers.clone(), releases.clone()]));
    for change in [leave(&developers), leave(&developers)] {
        connector.apply(&change).await.unwrap_or_else(|error| panic!("{change:?}: {}", error.chain()));
    }
    assert_eq!(read(connector.as_ref(), &id, &managed).await.groups, BTreeSet::from([releases.clone()]));
    let listed = connector.list(&managed).await.expect("a list");
    let listed = listed.into_iter().find(|account| account.id == id).expect("she is listed");
    assert_eq!(listed.groups, BTreeSet::from([releases]), "a list tells what a look tells");
}

/// Some systems do not let the last one go, or keep her name when she is gone.
pub async fn the_last_one_leaves_a_group_and_others_come(target: &dyn Target) {
    let connector = target.connector().await;
    let [ada, bob] = &["ada", "bob"].map(|person| target.login(person));
    let group = target.group("developers");
    target.make_group(&group).await;
    let managed = Managed::Only(BTreeSet::from([group.clone()]));
    let (ada, _) = converge(connector.as_ref(), &wish(ada, std::slice::from_ref(&group))).await;
    let ada = ada.expect("an account").id;
    connector.apply(&AccountChange::Leave { id: ada.clone(), group: group.clone() }).await.expect("the last one leaves");
    assert!(read(connector.as_ref(), &ada, &managed).await.groups.is_empty());
    let (bob, _) = converge(connector.as_ref(), &wish(bob, std::slice::from_ref(&group))).await;
    assert_eq!(bob.expect("an account").groups, BTreeSet::from([group]));
    assert!(read(connector.as_ref(), &ada, &managed).await.groups.is_empty());
}

/// A Role may name what is not there: the message does, too.
pub async fn a_missing_group_is_named(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    let id = converge(connector.as_ref(), &wish(ada, &[])).await.0.expect("an account").id;
    let group = target.group("nowhere");
    let error = connector.apply(&AccountChange::Join { id, group: group.clone() }).await.expect_err("there is no such group");
    assert!(matches!(&error, ConnectorError::Rejected { .. }) && error.to_string().contains(&group), "{}", error.chain());
}

/// Keys that usher puts there are told, changed and removed; where the system takes none it says so.
pub async fn ssh_keys_come_and_go(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    let key = |title: &str, key: &str| PublicKey { title: title.to_owned(), key: key.to_owned() };
    let laptop = key("laptop", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKY8GfZyQxNmlvuRWxNFOxJmfXBBFxQ0oFvKUWtxHFJ4");
    let tower = key("tower", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl");
    let mut wished = wish(ada, &[]);
    wished.profile.ssh_keys = BTreeSet::from([laptop.clone(), tower]);
    let (account, _) = converge(connector.as_ref(), &wished).await;
    if !can(connector.as_ref(), Capability::SshKeys).await {
        assert!(account.expect("an account").profile.ssh_keys.is_empty());
        return;
    }
    assert_eq!(account.expect("an account").profile.ssh_keys.len(), 2);
    wished.profile.ssh_keys = BTreeSet::from([laptop]);
    let (account, changes) = converge(connector.as_ref(), &wished).await;
    assert_eq!((account.expect("an account").profile.ssh_keys.len(), changes), (1, 1));
}
