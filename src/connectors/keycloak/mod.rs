//! Keycloak: the accounts of one realm, through its Admin REST API.
//!
//! `session` is how usher is let in, `person` what a user is in Keycloak's terms and in ours, `look` all reading, `change` all writing.

mod change;
mod look;
mod people;
mod person;
mod session;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::SecretString;
use tokio::sync::Mutex;

use crate::api::provider::Keycloak as Settings;
use crate::api::source::KeycloakRealm;
use crate::plan::account::{Account, AccountChange, AccountKey, Capability, Managed, Profile};

use super::error::ConnectorError;
use super::http::{Answer, Http};
use super::throttle::Throttle;
use super::{Applied, Connector, Secrets};

use self::session::Session;

/// The roles of the client `realm-management` that let usher keep accounts, and those that let it read people.
const MANAGES: &str = "the roles manage-users and view-clients";
const READS: &str = "the role view-users";

/// A realm of a Keycloak.
#[derive(Debug)]
pub struct Keycloak {
    http: Http,
    realm: String,
    client_id: String,
    secret: SecretString,
    /// What its service account needs, as words.
    needs: &'static str,
    /// Whoever holds this logs in; the others wait and use the same token.
    session: Mutex<Option<Arc<Session>>>,
}

impl Keycloak {
    /// A connector to a realm. It sends nothing yet.
    pub fn new(settings: &Settings, secrets: Secrets, throttle: Arc<Throttle>) -> Result<Self, ConnectorError> {
        if settings.realm == "master" {
            let message = "the realm master administers all others; keep people in a realm of their own, and name that one";
            return Err(ConnectorError::InvalidSettings { field: "keycloak.realm", message: message.to_owned() });
        }
        Ok(Self {
            http: Http::new(&settings.url, secrets.ca.as_deref(), throttle)?,
            realm: settings.realm.clone(),
            client_id: settings.client_id.clone(),
            secret: secrets.credential,
            needs: MANAGES,
            session: Mutex::default(),
        })
    }

    /// A realm that people come from, and that is only read.
    pub fn reader(settings: &KeycloakRealm, secrets: Secrets, throttle: Arc<Throttle>) -> Result<Self, ConnectorError> {
        let KeycloakRealm { url, realm, client_id, .. } = settings.clone();
        let settings = Settings { url, realm, client_id, ..Settings::default() };
        Ok(Self { needs: READS, ..Self::new(&settings, secrets, throttle)? })
    }

    /// A request to the realm's administration.
    fn admin(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let whole: Vec<&str> = ["admin", "realms", &self.realm].into_iter().chain(path.iter().copied()).collect();
        self.http.request(method, &whole)
    }
}

/// What Keycloak says of what is not there.
const ABSENT: [&str; 8] = [
    "User not found",
    "Group not found",
    "Could not find group by id",
    "Could not find role",
    "Group path does not exist",
    "Credential not found",
    "Link not found",
    "Consent nor offline token not found",
];

/// Whether Keycloak says that what was asked for is not there. A 404 of whatever stands before Keycloak is an error: it would look like people who are gone.
fn absent(answer: &Answer, operation: &str) -> Result<bool, ConnectorError> {
    if answer.status != StatusCode::NOT_FOUND {
        return Ok(false);
    }
    let words = answer.words();
    // Of sessions it is misspelt in Keycloak itself.
    if ABSENT.contains(&words.as_str()) || words.ends_with("ession not found") {
        return Ok(true);
    }
    let message =
        format!("404 that does not speak of a person or a group ({words}); look at url and realm, and at what stands before Keycloak");
    Err(ConnectorError::Garbled { operation: operation.to_owned(), message })
}

fn rejected(operation: &str, message: impl Into<String>) -> ConnectorError {
    ConnectorError::Rejected { operation: operation.to_owned(), message: message.into() }
}

#[async_trait]
impl Connector for Keycloak {
    fn keeps(&self, profile: Profile) -> Profile {
        person::keeps(profile)
    }

    async fn probe(&self) -> Result<BTreeSet<Capability>, ConnectorError> {
        self.may_manage().await?;
        let mut can = BTreeSet::from([
            Capability::Create,
            Capability::Disable,
            Capability::Delete,
            Capability::Groups,
            Capability::RevokeTokens,
            Capability::RevokePasskeys,
            Capability::Password,
            Capability::List,
        ]);
        if self.administration().await?.marks {
            can.insert(Capability::Mark);
        }
        Ok(can)
    }

    async fn find(&self, key: &AccountKey, _: &Managed) -> Result<Option<Account>, ConnectorError> {
        self.look_for(key).await
    }

    async fn list(&self, managed: &Managed) -> Result<Vec<Account>, ConnectorError> {
        self.look_at_all(managed).await
    }

    async fn apply(&self, change: &AccountChange) -> Result<Applied, ConnectorError> {
        match change {
            AccountChange::Create { profile, owner } => self.create(profile, owner).await,
            AccountChange::IssuePassword { id } => self.issue_password(id).await,
            other => self.change(other).await.map(|()| Applied::default()),
        }
    }
}
