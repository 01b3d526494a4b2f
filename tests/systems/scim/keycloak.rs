//! The same cases against Keycloak's SCIM, which is another author's: PATCH answers with a body, members are told only when asked for, and marks are lost unless
//! the realm's user profile has a place for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::process::Command;
use usher::connectors::Connector;
use usher::connectors::error::ConnectorError;
use usher::plan::account::{AccountChange, AccountState, Capability, Managed};

use super::habits::without_patch;
use super::{Service, stranger};
use crate::conformance;
use crate::conformance::{Fault, Target, can, owner, profile, read};
use crate::proxy::Asked;
use crate::support::systems::{System, shared};

/// A realm of its own for one test.
struct Realm {
    service: Service,
    system: &'static System,
    name: String,
    /// The client that usher is there, and its secret.
    client: [String; 2],
}

impl Realm {
    /// A realm whose user profile keeps externalId and displayName.
    async fn start() -> Self {
        let realm = Self::plain().await;
        realm.keep(&["externalId", "displayName"]).await;
        realm
    }

    /// Makes places for attributes of SCIM in the user profile.
    async fn keep(&self, names: &[&str]) {
        let mut profile = self.admin("GET", "/users/profile", &Value::Null).await;
        let attributes = profile["attributes"].as_array_mut().expect("attributes");
        for name in names {
            // She may neither see nor change what only administrators may.
            let permissions = json!({ "view": ["admin"], "edit": ["admin"] });
            let own = name.rsplit(':').next();
            attributes.push(json!({ "name": own, "permissions": permissions, "annotations": { "kc.scim.schema.attribute": name } }));
        }
        self.admin("PUT", "/users/profile", &profile).await;
    }

    /// A realm as it is when it was made.
    async fn plain() -> Self {
        static REALMS: AtomicU64 = AtomicU64::new(0);
        let system = shared("keycloak").await;
        let name = format!("scim-{}", REALMS.fetch_add(1, Ordering::Relaxed));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/systems/keycloak");
        let made = Command::new(script).arg("realm").arg(system.dir()).arg(&name).output().await.expect("the script runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let file = std::fs::read_to_string(system.dir().join(format!("realm-{name}.env"))).expect("its settings");
        let variable = |key: &str| file.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).expect("a setting").to_owned();
        let ca = std::fs::read_to_string(system.ca_file()).expect("a CA");
        let service = Service::new(variable("SCIM_URL"), String::new(), ca);
        let client = [variable("CLIENT_ID"), variable("CLIENT_SECRET")];
        let mut realm = Self { service, system, name, client };
        realm.service.token = realm.token().await;
        realm
    }

    /// Where the realm gives tokens and takes them back.
    fn openid(&self, path: &str) -> String {
        format!("{}/realms/{}/protocol/openid-connect/{path}", self.system.env("URL"), self.name)
    }

    /// A new token of usher's.
    async fn token(&self) -> String {
        let [id, secret] = self.client.each_ref().map(String::as_str);
        let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
        token(&self.service, &self.openid("token"), &form).await.expect("a token")
    }

    /// Takes a token of usher's back (RFC 7009).
    async fn revoke(&self, token: &str) {
        let [id, secret] = self.client.each_ref().map(String::as_str);
        let form = [("token", token), ("client_id", id), ("client_secret", secret)];
        let answer = self.service.client.post(self.openid("revoke")).form(&form).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// A request of the administrator's, below the realm.
    async fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = self.system.env("URL");
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", self.system.env("ADMIN_USER")),
            ("password", self.system.env("ADMIN_PASSWORD")),
        ];
        let token = token(&self.service, &format!("{url}/realms/master/protocol/openid-connect/token"), &form).await.expect("a token");
        let request = self.service.client.request(method.parse().expect("a method"), format!("{url}/admin/realms/{}{path}", self.name));
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.bearer_auth(token).send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// What the realm gives to somebody who logs in by a password.
    async fn log_in(&self, username: &str, password: &str) -> Option<String> {
        let form = [("grant_type", "password"), ("client_id", "kubernetes"), ("username", username), ("password", password)];
        token(&self.service, &self.openid("token"), &form).await
    }
}

