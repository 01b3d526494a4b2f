//! What somebody owns, and what becomes of it when her account is deleted. Gitea deletes no account that owns something; `purge` would take everything along,
//! organizations of others' work included, so usher never asks for that.

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::plan::account::Owned;

use super::super::error::ConnectorError;
use super::super::http::Answer;

use super::api::{Api, Named, Team, User, Voice, rejected};
use super::groups::OWNER;

/// So many names are told.
const TOLD: usize = 5;

#[derive(Clone, Debug, Deserialize)]
struct Package {
    id: i64,
    name: String,
}

/// What somebody owns.
#[derive(Debug, Default)]
struct Estate {
    repositories: Vec<Named>,
    /// The teams of owners of which she is the only member.
    owners: Vec<Team>,
    packages: Vec<Package>,
}

impl Estate {
    fn is_empty(&self) -> bool {
        self.repositories.is_empty() && self.owners.is_empty() && self.packages.is_empty()
    }

    /// A count and the first of them.
    fn told(&self) -> String {
        let repositories: Vec<&str> = self.repositories.iter().map(|it| it.name.as_str()).collect();
        let organizations: Vec<&str> = self.owners.iter().filter_map(|it| Some(it.organization.as_ref()?.name.as_str())).collect();
        let packages: Vec<&str> = self.packages.iter().map(|it| it.name.as_str()).collect();
        let sorts = [
            (repositories, "repository", "repositories", ""),
            (organizations, "organization", "organizations", " (as the last owner)"),
            (packages, "package", "packages", " (which cannot be moved: delete it, or move it by hand)"),
        ];
        let parts = sorts.iter().filter(|(names, ..)| !names.is_empty()).map(|(names, one, many, hint)| {
            let word = if names.len() == 1 { one } else { many };
            let first: Vec<&str> = names.iter().take(TOLD).copied().collect();
            let rest = if names.len() > TOLD { " …" } else { "" };
            format!("{} {word} {}{rest}{hint}", names.len(), first.join(", "))
        });
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// Who gets it.
struct Heir {
    login: String,
    person: bool,
    archive: bool,
}

impl Api {
    /// Deletes an account once it owns nothing any more.
    pub async fn remove(&self, operation: &str, user: &User, owned: &Owned) -> Result<(), ConnectorError> {
        let estate = self.estate(operation, user).await?;
        if !estate.is_empty() {
            let heir = self.heir(operation, user, owned).await?;
            self.hand_over(operation, user, estate, heir).await?;
        }
        let organizations: Vec<Named> = self.all(operation, Voice::Own, &["users", &user.login, "orgs"], &[], |it: &Named| it.id).await?;
        for organization in organizations {
            if !self.part(operation, &["orgs", &organization.name, "members", &user.login]).await? {
                return Err(owns(operation, format!("1 organization {} (as the last owner)", organization.name)));
            }
        }
        let answer = self.send(operation, self.request(Method::DELETE, Voice::Own, &["admin", "users", &user.login])).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(()),
            // Something came to her meanwhile.
            StatusCode::UNPROCESSABLE_ENTITY if answer.words().contains("user still has") => Err(owns(operation, answer.words())),
            _ => answer.success().map(drop),
        }
    }

    async fn estate(&self, operation: &str, user: &User) -> Result<Estate, ConnectorError> {
        let path = ["users", &user.login, "repos"];
        let repositories = self.all(operation, Voice::Own, &path, &[], |it: &Named| it.id).await?;
        let packages = self.all(operation, Voice::Own, &["packages", &user.login], &[], |it: &Package| it.id).await?;
        let mut owners = Vec::new();
        for team in self.teams_of(operation, user).await?.into_iter().filter(|team| team.permission == OWNER) {
            let id = team.id.to_string();
            let members: Vec<User> = self.all(operation, Voice::Own, &["teams", &id, "members"], &[], |it: &User| it.id).await?;
            if members.iter().all(|member| member.id == user.id) {
                owners.push(team);
            }
        }
        Ok(Estate { repositories, owners, packages })
    }

    async fn heir(&self, operation: &str, user: &User, owned: &Owned) -> Result<Option<Heir>, ConnectorError> {
        let (login, archive) = match owned {
            Owned::Keep => return Ok(None),
            Owned::Archive => (self.myself(operation).await?.login, true),
            Owned::Transfer(to) => (to.clone(), false),
        };
        let Some(answer) = self.read(operation, self.request(Method::GET, Voice::Own, &["users", &login])).await? else {
            return Err(rejected(
                operation,
                format!("there is no account or organization {login} to transfer to; mend onDeparture.transferTo"),
            ));
        };
        let heir: User = answer.json()?;
        if heir.id == user.id {
            return Err(rejected(operation, format!("{login} is the account itself; mend onDeparture.transferTo")));
        }
        // An organization has the form of an account, and is none.
        let person = self.by_id(operation, &heir.id.to_string()).await?.is_some();
        Ok(Some(Heir { login: heir.login, person, archive }))
    }

    async fn hand_over(&self, operation: &str, user: &User, estate: Estate, heir: Option<Heir>) -> Result<(), ConnectorError> {
        let Some(heir) = heir else { return Err(owns(operation, estate.told())) };
        // An organization cannot own another one.
        for team in estate.owners.iter().filter(|_| heir.person) {
            let request = self.request(Method::PUT, Voice::Own, &["teams", &team.id.to_string(), "members", &heir.login]);
            self.send(operation, request).await?.success()?;
        }
        for repository in &estate.repositories {
            self.transfer(operation, user, &repository.name, &heir).await?;
        }
        let owners = if heir.person { Vec::new() } else { estate.owners };
        let left = Estate { owners, packages: estate.packages, repositories: Vec::new() };
        if left.is_empty() { Ok(()) } else { Err(owns(operation, left.told())) }
    }

    /// By an administrator it happens at once, without a word of the heir's.
    async fn transfer(&self, operation: &str, user: &User, name: &str, heir: &Heir) -> Result<(), ConnectorError> {
        if heir.archive {
            self.edit_repository(operation, user, name, &json!({ "archived": true })).await?;
        }
        let answer = self.transfer_once(operation, user, name, heir).await?;
        if answer.status != StatusCode::UNPROCESSABLE_ENTITY || !heir.archive {
            return moved(operation, name, heir, answer);
        }
        // Several leavers have a repository of the same name.
        let unique = format!("{}-{name}", user.login);
        self.edit_repository(operation, user, name, &json!({ "name": unique })).await?;
        moved(operation, &unique, heir, self.transfer_once(operation, user, &unique, heir).await?)
    }

    async fn transfer_once(&self, operation: &str, user: &User, name: &str, heir: &Heir) -> Result<Answer, ConnectorError> {
        let request = self.request(Method::POST, Voice::Own, &["repos", &user.login, name, "transfer"]);
        self.exchange(operation, request.json(&json!({ "new_owner": heir.login }))).await
    }

    async fn edit_repository(&self, operation: &str, user: &User, name: &str, edit: &serde_json::Value) -> Result<(), ConnectorError> {
        let request = self.request(Method::PATCH, Voice::Own, &["repos", &user.login, name]);
        let answer = self.send(operation, request.json(edit)).await?;
        // A mirror takes no pushes anyway, and cannot be archived.
        if answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.words().contains("mirror") {
            return Ok(());
        }
        answer.success().map(drop)
    }
}

/// What came of a transfer: 403 and 422 are about the repository or the heir, not about usher.
fn moved(operation: &str, name: &str, heir: &Heir, answer: Answer) -> Result<(), ConnectorError> {
    match answer.status {
        StatusCode::NOT_FOUND => Ok(()),
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::FORBIDDEN => {
            let message = format!("repository {name} cannot go to {}: {}; move or rename it by hand", heir.login, answer.words());
            Err(rejected(operation, message))
        }
        _ => answer.about_the_system()?.success().map(drop),
    }
}

fn owns(operation: &str, objects: String) -> ConnectorError {
    ConnectorError::OwnsObjects { operation: operation.to_owned(), objects }
}
