//! A git forge: Gitea or Forgejo, by the token of an administrator.
//!
//! Its API addresses by name and names change, so every change first asks for the name of an id. It has no words for an account whose login is prohibited other
//! than that nothing of it works: passwords, tokens, keys and sessions are all refused, and all kept; see [`mark`] for what usher keeps there.

mod activity;
mod api;
mod credentials;
mod estate;
mod groups;
mod mark;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::api::provider;
use crate::plan::account::{Account, AccountChange, AccountKey, AccountState, Capability, Managed, Owner, Profile};

use super::error::ConnectorError;
use super::http::Http;
use super::password::generate;
use super::throttle::Throttle;
use super::{Applied, Connector, Secrets};

use self::api::{Api, User, Voice, rejected};
use self::credentials::{Key, kept};
use self::mark::Mark;

/// A longer name is refused.
const MOST_LETTERS: usize = 100;
/// What usher's token must allow; `all` allows everything.
const SCOPES: [&str; 4] = ["write:admin", "write:organization", "write:user", "write:repository"];

/// What is told where its own words may repeat a password.
const FAILED: &str = "Gitea failed";

/// A connector for a Gitea.
#[derive(Debug)]
pub struct Gitea {
    api: Api,
}

impl Gitea {
    /// A connector as a Provider describes it. It sends nothing yet.
    pub fn new(settings: &provider::Gitea, secrets: Secrets, throttle: Arc<Throttle>) -> Result<Self, ConnectorError> {
        let http = Http::new(&settings.url, secrets.ca.as_deref(), throttle)?;
        Ok(Self { api: Api::new(http, secrets.credential) })
    }

    async fn make(&self, operation: &str, profile: &Profile, owner: &Owner) -> Result<Applied, ConnectorError> {
        let password = generate().map_err(|error| ConnectorError::unreachable("make a password", error))?;
        let mark = Mark { keys: !profile.ssh_keys.is_empty(), ..Mark::new(owner) };
        let body = json!({
            "username": profile.username, "full_name": profile.display_name, "email": profile.email,
            "login_name": mark.text(), "source_id": 0,
            "password": password.expose_secret(), "must_change_password": false,
        });
        let request = self.api.request(Method::POST, Voice::Own, &["admin", "users"]).json(&body);
        let answer = self.api.send(operation, request).await.map_err(|error| error.without_words(FAILED))?;
        let user = match answer.status {
            StatusCode::UNPROCESSABLE_ENTITY => {
                let words = answer.words().replace(password.expose_secret(), "…");
                self.made_before(operation, profile, owner, &words).await?
            }
            StatusCode::BAD_REQUEST => return Err(password_refused(operation)),
            status if status.is_success() => answer.json()?,
            status => return Err(rejected(operation, status.to_string())),
        };
        if !profile.ssh_keys.is_empty() {
            self.api.install(operation, &user, &profile.ssh_keys).await?;
        }
        Ok(Applied { id: Some(user.id.to_string()), ..Applied::default() })
    }

    /// What was refused may be there because the answer to a first try was lost.
    async fn made_before(&self, operation: &str, profile: &Profile, owner: &Owner, words: &str) -> Result<User, ConnectorError> {
        let found = self.api.by_name(operation, &profile.username).await?;
        let hers = |it: &Mark| (&it.owner.installation, &it.owner.person) == (&owner.installation, &owner.person);
        match found {
            Some(user) if Mark::of(&user).as_ref().is_some_and(hers) => Ok(user),
            Some(_) => Err(rejected(operation, "the name is taken; adopt the account, or choose another username")),
            None if words.contains("user already exists") => {
                Err(rejected(operation, "the name is taken by an organization; choose another username"))
            }
            None => Err(rejected(operation, words)),
        }
    }

    async fn adopt(&self, operation: &str, user: &User, owner: &Owner) -> Result<(), ConnectorError> {
        if user.source_id != 0 {
            return Err(rejected(
                operation,
                format!("it logs in by authentication source {}, which keeps its own name where usher would mark it", user.source_id),
            ));
        }
        let mark = match Mark::of(user) {
            Some(mark) => Mark { owner: owner.clone(), ..mark },
            None => {
                let keys = self.api.keys(operation, user).await?.iter().any(|key| key.installed().is_some());
                Mark { owner: owner.clone(), issued: true, keys }
            }
        };
        if Mark::of(user).as_ref() == Some(&mark) {
            return Ok(());
        }
        self.api.edit(operation, user, Some(&mark), json!({})).await
    }

