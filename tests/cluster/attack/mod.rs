//! Attacks on what usher promises (DESIGN.md, promise 8): each is tried on the real API server with the chart's own policies and ClusterRoles, and fails.
//!
//! Every refusal names the policy that has to refuse it, so that a hole cannot hide behind another one's error, and has a neighbour that is allowed.

mod binder;
mod credentials;
mod declarations;
mod departed;
mod fence;
mod fence_rules;
mod guard;
mod limits;
mod locks;
mod older;
mod pushed;
mod record;
mod requester;
mod sources;
mod tenant;
mod values;

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};

use crate::support::access::{Subject, can};
use crate::support::audit::OPERATOR;
use crate::support::client::{dry_run, explain, kind, manifest};
use crate::support::fleet::object;
use crate::support::install::NAMESPACE;
use crate::support::{ControlPlane, Shared, client_as, client_of, name, operated, wait_until};

const SOON: Duration = Duration::from_mins(1);

/// A cluster with usher, and an administrator.
pub struct Siege {
    shared: Shared,
    pub client: Client,
}

impl Siege {
    /// The shared cluster, once its policies are in force.
    pub async fn new() -> Self {
        let shared = operated().await;
        let client = shared.client.clone();
        let siege = Self { shared, client };
        let operator = siege.unbound_operator().await;
        in_force(&siege.client, &operator).await;
        // Where SCIM is served there are two more.
        let map = |labels: Value| namespaced("v1", "ConfigMap", NAMESPACE, "canary", &json!({"metadata": {"labels": labels}}));
        refuses(&operator, &map(json!({})), "usher-fence-pushed").await;
        refuses(&siege.client, &map(json!({"usher.dev/scim": "User"})), "usher-pushed").await;
        siege
    }

    pub fn plane(&self) -> &ControlPlane {
        &self.shared.all.plane
    }

    /// Somebody new, with ClusterRoles of the chart and rules of her own: her name and her client.
    pub async fn somebody(&self, roles: &[&str], rules: &[Value]) -> (String, Client) {
        let user = name("user");
        let mut rules = rules.to_vec();
        rules.push(rule("example.com", "canaries", &[], &["get"]));
        let own = json!({"metadata": {"name": user}, "rules": rules});
        let own: ClusterRole = serde_json::from_value(own).unwrap();
        Api::<ClusterRole>::all(self.client.clone()).create(&PostParams::default(), &own).await.unwrap();
        for (number, role) in roles.iter().copied().chain([user.as_str()]).enumerate() {
            let binding = json!({
                "metadata": {"name": format!("{user}-{number}")},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
            });
            let binding: ClusterRoleBinding = serde_json::from_value(binding).unwrap();
            Api::<ClusterRoleBinding>::all(self.client.clone()).create(&PostParams::default(), &binding).await.unwrap();
        }
        // The last binding that was made is seen, and so are those before it.
        wait_until("her rights are known", SOON, async || {
            let known = can(&self.client, &Subject::user(&user), "get", "canaries.example.com", None).await;
            if known { Ok(()) } else { Err("not yet") }
        })
        .await;
        let client = impersonate(self.plane(), &user, &[]).await;
        (user, client)
    }

    /// Whoever has the operator's token, with the rights that the chart gives it.
    pub async fn operator(&self) -> Client {
        client_of(&self.shared.all.install.kubeconfig()).await
    }

    /// The operator with every right of RBAC: whatever is refused to it is refused by the fence.
    pub async fn unbound_operator(&self) -> Client {
        impersonate(self.plane(), OPERATOR, &["system:masters"]).await
    }
}

/// Waits until the policies are in force: the API server reads them within seconds of their installation.
pub async fn in_force(admin: &Client, operator: &Client) {
    let pinned = json!({"email": "a@example.com", "workspaces": [{"environment": "dev", "namespace": "usher-system"}]});
    let probes = [
        (admin, object("Developer", "canary", &pinned), "usher-developers"),
        (operator, object("Developer", "canary", &json!({"email": "a@example.com"})), "usher-fence-declarations"),
        (operator, cluster_role("canary", &json!([])), "usher-fence-access"),
        (operator, namespaced("v1", "ServiceAccount", "default", "canary", &json!({})), "usher-fence-credentials"),
        (
            operator,
            manifest(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "canary"}}).to_string()),
            "usher-fence-workspaces",
        ),
    ];
    for (client, probe, policy) in probes {
        refuses(client, &probe, policy).await;
    }
    wait_until("usher-requester is in force", SOON, async || {
        let made = dry_run(admin, &object("Role", "canary", &json!({}))).await.map_err(|error| explain(&error))?;
        if note(&made, "requested-by").is_some() { Ok(()) } else { Err("it does not stamp".to_owned()) }
    })
    .await;
}

