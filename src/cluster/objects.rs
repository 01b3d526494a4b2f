//! Writes to usher's own kinds: status when its meaning changed, the finalizer, the record.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::object::HasStatus;
use kube::{Api, Client, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::metadata::{FIELD_MANAGER, FINALIZER};
use crate::api::{Developer, Grant, Scorecard, Source, Span};
use crate::plan::cluster::ClusterKey;
use crate::plan::source::claim::{Write, manager};

use super::apply::{Written, failed};
use super::error::{Error, conflict, not_found, owned_by_others};
use super::memory::{FOR_GOOD, Memory, key_of};
use super::pen::Pen;

/// Reads and writes usher's own kinds in the home cluster.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    memory: Arc<Memory>,
    pen: Pen,
}

fn parameters() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

impl Objects {
    /// By a client of the home cluster.
    pub fn new(client: Client, memory: Arc<Memory>, pen: Pen) -> Self {
        Self { client, memory, pen }
    }

    fn api<K: Written + kube::Resource<Scope = kube::core::ClusterResourceScope>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// Writes a status if it differs, onto the version of the object from which it follows: what arrives late must not undo what another replica told since.
    /// Returns whether it differed.
    pub async fn write_status<K, S>(&self, object: &K, old: Option<&S>, new: &S) -> Result<bool, Error>
    where
        K: Written + HasStatus<Status = S> + kube::Resource<Scope = kube::core::ClusterResourceScope>,
        S: Serialize + PartialEq,
    {
        if old == Some(new) {
            return Ok(false);
        }
        let patch = json!({"metadata": {"resourceVersion": object.resource_version()}, "status": difference(old, new)});
        match self
            .pen
            .write::<K, _>("status", self.api::<K>().patch_status(&object.name_any(), &parameters(), &Patch::Merge(patch)))
            .await?
        {
            Ok(patched) => {
                if patched.status() == Some(new) {
                    self.memory.put_answer(&ClusterKey::Home, patched);
                } else {
                    self.memory.put(&ClusterKey::Home, patched);
                }
                Ok(true)
            }
            Err(error) if not_found(&error) => Ok(false),
            Err(error) if conflict(&error) => Err(Error::Stale { kind: K::kind(&()).into_owned(), name: object.name_any() }),
            Err(error) => Err(failed::<K>("write the status of", object.meta(), error)),
        }
    }

