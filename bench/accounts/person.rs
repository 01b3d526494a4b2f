//! Somebody for a bare client, and how usher's engine settles her: what it asks for, in its order.

use std::collections::BTreeSet;

use usher::connectors::Connector;
use usher::connectors::error::ConnectorError;
use usher::plan::account::{
    Account, AccountChange, AccountKey, Adoption, Capability, Managed, Owned, Owner, Presence, Profile, Wish, steps,
};

/// However far it is, it is done after so many rounds.
const ROUNDS: usize = 6;

/// Somebody who is to have an account.
#[derive(Clone, Debug)]
pub struct Somebody {
    /// Her login.
    pub username: String,
    /// Whose the account is: a digest of the same length for everybody.
    pub person: String,
}

impl Somebody {
    /// One of many.
    pub fn number(number: usize) -> Self {
        Self { username: format!("bare{number:05}"), person: format!("id-bare-client-{number:05}") }
    }

    /// Everything that names her becomes somebody else's.
    pub fn replaced_in(&self, text: &str, by: &Self) -> String {
        text.replace(&self.person, &by.person).replace(&self.username, &by.username)
    }

    /// The mark of her account.
    pub fn owner(&self) -> Owner {
        Owner { installation: "bench".to_owned(), person: self.person.clone(), developer: self.username.clone(), adopted: false }
    }

    fn wish(&self, group: &str) -> Wish {
        let groups = BTreeSet::from([group.to_owned()]);
        let username = self.username.clone();
        Wish {
            presence: Presence::Active,
            profile: Profile {
                display_name: format!("Person {username}"),
                email: format!("{username}@example.com"),
                username,
                ssh_keys: BTreeSet::new(),
            },
            owner: self.owner(),
            managed: Managed::Only(groups.clone()),
            groups,
            adoption: Adoption::Never,
            heir: true,
            password: true,
            delivered: None,
            owned: Owned::Keep,
            protected: BTreeSet::new(),
        }
    }
}

/// Brings about an account in a group, as the desk does it. Returns the account.
pub async fn settle(connector: &dyn Connector, can: &BTreeSet<Capability>, somebody: &Somebody, group: &str) -> Account {
    try_settle(connector, can, somebody, group).await.unwrap_or_else(|error| panic!("{}: {}", somebody.username, error.chain()))
}

async fn try_settle(
    connector: &dyn Connector,
    can: &BTreeSet<Capability>,
    somebody: &Somebody,
    group: &str,
) -> Result<Account, ConnectorError> {
    let mut wish = somebody.wish(group);
    wish.profile = connector.keeps(wish.profile);
    let key = AccountKey { username: wish.profile.username.clone(), ..AccountKey::default() };
    for _ in 0..ROUNDS {
        let found = connector.find(&key, &wish.managed).await?;
        let next = steps(found.as_ref(), &wish, can);
        assert!(next.obstacles.is_empty(), "{:?}", next.obstacles);
        if let (true, Some(account)) = (next.changes.is_empty(), found) {
            if can.contains(&Capability::Activity) {
                connector.first_push(&account).await?;
            }
            return Ok(account);
        }
        for change in &next.changes {
            connector.apply(change).await?;
            wish.password &= !matches!(change, AccountChange::IssuePassword { .. });
        }
    }
    panic!("{} is not settled after {ROUNDS} rounds", somebody.username)
}
