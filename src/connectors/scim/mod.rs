//! Anything with SCIM 2.0 (RFC 7643, RFC 7644).
//!
//! Services differ in what they leave out, so what was changed is looked at where a service could have dropped it in silence: the mark, `active`, members. The
//! mark is in `externalId`. SCIM tells nothing of tokens, keys and sessions: see [`Scim::probe`].

mod resource;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::api::provider;
use crate::plan::account::{Account, AccountChange, AccountKey, Capability, Managed, Owned, Owner, Profile};

use super::error::ConnectorError;
use super::http::{Answer, Http};
use super::password::generate;
use super::throttle::Throttle;
use super::{Applied, Connector, Secrets};

use self::resource::{Resource, user};
use self::service::{Making, Outcome, Read, Service};

/// Up to so many groups are asked for one by one; for more, all are listed.
const FEW: usize = 5;
/// What is asked of groups: some services tell of members only then.
const OF_GROUPS: Option<&str> = Some("displayName,members");

/// A connector for a service with SCIM 2.0.
#[derive(Debug)]
pub struct Scim {
    service: Service,
    revoked_when_disabled: bool,
}

impl Scim {
    /// A connector as a Provider describes it. It sends nothing yet.
    pub fn new(settings: &provider::Scim, secrets: Secrets, throttle: Arc<Throttle>) -> Result<Self, ConnectorError> {
        let http = Http::new(&settings.url, secrets.ca.as_deref(), throttle)?;
        Ok(Self { service: Service::new(http, secrets.credential), revoked_when_disabled: settings.disabling_revokes })
    }

    /// The user with a login, which has no letter case (RFC 7643, 4.1.1).
    async fn named(&self, operation: &str, username: &str) -> Result<Option<Resource>, ConnectorError> {
        let mut found = self.service.search(operation, "Users", ("userName", username), None).await?;
        found.retain(|user| user.username().eq_ignore_ascii_case(username));
        let exact = found.iter().position(|user| user.username() == username).unwrap_or(0);
        Ok(found.into_iter().nth(exact))
    }

    /// The only user with an e-mail address: which of several is meant nobody can tell.
    async fn with_email(&self, operation: &str, email: &str) -> Result<Option<Resource>, ConnectorError> {
        let mut found = self.service.search(operation, "Users", ("emails.value", email), None).await?;
        found.retain(|user| user.has_email(email));
        Ok(found.pop().filter(|_| found.is_empty()))
    }

    /// The groups of a name: none, one, or by mistake several.
    async fn groups_named(&self, operation: &str, name: &str) -> Result<Vec<Resource>, ConnectorError> {
        let mut found = self.service.search(operation, "Groups", ("displayName", name), OF_GROUPS).await?;
        found.retain(|group| group.display_name().as_deref() == Some(name));
        Ok(found)
    }

    /// In which of the managed groups users are, by their ids. Ids of users who are gone are among them in services that forget to tidy up; nobody has them.
    async fn memberships(&self, operation: &str, managed: &Managed) -> Result<BTreeMap<String, BTreeSet<String>>, ConnectorError> {
        let groups = match managed {
            Managed::Only(names) if names.is_empty() => return Ok(BTreeMap::new()),
            Managed::Only(names) if names.len() <= FEW => {
                let mut groups = Vec::new();
                for name in names {
                    groups.extend(self.groups_named(operation, name).await?);
                }
                groups
            }
            Managed::Only(_) | Managed::All => self.service.all(operation, "Groups", &[("attributes", "displayName,members")]).await?,
        };
        let mut memberships: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for group in groups {
            let Some(name) = group.display_name() else { continue };
            if matches!(managed, Managed::Only(names) if !names.contains(&name)) {
                continue;
            }
            for member in group.members() {
                memberships.entry(member).or_default().insert(name.clone());
            }
        }
        Ok(memberships)
    }

