//! What hands change on objects of usher's is put back within a second; what others add beside it stays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, Error, ResourceExt, discovery};
use serde_json::{Value, json};

use crate::support::client::{self, explain};
use crate::support::install::Install;
use crate::support::operator::Operator;
use crate::support::people::{self, account, declare, developer};
use crate::support::{AuditLevel, ControlPlane, wait_until};

/// Repaired at once, with much room for a machine that does much else.
const REPAIRED: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(30);
const KINDS: [(&str, &str, &str); 10] = [
    ("", "v1", "Namespace"),
    ("", "v1", "ServiceAccount"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    ("", "v1", "ResourceQuota"),
    ("", "v1", "LimitRange"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "Secret"),
];

/// What somebody does by hand.
#[derive(Debug)]
enum Hand {
    Patch(Value),
    Delete,
    /// Deletes, and makes an object of the same name that differs.
    Recreate(Value),
}

/// `Kind namespace/name` to content.
type Snapshot = BTreeMap<String, Value>;

struct Bench {
    client: Client,
    apis: Vec<(&'static str, Api<DynamicObject>, discovery::ApiResource)>,
    user: String,
}

impl Bench {
    async fn new(client: Client) -> Self {
        let mut apis = Vec::new();
        for (group, version, kind) in KINDS {
            let gvk = GroupVersionKind::gvk(group, version, kind);
            let (resource, _) = discovery::pinned_kind(&client, &gvk).await.unwrap();
            apis.push((kind, Api::all_with(client.clone(), &resource), resource));
        }
        Self { client, apis, user: String::new() }
    }

    /// Everything of usher's, without what the API server counts and what a new token changes.
    async fn snapshot(&self) -> Snapshot {
        let ours = ListParams::default().labels("usher.dev/installation,usher.dev/installation!=nobody");
        let lists = self.apis.iter().map(|(kind, api, _)| async { (*kind, api.list(&ours).await.unwrap().items) });
        let lists = futures::future::join_all(lists).await;
        let all = lists.into_iter().flat_map(|(kind, items)| items.into_iter().map(move |item| (kind, item)));
        all.map(|(kind, object)| (title(kind, &object), content(kind, object))).collect()
    }

    fn api(&self, kind: &str, namespace: Option<String>) -> Api<DynamicObject> {
        let (_, all, resource) = self.apis.iter().find(|(known, _, _)| *known == kind).unwrap();
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), &namespace, resource),
            None => all.clone(),
        }
    }

    /// The one object of a kind whose title has `part` in it.
    async fn find(&self, kind: &str, part: &str) -> DynamicObject {
        let ours = ListParams::default().labels("usher.dev/installation");
        let found = self.api(kind, None).list(&ours).await.unwrap().items;
        let mut found: Vec<_> = found.into_iter().filter(|object| title(kind, object).contains(part)).collect();
        assert_eq!(found.len(), 1, "{kind} {part}: {found:?}");
        found.remove(0)
    }

    /// Does it; nobody's hands are slower than usher, so what usher put back meanwhile is changed again.
    async fn act(&self, kind: &str, object: &DynamicObject, hand: &Hand) {
        let (api, name) = (self.api(kind, object.namespace()), object.name_any());
        match hand {
            Hand::Patch(patch) => {
                let changed = api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
                let changed = changed.unwrap_or_else(|error| panic!("{kind} {name} {hand:?}: {}", explain(&error)));
                assert_ne!(changed.resource_version(), object.resource_version(), "{hand:?} changes nothing");
            }
            Hand::Delete => drop(api.delete(&name, &DeleteParams::default()).await.unwrap()),
            Hand::Recreate(patch) => recreate(&api, object, patch).await,
        }
    }

    /// Acts and waits until all is as it was; says how long that took.
    async fn repairs(&self, kind: &str, part: &str, hand: Hand) -> Repair {
        let before = self.snapshot().await;
        let object = self.find(kind, part).await;
        self.act(kind, &object, &hand).await;
        let since = Instant::now();
        let what = format!("{kind} {part} after {hand:?}");
        let mut late = String::new();
        // Longer than it may take, so that the next edit begins with what should be.
        wait_until(&format!("repaired: {what}"), SOON, async || {
            let now = self.snapshot().await;
            if now == before {
                return Ok(());
            }
            if since.elapsed() > REPAIRED {
                late = difference(&before, &now);
            }
            Err(difference(&before, &now))
        })
        .await;
        let took = since.elapsed();
        if matches!(kind, "ServiceAccount" | "Secret") {
            self.kubeconfig_works(&what).await;
        }
        Repair { what, took, late }
    }

    async fn kubeconfig_works(&self, after: &str) {
        wait_until(&format!("her kubeconfig works: {after}"), REPAIRED, async || {
            let Some(_) = people::secret(&self.client, "lab-ada").await else { return Err("no Secret".to_owned()) };
            let seen = people::whoami(&people::kubeconfig(&self.client, "lab-ada").await).await;
            if seen.as_ref() == Ok(&self.user) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }
}

/// What became of an edit.
struct Repair {
    what: String,
    took: Duration,
    /// What was still wrong after the time that a repair may take.
    late: String,
}

async fn recreate(api: &Api<DynamicObject>, object: &DynamicObject, patch: &Value) {
    let mut other = object.clone();
    other.metadata.resource_version = None;
    other.metadata.uid = None;
    for (key, value) in patch.as_object().unwrap() {
        other.data[key] = value.clone();
    }
    wait_until("the other one is made", SOON, async || {
        let _ = api.delete(&other.name_any(), &DeleteParams::default()).await;
        match api.create(&PostParams::default(), &other).await {
            Ok(_) => Ok(()),
            Err(Error::Api(status)) if status.code == 409 => Err("usher was faster"),
            Err(error) => panic!("{}", explain(&error)),
        }
    })
    .await;
}

fn title(kind: &str, object: &DynamicObject) -> String {
    format!("{kind} {}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

fn content(kind: &str, object: DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    let meta = value["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
        meta.remove(field);
    }
    let fields = value.as_object_mut().unwrap();
    fields.remove("status");
    if kind == "Secret" {
        let keys: Vec<_> = fields["data"].as_object().unwrap().keys().cloned().collect();
        fields.insert("data".to_owned(), json!(keys));
        let notes = value["metadata"]["annotations"].as_object_mut().unwrap();
        for note in ["data-digest", "token-issued-at", "token-expires-at", "service-account-uid"] {
            let removed = notes.remove(&format!("usher.dev/{note}"));
            assert!(removed.is_some(), "{note}");
        }
    }
    value
}

fn difference(before: &Snapshot, now: &Snapshot) -> String {
    let keys: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let differing = keys.into_iter().filter(|key| before.get(*key) != now.get(*key));
    let line = |key: &String| format!("\n{key}\n  was {}\n  is  {}", json!(before.get(key)), json!(now.get(key)));
    differing.map(line).collect()
}

/// A person with everything that usher makes: a full workspace, a Role with ClusterRoles, rules and cluster-wide rules.
async fn furnish(client: &Client) -> String {
    let workspace = json!({
        "quota": {"pods": "20"},
        "limits": {"default": {"cpu": "500m"}, "defaultRequest": {"cpu": "50m"}},
    });
    let lab = json!({"home": true, "allowClusterScope": true, "namespaces": {"matchLabels": {"env": "lab"}}, "workspace": workspace});
    declare(client, "Environment", "lab", lab).await;
    client::namespace(client, "shared", &[("env", "lab")]).await;
    let look = json!({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]});
    let nodes = json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]});
    let access = json!([
        {"name": "work", "environments": ["lab"], "clusterRoles": ["view"]},
        {"name": "look", "environments": ["lab"], "rules": [look]},
        {"name": "nodes", "environments": ["lab"], "cluster": true, "rules": [nodes]},
    ]);
    declare(client, "Role", "work", json!({"access": access})).await;
    declare(client, "Binding", "ada", json!({"role": "work", "developers": ["ada"]})).await;
    for person in ["ada", "bob"] {
        developer(client, person, json!({})).await;
        client::ready(client, person).await;
    }
    account(&client::ready(client, "ada").await)
}

