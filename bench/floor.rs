//! The ten writes that a person needs, and nothing else.

use serde_json::{Value, json};

use crate::calls::Call;
use crate::people::HOME;

/// How many writes a person needs.
pub const WRITES: usize = 10;
/// Roughly as long as a kubeconfig with a token of a ServiceAccount.
const SECRET: usize = 2_600;

/// The writes for everybody.
pub fn calls(names: &[String]) -> Vec<Call> {
    let calls: Vec<Call> = names.iter().flat_map(|name| of_one(name)).collect();
    assert_eq!(calls.len(), WRITES * names.len());
    calls
}

fn of_one(name: &str) -> Vec<Call> {
    let space = format!("{HOME}-{name}");
    let inside = format!("/api/v1/namespaces/{space}");
    let identities = "/api/v1/namespaces/usher-identities/serviceaccounts";
    let developers = format!("/apis/usher.dev/v1alpha1/developers/{name}");
    let labels = json!({"app.kubernetes.io/managed-by": "usher", "usher.dev/developer": name, "usher.dev/workspace": name, "usher.dev/environment": HOME});
    let meta = |object: &str| json!({"name": object, "labels": labels});
    let post = |uri: String, body: Value| call(name, "POST", uri, "application/json", body);
    let merge = |uri: String, body: Value| call(name, "PATCH", uri, "application/merge-patch+json", body);
    let subject = json!({"kind": "ServiceAccount", "namespace": "usher-identities", "name": name});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "usher-developer"});
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{space}/rolebindings");
    let network = format!("/apis/networking.k8s.io/v1/namespaces/{space}/networkpolicies");
    let hard = json!({"requests.cpu": "2", "requests.memory": "4Gi", "limits.memory": "8Gi", "pods": "20"});
    let limit = json!({"type": "Container", "default": {"memory": "512Mi"}, "defaultRequest": {"cpu": "50m", "memory": "64Mi"}});
    let policy = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta("usher-kubeconfig"), "stringData": {"kubeconfig": "x".repeat(SECRET)}});
    vec![
        merge(developers.clone(), json!({"metadata": {"finalizers": ["usher.dev/offboard"]}})),
        post("/api/v1/namespaces".to_owned(), json!({"metadata": meta(&space)})),
        post(format!("{inside}/resourcequotas"), json!({"metadata": meta("usher"), "spec": {"hard": hard}})),
        post(format!("{inside}/limitranges"), json!({"metadata": meta("usher"), "spec": {"limits": [limit]}})),
        post(network, json!({"metadata": meta("usher"), "spec": policy})),
        post(identities.to_owned(), json!({"metadata": meta(name), "automountServiceAccountToken": false})),
        post(rbac, json!({"metadata": meta("usher:owner:floor"), "roleRef": role, "subjects": [subject]})),
        post(format!("{identities}/{name}/token"), json!({"spec": {"audiences": [], "expirationSeconds": 2_592_000}})),
        // A plain POST of a Secret is what the operator's rights do not allow.
        call(
            name,
            "PATCH",
            format!("{inside}/secrets/usher-kubeconfig?fieldManager=usher&force=true"),
            "application/apply-patch+yaml",
            secret,
        ),
        merge(format!("{developers}/status"), status()),
    ]
}

fn status() -> Value {
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "AsPlanned", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let conditions: Vec<Value> =
        ["Ready", "Accepted", "ReferencesResolved", "WorkspaceReady", "AccessApplied", "CredentialsReady"].map(condition).into();
    json!({"status": {"observedGeneration": 1, "state": "Active", "conditions": conditions}})
}

fn call(chain: &str, method: &'static str, uri: String, content_type: &'static str, body: Value) -> Call {
    Call { chain: chain.to_owned(), method, uri, content_type, body: Some(body) }
}
