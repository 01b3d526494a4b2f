//! Groups are teams, written organization/team. Who is in no team of an organization any more is out of it.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, StatusCode};

use crate::plan::account::Managed;

use super::super::error::ConnectorError;
use super::api::{Api, Named, Team, User, Voice, rejected};

/// How Gitea says that an organization would be nobody's.
const LAST_OWNER: &str = "last member of owner team";
/// What teams of owners may do; no other team is told so.
pub const OWNER: &str = "owner";

/// A group as a Role writes it, if it is to be told: letters' case does not matter to Gitea. Who owns an organization is the business of that organization, as
/// long as no Role names its owners.
fn told(managed: &Managed, organization: &str, team: &Team) -> Option<String> {
    let group = format!("{organization}/{}", team.name);
    match managed {
        Managed::All => (team.permission != OWNER).then_some(group),
        Managed::Only(groups) => groups.iter().find(|it| it.eq_ignore_ascii_case(&group)).cloned(),
    }
}

impl Api {
    /// All teams that somebody is in.
    pub async fn teams_of(&self, operation: &str, user: &User) -> Result<Vec<Team>, ConnectorError> {
        self.all(operation, Voice::Of(&user.login), &["user", "teams"], &[], |team: &Team| team.id).await
    }

    /// The groups of somebody.
    pub async fn groups_of(&self, operation: &str, user: &User, managed: &Managed) -> Result<BTreeSet<String>, ConnectorError> {
        if matches!(managed, Managed::Only(groups) if groups.is_empty()) {
            return Ok(BTreeSet::new());
        }
        let teams = self.teams_of(operation, user).await?;
        Ok(teams.iter().filter_map(|team| told(managed, &team.organization.as_ref()?.name, team)).collect())
    }

    /// The groups of everybody who is in any, by their ids.
    pub async fn memberships(&self, operation: &str, managed: &Managed) -> Result<BTreeMap<i64, BTreeSet<String>>, ConnectorError> {
        let organizations: BTreeSet<String> = match managed {
            Managed::Only(groups) => groups.iter().filter_map(|group| Some(group.split_once('/')?.0.to_lowercase())).collect(),
            Managed::All => {
                let all = self.all(operation, Voice::Own, &["admin", "orgs"], &[], |it: &Named| it.id).await?;
                all.into_iter().map(|it| it.name).collect()
            }
        };
        let mut memberships: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
        for organization in organizations {
            let teams: Vec<Team> = self.all(operation, Voice::Own, &["orgs", &organization, "teams"], &[], |it: &Team| it.id).await?;
            for team in teams {
                let Some(group) = told(managed, &organization, &team) else { continue };
                let id = team.id.to_string();
                let members: Vec<User> = self.all(operation, Voice::Own, &["teams", &id, "members"], &[], |it: &User| it.id).await?;
                for member in members {
                    memberships.entry(member.id).or_default().insert(group.clone());
                }
            }
        }
        Ok(memberships)
    }

    /// The id of a team.
    async fn team(&self, operation: &str, group: &str) -> Result<Option<String>, ConnectorError> {
        let Some((organization, name)) = group.split_once('/') else { return Ok(None) };
        let path = ["orgs", organization, "teams", "search"];
        let found: Vec<Team> = self.all(operation, Voice::Own, &path, &[("q", name)], |it: &Team| it.id).await?;
        Ok(found.iter().find(|team| team.name.eq_ignore_ascii_case(name)).map(|team| team.id.to_string()))
    }

    pub async fn join(&self, operation: &str, user: &User, group: &str) -> Result<(), ConnectorError> {
        let missing = || {
            let message =
                if group.contains('/') { "make it, or mend the Role that names it" } else { "groups are written organization/team" };
            rejected(operation, format!("there is no group {group}; {message}"))
        };
        let id = self.team(operation, group).await?.ok_or_else(missing)?;
        let request = self.request(Method::PUT, Voice::Own, &["teams", &id, "members", &user.login]);
        self.read(operation, request).await?.map(drop).ok_or_else(missing)
    }

    pub async fn leave(&self, operation: &str, user: &User, group: &str) -> Result<(), ConnectorError> {
        let Some(id) = self.team(operation, group).await? else { return Ok(()) };
        if self.part(operation, &["teams", &id, "members", &user.login]).await? {
            return Ok(());
        }
        Err(rejected(
            operation,
            format!("it is the last one in {group}, and Gitea keeps the last owner; make somebody else an owner first"),
        ))
    }

    /// Takes a member away; false if that is the last owner, which Gitea says by a failure of its own.
    pub async fn part(&self, operation: &str, path: &[&str]) -> Result<bool, ConnectorError> {
        let answer = self.exchange(operation, self.request(Method::DELETE, Voice::Own, path)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(true);
        }
        if !answer.status.is_success() && answer.words().contains(LAST_OWNER) {
            return Ok(false);
        }
        answer.about_the_system()?.success().map(|_| true)
    }
}
