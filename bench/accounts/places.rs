//! Real systems with nobody in them: each run has one of its own, so that what one run leaves behind slows down no other.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ldap3::{LdapConnAsync, LdapConnSettings};
use serde_json::{Value, json};
use usher::api::ProviderSpec;
use usher::connectors::throttle::Throttle;
use usher::connectors::{Connector, Secrets, connect, tls};

use crate::support::systems::{System, shared};

/// Nothing waits for the throttle.
const UNBOUND: u32 = 1_000_000;
/// The group that everybody is to be in.
const GROUP: &str = "everybody";
/// What an LDAP group without members has.
const NOBODY: &str = "cn=empty-membership-placeholder";

/// A system with a group, and what usher needs to be let in.
pub struct Place {
    /// The sort: the field of a Provider's spec.
    pub kind: &'static str,
    /// What that field says, but for the Secrets.
    pub settings: Value,
    /// The credential.
    pub credential: String,
    /// The certificate of its CA.
    pub ca: String,
    /// The group, as Roles name it.
    pub group: String,
    /// What else a bare client needs.
    pub more: String,
    system: Option<System>,
}

impl Place {
    /// Where it is.
    pub fn url(&self) -> &str {
        self.settings["url"].as_str().expect("a URL")
    }

    /// The server, which is this place's alone.
    pub fn system(&self) -> &System {
        self.system.as_ref().expect("it has one of its own")
    }

    /// The same after it was started again.
    pub async fn restarted(mut self) -> Self {
        let system = self.system.take().expect("it has one of its own");
        Self { system: Some(system.restart().await), ..self }
    }

    /// The spec of a Provider for it, whose Secret has its name.
    pub fn spec(&self, secret: &str) -> Value {
        let mut settings = self.settings.clone();
        settings["credentialsSecret"] = json!({"name": secret, "key": "credential"});
        settings["caSecret"] = json!({"name": secret, "key": "ca.crt"});
        json!({self.kind: settings, "requestsPerSecond": 1_000})
    }

    /// A connector for it, elsewhere if something stands between.
    pub fn connect(&self, url: &str, ca: &str) -> Arc<dyn Connector> {
        let mut spec = self.spec("unused");
        spec[self.kind]["url"] = json!(url);
        let spec: ProviderSpec = serde_json::from_value(spec).expect("a spec");
        let secrets = Secrets { credential: self.credential.clone().into(), ca: Some(ca.to_owned()) };
        connect(spec.system().expect("a system"), secrets, Arc::new(Throttle::new(UNBOUND))).expect("a connector")
    }
}

fn certificate(system: &System) -> String {
    std::fs::read_to_string(system.ca_file()).expect("a certificate")
}

/// Requests of an administrator, who prepares things.
fn administrator(ca: &str) -> reqwest::Client {
    let tls = tls::config(Some(ca)).expect("a CA");
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("a client")
}

async fn post(request: reqwest::RequestBuilder, body: &Value) -> Value {
    let answer = request.json(body).send().await.expect("an answer");
    let (status, text) = (answer.status(), answer.text().await.expect("a body"));
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

/// A tenant of a SCIM server.
pub async fn scim() -> Place {
    let system = System::start("scim").await;
    let (ca, url, token) = (certificate(&system), format!("{}/bench/v2", system.env("URL")), system.env("TOKEN").to_owned());
    let group = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": GROUP});
    post(administrator(&ca).post(format!("{url}/Groups")).bearer_auth(&token), &group).await;
    Place {
        kind: "scim",
        settings: json!({"url": url, "disablingRevokes": true}),
        credential: token,
        ca,
        group: GROUP.to_owned(),
        more: String::new(),
        system: Some(system),
    }
}

/// A realm of the one Keycloak: another server would first have to get warm.
pub async fn keycloak() -> Place {
    static REALMS: AtomicUsize = AtomicUsize::new(0);
    let system = shared("keycloak").await;
    let name = format!("bench-{}", REALMS.fetch_add(1, Ordering::Relaxed));
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("hack/systems/keycloak");
    let mut command = tokio::process::Command::new(script);
    command.arg("realm").arg(system.dir()).arg(&name).args(["manage-users", "view-clients"]).stdout(Stdio::null());
    assert!(command.status().await.expect("it runs").success(), "no realm {name}");
    let said = std::fs::read_to_string(system.dir().join(format!("realm-{name}.env"))).expect("what it says of the realm");
    let value = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).expect("a value").to_owned();
    let (ca, admin, credential) = (certificate(system), value("ADMIN_URL"), value("CLIENT_SECRET"));
    let client = administrator(&ca);
    let form = [("grant_type", "client_credentials"), ("client_id", "usher"), ("client_secret", &credential)];
    let token: Value = client.post(value("TOKEN_URL")).form(&form).send().await.expect("an answer").json().await.expect("JSON");
    let token = token["access_token"].as_str().expect("a token");
    post(client.post(format!("{admin}/groups")).bearer_auth(token), &json!({"name": GROUP})).await;
    Place {
        kind: "keycloak",
        settings: json!({"url": system.env("URL"), "realm": name, "clientId": "usher"}),
        credential,
        ca,
        group: GROUP.to_owned(),
        more: String::new(),
        system: None,
    }
}

