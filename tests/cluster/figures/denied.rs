//! Denied requests, as the API server's audit webhook tells of them: only those are errors that a Role allows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams};
use kube::{Client, Error};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::House;
use crate::support::client::ready;
use crate::support::install::{NAMESPACE, token, write_kubeconfig};
use crate::support::people::{IDENTITIES, account};
use crate::support::scrape::Scrape;
use crate::support::{AuditLevel, ControlPlane, client_of, evidence, wait_until};

const SECRET: &str = "usher-audit-webhook";
const SOON: Duration = Duration::from_mins(1);

/// A certificate for loopback, a token, and the kubeconfig by which an API server sends to a port.
struct Way {
    folder: TempDir,
    certificate: String,
    key: String,
    token: String,
    port: u16,
}

impl Way {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("chance");
        let token = data_encoding::HEXLOWER.encode(&bytes);
        evidence::secret("token", &token);
        let way = Self {
            folder: tempfile::tempdir().expect("a folder"),
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            token,
            port,
        };
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "usher",
            "clusters": [{"name": "usher", "cluster": {"server": way.url(), "certificate-authority-data": BASE64.encode(way.certificate.as_bytes())}}],
            "users": [{"name": "api-server", "user": {"token": way.token}}],
            "contexts": [{"name": "usher", "context": {"cluster": "usher", "user": "api-server"}}],
        });
        std::fs::write(way.kubeconfig(), config.to_string()).expect("space on the disk");
        way
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("audit.kubeconfig")
    }

    /// Flags for the API server. They live as long as the process, of which there are few.
    fn flags(&self) -> &'static [&'static str] {
        let flag: &'static str = format!("--audit-webhook-config-file={}", self.kubeconfig().display()).leak();
        vec![flag, "--audit-webhook-mode=batch", "--audit-webhook-batch-max-wait=500ms"].leak()
    }

    fn secret(&self) -> String {
        let data = json!({"tls.crt": self.certificate, "tls.key": self.key, "token": self.token});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE}, "stringData": data}).to_string()
    }

    /// Sends something by hand.
    async fn send(&self, token: Option<&str>, body: Vec<u8>) -> Result<Response, reqwest::Error> {
        let tls = usher::connectors::tls::config(Some(&self.certificate)).expect("a CA");
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().expect("a client");
        let request = client.post(self.url()).body(body);
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        request.send().await
    }
}

/// Somebody's own client.
async fn logged_in(house: &House, person: &str, folder: &Path) -> Client {
    let name = account(&ready(&house.client, person).await);
    let token = token(&house.plane, IDENTITIES, &name).await;
    evidence::secret("token", &token);
    let file = folder.join(format!("{person}.kubeconfig"));
    write_kubeconfig(&file, &house.plane, &token, "default");
    client_of(&file).await
}

#[track_caller]
fn denied<T: std::fmt::Debug>(answer: Result<T, Error>) {
    match answer {
        Err(Error::Api(status)) if status.code == 403 => {}
        other => panic!("{other:?}"),
    }
}

impl House {
    /// What no Role gives her is denied rightly, however often; usher hears of it and counts nothing.
    async fn rightly(&self, ada: &Client) {
        denied(Api::<Secret>::namespaced(ada.clone(), "one").list(&ListParams::default()).await);
        denied(Api::<Pod>::namespaced(ada.clone(), "kube-system").list(&ListParams::default()).await);
        wait_until("usher was told", SOON, async || {
            let told = Scrape::of(&self.operator).await?.value("usher_audit_denials_total", &[]);
            if told.is_some_and(|told| told >= 2.0) { Ok(()) } else { Err(format!("{told:?}\n{}", self.operator.log())) }
        })
        .await;
        let none = [("/accessErrorRate/denied", json!(0)), ("/accessErrorRate/errors", json!(0)), ("/accessErrorRate/value", json!("0%"))];
        self.reads("all", &none).await;
    }

    /// What her Role gives her is denied, as somebody took the binding away while usher was kept from putting it back.
    async fn wrongly(&self, ada: &Client) {
        self.pause_role(json!("true")).await;
        self.take("two").await;
        let pods = Api::<Pod>::namespaced(ada.clone(), "two");
        wait_until("the API server denies", SOON, async || match pods.list(&ListParams::default()).await {
            Err(Error::Api(status)) if status.code == 403 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        self.reads("all", &[("/accessErrorRate/denied", json!(1)), ("/accessErrorRate/worst/0/kind", json!("Missing"))]).await;
        self.pause_role(Value::Null).await;
        let hers = [
            ("/accessErrorRate/denied", json!(1)),
            ("/accessErrorRate/errors", json!(1)),
            ("/accessErrorRate/worst/0/kind", json!("Denied")),
            ("/accessErrorRate/worst/0/developer", json!("ada")),
            ("/accessErrorRate/worst/0/target", json!("environment/two")),
            ("/accessErrorRate/worst/0/message", json!("list pods in namespace two was denied")),
        ];
        let rate =
            |expected: usize, value: &str| [("/accessErrorRate/expected", json!(expected)), ("/accessErrorRate/value", json!(value))];
        self.reads("all", &[&hers[..], &rate(5, "20%")].concat()).await;
        self.reads("team-payments", &[&hers[..], &rate(4, "25%")].concat()).await;
        self.reads("team-search", &[("/accessErrorRate/denied", json!(0))]).await;
    }
}

#[tokio::test]
async fn a_denied_request_is_an_error_if_and_only_if_a_role_allows_it() {
    let way = Way::new();
    let plane = ControlPlane::exclusive_with(AuditLevel::Metadata, way.flags()).await;
    let listen = format!("127.0.0.1:{}", way.port);
    let house = House::on(plane, Some(&way.secret()), &["--audit-listen", &listen]).await;
    house.everything_is_in_order().await;
    let ada = logged_in(&house, "ada", way.folder.path()).await;
    house.rightly(&ada).await;
    house.wrongly(&ada).await;

    let status = async |token: Option<&str>, body: &[u8]| way.send(token, body.to_vec()).await.expect("an answer").status();
    let good = Some(way.token.as_str());
    assert_eq!(status(None, b"{}").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(Some("guessed"), b"{}").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(good, b"not JSON").await, StatusCode::BAD_REQUEST);
    assert_eq!(status(good, b"{\"items\": []}").await, StatusCode::OK);
    // One that is too long is refused by an answer, or by the end of the connection in its middle.
    let long = way.send(good, vec![b' '; 5 * 1024 * 1024]).await.map(|answer| answer.status());
    assert!(long.as_ref().map_or(true, |status| *status == StatusCode::PAYLOAD_TOO_LARGE), "{long:?}");
    assert_eq!(status(good, b"{\"items\": []}").await, StatusCode::OK, "it goes on");
    house.ends().await;
}
