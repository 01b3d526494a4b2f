//! PostgreSQL: an account is a role that can log in, a group any role that is no superuser.
//!
//! An account's id is its oid. The mark is a line of its comment, which only who administers the role can write. Of a person's profile the server keeps her login.
//! It does not tell usher's role whether there is a password, but it tells when passwords run out: see [`statements`].

mod leaving;
mod server;
mod statements;
mod way;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use postgres_protocol::password::scram_sha_256;
use secrecy::ExposeSecret;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSqlOwned, Oid, Type};

use crate::api::provider;
use crate::plan::account::{Account, AccountChange, AccountKey, AccountState, Capability, Managed, Owner, Profile};

use self::server::{About, Server};
use super::error::ConnectorError;
use super::throttle::Throttle;
use super::{Applied, Connector, Secrets, password};

/// Longer names the server would cut to this, in silence.
const LONGEST_NAME: usize = 63;
/// Of a longer comment no more is read, and it is not written.
const LONGEST_COMMENT: usize = 10_000;
/// No role has it.
const NO_OID: Oid = 0;

/// The connector of a PostgreSQL server.
#[derive(Debug)]
pub struct Postgresql {
    server: Server,
}

/// An account and the whole comment that its mark is in.
struct Found {
    account: Account,
    comment: String,
}

impl Postgresql {
    /// The connector of a server. It sends nothing yet.
    pub fn new(settings: &provider::Postgresql, secrets: &Secrets, throttle: Arc<Throttle>) -> Result<Self, ConnectorError> {
        Ok(Self { server: Server::new(settings, secrets, throttle)? })
    }

    async fn look(&self, operation: &str, id: Option<Oid>, login: &str) -> Result<Option<Found>, ConnectorError> {
        let id = id.unwrap_or(NO_OID);
        let rows = self.server.rows(operation, statements::FIND, &[(&id, Type::OID), (&login, Type::TEXT)]).await?;
        rows.first().map(|row| found(operation, row)).transpose()
    }

    async fn create(&self, profile: &Profile, owner: &Owner) -> Result<Applied, ConnectorError> {
        let login = &profile.username;
        let operation = format!("make role {login}");
        usable(&operation, login)?;
        let id = match self.server.attempt(&operation, &statements::create(login, &owner.mark())).await? {
            Ok(id) => id.ok_or_else(|| garbled(&operation, "no id"))?,
            // The second code is that of two who make it at once.
            Err(refusal) if [SqlState::DUPLICATE_OBJECT, SqlState::UNIQUE_VIOLATION].contains(&refusal.code) => {
                self.made_before(&operation, login, owner).await?
            }
            Err(refusal) => return Err(refusal.into_error(&operation, About::System)),
        };
        Ok(Applied { id: Some(id), ..Applied::default() })
    }

    /// The answer to a first try may have been lost.
    async fn made_before(&self, operation: &str, login: &str, owner: &Owner) -> Result<String, ConnectorError> {
        let found = self.look(operation, None, login).await?.ok_or_else(|| garbled(operation, "the name is taken by nobody"))?;
        let whose = found.account.owner.as_ref().map(|it| (&it.installation, &it.person));
        if whose == Some((&owner.installation, &owner.person)) {
            return Ok(found.account.id);
        }
        let by = if whose.is_none() { "a role that usher did not make" } else { "another person's role" };
        Err(rejected(operation, format!("the name is taken by {by}; choose another username, or pin the account with adopt: true")))
    }

    async fn adopt(&self, operation: &str, id: Oid, owner: &Owner) -> Result<(), ConnectorError> {
        let found = self.look(operation, Some(id), "").await?.ok_or_else(|| rejected(operation, "there is no such account"))?;
        if found.comment.chars().count() > LONGEST_COMMENT {
            let message = format!("its comment has more than {LONGEST_COMMENT} characters, and the mark is to stand there; shorten it");
            return Err(rejected(operation, message));
        }
        self.change(operation, &statements::comment(id, &marked(&found.comment, owner))).await
    }