fn subjects(more: Value) -> Hand {
    Hand::Patch(json!({"subjects": more}))
}

fn labels(patch: Value) -> Hand {
    Hand::Patch(json!({"metadata": {"labels": patch}}))
}

/// Everything that is done to bindings, with the one it is done to.
async fn bindings(bench: &Bench) -> Vec<(&'static str, String, Hand)> {
    let rbac = "rbac.authorization.k8s.io";
    let bob = account(&client::ready(&bench.client, "bob").await);
    let role = ["shared/usher:role:work:", "lab-ada/usher:owner:"];
    let snapshot = bench.snapshot().await;
    let mut edits = Vec::new();
    let all = snapshot.iter().filter(|(key, _)| key.starts_with("RoleBinding") || key.starts_with("ClusterRoleBinding"));
    for (key, object) in all.filter(|(key, _)| role.iter().any(|part| key.contains(part)) || key.contains("usher:cluster:")) {
        let (kind, part) = key
            .split_once(' ')
            .map(|(kind, part)| (if kind == "RoleBinding" { "RoleBinding" } else { "ClusterRoleBinding" }, part))
            .unwrap();
        let with = |subject: Value| {
            let mut all = object["subjects"].as_array().unwrap().clone();
            all.push(subject);
            subjects(json!(all))
        };
        edits.push((kind, part.to_owned(), with(json!({"apiGroup": rbac, "kind": "User", "name": "mallory"}))));
        edits.push((kind, part.to_owned(), with(json!({"apiGroup": rbac, "kind": "Group", "name": "system:authenticated"}))));
        edits.push((kind, part.to_owned(), with(json!({"kind": "ServiceAccount", "name": "default", "namespace": "default"}))));
        edits.push((kind, part.to_owned(), with(json!({"kind": "ServiceAccount", "name": bob, "namespace": people::IDENTITIES}))));
        edits.push((kind, part.to_owned(), subjects(json!([]))));
        edits.push((kind, part.to_owned(), subjects(json!([{"apiGroup": rbac, "kind": "User", "name": "mallory"}]))));
        edits.push((kind, part.to_owned(), Hand::Delete));
        edits.push((kind, part.to_owned(), Hand::Recreate(json!({"roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "edit"}}))));
        edits.push((kind, part.to_owned(), labels(json!({"usher.dev/developer": "bob"}))));
        edits.push((kind, part.to_owned(), labels(json!({"app.kubernetes.io/managed-by": null}))));
        if object["metadata"]["annotations"].is_object() {
            edits.push((kind, part.to_owned(), Hand::Patch(json!({"metadata": {"annotations": {"usher.dev/issued-subjects": "none"}}}))));
        }
    }
    assert!(edits.len() >= 40, "two Roles' bindings, the owner's and the cluster-wide one: {}", edits.len());
    edits
}

#[tokio::test]
async fn every_hand_edit_is_repaired_within_a_second() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let install = Install::new(&plane, &["environments.default=false", "starterRoles=false"]).await;
    let operator = Operator::start(&install).await;
    operator.ready().await;
    let mut bench = Bench::new(plane.admin_client().await).await;
    let account = furnish(&bench.client).await;
    bench.user = format!("system:serviceaccount:{}:{account}", people::IDENTITIES);
    settled(&bench).await;

    let edits = bindings(&bench).await.into_iter().chain(others(&account));
    let mut repairs = Vec::new();
    for (kind, part, hand) in edits {
        repairs.push(bench.repairs(kind, &part, hand).await);
    }
    let slowest = repairs.iter().map(|repair| repair.took).max().unwrap_or_default();
    println!("{} edits, the slowest repair took {slowest:?}", repairs.len());
    let late = repairs.iter().filter(|repair| !repair.late.is_empty());
    let late: Vec<_> = late.map(|repair| format!("{:?} for {}: {}", repair.took, repair.what, repair.late)).collect();
    assert!(late.is_empty(), "repaired too late: {}", late.join("\n"));
    foreign_labels_stay(&bench).await;
}

/// Waits until two looks, with some time in between for the operator, are the same.
async fn settled(bench: &Bench) {
    let mut last = Snapshot::new();
    wait_until("all is made", SOON, async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = bench.snapshot().await;
        let same = now == last && now.len() >= 12;
        last = now;
        if same { Ok(()) } else { Err(format!("{:?}", last.keys())) }
    })
    .await;
}

/// Everything that is done to what is not a binding.
fn others(account: &str) -> Vec<(&'static str, String, Hand)> {
    let rules = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let data = |value: &str| Hand::Patch(json!({"data": {"kubeconfig": value}}));
    let note = |note: &str| Hand::Patch(json!({"metadata": {"annotations": {note: "changed"}}}));
    let spec = |spec: Value| Hand::Patch(json!({"spec": spec}));
    let mut edits: Vec<(&'static str, &str, Hand)> = Vec::new();
    for part in ["/usher:role:work:", "/usher:cluster:work:"] {
        edits.push(("ClusterRole", part, Hand::Patch(json!({"rules": rules}))));
        edits.push(("ClusterRole", part, Hand::Patch(json!({"rules": []}))));
        edits.push(("ClusterRole", part, Hand::Delete));
        edits.push(("ClusterRole", part, labels(json!({"usher.dev/entry": null}))));
        edits.push(("ClusterRole", part, labels(json!({"usher.dev/role": "other"}))));
    }
    edits.push(("Namespace", "lab-ada", labels(json!({"pod-security.kubernetes.io/enforce": "privileged"}))));
    for mark in ["workspace", "developer", "environment", "person", "isolation"] {
        edits.push(("Namespace", "lab-ada", labels(json!({format!("usher.dev/{mark}"): null}))));
    }
    edits.push(("Namespace", "lab-ada", labels(json!({"usher.dev/workspace": "bob", "usher.dev/developer": "bob"}))));
    edits.push(("Namespace", "lab-ada", labels(json!({"app.kubernetes.io/managed-by": "mallory"}))));
    edits.push(("Namespace", "lab-ada", note("usher.dev/developer-uid")));
    edits.push(("ResourceQuota", "lab-ada", spec(json!({"hard": {"pods": "2000"}}))));
    edits.push(("ResourceQuota", "lab-ada", spec(json!({"hard": {"secrets": "0"}}))));
    edits.push(("ResourceQuota", "lab-ada", spec(json!({"hard": {"pods": "2000"}}))));
    edits.push(("LimitRange", "lab-ada", spec(json!({"limits": [{"type": "Container", "max": {"cpu": "1"}}]}))));
    edits.push(("NetworkPolicy", "lab-ada", spec(json!({"ingress": [{}]}))));
    edits.push(("NetworkPolicy", "lab-ada", spec(json!({"podSelector": {"matchLabels": {"a": "b"}}}))));
    for kind in ["ResourceQuota", "LimitRange", "NetworkPolicy"] {
        edits.push((kind, "lab-ada", labels(json!({"app.kubernetes.io/managed-by": null}))));
        edits.push((kind, "lab-ada", Hand::Delete));
    }
    edits.push(("ServiceAccount", account, labels(json!({"usher.dev/person": null}))));
    edits.push(("ServiceAccount", account, labels(json!({"usher.dev/developer": "bob"}))));
    edits.push(("ServiceAccount", account, Hand::Patch(json!({"automountServiceAccountToken": true}))));
    edits.push(("ServiceAccount", account, Hand::Delete));
    edits.push(("Secret", "lab-ada", data("bm90aGluZw==")));
    edits.push(("Secret", "lab-ada", Hand::Patch(json!({"data": {"more": "bm90aGluZw=="}}))));
    edits.push(("Secret", "lab-ada", labels(json!({"usher.dev/developer": "bob"}))));
    edits.push(("Secret", "lab-ada", note("usher.dev/content")));
    edits.push(("Secret", "lab-ada", Hand::Delete));
    edits.push(("ConfigMap", "lab-ada", Hand::Patch(json!({"data": {"welcome.txt": "come to my party"}}))));
    edits.push(("ConfigMap", "lab-ada", Hand::Patch(json!({"data": {"more": "things"}}))));
    edits.push(("ConfigMap", "lab-ada", labels(json!({"usher.dev/developer": null}))));
    edits.push(("ConfigMap", "lab-ada", Hand::Delete));
    edits.into_iter().map(|(kind, part, hand)| (kind, part.to_owned(), hand)).collect()
}

/// Labels and annotations of others stay on usher's objects, also when those are repaired and changed.
async fn foreign_labels_stay(bench: &Bench) {
    let all = bench.snapshot().await;
    for (key, object) in &all {
        let kind = key.split_once(' ').unwrap().0;
        let api = bench.api(kind, object["metadata"]["namespace"].as_str().map(str::to_owned));
        let more = json!({"metadata": {"labels": {"example.com/cost": "rnd"}, "annotations": {"example.com/note": "ours"}}});
        let name = object["metadata"]["name"].as_str().unwrap();
        api.patch(name, &PatchParams::default(), &Patch::Merge(more)).await.unwrap();
    }
    settled(bench).await;
    let labelled = bench.snapshot().await;
    let without = |snapshot: &Snapshot| -> Vec<String> {
        let foreign = |object: &Value| {
            object["metadata"]["labels"]["example.com/cost"] == "rnd" && object["metadata"]["annotations"]["example.com/note"] == "ours"
        };
        snapshot.iter().filter(|(_, object)| !foreign(object)).map(|(key, _)| key.clone()).collect()
    };
    assert_eq!(without(&labelled), [""; 0]);
    for (key, object) in &labelled {
        let (kind, part) = key.split_once(' ').unwrap();
        let object = serde_json::from_value(object.clone()).unwrap();
        bench.act(kind, &object, &labels(json!({"usher.dev/surplus": "x"}))).await;
        wait_until(&format!("{part} has no mark that usher does not know"), REPAIRED, async || {
            let now = bench.snapshot().await;
            if now[key]["metadata"]["labels"].get("usher.dev/surplus").is_none() { Ok(()) } else { Err("it has") }
        })
        .await;
    }
    people::edit(&bench.client, "Developer", "ada", json!({"displayName": "Ada Lovelace", "personId": "7"})).await;
    client::ready(&bench.client, "ada").await;
    let kept = without(&bench.snapshot().await);
    let renewed = |key: &String| key.contains("ServiceAccount");
    assert!(kept.iter().all(renewed), "{kept:?}");
}
