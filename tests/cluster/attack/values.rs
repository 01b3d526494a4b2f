//! The fence follows the chart's values: what an installation does not want to give, nobody gets by the operator's token.

use kube::Client;
use serde_json::json;

use super::fence::binding;
use super::{allowed, cluster_role, impersonate, in_force, refused};
use crate::support::audit::OPERATOR;
use crate::support::client::{self, dry_run};
use crate::support::install::Install;
use crate::support::{AuditLevel, ControlPlane};

const POLICY: &str = "usher-fence-access";

async fn gives(operator: &Client, role: &str) -> Result<kube::api::DynamicObject, kube::Error> {
    let ada = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "oidc:ada"}]);
    dry_run(operator, &binding("shop", "usher:role:x:0", role, ada)).await
}

#[tokio::test]
async fn the_fence_is_as_narrow_as_the_values_say() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    Install::new(&plane, &["fence.inlineRules=false", "fence.mayBind={view}"]).await;
    client::namespace(&client, "shop", &[]).await;
    let operator = impersonate(&plane, OPERATOR, &["system:masters"]).await;
    in_force(&client, &operator).await;
    allowed("what is named", gives(&operator, "view").await);
    for role in ["edit", "usher-developer", "cluster-admin"] {
        refused(role, gives(&operator, role).await, POLICY);
    }
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    refused("rules of its own", dry_run(&operator, &cluster_role("usher:role:x:0", &rules)).await, "fence.inlineRules is false");
    let ada = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "oidc:ada"}]);
    let wide = binding("", "usher:cluster:x:0", "usher:cluster:x:0", ada);
    refused("a cluster-wide binding", dry_run(&operator, &wide).await, "fence.inlineRules is false");
    plane.stop().await;
}
