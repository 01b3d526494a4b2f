//! Whoever may mint tokens takes none along that lives for long.

use std::time::Duration;

use kube::Client;
use serde_json::json;

use super::credentials::mint;
use super::{Siege, allowed, impersonate, namespaced, refused};
use crate::support::client::{self, dry_run};
use crate::support::name;
use crate::support::shared::GUARDED;

const POLICY: &str = "usher-guard";
const HOUR: Duration = Duration::from_hours(1);
const TEN_YEARS: Duration = Duration::from_hours(24 * 3_650);

/// A namespace with a ServiceAccount that somebody with every right of RBAC in it asks tokens for.
async fn place(siege: &Siege, labels: &[(&str, &str)]) -> String {
    let place = name("place");
    client::namespace(&siege.client, &place, labels).await;
    client::apply(&siege.client, &format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: bot, namespace: {place}}}}}")).await;
    place
}

async fn is_guarded(what: &str, client: &Client, place: &str) {
    allowed(what, mint(client, place, "bot", HOUR).await);
    refused(what, mint(client, place, "bot", HOUR + Duration::from_secs(1)).await.map(drop), POLICY);
    refused(what, mint(client, place, "bot", TEN_YEARS).await.map(drop), POLICY);
    refused(what, dry_run(client, &token_secret(place)).await, POLICY);
    allowed("any other Secret", dry_run(client, &namespaced("v1", "Secret", place, "other", &json!({"stringData": {"a": "b"}}))).await);
}

fn token_secret(place: &str) -> kube::api::DynamicObject {
    let more =
        json!({"type": "kubernetes.io/service-account-token", "metadata": {"annotations": {"kubernetes.io/service-account.name": "bot"}}});
    namespaced("v1", "Secret", place, "token", &more)
}

/// Ten years of access for who has one day left (tried: such a token outlived its owner's bindings and account).
#[tokio::test]
async fn people_with_an_identity_of_usher_mint_no_long_token_anywhere() {
    let siege = Siege::new().await;
    let place = place(&siege, &[]).await;
    let groups = ["system:serviceaccounts:usher-identities", "system:masters"];
    let ada = impersonate(siege.plane(), "system:serviceaccount:usher-identities:ada-1", &groups).await;
    is_guarded("ada", &ada, &place).await;
    let login = impersonate(siege.plane(), &format!("{GUARDED}ada@example.com"), &["system:masters"]).await;
    is_guarded("ada by her login", &login, &place).await;
    // Others mint what they may.
    allowed("an administrator", mint(&siege.client, &place, "bot", TEN_YEARS).await);
    allowed("an administrator's Secret", dry_run(&siege.client, &token_secret(&place)).await);
}

#[tokio::test]
async fn nobody_mints_a_long_token_for_a_service_account_of_a_workspace() {
    let siege = Siege::new().await;
    let place = place(&siege, &[("usher.dev/workspace", "nobody")]).await;
    let may = [super::rule("", "serviceaccounts/token", &[], &["create"]), super::rule("", "secrets", &[], &["create"])];
    let (_, colleague) = siege.somebody(&[], &may).await;
    is_guarded("a colleague", &colleague, &place).await;
    // The kubelet asks for a little more than an hour for a pod.
    let node = impersonate(siege.plane(), "system:node:n", &["system:nodes", "system:masters"]).await;
    allowed("a kubelet", mint(&node, &place, "bot", Duration::from_secs(3_607)).await);
}
