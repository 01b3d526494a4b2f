//! LDAP directories: people are entries with `uid` below one entry, groups are entries with members below another one.
//!
//! Ids are `entryUUID`, which stays when an entry is renamed or moved. Whatever depends on what an entry is now is written under the condition that it still is that
//! (RFC 4528), so that nobody's change in between is lost.

mod change;
mod dn;
mod groups;
mod people;
mod person;
mod refusal;
mod way;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use ldap3::{Scope, ldap_escape};

use crate::api::provider::{Ldap, LockOut};
use crate::plan::account::{Account, AccountChange, AccountKey, AccountState, Capability, Managed, Profile};

use super::error::ConnectorError;
use super::throttle::Throttle;
use super::{Applied, Connector, Secrets, tls};

use self::groups::{Groups, Member};
pub use self::people::Tree;
use self::person::{Manner, attribute};
use self::refusal::{garbled, rejected};
use self::wire::{Entry, Line, Search, Wire};

/// Where nothing else is said, whose an account is stands here: people's directories let them edit much of their entry, but not what the company says of them.
const MARK: &str = "employeeType";
/// Where nothing else is said, this is nobody: other tools use this name for the same purpose.
const PLACEHOLDER: &str = "cn=empty-membership-placeholder";
/// What is an account.
const PERSON: &str = "(|(uid=*)(objectClass=inetOrgPerson))";
/// The Password Modify extended operation, and Simple Paged Results.
const PASSWORD_MODIFY: &str = "1.3.6.1.4.1.4203.1.11.1";
const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";

/// An LDAP directory.
#[derive(Debug)]
pub struct Directory {
    wire: Wire,
    base: String,
    groups: Groups,
    manner: Manner,
}

impl Directory {
    /// A directory by its settings. It sends nothing yet.
    pub fn new(settings: &Ldap, secrets: Secrets, throttle: Arc<Throttle>) -> Result<Self, ConnectorError> {
        for (field, name) in [("bindDN", &settings.bind_dn), ("baseDN", &settings.base_dn), ("groupBaseDN", &settings.group_base_dn)] {
            if dn::canonical(name).is_none() {
                let message = format!("{name} is no distinguished name; write it as in ou=people,dc=example,dc=com");
                return Err(ConnectorError::InvalidSettings { field, message });
            }
        }
        let tls = tls::config(secrets.ca.as_deref())?;
        let or = |text: &Option<String>, otherwise: &str| text.clone().unwrap_or_else(|| otherwise.to_owned());
        Ok(Self {
            wire: Wire::new(&settings.url, tls, &settings.bind_dn, secrets.credential, throttle),
            base: settings.base_dn.clone(),
            groups: Groups { base: settings.group_base_dn.clone(), placeholder: or(&settings.empty_group_member, PLACEHOLDER) },
            manner: Manner { mark: or(&settings.mark_attribute, MARK), lock_out: settings.lock_out, own: dn::canonical(&settings.bind_dn) },
        })
    }

    /// Accounts that a filter lets pass.
    async fn entries(&self, line: &Line<'_>, operation: &str, filter: &str) -> Result<Vec<Entry>, ConnectorError> {
        let search = Search { base: &self.base, scope: Scope::Subtree, filter, attributes: &self.manner.attributes() };
        line.search(operation, &search).await
    }

    /// An account by its id, wherever below the base it is.
    async fn by_id(&self, line: &Line<'_>, operation: &str, id: &str) -> Result<Option<Entry>, ConnectorError> {
        Ok(self.entries(line, operation, &by_id(id)).await?.into_iter().next())
    }

    /// An account by its login. Of several the one is meant that is where usher would make it.
    async fn by_username(&self, line: &Line<'_>, operation: &str, username: &str) -> Result<Option<Entry>, ConnectorError> {
        let found = self.entries(line, operation, &by_username(username)).await?;
        Ok(self.nearest(found.iter()).cloned())
    }

