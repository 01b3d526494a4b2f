//! Whether usher's own CRDs are whole. While one of them is being deleted or missing, the disappearance of an object ends nothing.

use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client};

use crate::api::metadata::GROUP;
use crate::api::{DECIDING, KINDS};
use crate::plan::name::digest;

use super::apply::failed;
use super::error::Error;

/// How usher's CRDs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// All there; a digest of the UIDs of those that decide about access.
    Whole(String),
    /// These are being deleted or missing.
    Broken(Vec<&'static str>),
}

/// Reads all of usher's CRDs, live.
pub async fn health(client: &Client) -> Result<Health, Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let found = try_join_all(KINDS.iter().map(|kind| read(&api, kind))).await?;
    let broken = KINDS.iter().zip(&found).filter(|(_, meta)| meta.as_ref().is_none_or(|meta| meta.deletion_timestamp.is_some()));
    let broken: Vec<&'static str> = broken.map(|(kind, _)| *kind).collect();
    if !broken.is_empty() {
        return Ok(Health::Broken(broken));
    }
    let deciding = KINDS.iter().zip(found).filter(|(kind, _)| DECIDING.contains(kind)).filter_map(|(_, meta)| meta);
    let uids: Vec<String> = deciding.filter_map(|meta| meta.uid).collect();
    Ok(Health::Whole(digest(&uids.iter().map(String::as_str).collect::<Vec<_>>())))
}

/// Whether the CRD of a kind is being deleted or missing, read live.
pub async fn terminating(client: &Client, plural: &str) -> Result<bool, Error> {
    let meta = read(&Api::all(client.clone()), plural).await?;
    Ok(meta.is_none_or(|meta| meta.deletion_timestamp.is_some()))
}

async fn read(api: &Api<CustomResourceDefinition>, plural: &str) -> Result<Option<ObjectMeta>, Error> {
    let name = format!("{plural}.{GROUP}");
    let meta = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
    let found = api.get_metadata_opt(&name).await.map_err(|error| failed::<CustomResourceDefinition>("read", &meta, error))?;
    Ok(found.map(|object| object.metadata))
}