    /// Whether marks are kept, which no service says and some pretend: somebody has one of whatever sort, or there is nobody yet who could show it.
    async fn keeps_marks(&self) -> Result<bool, ConnectorError> {
        let operation = "look for marks of accounts";
        let marked = |users: &[Resource]| users.iter().any(|user| user.external_id().is_some());
        match self.service.page(operation, "Users", &[("filter", "externalId pr")], 1, 1).await {
            Ok(page) if marked(&page.items) => return Ok(true),
            Ok(_) | Err(ConnectorError::Rejected { .. } | ConnectorError::Garbled { .. }) => {}
            Err(error) => return Err(error),
        }
        let page = self.service.page(operation, "Users", &[], 1, 100).await.map_err(misplaced)?;
        Ok(page.items.is_empty() || marked(&page.items))
    }

    async fn make(&self, profile: &Profile, owner: &Owner) -> Result<Applied, ConnectorError> {
        let operation = format!("make account {}", profile.username);
        let refused = match self.service.make(&operation, "Users", &user(profile, owner)).await? {
            Making::Made(id) => return Ok(Applied { id: Some(id), ..Applied::default() }),
            Making::Refused(refused) => refused,
        };
        if !conflicts(&refused) {
            return Err(refused.refusal());
        }
        // The answer to a first try may have been lost.
        let same = |user: &Resource| user.owner().is_some_and(|it| (&it.installation, &it.person) == (&owner.installation, &owner.person));
        match self.named(&operation, &profile.username).await? {
            Some(user) if same(&user) => Ok(Applied { id: Some(user.id()), ..Applied::default() }),
            Some(_) => Err(rejected(&operation, "the name is taken; adopt the account, or choose another username")),
            None => Err(refused.refusal()),
        }
    }

    /// Writes the mark, and looks whether it was kept. What another client wrote there is that client's: it would lose the account.
    async fn adopt(&self, id: &str, owner: &Owner) -> Result<Outcome, ConnectorError> {
        let operation = format!("mark account {id}");
        let outcome = self
            .service
            .set(&operation, id, Read::First, |before| match before.and_then(Resource::external_id) {
                Some(mark) if mark == owner.mark() => Ok(Vec::new()),
                Some(mark) if Owner::read(&mark).is_none() => Err(rejected(
                    &operation,
                    "its externalId belongs to another client that provisions it; take it out of that one's hands first",
                )),
                _ => Ok(vec![("externalId", json!(owner.mark()))]),
            })
            .await?;
        self.confirm(&operation, id, outcome, "the service does not keep externalId, so nobody can tell whose the account is", |user| {
            user.external_id().as_deref() == Some(owner.mark().as_str())
        })
        .await
    }

    async fn enable(&self, id: &str, enabled: bool) -> Result<Outcome, ConnectorError> {
        let operation = format!("{} account {id}", if enabled { "enable" } else { "disable" });
        let outcome = self.service.set(&operation, id, Read::IfNeeded, |_| Ok(vec![("active", json!(enabled))])).await?;
        self.confirm(&operation, id, outcome, "the service says that it did, and did not", |user| user.active() == enabled).await
    }

    /// Looks whether a change was made that some services drop in silence.
    async fn confirm(
        &self,
        operation: &str,
        id: &str,
        outcome: Outcome,
        otherwise: &str,
        is_so: impl Fn(&Resource) -> bool,
    ) -> Result<Outcome, ConnectorError> {
        match outcome {
            Outcome::Made(Some(user)) if is_so(&user) => Ok(Outcome::Made(Some(user))),
            Outcome::Made(_) => match self.service.read(operation, "Users", id, None).await? {
                Some(user) if is_so(&user) => Ok(Outcome::Made(Some(user))),
                Some(_) => Err(rejected(operation, otherwise)),
                None => Ok(Outcome::Gone),
            },
            Outcome::Gone => Ok(Outcome::Gone),
        }
    }

    async fn join(&self, id: &str, name: &str) -> Result<(), ConnectorError> {
        let operation = format!("add account {id} to {name}");
        let groups = self.groups_named(&operation, name).await?;
        match groups.as_slice() {
            [] => Err(rejected(&operation, &format!("there is no group {name}; make it, or mend the Role that names it"))),
            [group] => self.move_member(&operation, group, id, true).await,
            several => Err(rejected(&operation, &format!("there are {} groups {name}; rename all but one", several.len()))),
        }
    }

    async fn leave(&self, id: &str, name: &str) -> Result<(), ConnectorError> {
        let operation = format!("take account {id} out of {name}");
        for group in self.groups_named(&operation, name).await? {
            self.move_member(&operation, &group, id, false).await?;
        }
        Ok(())
    }

