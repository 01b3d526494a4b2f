//! An account follows what somebody is given, from the Binding to the receipt.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::access::can;
use crate::support::client::kind;
use crate::support::name;
use crate::support::people::{declare, developer, edit, reaches, remove, subject};
use crate::support::wait_until;

use super::{SOON, Service, receipt, started, tells, told};

/// From the Binding to the account, through an edit of the Role, a suspension and back, to the receipt.
#[tokio::test]
async fn an_account_follows_what_somebody_is_given() {
    let (_shared, client, stage) = started().await;
    let service = Service::new(&client, json!({})).await;
    let role = service.role(&client, &stage, &["developers"]).await;
    let person = name("ada");
    let binding = stage.binding(&role, &person).await;
    developer(&client, &person, json!({"displayName": "Ada Lovelace"})).await;
    service.shows(&person, true, &["developers"]).await;
    let account = tells(&client, &person, &service.provider, "Active").await;
    assert_eq!((&account["username"], &account["groups"]), (&json!(person), &json!(1)));
    let ready = crate::support::client::ready(&client, &person).await;
    assert_eq!(ready.data["status"]["summary"]["accounts"], "1/1");
    assert!(ready.data["status"]["timeline"]["accountsReadyAt"].is_string());

    edit(&client, "Role", &role, json!({"accounts": [{"provider": service.provider, "groups": ["releases"]}]})).await;
    wait_until("the other group instead", SOON, async || match service.groups(&person).await.as_slice() {
        [group] if group == "releases" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;

    edit(&client, "Developer", &person, json!({"state": "Suspended"})).await;
    wait_until("she is locked out", SOON, async || match service.user(&person).await {
        Some(user) if user["active"] == false => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    edit(&client, "Developer", &person, json!({"state": "Active"})).await;
    service.shows(&person, true, &["releases"]).await;

    remove(&client, "Binding", &binding).await;
    service.shows(&person, false, &[]).await;
    tells(&client, &person, &service.provider, "Disabled").await;
    stage.binding(&role, &person).await;
    service.shows(&person, true, &["releases"]).await;

    edit(&client, "Developer", &person, json!({"state": "Departed"})).await;
    let receipt = receipt(&client, &person, &service.provider, "Disabled").await;
    let targets = receipt.data["status"]["targets"].as_array().cloned().unwrap_or_default();
    let line = targets.iter().find(|it| it["target"] == format!("provider/{}", service.provider)).expect("a line");
    assert_eq!(line["id"], service.user(&person).await.expect("an account")["id"]);
    service.shows(&person, false, &[]).await;
    remove(&client, "Developer", &person).await;
    remove(&client, "Provider", &service.provider).await;
    assert!(service.user(&person).await.is_some(), "a Provider's going leaves accounts as they are");
}

/// One system is stopped in the middle of everything: the clusters and the other system go on, and it heals without a hand.
#[tokio::test]
async fn a_system_that_hangs_delays_nobody_else() {
    let (_shared, client, stage) = started().await;
    let (sick, well) = tokio::join!(Service::alone(&client), Service::new(&client, json!({})));
    let role = name("role");
    let entry = json!({"name": "work", "environments": [stage.environment], "clusterRoles": ["view"]});
    let accounts = json!([{"provider": sick.provider, "groups": ["developers"]}, {"provider": well.provider, "groups": ["developers"]}]);
    declare(&client, "Role", &role, json!({"access": [entry], "accounts": accounts})).await;
    let (leaver, comer) = (name("bob"), name("ada"));
    stage.binding(&role, &leaver).await;
    developer(&client, &leaver, json!({})).await;
    sick.shows(&leaver, true, &["developers"]).await;
    well.shows(&leaver, true, &["developers"]).await;
    crate::support::client::ready(&client, &leaver).await;

    sick.pause();
    stage.binding(&role, &comer).await;
    developer(&client, &comer, json!({})).await;
    edit(&client, "Developer", &leaver, json!({"state": "Departed"})).await;
    well.shows(&comer, true, &["developers"]).await;
    well.shows(&leaver, false, &[]).await;
    let seen = wait_until("her identity is told", SOON, async || {
        let developer = kind(&client, "Developer").await.get(&comer).await.expect("a Developer");
        if developer.data["status"]["identities"].is_array() { Ok(developer) } else { Err(developer.data.to_string()) }
    })
    .await;
    let subject = subject(&seen);
    wait_until("she may work in the cluster", SOON, async || {
        if can(&client, &subject, "get", "pods", Some(&stage.shared)).await { Ok(()) } else { Err("no") }
    })
    .await;
    reaches(&client, "Provider", &sick.provider, "/status/state", "Unreachable").await;
    let provider = kind(&client, "Provider").await.get(&sick.provider).await.expect("a Provider");
    assert_ne!(provider.data["status"]["summary"]["nextTry"], "", "{:?}", provider.data["status"]);
    wait_until("her cell says so", SOON, async || {
        let account = told(&client, &comer, &sick.provider).await;
        if account["state"] == "Failed" { Ok(()) } else { Err(account.to_string()) }
    })
    .await;
    let receipt_while = receipt(&client, &leaver, &sick.provider, "Unreachable").await;
    assert_eq!(receipt_while.data["status"]["summary"]["accessGone"].as_str().map(str::is_empty), Some(false), "{:?}", receipt_while.data);

    sick.resume();
    sick.shows(&comer, true, &["developers"]).await;
    sick.shows(&leaver, false, &[]).await;
    receipt(&client, &leaver, &sick.provider, "Disabled").await;
    reaches(&client, "Provider", &sick.provider, "/status/state", "Connected").await;
    crate::support::client::ready(&client, &comer).await;
    for provider in [&sick.provider, &well.provider] {
        remove(&client, "Provider", provider).await;
    }
}

/// An account of her name that usher did not make is a Conflict, and untouched, until somebody pins it.
#[tokio::test]
async fn a_strangers_account_is_hers_only_by_a_pin() {
    let (_shared, client, stage) = started().await;
    let service = Service::new(&client, json!({})).await;
    let person = name("ada");
    let stranger = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": person, "active": true,
        "name": {"familyName": "Somebody"}, "emails": [{"value": "somebody@elsewhere.example", "primary": true}],
    });
    let before = service.post("Users", stranger).await;
    let role = service.role(&client, &stage, &["developers"]).await;
    stage.binding(&role, &person).await;
    developer(&client, &person, json!({})).await;
    let account = tells(&client, &person, &service.provider, "Conflict").await;
    assert!(account["message"].as_str().is_some_and(|message| message.contains("adopt: true")), "{account}");
    let developer = reaches(&client, "Developer", &person, "/status/conditions/0/reason", "Conflict").await;
    assert!(developer.data["status"]["conditions"].as_array().into_iter().flatten().any(|it| it["type"] == "Stalled"));
    let after = service.user(&person).await.expect("an account");
    assert_eq!((&after["name"], &after["emails"], &after["externalId"]), (&before["name"], &before["emails"], &before["externalId"]));

    let pin = json!([{"provider": service.provider, "id": before["id"], "adopt": true}]);
    edit(&client, "Developer", &person, json!({"accounts": pin})).await;
    let account = tells(&client, &person, &service.provider, "Active").await;
    assert_eq!(account["id"], before["id"]);
    service.shows(&person, true, &["developers"]).await;
    remove(&client, "Provider", &service.provider).await;
}

/// An edit that would lock many out at once stops at the limit, and goes on when exactly that batch is released; one who leaves is never held.
#[tokio::test]
async fn an_edit_that_would_lock_many_out_waits_for_a_word() {
    let (_shared, client, stage) = started().await;
    let service = Service::new(&client, json!({"brake": {"maxRemovals": 2, "maxPercent": 1}})).await;
    let role = service.role(&client, &stage, &["developers"]).await;
    let people: Vec<String> = (0..6).map(|_| name("ada")).collect();
    declare(&client, "Binding", &role, json!({"role": role, "developers": people})).await;
    for person in &people {
        developer(&client, person, json!({})).await;
    }
    for person in &people {
        service.shows(person, true, &["developers"]).await;
    }
    edit(&client, "Role", &role, json!({"accounts": null})).await;
    let held = wait_until("four wait", SOON, async || {
        let provider = kind(&client, "Provider").await.get(&service.provider).await.expect("a Provider");
        let status = provider.data["status"].clone();
        if status["brake"]["removals"] == 4 && status["state"] == "Braked" { Ok(status) } else { Err(status.to_string()) }
    })
    .await;
    let active = async || {
        let mut active = 0;
        for person in &people {
            active += usize::from(service.user(person).await.is_some_and(|user| user["active"] == true));
        }
        active
    };
    assert_eq!(active().await, 4);
    let held_person = held["brake"]["sample"][0].as_str().expect("a name").to_owned();
    edit(&client, "Developer", &held_person, json!({"state": "Departed"})).await;
    service.shows(&held_person, false, &[]).await;
    let digest = wait_until("three wait", SOON, async || {
        let provider = kind(&client, "Provider").await.get(&service.provider).await.expect("a Provider");
        let brake = provider.data["status"]["brake"].clone();
        if brake["removals"] == 3 { Ok(brake["digest"].clone()) } else { Err(brake.to_string()) }
    })
    .await;
    let patch = json!({"metadata": {"annotations": {"usher.dev/release": digest}}});
    kind(&client, "Provider").await.patch(&service.provider, &PatchParams::default(), &Patch::Merge(patch)).await.expect("released");
    wait_until("the others follow", SOON, async || match active().await {
        0 => Ok(()),
        left => Err(left),
    })
    .await;
    reaches(&client, "Provider", &service.provider, "/status/state", "Connected").await;
    remove(&client, "Provider", &service.provider).await;
}

/// Where usher only looks it says what it would do, and does nothing.
#[tokio::test]
async fn an_observed_system_is_left_as_it_is() {
    let (_shared, client, stage) = started().await;
    let service = Service::new(&client, json!({"mode": "Observe"})).await;
    let role = service.role(&client, &stage, &["developers"]).await;
    let person = name("ada");
    stage.binding(&role, &person).await;
    developer(&client, &person, json!({})).await;
    let account = tells(&client, &person, &service.provider, "Pending").await;
    wait_until("it is told what would be done", SOON, async || {
        let account = told(&client, &person, &service.provider).await;
        if account["message"].as_str().is_some_and(|it| it.contains("would make it")) { Ok(()) } else { Err(account.to_string()) }
    })
    .await;
    assert!(service.user(&person).await.is_none(), "{account}");
    reaches(&client, "Provider", &service.provider, "/status/state", "Observing").await;
    edit(&client, "Provider", &service.provider, json!({"mode": "Enforce"})).await;
    service.shows(&person, true, &["developers"]).await;
    remove(&client, "Provider", &service.provider).await;
}

/// SCIM cannot revoke what was issued: the receipt says so until somebody answers for it.
#[tokio::test]
async fn what_a_system_cannot_revoke_is_left_over_until_it_is_waived() {
    let (_shared, client, stage) = started().await;
    let service = Service::new(&client, json!({})).await;
    edit(&client, "Provider", &service.provider, json!({"scim": {"disablingRevokes": false}})).await;
    let role = service.role(&client, &stage, &["developers"]).await;
    let person = name("ada");
    stage.binding(&role, &person).await;
    developer(&client, &person, json!({})).await;
    service.shows(&person, true, &["developers"]).await;
    edit(&client, "Developer", &person, json!({"state": "Departed"})).await;
    let receipt_before = receipt(&client, &person, &service.provider, "Failed").await;
    service.shows(&person, false, &[]).await;
    let targets = receipt_before.data["status"]["targets"].as_array().cloned().unwrap_or_default();
    let line = targets.iter().find(|it| it["target"] == format!("provider/{}", service.provider)).expect("a line");
    assert_eq!(line["credentials"], "Cannot");
    let waive = json!({"metadata": {"annotations": {"usher.dev/waive": format!("provider/{}=the service asks our SSO each time", service.provider)}}});
    let departure = receipt_before.metadata.name.expect("a name");
    kind(&client, "Departure").await.patch(&departure, &PatchParams::default(), &Patch::Merge(waive)).await.expect("waived");
    receipt(&client, &person, &service.provider, "Waived").await;
    remove(&client, "Developer", &person).await;
}

/// Two Bindings give one account. Taking one away takes nothing, not even for a moment.
#[tokio::test]
async fn one_of_two_reasons_for_an_account_leaves_it_without_a_gap() {
    let shared = crate::support::operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({"verifyEvery": "24h"})).await;
    let (one, two) = (super::outside(client, &[&service]).await, super::outside(client, &[&service]).await);
    let person = name("ada");
    let first = super::bind(client, &one, &[&person]).await;
    super::bind(client, &two, &[&person]).await;
    developer(client, &person, json!({})).await;
    service.shows(&person, true, &["developers"]).await;
    crate::support::client::ready(client, &person).await;
    proxy.forget();
    remove(client, "Binding", &first).await;
    wait_until("she holds one Role", SOON, async || {
        let developer = kind(client, "Developer").await.get(&person).await.expect("a Developer");
        let roles = developer.data["status"]["roles"].clone();
        if roles.as_array().is_some_and(|roles| roles.len() == 1 && roles[0]["name"] == two.as_str()) {
            Ok(())
        } else {
            Err(roles.to_string())
        }
    })
    .await;
    edit(client, "Developer", &person, json!({"displayName": "Augusta King"})).await;
    wait_until("her account was changed since", SOON, async || match service.user(&person).await {
        Some(user) if user["name"]["formatted"] == "Augusta King" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let made = super::made(&shared.all.operator.log(), &service.provider).remove(&person).unwrap_or_default();
    assert!(!made.iter().any(|change| change.contains("take it out") || change.contains("lock it out")), "{made:?}");
    service.shows(&person, true, &["developers"]).await;
}

/// With `membership: Exclusive` no group remains that no Role gives; without, groups of others do.
#[tokio::test]
async fn exclusive_membership_leaves_no_other_group() {
    let shared = crate::support::operated().await;
    let client = &shared.client;
    let (exclusive, additive) =
        tokio::join!(Service::new(client, json!({"membership": "Exclusive"})), Service::new(client, json!({"membership": "Additive"})));
    let role = super::outside(client, &[&exclusive, &additive]).await;
    let person = name("ada");
    super::bind(client, &role, &[&person]).await;
    developer(client, &person, json!({})).await;
    for service in [&exclusive, &additive] {
        service.shows(&person, true, &["developers"]).await;
        tells(client, &person, &service.provider, "Active").await;
        service.join("releases", &person).await;
        service.shows(&person, true, &["developers", "releases"]).await;
        edit(client, "Provider", &service.provider, json!({"requestsPerSecond": 150})).await;
    }
    exclusive.shows(&person, true, &["developers"]).await;
    edit(client, "Developer", &person, json!({"displayName": "Augusta King"})).await;
    wait_until("the other was looked at, too", SOON, async || match additive.user(&person).await {
        Some(user) if user["name"]["formatted"] == "Augusta King" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    additive.shows(&person, true, &["developers", "releases"]).await;
}

/// The record tells of accounts as of Environments: since when, and until when.
#[tokio::test]
async fn a_grant_tells_of_accounts() {
    let (_shared, client, stage) = started().await;
    let service = Service::new(&client, json!({})).await;
    let (both, only) = (service.role(&client, &stage, &["developers"]).await, super::outside(&client, &[&service]).await);
    let person = name("ada");
    stage.binding(&both, &person).await;
    let binding = super::bind(&client, &only, &[&person]).await;
    developer(&client, &person, json!({})).await;
    let target = format!("provider/{}", service.provider);
    let tells_of = async |role: &str, open: bool| {
        wait_until(&format!("the Grant of {role} has {target}, open: {open}"), SOON, async || {
            let all = crate::support::people::grants(&client, &person).await;
            let of_role = all.iter().filter(|grant| grant.role == role);
            let lines: Vec<_> = of_role.flat_map(|grant| &grant.targets).filter(|it| it.name == target).collect();
            if lines.iter().any(|line| line.until.is_none() == open) { Ok(()) } else { Err(format!("{all:?}")) }
        })
        .await;
    };
    tells_of(&both, true).await;
    tells_of(&only, true).await;
    edit(&client, "Role", &both, json!({"accounts": null})).await;
    tells_of(&both, false).await;
    tells_of(&only, true).await;
    remove(&client, "Binding", &binding).await;
    tells_of(&only, false).await;
    let all = crate::support::people::grants(&client, &person).await;
    let ended = all.iter().find(|grant| grant.role == only).and_then(|grant| grant.ended.clone()).expect("an end");
    assert_eq!(format!("{:?}", ended.cause), "BindingDeleted");
    assert!(all.iter().any(|grant| grant.role == both && grant.ended.is_none()), "she works in the cluster still: {all:?}");
}