    async fn issue(&self, operation: &str, id: Oid) -> Result<Applied, ConnectorError> {
        let password = password::generate().map_err(|error| ConnectorError::unreachable(operation, error))?;
        let verifier = scram_sha_256(password.expose_secret().as_bytes());
        self.change(operation, &statements::password(id, &verifier)).await?;
        Ok(Applied { password: Some(password), ..Applied::default() })
    }

    async fn change(&self, operation: &str, statements: &str) -> Result<(), ConnectorError> {
        self.server.run(operation, About::Account, statements).await
    }
}

#[async_trait]
impl Connector for Postgresql {
    fn keeps(&self, profile: Profile) -> Profile {
        Profile { username: profile.username, ..Profile::default() }
    }

    async fn probe(&self) -> Result<BTreeSet<Capability>, ConnectorError> {
        let operation = "ask what usher's role may do";
        let rows = self.server.rows(operation, statements::PROBE, &[]).await?;
        let row = rows.first().ok_or_else(|| garbled(operation, "usher's role is not there"))?;
        let (changes, ends): (bool, bool) = (column(operation, row, "changes")?, column(operation, row, "ends")?);
        let mut can = BTreeSet::from([Capability::List]);
        if changes {
            can.extend([
                Capability::Create,
                Capability::Disable,
                Capability::Delete,
                Capability::Groups,
                Capability::Password,
                Capability::Mark,
            ]);
        }
        if changes && ends {
            can.extend([Capability::RevokeTokens, Capability::RevokePasskeys]);
        }
        Ok(can)
    }

    async fn find(&self, key: &AccountKey, _: &Managed) -> Result<Option<Account>, ConnectorError> {
        let operation = format!("look for role {}", key.username);
        let id = key.id.as_ref().and_then(|id| id.parse().ok());
        Ok(self.look(&operation, id, &key.username).await?.map(|found| found.account))
    }

    async fn list(&self, _: &Managed) -> Result<Vec<Account>, ConnectorError> {
        let operation = "list roles";
        let rows = self.server.rows(operation, statements::LIST, &[]).await?;
        let accounts = rows.iter().map(|row| Ok(found(operation, row)?.account));
        // Others that nobody can log in with are groups.
        let is_account = |account: &Account| account.state == AccountState::Enabled || account.owner.is_some();
        accounts.filter(|account| account.as_ref().map_or(true, is_account)).collect()
    }

    async fn apply(&self, change: &AccountChange) -> Result<Applied, ConnectorError> {
        let doing = operation(change);
        let Some(id) = id(change) else {
            return match change {
                AccountChange::Create { profile, owner } => self.create(profile, owner).await,
                _ if change.removes() => Ok(Applied::default()),
                _ => Err(rejected(&doing, "there is no such account")),
            };
        };
        match change {
            AccountChange::Adopt { owner, .. } => self.adopt(&doing, id, owner).await?,
            AccountChange::SetProfile { profile, .. } => {
                usable(&doing, &profile.username)?;
                self.change(&doing, &statements::rename(id, &profile.username)).await?;
            }
            AccountChange::SetEnabled { enabled: true, .. } => self.change(&doing, &statements::let_in(id)).await?,
            AccountChange::SetEnabled { enabled: false, .. } => self.end(&doing, id, &statements::lock_out(id)).await?,
            AccountChange::RevokeCredentials { .. } => self.end(&doing, id, &statements::revoke(id)).await?,
            AccountChange::Join { group, .. } => self.change(&doing, &statements::join(id, group)).await?,
            AccountChange::Leave { group, .. } => self.change(&doing, &statements::leave(id, group)).await?,
            AccountChange::IssuePassword { .. } => return self.issue(&doing, id).await,
            AccountChange::Delete { owned, .. } => self.delete(&doing, id, owned).await?,
            // There are no invitations, so there is none to take back.
            AccountChange::Create { .. } | AccountChange::CancelInvite { .. } => {}
        }
        Ok(Applied::default())
    }
}