    async fn set_profile(&self, operation: &str, mut user: User, profile: &Profile) -> Result<(), ConnectorError> {
        if user.login != profile.username {
            self.api.rename(operation, &user, &profile.username).await?;
            user.login.clone_from(&profile.username);
        }
        let before = Mark::of(&user);
        // Marked before it is so, and unmarked after it, so that a list never leaves out keys that are there.
        let marked = before.clone().map(|mark| Mark { keys: mark.keys || !profile.ssh_keys.is_empty(), ..mark });
        if user.full_name != profile.display_name || user.email != profile.email || before != marked {
            if !user.email.eq_ignore_ascii_case(&profile.email) {
                self.api.forget_addresses(operation, &user.login, |other| other.eq_ignore_ascii_case(&profile.email)).await?;
            }
            let fields = json!({ "full_name": profile.display_name, "email": profile.email });
            self.api.edit(operation, &user, marked.as_ref(), fields).await?;
        }
        self.api.install(operation, &user, &profile.ssh_keys).await?;
        match marked {
            Some(mark) if mark.keys && profile.ssh_keys.is_empty() => {
                self.api.edit(operation, &user, Some(&Mark { keys: false, ..mark }), json!({})).await
            }
            _ => Ok(()),
        }
    }

    async fn enable(&self, operation: &str, user: &User, enabled: bool) -> Result<(), ConnectorError> {
        if state(user) == AccountState::Enabled && enabled || user.prohibit_login && !enabled {
            return Ok(());
        }
        if enabled {
            return self.api.edit(operation, user, None, json!({ "prohibit_login": false, "active": true })).await;
        }
        // Nobody tells what she made while it was open.
        let mark = Mark::of(user).map(|mark| Mark { issued: true, ..mark });
        self.api.edit(operation, user, mark.as_ref(), json!({ "prohibit_login": true })).await
    }

    /// The password comes last: with it the mark says that nothing is left.
    async fn revoke(&self, operation: &str, user: &User) -> Result<(), ConnectorError> {
        self.api.revoke(operation, user).await?;
        let mark = Mark::of(user).map(|mark| Mark::new(&mark.owner));
        self.set_password(operation, user, mark.as_ref()).await.map(drop)
    }

    async fn set_password(&self, operation: &str, user: &User, mark: Option<&Mark>) -> Result<Applied, ConnectorError> {
        if user.source_id != 0 {
            let message = format!("its password is with authentication source {}; set initialCredentials: None", user.source_id);
            return Err(rejected(operation, message));
        }
        let password = generate().map_err(|error| ConnectorError::unreachable("make a password", error))?;
        let fields = json!({ "password": password.expose_secret(), "must_change_password": false });
        self.api.edit(operation, user, mark, fields).await.map_err(|error| match error.without_words(FAILED) {
            ConnectorError::Rejected { .. } => password_refused(operation),
            error => error,
        })?;
        Ok(Applied { password: Some(password), ..Applied::default() })
    }

    async fn change(&self, operation: &str, user: User, change: &AccountChange) -> Result<Applied, ConnectorError> {
        match change {
            AccountChange::Adopt { owner, .. } => self.adopt(operation, &user, owner).await?,
            AccountChange::SetProfile { profile, .. } => self.set_profile(operation, user, profile).await?,
            AccountChange::SetEnabled { enabled, .. } => self.enable(operation, &user, *enabled).await?,
            AccountChange::Join { group, .. } => self.api.join(operation, &user, group).await?,
            AccountChange::Leave { group, .. } => self.api.leave(operation, &user, group).await?,
            AccountChange::RevokeCredentials { .. } => self.revoke(operation, &user).await?,
            AccountChange::IssuePassword { .. } => {
                let mark = Mark::of(&user).map(|mark| Mark { issued: true, ..mark });
                return self.set_password(operation, &user, mark.as_ref()).await;
            }
            AccountChange::Delete { owned, .. } => self.api.remove(operation, &user, owned).await?,
            AccountChange::Create { .. } | AccountChange::CancelInvite { .. } => {}
        }
        Ok(Applied::default())
    }
}

impl Api {
    /// Whose the token is.
    async fn myself(&self, operation: &str) -> Result<User, ConnectorError> {
        self.send(operation, self.request(Method::GET, Voice::Own, &["user"])).await?.success()?.json()
    }

