//! Whoever has the operator's token: what the fence refuses it although RBAC would allow it, and what it leaves it.

use kube::Client;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Siege, allowed, change, cluster_role, create, namespaced, refused};
use crate::support::client::{self, api_for, dry_run, manifest};
use crate::support::name;

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const ACCESS: &str = "usher-fence-access";

/// The operator's user with every right of RBAC, an administrator, and a shared namespace.
pub struct Raid {
    pub admin: Client,
    pub operator: Client,
    pub siege: Siege,
    pub place: String,
}

impl Raid {
    pub async fn new() -> Self {
        let siege = Siege::new().await;
        let place = name("place");
        client::namespace(&siege.client, &place, &[]).await;
        Self { admin: siege.client.clone(), operator: siege.unbound_operator().await, siege, place }
    }

    /// Asks, as the operator, to make something; nothing is stored.
    pub async fn makes(&self, object: &DynamicObject) -> Result<DynamicObject, kube::Error> {
        dry_run(&self.operator, object).await
    }

    /// Something that somebody else made.
    pub async fn stranger(&self, object: DynamicObject) -> DynamicObject {
        let api = api_for(&self.admin, &object).await.unwrap();
        let mut made = api.create(&PostParams::default(), &object).await.unwrap();
        made.types = object.types;
        made
    }

    /// Asks, as the operator, to change something.
    pub async fn changes(&self, object: &DynamicObject, patch: Value) -> Result<DynamicObject, kube::Error> {
        let parameters = PatchParams { dry_run: true, ..PatchParams::default() };
        api_for(&self.operator, object).await.unwrap().patch(&object.name_any(), &parameters, &Patch::Merge(patch)).await
    }

    /// Asks, as the operator, to delete something.
    pub async fn deletes(&self, object: &DynamicObject) -> Result<(), kube::Error> {
        let parameters = DeleteParams { dry_run: true, ..DeleteParams::default() };
        api_for(&self.operator, object).await.unwrap().delete(&object.name_any(), &parameters).await.map(drop)
    }

    /// Somebody's workspace.
    pub async fn workspace(&self) -> String {
        let workspace = name("workspace");
        client::namespace(&self.admin, &workspace, &[("usher.dev/workspace", "nobody"), ("app.kubernetes.io/managed-by", "usher")]).await;
        workspace
    }
}

pub fn ours() -> Value {
    json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "usher", "usher.dev/installation": "x"}}})
}

fn role_ref(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name})
}

fn user(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name})
}

fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
}

/// A binding with usher's marks; without a namespace cluster-wide.
pub fn binding(namespace: &str, name: &str, gives: &str, subjects: Value) -> DynamicObject {
    let mut object = ours();
    object["apiVersion"] = RBAC.into();
    object["kind"] = if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" }.into();
    object["metadata"]["name"] = name.into();
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    object["roleRef"] = role_ref(gives);
    object["subjects"] = subjects;
    manifest(&object.to_string())
}

/// The same without marks.
fn foreign(namespace: &str, name: &str, gives: &str, subjects: Value) -> DynamicObject {
    let mut object = binding(namespace, name, gives, subjects);
    object.metadata.labels = None;
    object
}

#[tokio::test]
async fn the_operator_makes_its_own_bindings_and_cluster_roles() {
    let raid = Raid::new().await;
    for gives in ["view", "edit", "usher-developer", "usher:role:x:0"] {
        allowed(gives, raid.makes(&binding(&raid.place, "usher:role:x:0", gives, json!([account("usher-identities", "ada-1")]))).await);
    }
    allowed("people by user name", raid.makes(&binding(&raid.place, "usher:role:x:0", "view", json!([user("oidc:ada")]))).await);
    allowed("cluster-wide", raid.makes(&binding("", "usher:cluster:x:0", "usher:cluster:x:0", json!([user("oidc:ada")]))).await);
    let rules = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]);
    allowed("a generated ClusterRole", raid.makes(&cluster_role("usher:cluster:x:0", &rules)).await);
    let own = raid.stranger(binding(&raid.place, "usher:role:own:0", "view", json!([user("oidc:ada")]))).await;
    allowed("deleting its own", raid.deletes(&own).await);
    allowed("more people in its own", raid.changes(&own, json!({"subjects": [user("oidc:ada"), user("oidc:bob")]})).await);
}

