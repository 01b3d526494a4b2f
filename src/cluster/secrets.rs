//! Kubeconfigs: the only place where a secret value passes through.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec, TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::api::metadata::{
    DATA_DIGEST, IDENTITIES_NAMESPACE, KUBECONFIG_KEY, KUBECONFIG_SECRET, TOKEN_EXPIRES_AT, TOKEN_ISSUED_AT, TOKEN_OF,
};
use crate::plan::cluster::ClusterKey;
use crate::plan::credential::{CredentialPlan, user_in};
use crate::plan::developer::{seconds, whole_second};
use crate::plan::elsewhere::{Due, TokenNote};
use crate::plan::name::fingerprint;

use super::apply::{Cluster, failed};
use super::error::Error;
use super::memory::Memory;
use super::watch::without_values;

/// A token, which nothing prints.
#[derive(Clone)]
pub struct Token {
    value: String,
    expires: Timestamp,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// A token for another cluster than that of the kubeconfig, on its way there.
#[derive(Debug)]
pub struct Brought {
    /// What is known of it.
    pub note: TokenNote,
    token: Token,
}

impl Brought {
    /// The token.
    pub fn token(&self) -> &Token {
        &self.token
    }
}

/// Issues a token for a kubeconfig in another cluster.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn bring(cluster: &Cluster, due: &Due, lifetime: SignedDuration, now: Timestamp) -> Result<Brought, Error> {
    let token = issue(cluster, &due.account, lifetime).await?;
    Ok(Brought { note: TokenNote { uid: due.uid.clone(), issued: whole_second(now).0, expires: token.expires }, token })
}

/// The values of the tokens for other clusters: those that were brought, else those that are in the Secret already, read live.
async fn tokens_elsewhere(
    cluster: &Cluster,
    plan: &CredentialPlan,
    brought: &BTreeMap<ClusterKey, Arc<Brought>>,
) -> Result<BTreeMap<String, Token>, Error> {
    let mut tokens = BTreeMap::new();
    let mut before: Option<BTreeMap<String, Token>> = None;
    for context in plan.contexts.iter().filter(|context| context.token && context.cluster != plan.cluster) {
        let user = plan.user_of(context);
        if tokens.contains_key(&user) {
            continue;
        }
        let news = brought.get(&context.cluster).filter(|brought| plan.elsewhere.get(&context.cluster) == Some(&brought.note));
        if let Some(brought) = news {
            tokens.insert(user, brought.token.clone());
            continue;
        }
        if before.is_none() {
            before = Some(tokens_in(cluster.client(), &plan.namespace).await?);
        }
        tokens.extend(before.as_mut().and_then(|before| before.remove_entry(&user)));
    }
    Ok(tokens)
}

/// Issues a token if one is needed, and writes the kubeconfig.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn write_kubeconfig(
    cluster: &Cluster,
    memory: &Arc<Memory>,
    plan: &CredentialPlan,
    brought: &BTreeMap<ClusterKey, Arc<Brought>>,
    now: Timestamp,
) -> Result<(), Error> {
    let mut tokens = tokens_elsewhere(cluster, plan, brought).await?;
    let token = match &plan.service_account {
        Some((name, _)) => Some(issue(cluster, name, plan.lifetime).await?),
        None => None,
    };
    let own = token.as_ref().map(|token| (plan.user.clone(), token.clone()));
    tokens.extend(own);
    let text = kubeconfig(plan, &tokens).to_string();
    let mut secret = Secret { metadata: plan.meta.clone(), type_: Some("Opaque".to_owned()), ..Secret::default() };
    let notes = secret.metadata.annotations.get_or_insert_default();
    notes.insert(DATA_DIGEST.to_owned(), fingerprint(text.as_bytes()));
    if let (Some((_, uid)), Some(token)) = (&plan.service_account, &token) {
        notes.insert(TOKEN_OF.to_owned(), uid.clone());
        notes.insert(TOKEN_ISSUED_AT.to_owned(), seconds(now));
        notes.insert(TOKEN_EXPIRES_AT.to_owned(), seconds(token.expires));
    }
    secret.data = Some(BTreeMap::from([(KUBECONFIG_KEY.to_owned(), ByteString(text.into_bytes()))]));
    let applied = cluster.apply(&secret).await?;
    memory.put_answer(&plan.cluster, without_values(applied));
    Ok(())
}

