//! What is pushed by SCIM says who is in which team: the operator keeps it and nothing else in its own namespace, and nobody else writes it.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use serde_json::{Value, json};

use super::fence::Raid;
use super::{Siege, allowed, namespaced, refused, rule};
use crate::support::client::dry_run;
use crate::support::install::NAMESPACE;
use crate::support::name;

const FENCE: &str = "usher-fence-pushed";

fn map(name: &str, labels: Value) -> DynamicObject {
    namespaced("v1", "ConfigMap", NAMESPACE, name, &json!({"metadata": {"labels": labels}, "data": {"resource": "{}"}}))
}

fn labels(kind: &str) -> Value {
    json!({"app.kubernetes.io/managed-by": "usher", "usher.dev/installation": "x", "usher.dev/scim": kind, "usher.dev/source": "hr"})
}

#[tokio::test]
async fn the_operator_writes_config_maps_of_its_namespace_only_for_what_was_pushed() {
    let raid = Raid::new().await;
    let own = name("usher-scim-user");
    allowed("what was pushed", raid.makes(&map(&own, labels("User"))).await);
    for (what, object) in [
        ("another name", map(&name("other"), labels("User"))),
        ("its settings", map("usher-settings-2", labels("User"))),
        ("without its labels", map(&own, json!({}))),
        ("of another type", map(&own, labels("Role"))),
    ] {
        refused(what, raid.makes(&object).await, FENCE);
    }
    let settings = map("usher-settings", json!({}));
    refused("its settings", raid.changes(&settings, json!({"data": {"settings.yaml": "fence: {}"}})).await, FENCE);
    refused("its settings", raid.deletes(&settings).await, FENCE);
    let stranger = raid.stranger(map(&name("stranger"), json!({}))).await;
    refused("a stranger's", raid.changes(&stranger, json!({"metadata": {"labels": labels("User")}})).await, FENCE);
}

async fn writes(client: &Client, object: &DynamicObject) -> Result<DynamicObject, kube::Error> {
    dry_run(client, object).await
}

#[tokio::test]
async fn nobody_but_the_operator_says_that_something_was_pushed() {
    let siege = Siege::new().await;
    let (_, admin) = siege.somebody(&["usher-admin"], &[rule("", "configmaps", &[], &["get", "list", "create", "update", "patch"])]).await;
    allowed("a ConfigMap of her own", writes(&admin, &map(&name("own"), json!({}))).await);
    refused("what was pushed", writes(&admin, &map(&name("usher-scim-user"), labels("User"))).await, "usher-pushed");
    let maps: Api<ConfigMap> = Api::namespaced(siege.client.clone(), NAMESPACE);
    let any = maps
        .list(&ListParams::default())
        .await
        .expect("a list")
        .items
        .into_iter()
        .find(|it| it.metadata.name.as_deref() == Some("usher-settings"));
    let mut own = any.expect("the settings");
    own.metadata.labels.get_or_insert_default().insert("usher.dev/scim".to_owned(), "User".to_owned());
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    refused("a label of it", maps.replace("usher-settings", &parameters, &own).await, "usher-pushed");
}
