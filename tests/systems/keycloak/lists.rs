//! Groups, administrators and long lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use usher::connectors::Connector;
use usher::connectors::error::{ConnectorError, Retry};
use usher::plan::account::{Account, AccountChange, Managed};

use super::{Realm, id_in};
use crate::conformance::{Target, named, read};

const NONE: Managed = Managed::Only(BTreeSet::new());

async fn listed(connector: &dyn Connector, managed: &Managed) -> BTreeMap<String, Account> {
    let all = connector.list(managed).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    all.into_iter().map(|account| (account.id.clone(), account)).collect()
}

/// Groups of the same name in different places are different groups.
#[tokio::test]
async fn groups_are_paths() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    let id = realm.make_whole("ada", "ada@example.com").await;
    let (one, other, deep) = ("engineering/payments", "sales/payments", "engineering/payments/on call");
    for group in [one, other] {
        realm.make_group(group).await;
    }
    let parent = realm.admin("GET", &format!("/group-by-path/{one}"), Value::Null).await.body;
    let parent = parent["id"].as_str().expect("an id").to_owned();
    realm.admin("POST", &format!("/groups/{parent}/children"), json!({ "name": "on call" })).await;
    for group in [one, deep] {
        connector.apply(&AccountChange::Join { id: id.clone(), group: group.to_owned() }).await.expect("joined");
    }
    let hers = BTreeSet::from([one.to_owned(), deep.to_owned()]);
    let managed = Managed::Only([one, other, deep, "engineering/nowhere"].map(str::to_owned).into());
    for managed in [managed, Managed::All] {
        assert_eq!(read(connector.as_ref(), &id, &managed).await.groups, hers);
        assert_eq!(listed(connector.as_ref(), &managed).await[&id].groups, hers);
    }
    for group in [other, "sales/nowhere"] {
        connector.apply(&AccountChange::Leave { id: id.clone(), group: group.to_owned() }).await.expect("she is not in it");
    }
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.groups, hers);
}

/// Who has a role by which one administers the realm, however she came by it, is an administrator; usher's own account is one.
#[tokio::test]
async fn administrators_are_told() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    let management = realm.client_id("realm-management").await;
    let role = async |name: &str| realm.admin("GET", &format!("/clients/{management}/roles/{name}"), Value::Null).await.body;
    let (all, some) = (role("realm-admin").await, role("impersonation").await);
    let mut ids = Vec::new();
    for name in ["ada", "bob", "eve", "joe"] {
        ids.push(realm.make_whole(name, &format!("{name}@example.com")).await);
    }
    let (ada, bob, eve, joe) = (&ids[0], &ids[1], &ids[2], &ids[3]);
    realm.admin("POST", &format!("/users/{ada}/role-mappings/clients/{management}"), json!([all])).await;
    realm.make_group("ops/night").await;
    let group = async |path: &str| {
        let group = realm.admin("GET", &format!("/group-by-path/{path}"), Value::Null).await.body;
        group["id"].as_str().expect("an id").to_owned()
    };
    let (ops, night) = (group("ops").await, group("ops/night").await);
    realm.admin("POST", &format!("/groups/{ops}/role-mappings/clients/{management}"), json!([some])).await;
    realm.admin("PUT", &format!("/users/{bob}/groups/{night}"), Value::Null).await;
    let made = realm.admin("POST", "/roles", json!({ "name": "helpdesk" })).await;
    assert_eq!(id_in(&made), "helpdesk");
    realm.admin("POST", "/roles/helpdesk/composites", json!([some])).await;
    let helpdesk = realm.admin("GET", "/roles/helpdesk", Value::Null).await.body;
    realm.admin("POST", &format!("/users/{eve}/role-mappings/realm"), json!([helpdesk])).await;
    for (id, administers) in [(ada, true), (bob, true), (eve, true), (joe, false)] {
        assert_eq!(read(connector.as_ref(), id, &NONE).await.administrator, administers, "{id}");
    }
    let list = listed(connector.as_ref(), &NONE).await;
    assert!(list[ada].administrator && list[bob].administrator && !list[joe].administrator);
    let own = connector.find(&named("service-account-usher"), &NONE).await.expect("an answer").expect("usher's own");
    assert!(own.administrator && !list.contains_key(&own.id), "{own:?}");
}

/// People are deleted while the list is read: nobody who stays is missed, or it is no list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_moves_is_whole_or_an_error() {
    let realm = Arc::new(Realm::start().await);
    realm.make_crowd(1_200).await;
    let proxy = realm.proxy().await;
    let connector = realm.connector_behind(&proxy);
    let first = listed(connector.as_ref(), &NONE).await;
    assert_eq!(first.len(), 1_200);
    let mut gone: Vec<(String, String)> = first.into_values().map(|account| (account.profile.username, account.id)).collect();
    gone.sort();
    let mut gone = gone.into_iter().map(|(_, id)| id);
    for (count, whole) in [(3, true), (60, false)] {
        let leaving: Vec<String> = gone.by_ref().take(count).collect();
        delete_before_second_page(&realm, &proxy, leaving.clone());
        match connector.list(&NONE).await {
            Ok(list) => {
                assert!(whole);
                let ids: BTreeSet<String> = list.into_iter().map(|account| account.id).collect();
                assert_eq!(ids.iter().filter(|id| !leaving.contains(id)).count(), 1_197);
            }
            Err(error) => {
                assert!(!whole, "{}", error.chain());
                assert!(matches!(error, ConnectorError::Garbled { .. }) && error.retry() == Retry::Backoff, "{}", error.chain());
            }
        }
        assert_eq!(listed(connector.as_ref(), &NONE).await.len(), if whole { 1_197 } else { 1_137 });
    }
}

/// As soon as the second page is asked for these are deleted, and then it is told.
fn delete_before_second_page(realm: &Arc<Realm>, proxy: &crate::proxy::HttpsProxy, ids: Vec<String>) {
    let (realm, done) = (realm.clone(), AtomicBool::new(false));
    proxy.instead(move |asked| {
        let second = asked.path.contains("/users?") && !asked.path.contains("first=0");
        if second && !done.swap(true, Ordering::Relaxed) {
            let delete = async {
                for id in &ids {
                    realm.admin("DELETE", &format!("/users/{id}"), Value::Null).await;
                }
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(delete));
        }
        None
    });
}

/// A look at everybody costs pages, and never a request a person.
#[tokio::test]
async fn a_list_costs_pages() {
    let realm = Realm::start().await;
    realm.make_crowd(1_100).await;
    let proxy = realm.proxy().await;
    let connector = realm.connector_behind(&proxy);
    connector.probe().await.expect("it answers");
    proxy.forget();
    assert_eq!(connector.list(&NONE).await.expect("a list").len(), 1_100);
    let asked = proxy.asked();
    let people = asked.iter().filter(|asked| asked.path.contains("/users?first=") && !asked.path.contains("/roles/")).count();
    assert_eq!(people, 2, "two pages of people");
    assert!(asked.len() < 60, "and what administrators cost: {}", asked.len());
}
