//! SCIM 2.0 against scim2-server, the strictest of the free servers where the RFCs are concerned, and against Keycloak's. Habits of other services are made of
//! scim2-server's answers by a proxy.

mod habits;
mod keycloak;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// A service as an administrator of it sees it: by its own requests.
pub struct Service {
    url: String,
    token: String,
    ca: String,
    client: reqwest::Client,
    proxies: Mutex<Vec<HttpsProxy>>,
}

impl Service {
    fn new(url: String, token: String, ca: String) -> Self {
        let tls = usher::connectors::tls::config(Some(&ca)).expect("a CA");
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("a client");
        Self { url, token, ca, client, proxies: Mutex::default() }
    }

    fn settings(url: &str) -> provider::Scim {
        let credentials_secret = SecretKey::default();
        provider::Scim { url: url.to_owned(), credentials_secret, ca_secret: None, disabling_revokes: false }
    }

    /// A connector as usher makes it from a Provider.
    fn connect(&self, settings: &provider::Scim, ca: &str, token: &str) -> Arc<dyn Connector> {
        let secrets = Secrets { credential: token.into(), ca: Some(ca.to_owned()) };
        connect(Kind::Scim(settings), secrets, Arc::new(Throttle::new(1_000))).expect("a connector")
    }

    fn connector(&self) -> Arc<dyn Connector> {
        self.connect(&Self::settings(&self.url), &self.ca, &self.token)
    }

    /// A proxy in front of it.
    async fn proxy(&self) -> HttpsProxy {
        HttpsProxy::start(&self.url, Some(&self.ca)).await
    }

    /// Its URL behind a proxy.
    fn behind(&self, proxy: &HttpsProxy) -> String {
        let mut url = reqwest::Url::parse(&self.url).expect("a URL");
        url.set_port(reqwest::Url::parse(&proxy.url()).expect("a URL").port()).expect("a port");
        url.to_string()
    }

    fn connector_behind(&self, proxy: &HttpsProxy) -> Arc<dyn Connector> {
        self.connect(&Self::settings(&self.behind(proxy)), proxy.ca(), &self.token)
    }

    async fn faulty(&self, fault: Fault) -> Arc<dyn Connector> {
        let proxy = self.proxy().await;
        match fault {
            Fault::Closed => {
                let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
                return self.connect(&Self::settings(&format!("https://{free}/scim")), &self.ca, &self.token);
            }
            Fault::Unauthorized => return self.connect(&Self::settings(&self.url), &self.ca, "of-yesterday"),
            Fault::Silent => proxy.silence(),
            Fault::CutAfter => proxy.cut_next_change(),
            Fault::Patience(seconds) => proxy.answer(100, &Told::patience(seconds)),
            Fault::Broken => proxy.answer(100, &Told::broken()),
            Fault::Echo(status) => proxy.echo(status),
        }
        let connector = self.connector_behind(&proxy);
        self.proxies.lock().push(proxy);
        connector
    }

    /// A request of the administrator's; its answer must be a success.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let method = method.parse().expect("a method");
        let request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        let request = request.header("Content-Type", "application/scim+json");
        let answer = if body.is_null() { request } else { request.body(body.to_string()) }.send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Sets attributes of a resource by hand.
    async fn set(&self, path: &str, attributes: &Value) {
        let operations = json!([{ "op": "replace", "value": attributes }]);
        let schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
        self.ask("PATCH", path, &json!({ "schemas": schemas, "Operations": operations })).await;
    }

    async fn make(&self, path: &str, body: &Value) -> String {
        self.ask("POST", path, body).await["id"].as_str().expect("an id").to_owned()
    }

    async fn make_group(&self, name: &str) -> String {
        self.make("/Groups", &json!({ "schemas": [GROUP], "displayName": name })).await
    }
}

fn stranger(username: &str, email: &str) -> Value {
    json!({
        "schemas": [USER], "userName": username, "active": true, "emails": [{ "value": email, "primary": true }],
        "name": { "givenName": "Some", "familyName": "Body" },
    })
}

