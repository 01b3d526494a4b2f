//! usher's SCIM server, and what pushes to it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use usher::connectors::tls;

use super::client::{TEST, explain};
use super::evidence;
use super::install::NAMESPACE;
use super::operator::Operator;
use super::people::declare;
use super::wait_until;

/// The Secret with the certificate, as the chart's values call it.
const TLS_SECRET: &str = "usher-scim-tls";
const SOON: Duration = Duration::from_mins(1);

/// Puts a new certificate for this machine where the server finds it. Returns the CA that signed it.
pub async fn certify(client: &Client) -> String {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "a CA of a test");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name").signed_by(&key, &ca).expect("a certificate");
    secret(client, TLS_SECRET, "kubernetes.io/tls", &json!({"tls.crt": leaf.pem(), "tls.key": key.serialize_pem()})).await;
    ca.pem()
}

async fn secret(client: &Client, name: &str, of: &str, values: &Value) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": of, "stringData": values});
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let parameters = PatchParams::apply(TEST).force();
    secrets.patch(name, &parameters, &Patch::Apply(secret)).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
}

/// Puts a token for a Source where usher finds it.
pub async fn give_token(client: &Client, source: &str, token: &str) {
    secret(client, source, "Opaque", &json!({"token": token})).await;
}

/// A token that nobody guesses.
pub fn token() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("chance");
    let token = data_encoding::HEXLOWER.encode(&bytes);
    evidence::secret("the token of a sender", &token);
    token
}

/// Declares a Source to which somebody pushes. Groups are teams of the same name.
pub async fn declare_source(client: &Client, source: &str, more: Value) -> String {
    let token = token();
    give_token(client, source, &token).await;
    let mut spec = json!({"scim": {"tokenSecret": {"name": source, "key": "token"}}, "teams": [{"group": "{team}", "team": "{team}"}]});
    spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    declare(client, "Source", source, spec).await;
    token
}

/// What an identity provider is to the server.
#[derive(Clone)]
pub struct Sender {
    pub http: reqwest::Client,
    /// Where the Source is.
    pub base: String,
    /// What it sends as its token.
    pub token: String,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The id of the resource.
    #[track_caller]
    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id: {self:?}")).to_owned()
    }

    /// Fails unless the token was refused; others may have used up the patience with wrong ones.
    #[track_caller]
    pub fn is_refused(&self) {
        assert!(self.status == 401 || self.status == 429, "{self:?}");
    }

    /// A header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Fails unless that was the status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

impl Sender {
    /// One who pushes to an operator, as soon as that serves.
    pub async fn new(operator: &Operator, ca: &str, source: &str, token: &str) -> Self {
        let address = wait_until("the operator says where it serves SCIM", SOON, async || operator.scim().ok_or("it has not yet")).await;
        Self::at(&format!("https://{address}/scim/v2/{source}"), ca, token)
    }

    /// One who pushes to an address.
    pub fn at(base: &str, ca: &str, token: &str) -> Self {
        let http = reqwest::Client::builder().tls_backend_preconfigured(tls::config(Some(ca)).expect("a CA"));
        let http = http.timeout(Duration::from_secs(30)).build().expect("a client");
        Self { http, base: base.to_owned(), token: token.to_owned() }
    }

    /// Sends a request, with headers besides. An error says that there was no answer.
    pub async fn try_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Result<Answer, String> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/scim+json").body(body.to_string());
        }
        let response = request.send().await.map_err(|error| format!("{error:?}"))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.map_err(|error| format!("{error:?}"))?;
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))? };
        Ok(Answer { status, headers, body })
    }

    /// The same; no answer fails the test.
    pub async fn with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        self.try_with(method, path, headers, body).await.unwrap_or_else(|problem| panic!("{method} {path}: {problem}"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.with("GET", path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.with("POST", path, &[], Some(body)).await
    }

    pub async fn patch(&self, path: &str, operations: Value) -> Answer {
        self.with("PATCH", path, &[], Some(&patch_of(operations))).await
    }

    /// Resources that fit a filter.
    pub async fn find(&self, endpoint: &str, filter: &str) -> Value {
        let filter: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.get(&format!("/{endpoint}?filter={filter}")).await.is(200).body
    }

    /// Waits until the Source lets it in.
    pub async fn let_in(&self) {
        wait_until("the token is taken", SOON, async || {
            let answer = self.try_with("GET", "/ServiceProviderConfig", &[], None).await?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }
}

/// The body of a PATCH.
pub fn patch_of(operations: Value) -> Value {
    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations})
}
