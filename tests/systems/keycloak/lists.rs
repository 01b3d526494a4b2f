//! Groups, administrators and long lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use usher::connectors::Connector;
use usher::connectors::error::{ConnectorError, Retry};
use usher::plan::account::{Account, AccountChange, Managed, Obstacle, Presence, steps};

use super::{Realm, id_in};
use crate::conformance::{Target, converge, named, read, wish};

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
    let (ops, night) = (realm.group_id("ops").await, realm.group_id("ops/night").await);
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

/// Whoever may choose her login could choose one that looks like a client's.
#[tokio::test]
async fn who_calls_herself_a_service_account_is_a_person() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    let id = converge(connector.as_ref(), &wish("ada", &[])).await.0.expect("an account").id;
    for login in ["service-account-ada", "service-account-usher-2"] {
        realm.rename(&id, login).await;
        let looked = read(connector.as_ref(), &id, &NONE).await;
        assert!(!looked.administrator && looked.profile.username == login, "{looked:?}");
        assert!(!listed(connector.as_ref(), &NONE).await[&id].administrator);
        let able = connector.probe().await.expect("it answers");
        let mut gone = wish("ada", &[]);
        gone.presence = Presence::Revoked;
        let next = steps(Some(&looked), &gone, &able);
        assert_eq!(
            (next.changes.first(), next.obstacles),
            (Some(&AccountChange::SetEnabled { id: id.clone(), enabled: false }), Vec::new())
        );
    }
    let client = json!({ "clientId": "https://app.example.com/it", "serviceAccountsEnabled": true, "secret": "s" });
    realm.admin("POST", "/clients", client).await;
    for own in ["service-account-usher", "service-account-https://app.example.com/it"] {
        let own = connector.find(&named(own), &NONE).await.expect("an answer").expect("a client's");
        assert!(own.administrator, "a client's account is never touched: {own:?}");
    }
}

/// usher makes no administrators: she could not be locked out any more. Roles come from groups around a group, too, and in other roles.
#[tokio::test]
async fn nobody_is_put_into_a_group_that_administers_the_realm() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    for group in ["ops/night", "desk/first", "engineering/payments"] {
        realm.make_group(group).await;
    }
    let management = realm.client_id("realm-management").await;
    let role = realm.admin("GET", &format!("/clients/{management}/roles/manage-users"), Value::Null).await.body;
    realm.admin("POST", "/roles", json!({ "name": "helpdesk" })).await;
    realm.admin("POST", "/roles/helpdesk/composites", json!([role])).await;
    let helpdesk = realm.admin("GET", "/roles/helpdesk", Value::Null).await.body;
    let ops = realm.group_id("ops").await;
    realm.admin("POST", &format!("/groups/{ops}/role-mappings/clients/{management}"), json!([role])).await;
    let first = realm.group_id("desk/first").await;
    realm.admin("POST", &format!("/groups/{first}/role-mappings/realm"), json!([helpdesk])).await;
    let mut wished = wish("ada", &["engineering/payments".to_owned()]);
    let id = converge(connector.as_ref(), &wished).await.0.expect("an account").id;
    for (group, around) in [("ops", "ops"), ("ops/night", "ops"), ("desk/first", "desk/first")] {
        let error = connector.apply(&AccountChange::Join { id: id.clone(), group: group.to_owned() }).await.expect_err("it administers");
        let text = error.to_string();
        let named = text.contains(&format!("group {around} lets")) && text.contains("manage-users");
        assert!(matches!(error, ConnectorError::Rejected { .. }) && named, "{text}");
    }
    connector.apply(&AccountChange::Join { id: id.clone(), group: "desk".to_owned() }).await.expect("that one does not");
    // Somebody gives the roles to a group that she is in already: then it is told that she cannot be locked out.
    let payments = realm.group_id("engineering/payments").await;
    realm.admin("POST", &format!("/groups/{payments}/role-mappings/realm"), json!([helpdesk])).await;
    wished.presence = Presence::Revoked;
    let looked = read(connector.as_ref(), &id, &wished.managed).await;
    let next = steps(Some(&looked), &wished, &connector.probe().await.expect("it answers"));
    assert_eq!((next.changes, next.obstacles), (Vec::new(), vec![Obstacle::Protected("ada".to_owned())]), "never in silence");
}

/// Of groups within a group Keycloak tells ten, and of groups that have a role a hundred, and not that there are others.
#[tokio::test]
async fn no_group_is_lost() {
    let realm = Realm::start().await;
    let connector = realm.connector_here();
    realm.make_group("guilds/guild-00").await;
    let guilds = realm.group_id("guilds").await;
    for number in 1..12 {
        realm.admin("POST", &format!("/groups/{guilds}/children"), json!({ "name": format!("guild-{number:02}") })).await;
    }
    let last = realm.group_id("guilds/guild-11").await;
    let ada = realm.make_whole("ada", "ada@example.com").await;
    realm.admin("PUT", &format!("/users/{ada}/groups/{last}"), Value::Null).await;
    assert_eq!(listed(connector.as_ref(), &Managed::All).await[&ada].groups, BTreeSet::from(["guilds/guild-11".to_owned()]));
    let management = realm.client_id("realm-management").await;
    let role = realm.admin("GET", &format!("/clients/{management}/roles/impersonation"), Value::Null).await.body;
    let mut groups = Vec::new();
    for number in 0..101 {
        let group = id_in(&realm.admin("POST", "/groups", json!({ "name": format!("ops-{number:03}") })).await);
        realm.admin("POST", &format!("/groups/{group}/role-mappings/clients/{management}"), json!([role])).await;
        groups.push(group);
    }
    for (number, group) in groups.iter().enumerate().filter(|(number, _)| [0, 50, 99, 100].contains(number)) {
        let name = format!("eve-{number}");
        let eve = realm.make_whole(&name, &format!("{name}@example.com")).await;
        realm.admin("PUT", &format!("/users/{eve}/groups/{group}"), Value::Null).await;
        assert!(listed(connector.as_ref(), &NONE).await[&eve].administrator, "by group {number}");
    }
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
