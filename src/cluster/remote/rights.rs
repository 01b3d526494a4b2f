//! What usher may do in another cluster, asked of its API server. It is what the chart's remote side gives (`charts/usher/templates/rbac.yaml`).

use futures::TryStreamExt;
use futures::stream::{self, StreamExt};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::api::metadata::{ACCOUNTS_SECRET, IDENTITIES_NAMESPACE, KUBECONFIG_SECRET, WELCOME_CONFIG_MAP};
use crate::plan::settings::Fence;

/// At most this many questions are under way at once.
const AT_ONCE: usize = 8;
/// At most this many resources are named in a message.
const MOST: usize = 8;

const RBAC: &str = "rbac.authorization.k8s.io";
const ALL: &[&str] = &["get", "list", "watch", "create", "update", "delete"];
const NAMED: &[&str] = &["list", "watch", "create", "patch", "delete"];

/// What must be allowed on a resource.
#[derive(Clone, Debug)]
struct Need {
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    namespace: Option<&'static str>,
    name: Option<String>,
}

/// Whether one verb of it is allowed.
#[derive(Clone, Debug)]
struct Question {
    need: Need,
    verb: &'static str,
}

impl Need {
    fn new(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Self {
        Self { group, resource, verbs, namespace: None, name: None }
    }

    fn within(self, namespace: &'static str) -> Self {
        Self { namespace: Some(namespace), ..self }
    }

    fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    /// As an administrator would write it.
    fn title(&self) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let namespace = self.namespace.map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        format!("{}{group}{name}{namespace}", self.resource)
    }
}

fn needs(fence: &Fence) -> Vec<Need> {
    let mut needs = vec![
        Need::new("", "namespaces", &["get", "list", "watch", "create", "patch", "delete"]),
        Need::new("", "resourcequotas", ALL),
        Need::new("", "limitranges", ALL),
        Need::new("networking.k8s.io", "networkpolicies", ALL),
        Need::new(RBAC, "rolebindings", ALL),
        Need::new("", "serviceaccounts", &["list", "delete"]),
        Need::new("", "serviceaccounts", ALL).within(IDENTITIES_NAMESPACE),
        Need::new("", "serviceaccounts/token", &["create"]).within(IDENTITIES_NAMESPACE),
        Need::new("", "secrets", NAMED).named(KUBECONFIG_SECRET),
        Need::new("", "secrets", &["get"]).named(KUBECONFIG_SECRET),
        Need::new("", "secrets", NAMED).named(ACCOUNTS_SECRET),
        Need::new("", "configmaps", &["get", "list", "watch", "create", "patch", "delete"]).named(WELCOME_CONFIG_MAP),
        Need::new("authorization.k8s.io", "subjectaccessreviews", &["create"]),
        Need::new("authentication.k8s.io", "tokenreviews", &["create"]),
    ];
    if fence.inline_rules {
        needs.extend(["clusterroles", "clusterrolebindings"].map(|resource| Need::new(RBAC, resource, ALL)));
        needs.push(Need::new(RBAC, "clusterroles", &["bind", "escalate"]));
        needs.push(Need::new(RBAC, "roles", &["bind"]));
    } else {
        let read = &["get", "list", "watch", "delete"];
        needs.extend(["clusterroles", "clusterrolebindings"].map(|resource| Need::new(RBAC, resource, read)));
        needs.extend(fence.may_bind.iter().map(|name| Need::new(RBAC, "clusterroles", &["bind"]).named(name)));
    }
    needs
}

/// What is missing.
#[derive(Debug)]
pub struct Missing {
    /// In words.
    pub words: String,
    /// Whether usher cannot even see all that it works with.
    pub blind: bool,
}