/// Waits until a policy refuses something.
async fn refuses(client: &Client, probe: &DynamicObject, policy: &str) {
    wait_until(&format!("{policy} is in force"), SOON, async || match dry_run(client, probe).await {
        Err(error) if explain(&error).contains(policy) => Ok(()),
        Err(error) => Err(explain(&error)),
        Ok(_) => Err("allowed".to_owned()),
    })
    .await;
}

/// The administrator, acting as somebody else.
pub async fn impersonate(plane: &ControlPlane, user: &str, groups: &[&str]) -> Client {
    client_as(&plane.kubeconfig(), user, groups).await
}

/// A rule of RBAC; without names: for all.
pub fn rule(group: &str, resource: &str, names: &[&str], verbs: &[&str]) -> Value {
    let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

/// The right to give a Role.
pub fn may_bind(role: &str) -> Value {
    rule("usher.dev", "roles", &[role], &["bind"])
}

/// The right to add people to a team.
pub fn may_join(team: &str) -> Value {
    rule("usher.dev", "teams", &[team], &["join"])
}

/// An annotation of usher's on an object.
pub fn note(object: &DynamicObject, note: &str) -> Option<String> {
    object.metadata.annotations.as_ref()?.get(&format!("usher.dev/{note}")).cloned()
}

/// A ClusterRole with usher's marks and these rules.
pub fn cluster_role(name: &str, rules: &Value) -> DynamicObject {
    let labels = json!({"app.kubernetes.io/managed-by": "usher", "usher.dev/installation": "x"});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name, "labels": labels}, "rules": rules});
    manifest(&role.to_string())
}

/// Any object in a namespace.
pub fn namespaced(version: &str, kind: &str, namespace: &str, name: &str, more: &Value) -> DynamicObject {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}});
    merge(&mut object, more);
    manifest(&object.to_string())
}

fn merge(object: &mut Value, more: &Value) {
    match (object, more) {
        (Value::Object(object), Value::Object(more)) => {
            for (key, value) in more {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (object, more) => *object = more.clone(),
    }
}

/// Makes one of usher's objects.
pub async fn create(client: &Client, of: &str, name: &str, spec: Value) -> Result<DynamicObject, Error> {
    kind(client, of).await.create(&PostParams::default(), &object(of, name, &spec)).await
}

/// Changes one of usher's objects.
pub async fn change(client: &Client, of: &str, name: &str, patch: Value) -> Result<DynamicObject, Error> {
    kind(client, of).await.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
}

/// Sets an annotation of usher's, or takes it off.
pub async fn annotate(client: &Client, of: &str, name: &str, note: &str, value: Option<&str>) -> Result<DynamicObject, Error> {
    change(client, of, name, json!({"metadata": {"annotations": {format!("usher.dev/{note}"): value}}})).await
}

/// Deletes one of usher's objects.
pub async fn delete(client: &Client, of: &str, name: &str) -> Result<(), Error> {
    kind(client, of).await.delete(name, &DeleteParams::default()).await.map(drop)
}

/// Fails unless exactly this policy (or, for `cannot`, RBAC) refused.
#[track_caller]
pub fn refused<T: Debug>(what: &str, answer: Result<T, Error>, by: &str) {
    match answer {
        Err(Error::Api(status)) if matches!(status.code, 403 | 422) && status.message.contains(by) => {}
        Err(error) => panic!("{what} is refused, but not by {by}: {}", explain(&error)),
        Ok(done) => panic!("{what} is allowed, and {by} should refuse it: {done:?}"),
    }
}

/// Fails unless it was allowed.
#[track_caller]
pub fn allowed<T>(what: &str, answer: Result<T, Error>) -> T {
    answer.unwrap_or_else(|error| panic!("{what} is refused: {}", explain(&error)))
}
