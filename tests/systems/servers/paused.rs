//! A server whose processes are stopped takes connections and says nothing: a connector that was at work with it gives up in time, and goes on when it does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::Command;
use usher::api::environment::SecretKey;
use usher::api::provider::{Gitea, Keycloak, Ldap, Postgresql, Scim, System as Kind};
use usher::connectors::error::{ConnectorError, Retry};
use usher::connectors::throttle::Throttle;
use usher::connectors::{Connector, Secrets, connect};
use usher::plan::account::Managed;

use crate::conformance::named;
use crate::support::systems::System;

/// No call may take longer, whatever the system does.
const BOUND: Duration = Duration::from_secs(45);

fn connector(system: &System, kind: Kind<'_>, credential: &str) -> Arc<dyn Connector> {
    let ca = std::fs::read_to_string(system.ca_file()).expect("a CA");
    let secrets = Secrets { credential: credential.into(), ca: Some(ca) };
    connect(kind, secrets, Arc::new(Throttle::new(1_000))).expect("settings of use")
}

async fn is_given_up_and_goes_on(system: System, connector: Arc<dyn Connector>) {
    let managed = Managed::Only(BTreeSet::new());
    let look = async || connector.find(&named("nobody"), &managed).await;
    look().await.unwrap_or_else(|error| panic!("{}", error.chain()));
    system.pause();
    let since = Instant::now();
    let error = look().await.expect_err("it says nothing");
    assert!(matches!(error, ConnectorError::Unreachable { .. }) && error.retry() == Retry::Backoff, "{}", error.chain());
    assert!(since.elapsed() < BOUND, "it took {:?}", since.elapsed());
    system.resume();
    look().await.unwrap_or_else(|error| panic!("it goes on: {}", error.chain()));
    system.stop().await;
}

#[tokio::test]
async fn a_paused_gitea_is_given_up_in_time() {
    let system = System::start("gitea").await;
    let settings = Gitea { url: system.env("URL").to_owned(), credentials_secret: SecretKey::default(), ca_secret: None };
    let connector = connector(&system, Kind::Gitea(&settings), system.env("TOKEN"));
    is_given_up_and_goes_on(system, connector).await;
}

#[tokio::test]
async fn a_paused_keycloak_is_given_up_in_time() {
    let system = System::start("keycloak").await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/systems/keycloak");
    let mut command = Command::new(script);
    let made = command.arg("realm").arg(system.dir()).args(["staff", "manage-users", "view-clients"]).output().await.expect("it runs");
    assert!(made.status.success(), "{}", super::text(&made.stderr));
    let told = std::fs::read_to_string(system.dir().join("realm-staff.env")).expect("it says how usher is let in");
    let value = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).expect("a value");
    let settings = Keycloak {
        url: system.env("URL").to_owned(),
        realm: "staff".to_owned(),
        client_id: value("CLIENT_ID").to_owned(),
        credentials_secret: SecretKey::default(),
        ca_secret: None,
    };
    let connector = connector(&system, Kind::Keycloak(&settings), value("CLIENT_SECRET"));
    is_given_up_and_goes_on(system, connector).await;
}

#[tokio::test]
async fn a_paused_directory_is_given_up_in_time() {
    let system = System::start("ldap").await;
    let settings = Ldap {
        url: system.env("URL").to_owned(),
        bind_dn: system.env("ADMIN_USER").to_owned(),
        base_dn: system.env("PEOPLE_DN").to_owned(),
        group_base_dn: system.env("GROUPS_DN").to_owned(),
        ..Ldap::default()
    };
    let connector = connector(&system, Kind::Ldap(&settings), system.env("ADMIN_PASSWORD"));
    is_given_up_and_goes_on(system, connector).await;
}

#[tokio::test]
async fn a_paused_postgresql_is_given_up_in_time() {
    let system = System::start("postgresql").await;
    let url = format!("postgresql://127.0.0.1:{}/postgres", system.env("PORT"));
    let settings = Postgresql { url, user: system.env("ADMIN_USER").to_owned(), ..Postgresql::default() };
    let connector = connector(&system, Kind::Postgresql(&settings), system.env("ADMIN_PASSWORD"));
    is_given_up_and_goes_on(system, connector).await;
}

#[tokio::test]
async fn a_paused_scim_service_is_given_up_in_time() {
    let system = System::start("scim").await;
    let url = format!("{}/tenant/v2", system.env("URL"));
    let settings = Scim { url, credentials_secret: SecretKey::default(), ca_secret: None, disabling_revokes: false };
    let connector = connector(&system, Kind::Scim(&settings), system.env("TOKEN"));
    is_given_up_and_goes_on(system, connector).await;
}