async fn token(service: &Service, url: &str, form: &[(&str, &str)]) -> Option<String> {
    let answer: Value = service.client.post(url).form(form).send().await.expect("an answer").json().await.expect("JSON");
    answer["access_token"].as_str().map(ToOwned::to_owned)
}

#[async_trait]
impl Target for Realm {
    async fn connector(&self) -> Arc<dyn Connector> {
        self.service.connector()
    }

    async fn faulty(&self, fault: Fault) -> Option<Arc<dyn Connector>> {
        Some(self.service.faulty(fault).await)
    }

    fn group(&self, name: &str) -> String {
        name.to_owned()
    }

    async fn make_group(&self, group: &str) {
        self.service.make_group(group).await;
    }

    async fn make_stranger(&self, username: &str, email: &str) -> String {
        self.service.make("/Users", &stranger(username, email)).await
    }

    async fn make_crowd(&self, count: usize) {
        let user = |number: usize| json!({ "username": format!("stranger-{number}"), "email": format!("stranger-{number}@example.com"), "enabled": true });
        let users: Vec<Value> = (0..count).map(user).collect();
        self.admin("POST", "/partialImport", &json!({ "ifResourceExists": "FAIL", "users": users })).await;
    }

    async fn rename(&self, id: &str, username: &str) -> bool {
        self.service.set(&format!("/Users/{id}"), &json!({ "userName": username })).await;
        true
    }

    async fn exchange_credential(&self) -> Option<Arc<dyn Connector>> {
        let fresh = self.token().await;
        self.revoke(&self.service.token).await;
        Some(self.service.connect(&Service::settings(&self.service.url), &self.service.ca, &fresh))
    }

    async fn log_in(&self, _: &str, _: &str) -> bool {
        unreachable!("its SCIM sets no passwords")
    }

    async fn issue(&self, _: &str, _: &str) -> Option<String> {
        unreachable!("its SCIM sets no passwords")
    }

