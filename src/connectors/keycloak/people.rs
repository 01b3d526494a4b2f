//! A realm as a source of people: all its users, and who is in the groups that are somebody's team.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::connectors::directory::Directory;
use crate::plan::source::mapping::Mapping;
use crate::plan::source::{Found, Person};

use super::person::User;
use super::{ConnectorError, Keycloak};

#[async_trait]
impl Directory for Keycloak {
    /// Users are counted before and after they are listed. Accounts of clients are in no list.
    async fn read(&self, mapping: &Mapping) -> Result<Found, ConnectorError> {
        let attributes = mapping.attributes();
        let users = self.users("list people", &["users"], true).await?;
        let person = |user: User| Person {
            active: user.enabled(),
            id: user.id.clone(),
            attributes: user.told(&attributes),
            recorded_at: user.made_at(),
            ..Person::default()
        };
        let mut people: BTreeMap<String, Person> = users.into_iter().map(|user| (user.id.clone(), person(user))).collect();
        let mut named = BTreeMap::new();
        if !mapping.teams.is_empty() {
            let groups = self.below(self.groups("list groups", &["groups"]).await?).await?;
            for group in groups {
                let path = format!("/{}", group.name());
                if !mapping.teams.names(&path) {
                    continue;
                }
                named.insert(path.clone(), path.clone());
                for id in self.members(&group).await? {
                    // Who came after everybody was listed is read the next time.
                    if let Some(person) = people.get_mut(&id) {
                        person.groups.insert(path.clone());
                    }
                }
            }
        }
        Ok(Found { people: people.into_values().collect(), groups: named, ..Found::default() })
    }
}
