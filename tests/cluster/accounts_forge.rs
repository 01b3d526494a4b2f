//! From the Developer to her first commit at a real forge, and to the day she leaves (DESIGN.md, "The four figures").

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};
use usher::connectors::tls;

use crate::accounts::proxy::{HttpsProxy, Patience};
use crate::accounts::{NAMESPACE, SOON, ca, receipt, says, started, tells, told};
use crate::support::client::{kind, ready};
use crate::support::people::{Stage, declare, developer, edit, reaches, remove};
use crate::support::systems::System;
use crate::support::systems::git::Git;
use crate::support::{name, wait_until};

/// A forge as its administrator sees it, with an organization for one test, and the Provider that it is for usher.
pub struct Forge {
    pub system: System,
    http: reqwest::Client,
    pub provider: String,
    pub git: Git,
}

impl Forge {
    /// Declares one as a Provider.
    pub async fn new(client: &Client) -> Self {
        let forge = Self::start().await;
        forge.declare_itself(client, json!({})).await;
        forge
    }

    /// Declares it as a Provider, with what else is said of that.
    pub async fn declare_itself(&self, client: &Client, more: Value) {
        self.declare(client, self.system.env("URL"), &ca(&self.system), more).await;
    }

    /// The same behind a proxy, which sees every request of usher's and none of anybody else's.
    async fn behind_proxy(client: &Client, more: Value) -> (Self, HttpsProxy) {
        let forge = Self::start().await;
        let proxy = HttpsProxy::start(forge.system.env("URL"), Some(&ca(&forge.system))).await;
        forge.declare(client, &proxy.url(), proxy.ca(), more).await;
        (forge, proxy)
    }

    /// One that is no Provider yet.
    pub async fn start() -> Self {
        let system = System::start("gitea").await;
        let http = reqwest::Client::builder().tls_backend_preconfigured(tls::config(Some(&ca(&system))).expect("a CA")).no_proxy();
        let (http, git) = (http.build().expect("a client"), Git::of(&system));
        let forge = Self { system, http, provider: name("forge"), git };
        forge.organization("guild").await;
        forge
    }

    /// Makes an organization with one private repository, `engine`, and a team that may push to it, `developers`.
    pub async fn organization(&self, name: &str) {
        self.admin("/orgs", json!({"username": name})).await;
        let repository = json!({"name": "engine", "private": true, "auto_init": true, "default_branch": "main"});
        self.admin(&format!("/orgs/{name}/repos"), repository).await;
        let team = json!({"name": "developers", "units_map": {"repo.code": "write"}, "includes_all_repositories": true});
        self.admin(&format!("/orgs/{name}/teams"), team).await;
    }

