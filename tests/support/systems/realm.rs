//! A realm of the Keycloak that tests share, as its administrator sees it. It is made as `hack/keycloak-realm.json` says, with keys that are quick to make.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{System, shared};

/// A realm for one test alone.
pub struct Realm {
    pub system: &'static System,
    pub name: String,
    pub secret: String,
    pub ca: String,
    pub client: reqwest::Client,
}

/// What was answered.
pub struct Reply {
    pub status: u16,
    pub location: String,
    pub body: Value,
}

#[allow(dead_code, reason = "each test binary uses some of it")]
impl Realm {
    /// A realm where usher's service account has these roles, with other settings.
    pub async fn with(roles: &[&str], edit: impl FnOnce(&mut Value)) -> Self {
        static REALMS: AtomicU64 = AtomicU64::new(0);
        let system = shared("keycloak").await;
        let ca = std::fs::read_to_string(system.ca_file()).expect("a CA");
        let tls = usher::connectors::tls::config(Some(&ca)).expect("a CA");
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("a client");
        let number = REALMS.fetch_add(1, Ordering::Relaxed);
        let (name, secret) = (format!("realm-{number}"), format!("secret-of-usher-{number}"));
        let realm = Self { system, name, secret, ca, client };
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
    pub async fn administrator(&self) -> String {
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
    pub async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let url = format!("{}{path}", self.system.env("URL"));
        let request = self.client.request(method.parse().expect("a method"), url).bearer_auth(self.administrator().await);
        reply(body.iter().fold(request, reqwest::RequestBuilder::json)).await
    }

    /// The same below the realm; its answer must be a success.
    pub async fn admin(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = Some(body).filter(|body| !body.is_null());
        let reply = self.send(method, &format!("/admin/realms/{}{path}", self.name), body.as_ref()).await;
        assert!((200..300).contains(&reply.status), "{method} {path}: {} {}", reply.status, reply.body);
        reply
    }

    pub async fn form(&self, realm: &str, form: &[(&str, &str)]) -> Reply {
        let url = format!("{}/realms/{realm}/protocol/openid-connect/token", self.system.env("URL"));
        reply(self.client.post(url).form(form)).await
    }

    /// Changes settings of the realm.
    pub async fn set(&self, settings: Value) {
        self.admin("PUT", "", settings).await;
    }

    /// A user as Keycloak tells her.
    pub async fn user(&self, id: &str) -> Value {
        self.admin("GET", &format!("/users/{id}"), Value::Null).await.body
    }

    pub async fn make_user(&self, user: Value) -> String {
        id_in(&self.admin("POST", "/users", user).await)
    }

    /// A user with all that Keycloak itself keeps of one.
    pub async fn make_whole(&self, username: &str, email: &str) -> String {
        let attributes = json!({ "department": ["engines"], "phone": ["1", "2"] });
        let user = json!({
            "username": username, "email": email, "firstName": "Some", "lastName": "Body", "enabled": true, "emailVerified": true, "attributes": attributes,
        });
        self.make_user(user).await
    }

    /// The id of the client of that name.
    pub async fn client_id(&self, name: &str) -> String {
        let found = self.admin("GET", &format!("/clients?clientId={name}"), Value::Null).await.body;
        found[0]["id"].as_str().expect("a client").to_owned()
    }

    /// The id of a group, given as its path.
    pub async fn group_id(&self, path: &str) -> String {
        let group = self.admin("GET", &format!("/group-by-path/{path}"), Value::Null).await.body;
        group["id"].as_str().expect("an id").to_owned()
    }

    /// Makes a group within another one, which is made if it is not there: `engineering/payments`.
    pub async fn make_group_at(&self, path: &str) {
        let (parent, name) = path.split_once('/').expect("a path");
        let root = self.send("POST", &format!("/admin/realms/{}/groups", self.name), Some(&json!({ "name": parent }))).await;
        assert!(matches!(root.status, 201 | 409), "{}", root.body);
        let parent = self.group_id(parent).await;
        self.admin("POST", &format!("/groups/{parent}/children"), json!({ "name": name })).await;
    }

    /// Puts somebody into a group.
    pub async fn join(&self, user: &str, group: &str) {
        self.admin("PUT", &format!("/users/{user}/groups/{}", self.group_id(group).await), Value::Null).await;
    }

    /// Takes somebody out of a group.
    pub async fn leave(&self, user: &str, group: &str) {
        self.admin("DELETE", &format!("/users/{user}/groups/{}", self.group_id(group).await), Value::Null).await;
    }

    /// Makes so many users that nobody has to make one by one.
    pub async fn make_crowd_of(&self, prefix: &str, count: usize) {
        let user = |number: usize| {
            let name = format!("{prefix}-{number}");
            json!({ "username": name, "email": format!("{name}@example.com"), "firstName": "Stranger", "lastName": number.to_string(), "enabled": true })
        };
        let users: Vec<Value> = (0..count).map(user).collect();
        self.admin("POST", "/partialImport", json!({ "ifResourceExists": "FAIL", "users": users })).await;
    }
}

/// The answer to a request, whatever it is.
pub async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let answer = request.send().await.expect("an answer");
    let location = answer.headers().get("location").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    Reply { status, location, body: serde_json::from_str(&text).unwrap_or_default() }
}

/// The id of what was made.
#[allow(dead_code, reason = "each test binary uses some of it")]
pub fn id_in(reply: &Reply) -> String {
    reply.location.rsplit('/').next().expect("an id").to_owned()
}
