//! While Locks cannot be read somebody might be locked: nothing is added to anybody, and removals go on (DESIGN.md, promise 2).

use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::support::access::{Subject, can};
use crate::support::client::{apply, condition, install_crds, kind, ready};
use crate::support::fleet::list;
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::{IDENTITIES, Stage, declare, developer, edit, reaches, subject, workspace};
use crate::support::{AuditLevel, ControlPlane, throughout, wait_until};

const SOON: Duration = Duration::from_mins(1);
const CRD: &str = "locks.usher.dev";

/// A control plane with an operator; ada, who works, and cyd, who is locked.
struct House {
    // Dropped first, as its log goes with the control plane.
    operator: Operator,
    install: Install,
    plane: ControlPlane,
    client: Client,
    stage: Stage,
    ada: Subject,
}

impl House {
    async fn new() -> Self {
        let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
        let client = plane.admin_client().await;
        let install = Install::new(&plane, &PATIENT).await;
        let operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
        operator.ready().await;
        let stage = Stage::new(&client).await;
        let role = stage.role("view").await;
        declare(&client, "Binding", "all", json!({"role": role, "teams": ["all"]})).await;
        let ada = subject(&stage.person("ada", json!({"teams": ["all"]})).await);
        declare(&client, "Lock", "stolen", json!({"developer": "cyd", "reason": "SEC-91"})).await;
        developer(&client, "cyd", json!({"teams": ["all"]})).await;
        reaches(&client, "Lock", "stolen", "/status/state", "Applied").await;
        let house = Self { operator, install, plane, client, stage, ada };
        wait_until("ada may", SOON, async || if house.ada_may().await { Ok(()) } else { Err("she may not") }).await;
        house
    }

    async fn ada_may(&self) -> bool {
        can(&self.client, &self.ada, "get", "pods", Some(&self.stage.shared)).await
    }

    /// Somebody new is given nothing, nor is who was locked; and somebody who is suspended loses everything.
    async fn is_closed(&self) {
        developer(&self.client, "bob", json!({"teams": ["all"]})).await;
        edit(&self.client, "Developer", "ada", json!({"state": "Suspended"})).await;
        wait_until("removals go on", SOON, async || if self.ada_may().await { Err("she may") } else { Ok(()) }).await;
        throughout("nothing is added", Duration::from_secs(5), async || {
            let accounts = list::<ServiceAccount>(Api::namespaced(self.client.clone(), IDENTITIES)).await;
            let names: Vec<_> =
                accounts.iter().map(ResourceExt::name_any).filter(|name| !name.starts_with("ada") && name != "default").collect();
            if names.is_empty() { Ok(()) } else { Err(format!("{names:?}")) }
        })
        .await;
        let said = kind(&self.client, "Developer").await;
        wait_until("it is said", SOON, async || {
            let bob = said.get("bob").await.map_err(|error| error.to_string())?;
            let ready = condition(&bob, "Ready").cloned().unwrap_or_default();
            if ready["status"] == "False" && ready["message"].as_str().unwrap_or_default().contains("Lock") {
                Ok(())
            } else {
                Err(ready.to_string())
            }
        })
        .await;
    }

    /// Somebody who left, with a colleague in her workspace, which is sealed. Gives the workspace.
    async fn dan_left(&self) -> String {
        let workspace = workspace(&self.stage.person("dan", json!({})).await);
        let binding = format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: for-bob, namespace: {workspace}}},
              roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}},
              subjects: [{{kind: User, name: bob, apiGroup: rbac.authorization.k8s.io}}]}}"
        );
        apply(&self.client, &binding).await;
        edit(&self.client, "Developer", "dan", json!({"state": "Departed"})).await;
        wait_until("sealed", SOON, async || self.sealed(&workspace).await).await;
        workspace
    }

    async fn sealed(&self, workspace: &str) -> Result<(), String> {
        let bindings = Api::<RoleBinding>::namespaced(self.client.clone(), workspace);
        bindings.get_opt("for-bob").await.unwrap().map_or(Ok(()), |binding| Err(format!("{binding:?}")))
    }

    async fn is_open(&self) {
        ready(&self.client, "bob").await;
        edit(&self.client, "Developer", "ada", json!({"state": "Active"})).await;
        wait_until("ada may again", SOON, async || if self.ada_may().await { Ok(()) } else { Err("she may not") }).await;
    }
}

#[tokio::test]
async fn without_the_kind_lock_nothing_is_added_and_removals_go_on() {
    let house = House::new().await;
    let crds = Api::<CustomResourceDefinition>::all(house.client.clone());
    let meant = json!({"metadata": {"annotations": {"usher.dev/allow-deletion": "true"}}});
    crds.patch(CRD, &PatchParams::default(), &Patch::Merge(meant)).await.unwrap();
    crds.delete(CRD, &DeleteParams::default()).await.unwrap();
    wait_until("the kind is gone", SOON, async || if crds.get_opt(CRD).await.unwrap().is_none() { Ok(()) } else { Err("it is there") })
        .await;
    house.is_closed().await;
    install_crds(&house.client).await;
    house.is_open().await;
    // Her Lock went with its kind; that she is free now is what is written.
    ready(&house.client, "cyd").await;
    drop(house.operator);
    house.plane.stop().await;
}

#[tokio::test]
async fn without_the_right_to_read_locks_an_operator_that_starts_adds_nothing() {
    let mut house = House::new().await;
    let dan = house.dan_left().await;
    let roles = Api::<k8s_openapi::api::rbac::v1::ClusterRole>::all(house.client.clone());
    let all = list(roles.clone()).await;
    let reads = |rule: &k8s_openapi::api::rbac::v1::PolicyRule| rule.resources.iter().flatten().any(|it| it == "locks");
    let mut taken = Vec::new();
    for role in all.into_iter().filter(|role| role.rules.iter().flatten().any(reads) && role.name_any().ends_with("usher")) {
        let mut without = role.clone();
        for rule in without.rules.iter_mut().flatten().filter(|rule| reads(rule)) {
            rule.resources.iter_mut().for_each(|resources| resources.retain(|it| it != "locks"));
        }
        without.rules.iter_mut().for_each(|rules| rules.retain(|rule| rule.resources.as_ref().is_none_or(|it| !it.is_empty())));
        without.metadata.managed_fields = None;
        roles.replace(&role.name_any(), &kube::api::PostParams::default(), &without).await.unwrap();
        taken.push(role);
    }
    assert!(!taken.is_empty(), "nobody may read Locks");
    // Another replica, which waits for the Lease and then reads everything anew while it cannot read Locks.
    house.operator.kill();
    house.operator = Operator::start_with(&house.install, &["--identity", "usher-1"]).await;
    wait_until("the Lease of the first is over", 2 * SOON, async || {
        if house.operator.log().contains("reading the clusters anew") { Ok(()) } else { Err("it waits") }
    })
    .await;
    house.is_closed().await;
    edit(&house.client, "Developer", "dan", json!({"state": "Active"})).await;
    throughout("what was sealed stays so", Duration::from_secs(5), async || house.sealed(&dan).await).await;
    for mut role in taken {
        (role.metadata.resource_version, role.metadata.managed_fields) = (None, None);
        roles.replace(&role.name_any(), &kube::api::PostParams::default(), &role).await.unwrap();
    }
    house.is_open().await;
    wait_until("what was sealed is back", SOON, async || house.sealed(&dan).await.err().map(drop).ok_or("sealed")).await;
    reaches(&house.client, "Developer", "cyd", "/status/state", "Locked").await;
    drop(house.operator);
    house.plane.stop().await;
}