    async fn declare(&self, client: &Client, url: &str, ca: &str, more: Value) {
        let data = json!({"token": self.system.env("TOKEN"), "ca.crt": ca});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.provider}, "stringData": data});
        let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
        secrets.create(&PostParams::default(), &serde_json::from_value(secret).expect("a Secret")).await.expect("made");
        let key = |key: &str| json!({"name": self.provider, "key": key});
        let gitea = json!({"url": url, "credentialsSecret": key("token"), "caSecret": key("ca.crt")});
        let mut spec = json!({"gitea": gitea, "requestsPerSecond": 200});
        spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        declare(client, "Provider", &self.provider, spec).await;
    }

    async fn admin(&self, path: &str, body: Value) {
        let url = format!("{}/api/v1{path}", self.system.env("URL"));
        let answer = self.http.post(url).bearer_auth(self.system.env("TOKEN")).json(&body).send().await.expect("an answer");
        let status = answer.status();
        assert!(status.is_success(), "{path}: {status} {}", answer.text().await.unwrap_or_default());
    }

    /// What its administrator is told; nothing of what is not there.
    async fn look(&self, path: &str) -> Option<Value> {
        let url = format!("{}/api/v1{path}", self.system.env("URL"));
        let answer = self.http.get(url).bearer_auth(self.system.env("TOKEN")).send().await.expect("an answer");
        let status = answer.status();
        assert!(status.is_success() || status == reqwest::StatusCode::NOT_FOUND, "{path}: {status}");
        if status.is_success() { Some(answer.json().await.expect("JSON")) } else { None }
    }

    /// Whether there is an account of that name.
    pub async fn knows(&self, username: &str) -> bool {
        self.look(&format!("/users/{username}")).await.is_some()
    }

    /// Who is in the team of an organization.
    pub async fn members(&self, organization: &str) -> BTreeSet<String> {
        let teams = self.look(&format!("/orgs/{organization}/teams")).await.expect("an organization");
        let team = teams.as_array().into_iter().flatten().find(|team| team["name"] == "developers").expect("a team");
        let members = self.look(&format!("/teams/{}/members", team["id"])).await.expect("a team");
        members.as_array().into_iter().flatten().filter_map(|member| member["login"].as_str().map(str::to_owned)).collect()
    }

    /// A new access token of somebody's.
    async fn token(&self, username: &str, password: &str) -> String {
        let url = format!("{}/api/v1/users/{username}/tokens", self.system.env("URL"));
        let request = self.http.post(url).basic_auth(username, Some(password)).json(&json!({"name": "hers", "scopes": ["all"]}));
        let made: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        made["sha1"].as_str().expect("a token").to_owned()
    }

    /// Whether somebody is let in with a password or token.
    pub async fn lets_in(&self, username: &str, secret: &str) -> bool {
        let url = format!("{}/api/v1/user", self.system.env("URL"));
        self.http.get(url).basic_auth(username, Some(secret)).send().await.expect("an answer").status().is_success()
    }

    /// A Role that gives an account in the team.
    pub async fn role(&self, client: &Client, stage: &Stage) -> String {
        let role = name("role");
        let entry = json!({"name": "work", "environments": [stage.environment], "clusterRoles": ["view"]});
        let accounts = json!([{"provider": self.provider, "groups": ["guild/developers"]}]);
        declare(client, "Role", &role, json!({"access": [entry], "accounts": accounts})).await;
        role
    }
}

/// What was delivered to somebody for a Provider: login, password and URL; and what she is told.
pub async fn delivered(client: &Client, person: &str, provider: &str) -> ([String; 3], String) {
    wait_until("her password is delivered", SOON, async || {
        let hers = ListParams::default().labels(&format!("usher.dev/developer={person}"));
        let secrets = Api::<Secret>::all(client.clone()).list(&hers.clone().fields("metadata.name=usher-accounts")).await.unwrap();
        let texts = Api::<ConfigMap>::all(client.clone()).list(&hers.fields("metadata.name=usher-welcome")).await.unwrap();
        let data = secrets.items.into_iter().next().and_then(|secret| secret.data).ok_or("no Secret")?;
        let value = |key: &str| {
            let value = data.get(&format!("{provider}.{key}")).ok_or_else(|| format!("no {key} in {:?}", data.keys()))?;
            String::from_utf8(value.0.clone()).map_err(|error| error.to_string())
        };
        let text = texts.items.into_iter().next().and_then(|map| map.data?.remove("welcome.txt")).ok_or("no welcome")?;
        Ok::<_, String>(([value("username")?, value("password")?, value("url")?], text))
    })
    .await
}

/// What is told of when somebody came, could work and pushed.
pub async fn timeline(client: &Client, person: &str) -> Value {
    kind(client, "Developer").await.get(person).await.expect("a Developer").data["status"]["timeline"].clone()
}

/// Waits until it is seen that somebody pushed, and gives the time of it.
pub async fn first_commit(client: &Client, person: &str) -> String {
    wait_until("her first commit is seen", SOON, async || {
        let timeline = timeline(client, person).await;
        timeline["firstCommitAt"].as_str().map(str::to_owned).ok_or_else(|| timeline.to_string())
    })
    .await
}

