//! Reading from the cluster for those who ask: page by page, and with an error that says which right is missing.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::Failure;

/// How many objects come in one answer.
const PAGE: u32 = 500;

/// What the API server refused, and the remedy.
pub fn told<K: Resource<DynamicType = ()>>(verb: &str, error: &kube::Error) -> Failure {
    let (plural, group) = (K::plural(&()), K::group(&()));
    let resource = if group.is_empty() { plural.to_string() } else { format!("{plural}.{group}") };
    match error {
        kube::Error::Api(status) if status.code == 403 => format!(
            "you may not {verb} {resource}: have ClusterRole usher-auditor bound to you, which reads all that this needs ({})",
            status.message
        )
        .into(),
        kube::Error::Api(status) if status.code == 404 => {
            format!("there is no {resource} in this cluster: is usher installed there, and is --context the right one?").into()
        }
        error => format!("cannot {verb} {resource}: {}", super::connect::chain(error)).into(),
    }
}

/// Lists everything that fits, page by page.
pub async fn list<K>(api: &Api<K>, parameters: &ListParams) -> Result<Vec<K>, Failure>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let mut parameters = parameters.clone().limit(PAGE);
    let mut items = Vec::new();
    loop {
        let page = api.list(&parameters).await.map_err(|error| told::<K>("list", &error))?;
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(items),
        }
    }
}

/// The UID of kube-system, which marks what this installation made.
pub async fn installation(client: &Client) -> Result<String, Failure> {
    let api: Api<Namespace> = Api::all(client.clone());
    let system = api.get_metadata("kube-system").await.map_err(|error| told::<Namespace>("get", &error))?;
    Ok(system.uid().unwrap_or_default())
}
