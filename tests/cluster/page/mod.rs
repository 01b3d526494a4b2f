//! The web page (docs/tasks/web-page.md), in a real browser: what it shows is what the record says, to whoever may list that, with mouse and keyboard.

mod access;
mod crowd;
mod keyboard;
mod refused;
mod timeline;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

use crate::support::browser::Browser;
use crate::support::client::{explain, namespace};
use crate::support::install::token;
use crate::support::operator::Operator;
use crate::support::people::{Stage, declare, grants};
use crate::support::{ControlPlane, Shared, name, operated, wait_until};

const SOON: Duration = Duration::from_mins(1);

/// Somebody in a team that holds a Role, and the page.
struct House {
    shared: Shared,
    client: Client,
    stage: Stage,
    /// Where the page is.
    url: String,
    person: String,
    team: String,
    role: String,
    binding: String,
}

impl House {
    async fn new() -> Self {
        let shared = operated().await;
        let client = shared.client.clone();
        let stage = Stage::new(&client).await;
        let (person, team, binding) = (name("ada"), name("team"), name("bind"));
        let role = stage.role("view").await;
        declare(&client, "Binding", &binding, serde_json::json!({"role": role, "teams": [team], "reason": "Works on payments"})).await;
        stage.person(&person, serde_json::json!({"teams": [team], "displayName": "Ada Lovelace"})).await;
        let url = address(&shared.all.operator).await;
        let house = Self { shared, client, stage, url, person, team, role, binding };
        wait_until("she has a Grant", SOON, async || {
            let grants = grants(&house.client, &house.person).await;
            if grants.iter().any(|grant| grant.role == house.role) { Ok(()) } else { Err(format!("{grants:?}")) }
        })
        .await;
        house
    }

    /// A token of somebody who may list these kinds of usher's; all of them where nothing is named.
    async fn reader(&self, kinds: &[&str]) -> String {
        reader(&self.shared.all.plane, &self.client, kinds).await
    }

    /// A browser in which somebody is signed in who may list everything.
    async fn signed_in(&self) -> Browser {
        let browser = Browser::start().await;
        browser.goto(&self.url).await;
        sign_in(&browser, &self.reader(&["*"]).await).await;
        browser.reads("#user", |user| user.starts_with("system:serviceaccount:")).await;
        browser
    }

    /// The same, with only this one person in the matrix.
    async fn looking_at_her(&self) -> Browser {
        let browser = self.signed_in().await;
        browser.fill("#filter", &self.person).await;
        browser.reads("#told", |told| told.starts_with("1 person")).await;
        browser
    }
}

/// Where an operator serves the page.
async fn address(operator: &Operator) -> String {
    let address = wait_until("the operator says where it serves the page", SOON, async || operator.page().ok_or("it has not yet")).await;
    format!("https://{address}/")
}

/// Signs in as people do.
async fn sign_in(browser: &Browser, token: &str) {
    browser.fill("#token", token).await;
    browser.click("#sign-in button").await;
}

/// A token of a ServiceAccount that may list these kinds of usher's.
async fn reader(plane: &ControlPlane, client: &Client, kinds: &[&str]) -> String {
    let (place, account) = (name("readers"), name("reader"));
    namespace(client, &place, &[]).await;
    let metadata =
        |namespace: Option<&String>| ObjectMeta { name: Some(account.clone()), namespace: namespace.cloned(), ..ObjectMeta::default() };
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &place);
    let made =
        accounts.create(&PostParams::default(), &ServiceAccount { metadata: metadata(Some(&place)), ..ServiceAccount::default() }).await;
    made.unwrap_or_else(|error| panic!("{}", explain(&error)));
    let kinds: BTreeSet<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    if !kinds.is_empty() {
        let rule = PolicyRule {
            api_groups: Some(vec!["usher.dev".to_owned()]),
            resources: Some(kinds.into_iter().collect()),
            verbs: vec!["list".to_owned()],
            ..PolicyRule::default()
        };
        let roles: Api<ClusterRole> = Api::all(client.clone());
        let role = ClusterRole { metadata: metadata(None), rules: Some(vec![rule]), ..ClusterRole::default() };
        roles.create(&PostParams::default(), &role).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
        let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
        let subject =
            Subject { kind: "ServiceAccount".to_owned(), name: account.clone(), namespace: Some(place.clone()), ..Subject::default() };
        let role_ref =
            RoleRef { api_group: Some("rbac.authorization.k8s.io".to_owned()), kind: "ClusterRole".to_owned(), name: account.clone() };
        let binding = ClusterRoleBinding { metadata: metadata(None), role_ref, subjects: Some(vec![subject]) };
        bindings.create(&PostParams::default(), &binding).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    }
    token(plane, &place, &account).await
}
