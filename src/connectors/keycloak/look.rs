//! All reading: one account, and all of them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use reqwest::Method;
use serde::de::DeserializeOwned;

use crate::connectors::paging::{self, Page};
use crate::plan::account::{Account, AccountKey, Managed};

use super::person::{Group, Role, User};
use super::{ConnectorError, Keycloak, absent, rejected};

/// So many are asked for at once.
const PAGE: usize = 1_000;
/// Pages overlap by so many. Keycloak counts from the beginning, so when somebody is deleted meanwhile everybody after her moves up and one would be missed.
const OVERLAP: usize = 50;

/// Where a page begins, and the last ones of the page before.
#[derive(Clone, Default)]
struct Place {
    first: usize,
    before: Vec<String>,
    /// Whether it begins with some of them.
    overlaps: bool,
}

impl Place {
    /// What follows on a page; nothing at the end. A page that is not full is the end only where all are counted: else only one on which nobody is new is, as
    /// something between may have cut a page short.
    fn after(&self, ids: &[String], counted: bool) -> Option<Self> {
        if let Some(before) = ids.get(PAGE - OVERLAP..).filter(|_| ids.len() >= PAGE) {
            return Some(Self { first: self.first + PAGE - OVERLAP, before: before.to_vec(), overlaps: true });
        }
        let new = ids.iter().any(|id| !self.before.contains(id));
        (new && !counted).then(|| Self { first: self.first + ids.len(), before: ids.to_vec(), overlaps: false })
    }

    /// Whether there is nothing between a page and the one before.
    fn joins(&self, ids: &[String]) -> bool {
        !self.overlaps || ids.first().is_some_and(|id| self.before.contains(id))
    }
}

impl Keycloak {
    pub(super) async fn look_for(&self, key: &AccountKey) -> Result<Option<Account>, ConnectorError> {
        let by_id = match &key.id {
            Some(id) => self.user(id).await?,
            None => None,
        };
        let user = match by_id {
            Some(user) => Some(user),
            None => self.user_by_name(key).await?,
        };
        match user {
            Some(user) => self.told(user).await.map(Some),
            None => Ok(None),
        }
    }

    async fn user_by_name(&self, key: &AccountKey) -> Result<Option<User>, ConnectorError> {
        if let Some(user) = self.user_with("username", &key.username).await? {
            return Ok(Some(user));
        }
        match &key.email {
            Some(email) => self.user_with("email", email).await,
            None => Ok(None),
        }
    }

    /// A user by id, with what only such a question tells.
    pub(super) async fn user(&self, id: &str) -> Result<Option<User>, ConnectorError> {
        let operation = format!("look for account {id}");
        // In a path these lead elsewhere.
        if matches!(id, "" | "." | "..") {
            return Ok(None);
        }
        let answer = self.ask(&operation, self.admin(Method::GET, &["users", id])).await?;
        if absent(&answer, &operation)? { Ok(None) } else { answer.success()?.json().map(Some) }
    }

    /// The one user with this login or address. Where a realm lets several have an address it belongs to none of them for certain.
    pub(super) async fn user_with(&self, field: &str, value: &str) -> Result<Option<User>, ConnectorError> {
        let operation = format!("look for an account by {field}");
        if value.is_empty() {
            return Ok(None);
        }
        let request = self.admin(Method::GET, &["users"]).query(&[(field, value), ("exact", "true"), ("max", "2")]);
        let found: Vec<User> = self.ask(&operation, request).await?.success()?.json()?;
        let value = value.to_lowercase();
        let same = |user: &&User| if field == "email" { user.email.to_lowercase() == value } else { user.username.to_lowercase() == value };
        match found.iter().filter(same).collect::<Vec<_>>().as_slice() {
            [one] => self.user(&one.id).await,
            _ => Ok(None),
        }
    }

    /// The account in our terms, with all that Keycloak tells elsewhere.
    async fn told(&self, user: User) -> Result<Account, ConnectorError> {
        let marks = self.administration().await?.marks;
        let groups: Vec<Group> = self.of_user(&user.id, "groups").await?;
        let administers = !self.management_roles(&["users", &user.id]).await?.is_empty() || self.is_service(&user).await?;
        let credentials = self.anything_issued(&user).await?;
        // Without the note a list knows nothing of who is locked out: it is written once, also where there is nothing to revoke.
        let unnoted = marks && !user.is_enabled() && !user.is_revoked();
        let mut account = user.account(marks);
        account.groups = groups.iter().map(|group| group.name().to_owned()).collect();
        account.administrator = administers;
        account.credentials = credentials || unnoted;
        Ok(account)
    }

