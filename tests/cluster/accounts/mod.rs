//! Accounts in outside systems: they follow what people are given, a system that is down delays nobody else, and who leaves is locked out (DESIGN.md, "Providers").

mod crowd;
mod ending;
mod following;
mod imported;
mod killed;
mod leaving;
mod left;
#[allow(dead_code, reason = "the tests of connectors use more of it")]
#[path = "../../support/systems/proxy.rs"]
pub mod proxy;
mod resumed;
mod returning;
mod sick;
mod start;
mod waiting;
mod whose;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use usher::connectors::tls;

use crate::support::client::kind;
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::{Stage, declare};
use crate::support::systems::{System, shared};
use crate::support::{AuditLevel, ControlPlane, Shared, name, operated, wait_until};

use self::proxy::HttpsProxy;

pub const SOON: Duration = Duration::from_mins(2);
/// usher's own namespace.
pub const NAMESPACE: &str = "usher-system";
const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

/// A SCIM server as its administrator sees it, with a tenant for one test, and the Provider that it is for usher.
struct Service {
    /// The server, if it is the test's own.
    own: Option<System>,
    http: reqwest::Client,
    /// Where the tokens stand that let usher in here and nowhere else.
    tokens: PathBuf,
    base: String,
    provider: String,
}

impl Service {
    /// Declares a tenant of the server that tests share as a Provider, with what else is said.
    async fn new(client: &Client, more: Value) -> Self {
        let service = Self::of(shared("scim").await).await;
        service.declare(client, None, more).await;
        service
    }

    /// The same with a server of its own, which may be paused.
    async fn alone(client: &Client) -> Self {
        let system = System::start("scim").await;
        let service = Self::of(&system).await;
        service.declare_at(client, &service.base, &ca(&system), json!({})).await;
        Self { own: Some(system), ..service }
    }

    /// The same behind a proxy, which sees every request of usher's and none of the test's.
    async fn behind_proxy(client: &Client, more: Value) -> (Self, HttpsProxy) {
        let system = shared("scim").await;
        let service = Self::of(system).await;
        let proxy = HttpsProxy::start(&service.base, Some(&ca(system))).await;
        service.declare(client, Some(&proxy), more).await;
        (service, proxy)
    }

    /// A tenant with two groups, and no Provider yet.
    async fn of(system: &System) -> Self {
        let service = Self::empty(system);
        for group in ["developers", "releases"] {
            let group = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": group});
            service.post("Groups", group).await;
        }
        service
    }

    /// A tenant that nobody asked for anything yet.
    fn empty(system: &System) -> Self {
        let provider = name("scim");
        let config = tls::config(Some(&ca(system))).expect("a CA");
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("Authorization", format!("Bearer {}", system.env("TOKEN")).parse().expect("a header"));
        let http = reqwest::Client::builder().tls_backend_preconfigured(config).default_headers(headers).build().expect("a client");
        let tokens = system.dir().join("tenants").join(format!("{provider}.tokens"));
        Self { own: None, http, tokens, base: format!("{}/{provider}/v2", system.env("URL")), provider }
    }

    /// A new token of usher's. One that it had before is refused from now on.
    fn token(&self) -> String {
        let token = name("token-of-usher");
        std::fs::write(&self.tokens, &token).expect("written");
        token
    }

    /// Declares it as a Provider, where the proxy listens if there is one.
    async fn declare(&self, client: &Client, proxy: Option<&HttpsProxy>, more: Value) {
        let system = shared("scim").await;
        match proxy {
            Some(proxy) => self.declare_at(client, &self.base.replace(system.env("URL"), &proxy.url()), proxy.ca(), more).await,
            None => self.declare_at(client, &self.base, &ca(system), more).await,
        }
    }