#[tokio::test]
async fn who_is_declared_pushes_and_leaves() {
    let (_shared, client, stage) = started().await;
    let forge = Forge::new(&client).await;
    let role = forge.role(&client, &stage).await;
    let person = name("ada");
    stage.binding(&role, &person).await;
    let (key, public) = forge.git.key().await;
    developer(&client, &person, json!({"sshKeys": [{"name": "laptop", "key": public}]})).await;
    tells(&client, &person, &forge.provider, "Active").await;
    let ([username, password, url], welcome) = delivered(&client, &person, &forge.provider).await;
    assert_eq!((username.as_str(), url.as_str()), (person.as_str(), forge.system.env("URL")));
    let clone = format!("git clone {url}/guild/REPOSITORY.git");
    assert!(welcome.contains(&clone) && !welcome.contains(&password), "{welcome}");
    assert!(timeline(&client, &person).await["firstCommitAt"].is_null(), "she did not push yet");

    let before = Timestamp::now();
    assert!(forge.git.pushes(None, &forge.git.https(&username, &password, "guild/engine")).await);
    let first = first_commit(&client, &person).await;
    let at: Timestamp = first.parse().expect("a time");
    // Gitea works pushes off in a queue, and dates them in whole seconds when their turn comes.
    let (second, seen) = (jiff::SignedDuration::from_secs(1), Timestamp::now());
    assert!(at >= before - second && at <= seen, "{before} {at} {seen}");

    let token = forge.token(&username, &password).await;
    assert!(forge.git.pushes(Some(key.as_path()), &forge.git.ssh("guild/engine")).await, "and with the key that she declared");
    assert!(forge.lets_in(&username, &password).await && forge.lets_in(&username, &token).await);
    // A look at her account after the second push.
    edit(&client, "Developer", &person, json!({"displayName": "Countess of Lovelace"})).await;
    ready(&client, &person).await;
    assert_eq!(timeline(&client, &person).await["firstCommitAt"], json!(first));

    edit(&client, "Developer", &person, json!({"state": "Departed"})).await;
    let receipt = receipt(&client, &person, &forge.provider, "Disabled").await;
    assert!(!forge.lets_in(&username, &password).await && !forge.lets_in(&username, &token).await && !forge.git.opens(&key).await);
    assert!(!forge.git.pushes(None, &forge.git.https(&username, &password, "guild/engine")).await);
    assert!(!forge.git.pushes(Some(key.as_path()), &forge.git.ssh("guild/engine")).await);
    let lines = receipt.data["status"]["targets"].as_array().cloned().unwrap_or_default();
    let line = lines.iter().find(|it| it["target"] == format!("provider/{}", forge.provider)).expect("a line");
    let account = told(&client, &person, &forge.provider).await;
    assert!(line["username"] == json!(username) && account["state"] == "Disabled", "{line} {account}");
    assert_eq!(timeline(&client, &person).await["firstCommitAt"], json!(first), "what was is not undone");
    remove(&client, "Developer", &person).await;
    remove(&client, "Provider", &forge.provider).await;
}

/// It is only asked whether she pushed, and the forge asks for patience: it is left alone for as long as it says, and her push meanwhile is not missed.
#[tokio::test]
async fn a_look_for_pushes_waits_as_long_as_the_forge_asks_for() {
    const WAIT: Duration = Duration::from_secs(15);
    let (_shared, client, stage) = started().await;
    let (forge, proxy) = Forge::behind_proxy(&client, json!({"verifyEvery": "24h"})).await;
    let role = forge.role(&client, &stage).await;
    let person = name("ada");
    stage.binding(&role, &person).await;
    developer(&client, &person, json!({})).await;
    tells(&client, &person, &forge.provider, "Active").await;
    let ([username, password, _], _) = delivered(&client, &person, &forge.provider).await;
    ready(&client, &person).await;

    let patience = Patience::ask(&proxy, WAIT, |asked| asked.path.contains("/activities/feeds"));
    let message = says(&client, "Provider", &forge.provider, "Connected", "RateLimited").await;
    assert!(message.contains("the system asks to wait"), "{message}");
    assert!(forge.git.pushes(None, &forge.git.https(&username, &password, "guild/engine")).await);
    first_commit(&client, &person).await;
    patience.was_kept();
    reaches(&client, "Provider", &forge.provider, "/status/state", "Connected").await;
    remove(&client, "Provider", &forge.provider).await;
}
