//! The population: what everybody shares, the people, and waiting until all of them are Ready.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;
use usher::api::Developer;
use usher::plan::rbac::SUBJECTS_PER_BINDING;

use crate::support::client::{apply, condition, kind, namespace};
use crate::support::wait_until;

/// How many requests are in flight at once, of those who declare people and of bare clients.
pub const IN_FLIGHT: usize = 32;
/// Shared namespaces of each shared Environment.
const NAMESPACES: usize = 10;
/// The Environments that hold shared namespaces.
pub const SHARED: [&str; 2] = ["staging", "prod"];
/// The Environment of workspaces.
pub const HOME: &str = "home";
/// Each Role with its ClusterRole and the team that holds it.
const ROLES: [(&str, &str, &str); 3] = [("a", "view", "all"), ("b", "edit", "left"), ("c", "usher-developer", "right")];
/// When it is not done by now, something is broken.
const GIVE_UP: Duration = Duration::from_mins(30);

/// The names of so many people.
pub fn names(people: usize) -> Vec<String> {
    (0..people).map(name).collect()
}

fn name(number: usize) -> String {
    format!("p{number:05}")
}

/// The shared namespaces.
pub fn shared_namespaces() -> Vec<String> {
    SHARED.into_iter().flat_map(namespaces_of).collect()
}

fn namespaces_of(environment: &str) -> impl Iterator<Item = String> {
    (0..NAMESPACES).map(move |number| format!("{environment}-{number}"))
}

/// The shared namespaces of an Environment, each with who may ask about it.
pub fn places(client: &Client, environment: &str) -> Vec<(Client, String)> {
    namespaces_of(environment).map(|name| (client.clone(), name)).collect()
}

/// Makes what people share: Environments with their namespaces, Roles and Bindings.
pub async fn prepare(client: &Client) {
    served(client).await;
    for environment in SHARED {
        namespaces(client, environment).await;
        let spec = json!({"namespaces": {"matchLabels": {"env": environment}}});
        declare_one(client, "Environment", environment, &spec).await;
    }
    declare_one(client, "Environment", HOME, &json!({"home": true, "workspace": workspace()})).await;
    roles_in(client, &SHARED).await;
}

/// Makes the shared namespaces of an Environment.
pub async fn namespaces(client: &Client, environment: &str) {
    for name in namespaces_of(environment) {
        namespace(client, &name, &[("env", environment)]).await;
    }
}

/// What a workspace has.
pub fn workspace() -> serde_json::Value {
    json!({
        "quota": {"requests.cpu": "2", "requests.memory": "4Gi", "limits.memory": "8Gi", "pods": "20"},
        "limits": {"default": {"memory": "512Mi"}, "defaultRequest": {"cpu": "50m", "memory": "64Mi"}},
    })
}

/// Makes the Roles, each of which gives the same in these Environments, and their Bindings.
pub async fn roles_in(client: &Client, environments: &[&str]) {
    for (role, cluster_role, team) in ROLES {
        let access = json!([{"name": "work", "environments": environments, "clusterRoles": [cluster_role]}]);
        declare_one(client, "Role", role, &json!({"access": access})).await;
        declare_one(client, "Binding", role, &json!({"role": role, "teams": [team]})).await;
    }
}

/// Waits until usher's kinds can be written.
pub async fn served(client: &Client) {
    for kinds in ["Environment", "Role", "Binding", "Developer", "Grant"] {
        wait_until("usher's kinds are served", Duration::from_mins(1), async || {
            let gvk = kube::core::GroupVersionKind::gvk("usher.dev", "v1alpha1", kinds);
            let found = kube::discovery::pinned_kind(client, &gvk).await;
            found.map(|_| ()).map_err(|error| error.to_string())
        })
        .await;
    }
}

/// Makes one object of usher's.
pub async fn declare_one(client: &Client, kind: &str, name: &str, spec: &serde_json::Value) {
    let object = json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    apply(client, &object.to_string()).await;
}

/// Waits until the operator has taken in what people share.
pub async fn taken_in(client: &Client) {
    all_taken_in(client, "Environment", [HOME, SHARED[0], SHARED[1]]).await;
    all_taken_in(client, "Role", ["a", "b", "c"]).await;
    all_taken_in(client, "Binding", ["a", "b", "c"]).await;
}

/// Waits until the operator has taken in these objects of a kind.
pub async fn all_taken_in(client: &Client, kinds: &str, names: impl IntoIterator<Item = impl AsRef<str>>) {
    let api = kind(client, kinds).await;
    for name in names {
        crate::support::client::wait_for_condition(&api, name.as_ref(), "Ready", "True").await;
    }
}

/// Declares people, many at once, and tells of each when she is there.
pub async fn declare(client: &Client, people: Range<usize>, declared: impl Fn(&str)) {
    let teams = |number: usize| vec!["all".to_owned(), if number.is_multiple_of(2) { "left" } else { "right" }.to_owned()];
    declare_in(client, people, teams, declared).await;
}