    async fn by_id(&self, operation: &str, id: &str) -> Result<Option<User>, ConnectorError> {
        // Everybody has an id that is not a number.
        if id.parse::<i64>().is_ok_and(|id| id > 0) {
            let found: Vec<User> = self.all(operation, Voice::Own, &["users", "search"], &[("uid", id)], |it: &User| it.id).await?;
            return Ok(found.into_iter().find(|user| user.id.to_string() == id));
        }
        Ok(None)
    }

    /// The account of a name, and not the organization; nothing if it only had that name once.
    async fn by_name(&self, operation: &str, username: &str) -> Result<Option<User>, ConnectorError> {
        let Some(answer) = self.read(operation, self.request(Method::GET, Voice::Own, &["users", username])).await? else {
            return Ok(None);
        };
        let user: User = answer.json()?;
        self.by_id(operation, &user.id.to_string()).await
    }

    async fn by_email(&self, operation: &str, email: &str) -> Result<Option<User>, ConnectorError> {
        let found: Vec<User> = self.all(operation, Voice::Own, &["users", "search"], &[("q", email)], |it: &User| it.id).await?;
        Ok(found.into_iter().find(|user| user.email.eq_ignore_ascii_case(email)))
    }

    /// Changes fields of an account. What is not in `fields` stays, but for the login name, which must be told each time.
    async fn edit(&self, operation: &str, user: &User, mark: Option<&Mark>, mut fields: Value) -> Result<(), ConnectorError> {
        // An empty one is refused.
        let before = if user.login_name.is_empty() { &user.login } else { &user.login_name };
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("login_name".to_owned(), mark.map_or_else(|| before.clone(), Mark::text).into());
            fields.insert("source_id".to_owned(), user.source_id.into());
        }
        let request = self.request(Method::PATCH, Voice::Own, &["admin", "users", &user.login]).json(&fields);
        self.send(operation, request).await?.success().map(drop)
    }

    async fn rename(&self, operation: &str, user: &User, username: &str) -> Result<(), ConnectorError> {
        let request = self.request(Method::POST, Voice::Own, &["admin", "users", &user.login, "rename"]);
        let answer = self.send(operation, request.json(&json!({ "new_username": username }))).await?;
        if answer.words().contains("already exists") {
            return Err(rejected(operation, format!("the name is taken: {username}; choose another username")));
        }
        answer.success().map(drop)
    }
}

fn state(user: &User) -> AccountState {
    if user.active && !user.prohibit_login { AccountState::Enabled } else { AccountState::Disabled }
}

fn account(user: User, keys: &[Key], groups: BTreeSet<String>, tokens: bool) -> Account {
    let mark = Mark::of(&user);
    let issued = mark.as_ref().is_none_or(|mark| mark.issued);
    Account {
        id: user.id.to_string(),
        state: state(&user),
        groups,
        administrator: user.is_admin,
        credentials: issued || !keys.is_empty() || tokens,
        owner: mark.map(|mark| mark.owner),
        profile: Profile {
            username: user.login,
            display_name: user.full_name,
            email: user.email,
            ssh_keys: keys.iter().filter_map(Key::installed).collect(),
        },
    }
}

#[async_trait]
impl Connector for Gitea {
    fn keeps(&self, profile: Profile) -> Profile {
        Profile {
            display_name: profile.display_name.chars().take(MOST_LETTERS).collect(),
            ssh_keys: profile.ssh_keys.into_iter().map(kept).collect(),
            ..profile
        }
    }

    async fn probe(&self) -> Result<BTreeSet<Capability>, ConnectorError> {
        let operation = "ask whose the token is";
        let unauthorized = |status: String| ConnectorError::Unauthorized { operation: operation.to_owned(), status };
        let me = self.api.myself(operation).await?;
        if !me.is_admin {
            return Err(unauthorized(format!("{} is no administrator", me.login)));
        }
        let mut can = BTreeSet::from([
            Capability::Create,
            Capability::Disable,
            Capability::Delete,
            Capability::Groups,
            Capability::SshKeys,
            Capability::Password,
            Capability::Mark,
            Capability::List,
            Capability::Activity,
        ]);
        if let Some(tokens) = self.api.tokens(operation, &me.login).await? {
            let own = tokens.into_iter().find(|it| it.last_eight == self.api.last_eight());
            if let Some(lack) = own.and_then(|own| lacks(&own.scopes)) {
                return Err(unauthorized(lack));
            }
            can.insert(Capability::RevokeTokens);
        }
        if !self.api.lets_in_by_passkeys("ask whether passkeys let people in").await? {
            can.insert(Capability::RevokePasskeys);
        }
        Ok(can)
    }