    async fn accepts(&self, _: &str) -> bool {
        unreachable!("its SCIM sets no passwords")
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

conformance!(Realm::start().await);

const NONE: Managed = Managed::Only(std::collections::BTreeSet::new());

/// It says in its schemas that it keeps externalId, repeats it when an account is made, and drops it.
#[tokio::test]
async fn a_realm_without_a_place_for_marks_is_found_out() {
    let realm = Realm::plain().await;
    let connector = realm.connector().await;
    assert!(can(connector.as_ref(), Capability::Mark).await, "nobody is there who could tell");
    let create = AccountChange::Create { profile: connector.keeps(profile("ada")), owner: owner("ada") };
    let id = connector.apply(&create).await.expect("made").id.expect("an id");
    let account = read(connector.as_ref(), &id, &NONE).await;
    assert_eq!((account.owner, account.profile), (None, connector.keeps(profile("ada"))), "her name is put together of its parts");
    assert!(!can(connector.as_ref(), Capability::Mark).await);
    let error = connector.apply(&AccountChange::Adopt { id: id.clone(), owner: owner("ada") }).await.expect_err("it is not kept");
    assert!(matches!(error, ConnectorError::Rejected { .. }), "{}", error.chain());
    let mut married = connector.keeps(profile("ada"));
    married.display_name = "Ada".to_owned();
    connector.apply(&AccountChange::SetProfile { id: id.clone(), profile: married.clone() }).await.expect("changed");
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.profile, married, "a name of one word, too");
}

/// Locked out is locked out: at the door, not only in what SCIM tells.
#[tokio::test]
async fn who_is_disabled_cannot_log_in() {
    let realm = Realm::start().await;
    let connector = realm.connector().await;
    let create = AccountChange::Create { profile: connector.keeps(profile("ada")), owner: owner("ada") };
    let id = connector.apply(&create).await.expect("made").id.expect("an id");
    let password = json!({ "type": "password", "value": "Analytical-1843", "temporary": false });
    realm.admin("PUT", &format!("/users/{id}/reset-password"), &password).await;
    for (enabled, state) in [(false, AccountState::Disabled), (true, AccountState::Enabled)] {
        assert!(realm.log_in("ada", "Analytical-1843").await.is_some() != enabled);
        connector.apply(&AccountChange::SetEnabled { id: id.clone(), enabled }).await.expect("changed");
        assert_eq!(read(connector.as_ref(), &id, &NONE).await.state, state);
    }
    assert!(realm.log_in("ada", "Analytical-1843").await.is_some());
}

/// A token without the audience that its SCIM wants is refused, and the remedy is about usher's own credential.
#[tokio::test]
async fn a_token_of_somebody_else_is_refused() {
    let realm = Realm::plain().await;
    let other = Realm::plain().await;
    let connector = realm.service.connect(&Service::settings(&realm.service.url), &realm.service.ca, &other.service.token);
    let error = connector.probe().await.expect_err("refused");
    assert!(matches!(error, ConnectorError::Unauthorized { .. }), "{}", error.chain());
}

/// Without PATCH all of a user is put, with what others keep of her. Keycloak wants her id in it, and would itself forgive what is left out: so that is looked at.
#[tokio::test]
async fn what_others_keep_of_a_user_outlives_a_put() {
    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let realm = Realm::start().await;
    realm.keep(&["title", "nickName", &format!("{ENTERPRISE}:department")]).await;
    let mut ada = stranger("ada", "ada@example.com");
    ada["schemas"].as_array_mut().expect("a list").push(json!(ENTERPRISE));
    (ada["title"], ada["nickName"], ada[ENTERPRISE]) = (json!("Countess"), json!("Enchantress"), json!({ "department": "Engines" }));
    let id = realm.service.make("/Users", &ada).await;
    let (path, own_path) = (&format!("/Users/{id}"), &format!("/users/{id}"));
    let mut own = realm.admin("GET", own_path, &Value::Null).await;
    (own["attributes"]["phone"], own["emailVerified"]) = (json!(["+44 20 1815"]), json!(true));
    realm.admin("PUT", own_path, &own).await;
    let theirs = |user: &Value| ["title", "nickName", ENTERPRISE].map(|name| user[name].clone());
    let proxy = realm.service.proxy().await;
    proxy.edit(without_patch);
    let connector = realm.service.connector_behind(&proxy);
    let mut married = connector.keeps(profile("ada"));
    married.display_name = "Ada King".to_owned();
    for change in [
        AccountChange::Adopt { id: id.clone(), owner: owner("ada") },
        AccountChange::SetProfile { id: id.clone(), profile: married.clone() },
        AccountChange::SetEnabled { id: id.clone(), enabled: false },
        AccountChange::SetEnabled { id: id.clone(), enabled: true },
    ] {
        proxy.forget();
        connector.apply(&change).await.unwrap_or_else(|error| panic!("{change:?}: {}", error.chain()));
        let puts: Vec<Asked> = proxy.asked().into_iter().filter(Asked::changes).collect();
        assert!(puts.len() == 1 && puts[0].method == "PUT", "{change:?}: {:?}", proxy.counts());
        let put = puts[0].json();
        assert_eq!((&put["id"], &put["externalId"], theirs(&put)), (&json!(id), &json!(owner("ada").mark()), theirs(&ada)), "{change:?}");
        let now = realm.admin("GET", own_path, &Value::Null).await;
        assert_eq!((&now["attributes"]["phone"], &now["emailVerified"]), (&json!(["+44 20 1815"]), &json!(true)), "after {change:?}");
        assert_eq!(theirs(&realm.service.ask("GET", path, &Value::Null).await), theirs(&ada), "after {change:?}");
    }
    let account = read(connector.as_ref(), &id, &NONE).await;
    assert_eq!((account.owner, account.profile, account.state), (Some(owner("ada")), married, AccountState::Enabled));
}