    fn nearest<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> Option<&'a Entry> {
        entries.min_by_key(|entry| (!dn::is_directly_below(&entry.dn, &self.base), &entry.dn))
    }

    /// Where passwords are put aside usher must be told them. That it is told none at all shows as soon as the policy overlay notes when some were set.
    async fn sees_passwords(&self, operation: &str) -> Result<(), ConnectorError> {
        if self.manner.lock_out == LockOut::Policy {
            return Ok(());
        }
        let line = self.wire.open(operation).await?;
        let (filter, attributes) = (&*format!("({}=*)", attribute::CHANGED), &[attribute::PASSWORD, attribute::CHANGED]);
        let (some, _) = line.page(operation, &Search { base: &self.base, scope: Scope::Subtree, filter, attributes }, Vec::new()).await?;
        let Some(one) = some.first().filter(|_| some.iter().all(person::lost_password)) else { return Ok(()) };
        if line.lacks(operation, &one.dn, attribute::PASSWORD).await? {
            return Ok(());
        }
        let status =
            "it is told the password of nobody who has one: let usher's bind DN read userPassword, or set lockOut: Policy".to_owned();
        Err(ConnectorError::Unauthorized { operation: operation.to_owned(), status })
    }

    /// By what groups may know somebody: her DN and her login, and those that she had before a new login that was cut short.
    fn names(&self, entry: &Entry, profile: &Profile) -> Vec<(String, String)> {
        let former = self.manner.former(entry).map(|former| (dn::with_login(&entry.dn, attribute::USERNAME, &former), former));
        std::iter::once((entry.dn.clone(), profile.username.clone())).chain(former).collect()
    }

    fn account(&self, operation: &str, entry: &Entry) -> Result<Account, ConnectorError> {
        let none = || garbled(operation, format!("the directory does not tell the entryUUID of {}; let usher's bind DN read it", entry.dn));
        self.manner.account(entry).ok_or_else(none)
    }
}

fn by_id(id: &str) -> String {
    format!("({}={})", attribute::ID, ldap_escape(id))
}

fn by_username(username: &str) -> String {
    format!("({}={})", attribute::USERNAME, ldap_escape(username))
}

/// A person as groups know her.
fn member<'a>(entry: &'a Entry, profile: &'a Profile) -> Member<'a> {
    Member { dn: &entry.dn, username: &profile.username }
}

#[async_trait]
impl Connector for Directory {
    fn keeps(&self, profile: Profile) -> Profile {
        person::keeps(profile)
    }

    async fn probe(&self) -> Result<BTreeSet<Capability>, ConnectorError> {
        let operation = "ask the directory";
        let line = self.wire.shared(operation).await?;
        for (field, base) in [("baseDN", &self.base), ("groupBaseDN", &self.groups.base)] {
            let search = Search { base, scope: Scope::Base, filter: "(objectClass=*)", attributes: &["1.1"] };
            line.search(operation, &search).await.map_err(|error| match error {
                ConnectorError::Rejected { message, .. } => {
                    ConnectorError::InvalidSettings { field, message: format!("{base}: {message}") }
                }
                other => other,
            })?;
        }
        let attributes = ["supportedControl", "supportedExtension", "subschemaSubentry"];
        let root = read(&line, operation, "", &attributes).await?;
        let schema = root.text("subschemaSubentry").unwrap_or("cn=Subschema");
        let schema = read(&line, operation, schema, &["attributeTypes", "objectClasses"]).await?;
        let knows = |kind: &str, name: &str| {
            let quoted = format!("'{}'", name.to_lowercase());
            schema.texts(kind).any(|text| text.to_lowercase().contains(&quoted))
        };
        if !knows("attributeTypes", attribute::ID) {
            return Err(rejected(operation, "it has no entryUUID, and usher needs ids that stay"));
        }
        if root.has("supportedControl", PAGED_RESULTS) {
            self.sees_passwords(operation).await?;
        }
        let mut can = BTreeSet::from([
            Capability::Create,
            Capability::Delete,
            Capability::Groups,
            Capability::RevokeTokens,
            Capability::RevokePasskeys,
        ]);
        let maybe = [
            (Capability::Disable, self.manner.lock_out == LockOut::Password || knows("attributeTypes", attribute::LOCKED)),
            (Capability::SshKeys, knows("objectClasses", person::KEY_CLASS)),
            (Capability::Password, root.has("supportedExtension", PASSWORD_MODIFY)),
            (Capability::Mark, knows("attributeTypes", &self.manner.mark)),
            (Capability::List, root.has("supportedControl", PAGED_RESULTS)),
        ];
        can.extend(maybe.into_iter().filter(|(_, can)| *can).map(|(capability, _)| capability));
        Ok(can)
    }