/// What a change is called in errors.
fn operation(change: &AccountChange) -> String {
    match change {
        AccountChange::Create { profile, .. } => format!("make role {}", profile.username),
        AccountChange::Adopt { id, .. } => format!("mark role {id}"),
        AccountChange::SetProfile { id, profile } => format!("call role {id} {}", profile.username),
        AccountChange::SetEnabled { id, enabled: true } => format!("let role {id} log in"),
        AccountChange::SetEnabled { id, enabled: false } => format!("lock role {id} out"),
        AccountChange::Join { id, group } => format!("grant {group} to role {id}"),
        AccountChange::Leave { id, group } => format!("revoke {group} from role {id}"),
        AccountChange::RevokeCredentials { id } => format!("revoke what was issued for role {id}"),
        AccountChange::IssuePassword { id } => format!("set the password of role {id}"),
        AccountChange::CancelInvite { id } => format!("take back invitation {id}"),
        AccountChange::Delete { id, .. } => format!("drop role {id}"),
    }
}

/// Whom a change is about; nobody if the id is no oid, which no role has.
fn id(change: &AccountChange) -> Option<Oid> {
    match change {
        AccountChange::Create { .. } => None,
        AccountChange::Adopt { id, .. }
        | AccountChange::SetProfile { id, .. }
        | AccountChange::SetEnabled { id, .. }
        | AccountChange::Join { id, .. }
        | AccountChange::Leave { id, .. }
        | AccountChange::RevokeCredentials { id }
        | AccountChange::IssuePassword { id }
        | AccountChange::CancelInvite { id }
        | AccountChange::Delete { id, .. } => id.parse().ok(),
    }
}

/// A name that the server would change is refused.
fn usable(operation: &str, login: &str) -> Result<(), ConnectorError> {
    if login.is_empty() || login.contains('\0') {
        return Err(rejected(operation, "that is no name for a role; choose another username"));
    }
    if login.len() > LONGEST_NAME {
        let message = format!("the name has {} bytes, and a role's at most {LONGEST_NAME}; choose a shorter username", login.len());
        return Err(rejected(operation, message));
    }
    Ok(())
}

fn found(operation: &str, row: &Row) -> Result<Found, ConnectorError> {
    let id: Oid = column(operation, row, "oid")?;
    let enabled: bool = column(operation, row, "enabled")?;
    let comment: Option<String> = column(operation, row, "comment")?;
    let groups: Vec<String> = column(operation, row, "groups")?;
    let comment = comment.unwrap_or_default();
    let account = Account {
        id: id.to_string(),
        profile: Profile { username: column(operation, row, "login")?, ..Profile::default() },
        state: if enabled { AccountState::Enabled } else { AccountState::Disabled },
        groups: groups.into_iter().collect(),
        owner: comment.lines().find_map(Owner::read),
        administrator: column(operation, row, "administrator")?,
        credentials: column(operation, row, "credentials")?,
    };
    Ok(Found { account, comment })
}

/// A comment with a mark as its last line. What somebody else wrote stays.
fn marked(comment: &str, owner: &Owner) -> String {
    let mark = owner.mark();
    let others = comment.lines().filter(|line| Owner::read(line).is_none());
    others.chain([mark.as_str()]).collect::<Vec<_>>().join("\n")
}

fn column<T: FromSqlOwned>(operation: &str, row: &Row, name: &str) -> Result<T, ConnectorError> {
    row.try_get(name).map_err(|error| garbled(operation, &error.to_string()))
}

fn rejected(operation: &str, message: impl Into<String>) -> ConnectorError {
    ConnectorError::Rejected { operation: operation.to_owned(), message: message.into() }
}

fn garbled(operation: &str, message: &str) -> ConnectorError {
    ConnectorError::Garbled { operation: operation.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests;
