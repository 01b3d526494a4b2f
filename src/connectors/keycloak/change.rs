//! All writing. Keycloak has no versions: what can be changed alone is changed alone, and attributes, which only come all together, are read, merged and written
//! back with everything else, as what is left out beside them is wiped.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::connectors::password::generate;
use crate::plan::account::{AccountChange, Owner, Profile};

use super::person::{OWNER, REVOKED, User, names};
use super::{Answer, Applied, ConnectorError, Keycloak, absent, rejected};

/// A session or a credential.
#[derive(Deserialize)]
struct Thing {
    id: String,
}

/// What she allowed a client, or an offline session of that client.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consent {
    client_id: String,
}

/// What Keycloak finds wrong with a user.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Complaint {
    field: String,
    error_message: String,
    errors: Vec<Self>,
}

/// What a password policy finds wrong.
#[derive(Deserialize)]
struct Policy {
    error: String,
    error_description: String,
}

impl Complaint {
    fn text(&self) -> String {
        let texts: Vec<String> = self.errors.iter().map(Self::text).collect();
        match (texts.is_empty(), self.field.as_str(), self.error_message.as_str()) {
            (false, ..) => texts.join("; "),
            (_, "username", "error-user-attribute-read-only") => {
                "the realm does not let logins change; switch on “Edit username” in its login settings, or rename the account there"
                    .to_owned()
            }
            (_, "", message) => message.to_owned(),
            (_, field, message) => format!("{field}: {message}"),
        }
    }
}

/// A refusal in Keycloak's words, with the field that it is about.
fn refused(operation: &str, answer: &Answer) -> ConnectorError {
    let complaint: Complaint = answer.json().unwrap_or_default();
    let text: String = complaint.text().chars().take(300).collect();
    if text.is_empty() { answer.refusal() } else { rejected(operation, text) }
}

impl Keycloak {
    pub(super) async fn change(&self, change: &AccountChange) -> Result<(), ConnectorError> {
        match change {
            AccountChange::Adopt { id, owner } => self.adopt(id, owner).await,
            AccountChange::SetProfile { id, profile } => self.set_profile(id, profile).await,
            AccountChange::SetEnabled { id, enabled: true } => self.let_in(id).await,
            AccountChange::SetEnabled { id, enabled: false } => self.lock_out(id).await,
            AccountChange::Join { id, group } => self.join(id, group).await,
            AccountChange::Leave { id, group } => self.leave(id, group).await,
            AccountChange::RevokeCredentials { id } => self.revoke(id).await,
            AccountChange::Delete { id, .. } => self.remove(&format!("delete account {id}"), &["users", id]).await,
            AccountChange::CancelInvite { id } => Err(rejected(&format!("cancel invitation {id}"), "Keycloak has no invitations")),
            // These two have answers of their own.
            AccountChange::Create { .. } | AccountChange::IssuePassword { .. } => Ok(()),
        }
    }

    pub(super) async fn create(&self, profile: &Profile, owner: &Owner) -> Result<Applied, ConnectorError> {
        let operation = format!("make account {}", profile.username);
        let marks = self.administration().await?.marks;
        let (first, last) = names(profile);
        let mut user = json!({ "username": profile.username, "firstName": first, "lastName": last, "enabled": true });
        if let Some(user) = user.as_object_mut() {
            if !profile.email.is_empty() {
                user.insert("email".to_owned(), json!(profile.email));
            }
            if marks {
                user.insert("attributes".to_owned(), json!({ OWNER: [owner.mark()] }));
            }
        }
        let answer = self.ask(&operation, self.admin(Method::POST, &["users"]).json(&user)).await?;
        match answer.status {
            StatusCode::CREATED => {
                let location = answer.headers.get("location").and_then(|it| it.to_str().ok()).unwrap_or_default();
                match location.rsplit('/').next() {
                    Some(id) if !id.is_empty() => Ok(Applied { id: Some(id.to_owned()), ..Applied::default() }),
                    _ => Err(ConnectorError::Garbled { operation, message: "it does not say which account it made".to_owned() }),
                }
            }
            StatusCode::CONFLICT => self.made_before(&operation, profile, owner, marks, &answer).await,
            _ => Err(refused(&operation, &answer)),
        }
    }