    /// Whether an account is a client's and no person's. Keycloak says of no user that it is: it only leaves such accounts out where it searches for people.
    async fn is_service(&self, user: &User) -> Result<bool, ConnectorError> {
        // A name that is searched for in parts is no client's that usher could mean.
        if !user.has_name_of_service() || user.username.contains(|it: char| it.is_whitespace() || it == '"') {
            return Ok(false);
        }
        let operation = format!("look whether account {} is a client's", user.id);
        let exactly = format!("\"{}\"", user.username);
        let request = self.admin(Method::GET, &["users"]).query(&[("search", exactly.as_str()), ("max", "1000")]);
        let people: Vec<User> = self.ask(&operation, request).await?.success()?.json()?;
        Ok(!people.iter().any(|person| person.id == user.id))
    }

    /// Whether something may still let her in: a link to another identity provider, a password or another credential, a session, an offline session or a consent.
    async fn anything_issued(&self, user: &User) -> Result<bool, ConnectorError> {
        if !user.federated_identities.is_empty() {
            return Ok(true);
        }
        for sort in ["credentials", "sessions", "consents"] {
            let issued: Vec<serde::de::IgnoredAny> = self.of_user(&user.id, sort).await?;
            if !issued.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What there is below a user: `credentials`, `sessions`, `consents` (offline sessions are among them), `groups`. Nothing if she is gone.
    pub(super) async fn of_user<T: DeserializeOwned>(&self, id: &str, sort: &str) -> Result<Vec<T>, ConnectorError> {
        let operation = format!("look for {sort} of account {id}");
        let answer = self.ask(&operation, self.admin(Method::GET, &["users", id, sort])).await?;
        if absent(&answer, &operation)? { Ok(Vec::new()) } else { answer.success()?.json() }
    }

    pub(super) async fn look_at_all(&self, managed: &Managed) -> Result<Vec<Account>, ConnectorError> {
        let marks = self.administration().await?.marks;
        let users = self.users("list accounts", &["users"], true).await?;
        let administrators = self.administrators().await?;
        let mut groups = self.memberships(managed).await?;
        let told = users.into_iter().map(|user| {
            // A list does not tell what was issued. Who is locked out gets nothing issued any more, so there the note of the revocation does.
            let credentials = user.is_enabled() || !(marks && user.is_revoked());
            let mut account = user.account(marks);
            account.credentials = credentials;
            // Accounts of clients are in no list.
            account.administrator = administrators.contains(&account.id);
            account.groups = groups.remove(&account.id).unwrap_or_default();
            account
        });
        Ok(told.collect())
    }

    /// All users below a path.
    pub(super) async fn users(&self, operation: &str, path: &[&str], counted: bool) -> Result<Vec<User>, ConnectorError> {
        self.all(operation, path, counted, |user: &User| user.id.clone()).await
    }

    /// All groups below a path. Where it is not asked for more, Keycloak tells ten or a hundred, and not that there are others.
    pub(super) async fn groups(&self, operation: &str, path: &[&str]) -> Result<Vec<Group>, ConnectorError> {
        self.all(operation, path, false, |group: &Group| group.id.clone()).await
    }

    /// All that there is below a path, page by page.
    async fn all<T: DeserializeOwned>(
        &self,
        operation: &str,
        path: &[&str],
        counted: bool,
        id: impl Fn(&T) -> String + Copy,
    ) -> Result<Vec<T>, ConnectorError> {
        let page = |place: Place| async move {
            let (first, max) = (place.first.to_string(), PAGE.to_string());
            let before = if counted && place.first == 0 { Some(self.count().await?) } else { None };
            let request = self.admin(Method::GET, path).query(&[("first", &first), ("max", &max)]);
            let answer = self.ask(operation, request).await?;
            // A group or role that is gone has nobody.
            let items: Vec<T> = if absent(&answer, operation)? { Vec::new() } else { answer.success()?.json()? };
            let ids: Vec<String> = items.iter().map(id).collect();
            if !place.joins(&ids) {
                let message = "the list moved while it was read; it is read again".to_owned();
                return Err(ConnectorError::Garbled { operation: operation.to_owned(), message });
            }
            let next = place.after(&ids, counted);
            let after = if counted && next.is_none() { Some(self.count().await?) } else { None };
            let total = before.into_iter().chain(after).min();
            Ok(Page { items, next, total })
        };
        paging::all(operation, Place::default(), id, page).await
    }

    async fn count(&self) -> Result<u64, ConnectorError> {
        self.ask("count accounts", self.admin(Method::GET, &["users", "count"])).await?.success()?.json()
    }

    /// The ids of those who have a role by which one administers the realm, themselves or through a group. Roles within roles of the realm's own making are seen by
    /// [`Self::look_for`] only, which every change comes after.
    async fn administrators(&self) -> Result<HashSet<String>, ConnectorError> {
        let administration = self.administration().await?;
        let roles = ["clients", administration.management.as_str(), "roles"];
        let operation = "list who administers the realm";
        let all: Vec<Role> = self.ask(operation, self.admin(Method::GET, &roles)).await?.success()?.json()?;
        let mut ids = HashSet::new();
        for role in &all {
            let of = |sort| roles.into_iter().chain([role.name.as_str(), sort]).collect::<Vec<&str>>();
            ids.extend(self.users(operation, &of("users"), false).await?.into_iter().map(|user| user.id));
            for group in self.below(self.groups(operation, &of("groups")).await?).await? {
                ids.extend(self.members(&group).await?);
            }
        }
        Ok(ids)
    }

    /// Who is in which managed group.
    async fn memberships(&self, managed: &Managed) -> Result<BTreeMap<String, BTreeSet<String>>, ConnectorError> {
        let groups = match managed {
            Managed::All => self.below(self.groups("list groups", &["groups"]).await?).await?,
            Managed::Only(names) => {
                let mut groups = Vec::new();
                for name in names {
                    groups.extend(self.group(name).await?);
                }
                groups
            }
        };
        let mut memberships: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for group in groups {
            for id in self.members(&group).await? {
                memberships.entry(id).or_default().insert(group.name().to_owned());
            }
        }
        Ok(memberships)
    }

    pub(super) async fn members(&self, group: &Group) -> Result<Vec<String>, ConnectorError> {
        let users = self.users("list members of a group", &["groups", &group.id, "members"], false).await?;
        Ok(users.into_iter().map(|user| user.id).collect())
    }

    /// These groups and all within them.
    pub(super) async fn below(&self, groups: Vec<Group>) -> Result<Vec<Group>, ConnectorError> {
        let mut open = groups;
        let mut seen = Vec::new();
        while let Some(group) = open.pop() {
            // Not everywhere it is said how many there are.
            if group.sub_group_count != Some(0) {
                open.extend(self.groups("list groups", &["groups", &group.id, "children"]).await?);
            }
            seen.push(group);
        }
        Ok(seen)
    }

    /// A group by its path.
    pub(super) async fn group(&self, name: &str) -> Result<Option<Group>, ConnectorError> {
        let operation = format!("look for group {name}");
        let parts: Vec<&str> = name.split('/').collect();
        if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Err(rejected(&operation, "write a group as its path without the first slash, for example engineering/payments"));
        }
        let path: Vec<&str> = ["group-by-path"].into_iter().chain(parts).collect();
        let answer = self.ask(&operation, self.admin(Method::GET, &path)).await?;
        if absent(&answer, &operation)? { Ok(None) } else { answer.success()?.json().map(Some) }
    }

    /// The group that lets its members administer the realm: this one, or one that it is in, as roles are handed down. Nothing if none does.
    pub(super) async fn administering(&self, name: &str) -> Result<Option<(String, Vec<Role>)>, ConnectorError> {
        let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
        for path in ends.filter_map(|end| name.get(..end)) {
            let Some(group) = self.group(path).await? else { return Ok(None) };
            let roles = self.management_roles(&["groups", &group.id]).await?;
            if !roles.is_empty() {
                return Ok(Some((path.to_owned(), roles)));
            }
        }
        Ok(None)
    }
}
