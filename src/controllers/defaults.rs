//! The default Environment and Roles: made once, at the first start, and remembered as made.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::api::metadata::{APPLIED, DEFAULTS_CONFIG_MAP, FIELD_MANAGER, GROUP};
use crate::cluster::error::conflict;

/// What can go wrong with the defaults.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("cannot {0}")]
    Request(String, #[source] kube::Error),
    /// A manifest is not one of usher's kinds.
    #[error("{0} in ConfigMap usher-defaults is not a manifest of usher's: {1}")]
    Manifest(String, String),
}

/// Makes each default manifest that was not made before. What exists already, or was deleted since, is left as it is.
pub async fn apply(client: &Client, namespace: &str) -> Result<(), Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let Some(map) =
        maps.get_opt(DEFAULTS_CONFIG_MAP).await.map_err(|error| Error::Request("read ConfigMap usher-defaults".to_owned(), error))?
    else {
        return Ok(());
    };
    let mut applied: BTreeSet<String> = map
        .annotations()
        .get(APPLIED)
        .into_iter()
        .flat_map(|list| list.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let before = applied.len();
    for (file, text) in map.data.iter().flatten().filter(|(file, _)| !applied.contains(*file)).collect::<Vec<_>>() {
        create(client, file, text).await?;
        applied.insert(file.clone());
    }
    if applied.len() > before {
        let list = applied.into_iter().collect::<Vec<_>>().join(",");
        let patch = json!({"metadata": {"annotations": {APPLIED: list}}});
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        maps.patch_metadata(DEFAULTS_CONFIG_MAP, &parameters, &Patch::Merge(patch))
            .await
            .map_err(|error| Error::Request("remember in ConfigMap usher-defaults what was made".to_owned(), error))?;
    }
    Ok(())
}

async fn create(client: &Client, file: &str, text: &str) -> Result<(), Error> {
    let object: DynamicObject = serde_saphyr::from_str(text).map_err(|error| Error::Manifest(file.to_owned(), error.to_string()))?;
    let types = object.types.clone().unwrap_or_default();
    let plural = match types.kind.as_str() {
        "Environment" => "environments",
        "Role" => "roles",
        other => return Err(Error::Manifest(file.to_owned(), format!("{other} is not a kind for defaults"))),
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1alpha1", &types.kind), plural);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&parameters, &object).await {
        Ok(_) => tracing::info!(kind = types.kind, name = object.name_any(), "made a default"),
        Err(error) if conflict(&error) => {}
        Err(error) => return Err(Error::Request(format!("make {} {}", types.kind, object.name_any()), error)),
    }
    Ok(())
}
