//! How usher is let in: by a token of its client's service account, which lives a minute or a few.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::person::{OWNER, REVOKED, Role, User};
use super::{Answer, ConnectorError, Keycloak};

/// The client of every realm whose roles let people administer it.
const MANAGEMENT: &str = "realm-management";
/// A token is not used in the last part of its life: a request takes a while, too.
const MOST_MARGIN: Duration = Duration::from_secs(10);

/// What lets usher in for a while.
#[derive(Debug)]
pub(super) struct Session {
    token: SecretString,
    until: Instant,
    /// What only who administers the realm needs to know: it is learned anew with every token.
    administration: OnceCell<Administration>,
}

/// What usher must know to keep accounts in a realm.
#[derive(Clone, Debug)]
pub(super) struct Administration {
    /// The id of the client that [`MANAGEMENT`] is.
    pub management: String,
    /// Whether the realm keeps what usher writes to an account where its owner cannot change it.
    pub marks: bool,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize)]
struct Client {
    id: String,
}

/// What a realm lets be kept of a user.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserProfile {
    #[serde(default)]
    attributes: Vec<Declared>,
    #[serde(default)]
    unmanaged_attribute_policy: Option<String>,
}

#[derive(Deserialize)]
struct Declared {
    name: String,
    #[serde(default)]
    permissions: Permissions,
}

#[derive(Default, Deserialize)]
struct Permissions {
    #[serde(default)]
    view: Vec<String>,
    #[serde(default)]
    edit: Vec<String>,
}

impl UserProfile {
    /// Whether an attribute is kept, and only administrators can change it: what a person writes herself says nothing.
    fn keeps(&self, name: &str) -> bool {
        match self.attributes.iter().find(|declared| declared.name == name) {
            Some(declared) => declared.permissions.edit == ["admin"] && declared.permissions.view.iter().any(|who| who == "admin"),
            None => self.unmanaged_attribute_policy.as_deref() == Some("ADMIN_EDIT"),
        }
    }
}