/// A forge with an organization, whose team is the group.
pub async fn gitea() -> Place {
    let system = System::start("gitea").await;
    let (ca, url, token) = (certificate(&system), system.env("URL").to_owned(), system.env("TOKEN").to_owned());
    let client = administrator(&ca);
    let asks = |path: &str| client.post(format!("{url}/api/v1/{path}")).header("Authorization", format!("token {token}"));
    post(asks("orgs"), &json!({"username": "acme"})).await;
    let team = json!({"name": GROUP, "units_map": {"repo.code": "write"}, "includes_all_repositories": true});
    post(asks("orgs/acme/teams"), &team).await;
    Place {
        kind: "gitea",
        settings: json!({"url": url}),
        credential: token,
        ca,
        group: format!("acme/{GROUP}"),
        more: String::new(),
        system: Some(system),
    }
}

/// A directory.
pub async fn ldap() -> Place {
    let system = System::start("ldap").await;
    let (ca, groups) = (certificate(&system), system.env("GROUPS_DN"));
    let settings = LdapConnSettings::new().set_config(tls::config(Some(&ca)).expect("a CA").into());
    let (connection, mut root) = LdapConnAsync::with_settings(settings, system.env("URL")).await.expect("a connection");
    tokio::spawn(async move { drop(connection.drive().await) });
    let bound = root.simple_bind(system.env("ROOT_DN"), system.env("ROOT_PASSWORD")).await;
    bound.expect("an answer").success().expect("root is let in");
    let entry = vec![("objectClass", ["groupOfNames"].into()), ("cn", [GROUP].into()), ("member", [NOBODY].into())];
    root.add(&format!("cn={GROUP},{groups}"), entry).await.expect("an answer").success().expect("a group");
    Place {
        kind: "ldap",
        settings: json!({
            "url": system.env("URL"), "bindDN": system.env("ADMIN_USER"), "baseDN": system.env("PEOPLE_DN"), "groupBaseDN": groups,
        }),
        credential: system.env("ADMIN_PASSWORD").to_owned(),
        ca,
        group: GROUP.to_owned(),
        more: String::new(),
        system: Some(system),
    }
}

/// A database server, with a role for usher that has the least rights.
pub async fn postgresql() -> Place {
    let system = System::start("postgresql").await;
    let ca = certificate(&system);
    let credential = "ushers-own-Passw0rd".to_owned();
    let admin = super::postgresql::log_in(system.env("PORT"), (system.env("ADMIN_USER"), system.env("ADMIN_PASSWORD")), &ca).await;
    let prepare = format!(
        "CREATE ROLE usher LOGIN CREATEROLE PASSWORD '{credential}'; GRANT pg_signal_backend TO usher; CREATE ROLE {GROUP} NOLOGIN;
        GRANT {GROUP} TO usher WITH ADMIN OPTION"
    );
    admin.batch_execute(&prepare).await.expect("prepared");
    Place {
        kind: "postgresql",
        settings: json!({"url": format!("postgresql://127.0.0.1:{}/postgres", system.env("PORT")), "user": "usher"}),
        credential,
        ca,
        group: GROUP.to_owned(),
        more: system.env("PORT").to_owned(),
        system: Some(system),
    }
}
