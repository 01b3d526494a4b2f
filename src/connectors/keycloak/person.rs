//! A user in Keycloak's terms and in ours.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use crate::plan::account::{Account, AccountState, Owner, Profile};

/// The attribute that says whose an account is.
pub(super) const OWNER: &str = "usher.owner";
/// The attribute that says since when nothing that was issued for an account works. A list of users tells it, and nothing else about what was issued.
pub(super) const REVOKED: &str = "usher.revoked";
/// Realms ask people for a last name before they let them in, so who has one name only gets this.
const NO_LAST_NAME: &str = "-";
/// How the users that clients are begin.
const SERVICE_ACCOUNT: &str = "service-account-";

/// A user, as far as it matters.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct User {
    pub id: String,
    pub username: String,
    pub email: String,
    first_name: String,
    last_name: String,
    enabled: Option<bool>,
    attributes: BTreeMap<String, Vec<String>>,
    /// In milliseconds since 1970.
    created_timestamp: Option<i64>,
    /// Other identity providers by which she logs in.
    pub federated_identities: Vec<Link>,
}

/// A link to an account at another identity provider.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    pub identity_provider: String,
}

/// A role.
#[derive(Debug, Deserialize)]
pub(super) struct Role {
    pub name: String,
}

/// A group.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    pub id: String,
    path: String,
    #[serde(default)]
    pub sub_group_count: Option<u64>,
}

impl Group {
    /// As a Role of usher's names it.
    pub fn name(&self) -> &str {
        self.path.strip_prefix('/').unwrap_or(&self.path)
    }
}

impl User {
    /// Whether usher noted that nothing that was issued works.
    pub fn is_revoked(&self) -> bool {
        self.attributes.contains_key(REVOKED)
    }

    /// Whether it is told that one can log in with it.
    pub fn is_enabled(&self) -> bool {
        self.enabled == Some(true)
    }

    /// Whether one can log in with it, if that is told.
    pub const fn enabled(&self) -> Option<bool> {
        self.enabled
    }

    /// When it was made, if that is told.
    pub fn made_at(&self) -> Option<Timestamp> {
        self.created_timestamp.and_then(|at| Timestamp::from_millisecond(at).ok())
    }

    /// Whether it is called like the account of a client. People may be, too, where they choose their logins.
    pub fn has_name_of_service(&self) -> bool {
        self.username.starts_with(SERVICE_ACCOUNT)
    }

    /// What there is of these: the fields that every user has by their names in the Admin API, else an attribute's value; of several the first in the alphabet, as they are in no order.
    pub fn told(&self, wanted: &BTreeSet<String>) -> BTreeMap<String, String> {
        let value = |name: &str| match name {
            "id" => Some(&self.id),
            "username" => Some(&self.username),
            "email" => Some(&self.email),
            "firstName" => Some(&self.first_name),
            "lastName" => Some(&self.last_name),
            other => self.attributes.get(other).and_then(|values| values.iter().min()),
        };
        wanted.iter().filter_map(|name| Some((name.clone(), value(name)?.clone()))).collect()
    }

    /// Whose it is; nobody's in a realm where people can write marks themselves.
    pub fn owner(&self, marks: bool) -> Option<Owner> {
        let told = self.attributes.get(OWNER).filter(|_| marks)?;
        told.first().and_then(|mark| Owner::read(mark))
    }

    /// The account in our terms, but for what Keycloak tells elsewhere.
    pub fn account(self, marks: bool) -> Account {
        let owner = self.owner(marks);
        let state = if self.is_enabled() { AccountState::Enabled } else { AccountState::Disabled };
        let profile = Profile {
            display_name: display_name(&self.first_name, &self.last_name),
            username: self.username,
            email: self.email,
            ssh_keys: BTreeSet::new(),
        };
        Account { id: self.id, profile, state, owner, ..Account::default() }
    }
}

/// A profile as a read tells it: Keycloak writes logins and addresses in small letters, and names in two parts.
pub(super) fn keeps(profile: Profile) -> Profile {
    let (first, last) = names(&profile);
    Profile {
        username: profile.username.to_lowercase(),
        email: profile.email.to_lowercase(),
        display_name: display_name(&first, &last),
        ssh_keys: BTreeSet::new(),
    }
}

/// First and last name: the last word is the last name.
pub(super) fn names(profile: &Profile) -> (String, String) {
    let words: Vec<&str> = profile.display_name.split_whitespace().collect();
    match words.split_last() {
        None => (profile.username.to_lowercase(), NO_LAST_NAME.to_owned()),
        Some((only, [])) => ((*only).to_owned(), NO_LAST_NAME.to_owned()),
        Some((last, first)) => (first.join(" "), (*last).to_owned()),
    }
}

fn display_name(first: &str, last: &str) -> String {
    let last = if last == NO_LAST_NAME { "" } else { last };
    let words: Vec<&str> = first.split_whitespace().chain(last.split_whitespace()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(display_name: &str) -> Profile {
        Profile {
            username: "Ada".to_owned(),
            display_name: display_name.to_owned(),
            email: "Ada@Example.com".to_owned(),
            ..Profile::default()
        }
    }

    #[test]
    fn the_last_word_is_the_last_name() {
        let told = |name: &str| names(&named(name));
        assert_eq!(told("Ada King Lovelace"), ("Ada King".to_owned(), "Lovelace".to_owned()));
        assert_eq!(told("  Ada\tLovelace "), ("Ada".to_owned(), "Lovelace".to_owned()));
        assert_eq!(told("Ada"), ("Ada".to_owned(), "-".to_owned()));
        assert_eq!(told(" "), ("ada".to_owned(), "-".to_owned()));
    }

    #[test]
    fn what_is_kept_is_what_is_told_and_stays_so() {
        for (name, kept) in [("Ada  King", "Ada King"), ("Ada", "Ada"), ("", "ada"), ("Ada -", "Ada"), ("- -", "-"), ("-", "-")] {
            let once = keeps(named(name));
            assert_eq!((once.username.as_str(), once.email.as_str()), ("ada", "ada@example.com"));
            assert_eq!(once.display_name, kept, "{name:?}");
            assert_eq!(keeps(once.clone()), once, "{name:?}");
        }
    }
}