    /// Puts the finalizer on or takes it off. Returns whether that was a change.
    pub async fn set_finalizer<K>(&self, object: &K, wanted: bool) -> Result<bool, Error>
    where
        K: Written + kube::Resource<Scope = kube::core::ClusterResourceScope>,
    {
        let mut finalizers: Vec<String> = object.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        }
        if finalizers.len() == object.finalizers().len() {
            return Ok(false);
        }
        let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
        match self.pen.write::<K, _>("patch", self.api::<K>().patch(&object.name_any(), &parameters(), &Patch::Merge(patch))).await? {
            Ok(patched) => {
                let gone = patched.meta().deletion_timestamp.is_some() && patched.finalizers().is_empty();
                if gone {
                    self.memory.forget::<K>(&ClusterKey::Home, &key_of(&patched), patched.uid().as_ref(), FOR_GOOD);
                } else {
                    self.memory.put(&ClusterKey::Home, patched);
                }
                Ok(true)
            }
            Err(error) if not_found(&error) => {
                self.memory.forget::<K>(&ClusterKey::Home, &key_of(object), object.uid().as_ref(), FOR_GOOD);
                Ok(true)
            }
            Err(error) if conflict(&error) => Err(Error::Stale { kind: K::kind(&()).into_owned(), name: object.name_any() }),
            Err(error) => Err(failed::<K>("put or take the finalizer of", object.meta(), error)),
        }
    }

    /// The UID of the Source of a name, read live; nothing if there is none.
    pub async fn uid_of_source(&self, name: &str) -> Result<Option<String>, Error> {
        let meta = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let only = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = self.api::<Source>().list_metadata(&only).await.map_err(|error| failed::<Source>("read", &meta, error))?;
        Ok(found.items.into_iter().find_map(|source| source.metadata.uid))
    }

    /// Deletes exactly this object.
    pub async fn delete<K>(&self, object: &K) -> Result<(), Error>
    where
        K: Written + kube::Resource<Scope = kube::core::ClusterResourceScope>,
    {
        let preconditions = Preconditions { uid: object.uid(), resource_version: object.resource_version() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.pen.write::<K, _>("delete", self.api::<K>().delete(&object.name_any(), &parameters)).await? {
            Ok(_) => Ok(()),
            Err(error) if not_found(&error) || conflict(&error) => Ok(()),
            Err(error) => Err(failed::<K>("delete", object.meta(), error)),
        }
    }

    /// Begins a Grant or a Departure. One of that name that is there already is the one that was begun before a crash.
    pub async fn begin<K>(&self, record: &K) -> Result<(), Error>
    where
        K: Written + kube::Resource<Scope = kube::core::ClusterResourceScope>,
    {
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let api = self.api::<K>();
        let made = match self.pen.write::<K, _>("create", api.create(&parameters, record)).await? {
            Err(error) if conflict(&error) => api.get(&record.name_any()).await,
            other => other,
        };
        let made = made.map_err(|error| failed::<K>("create", record.meta(), error))?;
        self.memory.put(&ClusterKey::Home, made);
        Ok(())
    }

    /// Says of a Developer what a Source says of her, as its field manager. What somebody else owns and says otherwise stays as it is, but that she has nothing.
    pub async fn apply_developer(&self, source: &str, write: &Write) -> Result<(), Error> {
        self.claim_developer(source, write).await?;
        for gone in &write.former {
            let (parameters, body) = (PatchParams::apply(gone), Patch::Apply(write.farewell()));
            match self.pen.write::<Developer, _>("apply", self.api::<Developer>().patch(&write.name, &parameters, &body)).await? {
                Ok(applied) => self.memory.put(&ClusterKey::Home, applied),
                Err(error) => {
                    let meta = ObjectMeta { name: Some(write.name.clone()), ..ObjectMeta::default() };
                    return Err(failed::<Developer>("apply", &meta, error));
                }
            }
        }
        Ok(())
    }

    async fn claim_developer(&self, source: &str, write: &Write) -> Result<(), Error> {
        let parameters = PatchParams::apply(&manager(source));
        let parameters = if write.is_forced() { parameters.force() } else { parameters };
        let mut write = write.clone();
        // Each try leaves fields out, so it ends.
        loop {
            let body = Patch::Apply(write.body(source));
            let answer = self.pen.write::<Developer, _>("apply", self.api::<Developer>().patch(&write.name, &parameters, &body)).await?;
            let error = match answer {
                Ok(applied) => {
                    self.memory.put(&ClusterKey::Home, applied);
                    return Ok(());
                }
                Err(error) => error,
            };
            let owned = owned_by_others(&error);
            let fields = owned.keys().filter_map(|field| field.strip_prefix(".spec.").map(str::to_owned)).collect();
            match write.without(&fields) {
                Some(less) => write = less,
                None => return Err(not_claimed(write.name, owned.into_values().collect(), error)),
            }
        }
    }

    /// Makes a Scorecard. One of that name that is there already comes by its watch.
    pub async fn begin_scorecard(&self, scorecard: &Scorecard) -> Result<(), Error> {
        self.make(&self.api(), scorecard).await
    }

    async fn make<K: Written>(&self, api: &Api<K>, object: &K) -> Result<(), Error> {
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match self.pen.write::<K, _>("create", api.create(&parameters, object)).await? {
            Ok(made) => {
                self.memory.put(&ClusterKey::Home, made);
                Ok(())
            }
            // Its watch will bring it.
            Err(error) if conflict(&error) => Ok(()),
            Err(error) => Err(failed::<K>("create", object.meta(), error)),
        }
    }

    /// Corrects the window of a Scorecard, of just the version that was seen.
    pub async fn set_window(&self, scorecard: &Scorecard, window: &Span) -> Result<(), Error> {
        let patch = json!({"metadata": {"resourceVersion": scorecard.resource_version()}, "spec": {"window": window}});
        let api = self.api::<Scorecard>();
        match self.pen.write::<Scorecard, _>("patch", api.patch(&scorecard.name_any(), &parameters(), &Patch::Merge(patch))).await? {
            Ok(patched) => {
                self.memory.put_answer(&ClusterKey::Home, patched);
                Ok(())
            }
            Err(error) if not_found(&error) => Ok(()),
            Err(error) if conflict(&error) => Err(Error::Stale { kind: "Scorecard".to_owned(), name: scorecard.name_any() }),
            Err(error) => Err(failed::<Scorecard>("correct the window of", &scorecard.metadata, error)),
        }
    }

    /// Keeps what a Role contains. One of that name that is there already is the same: its name is made from what it is for.
    pub async fn keep_revision(&self, revision: &ControllerRevision) -> Result<(), Error> {
        let namespace = revision.metadata.namespace.as_deref().unwrap_or_default();
        self.make(&Api::namespaced(self.client.clone(), namespace), revision).await
    }

    /// Deletes a record whose time is over: exactly the version that was seen to be over.
    pub async fn purge<K: Written>(&self, api: &Api<K>, object: &K) -> Result<(), Error> {
        let preconditions = Preconditions { uid: object.uid(), resource_version: object.resource_version() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.pen.write::<K, _>("delete", api.delete(&object.name_any(), &parameters)).await? {
            Ok(_) => {}
            Err(error) if not_found(&error) => {}
            Err(error) if conflict(&error) => {
                return Err(Error::Stale { kind: K::kind(&()).into_owned(), name: object.name_any() });
            }
            Err(error) => return Err(failed::<K>("delete", object.meta(), error)),
        }
        self.memory.forget::<K>(&ClusterKey::Home, &key_of(object), object.uid().as_ref(), FOR_GOOD);
        Ok(())
    }

    /// Changes a Grant: it gained entries, or an end.
    pub async fn change_grant(&self, grant: &Grant) -> Result<(), Error> {
        let patch = json!({
            "metadata": {"labels": grant.labels(), "resourceVersion": grant.resource_version()},
            "spec": grant.spec,
        });
        match self.pen.write::<Grant, _>("patch", self.api::<Grant>().patch(&grant.name_any(), &parameters(), &Patch::Merge(patch))).await?
        {
            Ok(patched) => {
                self.memory.put(&ClusterKey::Home, patched);
                Ok(())
            }
            Err(error) if not_found(&error) => {
                self.memory.forget::<Grant>(&ClusterKey::Home, &key_of(grant), grant.uid().as_ref(), FOR_GOOD);
                Ok(())
            }
            Err(error) if conflict(&error) => Err(Error::Stale { kind: "Grant".to_owned(), name: grant.name_any() }),
            Err(error) => Err(failed::<Grant>("change", &grant.metadata, error)),
        }
    }
}

/// The fields of a status that changed; those that are left out now are null, which a merge patch takes out.
fn difference<S: Serialize>(old: Option<&S>, new: &S) -> Value {
    let value = |status: Option<&S>| status.and_then(|status| serde_json::to_value(status).ok()).unwrap_or_else(|| json!({}));
    merge_patch(&value(old), value(Some(new)))
}

/// What makes the new of the old (RFC 7396): of objects in objects, too, as what a part does not have any more must be said.
fn merge_patch(old: &Value, new: Value) -> Value {
    let (old, mut new) = match (old, new) {
        (Value::Object(old), Value::Object(new)) => (old, new),
        (_, new) => return new,
    };
    for key in old.keys() {
        new.entry(key.clone()).or_insert(Value::Null);
    }
    new.retain(|key, value| old.get(key) != Some(value));
    let changed = new.into_iter().map(|(key, value)| {
        let value = merge_patch(old.get(&key).unwrap_or(&Value::Null), value);
        (key, value)
    });
    Value::Object(changed.collect())
}

/// Why a Source could not say something of a Developer.
fn not_claimed(name: String, owned: Vec<String>, error: kube::Error) -> Error {
    let kind = "Developer".to_owned();
    if !owned.is_empty() {
        Error::Owned { kind, name, what: owned.join("; ") }
    } else if conflict(&error) {
        Error::Stale { kind, name }
    } else {
        let meta = ObjectMeta { name: Some(name), ..ObjectMeta::default() };
        failed::<Developer>("apply", &meta, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_becomes_null_and_what_is_the_same_is_not_sent() {
        let old = json!({"a": 1, "b": [1], "c": {"x": 1, "y": [1], "z": 3}});
        let new = json!({"a": 1, "c": {"x": 2, "z": 3, "new": {"deep": true}}});
        assert_eq!(difference(Some(&old), &new), json!({"b": null, "c": {"x": 2, "y": null, "new": {"deep": true}}}));
    }
}
