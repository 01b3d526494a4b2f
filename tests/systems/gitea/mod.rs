//! Gitea: one server for all tests, where each has names and a token of usher's of its own; a server of its own for a test that changes what concerns everybody.
//! usher's token may do no more than the documentation asks for.

mod estate;
mod habits;
mod leaving;
mod names;
mod passkeys;
mod pushing;
mod web;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::process::Command;
use usher::api::environment::SecretKey;
use usher::api::provider::{self, System as Kind};
use usher::connectors::throttle::Throttle;
use usher::connectors::{Connector, Secrets, connect};

use crate::conformance;
use crate::conformance::{Fault, Hand, Target};
use crate::proxy::{HttpsProxy, Told};
use crate::support::systems::git::{Git, said};
use crate::support::systems::{System, shared};

/// As docs/reference/providers/gitea.md says.
const LEAST: [&str; 5] = ["write:admin", "write:organization", "write:user", "write:repository", "read:package"];
const PASSWORD: &str = "Correct-horse-1";

/// A server as its administrator sees it.
enum Server {
    Shared(&'static System),
    Own(System),
}

impl Deref for Server {
    type Target = System;

    fn deref(&self) -> &System {
        match self {
            Self::Shared(system) => system,
            Self::Own(system) => system,
        }
    }
}

/// What a test has of a server, as the server's administrator sees it.
struct Forge {
    system: Server,
    number: u64,
    ca: String,
    client: reqwest::Client,
    token: String,
    proxies: Mutex<Vec<HttpsProxy>>,
    git: Git,
}

/// What was answered.
struct Reply {
    status: u16,
    body: Value,
}

/// As whom a request is sent.
#[derive(Clone, Copy)]
enum By<'a> {
    Administrator,
    Password(&'a str, &'a str),
    Token(&'a str),
}

impl Forge {
    async fn start() -> Self {
        Self::at(Server::Shared(shared("gitea").await)).await
    }

    /// A server for one test alone.
    async fn alone() -> Self {
        Self::at(Server::Own(System::start("gitea").await)).await
    }

    /// A server as Gitea itself would have it: people log in by passkeys.
    async fn with_passkeys() -> Self {
        Self::at(Server::Own(System::start_told("gitea", ("USHER_GITEA_PASSKEYS", "true")).await)).await
    }

    async fn at(system: Server) -> Self {
        static TESTS: AtomicU64 = AtomicU64::new(0);
        let number = TESTS.fetch_add(1, Ordering::Relaxed);
        let (git, ca) = (Git::of(&system), std::fs::read_to_string(system.ca_file()).expect("a CA"));
        let tls = usher::connectors::tls::config(Some(&ca)).expect("a CA");
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().redirect(reqwest::redirect::Policy::none());
        let client = client.build().expect("a client");
        let mut forge = Self { system, number, ca, client, token: String::new(), proxies: Mutex::default(), git };
        forge.token = forge.new_token().await;
        forge
    }

    /// A token for usher.
    async fn new_token(&self) -> String {
        self.token_of(self.administrator(), &self.login("usher"), &LEAST).await
    }

    /// Takes usher's token back.
    async fn revoke_token(&self) {
        let (username, password) = self.administrator();
        let path = format!("/users/{username}/tokens/{}", self.login("usher"));
        self.as_one(By::Password(username, password), "DELETE", &path, Value::Null).await;
    }

    fn administrator(&self) -> (&str, &str) {
        (self.system.env("ADMIN_USER"), self.system.env("ADMIN_PASSWORD"))
    }

