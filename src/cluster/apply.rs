//! Carries out the writes of a plan, and remembers their outcome at once.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::api::metadata::FIELD_MANAGER;
use crate::plan::change::{Change, Step, Write, is_ours, ours};
use crate::plan::cluster::ClusterKey;

use super::error::{Error, conflict, not_found};
use super::memory::{FOR_GOOD, Kept, Memory, key_of};
use super::pen::Pen;

/// A cluster that can be written to.
#[derive(Clone)]
pub struct Cluster {
    key: ClusterKey,
    client: Client,
    memory: Arc<Memory>,
    pen: Pen,
}

/// A kind of object that is written.
pub trait Written: Kept + Resource<DynamicType = ()> + Serialize + DeserializeOwned + Debug {}
impl<K: Kept + Resource<DynamicType = ()> + Serialize + DeserializeOwned + Debug> Written for K {}

/// How an object is called in messages.
pub fn title(meta: &ObjectMeta) -> String {
    let name = meta.name.as_deref().unwrap_or_default();
    meta.namespace.as_ref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// Makes an error of what the API server answered.
pub fn failed<K: Resource<DynamicType = ()>>(verb: &'static str, meta: &ObjectMeta, source: kube::Error) -> Error {
    Error::Request { verb, kind: K::kind(&()).into_owned(), name: title(meta), source: Box::new(source) }
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

impl Cluster {
    /// A cluster by its client.
    pub fn new(key: ClusterKey, client: Client, memory: Arc<Memory>, pen: Pen) -> Self {
        Self { key, client, memory, pen }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Which it is.
    pub fn key(&self) -> &ClusterKey {
        &self.key
    }

    /// Refuses once this replica may not write any more.
    pub fn may_write(&self) -> Result<(), Error> {
        self.pen.may()
    }

    /// What every write to it needs.
    pub fn pen(&self) -> &Pen {
        &self.pen
    }

    /// Carries out one write.
    pub async fn carry_out(&self, step: &Step) -> Result<(), Error> {
        let namespace = step.change.meta().namespace.clone().unwrap_or_default();
        let _writing = self.memory.writing(&self.key, step.change.title());
        match &step.change {
            Change::Namespace(Write::Replace(object)) => self.patch_namespace(object).await,
            Change::Namespace(write) => self.write(Api::all(self.client.clone()), write).await,
            Change::ClusterRole(write) => self.write(Api::all(self.client.clone()), write).await,
            Change::ClusterRoleBinding(write) => self.write(Api::all(self.client.clone()), write).await,
            Change::ServiceAccount(write) => self.write(Api::namespaced(self.client.clone(), &namespace), write).await,
            Change::RoleBinding(write) => self.write(Api::namespaced(self.client.clone(), &namespace), write).await,
            Change::ResourceQuota(write) => self.write(Api::namespaced(self.client.clone(), &namespace), write).await,
            Change::LimitRange(write) => self.write(Api::namespaced(self.client.clone(), &namespace), write).await,
            Change::NetworkPolicy(write) => self.write(Api::namespaced(self.client.clone(), &namespace), write).await,
            Change::Secret(write) => self.write(Api::namespaced(self.client.clone(), &namespace), write).await,
            Change::ConfigMap(Write::Create(object) | Write::Replace(object)) => self.apply_config_map(object).await,
            Change::ConfigMap(write) => self.write(Api::namespaced(self.client.clone(), &namespace), write).await,
        }
    }

    async fn write<K: Written>(&self, api: Api<K>, write: &Write<K>) -> Result<(), Error> {
        match write {
            Write::Create(object) => self.create(&api, object).await,
            Write::Replace(object) => self.replace(&api, object).await,
            Write::Delete(meta) => self.delete(&api, meta).await,
        }
    }

    async fn create<K: Written>(&self, api: &Api<K>, object: &K) -> Result<(), Error> {
        match self.pen.write::<K, _>("create", api.create(&parameters(), object)).await? {
            Ok(created) => {
                self.memory.put_answer(&self.key, created);
                Ok(())
            }
            Err(error) if conflict(&error) => self.look_again(api, object.meta()).await,
            Err(error) => Err(failed::<K>("create", object.meta(), error)),
        }
    }

    async fn replace<K: Written>(&self, api: &Api<K>, object: &K) -> Result<(), Error> {
        match self.pen.write::<K, _>("update", api.replace(&object.name_any(), &parameters(), object)).await? {
            Ok(replaced) => {
                self.memory.put_answer(&self.key, replaced);
                Ok(())
            }
            Err(error) if conflict(&error) || not_found(&error) => self.look_again(api, object.meta()).await,
            Err(error) => Err(failed::<K>("update", object.meta(), error)),
        }
    }

    /// Deletes exactly the object that was seen, by its UID.
    async fn delete<K: Written>(&self, api: &Api<K>, meta: &ObjectMeta) -> Result<(), Error> {
        let preconditions = Preconditions { uid: meta.uid.clone(), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let key = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        match self.pen.write::<K, _>("delete", api.delete(&key.1, &parameters)).await? {
            Ok(answer) => {
                match answer.left().filter(|object| object.meta().deletion_timestamp.is_some()) {
                    Some(terminating) => self.memory.put(&self.key, terminating),
                    None => self.memory.forget::<K>(&self.key, &key, meta.uid.as_ref(), FOR_GOOD),
                }
                Ok(())
            }
            Err(error) if not_found(&error) => {
                self.memory.forget::<K>(&self.key, &key, meta.uid.as_ref(), FOR_GOOD);
                Ok(())
            }
            Err(error) if conflict(&error) => self.look_again(api, meta).await,
            Err(error) => Err(failed::<K>("delete", meta, error)),
        }
    }

    /// Reads an object that is not as it was seen, so that the next plan knows; a stranger's is a conflict.
    async fn look_again<K: Written>(&self, api: &Api<K>, meta: &ObjectMeta) -> Result<(), Error> {
        let name = meta.name.clone().unwrap_or_default();
        let kind = K::kind(&()).into_owned();
        match api.get_opt(&name).await.map_err(|error| failed::<K>("read", meta, error))? {
            Some(found) if !ours(&found, &self.memory.settings().installation) && K::kind(&()) != "Namespace" => {
                Err(Error::Conflict { kind, name: title(meta) })
            }
            Some(found) => {
                self.memory.put(&self.key, found);
                Err(Error::Stale { kind, name: title(meta) })
            }
            None => {
                let key = (meta.namespace.clone().unwrap_or_default(), name);
                self.memory.forget::<K>(&self.key, &key, meta.uid.as_ref(), FOR_GOOD);
                Err(Error::Stale { kind, name: title(meta) })
            }
        }
    }

    /// Changes a namespace's labels and annotations; the rest of it is not usher's.
    async fn patch_namespace(&self, object: &Namespace) -> Result<(), Error> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let kept = self.memory.get::<Namespace>(&self.key, &key_of(object));
        let old = kept.as_deref().map(Resource::meta);
        let patch = json!({"metadata": {
            "resourceVersion": object.resource_version(),
            "labels": merge(old.and_then(|meta| meta.labels.as_ref()), object.labels()),
            "annotations": merge(old.and_then(|meta| meta.annotations.as_ref()), object.annotations()),
        }});
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match self.pen.write::<Namespace, _>("patch", api.patch_metadata(&object.name_any(), &parameters, &Patch::Merge(patch))).await? {
            Ok(patched) => {
                self.memory.put(&self.key, Namespace { metadata: patched.metadata, ..Namespace::default() });
                Ok(())
            }
            Err(error) if conflict(&error) || not_found(&error) => self.look_again(&api, object.meta()).await,
            Err(error) => Err(failed::<Namespace>("patch", object.meta(), error)),
        }
    }

    /// ConfigMaps are made by server-side apply, which RBAC can limit to one name.
    async fn apply_config_map(&self, object: &ConfigMap) -> Result<(), Error> {
        let applied = self.apply(object).await?;
        self.memory.put_answer(&self.key, applied);
        Ok(())
    }

    /// Server-side apply of an object of a closed name.
    pub async fn apply<K>(&self, object: &K) -> Result<K, Error>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + Serialize + DeserializeOwned + Debug,
    {
        let mut object = object.clone();
        object.meta_mut().resource_version = None;
        object.meta_mut().uid = None;
        object.meta_mut().creation_timestamp = None;
        object.meta_mut().managed_fields = None;
        let api: Api<K> = Api::namespaced(self.client.clone(), object.namespace().as_deref().unwrap_or_default());
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let failed = |error| failed::<K>("apply", object.meta(), error);
        let applied =
            self.pen.write::<K, _>("apply", api.patch(&object.name_any(), &parameters, &Patch::Apply(&object))).await?.map_err(failed)?;
        match surplus(&object, &applied) {
            None => Ok(applied),
            Some(patch) => {
                let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
                self.pen.write::<K, _>("patch", api.patch(&object.name_any(), &parameters, &Patch::Merge(patch))).await?.map_err(failed)
            }
        }
    }
}

/// The patch that takes out what others put where only usher writes: server-side apply leaves the fields of others alone.
fn surplus<K: Serialize>(wanted: &K, applied: &K) -> Option<Value> {
    let (wanted, applied) = (serde_json::to_value(wanted).ok()?, serde_json::to_value(applied).ok()?);
    let gone = |field: &str, all: bool| -> Map<String, Value> {
        let keys = |object: &Value| object.pointer(field).and_then(Value::as_object).cloned().unwrap_or_default();
        let wanted = keys(&wanted);
        let surplus = keys(&applied).into_iter().filter(|(key, _)| (all || is_ours(key)) && !wanted.contains_key(key));
        surplus.map(|(key, _)| (key, Value::Null)).collect()
    };
    let (labels, annotations, data) = (gone("/metadata/labels", false), gone("/metadata/annotations", false), gone("/data", true));
    let any = [&labels, &annotations, &data].into_iter().any(|gone| !gone.is_empty());
    any.then(|| json!({"metadata": {"labels": labels, "annotations": annotations}, "data": data}))
}

/// The patch of a map that takes out what is not in it any more.
fn merge(old: Option<&std::collections::BTreeMap<String, String>>, new: &std::collections::BTreeMap<String, String>) -> Value {
    let mut patch: Map<String, Value> = new.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    for key in old.into_iter().flat_map(|old| old.keys()).filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}
