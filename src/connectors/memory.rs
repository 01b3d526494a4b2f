//! The reference: a system with accounts that is nothing but memory. It says how every connector behaves; the conformance suite holds it and the real ones to
//! the same cases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};

use crate::plan::account::{Account, AccountChange, AccountKey, AccountState, Capability, Managed, Owned, Profile};

use super::error::ConnectorError;
use super::password::generate;
use super::{Applied, Connector};

/// What the system keeps for one account beside what it tells.
#[derive(Debug, Default)]
struct Kept {
    account: Account,
    password: Option<SecretString>,
    tokens: BTreeSet<String>,
    owns: BTreeSet<String>,
    pushed_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Content {
    accounts: BTreeMap<String, Kept>,
    groups: BTreeSet<String>,
    made: u64,
    /// What the next requests meet with.
    faults: Vec<Fault>,
}

/// What a system may do instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not answer.
    Silent,
    /// It does what it was asked to, and the answer is lost.
    Cut,
    /// It does not know usher.
    Stranger,
    /// It asks to wait for so many seconds.
    Patience(u64),
}

/// A system that is nothing but memory. Clones are the same system.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    content: Arc<Mutex<Content>>,
}

impl Memory {
    /// Makes a group, as an administrator of the system would.
    pub fn make_group(&self, group: &str) {
        self.content.lock().groups.insert(group.to_owned());
    }

    /// Makes or replaces an account by hand; its id is what the account says, or a new one.
    pub fn put(&self, mut account: Account) -> String {
        let mut content = self.content.lock();
        if account.id.is_empty() {
            account.id = content.next_id();
        }
        let id = account.id.clone();
        content.accounts.entry(id.clone()).or_default().account = account;
        id
    }

    /// An account as it is.
    pub fn get(&self, id: &str) -> Option<Account> {
        self.content.lock().accounts.get(id).map(Kept::told)
    }

    /// The id of the account with a login.
    pub fn find_id(&self, username: &str) -> Option<String> {
        self.content.lock().named(username).map(|kept| kept.account.id.clone())
    }

    /// Whether one can log in by a password.
    pub fn log_in(&self, username: &str, password: &str) -> bool {
        let content = self.content.lock();
        content.named(username).is_some_and(|kept| {
            kept.account.state == AccountState::Enabled && kept.password.as_ref().is_some_and(|it| it.expose_secret() == password)
        })
    }

    /// Makes a token, as its owner would.
    pub fn issue(&self, username: &str) -> Option<String> {
        let mut content = self.content.lock();
        let token = format!("token-{}", content.next_id());
        let id = content.named(username)?.account.id.clone();
        content.accounts.get_mut(&id)?.tokens.insert(token.clone());
        Some(token)
    }

    /// Whether a token works.
    pub fn accepts(&self, token: &str) -> bool {
        let content = self.content.lock();
        content.accounts.values().any(|kept| kept.account.state == AccountState::Enabled && kept.tokens.contains(token))
    }

    /// Lets an account own something.
    pub fn own(&self, id: &str, object: &str) {
        if let Some(kept) = self.content.lock().accounts.get_mut(id) {
            kept.owns.insert(object.to_owned());
        }
    }

    /// Whether anybody, and who, owns something.
    pub fn owner_of(&self, object: &str) -> Option<String> {
        let content = self.content.lock();
        content.accounts.values().find(|kept| kept.owns.contains(object)).map(|kept| kept.account.profile.username.clone())
    }

    /// Lets the account have pushed.
    pub fn push_at(&self, id: &str, at: Timestamp) {
        if let Some(kept) = self.content.lock().accounts.get_mut(id) {
            kept.pushed_at = Some(at);
        }
    }

    /// What the next requests meet with, the last first.
    pub fn fail(&self, faults: &[Fault]) {
        self.content.lock().faults = faults.to_vec();
    }