    /// A request of somebody's, below /api/v1.
    async fn send(&self, by: By<'_>, method: &str, path: &str, body: Value) -> Reply {
        let url = format!("{}/api/v1{path}", self.system.env("URL"));
        let request = self.client.request(method.parse().expect("a method"), url);
        let request = match by {
            By::Administrator => request.bearer_auth(self.system.env("TOKEN")),
            By::Password(username, password) => request.basic_auth(username, Some(password)),
            By::Token(token) => request.bearer_auth(token),
        };
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        Reply { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    /// A request of the administrator's, which succeeds.
    async fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        self.as_one(By::Administrator, method, path, body).await
    }

    /// A request of somebody's, which succeeds.
    async fn as_one(&self, by: By<'_>, method: &str, path: &str, body: Value) -> Value {
        let reply = self.send(by, method, path, body).await;
        assert!((200..300).contains(&reply.status), "{method} {path}: {} {}", reply.status, reply.body);
        reply.body
    }

    /// A new access token of somebody's.
    async fn token_of(&self, (username, password): (&str, &str), name: &str, scopes: &[&str]) -> String {
        let body = json!({ "name": name, "scopes": scopes });
        let made = self.as_one(By::Password(username, password), "POST", &format!("/users/{username}/tokens"), body).await;
        made["sha1"].as_str().expect("a token").to_owned()
    }

    /// Whether an access token lets in.
    async fn takes(&self, token: &str) -> bool {
        self.send(By::Token(token), "GET", "/user", Value::Null).await.status == 200
    }

    async fn user(&self, username: &str) -> Value {
        self.admin("GET", &format!("/users/{username}"), Value::Null).await
    }

    /// Changes fields of an account by hand.
    async fn edit(&self, username: &str, mut fields: Value) {
        let user = self.user(username).await;
        let before = user["login_name"].as_str().filter(|name| !name.is_empty()).unwrap_or(username).to_owned();
        fields["source_id"] = json!(0);
        fields.as_object_mut().expect("fields").entry("login_name").or_insert(json!(before));
        self.admin("PATCH", &format!("/admin/users/{username}"), fields).await;
    }

    async fn make_team(&self, organization: &str, team: &str) {
        let made = self.send(By::Administrator, "POST", "/orgs", json!({ "username": organization })).await;
        assert!(matches!(made.status, 201 | 422), "{}", made.body);
        let body = json!({ "name": team, "units_map": { "repo.code": "write" }, "includes_all_repositories": true });
        self.admin("POST", &format!("/orgs/{organization}/teams"), body).await;
    }

    /// The id of a team.
    async fn team(&self, organization: &str, team: &str) -> i64 {
        let teams = self.admin("GET", &format!("/orgs/{organization}/teams"), Value::Null).await;
        let team = teams.as_array().expect("teams").iter().find(|it| it["name"] == team).expect("a team");
        team["id"].as_i64().expect("an id")
    }

    async fn is_in(&self, organization: &str, team: &str, username: &str) -> bool {
        let id = self.team(organization, team).await;
        self.send(By::Administrator, "GET", &format!("/teams/{id}/members/{username}"), Value::Null).await.status == 200
    }

    fn connect(&self, url: &str, ca: &str, token: &str) -> Arc<dyn Connector> {
        let settings = provider::Gitea { url: url.to_owned(), credentials_secret: SecretKey::default(), ca_secret: None };
        let secrets = Secrets { credential: token.into(), ca: Some(ca.to_owned()) };
        connect(Kind::Gitea(&settings), secrets, Arc::new(Throttle::new(100_000))).expect("a connector")
    }

    fn usher(&self) -> Arc<dyn Connector> {
        self.connect(self.system.env("URL"), &self.ca, &self.token)
    }

    async fn proxy(&self) -> HttpsProxy {
        HttpsProxy::start(self.system.env("URL"), Some(&self.ca)).await
    }

    fn behind(&self, proxy: &HttpsProxy) -> Arc<dyn Connector> {
        self.connect(&proxy.url(), proxy.ca(), &self.token)
    }
}

/// By the thousands people are made in its database: one of them by its API, and the rest as it made that one.
const CROWD: &str = "
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=60)
first = dict(zip([it[1] for it in base.execute('pragma table_info(user)')], base.execute('select * from user where name = ?', ['stranger-0']).fetchone()))
address = dict(zip([it[1] for it in base.execute('pragma table_info(email_address)')], base.execute('select * from email_address where uid = ?', [first['id']]).fetchone()))
def insert(table, row):
    names = ', '.join('\"%s\"' % name for name in row)
    return base.execute('insert into %s (%s) values (%s)' % (table, names, ', '.join('?' * len(row))), list(row.values())).lastrowid
del first['id'], address['id']
for number in range(1, int(sys.argv[2])):
    name = 'stranger-%d' % number
    mail = name + '@example.com'
    uid = insert('user', dict(first, name=name, lower_name=name, email=mail))
    insert('email_address', dict(address, uid=uid, email=mail, lower_email=mail))
base.commit()
";

#[async_trait]
impl Target for Forge {
    async fn connector(&self) -> Arc<dyn Connector> {
        self.usher()
    }

