//! Keycloak: one server for all tests, and a realm for each.

mod habits;
mod leaving;
mod letting_in;
mod lists;
mod source;

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use usher::api::environment::SecretKey;
use usher::api::provider::{self, System as Kind};
use usher::connectors::throttle::Throttle;
use usher::connectors::{Connector, Secrets, connect};

use crate::conformance;
use crate::conformance::{Fault, Hand, Target};
use crate::proxy::{HttpsProxy, Told};
use crate::support::systems::realm::{self, id_in, reply};

/// What usher's service account needs in a realm.
const ROLES: [&str; 2] = ["manage-users", "view-clients"];

/// A realm for one test alone, and the proxies that stand before it.
pub struct Realm {
    realm: realm::Realm,
    proxies: Mutex<Vec<HttpsProxy>>,
}

impl Deref for Realm {
    type Target = realm::Realm;

    fn deref(&self) -> &realm::Realm {
        &self.realm
    }
}

impl Realm {
    async fn start() -> Self {
        Self::with(&ROLES, |_| {}).await
    }

    /// A realm where usher has other roles, or with other settings.
    async fn with(roles: &[&str], edit: impl FnOnce(&mut Value)) -> Self {
        Self { realm: realm::Realm::with(roles, edit).await, proxies: Mutex::default() }
    }

    /// Makes all tokens worthless that were issued so far, as an administrator does in an emergency.
    async fn refuse_tokens(&self) {
        // Keycloak counts in seconds.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
        self.set(json!({ "notBefore": now })).await;
    }

    /// Logs in. Scopes decide what comes of it.
    async fn tokens(&self, client: &str, (username, password): (&str, &str), scope: &str) -> Option<Value> {
        let form = [("grant_type", "password"), ("client_id", client), ("username", username), ("password", password), ("scope", scope)];
        let answer = self.form(&self.name, &form).await;
        (answer.status == 200).then_some(answer.body)
    }

    async fn refreshes(&self, client: &str, token: &str) -> bool {
        let form = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)];
        self.form(&self.name, &form).await.status == 200
    }

    /// Whether an access token is taken where Keycloak itself is asked.
    async fn knows(&self, token: &str) -> bool {
        let url = format!("{}/realms/{}/protocol/openid-connect/userinfo", self.system.env("URL"), self.name);
        reply(self.client.get(url).bearer_auth(token)).await.status == 200
    }

    fn settings(&self, url: &str) -> provider::Keycloak {
        provider::Keycloak {
            url: url.to_owned(),
            realm: self.name.clone(),
            client_id: "usher".to_owned(),
            credentials_secret: SecretKey::default(),
            ca_secret: None,
        }
    }

    /// A connector as usher makes it from a Provider.
    fn connect(&self, url: &str, ca: &str, secret: &str) -> Arc<dyn Connector> {
        let secrets = Secrets { credential: secret.into(), ca: Some(ca.to_owned()) };
        connect(Kind::Keycloak(&self.settings(url)), secrets, Arc::new(Throttle::new(1_000))).expect("a connector")
    }

    fn connector_here(&self) -> Arc<dyn Connector> {
        self.connect(self.system.env("URL"), &self.ca, &self.secret)
    }

    async fn proxy(&self) -> HttpsProxy {
        HttpsProxy::start(self.system.env("URL"), Some(&self.ca)).await
    }

    fn connector_behind(&self, proxy: &HttpsProxy) -> Arc<dyn Connector> {
        self.connect(&proxy.url(), proxy.ca(), &self.secret)
    }
}

#[async_trait]
impl Target for Realm {
    async fn connector(&self) -> Arc<dyn Connector> {
        self.connector_here()
    }