    /// The answer to a first try may have been lost.
    async fn made_before(
        &self,
        operation: &str,
        profile: &Profile,
        owner: &Owner,
        marks: bool,
        answer: &Answer,
    ) -> Result<Applied, ConnectorError> {
        match self.user_with("username", &profile.username).await? {
            Some(user) if user.owner(marks).as_ref() == Some(owner) => Ok(Applied { id: Some(user.id), ..Applied::default() }),
            Some(_) => Err(rejected(operation, "the name is taken by an account that usher did not make for her")),
            None => Err(taken(operation, answer)),
        }
    }

    /// A user with all that Keycloak tells, as it must be written back; nothing if there is none.
    async fn whole(&self, id: &str) -> Result<Option<Map<String, Value>>, ConnectorError> {
        let operation = format!("look for account {id}");
        if matches!(id, "" | "." | "..") {
            return Ok(None);
        }
        let answer = self.ask(&operation, self.admin(Method::GET, &["users", id])).await?;
        if absent(&answer, &operation)? { Ok(None) } else { answer.success()?.json().map(Some) }
    }

    /// Writes fields of a user; says whether there is one. Without `attributes` Keycloak keeps what is left out.
    async fn write(&self, operation: &str, id: &str, fields: &Value) -> Result<bool, ConnectorError> {
        let answer = self.ask(operation, self.admin(Method::PUT, &["users", id]).json(fields)).await?;
        match answer.status {
            status if status.is_success() => Ok(true),
            StatusCode::CONFLICT => Err(taken(operation, &answer)),
            _ if absent(&answer, operation)? => Ok(false),
            _ => Err(refused(operation, &answer)),
        }
    }

    /// Sets or takes away an attribute, and sets other fields with it; says whether there is such a user.
    async fn note(
        &self,
        operation: &str,
        id: &str,
        (name, value): (&str, Option<String>),
        fields: &[(&str, Value)],
    ) -> Result<bool, ConnectorError> {
        let Some(mut user) = self.whole(id).await? else { return Ok(false) };
        let attributes = user.entry("attributes").or_insert_with(|| json!({}));
        if let Some(attributes) = attributes.as_object_mut() {
            match value {
                Some(value) => attributes.insert(name.to_owned(), json!([value])),
                None => attributes.remove(name),
            };
        }
        user.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.write(operation, id, &Value::Object(user)).await
    }

    async fn adopt(&self, id: &str, owner: &Owner) -> Result<(), ConnectorError> {
        let operation = format!("adopt account {id}");
        // Where no mark is kept there is nothing to write, and usher remembers the id.
        if !self.administration().await?.marks {
            return Ok(());
        }
        there(&operation, self.note(&operation, id, (OWNER, Some(owner.mark())), &[]).await?)
    }

    async fn set_profile(&self, id: &str, profile: &Profile) -> Result<(), ConnectorError> {
        let operation = format!("change account {id}");
        let user = self.known(&operation, id).await?;
        let (first, last) = names(profile);
        let mut fields = json!({ "username": profile.username, "firstName": first, "lastName": last });
        if let Some(fields) = fields.as_object_mut().filter(|_| user.email.to_lowercase() != profile.email.to_lowercase()) {
            fields.insert("email".to_owned(), json!(profile.email));
            // Nobody has shown yet that she gets what is sent there.
            fields.insert("emailVerified".to_owned(), json!(false));
        }
        there(&operation, self.write(&operation, id, &fields).await?)
    }

    async fn let_in(&self, id: &str) -> Result<(), ConnectorError> {
        let operation = format!("let account {id} in");
        let user = self.known(&operation, id).await?;
        let written = if user.is_revoked() {
            self.note(&operation, id, (REVOKED, None), &[("enabled", json!(true))]).await?
        } else {
            self.write(&operation, id, &json!({ "enabled": true })).await?
        };
        there(&operation, written)
    }

    /// Everything of hers fails as soon as she is disabled. Her sessions are ended too, as only that tells the applications in which she is logged in; what she
    /// made to last, offline sessions, is refused meanwhile and hers again when she comes back.
    async fn lock_out(&self, id: &str) -> Result<(), ConnectorError> {
        let operation = format!("lock account {id} out");
        if matches!(id, "" | "." | "..") || !self.write(&operation, id, &json!({ "enabled": false })).await? {
            return Ok(());
        }
        for session in self.of_user::<Thing>(id, "sessions").await? {
            self.remove(&operation, &["sessions", &session.id]).await?;
        }
        Ok(())
    }