    async fn faulty(&self, fault: Fault) -> Option<Arc<dyn Connector>> {
        let proxy = self.proxy().await;
        let connector = self.behind(&proxy);
        match fault {
            Fault::Closed => {
                let (listener, address) = crate::proxy::listen().await;
                drop(listener);
                return Some(self.connect(&format!("https://{address}"), &self.ca, &self.token));
            }
            Fault::Unauthorized => {
                self.revoke_token().await;
                return Some(self.usher());
            }
            Fault::Silent => proxy.silence(),
            Fault::CutAfter => proxy.cut_next_change(),
            Fault::Patience(seconds) => proxy.answer(100, &Told::patience(seconds)),
            Fault::Broken => proxy.answer(100, &Told::broken()),
            Fault::Echo(status) => proxy.echo(status),
        }
        self.proxies.lock().push(proxy);
        Some(connector)
    }

    fn login(&self, person: &str) -> String {
        format!("{person}-{}", self.number)
    }

    fn group(&self, name: &str) -> String {
        format!("{}/{name}", self.login("guild"))
    }

    async fn make_group(&self, group: &str) {
        let (organization, team) = group.split_once('/').expect("organization/team");
        self.make_team(organization, team).await;
    }

    async fn make_stranger(&self, username: &str, email: &str) -> String {
        let body = json!({ "username": username, "email": email, "password": PASSWORD, "must_change_password": false });
        self.admin("POST", "/admin/users", body).await["id"].to_string()
    }

    async fn make_crowd(&self, count: usize) {
        self.make_stranger("stranger-0", "stranger-0@example.com").await;
        let base = Path::new(self.system.env("CONFIG")).with_file_name("gitea.db");
        let made = Command::new("python3").args(["-c", CROWD]).arg(base).arg(count.to_string()).output().await.expect("python3");
        assert!(made.status.success(), "{}", said(&made));
    }

    async fn rename(&self, id: &str, username: &str) -> bool {
        let found = self.admin("GET", &format!("/users/search?uid={id}"), Value::Null).await;
        let before = found["data"][0]["login"].as_str().expect("a user").to_owned();
        self.admin("POST", &format!("/admin/users/{before}/rename"), json!({ "new_username": username })).await;
        true
    }

    async fn by_hand(&self, id: &str, hand: Hand<'_>) -> bool {
        let found = self.admin("GET", &format!("/users/search?uid={id}"), Value::Null).await;
        let login = found["data"][0]["login"].as_str().expect("a user").to_owned();
        let (method, group) = match hand {
            Hand::LetsIn => {
                self.edit(&login, json!({ "prohibit_login": false, "active": true })).await;
                return true;
            }
            Hand::Names(name) => {
                self.edit(&login, json!({ "full_name": name })).await;
                return true;
            }
            Hand::PutsInto(group) => ("PUT", group),
            Hand::TakesOutOf(group) => ("DELETE", group),
        };
        let (organization, team) = group.split_once('/').expect("organization/team");
        let team = self.team(organization, team).await;
        self.admin(method, &format!("/teams/{team}/members/{login}"), Value::Null).await;
        true
    }

    async fn exchange_credential(&self) -> Option<Arc<dyn Connector>> {
        self.revoke_token().await;
        Some(self.connect(self.system.env("URL"), &self.ca, &self.new_token().await))
    }

    async fn log_in(&self, username: &str, password: &str) -> bool {
        self.send(By::Password(username, password), "GET", "/user", Value::Null).await.status == 200
    }

    /// An access token and an SSH key of her own making.
    async fn issue(&self, username: &str, password: &str) -> Option<String> {
        let token = self.token_of((username, password), "hers", &["all"]).await;
        let (key, public) = self.git.key().await;
        self.as_one(By::Token(&token), "POST", "/user/keys", json!({ "title": "hers", "key": public })).await;
        Some(format!("{token} {}", key.display()))
    }

    /// Whether any of that still works.
    async fn accepts(&self, credential: &str) -> bool {
        let (token, key) = credential.split_once(' ').expect("two of them");
        self.takes(token).await || self.git.opens(Path::new(key)).await
    }

    async fn own(&self, username: &str, password: &str) -> bool {
        self.as_one(By::Password(username, password), "POST", "/user/repos", json!({ "name": "engine", "private": true })).await;
        true
    }

    async fn make_heir(&self) -> String {
        let heir = self.login("heir");
        self.make_stranger(&heir, &format!("{heir}@example.com")).await;
        heir
    }

    async fn heir_owns(&self, heir: &str) -> bool {
        let found = self.send(By::Administrator, "GET", &format!("/repos/{heir}/engine"), Value::Null).await;
        found.status == 200 && found.body["owner"]["login"] == heir
    }

    fn secret(&self) -> String {
        self.token.clone()
    }
}

conformance!(Forge::start().await, Forge::alone().await);