    async fn find(&self, key: &AccountKey, managed: &Managed) -> Result<Option<Account>, ConnectorError> {
        let operation = format!("look for account {}", key.username);
        let mut found = match &key.id {
            Some(id) => self.api.by_id(&operation, id).await?,
            None => None,
        };
        if found.is_none() {
            found = self.api.by_name(&operation, &key.username).await?;
        }
        if let (None, Some(email)) = (&found, &key.email) {
            found = self.api.by_email(&operation, email).await?;
        }
        let Some(user) = found else { return Ok(None) };
        let groups = self.api.groups_of(&operation, &user, managed).await?;
        let keys = self.api.keys(&operation, &user).await?;
        let known = Mark::of(&user).is_none_or(|mark| mark.issued) || !keys.is_empty();
        // Who is not told cannot say that there are none.
        let tokens = !known && self.api.tokens(&operation, &user.login).await?.is_none_or(|tokens| !tokens.is_empty());
        Ok(Some(account(user, &keys, groups, tokens)))
    }

    /// One request for each page, team and organization, and one for each account that usher put SSH keys into: no list tells of those.
    async fn list(&self, managed: &Managed) -> Result<Vec<Account>, ConnectorError> {
        let operation = "list accounts";
        // By names they would move when somebody comes.
        let users: Vec<User> = self.api.all(operation, Voice::Own, &["admin", "users"], &[("sort", "id")], |it: &User| it.id).await?;
        let mut memberships = self.api.memberships(operation, managed).await?;
        let mut accounts = Vec::with_capacity(users.len());
        for user in users {
            let with_keys = Mark::of(&user).is_some_and(|mark| mark.keys);
            let keys = if with_keys { self.api.keys(operation, &user).await? } else { Vec::new() };
            let groups = memberships.remove(&user.id).unwrap_or_default();
            accounts.push(account(user, &keys, groups, false));
        }
        Ok(accounts)
    }

    async fn apply(&self, change: &AccountChange) -> Result<Applied, ConnectorError> {
        let (operation, id) = match change {
            AccountChange::Create { profile, owner } => {
                return self.make(&format!("make account {}", profile.username), profile, owner).await;
            }
            AccountChange::CancelInvite { id } => return Err(rejected(&format!("take back invitation {id}"), "Gitea has no invitations")),
            AccountChange::Adopt { id, .. } => (format!("mark account {id}"), id),
            AccountChange::SetProfile { id, .. } => (format!("change account {id}"), id),
            AccountChange::SetEnabled { id, enabled } => (format!("{} account {id}", if *enabled { "enable" } else { "disable" }), id),
            AccountChange::Join { id, group } => (format!("add account {id} to {group}"), id),
            AccountChange::Leave { id, group } => (format!("take account {id} out of {group}"), id),
            AccountChange::RevokeCredentials { id } => (format!("revoke what was issued for account {id}"), id),
            AccountChange::IssuePassword { id } => (format!("set a password for account {id}"), id),
            AccountChange::Delete { id, .. } => (format!("delete account {id}"), id),
        };
        match self.api.by_id(&operation, id).await? {
            Some(user) => self.change(&operation, user, change).await,
            // What is gone cannot lose anything.
            None if change.removes() => Ok(Applied::default()),
            None => Err(rejected(&operation, "there is no such account")),
        }
    }

    async fn first_push(&self, account: &Account) -> Result<Option<Timestamp>, ConnectorError> {
        let operation = format!("look for pushes of account {}", account.id);
        // The name may be another one by now.
        let Some(user) = self.api.by_id(&operation, &account.id).await? else { return Ok(None) };
        self.api.first_push(&operation, &user.login).await
    }
}

/// What a token is not allowed and must be.
fn lacks(scopes: &[String]) -> Option<String> {
    let has = |scope: &str| scopes.iter().any(|it| it == scope);
    if has("public-only") {
        return Some("the token is limited to what is public".to_owned());
    }
    let package = if has("write:package") { "write:package" } else { "read:package" };
    let missing: Vec<&str> = SCOPES.into_iter().chain([package]).filter(|scope| !has(scope)).collect();
    (!has("all") && !missing.is_empty()).then(|| format!("the token lacks {}", missing.join(", ")))
}

fn password_refused(operation: &str) -> ConnectorError {
    rejected(
        operation,
        "Gitea refuses the password; look at PASSWORD_COMPLEXITY, MIN_PASSWORD_LENGTH and PASSWORD_CHECK_PWN in its app.ini",
    )
}
