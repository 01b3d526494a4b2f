//! What lets somebody in: SSH keys, access tokens, applications, passwords.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::plan::account::PublicKey;
use crate::plan::entitlement::KEY_TITLE;

use super::super::error::ConnectorError;
use super::api::{Api, Named, Token, User, Voice, rejected};

/// An SSH key of somebody.
#[derive(Clone, Debug, Deserialize)]
pub struct Key {
    pub id: i64,
    #[serde(default)]
    pub title: String,
    #[serde(default, rename = "key")]
    text: String,
}

impl Key {
    /// The key if usher installed it.
    pub fn installed(&self) -> Option<PublicKey> {
        self.title.starts_with(KEY_TITLE).then(|| PublicKey { title: self.title.clone(), key: without_comment(&self.text) })
    }
}

/// An e-mail address of somebody.
#[derive(Debug, Deserialize)]
struct Address {
    email: String,
    #[serde(default)]
    primary: bool,
}

/// Type and base64: comments are kept by Gitea, and say nothing.
pub fn without_comment(key: &str) -> String {
    key.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// A key as Gitea will tell it.
pub fn kept(key: PublicKey) -> PublicKey {
    let title = if key.title.starts_with(KEY_TITLE) { key.title } else { format!("{KEY_TITLE}{}", key.title) };
    PublicKey { title, key: without_comment(&key.key) }
}

impl Api {
    pub async fn keys(&self, operation: &str, user: &User) -> Result<Vec<Key>, ConnectorError> {
        self.all(operation, Voice::Own, &["users", &user.login, "keys"], &[], |key: &Key| key.id).await
    }

    /// Somebody's access tokens; nothing where the server tells them only to who comes with a password.
    pub async fn tokens(&self, operation: &str, login: &str) -> Result<Option<Vec<Token>>, ConnectorError> {
        match self.all(operation, Voice::Basic, &["users", login, "tokens"], &[], |token: &Token| token.id).await {
            Err(ConnectorError::Unauthorized { .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Makes the keys that usher installed those that are wanted. Others are left alone, unless it is one that is wanted: a key can be there only once.
    pub async fn install(&self, operation: &str, user: &User, wanted: &BTreeSet<PublicKey>) -> Result<(), ConnectorError> {
        let before = self.keys(operation, user).await?;
        let missing: Vec<&PublicKey> = wanted.iter().filter(|key| !before.iter().any(|it| it.installed().as_ref() == Some(*key))).collect();
        for key in &before {
            let unwanted = key.installed().is_some_and(|it| !wanted.contains(&it));
            if unwanted || missing.iter().any(|it| it.key == without_comment(&key.text)) {
                self.remove_key(operation, user, key).await?;
            }
        }
        for key in missing {
            self.install_one(operation, user, key).await?;
        }
        Ok(())
    }

    async fn install_one(&self, operation: &str, user: &User, key: &PublicKey) -> Result<(), ConnectorError> {
        let request = self.request(Method::POST, Voice::Own, &["admin", "users", &user.login, "keys"]);
        let answer = self.send(operation, request.json(&json!({ "title": key.title, "key": key.key, "read_only": false }))).await?;
        if answer.status != StatusCode::UNPROCESSABLE_ENTITY {
            return answer.success().map(drop);
        }
        // The answer to a first try may have been lost, or another replica was faster.
        if self.keys(operation, user).await?.iter().any(|it| it.installed().as_ref() == Some(key)) {
            return Ok(());
        }
        Err(rejected(operation, format!("the key “{}” is refused: {}", key.title, answer.words())))
    }

    async fn remove_key(&self, operation: &str, user: &User, key: &Key) -> Result<(), ConnectorError> {
        self.delete(operation, Voice::Own, &["admin", "users", &user.login, "keys", &key.id.to_string()]).await
    }

    /// Whether people log in with a passkey and nothing else. No API tells of passkeys or takes them off an account: only the page “Edit User Account” does.
    pub async fn lets_in_by_passkeys(&self, operation: &str) -> Result<bool, ConnectorError> {
        let answer = self.exchange(operation, self.page_of(&["user", "webauthn", "passkey", "assertion"])).await?;
        // Switched off, or a server that does not know them yet. Whatever else it says, it does not say no.
        if matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
            return Ok(false);
        }
        if answer.status.is_server_error() { answer.about_the_system().map(|_| true) } else { Ok(true) }
    }

    /// Deletes all that she, or usher, made to get in with, but for the password and passkeys. To an address that she added a new password could be sent.
    pub async fn revoke(&self, operation: &str, user: &User) -> Result<(), ConnectorError> {
        let login = user.login.as_str();
        let Some(tokens) = self.tokens(operation, login).await? else {
            return Err(rejected(operation, "this Gitea tells nobody's access tokens to a token; revoke them by hand"));
        };
        for token in tokens {
            self.delete(operation, Voice::Basic, &["users", login, "tokens", &token.id.to_string()]).await?;
        }
        for key in self.keys(operation, user).await? {
            self.remove_key(operation, user, &key).await?;
        }
        for path in [&["user", "gpg_keys"][..], &["user", "applications", "oauth2"]] {
            let mine: Vec<Named> = self.all(operation, Voice::Of(login), path, &[], |it: &Named| it.id).await?;
            for it in mine {
                self.delete(operation, Voice::Of(login), &[path, &[it.id.to_string().as_str()]].concat()).await?;
            }
        }
        self.forget_addresses(operation, login, |_| true).await
    }

    /// Takes away addresses that she added herself. Gitea makes none of them the first one.
    pub async fn forget_addresses(&self, operation: &str, login: &str, which: impl Fn(&str) -> bool) -> Result<(), ConnectorError> {
        let path = ["user", "emails"];
        let Some(answer) = self.read(operation, self.request(Method::GET, Voice::Of(login), &path)).await? else { return Ok(()) };
        let others: Vec<String> =
            answer.json::<Vec<Address>>()?.into_iter().filter(|it| !it.primary).map(|it| it.email).filter(|it| which(it)).collect();
        if others.is_empty() {
            return Ok(());
        }
        self.read(operation, self.request(Method::DELETE, Voice::Of(login), &path).json(&json!({ "emails": others }))).await.map(drop)
    }
}
