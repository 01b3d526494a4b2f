//! A part of a directory as a source of people: entries that a filter lets pass, and who is in the groups that are somebody's team.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ldap3::{Scope, parse_filter};

use crate::api::source::LdapTree;
use crate::connectors::directory::Directory;
use crate::connectors::error::ConnectorError;
use crate::connectors::throttle::Throttle;
use crate::connectors::{Secrets, tls};
use crate::plan::source::mapping::Mapping;
use crate::plan::source::{Found, Person};

use super::groups::{Groups, Member, Members};
use super::person::{attribute, is_locked_by_policy};
use super::wire::{Entry, Line, Search, Wire};
use super::{PLACEHOLDER, dn};

/// By what directories say that nobody may log in with an entry: 389 Directory Server, eDirectory, Active Directory.
const LOCKED: [&str; 2] = ["nsAccountLock", "loginDisabled"];
const ACCOUNT_CONTROL: &str = "userAccountControl";
/// When an entry was made (RFC 4512): only told where it is asked for.
const MADE: &str = "createTimestamp";
/// The bit ACCOUNTDISABLE of [`ACCOUNT_CONTROL`] (<https://learn.microsoft.com/en-us/windows/win32/adschema/a-useraccountcontrol>).
const DISABLED: i64 = 2;

/// The part of a directory that is read.
#[derive(Debug)]
pub struct Tree {
    wire: Wire,
    base: String,
    filter: String,
    groups: Option<Groups>,
}

impl Tree {
    /// A reader by its settings. It sends nothing yet.
    pub fn new(settings: &LdapTree, secrets: Secrets, throttle: Arc<Throttle>) -> Result<Self, ConnectorError> {
        let names = [
            ("ldap.bindDN", Some(&settings.bind_dn)),
            ("ldap.baseDN", Some(&settings.base_dn)),
            ("ldap.groupBaseDN", settings.group_base_dn.as_ref()),
        ];
        for (field, name) in names {
            let Some(name) = name.filter(|name| dn::canonical(name).is_none()) else { continue };
            let message = format!("{name} is no distinguished name; write it as in ou=people,dc=example,dc=com");
            return Err(ConnectorError::InvalidSettings { field, message });
        }
        if !settings.filter.starts_with('(') || parse_filter(&settings.filter).is_err() {
            let message =
                format!("{} is no filter; write it as in (objectClass=inetOrgPerson), in parentheses (RFC 4515)", settings.filter);
            return Err(ConnectorError::InvalidSettings { field: "ldap.filter", message });
        }
        let tls = tls::config(secrets.ca.as_deref())?;
        let groups = settings.group_base_dn.clone().map(|base| Groups { base, placeholder: PLACEHOLDER.to_owned() });
        Ok(Self {
            wire: Wire::new(&settings.url, tls, &settings.bind_dn, secrets.credential, throttle),
            base: settings.base_dn.clone(),
            filter: settings.filter.clone(),
            groups,
        })
    }

    async fn entries(&self, line: &Line<'_>, attributes: &[&str]) -> Result<Vec<Entry>, ConnectorError> {
        let operation = "list people";
        let search = Search { base: &self.base, scope: Scope::Subtree, filter: &self.filter, attributes };
        line.all(operation, &search).await.map_err(|error| below("ldap.baseDN", &self.base, error))
    }

    async fn members(&self, line: &Line<'_>) -> Result<(Members, BTreeMap<String, String>), ConnectorError> {
        let Some(groups) = &self.groups else {
            let message =
                "spec.teams names groups, so write below which entry groups are, for example ou=groups,dc=example,dc=com".to_owned();
            return Err(ConnectorError::InvalidSettings { field: "ldap.groupBaseDN", message });
        };
        groups.each(line, "list groups").await.map_err(|error| below("ldap.groupBaseDN", &groups.base, error))
    }
}

/// What is refused of a search is about where it looks.
fn below(field: &'static str, base: &str, error: ConnectorError) -> ConnectorError {
    match error {
        ConnectorError::Rejected { message, .. } => ConnectorError::InvalidSettings { field, message: format!("{base}: {message}") },
        other => other,
    }
}

/// Whether the directory lets nobody log in with an entry.
fn is_disabled(entry: &Entry) -> bool {
    let control = entry.text(ACCOUNT_CONTROL).and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
    is_locked_by_policy(entry) || LOCKED.iter().any(|attribute| entry.has(attribute, "TRUE")) || control & DISABLED != 0
}

/// The value of an attribute; of several the first in the alphabet, as a directory has them in no order. What is no text is told in hex.
fn value(entry: &Entry, attribute: &str) -> Option<String> {
    let value = entry.values(attribute).iter().min()?;
    Some(std::str::from_utf8(value).map_or_else(|_| HEXLOWER.encode(value), str::to_owned))
}

/// A moment as directories write it, in UTC: 20261123080000Z, perhaps with a fraction of a second.
fn moment(text: &str) -> Option<Timestamp> {
    let digits = text.get(..14).filter(|_| text.ends_with('Z'))?;
    let civil = DateTime::strptime("%Y%m%d%H%M%S", digits).ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

#[async_trait]
impl Directory for Tree {
    /// A list ends where the directory says that it does; a limit, a referral or a cut is an error.
    async fn read(&self, mapping: &Mapping) -> Result<Found, ConnectorError> {
        let wanted = mapping.attributes();
        let always = [attribute::USERNAME, attribute::VERSION, attribute::LOCKED, ACCOUNT_CONTROL, MADE].into_iter().chain(LOCKED);
        let attributes: Vec<&str> = wanted.iter().map(String::as_str).chain(always).collect();
        // A directory reads one list at a time on each connection.
        let line = self.wire.open("list people").await?;
        let entries = self.entries(&line, &attributes).await?;
        let (members, mut groups) = if mapping.teams.is_empty() { Default::default() } else { self.members(&line).await? };
        groups.retain(|_, name| mapping.teams.names(name));
        let mut versions = members.versions();
        versions.extend(entries.iter().filter_map(|entry| Some((entry.dn.clone(), entry.text(attribute::VERSION)?.to_owned()))));
        let person = |entry: &Entry| {
            let username = entry.text(attribute::USERNAME).unwrap_or_default();
            let of = members.of(Member { dn: &entry.dn, username });
            Person {
                id: entry.dn.clone(),
                attributes: wanted.iter().filter_map(|name| Some((name.clone(), value(entry, name)?))).collect::<BTreeMap<_, _>>(),
                groups: of.into_iter().filter(|group| groups.contains_key(group)).collect(),
                active: Some(!is_disabled(entry)),
                gone: false,
                recorded_at: entry.text(MADE).and_then(moment),
            }
        };
        Ok(Found { people: entries.iter().map(person).collect(), groups, versions, ..Found::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_directories_write_them() {
        let read = |text| moment(text).map(|at| at.to_string());
        assert_eq!(read("20261123080000Z").as_deref(), Some("2026-11-23T08:00:00Z"));
        assert_eq!(read("20261123080000.5Z").as_deref(), Some("2026-11-23T08:00:00Z"));
        for text in ["", "2026", "20261323080000Z", "20261123080000", "yesterday at noonZ"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
