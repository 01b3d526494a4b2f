//! Changes of accounts.

use crate::api::provider::LockOut;
use crate::connectors::Applied;
use crate::connectors::error::ConnectorError;
use crate::connectors::password::generate;
use crate::plan::account::{AccountChange, Owner, Profile};

use super::groups::Member;
use super::person::{Manner, attribute, is_told_password, lock_without_password, unlock_by_policy, withdraw_sign};
use super::refusal::{code, rejected, said};
use super::wire::{Edit, Entry, Line, changed_meanwhile, done, done_or, replace};
use super::{Directory, dn};

/// How often an entry is read again because somebody else changed it.
const MOST_TRIES: usize = 5;

impl Directory {
    pub(super) async fn change(&self, change: &AccountChange) -> Result<Applied, ConnectorError> {
        let operation = &operation(change);
        let line = &self.wire.shared(operation).await?;
        match change {
            AccountChange::Create { profile, owner } => return self.make(line, operation, profile, owner).await,
            AccountChange::IssuePassword { id } => return self.issue_password(line, operation, id).await,
            AccountChange::Adopt { id, owner } => {
                needed(operation, self.edit(line, operation, id, |entry| self.manner.mark(entry, owner)).await?)?;
            }
            AccountChange::SetProfile { id, profile } => self.set_profile(line, operation, id, profile).await?,
            AccountChange::SetEnabled { id, enabled: true } => needed(operation, self.let_in(line, operation, id).await?)?,
            AccountChange::SetEnabled { id, enabled: false } => self.lock_out(line, operation, id).await?,
            AccountChange::Join { id, group } => {
                let (entry, groups) = tokio::try_join!(self.by_id(line, operation, id), self.groups.named(line, operation, group))?;
                let entry = entry.ok_or_else(|| gone(operation))?;
                let profile = self.account(operation, &entry)?.profile;
                self.groups.join(line, operation, super::member(&entry, &profile), &groups).await?;
            }
            AccountChange::Leave { id, group } => {
                let (entry, groups) = tokio::try_join!(self.by_id(line, operation, id), self.groups.named(line, operation, group))?;
                if let Some(entry) = entry {
                    self.finish(line, operation, &entry).await?;
                    let profile = self.account(operation, &entry)?.profile;
                    self.groups.leave(line, operation, super::member(&entry, &profile), &groups).await?;
                }
            }
            AccountChange::RevokeCredentials { id } => drop(self.edit(line, operation, id, |entry| self.manner.revoke(entry)).await?),
            AccountChange::Delete { id, .. } => self.delete(line, operation, id).await?,
            // There are none here.
            AccountChange::CancelInvite { .. } => {}
        }
        Ok(Applied::default())
    }

    /// Changes an entry by what it is, under the condition that it still is so. Returns it as it was before; nothing if there is none.
    async fn edit(
        &self,
        line: &Line<'_>,
        operation: &str,
        id: &str,
        edits: impl Fn(&Entry) -> Vec<Edit>,
    ) -> Result<Option<Entry>, ConnectorError> {
        let mut refused: Option<String> = None;
        for _ in 0..MOST_TRIES {
            let Some(entry) = self.by_id(line, operation, id).await? else { return Ok(None) };
            let edits = edits(&entry);
            if edits.is_empty() {
                return Ok(Some(entry));
            }
            // OpenLDAP's overlay `unique` applies the condition to what it looks for itself, and so finds it wrong: then there is none.
            let version = entry.text(attribute::VERSION).filter(|version| refused.as_deref() != Some(version));
            let result = line.modify(operation, &entry.dn, edits, version).await?;
            if changed_meanwhile(&result) || result.rc == code::NO_SUCH_OBJECT {
                refused = version.map(str::to_owned);
                continue;
            }
            done(operation, &result)?;
            return Ok(Some(entry));
        }
        Err(ConnectorError::unreachable(operation, "somebody else changes the entry all the time"))
    }

    async fn make(&self, line: &Line<'_>, operation: &str, profile: &Profile, owner: &Owner) -> Result<Applied, ConnectorError> {
        let dn = dn::child(attribute::USERNAME, &profile.username, &self.base);
        let member = Member { dn: &dn, username: &profile.username };
        let names_her = self.groups.with(line, operation, member).await?;
        if !names_her.is_empty() {
            // Either she is there already, or groups name somebody who was deleted and whose memberships would be hers.
            if let Some(entry) = self.by_username(line, operation, &profile.username).await? {
                return self.made_before(operation, &entry, owner);
            }
            self.groups.forget(line, operation, member, &names_her).await?;
        }
        let (result, id) = line.add(operation, &dn, self.manner.make(profile, owner)).await?;
        match result.rc {
            0 => {}
            code::ENTRY_EXISTS | code::CONSTRAINT => {
                return match self.by_username(line, operation, &profile.username).await? {
                    Some(entry) => self.made_before(operation, &entry, owner),
                    None if result.rc == code::ENTRY_EXISTS => Err(rejected(operation, taken("an entry that usher cannot read has it"))),
                    None => done(operation, &result).map(|()| Applied::default()),
                };
            }
            _ => done(operation, &result)?,
        }
        let id = match id {
            Some(id) => Some(id),
            None => {
                self.by_username(line, operation, &profile.username).await?.and_then(|entry| entry.text(attribute::ID).map(str::to_owned))
            }
        };
        Ok(Applied { id, ..Applied::default() })
    }