    async fn declare_at(&self, client: &Client, url: &str, ca: &str, more: Value) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.provider}, "stringData": {"token": self.token(), "ca.crt": ca},
        });
        let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
        secrets.create(&PostParams::default(), &serde_json::from_value(secret).expect("a Secret")).await.expect("made");
        let mut spec = json!({
            "scim": {
                "url": url, "disablingRevokes": true,
                "credentialsSecret": {"name": self.provider, "key": "token"}, "caSecret": {"name": self.provider, "key": "ca.crt"},
            },
            "requestsPerSecond": 200,
        });
        spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        declare(client, "Provider", &self.provider, spec).await;
    }

    fn pause(&self) {
        self.own.as_ref().expect("a server of its own").pause();
    }

    fn resume(&self) {
        self.own.as_ref().expect("a server of its own").resume();
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.http.post(format!("{}/{path}", self.base)).json(&body).send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{status}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Makes a user as the administrator of the service would.
    async fn stranger(&self, username: &str, email: &str) -> Value {
        let user = json!({
            "schemas": [USER], "userName": username, "active": true,
            "name": {"familyName": "Somebody"}, "emails": [{"value": email, "primary": true}],
        });
        self.post("Users", user).await
    }

    /// Changes a user as the administrator of the service would.
    async fn set(&self, id: &Value, path: &str, value: Value) {
        let url = format!("{}/Users/{}", self.base, id.as_str().expect("an id"));
        let operation = json!({"op": "replace", "path": path, "value": value});
        let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]});
        let answer = self.http.patch(url).json(&body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// Adds a user to a group as the administrator of the service would.
    async fn join(&self, group: &str, username: &str) {
        let user = self.user(username).await.expect("an account");
        let group = self.resources("Groups").await.into_iter().find(|it| it["displayName"] == group).expect("a group");
        let add = json!({"op": "add", "path": "members", "value": [{"value": user["id"]}]});
        let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [add]});
        let url = format!("{}/Groups/{}", self.base, group["id"].as_str().expect("an id"));
        let answer = self.http.patch(url).json(&body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// Deletes a user as the administrator of the service would.
    async fn delete(&self, id: &Value) {
        let url = format!("{}/Users/{}", self.base, id.as_str().expect("an id"));
        let answer = self.http.delete(url).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    async fn resources(&self, path: &str) -> Vec<Value> {
        let sign = if path.contains('?') { "" } else { "?" };
        let answer = self.http.get(format!("{}/{path}{sign}count=1000", self.base)).send().await.expect("an answer");
        let body: Value = answer.json().await.expect("JSON");
        body["Resources"].as_array().cloned().unwrap_or_default()
    }

    async fn user(&self, username: &str) -> Option<Value> {
        self.resources("Users").await.into_iter().find(|user| user["userName"] == username)
    }

    /// The groups of somebody.
    async fn groups(&self, username: &str) -> Vec<String> {
        let Some(user) = self.user(username).await else { return Vec::new() };
        let groups = self.resources("Groups").await.into_iter();
        let has = |group: &Value| group["members"].as_array().into_iter().flatten().any(|member| member["value"] == user["id"]);
        let mut names: Vec<String> = groups.filter(has).filter_map(|group| group["displayName"].as_str().map(str::to_owned)).collect();
        names.sort();
        names
    }

    /// Waits until somebody's account is active or not, in these groups.
    async fn shows(&self, username: &str, active: bool, groups: &[&str]) {
        wait_until(&format!("{username} is active: {active}, in {groups:?}"), SOON, async || {
            let (user, in_groups) = (self.user(username).await, self.groups(username).await);
            let right = user.as_ref().is_some_and(|user| user["active"] == active) && in_groups == groups;
            if right { Ok(()) } else { Err(format!("{user:?} in {in_groups:?}")) }
        })
        .await;
    }

    /// A Role that gives an account here, in a group.
    async fn role(&self, client: &Client, stage: &Stage, groups: &[&str]) -> String {
        let role = name("role");
        let entry = json!({"name": "work", "environments": [stage.environment], "clusterRoles": ["view"]});
        let accounts = json!([{"provider": self.provider, "groups": groups}]);
        declare(client, "Role", &role, json!({"access": [entry], "accounts": accounts})).await;
        role
    }
}

/// What a release of a test's own is installed with: nobody has anything that the test does not say.
const ALONE: [&str; 5] = ["environments.default=false", "starterRoles=false", "offboarding.brake.maxRemovals=1000", PATIENT[0], PATIENT[1]];

/// A control plane with the chart and an operator for one test, which may kill it.
struct Alone {
    operator: Operator,
    install: Install,
    client: Client,
    plane: ControlPlane,
}

impl Alone {
    async fn start() -> Self {
        let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
        let client = plane.admin_client().await;
        let install = Install::new(&plane, &ALONE).await;
        let operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
        operator.ready().await;
        Self { operator, install, client, plane }
    }
}

/// Declares the Environment in which people have workspaces.
async fn home(client: &Client) {
    declare(client, "Environment", "dev", json!({"namespaces": {"matchLabels": {"stage": "dev"}}, "workspace": {}})).await;
}

pub fn ca(system: &System) -> String {
    std::fs::read_to_string(system.ca_file()).expect("a certificate")
}

/// A Role that gives nothing but accounts: one at each of these, in their developers.
async fn outside(client: &Client, services: &[&Service]) -> String {
    let role = name("role");
    let accounts: Vec<Value> = services.iter().map(|it| json!({"provider": it.provider, "groups": ["developers"]})).collect();
    declare(client, "Role", &role, json!({"accounts": accounts})).await;
    role
}

/// A Binding of a Role for these people.
async fn bind(client: &Client, role: &str, people: &[&str]) -> String {
    let binding = name("bind");
    declare(client, "Binding", &binding, json!({"role": role, "developers": people})).await;
    binding
}

pub async fn started() -> (Shared, Client, Stage) {
    let shared = operated().await;
    let client = shared.client.clone();
    let stage = Stage::new(&client).await;
    (shared, client, stage)
}

/// What is told of somebody's account.
pub async fn told(client: &Client, person: &str, provider: &str) -> Value {
    let developer = kind(client, "Developer").await.get(person).await.expect("a Developer");
    let accounts = developer.data["status"]["accounts"].as_array().cloned().unwrap_or_default();
    accounts.into_iter().find(|account| account["provider"] == provider).unwrap_or_default()
}

pub async fn tells(client: &Client, person: &str, provider: &str, state: &str) -> Value {
    wait_until(&format!("dev/{person} tells that the account at uprov/{provider} is {state}"), SOON, async || {
        let account = told(client, person, provider).await;
        if account["state"] == state { Ok(account) } else { Err(account.to_string()) }
    })
    .await
}

/// Waits until a condition of one of usher's objects has a reason, and gives its message.
pub async fn says(client: &Client, of: &str, object: &str, condition: &str, reason: &str) -> String {
    wait_until(&format!("{of} {object} says {reason}"), SOON, async || {
        let seen = kind(client, of).await.get(object).await.expect("an object");
        let found = crate::support::client::condition(&seen, condition).cloned().unwrap_or_default();
        if found["reason"] == reason {
            Ok(found["message"].as_str().unwrap_or_default().to_owned())
        } else {
            Err(seen.data["status"].to_string())
        }
    })
    .await
}

/// The line of somebody's receipt about a Provider.
async fn line(client: &Client, person: &str, provider: &str, state: &str) -> Value {
    let target = format!("provider/{provider}");
    let receipt = receipt(client, person, provider, state).await;
    let targets = receipt.data["status"]["targets"].as_array().cloned().unwrap_or_default();
    targets.into_iter().find(|line| line["target"] == target).expect("a line")
}

/// Waits until the receipt of somebody says how an account stands.
pub async fn receipt(client: &Client, person: &str, provider: &str, state: &str) -> DynamicObject {
    let target = format!("provider/{provider}");
    wait_until(&format!("the receipt of {person} says {state} at {target}"), SOON, async || {
        let list =
            kind(client, "Departure").await.list(&ListParams::default().fields(&format!("spec.developer.name={person}"))).await.unwrap();
        let right = |it: &&DynamicObject| {
            it.data["status"]["targets"].as_array().into_iter().flatten().any(|line| line["target"] == target && line["state"] == state)
        };
        list.items
            .iter()
            .find(right)
            .cloned()
            .ok_or_else(|| format!("{:?}", list.items.iter().map(|it| &it.data["status"]).collect::<Vec<_>>()))
    })
    .await
}

/// Sets or takes off an annotation.
async fn annotate(client: &Client, of: &str, object: &str, key: &str, value: Value) {
    let patch = json!({"metadata": {"annotations": {key: value}}});
    kind(client, of).await.patch(object, &PatchParams::default(), &Patch::Merge(patch)).await.expect("annotated");
}

/// The changes that the operator says it made at a Provider, by person.
fn made(log: &str, provider: &str) -> BTreeMap<String, Vec<String>> {
    let mut made: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let field = |name: &str| {
            line.pointer(&format!("/fields/{name}")).or_else(|| line.get(name)).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        if field("message") == "changed an account" && field("provider") == provider {
            made.entry(field("who")).or_default().push(field("change"));
        }
    }
    made
}
