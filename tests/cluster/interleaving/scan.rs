//! A full reading of everything that could give somebody something, and whether receipts and Locks agree with it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, Subject};
use kube::api::{Api, DynamicObject};
use kube::{Client, ResourceExt};
use usher::api::{Departure, DepartureState, Lock};

use super::cluster::bindings_in;
use super::model::{Model, PEOPLE, State};
use crate::support::client::kind;
use crate::support::fleet::list;
use crate::support::people::{IDENTITIES, SECRET};

/// A binding: where it is, and whom it names.
struct Named {
    title: String,
    subjects: Vec<Subject>,
}

struct Scan {
    bindings: Vec<Named>,
    accounts: Vec<ServiceAccount>,
    secrets: Vec<Secret>,
    namespaces: Vec<Namespace>,
    workspace_accounts: Vec<ServiceAccount>,
}

impl Scan {
    async fn read(client: &Client) -> Self {
        let mut bindings: Vec<Named> = list::<RoleBinding>(Api::all(client.clone()))
            .await
            .into_iter()
            .map(|it| Named {
                title: format!("{}/{}", it.namespace().unwrap_or_default(), it.name_any()),
                subjects: it.subjects.unwrap_or_default(),
            })
            .collect();
        let wide = list::<ClusterRoleBinding>(Api::all(client.clone())).await;
        bindings.extend(wide.into_iter().map(|it| Named { title: it.name_any(), subjects: it.subjects.unwrap_or_default() }));
        let all = list::<ServiceAccount>(Api::all(client.clone())).await;
        let (accounts, others) = all.into_iter().partition(|it| it.namespace().as_deref() == Some(IDENTITIES));
        let secrets = list::<Secret>(Api::all(client.clone())).await;
        Self {
            bindings,
            accounts,
            secrets: secrets.into_iter().filter(|it| it.name_any() == SECRET).collect(),
            namespaces: list(Api::all(client.clone())).await,
            workspace_accounts: others,
        }
    }

    fn naming(&self, kind: &str, name: &str) -> Vec<&str> {
        let names = |binding: &&Named| binding.subjects.iter().any(|it| it.kind == kind && it.name == name);
        self.bindings.iter().filter(names).map(|binding| binding.title.as_str()).collect()
    }

    fn account(&self, name: &str) -> bool {
        self.accounts.iter().any(|it| it.name_any() == name)
    }
}

/// What comes into order by itself: credentials are those of active people, workspaces are open to colleagues again, and nobody waits for a finalizer.
pub async fn order(client: &Client, model: &Model) -> Result<(), String> {
    let scan = Scan::read(client).await;
    for (account, (name, key)) in &model.accounts {
        let hers = model.people.get(name).is_some_and(|person| person.key() == *key);
        let wanted = hers && model.active(name);
        // A Lock may spare credentials, and an identity gives nothing without a binding.
        let spared = hers && model.locked(name) && model.people[name].state == State::Active;
        if scan.account(account) != wanted && !spared {
            return Err(format!("ServiceAccount {account} of {name}: wanted {wanted}"));
        }
        let ours: Vec<_> = scan.naming("ServiceAccount", account).into_iter().filter(|it| it.contains("usher:")).collect();
        if !wanted && !ours.is_empty() {
            return Err(format!("{account} of {name} is named in {ours:?}"));
        }
    }
    for name in PEOPLE.into_iter().filter(|name| model.active(name) && model.owns_workspace(name)) {
        let workspace = Model::workspace(name);
        if !scan.secrets.iter().any(|it| it.namespace().as_deref() == Some(&workspace)) {
            return Err(format!("{name} has no kubeconfig"));
        }
        let friend = bindings_in(client, &workspace).await.iter().any(|it| it.name_any() == "friend");
        if friend != model.friends.contains(name) {
            return Err(format!("a friend in the workspace of {name}: {friend}"));
        }
    }
    let there: Vec<String> = list::<DynamicObject>(kind(client, "Developer").await).await.iter().map(ResourceExt::name_any).collect();
    let wanted: Vec<&str> = model.people.keys().copied().collect();
    if there == wanted { Ok(()) } else { Err(format!("{there:?} are there, and {wanted:?} should be")) }
}

async fn departures(client: &Client) -> BTreeMap<String, Departure> {
    list::<Departure>(Api::all(client.clone())).await.into_iter().map(|it| (it.name_any(), it)).collect()
}

fn complete(departure: &Departure) -> bool {
    let status = departure.status.clone().unwrap_or_default();
    status.returned_at.is_none() && matches!(status.state, Some(DepartureState::Complete | DepartureState::CompleteWithWaivers))
}