#[tokio::test]
async fn the_operator_gives_no_cluster_role_but_those_that_it_may() {
    let raid = Raid::new().await;
    let ada = || json!([user("oidc:ada")]);
    for gives in ["cluster-admin", "admin", "usher", "usher-admin", "system:node", "usher:cluster:x:0"] {
        refused(gives, raid.makes(&binding(&raid.place, "usher:role:x:0", gives, ada())).await, ACCESS);
    }
    for gives in ["cluster-admin", "view", "edit", "usher", "usher:role:x:0"] {
        refused(gives, raid.makes(&binding("", "usher:cluster:x:0", gives, ada())).await, ACCESS);
    }
    let mut local = binding(&raid.place, "usher:role:x:0", "view", ada());
    local.data["roleRef"]["kind"] = "Role".into();
    refused("a Role of the namespace", raid.makes(&local).await, ACCESS);
}

#[tokio::test]
async fn the_operator_gives_nothing_to_groups_to_itself_or_to_identities_that_it_did_not_issue() {
    let raid = Raid::new().await;
    let group = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
    for subject in [
        group("system:authenticated"),
        group("payments"),
        account("usher-system", "usher"),
        account(&raid.place, "default"),
        user("system:serviceaccount:usher-system:usher"),
        user("system:admin"),
    ] {
        refused(&subject.to_string(), raid.makes(&binding(&raid.place, "usher:role:x:0", "view", json!([subject]))).await, ACCESS);
        let both = json!([user("oidc:ada"), subject]);
        refused("among others, cluster-wide", raid.makes(&binding("", "usher:cluster:x:0", "usher:cluster:x:0", both)).await, ACCESS);
    }
}

#[tokio::test]
async fn the_operator_gives_nothing_in_namespaces_of_kubernetes_or_its_own() {
    let raid = Raid::new().await;
    for namespace in ["kube-system", "default", "usher-system", "usher-identities"] {
        let object = binding(namespace, "usher:role:x:0", "edit", json!([user("oidc:ada")]));
        refused(namespace, raid.makes(&object).await, ACCESS);
    }
}