/// Asks what is missing of all that usher needs; nothing if nothing is.
///
/// # Errors
/// When the API server does not answer.
pub async fn missing(client: &Client, fence: &Fence) -> kube::Result<Option<Missing>> {
    let mut questions: Vec<Question> = Vec::new();
    for need in needs(fence) {
        questions.extend(need.verbs.iter().map(|verb| Question { need: need.clone(), verb }));
    }
    let answers = stream::iter(questions).map(|question| refused(client.clone(), question)).buffered(AT_ONCE);
    let refused: Vec<Option<Question>> = answers.try_collect().await?;
    let mut missing: Vec<(String, Vec<&'static str>)> = Vec::new();
    for Question { need, verb } in refused.into_iter().flatten() {
        let title = need.title();
        match missing.iter_mut().find(|(other, _)| *other == title) {
            Some((_, verbs)) => verbs.push(verb),
            None => missing.push((title, vec![verb])),
        }
    }
    let blind = missing.iter().flat_map(|(_, verbs)| verbs).any(|verb| matches!(*verb, "list" | "watch"));
    Ok((!missing.is_empty()).then(|| Missing { words: words(&missing), blind }))
}

/// What nothing of usher's may do in another cluster, and what an administrator may. Each would be had by whoever reads the Secret.
fn excesses() -> Vec<Need> {
    vec![
        Need::new("*", "*", &["*"]),
        Need::new("", "secrets", &["list"]),
        Need::new("", "users", &["impersonate"]),
        Need::new("", "pods", &["create"]),
        Need::new("", "serviceaccounts/token", &["create"]),
    ]
}

/// What is wrong with credentials that may more than usher needs: they are no ServiceAccount's, or it may more; nothing if neither.
///
/// # Errors
/// When the API server does not answer.
pub async fn excess(client: &Client) -> kube::Result<Option<String>> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let who = answer.status.and_then(|status| status.user_info).and_then(|info| info.username).unwrap_or_default();
    if !who.starts_with("system:serviceaccount:") {
        return Ok(Some(format!("it is of user {who}, who is no ServiceAccount, so that no policy there knows usher")));
    }
    let mut found = Vec::new();
    for need in excesses() {
        for verb in need.verbs {
            if allowed(client, &need, verb).await? {
                found.push((need.title(), vec![*verb]));
            }
        }
    }
    Ok((!found.is_empty()).then(|| format!("{who} may more there than usher needs: {}", words(&found))))
}

fn words(missing: &[(String, Vec<&str>)]) -> String {
    let named = missing.iter().take(MOST).map(|(title, verbs)| format!("{} {title}", verbs.join(", "))).collect::<Vec<_>>().join("; ");
    let more = missing.len().saturating_sub(MOST);
    if more > 0 { format!("{named}; and more on {more} others") } else { named }
}

/// A question that is answered with no, if it is.
async fn refused(client: Client, question: Question) -> kube::Result<Option<Question>> {
    let allowed = allowed(&client, &question.need, question.verb).await?;
    Ok((!allowed).then_some(question))
}

/// Asks about oneself (<https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/>).
async fn allowed(client: &Client, need: &Need, verb: &str) -> kube::Result<bool> {
    let (resource, subresource) = need.resource.split_once('/').map_or((need.resource, None), |(resource, sub)| (resource, Some(sub)));
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(need.group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: subresource.map(str::to_owned),
                name: need.name.clone(),
                namespace: need.namespace.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    Ok(api.create(&PostParams::default(), &review).await?.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_as_rbac_names_it() {
        let need = Need::new(RBAC, "rolebindings", ALL);
        assert_eq!(words(&[(need.title(), vec!["create", "delete"])]), "create, delete rolebindings.rbac.authorization.k8s.io");
        let need = Need::new("", "serviceaccounts/token", &["create"]).within(IDENTITIES_NAMESPACE);
        assert_eq!(need.title(), "serviceaccounts/token in usher-identities");
    }

    #[test]
    fn without_inline_rules_usher_asks_for_no_more_than_binding_the_listed_names() {
        let fence = Fence { inline_rules: false, ..Fence::default() };
        let verbs: Vec<&str> = needs(&fence).iter().filter(|need| need.group == RBAC).flat_map(|need| need.verbs.iter().copied()).collect();
        assert!(!verbs.contains(&"escalate"));
        assert_eq!(verbs.iter().filter(|verb| **verb == "bind").count(), fence.may_bind.len());
    }
}