    /// Makes somebody a member or not, and looks whether it is so: services differ in what they answer if it was so before, and some do not tell of members.
    async fn move_member(&self, operation: &str, group: &Resource, user: &str, member: bool) -> Result<(), ConnectorError> {
        if group.members().contains(user) == member {
            return Ok(());
        }
        let answer = match self.service.set_member(operation, &group.id(), user, member).await {
            Ok(_) => None,
            Err(refusal @ ConnectorError::Rejected { .. }) => Some(refusal),
            Err(error) => return Err(error),
        };
        let now = self.service.read(operation, "Groups", &group.id(), OF_GROUPS).await?;
        if now.is_some_and(|now| now.members().contains(user)) == member {
            return Ok(());
        }
        let dropped = || {
            rejected(operation, "the service says that it did, and tells otherwise; usher cannot manage a group whose members are not told")
        };
        Err(answer.unwrap_or_else(dropped))
    }

    async fn delete(&self, id: &str, owned: &Owned) -> Result<Applied, ConnectorError> {
        let operation = format!("delete account {id}");
        if *owned != Owned::Keep {
            return Err(rejected(
                &operation,
                "SCIM cannot hand over what an account owns; do it by hand, and set onDeparture.ownedObjects: Keep",
            ));
        }
        let answer = self.service.ask(&operation, Method::DELETE, &["Users", id], None).await?;
        if answer.status != StatusCode::NOT_FOUND {
            answer.success()?;
        }
        Ok(Applied::default())
    }

    /// Without the administrator's word that disabling revokes there is no way; of an account that is gone nothing is left.
    async fn revoke(&self, id: &str) -> Result<Outcome, ConnectorError> {
        if self.revoked_when_disabled {
            return self.enable(id, false).await;
        }
        let operation = format!("revoke what was issued for account {id}");
        match self.service.read(&operation, "Users", id, None).await? {
            None => Ok(Outcome::Gone),
            Some(_) => Err(rejected(&operation, "SCIM has no way to; revoke it by hand")),
        }
    }

    async fn issue(&self, id: &str) -> Result<Applied, ConnectorError> {
        let operation = format!("set a password for account {id}");
        if !self.service.described().await?.passwords {
            return Err(rejected(&operation, "the service sets no passwords; set initialCredentials: None in the Provider"));
        }
        let password = generate().map_err(|error| ConnectorError::unreachable("make a password", error))?;
        let set = self.service.set(&operation, id, Read::IfNeeded, |_| Ok(vec![("password", json!(password.expose_secret()))]));
        match set.await.map_err(|error| without_words(error, &operation))? {
            Outcome::Gone => Err(no_such_account(&operation)),
            Outcome::Made(_) => Ok(Applied { password: Some(password), ..Applied::default() }),
        }
    }
}

#[async_trait]
impl Connector for Scim {
    fn keeps(&self, profile: Profile) -> Profile {
        let words: Vec<&str> = profile.display_name.split_whitespace().collect();
        let (username, email) = (profile.username.to_lowercase(), profile.email.to_lowercase());
        let display_name = if words.is_empty() { username.clone() } else { words.join(" ") };
        Profile { username, display_name, email, ssh_keys: BTreeSet::new() }
    }

    /// SCIM knows no tokens, keys and sessions, so an account may always have some, and they cannot be revoked. An administrator may know better
    /// (`disablingRevokes`): then an account that is disabled has none.
    async fn probe(&self) -> Result<BTreeSet<Capability>, ConnectorError> {
        let described = self.service.describe().await?;
        let mut can = BTreeSet::from([Capability::Create, Capability::Disable, Capability::Delete, Capability::List]);
        if self.keeps_marks().await? {
            can.insert(Capability::Mark);
        }
        match self.service.page("look for groups", "Groups", &[], 1, 1).await {
            Ok(_) => drop(can.insert(Capability::Groups)),
            Err(ConnectorError::Rejected { .. }) => {}
            Err(error) => return Err(error),
        }
        if described.passwords {
            can.insert(Capability::Password);
        }
        if self.revoked_when_disabled {
            can.extend([Capability::RevokeTokens, Capability::RevokePasskeys]);
        }
        Ok(can)
    }