/// Declares people of such teams, many at once, and tells of each when she is there.
pub async fn declare_in(client: &Client, people: Range<usize>, teams: impl Fn(usize) -> Vec<String>, declared: impl Fn(&str)) {
    let api: Api<Developer> = Api::all(client.clone());
    let names: Vec<_> = people.map(|number| (number, name(number), teams(number))).collect();
    let writes = stream::iter(names).map(|(number, name, teams)| {
        let api = api.clone();
        async move {
            let spec = json!({"displayName": format!("Person {number}"), "email": format!("{name}@example.com"), "teams": teams});
            let developer = Developer::new(&name, serde_json::from_value(spec).expect("a spec"));
            api.create(&PostParams::default(), &developer).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            name
        }
    });
    let mut writes = std::pin::pin!(writes.buffer_unordered(IN_FLIGHT));
    while let Some(name) = writes.next().await {
        declared(&name);
    }
}

/// Watches until everybody is Ready, and shows how far it is. `goes_on` says whether there is still hope.
pub async fn all_ready(client: &Client, people: usize, what: &str, goes_on: impl Fn() -> bool) {
    let api = kind(client, "Developer").await;
    let mut changes = std::pin::pin!(watcher(api, watcher::Config::default()));
    let (mut ready, mut troubles) = (BTreeSet::new(), BTreeMap::new());
    let since = Instant::now();
    let mut beat = tokio::time::interval(Duration::from_secs(5));
    beat.tick().await;
    while ready.len() < people {
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(Event::Apply(object) | Event::InitApply(object))) => judge(&object, &mut ready, &mut troubles),
                Some(Ok(_)) => {}
                // It lists again by itself, as after a 410 from an API server that has just started.
                Some(Err(error)) => eprintln!("  {what}: the watch of people begins anew: {error}"),
                None => panic!("the watch of people ended"),
            },
            _ = beat.tick() => {
                eprintln!("  {what}: {} of {people} are Ready after {:.0} s", ready.len(), since.elapsed().as_secs_f64());
                let hope = since.elapsed() < GIVE_UP && goes_on();
                assert!(hope, "not everybody gets Ready: {:?}", troubles.iter().take(5).collect::<Vec<_>>());
            }
        }
    }
}

fn judge(object: &DynamicObject, ready: &mut BTreeSet<String>, troubles: &mut BTreeMap<String, String>) {
    let name = object.name_any();
    let found = condition(object, "Ready");
    let current =
        found.is_some_and(|found| found["status"] == "True" && found["observedGeneration"].as_i64() == object.metadata.generation);
    if current {
        troubles.remove(&name);
        ready.insert(name);
    } else {
        ready.remove(&name);
        troubles.insert(name, found.map_or_else(|| "no status".to_owned(), ToString::to_string));
    }
}

/// The RoleBindings in shared namespaces.
pub struct Shared {
    /// How many there are.
    pub bindings: usize,
    /// How many there may be: Roles × namespaces × the shards that so many holders need.
    pub bound: usize,
}

/// Counts the RoleBindings in a cluster's shared namespaces, those of so many Environments, and makes sure that each holder is named exactly once in each.
pub async fn shared_bindings(client: &Client, people: usize, environments: usize) -> Shared {
    let api: Api<RoleBinding> = Api::all(client.clone());
    let list = api.list(&ListParams::default().labels("usher.dev/role")).await.expect("a list");
    let mut named: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for binding in &list.items {
        let subjects = binding.subjects.iter().flatten().map(|subject| subject.name.clone());
        let key = (binding.role_ref.name.clone(), binding.namespace().unwrap_or_default());
        named.entry(key).or_default().extend(subjects);
    }
    let mut bound = 0;
    for (_, cluster_role, team) in ROLES {
        let holders = match team {
            "all" => people,
            "left" => people.div_ceil(2),
            _ => people / 2,
        };
        bound += holders.div_ceil(SUBJECTS_PER_BINDING) * NAMESPACES * environments;
        let places: Vec<_> = named.iter().filter(|((role, _), _)| role == cluster_role).collect();
        assert_eq!(places.len(), NAMESPACES * environments, "{cluster_role} is given in every shared namespace");
        for (place, subjects) in places {
            let each: BTreeSet<_> = subjects.iter().collect();
            assert!(subjects.len() == holders && each.len() == holders, "{place:?} names {} of {holders}", each.len());
        }
    }
    Shared { bindings: list.items.len(), bound }
}

/// How many RoleBindings a Role has in shared namespaces.
pub async fn shared_bindings_of(client: &Client, role: &str) -> usize {
    let api: Api<RoleBinding> = Api::all(client.clone());
    api.list(&ListParams::default().labels(&format!("usher.dev/role={role}"))).await.expect("a list").items.len()
}