    async fn find(&self, key: &AccountKey, managed: &Managed) -> Result<Option<Account>, ConnectorError> {
        let operation = format!("look for account {}", key.username);
        let line = self.wire.shared(&operation).await?;
        let mut filters = vec![by_username(&key.username)];
        filters.extend(key.id.as_deref().map(by_id));
        filters.extend(key.email.as_deref().map(|email| format!("({}={})", attribute::EMAIL, ldap_escape(email))));
        let found = self.entries(&line, &operation, &format!("(|{})", filters.concat())).await?;
        let with_id = key.id.as_ref().and_then(|id| found.iter().find(|entry| entry.has(attribute::ID, id)));
        let with_name = || self.nearest(found.iter().filter(|entry| named(entry, &key.username)));
        // What else was found was found by the address: which of several is meant nobody can tell.
        let only = || found.first().filter(|_| found.len() == 1);
        let Some(entry) = with_id.or_else(with_name).or_else(only) else { return Ok(None) };
        let mut account = self.account(&operation, entry)?;
        if account.state == AccountState::Disabled && !person::is_told_password(entry) {
            account.credentials |= !line.lacks(&operation, &entry.dn, attribute::PASSWORD).await?;
        }
        for (dn, username) in self.names(entry, &account.profile) {
            account.groups.extend(self.groups.of(&line, &operation, Member { dn: &dn, username: &username }, managed).await?);
        }
        Ok(Some(account))
    }

    async fn list(&self, managed: &Managed) -> Result<Vec<Account>, ConnectorError> {
        let operation = "list accounts";
        let line = self.wire.open(operation).await?;
        let attributes = self.manner.attributes();
        let search = Search { base: &self.base, scope: Scope::Subtree, filter: PERSON, attributes: &attributes };
        let people = line.all(operation, &search).await?;
        let members = self.groups.all(&line, operation, managed).await?;
        let account = |entry: &Entry| {
            let mut account = self.account(operation, entry)?;
            let names = self.names(entry, &account.profile);
            account.groups = names.iter().flat_map(|(dn, username)| members.of(Member { dn, username })).collect();
            Ok(account)
        };
        people.iter().map(account).collect()
    }

    async fn apply(&self, change: &AccountChange) -> Result<Applied, ConnectorError> {
        self.change(change).await
    }
}

/// One entry that must be there.
async fn read(line: &Line<'_>, operation: &str, dn: &str, attributes: &[&str]) -> Result<Entry, ConnectorError> {
    let search = Search { base: dn, scope: Scope::Base, filter: "(objectClass=*)", attributes };
    let found = line.search(operation, &search).await?.into_iter().next();
    found.ok_or_else(|| garbled(operation, format!("the directory does not tell what it can do; let usher's bind DN read \"{dn}\"")))
}

/// Whether a login is an entry's, in any letter case, as directories compare them.
fn named(entry: &Entry, username: &str) -> bool {
    entry.texts(attribute::USERNAME).any(|text| text.to_lowercase() == username.to_lowercase())
}
