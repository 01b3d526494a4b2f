//! Environments under the shared operator that tests use one after the other. Every Environment is in each person's status and kubeconfig: with new ones for
//! each test, everybody who was ever made would be written again for each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, Error, ResourceExt};
use serde_json::{Value, json};

use super::client::{explain, kind};
use super::wait_until;

/// The label of namespaces by which an Environment of a slot chooses them.
pub const STAGE: &str = "stage";
/// Long enough for anything that a busy machine does.
const SOON: Duration = Duration::from_mins(1);

/// The slots of a cluster for Environments of these names: how many there are, and of those that are free the number and how the objects of the last test end.
#[derive(Default)]
struct Slots {
    count: u32,
    free: Vec<(u32, String)>,
}

type Key = (String, Vec<&'static str>);

static SLOTS: Mutex<BTreeMap<Key, Slots>> = Mutex::new(BTreeMap::new());

/// Names of Environments that one test has to itself. A test that fails gives them to nobody.
pub struct Slot {
    key: Key,
    number: u32,
    id: String,
}

impl Slot {
    /// Takes a slot for a test whose objects end with `-id`, and clears away what the test before left in it.
    pub async fn take(client: &Client, environments: &[&'static str], id: &str) -> Self {
        let cluster = Api::<Namespace>::all(client.clone()).get("kube-system").await.unwrap_or_else(|error| panic!("{}", explain(&error)));
        let key = (cluster.uid().expect("a uid"), environments.to_vec());
        let (number, before) = {
            let mut all = SLOTS.lock().expect("not poisoned");
            let slots = all.entry(key.clone()).or_default();
            slots.free.pop().map_or_else(
                || {
                    slots.count += 1;
                    (slots.count, None)
                },
                |(number, before)| (number, Some(before)),
            )
        };
        let slot = Self { key, number, id: id.to_owned() };
        if let Some(before) = before {
            let environments: BTreeSet<_> = environments.iter().map(|environment| slot.environment(environment)).collect();
            clear(client, &environments, &format!("-{before}")).await;
        }
        slot
    }

    /// The name of an Environment of this slot.
    pub fn environment(&self, what: &str) -> String {
        format!("{what}-slot{}", self.number)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let mut all = SLOTS.lock().expect("not poisoned");
            all.entry(self.key.clone()).or_default().free.push((self.number, std::mem::take(&mut self.id)));
        }
    }
}

/// Takes Roles, Bindings and namespaces out of Environments. Their people stay: they have workspaces elsewhere, and do no harm.
async fn clear(client: &Client, environments: &BTreeSet<String>, suffix: &str) {
    for environment in environments {
        unpause(client, environment).await;
    }
    let roles = delete(client, "Role", |role| role.name_any().ends_with(suffix) || names(role, environments)).await;
    let bindings = delete(client, "Binding", |binding| {
        binding.data["spec"]["role"].as_str().is_some_and(|role| roles.contains(role)) || binding.name_any().ends_with(suffix)
    });
    bindings.await;
    delete(client, "Environment", |environment| environment.name_any().ends_with(suffix)).await;
    let namespaces = Api::<Namespace>::all(client.clone());
    let theirs = ListParams::default().labels(&format!("{STAGE} in ({})", environments.iter().cloned().collect::<Vec<_>>().join(",")));
    let out = Patch::Merge(json!({"metadata": {"labels": {STAGE: null}}}));
    for namespace in namespaces.list(&theirs).await.unwrap_or_else(|error| panic!("{}", explain(&error))) {
        let patched = namespaces.patch(&namespace.name_any(), &PatchParams::default(), &out).await;
        patched.unwrap_or_else(|error| panic!("{}", explain(&error)));
    }
}

fn names(role: &DynamicObject, environments: &BTreeSet<String>) -> bool {
    let access = role.data["spec"]["access"].as_array().into_iter().flatten();
    let mut named = access.flat_map(|entry| entry["environments"].as_array().into_iter().flatten().filter_map(Value::as_str));
    named.any(|environment| environments.contains(environment))
}

async fn unpause(client: &Client, environment: &str) {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"usher.dev/paused": null}}}));
    match kind(client, "Environment").await.patch(environment, &PatchParams::default(), &patch).await {
        Ok(_) => {}
        Err(Error::Api(status)) if status.is_not_found() => {}
        Err(error) => panic!("{}", explain(&error)),
    }
}

/// Deletes objects of a kind, waits until they are gone and gives their names.
async fn delete(client: &Client, of: &str, which: impl Fn(&DynamicObject) -> bool) -> BTreeSet<String> {
    let api = kind(client, of).await;
    let all = api.list(&ListParams::default()).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    let names: BTreeSet<String> = all.items.iter().filter(|object| which(object)).map(ResourceExt::name_any).collect();
    for name in &names {
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(Error::Api(status)) if status.is_not_found() => {}
            Err(error) => panic!("{}", explain(&error)),
        }
    }
    for name in &names {
        wait_until(&format!("{of} {name} is gone"), SOON, async || match api.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(object)) => Err(object.data["status"].to_string()),
            Err(error) => Err(explain(&error)),
        })
        .await;
    }
    names
}