    async fn join(&self, id: &str, name: &str) -> Result<(), ConnectorError> {
        let operation = format!("add account {id} to {name}");
        let Some(group) = self.group(name).await? else {
            return Err(rejected(&operation, format!("there is no group {name}; make it, or mend the Role that names it")));
        };
        if let Some((around, roles)) = self.administering(name).await? {
            let roles: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
            let message = format!(
                "group {around} lets its members administer the realm ({}), and usher makes no administrators; take those roles away from it, or mend the Role that names {name}",
                roles.join(", ")
            );
            return Err(rejected(&operation, message));
        }
        let answer = self.ask(&operation, self.admin(Method::PUT, &["users", id, "groups", &group.id])).await?;
        let there_is = !absent(&answer, &operation)?;
        there(&operation, there_is)?;
        answer.success().map(drop)
    }

    async fn leave(&self, id: &str, name: &str) -> Result<(), ConnectorError> {
        match self.group(name).await? {
            Some(group) => self.remove(&format!("take account {id} out of {name}"), &["users", id, "groups", &group.id]).await,
            None => Ok(()),
        }
    }

    /// What lets her in goes first, then what is open, and last the note that it is done.
    async fn revoke(&self, id: &str) -> Result<(), ConnectorError> {
        let operation = format!("revoke what was issued for account {id}");
        let Some(user) = self.user(id).await? else { return Ok(()) };
        for credential in self.of_user::<Thing>(id, "credentials").await? {
            self.remove(&operation, &["users", id, "credentials", &credential.id]).await?;
        }
        for link in &user.federated_identities {
            self.remove(&operation, &["users", id, "federated-identity", &link.identity_provider]).await?;
        }
        // This also makes worthless all tokens that were issued up to this second, offline ones included.
        let answer = self.ask(&operation, self.admin(Method::POST, &["users", id, "logout"])).await?;
        if absent(&answer, &operation)? {
            return Ok(());
        }
        answer.success()?;
        for consent in self.of_user::<Consent>(id, "consents").await? {
            self.remove(&operation, &["users", id, "consents", &consent.client_id]).await?;
        }
        if self.administration().await?.marks && !user.is_revoked() {
            self.note(&operation, id, (REVOKED, Some(Timestamp::now().to_string())), &[]).await?;
        }
        Ok(())
    }

    pub(super) async fn issue_password(&self, id: &str) -> Result<Applied, ConnectorError> {
        let operation = format!("issue a password for account {id}");
        let user = self.known(&operation, id).await?;
        if user.is_revoked() {
            self.note(&operation, id, (REVOKED, None), &[]).await?;
        }
        let password = generate().map_err(|error| ConnectorError::unreachable(operation.as_str(), error))?;
        let body = json!({ "type": "password", "value": password.expose_secret(), "temporary": false });
        let request = self.admin(Method::PUT, &["users", id, "reset-password"]).json(&body);
        let answer = self.tell_secret(&operation, request).await?;
        if answer.status.is_success() {
            return Ok(Applied { password: Some(password), ..Applied::default() });
        }
        Err(rejected(&operation, password_policy(&answer).unwrap_or_else(|| answer.status.to_string())))
    }

    /// A user who must be there.
    async fn known(&self, operation: &str, id: &str) -> Result<User, ConnectorError> {
        self.user(id).await?.ok_or_else(|| gone(operation))
    }

    /// Removes what is at a path; what is gone already is no error.
    async fn remove(&self, operation: &str, path: &[&str]) -> Result<(), ConnectorError> {
        if path.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Ok(());
        }
        let answer = self.ask(operation, self.admin(Method::DELETE, path)).await?;
        if absent(&answer, operation)? { Ok(()) } else { answer.success().map(drop) }
    }
}

/// What the realm's password policy finds wrong. Nothing else that is said to a request with a password is told: it may repeat the password.
fn password_policy(answer: &Answer) -> Option<String> {
    let complaint: Policy = answer.json().ok()?;
    let bounded = complaint.error_description.chars().take(300).collect();
    (answer.status == StatusCode::BAD_REQUEST && complaint.error.starts_with("invalidPassword")).then_some(bounded)
}

fn there(operation: &str, there_is: bool) -> Result<(), ConnectorError> {
    if there_is { Ok(()) } else { Err(gone(operation)) }
}

fn gone(operation: &str) -> ConnectorError {
    rejected(operation, "there is no such account")
}

/// Somebody else has the login or the address.
fn taken(operation: &str, answer: &Answer) -> ConnectorError {
    let words = answer.words();
    let what = if words.contains("email") { "e-mail address" } else { "name" };
    rejected(operation, format!("the {what} is taken by another account ({words})"))
}
