//! What a Source reads, of whichever sort it is.

use super::environment::SecretKey;
use super::source::{KeycloakRealm, LdapTree, SourceSpec};

/// What a Source reads, with its settings.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A realm of Keycloak.
    Keycloak(&'a KeycloakRealm),
    /// An LDAP directory.
    Ldap(&'a LdapTree),
}

impl SourceSpec {
    /// What it reads; nothing if the spec says nothing, which the schema refuses.
    pub fn origin(&self) -> Option<Origin<'_>> {
        self.keycloak.as_ref().map(Origin::Keycloak).or(self.ldap.as_ref().map(Origin::Ldap))
    }
}

impl<'a> Origin<'a> {
    /// The name of its sort, as the field of the spec.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Keycloak(_) => "keycloak",
            Self::Ldap(_) => "ldap",
        }
    }

    /// Where usher's own credential for it is kept.
    pub const fn credentials(&self) -> &'a SecretKey {
        match self {
            Self::Keycloak(it) => &it.credentials_secret,
            Self::Ldap(it) => &it.credentials_secret,
        }
    }

    /// Where the CA of its certificate is kept, if it is not a public one.
    pub const fn ca(&self) -> Option<&'a SecretKey> {
        match self {
            Self::Keycloak(it) => it.ca_secret.as_ref(),
            Self::Ldap(it) => it.ca_secret.as_ref(),
        }
    }
}
