//! Outside systems with accounts: one contract, a connector for each sort. A connector translates; it decides nothing and keeps no state.
//!
//! [`connect`] is the entry point. What should happen to an account is decided by [`crate::plan::account`].

pub mod bounded;
pub mod directory;
pub mod error;
pub mod gitea;
pub mod http;
pub mod keycloak;
pub mod ldap;
pub mod memory;
pub mod paging;
pub mod password;
pub mod postgresql;
pub mod scim;
pub mod throttle;
pub mod tls;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::api::provider::System;
use crate::plan::account::{Account, AccountChange, AccountKey, Capability, Managed, Profile};

use self::error::ConnectorError;
use self::throttle::Throttle;

/// What every outside system is asked for. Each call is bounded in time, sends every request through the [`Throttle`], and can be repeated without harm.
#[async_trait]
pub trait Connector: Send + Sync + Debug {
    /// A profile as the system will tell it once it has it: in the letters that it keeps, without what it does not keep.
    fn keeps(&self, profile: Profile) -> Profile;

    /// Asks whether the system answers and lets usher in, and what it can do.
    async fn probe(&self) -> Result<BTreeSet<Capability>, ConnectorError>;

    /// Looks for an account: by id, else by login, else by e-mail address if that is given. Its groups are told at least as far as they are managed.
    async fn find(&self, key: &AccountKey, managed: &Managed) -> Result<Option<Account>, ConnectorError>;

    /// All accounts of the system, whole or not at all; their groups at least as far as they are managed. Its cost is bounded by pages, not by people.
    async fn list(&self, managed: &Managed) -> Result<Vec<Account>, ConnectorError>;

    /// Makes one change. What is so already, or is gone already, is no error.
    async fn apply(&self, change: &AccountChange) -> Result<Applied, ConnectorError>;

    /// When somebody first pushed; nothing where the system is no forge or she did not yet.
    async fn first_push(&self, _account: &Account) -> Result<Option<Timestamp>, ConnectorError> {
        Ok(None)
    }
}

/// What came of a change.
#[derive(Debug, Default)]
pub struct Applied {
    /// The id of an account that was made.
    pub id: Option<String>,
    /// The password that was issued; nothing prints it.
    pub password: Option<SecretString>,
}

/// What usher needs to be let into a system.
#[derive(Debug)]
pub struct Secrets {
    /// The token, password or client secret; nothing prints it.
    pub credential: SecretString,
    /// The certificate of its CA, as PEM, if that is not a public one.
    pub ca: Option<String>,
}

/// The connector of a system. It sends nothing yet.
pub fn connect(system: System<'_>, secrets: Secrets, throttle: Arc<Throttle>) -> Result<Arc<dyn Connector>, ConnectorError> {
    match system {
        System::Gitea(settings) => Ok(Arc::new(gitea::Gitea::new(settings, secrets, throttle)?)),
        System::Keycloak(settings) => Ok(Arc::new(keycloak::Keycloak::new(settings, secrets, throttle)?)),
        System::Ldap(settings) => Ok(Arc::new(ldap::Directory::new(settings, secrets, throttle)?)),
        System::Postgresql(settings) => Ok(Arc::new(postgresql::Postgresql::new(settings, &secrets, throttle)?)),
        System::Scim(settings) => Ok(Arc::new(scim::Scim::new(settings, secrets, throttle)?)),
    }
}