    async fn find(&self, key: &AccountKey, managed: &Managed) -> Result<Option<Account>, ConnectorError> {
        let operation = format!("look for account {}", key.username);
        let mut found = match &key.id {
            Some(id) => self.service.read(&operation, "Users", id, None).await?,
            None => None,
        };
        if found.is_none() {
            found = self.named(&operation, &key.username).await?;
        }
        if let (None, Some(email)) = (&found, &key.email) {
            found = self.with_email(&operation, email).await?;
        }
        let Some(user) = found else { return Ok(None) };
        let groups = self.memberships(&operation, managed).await?.remove(&user.id()).unwrap_or_default();
        Ok(Some(user.account(groups, self.revoked_when_disabled)))
    }

    async fn list(&self, managed: &Managed) -> Result<Vec<Account>, ConnectorError> {
        let operation = "list accounts";
        let users = self.service.all(operation, "Users", &[]).await?;
        let mut groups = self.memberships(operation, managed).await?;
        let account = |user: Resource| user.account(groups.remove(&user.id()).unwrap_or_default(), self.revoked_when_disabled);
        Ok(users.into_iter().map(account).collect())
    }

    async fn apply(&self, change: &AccountChange) -> Result<Applied, ConnectorError> {
        let (operation, outcome) = match change {
            AccountChange::Create { profile, owner } => return self.make(profile, owner).await,
            AccountChange::Delete { id, owned } => return self.delete(id, owned).await,
            AccountChange::IssuePassword { id } => return self.issue(id).await,
            AccountChange::Join { id, group } => return self.join(id, group).await.map(|()| Applied::default()),
            AccountChange::Leave { id, group } => return self.leave(id, group).await.map(|()| Applied::default()),
            // Nobody is ever told as invited.
            AccountChange::CancelInvite { id } => return Err(rejected(&format!("take back invitation {id}"), "SCIM has no invitations")),
            AccountChange::Adopt { id, owner } => ("mark account", self.adopt(id, owner).await?),
            AccountChange::SetProfile { id, profile } => {
                let operation = format!("change account {id}");
                let edits = |before: Option<&Resource>| Ok(before.map(|user| user.edits(profile)).unwrap_or_default());
                ("change account", self.service.set(&operation, id, Read::First, edits).await?)
            }
            AccountChange::SetEnabled { id, enabled } => ("enable account", self.enable(id, *enabled).await?),
            AccountChange::RevokeCredentials { id } => ("revoke what was issued", self.revoke(id).await?),
        };
        match outcome {
            // What is gone cannot lose anything.
            Outcome::Gone if !change.removes() => Err(no_such_account(operation)),
            Outcome::Gone | Outcome::Made(_) => Ok(Applied::default()),
        }
    }
}

/// Whether a refusal says that there is such an account already.
fn conflicts(refused: &Answer) -> bool {
    let uniqueness = || refused.json::<serde_json::Value>().is_ok_and(|said| said.get("scimType").is_some_and(|it| it == "uniqueness"));
    refused.status == StatusCode::CONFLICT || uniqueness()
}

/// Where there are no users the URL is wrong.
fn misplaced(error: ConnectorError) -> ConnectorError {
    match error {
        ConnectorError::Rejected { message, .. } => ConnectorError::InvalidSettings {
            field: "url",
            message: format!("there is no /Users below it ({message}); write the base URL of SCIM"),
        },
        error => error,
    }
}

/// The same error without what the service said: it may have repeated a password.
fn without_words(error: ConnectorError, operation: &str) -> ConnectorError {
    match error {
        ConnectorError::Rejected { .. } => rejected(operation, "the service refuses it; look at its rules for passwords"),
        ConnectorError::Unauthorized { operation, status } => {
            let status = status.split(':').next().unwrap_or_default().to_owned();
            ConnectorError::Unauthorized { operation, status }
        }
        ConnectorError::Unreachable { operation, .. } => ConnectorError::unreachable(operation, "the service failed or was out of reach"),
        error => error,
    }
}

fn no_such_account(operation: &str) -> ConnectorError {
    rejected(operation, "there is no such account")
}

fn rejected(operation: &str, message: &str) -> ConnectorError {
    ConnectorError::Rejected { operation: operation.to_owned(), message: message.to_owned() }
}