    async fn faulty(&self, fault: Fault) -> Option<Arc<dyn Connector>> {
        let proxy = self.proxy().await;
        let connector = self.connector_behind(&proxy);
        match fault {
            Fault::Closed => {
                let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
                return Some(self.connect(&format!("https://{free}"), &self.ca, &self.secret));
            }
            Fault::Unauthorized => return Some(self.connect(self.system.env("URL"), &self.ca, "of-yesterday")),
            Fault::Silent => proxy.silence(),
            Fault::CutAfter => {
                // To log in is a POST, too.
                connector.probe().await.expect("it answers");
                proxy.cut_next_change();
            }
            Fault::Patience(seconds) => proxy.answer(100, &Told::patience(seconds)),
            Fault::Broken => proxy.answer(100, &Told::broken()),
            Fault::Echo(status) => {
                // To log in is a POST, too. A token that is refused is asked for again: as often as it likes.
                connector.probe().await.expect("it answers");
                proxy.echo(status);
            }
        }
        self.proxies.lock().push(proxy);
        Some(connector)
    }

    fn group(&self, name: &str) -> String {
        format!("engineering/{name}")
    }

    async fn make_group(&self, group: &str) {
        self.make_group_at(group).await;
    }

    async fn make_stranger(&self, username: &str, email: &str) -> String {
        self.make_whole(username, email).await
    }

    async fn make_crowd(&self, count: usize) {
        self.make_crowd_of("stranger", count).await;
    }

    async fn rename(&self, id: &str, username: &str) -> bool {
        self.set(json!({ "editUsernameAllowed": true })).await;
        self.admin("PUT", &format!("/users/{id}"), json!({ "username": username })).await;
        true
    }

    async fn by_hand(&self, id: &str, hand: Hand<'_>) -> bool {
        let (method, group) = match hand {
            Hand::LetsIn => {
                self.admin("PUT", &format!("/users/{id}"), json!({ "enabled": true })).await;
                return true;
            }
            Hand::Names(name) => {
                let (first, last) = name.split_once(' ').expect("two words");
                self.admin("PUT", &format!("/users/{id}"), json!({ "firstName": first, "lastName": last })).await;
                return true;
            }
            Hand::PutsInto(group) => ("PUT", group),
            Hand::TakesOutOf(group) => ("DELETE", group),
        };
        let group = self.group_id(group).await;
        self.admin(method, &format!("/users/{id}/groups/{group}"), Value::Null).await;
        true
    }

    /// Also all tokens so far are made worthless: one outlives the secret that it was got by.
    async fn exchange_credential(&self) -> Option<Arc<dyn Connector>> {
        let client = self.client_id("usher").await;
        let secret = self.admin("POST", &format!("/clients/{client}/client-secret"), Value::Null).await.body;
        self.refuse_tokens().await;
        Some(self.connect(self.system.env("URL"), &self.ca, secret["value"].as_str().expect("a secret")))
    }

    async fn log_in(&self, username: &str, password: &str) -> bool {
        self.tokens("kubernetes", (username, password), "openid").await.is_some()
    }

    /// A session with its access token and its refresh token, and an offline token.
    async fn issue(&self, username: &str, password: &str) -> Option<String> {
        let session = self.tokens("kubernetes", (username, password), "openid").await.expect("she logs in");
        let offline = self.tokens("kubernetes", (username, password), "openid offline_access").await.expect("she logs in");
        let told = |tokens: &Value, name: &str| tokens[name].as_str().expect("a token").to_owned();
        Some([told(&session, "access_token"), told(&session, "refresh_token"), told(&offline, "refresh_token")].join(" "))
    }

    /// Whether any of that still works.
    async fn accepts(&self, credential: &str) -> bool {
        let tokens: Vec<&str> = credential.split(' ').collect();
        self.knows(tokens[0]).await || self.refreshes("kubernetes", tokens[1]).await || self.refreshes("kubernetes", tokens[2]).await
    }

    async fn own(&self, _: &str, _: &str) -> bool {
        false
    }

    async fn make_heir(&self) -> String {
        self.make_stranger("heir", "heir@example.com").await
    }

    async fn heir_owns(&self, _: &str) -> bool {
        false
    }

    fn secret(&self) -> String {
        self.secret.clone()
    }
}

conformance!(Realm::start().await);