/// A tenant of scim2-server, for one test alone.
pub struct Tenant {
    service: Service,
    system: &'static System,
    name: String,
}

impl Tenant {
    pub async fn start() -> Self {
        static TENANTS: AtomicU64 = AtomicU64::new(0);
        let system = shared("scim").await;
        let name = format!("tenant-{}", TENANTS.fetch_add(1, Ordering::Relaxed));
        let ca = std::fs::read_to_string(system.ca_file()).expect("a CA");
        let token = token(system, &name);
        Self { service: Service::new(format!("{}/{name}/v2", system.env("URL")), token, ca), system, name }
    }
}

/// A new token for a tenant. One that it had before is refused from now on.
fn token(system: &System, tenant: &str) -> String {
    static TOKENS: AtomicU64 = AtomicU64::new(0);
    let token = format!("token-{}-of-usher-at-{tenant}", TOKENS.fetch_add(1, Ordering::Relaxed));
    crate::support::evidence::secret(&format!("a token of {tenant}"), &token);
    std::fs::write(system.dir().join("tenants").join(format!("{tenant}.tokens")), &token).expect("written");
    token
}

#[async_trait]
impl Target for Tenant {
    async fn connector(&self) -> Arc<dyn Connector> {
        self.service.connector()
    }

    async fn faulty(&self, fault: Fault) -> Option<Arc<dyn Connector>> {
        Some(self.service.faulty(fault).await)
    }

    fn group(&self, name: &str) -> String {
        format!("Team {name}")
    }

    async fn make_group(&self, group: &str) {
        self.service.make_group(group).await;
    }

    async fn make_stranger(&self, username: &str, email: &str) -> String {
        self.service.make("/Users", &stranger(username, email)).await
    }

    async fn make_crowd(&self, count: usize) {
        let make = |number: usize| {
            let name = format!("stranger-{number}");
            let data = stranger(&name, &format!("{name}@example.com"));
            json!({ "method": "POST", "path": "/Users", "bulkId": name, "data": data })
        };
        for first in (0..count).step_by(500) {
            let operations: Vec<Value> = (first..count.min(first + 500)).map(make).collect();
            let schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"];
            self.service.ask("POST", "/Bulk", &json!({ "schemas": schemas, "Operations": operations })).await;
        }
    }

    async fn rename(&self, id: &str, username: &str) -> bool {
        self.service.set(&format!("/Users/{id}"), &json!({ "userName": username })).await;
        true
    }

    async fn by_hand(&self, id: &str, hand: Hand<'_>) -> bool {
        let attributes = match hand {
            Hand::LetsIn => json!({ "active": true }),
            Hand::Names(name) => json!({ "displayName": name }),
            Hand::PutsInto(_) | Hand::TakesOutOf(_) => return false,
        };
        self.service.set(&format!("/Users/{id}"), &attributes).await;
        true
    }

    async fn exchange_credential(&self) -> Option<Arc<dyn Connector>> {
        let token = token(self.system, &self.name);
        Some(self.service.connect(&Service::settings(&self.service.url), &self.service.ca, &token))
    }

    /// The server has no door, so what it keeps is looked at: it would let in whoever is active and has the password.
    async fn log_in(&self, username: &str, password: &str) -> bool {
        let kept = std::fs::read_to_string(self.system.dir().join("tenants").join(format!("{}.jsonl", self.name))).expect("what it keeps");
        let mut lines = kept.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let user = lines.rfind(|line| line[0] == "User" && line[2]["userName"] == username).expect("a user");
        user[2]["active"] == true && user[2]["password"] == password
    }

    async fn issue(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    async fn accepts(&self, _: &str) -> bool {
        unreachable!("it issues nothing")
    }

    async fn own(&self, _: &str, _: &str) -> bool {
        false
    }

    async fn make_heir(&self) -> String {
        unreachable!("nobody owns anything")
    }

    async fn heir_owns(&self, _: &str) -> bool {
        unreachable!("nobody owns anything")
    }

    fn secret(&self) -> String {
        self.service.token.clone()
    }
}

conformance!(Tenant::start().await);
