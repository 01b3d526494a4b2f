//! The emergency stop: wins over everything, lasts until it is lifted, and fails closed (DESIGN.md, promise 2).

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::leaving::Leaver;
use crate::support::client::{condition, kind};
use crate::support::people::{self, declare, edit, reaches};
use crate::support::{name, throughout, wait_until};

const SOON: Duration = Duration::from_mins(1);

async fn lock(ada: &Leaver, more: Value) -> String {
    let lock = name("stolen");
    let mut spec = json!({"developer": ada.person, "reason": "SEC-91 laptop stolen"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    declare(&ada.client, "Lock", &lock, spec).await;
    lock
}

async fn has_nothing(ada: &Leaver) {
    wait_until("she has nothing", SOON, async || {
        if ada.may(&ada.stage.shared).await || ada.may(&ada.workspace).await { Err("she may") } else { Ok(()) }
    })
    .await;
}

async fn works_again(ada: &Leaver) {
    wait_until("she may work again", SOON, async || {
        if ada.may(&ada.stage.shared).await && ada.may(&ada.workspace).await { Ok(()) } else { Err("she may not") }
    })
    .await;
}

async fn patch(ada: &Leaver, of: &str, what: &str, patch: Value) -> DynamicObject {
    kind(&ada.client, of).await.patch(what, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
}

#[tokio::test]
async fn a_lock_takes_everything_and_gives_it_back_with_new_credentials() {
    let ada = Leaver::new(json!({})).await;
    let bob = "{kind: User, name: bob, apiGroup: rbac.authorization.k8s.io}";
    ada.colleague_binds(&ada.workspace, "for-bob", "view", bob).await;
    let lock = lock(&ada, json!({})).await;
    has_nothing(&ada).await;
    let applied = reaches(&ada.client, "Lock", &lock, "/status/state", "Applied").await;
    assert_eq!(people::whoami(&ada.kubeconfig).await, Err(401), "what existed is dead");
    for kind in ["Ready", "Accepted", "AccessGone", "CredentialsRevoked"] {
        assert_eq!(condition(&applied, kind).unwrap()["status"], "True", "{}", applied.data);
    }
    assert!(applied.data["status"]["accessGoneMs"].as_i64().is_some(), "{}", applied.data);
    reaches(&ada.client, "Developer", &ada.person, "/status/state", "Locked").await;
    assert!(ada.role_binding(&ada.workspace, "for-bob").await.is_none(), "sealed");

    patch(&ada, "Lock", &lock, json!({"spec": {"lifted": true}})).await;
    works_again(&ada).await;
    reaches(&ada.client, "Lock", &lock, "/status/state", "Lifted").await;
    wait_until("what was sealed is back", SOON, async || ada.role_binding(&ada.workspace, "for-bob").await.map(|_| ()).ok_or("no")).await;
    wait_until("she has new credentials", SOON, async || people::secret(&ada.client, &ada.workspace).await.map(|_| ()).ok_or("none")).await;
    let fresh = people::kubeconfig(&ada.client, &ada.workspace).await;
    wait_until("her new credentials work", SOON, async || people::whoami(&fresh).await.map(|_| ())).await;
    assert_eq!(people::whoami(&ada.kubeconfig).await, Err(401), "and the old ones do not");
    people::remove(&ada.client, "Lock", &lock).await;
    works_again(&ada).await;
}

#[tokio::test]
async fn credentials_are_spared_where_the_lock_says_so() {
    let ada = Leaver::new(json!({})).await;
    let lock = lock(&ada, json!({"revokeCredentials": false})).await;
    has_nothing(&ada).await;
    reaches(&ada.client, "Lock", &lock, "/status/state", "Applied").await;
    assert!(people::whoami(&ada.kubeconfig).await.is_ok(), "she is known, and may do nothing");
    patch(&ada, "Lock", &lock, json!({"spec": {"lifted": true}})).await;
    works_again(&ada).await;
    assert!(people::whoami(&ada.kubeconfig).await.is_ok(), "the same credentials");
}

/// A GitOps tool writes what is in Git, again and again.
#[tokio::test]
async fn a_lock_holds_while_git_is_applied_again_and_again() {
    let ada = Leaver::new(json!({})).await;
    let lock = lock(&ada, json!({})).await;
    has_nothing(&ada).await;
    let developers = kind(&ada.client, "Developer").await;
    let git = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": ada.person},
        "spec": {"email": format!("{}@example.com", ada.person), "state": "Active"}});
    let tool = PatchParams::apply("gitops").force();
    throughout("it holds", Duration::from_secs(6), async || {
        developers.patch(&ada.person, &tool, &Patch::Apply(&git)).await.unwrap();
        edit(&ada.client, "Developer", &ada.person, json!({"displayName": format!("Ada {}", Timestamp::now())})).await;
        if ada.may(&ada.stage.shared).await || ada.may(&ada.workspace).await { Err("she may") } else { Ok(()) }
    })
    .await;
    // The Lock cannot be deleted away while it holds: it stays until it is lifted.
    patch(&ada, "Lock", &lock, json!({"spec": {"lifted": true}})).await;
    works_again(&ada).await;
}

/// What is in Git is applied again every moment, with force; whoever takes away somebody's access does it there.
#[tokio::test]
async fn a_suspension_in_git_holds_against_everybody_and_ends_in_git() {
    let ada = Leaver::new(json!({})).await;
    let developers = kind(&ada.client, "Developer").await;
    let git = |state: &str| {
        json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": ada.person},
            "spec": {"email": format!("{}@example.com", ada.person), "state": state}})
    };
    let tool = PatchParams::apply("gitops").force();
    let sync = async |state: &str| drop(developers.patch(&ada.person, &tool, &Patch::Apply(&git(state))).await.unwrap());
    sync("Suspended").await;
    has_nothing(&ada).await;
    let lock = lock(&ada, json!({})).await;
    patch(&ada, "Lock", &lock, json!({"spec": {"lifted": true}})).await;
    throughout("it holds, whatever is edited and lifted", Duration::from_secs(5), async || {
        sync("Suspended").await;
        edit(&ada.client, "Developer", &ada.person, json!({"displayName": format!("Ada {}", Timestamp::now())})).await;
        if ada.may(&ada.stage.shared).await || ada.may(&ada.workspace).await { Err("she may") } else { Ok(()) }
    })
    .await;
    sync("Active").await;
    works_again(&ada).await;
}

