//! The operator's own token: it is renewed in the file that a kubelet keeps, and ends there. Whoever renews late makes it end in the midst of work.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::{CALM, SOON, arrive, assert_nothing_twice, at_rest, depart, in_the_midst, newcomers, whole};
use crate::support::audit::{Audit, Event};
use crate::support::fleet::Fleet;
use crate::support::install::{Install, NAMESPACE, credential_of, write_kubeconfig_with};
use crate::support::operator::Operator;
use crate::support::{AuditLevel, ControlPlane, wait_until};

const SETTLED: usize = 6;
const NEWCOMERS: usize = 30;
/// A client reads the file again after a minute at most.
const RENEWED: Duration = Duration::from_secs(90);

/// A token of the operator that lives as long as a Secret does.
struct Mortal<'a> {
    client: &'a Client,
    life: String,
    token: String,
}

impl<'a> Mortal<'a> {
    async fn new(client: &'a Client, life: &str) -> Self {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
        let secret = serde_json::from_value(json!({"metadata": {"name": life}})).expect("a Secret");
        let secret = secrets.create(&PostParams::default(), &secret).await.expect("a Secret that a token is bound to");
        let bound = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            name: secret.metadata.name.clone(),
            uid: secret.uid(),
        };
        let spec = TokenRequestSpec { bound_object_ref: Some(bound), expiration_seconds: Some(86_400), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
        let answer = accounts.create_token_request("usher", &PostParams::default(), &request).await.expect("a token");
        Self { client, life: life.to_owned(), token: answer.status.expect("a token").token.expect("a token") }
    }

    /// Puts it where the operator reads it, at once and as a whole.
    fn put(&self, file: &Path) {
        let beside = file.with_extension("new");
        std::fs::write(&beside, &self.token).expect("space on the disk");
        std::fs::rename(&beside, file).expect("in the same folder");
    }

    async fn dies(&self) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        secrets.delete(&self.life, &DeleteParams::default()).await.expect("it was there");
    }

    fn sent(&self, event: &Event) -> bool {
        event.credential == credential_of(&self.token)
    }
}

#[tokio::test]
async fn token_renewed_in_its_file_is_taken_up_and_one_that_ends_loses_nothing() {
    let plane = ControlPlane::exclusive(AuditLevel::Request).await;
    let client = plane.admin_client().await;
    let install = Install::new(&plane, &["environments.default=false", "starterRoles=false"]).await;
    let file = install.dir().join("operator.token");
    let (first, second) = (Mortal::new(&client, "first").await, Mortal::new(&client, "second").await);
    first.put(&file);
    let kubeconfig = install.dir().join("by-file.kubeconfig");
    write_kubeconfig_with(&kubeconfig, &plane, &json!({"tokenFile": file}), NAMESPACE);
    let audit = Audit::from_now(&plane);
    let mut operator = Operator::start_by(&install, kubeconfig, &["--identity", "usher-0"]).await;
    operator.ready().await;
    let mut fleet = Fleet::new(SETTLED);
    fleet.settle_in(&client).await;

    // Renewed in time: it goes on as if nothing had been.
    second.put(&file);
    wait_until("the new token is used", RENEWED, async || {
        if audit.operator().iter().any(|event| second.sent(event)) { Ok(()) } else { Err("only the old one is") }
    })
    .await;
    first.dies().await;
    depart(&client, &mut fleet, "p05").await;
    whole(&client, &mut fleet).await;
    assert!(operator.is_alive(), "it went on by itself");

    // Ended before it was renewed: it cannot work, and says so by ending; with a new one it goes on where it was.
    let before = audit.still(CALM).await.len();
    let people = newcomers(NEWCOMERS);
    fleet.people.extend(people.clone());
    tokio::join!(arrive(&client, &people), async {
        in_the_midst(&audit, before, NEWCOMERS).await;
        second.dies().await;
    });
    let status = operator.ended(SOON).await;
    assert!(!status.success(), "whoever looks after it must start it again: {status}");
    let third = Mortal::new(&client, "third").await;
    third.put(&file);
    operator.restart().await;
    whole(&client, &mut fleet).await;
    assert_nothing_twice(&at_rest(&audit).await, &[]);
    plane.stop().await;
}