#[tokio::test]
async fn the_operator_touches_no_binding_of_a_stranger_not_even_by_relabelling_it() {
    let raid = Raid::new().await;
    let ada = json!([user("oidc:ada")]);
    let theirs = raid.stranger(foreign(&raid.place, &name("theirs"), "view", ada.clone())).await;
    let named = raid.stranger(foreign(&raid.place, "usher:role:named:0", "view", ada.clone())).await;
    for stranger in [&theirs, &named] {
        refused("relabelling it", raid.changes(stranger, ours()).await, ACCESS);
        refused("deleting it", raid.deletes(stranger).await, ACCESS);
        refused("adding to it", raid.changes(stranger, json!({"subjects": [user("oidc:ada"), user("oidc:eve")]})).await, ACCESS);
    }
    refused("one without marks", raid.makes(&foreign(&raid.place, "usher:role:x:0", "view", ada.clone())).await, ACCESS);
    refused("one of another name", raid.makes(&binding(&raid.place, "mine", "view", ada.clone())).await, ACCESS);
    let role = raid
        .stranger(manifest(
            &json!({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": name("theirs")}, "rules": []}).to_string(),
        ))
        .await;
    refused("rewriting a ClusterRole", raid.changes(&role, ours()).await, ACCESS);
    refused("deleting a ClusterRole", raid.deletes(&role).await, ACCESS);
    let system = binding("", "cluster-admin", "cluster-admin", ada);
    refused("deleting cluster-admin", raid.deletes(&system).await, ACCESS);
    let local = namespaced(RBAC, "Role", &raid.place, "usher:role:x:0", &ours());
    refused("a Role of a namespace", raid.makes(&local).await, ACCESS);
}

#[tokio::test]
async fn the_operator_takes_identities_that_it_issued_out_of_any_binding_and_nothing_else() {
    let raid = Raid::new().await;
    let (hers, theirs, ci) = (account("usher-identities", "ada-1"), user("oidc:bob"), account("ci", "bot"));
    let many: Vec<Value> = (0..997).map(|number| user(&format!("oidc:{number}"))).collect();
    let all = [vec![hers.clone(), theirs.clone(), ci.clone()], many.clone()].concat();
    let place = &raid.place;
    for stranger in [foreign("", &name("theirs"), "cluster-admin", json!(all)), foreign(place, &name("theirs"), "admin", json!(all))] {
        let stranger = raid.stranger(stranger).await;
        let without = [vec![theirs.clone(), ci.clone()], many.clone()].concat();
        allowed("taking hers out of a thousand", raid.changes(&stranger, json!({"subjects": without})).await);
        let fewer = [vec![hers.clone(), theirs.clone()], many.clone()].concat();
        refused("taking another ServiceAccount out", raid.changes(&stranger, json!({"subjects": fewer})).await, ACCESS);
        let other = [vec![hers.clone(), ci.clone()], many.clone()].concat();
        refused("taking a user out", raid.changes(&stranger, json!({"subjects": other})).await, ACCESS);
        let exchanged = [vec![user("oidc:eve"), theirs.clone(), ci.clone()], many.clone()].concat();
        refused("putting another in her place", raid.changes(&stranger, json!({"subjects": exchanged})).await, ACCESS);
        let mut relabelled = ours();
        relabelled["subjects"] = json!(without);
        refused("and a label with it", raid.changes(&stranger, relabelled).await, ACCESS);
    }
}

#[tokio::test]
async fn workspaces_are_sealed_and_unsealed_with_what_usher_may_give_and_nothing_more() {
    let raid = Raid::new().await;
    let (inside, outside) = (raid.workspace().await, raid.place.clone());
    for (place, sealed) in [(&inside, true), (&outside, false)] {
        let found = raid.stranger(foreign(place, &name("colleague"), "admin", json!([user("oidc:bob")]))).await;
        let answer = raid.deletes(&found).await;
        if sealed {
            allowed("sealing a workspace", answer);
        } else {
            refused("anywhere else", answer, ACCESS);
        }
        let back = foreign(place, &name("back"), "edit", json!([user("oidc:bob"), account("ci", "bot")]));
        let answer = raid.makes(&back).await;
        if sealed {
            allowed("putting one back", answer);
        } else {
            refused("anywhere else", answer, ACCESS);
        }
    }
    let back = async |gives: &str, subject: Value| raid.makes(&foreign(&inside, &name("back"), gives, json!([subject]))).await;
    for gives in ["cluster-admin", "admin", "usher"] {
        refused(gives, back(gives, user("oidc:bob")).await, ACCESS);
    }
    let group = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
    for subject in [account("usher-system", "usher"), account("kube-system", "x"), user("system:admin"), group("system:authenticated")] {
        refused(&subject.to_string(), back("view", subject.clone()).await, ACCESS);
    }
    allowed("a group of people", back("view", group("payments")).await);
    let mut local = foreign(&inside, &name("back"), "own", json!([user("oidc:bob")]));
    local.data["roleRef"]["kind"] = "Role".into();
    allowed("a Role of the workspace", raid.makes(&local).await);
    // What is there is not widened, only what is not there is put back.
    let found = raid.stranger(foreign(&inside, &name("colleague"), "view", json!([user("oidc:bob")]))).await;
    refused("adding to one", raid.changes(&found, json!({"subjects": [user("oidc:bob"), user("oidc:eve")]})).await, ACCESS);
}

#[tokio::test]
async fn the_operator_changes_nothing_that_people_asked_for() {
    let raid = Raid::new().await;
    let (role, binding, lock) = (name("role"), name("bind"), name("lock"));
    allowed("a Role", create(&raid.admin, "Role", &role, json!({})).await);
    allowed("a Binding", create(&raid.admin, "Binding", &binding, json!({"role": role, "developers": ["nobody"]})).await);
    allowed("a Lock", create(&raid.admin, "Lock", &lock, json!({"developer": "nobody", "reason": "x"})).await);
    let policy = "usher-fence-declarations";
    let spec = |spec: Value| json!({"spec": spec});
    refused("more people", change(&raid.operator, "Binding", &binding, spec(json!({"developers": ["nobody", "eve"]}))).await, policy);
    refused("a wider Role", change(&raid.operator, "Role", &role, spec(json!({"includes": ["admin"]}))).await, policy);
    refused("lifting a Lock", change(&raid.operator, "Lock", &lock, spec(json!({"lifted": true}))).await, policy);
    refused(
        "a Binding of its own",
        create(&raid.operator, "Binding", &name("bind"), json!({"role": role, "developers": ["eve"]})).await,
        policy,
    );
    let lifted = name("lifted");
    let spec = json!({"developer": "nobody", "reason": "x", "lifted": true});
    allowed("a Lock that anybody else could delete", create(&raid.admin, "Lock", &lifted, spec).await);
    refused("deleting a Lock", super::delete(&raid.operator, "Lock", &lifted).await, policy);
    refused("deleting a Binding without an end", super::delete(&raid.operator, "Binding", &binding).await, policy);
    let mut api: Api<DynamicObject> = client::kind(&raid.operator, "Role").await;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    allowed("a default", api.create(&dry, &crate::support::fleet::object("Role", &name("default"), &json!({}))).await);
    api = client::kind(&raid.operator, "Developer").await;
    let person = crate::support::fleet::object("Developer", &name("dev"), &json!({"email": "a@example.com"}));
    refused("somebody", api.create(&dry, &person).await, policy);
}