/// Asks for a token (<https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>).
async fn issue(cluster: &Cluster, account: &str, lifetime: SignedDuration) -> Result<Token, Error> {
    let api: Api<ServiceAccount> = Api::namespaced(cluster.client().clone(), IDENTITIES_NAMESPACE);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(Vec::new()),
            expiration_seconds: Some(lifetime.as_secs()),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let meta = ObjectMeta { name: Some(account.to_owned()), namespace: Some(IDENTITIES_NAMESPACE.to_owned()), ..ObjectMeta::default() };
    let answer = cluster
        .pen()
        .write::<TokenRequest, _>("create", api.create_token_request(account, &PostParams::default(), &request))
        .await?
        .map_err(|error| failed::<ServiceAccount>("issue a token for", &meta, error))?;
    let status = answer.status.unwrap_or_default();
    Ok(Token { value: status.token.unwrap_or_default(), expires: status.expiration_timestamp.map_or(Timestamp::UNIX_EPOCH, |time| time.0) })
}

/// The tokens in somebody's kubeconfig Secret in a cluster, read live, to ask later whether they are refused: her own, and those for other clusters.
pub async fn tokens_of(
    cluster: &Cluster,
    others: impl Iterator<Item = &ClusterKey>,
    (namespace, developer): (&str, &str),
) -> Result<BTreeMap<ClusterKey, Arc<Token>>, Error> {
    let mut tokens = tokens_in(cluster.client(), namespace).await?;
    let users = others.map(|other| (other, user_in(developer, other))).chain([(cluster.key(), developer.to_owned())]);
    Ok(users.filter_map(|(key, user)| Some((key.clone(), Arc::new(tokens.remove(&user)?)))).collect())
}

/// The tokens in somebody's kubeconfig Secret by the name of their user, read live.
async fn tokens_in(client: &Client, namespace: &str) -> Result<BTreeMap<String, Token>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let meta = ObjectMeta { name: Some(KUBECONFIG_SECRET.to_owned()), namespace: Some(namespace.to_owned()), ..ObjectMeta::default() };
    let secret = api.get_opt(KUBECONFIG_SECRET).await.map_err(|error| failed::<Secret>("read", &meta, error))?;
    let data = secret.and_then(|secret| secret.data).and_then(|mut data| data.remove(KUBECONFIG_KEY));
    let parsed: Option<Value> = data.and_then(|data| serde_json::from_slice(&data.0).ok());
    let users = parsed.iter().filter_map(|config| config.get("users")?.as_array()).flatten();
    let token = |user: &Value| {
        let value = user.pointer("/user/token")?.as_str()?.to_owned();
        Some((user.get("name")?.as_str()?.to_owned(), Token { value, expires: Timestamp::UNIX_EPOCH }))
    };
    Ok(users.into_iter().filter_map(token).collect())
}

/// Whether the API server still knows somebody by a token (<https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/>).
pub async fn accepted(client: &Client, token: &Token) -> Result<bool, Error> {
    let api: Api<TokenReview> = Api::all(client.clone());
    let spec = TokenReviewSpec { token: token.value.clone(), ..TokenReviewSpec::default() };
    let review = TokenReview { spec, ..TokenReview::default() };
    let answer =
        api.create(&PostParams::default(), &review).await.map_err(|error| failed::<TokenReview>("create", &review.metadata, error))?;
    Ok(answer.status.and_then(|status| status.authenticated).unwrap_or_default())
}

/// The kubeconfig (<https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>) as JSON, which is YAML too.
fn kubeconfig(plan: &CredentialPlan, tokens: &BTreeMap<String, Token>) -> Value {
    let clusters = plan.contexts.iter().map(|context| {
        let mut cluster = json!({"server": context.server.url});
        if let (Some(map), false) = (cluster.as_object_mut(), context.server.ca_data.is_empty()) {
            map.insert("certificate-authority-data".to_owned(), context.server.ca_data.clone().into());
        }
        json!({"name": context.environment, "cluster": cluster})
    });
    let contexts = plan.contexts.iter().map(|context| {
        let user = plan.user_of(context);
        let mut body = json!({"cluster": context.environment, "user": user});
        if let (Some(map), Some(namespace)) = (body.as_object_mut(), &context.namespace) {
            map.insert("namespace".to_owned(), namespace.clone().into());
        }
        json!({"name": context.environment, "context": body})
    });
    let own_login = plan.contexts.iter().any(|context| !context.token);
    let users = tokens
        .iter()
        .map(|(user, token)| json!({"name": user, "user": {"token": token.value}}))
        .chain(own_login.then(|| json!({"name": format!("{}-login", plan.user), "user": {}})));
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters.collect::<Vec<_>>(),
        "contexts": contexts.collect::<Vec<_>>(),
        "users": users.collect::<Vec<_>>(),
        "current-context": plan.contexts.first().map(|context| context.environment.clone()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_printed() {
        let token = Token { value: "secret-value".to_owned(), expires: Timestamp::UNIX_EPOCH };
        assert!(!format!("{token:?}").contains("secret-value"));
    }
}