    /// What is there may be what an earlier try made, whose answer was lost.
    fn made_before(&self, operation: &str, entry: &Entry, owner: &Owner) -> Result<Applied, ConnectorError> {
        let account = self.account(operation, entry)?;
        match account.owner {
            Some(there) if there == *owner => Ok(Applied { id: Some(account.id), ..Applied::default() }),
            _ => Err(rejected(operation, taken(&entry.dn))),
        }
    }

    async fn set_profile(&self, line: &Line<'_>, operation: &str, id: &str, profile: &Profile) -> Result<(), ConnectorError> {
        let entry =
            self.edit(line, operation, id, |entry| self.manner.set_profile(entry, profile)).await?.ok_or_else(|| gone(operation))?;
        self.finish(line, operation, &entry).await?;
        let there = self.account(operation, &entry)?.profile.username;
        if there == profile.username {
            return Ok(());
        }
        let old = Member { dn: &entry.dn, username: &there };
        let groups = self.groups.with(line, operation, old).await?;
        if groups.is_empty() {
            return self.call(line, operation, &entry, &profile.username).await.map(drop);
        }
        // Where there is no room for a note, as the attribute takes one value only, it goes without.
        line.modify(operation, &entry.dn, vec![self.manner.note(&there)], None).await?;
        match self.call(line, operation, &entry, &profile.username).await {
            Ok(dn) => {
                self.groups.rename(line, operation, old, Member { dn: &dn, username: &profile.username }, &groups).await?;
                self.forget_former(line, operation, &dn, &there).await
            }
            Err(refused @ ConnectorError::Rejected { .. }) => {
                self.forget_former(line, operation, &entry.dn, &there).await?;
                Err(refused)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives an entry another login. Returns its name then.
    async fn call(&self, line: &Line<'_>, operation: &str, entry: &Entry, username: &str) -> Result<String, ConnectorError> {
        let dn = dn::with_login(&entry.dn, attribute::USERNAME, username);
        let result = if dn == entry.dn {
            line.modify(operation, &dn, vec![replace(attribute::USERNAME, [username.into()])], None).await?
        } else {
            self.vacate(line, operation, Member { dn: &dn, username }).await?;
            line.rename(operation, &entry.dn, &dn::renamed(&entry.dn, attribute::USERNAME, username).0).await?
        };
        if matches!(result.rc, code::ENTRY_EXISTS | code::CONSTRAINT) {
            return Err(rejected(operation, taken(&said(&result))));
        }
        done(operation, &result).map(|()| dn)
    }

    /// Brings a new login to its end that was cut short: groups that name her by the one before do so by this one, unless that is somebody else's by now.
    async fn finish(&self, line: &Line<'_>, operation: &str, entry: &Entry) -> Result<(), ConnectorError> {
        let Some(former) = self.manner.former(entry) else { return Ok(()) };
        let profile = self.account(operation, entry)?.profile;
        if self.by_username(line, operation, &former).await?.is_none_or(|there| there.dn == entry.dn) {
            let dn = dn::with_login(&entry.dn, attribute::USERNAME, &former);
            let old = Member { dn: &dn, username: &former };
            let groups = self.groups.with(line, operation, old).await?;
            self.groups.rename(line, operation, old, super::member(entry, &profile), &groups).await?;
        }
        self.forget_former(line, operation, &entry.dn, &former).await
    }

    async fn forget_former(&self, line: &Line<'_>, operation: &str, dn: &str, former: &str) -> Result<(), ConnectorError> {
        let result = line.modify(operation, dn, vec![self.manner.forget(former)], None).await?;
        done_or(operation, &result, &[code::NO_SUCH_ATTRIBUTE, code::NO_SUCH_OBJECT])
    }

    /// Groups may name somebody who is gone, by a name that is now to be another one's: those memberships are not hers.
    async fn vacate(&self, line: &Line<'_>, operation: &str, name: Member<'_>) -> Result<(), ConnectorError> {
        let groups = self.groups.with(line, operation, name).await?;
        if groups.is_empty() || self.by_username(line, operation, name.username).await?.is_some() {
            return Ok(());
        }
        self.groups.forget(line, operation, name, &groups).await
    }

    async fn lock_out(&self, line: &Line<'_>, operation: &str, id: &str) -> Result<(), ConnectorError> {
        let message = match self.put_aside(line, operation, id).await {
            Err(ConnectorError::Rejected { message, .. } | ConnectorError::Unauthorized { status: message, .. })
                if self.manner.lock_out == LockOut::Password =>
            {
                message
            }
            other => return other,
        };
        // The policy may forbid what usher does with the password. Then at least what it offers itself is done; whether it counts nobody can tell from here.
        let otherwise = self.edit(line, operation, id, lock_without_password).await;
        let also =
            if otherwise.is_ok() { "; locked by the password policy instead, which counts only if that has pwdLockout: TRUE" } else { "" };
        let remedy = "let usher's bind DN read and change userPassword as it needs, or set lockOut: Policy in the Provider";
        Err(rejected(operation, format!("the password could not be put aside: {message}{also}; {remedy}")))
    }

    /// Locks out by the way that is set. A password that usher does not see is never written over, as nobody could bring it back: where none is told it is asked
    /// whether there is none, and looked whether the sign that is put there is told.
    async fn put_aside(&self, line: &Line<'_>, operation: &str, id: &str) -> Result<(), ConnectorError> {
        let untold = || Err(rejected(operation, "the directory does not tell usher userPassword"));
        for _ in 0..MOST_TRIES {
            if self.manner.lock_out == LockOut::Password {
                let Some(entry) = self.by_id(line, operation, id).await? else { return Ok(()) };
                if !is_told_password(&entry) && !line.lacks(operation, &entry.dn, attribute::PASSWORD).await? {
                    return untold();
                }
            }
            let Some(before) = self.edit(line, operation, id, |entry| self.manner.lock(entry)).await? else { return Ok(()) };
            if self.manner.lock_out == LockOut::Policy || is_told_password(&before) {
                return Ok(());
            }
            let Some(now) = self.by_id(line, operation, id).await? else { return Ok(()) };
            if self.manner.is_locked(&now) {
                return Ok(());
            }
            if !is_told_password(&now) {
                let result = line.modify(operation, &now.dn, vec![withdraw_sign()], None).await?;
                done_or(operation, &result, &[code::NO_SUCH_ATTRIBUTE, code::NO_SUCH_OBJECT])?;
                return untold();
            }
        }
        Err(ConnectorError::unreachable(operation, "somebody else changes the password all the time"))
    }

    async fn let_in(&self, line: &Line<'_>, operation: &str, id: &str) -> Result<Option<Entry>, ConnectorError> {
        self.edit(line, operation, id, Manner::unlock).await?;
        self.edit(line, operation, id, unlock_by_policy).await
    }

    async fn issue_password(&self, line: &Line<'_>, operation: &str, id: &str) -> Result<Applied, ConnectorError> {
        let entry = self.by_id(line, operation, id).await?.ok_or_else(|| gone(operation))?;
        let password = generate().map_err(|error| ConnectorError::unreachable(operation, error))?;
        done(operation, &line.set_password(operation, &entry.dn, &password).await?)?;
        if self.manner.is_locked(&entry) {
            // A new password lets somebody in again, who is to stay out until usher says so. Nobody knows the password yet.
            self.lock_out(line, operation, id).await?;
        }
        Ok(Applied { password: Some(password), ..Applied::default() })
    }

    async fn delete(&self, line: &Line<'_>, operation: &str, id: &str) -> Result<(), ConnectorError> {
        let Some(entry) = self.by_id(line, operation, id).await? else { return Ok(()) };
        self.finish(line, operation, &entry).await?;
        let profile = self.account(operation, &entry)?.profile;
        let member = super::member(&entry, &profile);
        // Before the entry goes: afterwards nobody knows whom a group means, and the next one of her name would be in it.
        let groups = self.groups.with(line, operation, member).await?;
        self.groups.forget(line, operation, member, &groups).await?;
        done_or(operation, &line.delete(operation, &entry.dn).await?, &[code::NO_SUCH_OBJECT])
    }
}

/// Says for people what is asked for.
fn operation(change: &AccountChange) -> String {
    match change {
        AccountChange::Create { profile, .. } => format!("make account {}", profile.username),
        AccountChange::Adopt { id, .. } => format!("mark account {id}"),
        AccountChange::SetProfile { id, .. } => format!("change account {id}"),
        AccountChange::SetEnabled { id, enabled: true } => format!("let account {id} in"),
        AccountChange::SetEnabled { id, enabled: false } => format!("lock account {id} out"),
        AccountChange::Join { id, group } => format!("add account {id} to group {group}"),
        AccountChange::Leave { id, group } => format!("take account {id} out of group {group}"),
        AccountChange::RevokeCredentials { id } => format!("revoke what account {id} has"),
        AccountChange::IssuePassword { id } => format!("set the password of account {id}"),
        AccountChange::CancelInvite { id } => format!("cancel invitation {id}"),
        AccountChange::Delete { id, .. } => format!("delete account {id}"),
    }
}

fn gone(operation: &str) -> ConnectorError {
    rejected(operation, "there is no such account")
}

fn needed(operation: &str, entry: Option<Entry>) -> Result<(), ConnectorError> {
    entry.map(drop).ok_or_else(|| gone(operation))
}

fn taken(by: &str) -> String {
    format!("the name is taken: {by}; pin it with adopt: true in the Developer's accounts, or choose another username")
}