/// Nothing contradicts a receipt that said Complete before and after everything was read, nor a Lock that said Applied.
pub async fn receipts_are_true(client: &Client, model: &Model) {
    let (receipts, locks) = (departures(client).await, applied(client).await);
    let scan = Scan::read(client).await;
    let (after, locks_after) = (departures(client).await, applied(client).await);
    for (name, departure) in receipts.iter().filter(|(name, it)| complete(it) && after.get(*name).is_some_and(complete)) {
        check(name, departure, &scan, model);
    }
    for (lock, person) in locks.iter().filter(|(lock, _)| locks_after.contains_key(*lock)) {
        let accounts = scan.accounts.iter().filter(|it| it.labels().get("usher.dev/developer") == Some(person)).count();
        let spec = list::<Lock>(Api::all(client.clone())).await.into_iter().find(|it| it.name_any() == *lock);
        if spec.is_some_and(|it| it.spec.revoke_credentials) {
            assert_eq!(accounts, 0, "Lock {lock} is Applied, and {person} has a ServiceAccount");
        }
        let workspace = Model::workspace(person);
        let owner = model.people.get(person.as_str()).is_some_and(|it| model.owners.get(person.as_str()) == Some(&it.key()));
        let open: Vec<_> = scan.bindings.iter().filter(|it| it.title.starts_with(&format!("{workspace}/"))).map(|it| &it.title).collect();
        assert!(!owner || open.is_empty(), "Lock {lock} is Applied, and the workspace of {person} is not sealed: {open:?}");
    }
}

fn check(name: &str, departure: &Departure, scan: &Scan, model: &Model) {
    let left = &departure.spec.developer;
    let key = model.keys.get(&left.uid).unwrap_or_else(|| panic!("{name} is of nobody"));
    if model.stays(&left.name, key) {
        // She is back, and this is history in a moment.
        return;
    }
    let status = departure.status.clone().unwrap_or_default();
    for identity in &status.identities {
        let naming = scan.naming(&identity.kind, &identity.name);
        if identity.namespace.is_some() {
            assert!(!scan.account(&identity.name), "{name} is Complete, and ServiceAccount {} is there", identity.name);
            assert!(naming.is_empty(), "{name} is Complete, and {naming:?} name {}", identity.name);
        } else if !model.people.contains_key(left.name.as_str()) {
            assert!(naming.is_empty(), "{name} is Complete, and {naming:?} name {}", identity.name);
        }
    }
    let hers = |notes: &BTreeMap<String, String>| notes.get("usher.dev/developer-uid") == Some(&left.uid);
    let secrets: Vec<_> = scan.secrets.iter().filter(|it| hers(it.annotations())).map(ResourceExt::namespace).collect();
    assert!(secrets.is_empty(), "{name} is Complete, and there are kubeconfigs in {secrets:?}");
    for workspace in scan.namespaces.iter().filter(|it| hers(it.annotations())).map(ResourceExt::name_any) {
        let open: Vec<_> = scan.bindings.iter().filter(|it| it.title.starts_with(&format!("{workspace}/"))).map(|it| &it.title).collect();
        assert!(open.is_empty(), "{name} is Complete, and {workspace} is not sealed: {open:?}");
        let robots =
            scan.workspace_accounts.iter().filter(|it| it.namespace().as_deref() == Some(&workspace) && it.name_any() != "default");
        assert_eq!(robots.count(), 0, "{name} is Complete, and {workspace} has ServiceAccounts");
    }
}

/// The Locks that say Applied, with their persons.
async fn applied(client: &Client) -> BTreeMap<String, String> {
    let locks = list::<DynamicObject>(kind(client, "Lock").await).await;
    let applied = locks.into_iter().filter(|it| it.data["status"]["state"] == "Applied" && it.data["spec"]["lifted"] != true);
    applied.map(|it| (it.name_any(), it.data["spec"]["developer"].as_str().unwrap_or_default().to_owned())).collect()
}

/// Whether every departure of somebody who stays away is complete, and every Lock that holds is applied.
pub async fn finished(client: &Client, model: &Model) -> Result<(), String> {
    for (name, departure) in departures(client).await {
        let left = &departure.spec.developer;
        let away = model.keys.get(&left.uid).is_some_and(|key| !model.stays(&left.name, key));
        let returned = departure.status.as_ref().is_some_and(|status| status.returned_at.is_some());
        if away && !returned && !complete(&departure) {
            return Err(format!("{name}: {:?}", departure.status));
        }
        if !away && !returned && model.active(&left.name) {
            return Err(format!("{name} is of somebody who is back"));
        }
    }
    let applied = applied(client).await;
    let waiting: Vec<_> =
        model.locks.iter().filter(|(name, stop)| !stop.lifted && !applied.contains_key(*name)).map(|(name, _)| name).collect();
    if waiting.is_empty() { Ok(()) } else { Err(format!("not applied: {waiting:?}")) }
}
