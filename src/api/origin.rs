//! What a Source reads, of whichever sort it is.

use super::environment::SecretKey;
use super::source::{KeycloakRealm, LdapTree, ScimPush, SourceSpec};

/// What a Source reads, with its settings.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A realm of Keycloak.
    Keycloak(&'a KeycloakRealm),
    /// An LDAP directory.
    Ldap(&'a LdapTree),
    /// An identity provider that pushes.
    Scim(&'a ScimPush),
}

impl SourceSpec {
    /// What it reads; nothing if the spec says nothing, which the schema refuses.
    pub fn origin(&self) -> Option<Origin<'_>> {
        let pulled = self.keycloak.as_ref().map(Origin::Keycloak).or(self.ldap.as_ref().map(Origin::Ldap));
        pulled.or(self.scim.as_ref().map(Origin::Scim))
    }
}

impl<'a> Origin<'a> {
    /// The name of its sort, as the field of the spec.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Keycloak(_) => "keycloak",
            Self::Ldap(_) => "ldap",
            Self::Scim(_) => "scim",
        }
    }

    /// Whether others say what there is, as soon as it is so, and it is not read.
    pub const fn is_pushed(&self) -> bool {
        matches!(self, Self::Scim(_))
    }

    /// Where usher's own credential for it is kept, or the one by which its sender is known.
    pub const fn credentials(&self) -> &'a SecretKey {
        match self {
            Self::Keycloak(it) => &it.credentials_secret,
            Self::Ldap(it) => &it.credentials_secret,
            Self::Scim(it) => &it.token_secret,
        }
    }

    /// Where the CA of its certificate is kept, if it is not a public one.
    pub const fn ca(&self) -> Option<&'a SecretKey> {
        match self {
            Self::Keycloak(it) => it.ca_secret.as_ref(),
            Self::Ldap(it) => it.ca_secret.as_ref(),
            Self::Scim(_) => None,
        }
    }
}
