//! Sources of people: one contract, an implementation for each sort. A read is whole or an error; it translates, and decides nothing.
//!
//! [`open`] is the entry point. What a read means is decided by [`crate::plan::source`].

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::api::source::Origin;
use crate::plan::source::Found;
use crate::plan::source::mapping::Mapping;

use super::error::ConnectorError;
use super::throttle::Throttle;
use super::{Secrets, keycloak, ldap};

/// What every source of people is asked for. Every request goes through the [`Throttle`] and is bounded in time; nothing is ever changed there.
#[async_trait]
pub trait Directory: Send + Sync + Debug {
    /// Everybody, with the attributes and the groups that a mapping needs: whole, or an error.
    async fn read(&self, mapping: &Mapping) -> Result<Found, ConnectorError>;
}

/// The reader of a source. It sends nothing yet.
pub fn open(origin: Origin<'_>, secrets: Secrets, throttle: Arc<Throttle>) -> Result<Arc<dyn Directory>, ConnectorError> {
    match origin {
        Origin::Keycloak(settings) => Ok(Arc::new(keycloak::Keycloak::reader(settings, secrets, throttle)?)),
        Origin::Ldap(settings) => Ok(Arc::new(ldap::Tree::new(settings, secrets, throttle)?)),
        Origin::Scim(_) => {
            Err(ConnectorError::InvalidSettings { field: "scim", message: "people of this Source are pushed, and not read".to_owned() })
        }
    }
}