/// One Lock is lifted while another holds, and gone before that ends: what the first had sealed is put back all the same.
#[tokio::test]
async fn what_was_sealed_is_put_back_when_the_last_of_two_locks_ends() {
    let ada = Leaver::new(json!({})).await;
    let bob = "{kind: User, name: bob, apiGroup: rbac.authorization.k8s.io}";
    ada.colleague_binds(&ada.workspace, "for-bob", "view", bob).await;
    let first = lock(&ada, json!({})).await;
    wait_until("sealed", SOON, async || ada.role_binding(&ada.workspace, "for-bob").await.is_none().then_some(()).ok_or("open")).await;
    let second = lock(&ada, json!({})).await;
    reaches(&ada.client, "Lock", &second, "/status/state", "Applied").await;
    patch(&ada, "Lock", &first, json!({"spec": {"lifted": true}})).await;
    people::remove(&ada.client, "Lock", &first).await;
    has_nothing(&ada).await;
    patch(&ada, "Lock", &second, json!({"spec": {"lifted": true}})).await;
    works_again(&ada).await;
    wait_until("what was sealed is back", SOON, async || ada.role_binding(&ada.workspace, "for-bob").await.map(|_| ()).ok_or("no")).await;
}

#[tokio::test]
async fn a_lock_ends_by_itself_and_one_for_a_stranger_waits_for_her() {
    let ada = Leaver::new(json!({})).await;
    let until = Timestamp::from_second(Timestamp::now().as_second() + 8).unwrap();
    let timed = lock(&ada, json!({"until": until.to_string()})).await;
    has_nothing(&ada).await;
    works_again(&ada).await;
    assert!(Timestamp::now() >= until, "not before its time");
    reaches(&ada.client, "Lock", &timed, "/status/state", "Lifted").await;

    let eve = name("eve");
    declare(&ada.client, "Lock", &name("early"), json!({"developer": eve, "reason": "x"})).await;
    people::developer(&ada.client, &eve, json!({})).await;
    reaches(&ada.client, "Developer", &eve, "/status/state", "Locked").await;
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(ada.client.clone(), people::IDENTITIES);
    let list = accounts.list(&ListParams::default()).await.unwrap();
    assert!(list.items.iter().all(|account| !account.metadata.name.as_deref().unwrap().starts_with(&eve)), "she was given nothing");
}

/// A Lock that is set again is asked about again: nothing of what it said before counts.
#[tokio::test]
async fn a_lock_that_is_set_again_is_asked_about_again() {
    let ada = Leaver::new(json!({})).await;
    let lock = lock(&ada, json!({})).await;
    let transition = |lock: &DynamicObject| condition(lock, "AccessGone").unwrap()["lastTransitionTime"].clone();
    let first = transition(&reaches(&ada.client, "Lock", &lock, "/status/state", "Applied").await);
    patch(&ada, "Lock", &lock, json!({"spec": {"lifted": true}})).await;
    works_again(&ada).await;
    wait_until("she has new ones", SOON, async || people::secret(&ada.client, &ada.workspace).await.map(drop).ok_or("none")).await;
    let between = people::kubeconfig(&ada.client, &ada.workspace).await;
    wait_until("her new credentials work", SOON, async || people::whoami(&between).await.map(|_| ())).await;

    patch(&ada, "Lock", &lock, json!({"spec": {"lifted": false}})).await;
    has_nothing(&ada).await;
    let again = reaches(&ada.client, "Lock", &lock, "/status/state", "Applied").await;
    assert_eq!(people::whoami(&between).await, Err(401), "what was issued between is dead when it says so");
    assert_ne!(transition(&again), first, "{}", again.data);
}