    fn fault(&self, operation: &str) -> Result<Option<Fault>, ConnectorError> {
        let fault = self.content.lock().faults.pop();
        let operation = operation.to_owned();
        match fault {
            None => Ok(None),
            Some(Fault::Cut) => Ok(Some(Fault::Cut)),
            Some(Fault::Silent) => Err(ConnectorError::unreachable(operation, "nothing listens")),
            Some(Fault::Stranger) => Err(ConnectorError::Unauthorized { operation, status: "401 Unauthorized".to_owned() }),
            Some(Fault::Patience(seconds)) => Err(ConnectorError::RateLimited { operation, after: Some(Duration::from_secs(seconds)) }),
        }
    }
}

impl Content {
    fn next_id(&mut self) -> String {
        self.made += 1;
        self.made.to_string()
    }

    fn named(&self, username: &str) -> Option<&Kept> {
        self.accounts.values().find(|kept| kept.account.profile.username == username)
    }

    fn make(&mut self, profile: &Profile, owner: &crate::plan::account::Owner) -> Result<Applied, ConnectorError> {
        if let Some(kept) = self.named(&profile.username) {
            // The answer to a first try may have been lost.
            if kept.account.owner.as_ref() == Some(owner) {
                return Ok(Applied { id: Some(kept.account.id.clone()), ..Applied::default() });
            }
            return Err(rejected(&format!("make account {}", profile.username), "the name is taken"));
        }
        let id = self.next_id();
        let account = Account {
            id: id.clone(),
            profile: profile.clone(),
            state: AccountState::Enabled,
            owner: Some(owner.clone()),
            ..Account::default()
        };
        self.accounts.insert(id.clone(), Kept { account, ..Kept::default() });
        Ok(Applied { id: Some(id), ..Applied::default() })
    }

    /// What an account owned goes where it should, or keeps it from being deleted.
    fn hand_over(&mut self, id: &str, owned: &Owned) -> Result<(), ConnectorError> {
        let operation = format!("delete account {id}");
        let owns = self.accounts.get(id).map(|kept| kept.owns.clone()).unwrap_or_default();
        let Some(first) = owns.first() else { return Ok(()) };
        let heir = match owned {
            Owned::Keep => return Err(ConnectorError::OwnsObjects { operation, objects: format!("{} objects: {first}", owns.len()) }),
            // There is no account of usher's own here.
            Owned::Archive => return Ok(()),
            Owned::Transfer(to) => to,
        };
        let Some(heir) = self.named(heir).map(|kept| kept.account.id.clone()) else {
            return Err(rejected(&operation, &format!("there is no account {heir} to transfer to")));
        };
        self.accounts.entry(heir).or_default().owns.extend(owns);
        self.accounts.entry(id.to_owned()).or_default().owns.clear();
        Ok(())
    }
}

fn rejected(operation: &str, message: &str) -> ConnectorError {
    ConnectorError::Rejected { operation: operation.to_owned(), message: message.to_owned() }
}

impl Kept {
    /// The account as the system tells it.
    fn told(&self) -> Account {
        let credentials = self.password.is_some() || !self.tokens.is_empty() || !self.account.profile.ssh_keys.is_empty();
        Account { credentials, ..self.account.clone() }
    }
}

#[async_trait]
impl Connector for Memory {
    fn keeps(&self, mut profile: Profile) -> Profile {
        profile.email = profile.email.to_lowercase();
        profile
    }

    async fn probe(&self) -> Result<BTreeSet<Capability>, ConnectorError> {
        self.fault("ask the system")?;
        Ok(BTreeSet::from([
            Capability::Create,
            Capability::Disable,
            Capability::Delete,
            Capability::Groups,
            Capability::RevokeTokens,
            Capability::RevokePasskeys,
            Capability::SshKeys,
            Capability::Password,
            Capability::Mark,
            Capability::List,
            Capability::Activity,
        ]))
    }

