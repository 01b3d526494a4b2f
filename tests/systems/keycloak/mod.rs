//! Keycloak: one server for all tests, and a realm for each. A realm is made as `hack/keycloak-realm.json` says, with keys that are quick to make.

mod habits;
mod leaving;
mod letting_in;
mod lists;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
use crate::support::systems::{System, shared};

/// What usher's service account needs in a realm.
const ROLES: [&str; 2] = ["manage-users", "view-clients"];

/// A realm for one test alone, as its administrator sees it.
pub struct Realm {
    system: &'static System,
    name: String,
    secret: String,
    ca: String,
    client: reqwest::Client,
    proxies: Mutex<Vec<HttpsProxy>>,
}

/// What was answered.
struct Reply {
    status: u16,
    location: String,
    body: Value,
}

impl Realm {
    async fn start() -> Self {
        Self::with(&ROLES, |_| {}).await
    }

    /// A realm where usher has other roles, or with other settings.
    async fn with(roles: &[&str], edit: impl FnOnce(&mut Value)) -> Self {
        static REALMS: AtomicU64 = AtomicU64::new(0);
        let system = shared("keycloak").await;
        let ca = std::fs::read_to_string(system.ca_file()).expect("a CA");
        let tls = usher::connectors::tls::config(Some(&ca)).expect("a CA");
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("a client");
        let number = REALMS.fetch_add(1, Ordering::Relaxed);
        let (name, secret) = (format!("realm-{number}"), format!("secret-of-usher-{number}"));
        let realm = Self { system, name, secret, ca, client, proxies: Mutex::default() };
        let mut body = realm.body(roles);
        edit(&mut body);
        let made = realm.send("POST", "/admin/realms", Some(&body)).await;
        assert_eq!(made.status, 201, "{}", made.body);
        realm
    }

    fn body(&self, roles: &[&str]) -> Value {
        let text = include_str!("../../../hack/keycloak-realm.json");
        let roles: Vec<String> = roles.iter().map(|role| format!("{role:?}")).collect();
        let text = text.replace("@NAME@", &self.name).replace("@SCIM_URL@", "https://scim.example.com");
        let mut body: Value =
            serde_json::from_str(&text.replace("@ROLES@", &roles.join(", ")).replace("@SECRET@", &self.secret)).expect("JSON");
        let key = |name: &str, algorithm: Value| json!({ "name": name, "providerId": format!("{name}-generated"), "config": algorithm });
        body["components"]["org.keycloak.keys.KeyProvider"] =
            json!([key("ecdsa", json!({})), key("hmac", json!({ "algorithm": ["HS512"] })), key("aes", json!({}))]);
        body["defaultSignatureAlgorithm"] = json!("ES256");
        body
    }

    /// A token of the server's own administrator.
    async fn administrator(&self) -> String {
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", self.system.env("ADMIN_USER")),
            ("password", self.system.env("ADMIN_PASSWORD")),
        ];
        let answer = self.form("master", &form).await;
        answer.body["access_token"].as_str().expect("a token").to_owned()
    }

    /// A request of the server's administrator.
    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let url = format!("{}{path}", self.system.env("URL"));
        let request = self.client.request(method.parse().expect("a method"), url).bearer_auth(self.administrator().await);
        reply(body.iter().fold(request, reqwest::RequestBuilder::json)).await
    }

    /// The same below the realm; its answer must be a success.
    async fn admin(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = Some(body).filter(|body| !body.is_null());
        let reply = self.send(method, &format!("/admin/realms/{}{path}", self.name), body.as_ref()).await;
        assert!((200..300).contains(&reply.status), "{method} {path}: {} {}", reply.status, reply.body);
        reply
    }

    async fn form(&self, realm: &str, form: &[(&str, &str)]) -> Reply {
        let url = format!("{}/realms/{realm}/protocol/openid-connect/token", self.system.env("URL"));
        reply(self.client.post(url).form(form)).await
    }

    /// Changes settings of the realm.
    async fn set(&self, settings: Value) {
        self.admin("PUT", "", settings).await;
    }

    /// A user as Keycloak tells her.
    async fn user(&self, id: &str) -> Value {
        self.admin("GET", &format!("/users/{id}"), Value::Null).await.body
    }

    async fn make_user(&self, user: Value) -> String {
        id_in(&self.admin("POST", "/users", user).await)
    }

    /// A user with all that Keycloak itself keeps of one.
    async fn make_whole(&self, username: &str, email: &str) -> String {
        let attributes = json!({ "department": ["engines"], "phone": ["1", "2"] });
        let user = json!({
            "username": username, "email": email, "firstName": "Some", "lastName": "Body", "enabled": true, "emailVerified": true, "attributes": attributes,
        });
        self.make_user(user).await
    }

    /// The id of the client of that name.
    async fn client_id(&self, name: &str) -> String {
        let found = self.admin("GET", &format!("/clients?clientId={name}"), Value::Null).await.body;
        found[0]["id"].as_str().expect("a client").to_owned()
    }

    /// The id of a group, given as its path.
    async fn group_id(&self, path: &str) -> String {
        let group = self.admin("GET", &format!("/group-by-path/{path}"), Value::Null).await.body;
        group["id"].as_str().expect("an id").to_owned()
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

async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let answer = request.send().await.expect("an answer");
    let location = answer.headers().get("location").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    Reply { status, location, body: serde_json::from_str(&text).unwrap_or_default() }
}

fn id_in(reply: &Reply) -> String {
    reply.location.rsplit('/').next().expect("an id").to_owned()
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
        let (parent, name) = group.split_once('/').expect("a path");
        let root = self.send("POST", &format!("/admin/realms/{}/groups", self.name), Some(&json!({ "name": parent }))).await;
        assert!(matches!(root.status, 201 | 409), "{}", root.body);
        let parent = self.admin("GET", &format!("/group-by-path/{parent}"), Value::Null).await.body;
        let parent = parent["id"].as_str().expect("an id").to_owned();
        self.admin("POST", &format!("/groups/{parent}/children"), json!({ "name": name })).await;
    }

    async fn make_stranger(&self, username: &str, email: &str) -> String {
        self.make_whole(username, email).await
    }

    async fn make_crowd(&self, count: usize) {
        let user = |number: usize| {
            let name = format!("stranger-{number}");
            json!({ "username": name, "email": format!("{name}@example.com"), "firstName": "Stranger", "lastName": number.to_string(), "enabled": true })
        };
        let users: Vec<Value> = (0..count).map(user).collect();
        self.admin("POST", "/partialImport", json!({ "ifResourceExists": "FAIL", "users": users })).await;
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
