//! What an access entry may not say, whoever wrote it. The chart's policy `usher-fence-access` holds the operator itself to the same words.

use crate::api::role::{Access, AccessRule};

use super::settings::Fence;

/// Verbs that inline rules may not have; those of impersonation neither.
pub const FORBIDDEN_VERBS: [&str; 5] = ["*", "escalate", "bind", "approve", "sign"];
/// API groups that they may not reach.
pub const FORBIDDEN_GROUPS: [&str; 8] = [
    "*",
    "rbac.authorization.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "certificates.k8s.io",
    "authentication.k8s.io",
    "usher.dev",
];
/// Resources that they may not reach. `*/token` would be every kind's token, so nothing that begins with `*` either.
pub const FORBIDDEN_RESOURCES: [&str; 7] =
    ["*", "serviceaccounts/token", "nodes/proxy", "nodes/status", "namespaces", "namespaces/finalize", "namespaces/status"];

/// Says why a ClusterRole may not be named, if it may not.
pub fn refuses_cluster_role(fence: &Fence, name: &str) -> Option<String> {
    (!fence.may_bind.contains(name)).then(|| {
        let allowed = fence.may_bind.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("ClusterRole {name} may not be given: name one of {allowed}, or have it added to the value fence.mayBind")
    })
}

/// Says why an entry's inline rules may not be given, if they may not.
pub fn refuses_rules(fence: &Fence, access: &Access) -> Option<String> {
    if access.rules.is_empty() {
        return None;
    }
    if !fence.inline_rules {
        return Some("inline rules are switched off by the value fence.inlineRules: name clusterRoles instead".to_owned());
    }
    access.rules.iter().find_map(|rule| refuses_rule(rule).or_else(|| access.cluster.then(|| refuses_cluster_wide(fence, rule)).flatten()))
}

fn refuses_rule(rule: &AccessRule) -> Option<String> {
    let forbidden =
        |what: &str, word: &str| Some(format!("{what} \"{word}\" may not be given by inline rules: name what is needed one by one"));
    if let Some(verb) = rule.verbs.iter().find(|verb| FORBIDDEN_VERBS.contains(&verb.as_str()) || verb.starts_with("impersonate")) {
        return forbidden("the verb", verb);
    }
    if let Some(group) = rule.api_groups.iter().find(|group| FORBIDDEN_GROUPS.contains(&group.as_str())) {
        return forbidden("the API group", group);
    }
    let resource = rule.resources.iter().find(|resource| resource.starts_with('*') || FORBIDDEN_RESOURCES.contains(&resource.as_str()))?;
    forbidden("the resource", resource)
}

fn refuses_cluster_wide(fence: &Fence, rule: &AccessRule) -> Option<String> {
    if let Some(verb) = rule.verbs.iter().find(|verb| !fence.cluster_scope_verbs.contains(*verb)) {
        return Some(format!(
            "the verb \"{verb}\" may not be given cluster-wide: give it in namespaces, or have it added to the value fence.clusterScope.verbs"
        ));
    }
    let secret = rule.resources.iter().any(|resource| resource == "secrets" || resource.starts_with("secrets/"));
    (secret && !fence.cluster_scope_secrets)
        .then(|| "Secrets may not be given cluster-wide: give them in namespaces, or set the value fence.clusterScope.secrets".to_owned())
}
