//! What was pushed by SCIM, in the cluster: every replica reads and writes it there, whether it leads or not, as nothing of it is anybody's plan. What is answered to a
//! sender was written before.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};

use crate::api::metadata::{FIELD_MANAGER, SCIM, SCIM_EXTERNAL, SCIM_ID, SCIM_NAME, SOURCE_UID};
use crate::plan::change::ours;
use crate::plan::cluster::{ClusterKey, Key};
use crate::plan::scim::ResourceKind;
use crate::plan::scim::error::ScimError;
use crate::plan::scim::record::{Id, Owner, Record, called, external};
use crate::plan::settings::Settings;
use crate::telemetry::metrics::Metrics;

use super::apply::failed;
use super::error::{Error, conflict, not_found};
use super::memory::{Content, FOR_GOOD, Kept, Memory, key_of, named};
use super::seen::Seen;

/// Which version of an object is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// Exactly the one that was seen.
    AsSeen,
    /// Whatever it is by now.
    Whatever,
}

/// What was pushed, in the cluster.
#[derive(Clone)]
pub struct Store {
    api: Api<ConfigMap>,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
}

impl Store {
    /// By a client of the home cluster.
    pub fn new(client: Client, memory: Arc<Memory>, metrics: Arc<Metrics>) -> Self {
        let api = Api::namespaced(client, &memory.settings().namespace);
        Self { api, memory, metrics }
    }

    /// The records of a resource.
    pub async fn of_id(&self, owner: Owner<'_>, id: Id) -> Result<Vec<Arc<Record>>, ScimError> {
        self.labelled(&format!("{SOURCE_UID}={},{SCIM_ID}={id}", owner.uid)).await
    }

    /// The records that may be of the resource which the sender knows by that.
    pub async fn of_external(&self, owner: Owner<'_>, kind: ResourceKind, id: &str) -> Result<Vec<Arc<Record>>, ScimError> {
        self.labelled(&format!("{SOURCE_UID}={},{SCIM}={kind},{SCIM_EXTERNAL}={}", owner.uid, external(id))).await
    }

    /// The records that may be of a Group which is called so.
    pub async fn of_group(&self, owner: Owner<'_>, name: &str) -> Result<Vec<Arc<Record>>, ScimError> {
        self.labelled(&format!("{SOURCE_UID}={},{SCIM_NAME}={}", owner.uid, called(name))).await
    }

    /// All records of a Source.
    pub async fn all(&self, owner: Owner<'_>) -> Result<Vec<Arc<Record>>, ScimError> {
        self.labelled(&format!("{SOURCE_UID}={},{SCIM}", owner.uid)).await
    }

    async fn labelled(&self, labels: &str) -> Result<Vec<Arc<Record>>, ScimError> {
        let found =
            self.api.list(&ListParams::default().labels(labels)).await.map_err(|error| later("list", &ObjectMeta::default(), error))?;
        Ok(found.items.into_iter().filter_map(|object| self.take_in(object)).map(Arc::new).collect())
    }

    /// The record of that name.
    pub async fn of_name(&self, name: &str) -> Result<Option<Arc<Record>>, ScimError> {
        let meta = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let found = self.api.get_opt(name).await.map_err(|error| later("read", &meta, error))?;
        Ok(found.and_then(|object| self.take_in(object)).map(Arc::new))
    }

    /// Makes a record. Nothing if its name is taken.
    pub async fn create(&self, record: &Record) -> Result<Option<Record>, ScimError> {
        let object = self.object(record)?;
        self.metrics.wrote("ConfigMap", "create");
        self.written("create", &object, self.api.create(&parameters(), &object).await)
    }

    /// Writes a record in the place of the one that was seen. Nothing if that is another one by now.
    pub async fn replace(&self, record: &Record) -> Result<Option<Record>, ScimError> {
        let object = self.object(record)?;
        self.metrics.wrote("ConfigMap", "update");
        self.written("update", &object, self.api.replace(record.name(), &parameters(), &object).await)
    }

    /// Deletes a record. Returns whether it is gone: not if it is another one by now.
    pub async fn delete(&self, record: &Record, meant: Meant) -> Result<bool, ScimError> {
        let version = record.meta.resource_version.clone().filter(|_| meant == Meant::AsSeen);
        let preconditions = Preconditions { uid: record.meta.uid.clone(), resource_version: version };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        self.metrics.wrote("ConfigMap", "delete");
        match self.api.delete(record.name(), &parameters).await {
            Ok(_) => {}
            Err(error) if not_found(&error) => {}
            Err(error) if conflict(&error) => return Ok(false),
            Err(error) => return Err(later("delete", &record.meta, error)),
        }
        self.memory.forget::<Record>(&ClusterKey::Home, &key_of(record), record.meta.uid.as_ref(), FOR_GOOD);
        Ok(true)
    }

    fn object(&self, record: &Record) -> Result<ConfigMap, ScimError> {
        let settings = self.memory.settings();
        record.object(&settings.namespace, &settings.installation)
    }

    fn written(&self, verb: &'static str, object: &ConfigMap, answer: kube::Result<ConfigMap>) -> Result<Option<Record>, ScimError> {
        match answer {
            Ok(written) => self.take_in(written).map(Some).ok_or_else(|| ScimError::new(500, "what was written does not read as it was")),
            Err(error) if conflict(&error) || not_found(&error) => Ok(None),
            Err(error) => Err(later(verb, &object.metadata, error)),
        }
    }

    /// Reads an object of this installation, and keeps it in memory: who asks next is told of it.
    fn take_in(&self, object: ConfigMap) -> Option<Record> {
        let record = ours(&object, &self.memory.settings().installation).then(|| Record::read(object)).flatten()?;
        self.memory.put(&ClusterKey::Home, record.clone());
        Some(record)
    }
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// What the sender is told when the API server does not do it, and what is logged. Senders try again.
fn later(verb: &'static str, meta: &ObjectMeta, error: kube::Error) -> ScimError {
    let error = failed::<ConfigMap>(verb, meta, error);
    tracing::warn!(why = error.chain(), "what was pushed could not be kept or read");
    match &error {
        Error::Request { source, .. } if matches!(source.as_ref(), kube::Error::Api(_)) => {
            ScimError::later("the cluster does not accept what usher keeps of this; send it again, and look at usher's log")
        }
        _ => ScimError::later("the cluster does not answer; send it again"),
    }
}

impl Resource for Record {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        ConfigMap::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        ConfigMap::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        ConfigMap::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        ConfigMap::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl Kept for Record {
    // No other watch brings records; reads and writes of senders do.
    const LISTED: bool = true;

    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.pushed.names())
    }

    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.pushed.get(name).cloned()
    }

    fn put(content: &mut Content, _: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        content.pushed.set(name, object).map(Seen::Pushed)
    }
}