impl Keycloak {
    /// A session that lasts for another request; one that is about to end is replaced.
    pub(super) async fn session(&self) -> Result<Arc<Session>, ConnectorError> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref().filter(|session| Instant::now() < session.until) {
            return Ok(session.clone());
        }
        let session = Arc::new(self.log_in().await?);
        *held = Some(session.clone());
        drop(held);
        Ok(session)
    }

    /// Another session than this one, which Keycloak refused.
    async fn renewed(&self, refused: &Arc<Session>) -> Result<Arc<Session>, ConnectorError> {
        let mut held = self.session.lock().await;
        if held.as_ref().is_some_and(|session| Arc::ptr_eq(session, refused)) {
            *held = None;
        }
        drop(held);
        self.session().await
    }

    /// Sends a request to the realm's administration.
    pub(super) async fn ask(&self, operation: &str, request: RequestBuilder) -> Result<Answer, ConnectorError> {
        let session = self.session().await?;
        let again = request.try_clone();
        match (self.authorized(operation, request, &session).await, again) {
            // A key was exchanged, the client was switched off and on: a new token may do.
            (Err(ConnectorError::Unauthorized { status, .. }), Some(again)) if status.starts_with("401") => {
                let session = self.renewed(&session).await?;
                self.authorized(operation, again, &session).await
            }
            (answer, _) => answer,
        }
    }

    /// The same for a request with a secret in it: nothing that is said to it is told, as it may repeat the secret.
    pub(super) async fn tell_secret(&self, operation: &str, request: RequestBuilder) -> Result<Answer, ConnectorError> {
        self.ask(operation, request).await.map_err(|error| error.without_words("Keycloak failed"))
    }

    async fn authorized(&self, operation: &str, request: RequestBuilder, session: &Session) -> Result<Answer, ConnectorError> {
        let answer = self.http.send(operation, request.bearer_auth(session.token.expose_secret())).await;
        answer.map_err(|error| self.with_remedy(error))
    }

    /// Keycloak does not say which role is missing.
    fn with_remedy(&self, error: ConnectorError) -> ConnectorError {
        match error {
            ConnectorError::Unauthorized { operation, status } if status.starts_with("403") => {
                ConnectorError::Unauthorized { operation, status: format!("{status}; {}", self.needed()) }
            }
            other => other,
        }
    }

    fn needed(&self) -> String {
        format!("the service account of client {} in realm {} needs {} of the client {MANAGEMENT}", self.client_id, self.realm, self.needs)
    }

    async fn log_in(&self) -> Result<Session, ConnectorError> {
        let asked = Instant::now();
        let token = self.token().await?;
        let life = Duration::from_secs(token.expires_in);
        Ok(Session {
            token: SecretString::from(token.access_token),
            until: asked + life.saturating_sub(MOST_MARGIN.min(life / 4)),
            administration: OnceCell::new(),
        })
    }

    /// What must be known to keep accounts, as the present session has it.
    pub(super) async fn administration(&self) -> Result<Administration, ConnectorError> {
        let session = self.session().await?;
        session.administration.get_or_try_init(|| self.learn()).await.cloned()
    }

    async fn learn(&self) -> Result<Administration, ConnectorError> {
        let operation = format!("look for the client {MANAGEMENT}");
        let request = self.admin(Method::GET, &["clients"]).query(&[("clientId", MANAGEMENT)]);
        let clients: Vec<Client> = self.ask(&operation, request).await?.success()?.json()?;
        // Who may only search for clients gets an empty list.
        let Some(client) = clients.into_iter().next() else {
            return Err(ConnectorError::Unauthorized { operation, status: self.needed() });
        };
        let request = self.admin(Method::GET, &["users", "profile"]);
        let profile: UserProfile = self.ask("read the realm's user profile", request).await?.success()?.json()?;
        Ok(Administration { management: client.id, marks: [OWNER, REVOKED].into_iter().all(|name| profile.keeps(name)) })
    }

    async fn token(&self) -> Result<Token, ConnectorError> {
        let operation = format!("log in to realm {} as client {}", self.realm, self.client_id);
        let form =
            [("grant_type", "client_credentials"), ("client_id", self.client_id.as_str()), ("client_secret", self.secret.expose_secret())];
        let path = ["realms", self.realm.as_str(), "protocol", "openid-connect", "token"];
        let answer = self.http.send(&operation, self.http.request(Method::POST, &path).form(&form)).await;
        let answer = answer.map_err(|error| error.without_words("Keycloak failed"))?;
        match answer.status {
            status if status.is_success() => answer.json(),
            StatusCode::NOT_FOUND if answer.words() == "Realm does not exist" => Err(ConnectorError::InvalidSettings {
                field: "keycloak.realm",
                message: format!("there is no realm {} there; write its name as Keycloak spells it", self.realm),
            }),
            StatusCode::BAD_REQUEST => {
                // What was sent may be in it.
                let words = Some(answer.words()).filter(|words| !words.contains(self.secret.expose_secret())).unwrap_or_default();
                Err(ConnectorError::Unauthorized { operation, status: format!("{}: {words}", answer.status) })
            }
            status => {
                let message = format!("no token but {status}; look at url, and at what stands before Keycloak");
                Err(ConnectorError::Garbled { operation, message })
            }
        }
    }

    /// Asks whether usher's own service account has the role without which it can only look.
    pub(super) async fn may_manage(&self) -> Result<(), ConnectorError> {
        let operation = "look for usher's own roles";
        let own = format!("service-account-{}", self.client_id.to_lowercase());
        let request = self.admin(Method::GET, &["users"]).query(&[("username", own.as_str()), ("exact", "true")]);
        let found: Vec<User> = self.ask(operation, request).await?.success()?.json()?;
        let roles = match found.first() {
            Some(user) => self.management_roles(&["users", &user.id]).await?,
            None => Vec::new(),
        };
        if roles.iter().any(|role| role.name == "manage-users") {
            return Ok(());
        }
        Err(ConnectorError::Unauthorized { operation: operation.to_owned(), status: self.needed() })
    }

    /// The roles by which a user or a group, given as its path, administers the realm, those in other roles included. For a user those of groups are, too; for a
    /// group those of the groups around it are not.
    pub(super) async fn management_roles(&self, whose: &[&str]) -> Result<Vec<Role>, ConnectorError> {
        let administration = self.administration().await?;
        let operation = format!("look whether {} administers the realm", whose.join("/"));
        let path = [whose, &["role-mappings", "clients", &administration.management, "composite"]].concat();
        let answer = self.ask(&operation, self.admin(Method::GET, &path)).await?;
        if super::absent(&answer, &operation)? { Ok(Vec::new()) } else { answer.success()?.json() }
    }
}
