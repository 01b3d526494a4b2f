//! What tests write and read with a client.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, TypeMeta};
use kube::core::GroupVersionKind;
use kube::{Client, Error, ResourceExt, discovery};
use serde_json::Value;

use super::wait_until;

/// The field manager of what tests write.
pub const TEST: &str = "test";
/// Long enough for anything that a busy machine does.
const SOON: Duration = Duration::from_mins(1);

/// Applies a manifest as field manager [`TEST`] without force: a conflict with somebody else's field fails the test.
#[track_caller]
pub fn apply(client: &Client, yaml: &str) -> impl Future<Output = DynamicObject> {
    let object = manifest(yaml);
    let caller = std::panic::Location::caller();
    async move { apply_as(client, TEST, object).await.unwrap_or_else(|error| panic!("{caller}: {}", explain(&error))) }
}

/// Applies an object as a field manager of the test's choice.
pub async fn apply_as(client: &Client, manager: &str, object: DynamicObject) -> Result<DynamicObject, Error> {
    let api = api_for(client, &object).await?;
    api.patch(&object.name_any(), &PatchParams::apply(manager), &Patch::Apply(&object)).await
}

/// Asks the API server whether it would create the object: admission, defaults and validation, and nothing stored.
pub async fn dry_run(client: &Client, object: &DynamicObject) -> Result<DynamicObject, Error> {
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    api_for(client, object).await?.create(&parameters, object).await
}

/// Reads one YAML document as an object.
#[track_caller]
pub fn manifest(yaml: &str) -> DynamicObject {
    let value: Value = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\nin:\n{yaml}"));
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{error}\nin:\n{yaml}"))
}

/// The API of an object's kind, in the object's namespace if it has one.
pub async fn api_for(client: &Client, object: &DynamicObject) -> Result<Api<DynamicObject>, Error> {
    let TypeMeta { api_version, kind } = object.types.clone().unwrap_or_default();
    let gvk = GroupVersionKind::try_from(TypeMeta { api_version, kind }).expect("apiVersion and kind");
    let (resource, _) = discovery::pinned_kind(client, &gvk).await?;
    Ok(match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    })
}

/// What the API server said, as kubectl would print it.
pub fn explain(error: &Error) -> String {
    match error {
        Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Makes a namespace with labels.
pub async fn namespace(client: &Client, name: &str, labels: &[(&str, &str)]) -> Namespace {
    let labels: serde_json::Map<_, _> = labels.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
    let namespace = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    let api = Api::<Namespace>::all(client.clone());
    api.patch(name, &PatchParams::apply(TEST), &Patch::Apply(&namespace)).await.unwrap_or_else(|error| panic!("{}", explain(&error)))
}

/// Deletes an object and does not wait for it to be gone.
pub async fn delete(client: &Client, object: &DynamicObject) {
    let api = api_for(client, object).await.expect("a known kind");
    match api.delete(&object.name_any(), &DeleteParams::default()).await {
        Ok(_) => {}
        Err(Error::Api(status)) if status.is_not_found() => {}
        Err(error) => panic!("{}", explain(&error)),
    }
}

/// A condition of an object, by type.
pub fn condition<'a>(object: &'a DynamicObject, condition: &str) -> Option<&'a Value> {
    object.data.pointer("/status/conditions")?.as_array()?.iter().find(|entry| entry["type"] == condition)
}

/// Waits until the condition has this status for the present generation, and gives the object. The last one seen is in the message when it does not come.
#[allow(dead_code, reason = "used as soon as `usher run` works")]
pub async fn wait_for_condition(api: &Api<DynamicObject>, name: &str, wanted: &str, status: &str) -> DynamicObject {
    wait_until(&format!("{name} is {wanted}={status}"), SOON, async || {
        let object = api.get(name).await.map_err(|error| explain(&error))?;
        let found = condition(&object, wanted);
        let current =
            found.is_some_and(|found| found["status"] == status && found["observedGeneration"].as_i64() == object.metadata.generation);
        if current {
            Ok(object)
        } else {
            Err(found.map_or_else(|| format!("no such condition in {}", object.data["status"]), Value::to_string))
        }
    })
    .await
}

/// Waits until a Developer is Ready.
#[allow(dead_code, reason = "used as soon as `usher run` works")]
pub async fn ready(client: &Client, developer: &str) -> DynamicObject {
    let api = kind(client, "Developer").await;
    wait_for_condition(&api, developer, "Ready", "True").await
}

/// The API of one of usher's kinds, untyped, so that a test sees what is stored and not what our types make of it.
pub async fn kind(client: &Client, kind: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("usher.dev", "v1alpha1", kind);
    let (resource, _) = discovery::pinned_kind(client, &gvk).await.unwrap_or_else(|error| panic!("{kind}: {}", explain(&error)));
    Api::all_with(client.clone(), &resource)
}

/// Puts usher's CRDs in, without the chart, and waits until they are served and discovered.
pub async fn install_crds(client: &Client) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let crds = usher::api::crds();
    for crd in &crds {
        let applied = api.patch(&crd.name_any(), &PatchParams::apply(TEST), &Patch::Apply(crd)).await;
        applied.unwrap_or_else(|error| panic!("{}: {}", crd.name_any(), explain(&error)));
    }
    wait_until("usher's kinds are served", SOON, async || {
        let served = client.list_api_group_resources("usher.dev/v1alpha1").await.map_err(|error| explain(&error))?;
        let mut missing = crds.iter().filter(|crd| !served.resources.iter().any(|resource| resource.name == crd.spec.names.plural));
        match missing.next() {
            Some(crd) => Err(format!("{} are not", crd.spec.names.plural)),
            None => Ok(()),
        }
    })
    .await;
    wait_until("usher's kinds are in the aggregated discovery that kubectl reads", SOON, async || {
        let groups = client.list_api_groups_aggregated().await.map_err(|error| explain(&error))?;
        let groups = serde_json::to_value(groups).map_err(|error| error.to_string())?;
        let ours = groups["items"].as_array().into_iter().flatten().find(|group| group["metadata"]["name"] == "usher.dev");
        let count = ours.and_then(|group| group["versions"][0]["resources"].as_array()).map_or(0, Vec::len);
        if count == crds.len() { Ok(()) } else { Err(format!("{count} kinds")) }
    })
    .await;
}