    async fn find(&self, key: &AccountKey, _: &Managed) -> Result<Option<Account>, ConnectorError> {
        self.fault("look for an account")?;
        let content = self.content.lock();
        let by_id = key.id.as_ref().and_then(|id| content.accounts.get(id));
        let by_email = || {
            let email = key.email.as_ref()?;
            content.accounts.values().find(|kept| kept.account.profile.email.eq_ignore_ascii_case(email))
        };
        Ok(by_id.or_else(|| content.named(&key.username)).or_else(by_email).map(Kept::told))
    }

    async fn list(&self, _: &Managed) -> Result<Vec<Account>, ConnectorError> {
        self.fault("list accounts")?;
        Ok(self.content.lock().accounts.values().map(Kept::told).collect())
    }

    async fn apply(&self, change: &AccountChange) -> Result<Applied, ConnectorError> {
        let fault = self.fault("change an account")?;
        let applied = self.change(change)?;
        match fault {
            None => Ok(applied),
            Some(_) => Err(ConnectorError::unreachable("change an account", "the connection was cut")),
        }
    }

    async fn first_push(&self, account: &Account) -> Result<Option<Timestamp>, ConnectorError> {
        self.fault("look for pushes")?;
        Ok(self.content.lock().accounts.get(&account.id).and_then(|kept| kept.pushed_at))
    }
}

impl Memory {
    fn change(&self, change: &AccountChange) -> Result<Applied, ConnectorError> {
        let mut content = self.content.lock();
        let content = &mut *content;
        let id = match change {
            AccountChange::Create { profile, owner } => return content.make(profile, owner),
            AccountChange::Delete { id, owned } => {
                content.hand_over(id, owned)?;
                content.accounts.remove(id);
                return Ok(Applied::default());
            }
            AccountChange::CancelInvite { id } => {
                content.accounts.remove(id);
                return Ok(Applied::default());
            }
            AccountChange::Adopt { id, .. }
            | AccountChange::SetProfile { id, .. }
            | AccountChange::SetEnabled { id, .. }
            | AccountChange::Join { id, .. }
            | AccountChange::Leave { id, .. }
            | AccountChange::RevokeCredentials { id }
            | AccountChange::IssuePassword { id } => id,
        };
        let taken = match change {
            AccountChange::SetProfile { profile, .. } => content.named(&profile.username).is_some_and(|kept| kept.account.id != *id),
            _ => false,
        };
        if taken {
            return Err(rejected(&format!("change account {id}"), "the name is taken"));
        }
        let removes = change.removes();
        let Some(kept) = content.accounts.get_mut(id) else {
            // What is gone cannot lose anything.
            return if removes {
                Ok(Applied::default())
            } else {
                Err(rejected(&format!("change account {id}"), "there is no such account"))
            };
        };
        let account = &mut kept.account;
        match change {
            AccountChange::Adopt { owner, .. } => account.owner = Some(owner.clone()),
            AccountChange::SetProfile { profile, .. } => account.profile = profile.clone(),
            AccountChange::SetEnabled { enabled, .. } => {
                account.state = if *enabled { AccountState::Enabled } else { AccountState::Disabled };
            }
            AccountChange::Join { group, .. } if content.groups.contains(group) => drop(account.groups.insert(group.clone())),
            AccountChange::Join { group, .. } => {
                return Err(rejected(
                    &format!("add account {id} to {group}"),
                    &format!("there is no group {group}; make it, or mend the Role that names it"),
                ));
            }
            AccountChange::Leave { group, .. } => drop(account.groups.remove(group)),
            AccountChange::RevokeCredentials { .. } => {
                kept.password = None;
                kept.tokens.clear();
                account.profile.ssh_keys.clear();
            }
            AccountChange::IssuePassword { .. } => {
                let password = generate().map_err(|error| ConnectorError::unreachable("make a password", error))?;
                kept.password = Some(password.clone());
                return Ok(Applied { password: Some(password), ..Applied::default() });
            }
            AccountChange::Create { .. } | AccountChange::CancelInvite { .. } | AccountChange::Delete { .. } => {}
        }
        Ok(Applied::default())
    }
}
