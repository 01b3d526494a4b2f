//! Accounts that people had before usher, as `usher import --provider` says them: they are pinned, and nothing of them changes but whose they are.

use serde_json::{Value, json};

use crate::support::client;
use crate::support::people::{edit, reaches, remove};
use crate::support::{Output, name, wait_until};

use super::{SOON, Service, started, tells, told};

/// The objects of one kind in what was printed, by name.
fn named(said: &Output, kind: &str) -> Vec<(String, Value)> {
    let all: Vec<Value> = serde_saphyr::from_multiple(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let of = all.into_iter().filter(|object| object["kind"] == kind);
    of.map(|object| (object["metadata"]["name"].as_str().expect("a name").to_owned(), object["spec"].clone())).collect()
}

#[tokio::test]
async fn accounts_that_people_had_are_pinned_and_only_marked() {
    let (shared, client, stage) = started().await;
    let (plane, service) = (&shared.all.plane, Service::new(&client, json!({"mode": "Observe"})).await);
    let (ada, zoe, eve) = (name("ada"), name("zoe"), name("eve"));
    let email = |person: &str| format!("{person}@example.com");
    let login = name("lovelace");
    // She works in the cluster, too; zoe has nothing but an account, and eve's is locked out.
    let mut before = vec![service.stranger(&login, &email(&ada)).await, service.stranger(&zoe, &email(&zoe)).await];
    service.join("developers", &login).await;
    let locked = service.stranger(&eve, &email(&eve)).await;
    service.set(&locked["id"], "active", json!(false)).await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "by-hand", "namespace": stage.shared},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": email(&ada)}],
    });
    client::apply(&client, &binding.to_string()).await;

    let import = ["import", "-e", &stage.environment, "--provider", &service.provider];
    let said = plane.usher(&import).await;
    let people: Vec<String> = named(&said, "Developer").into_iter().map(|(name, _)| name).collect();
    assert_eq!(people, [ada.clone(), zoe.clone()], "{said:?}");
    assert!(said.stderr.contains(&format!("Account {eve} at uprov/{}", service.provider)), "{}", said.stderr);
    let pin = |login: &str, user: &Value| json!([{"provider": service.provider, "username": login, "id": user["id"], "adopt": true}]);
    for ((_, spec), (login, user)) in named(&said, "Developer").iter().zip([(&login, &before[0]), (&zoe, &before[1])]) {
        assert_eq!(spec["accounts"], pin(login, user));
    }
    let groups: Vec<Value> = named(&said, "Role").into_iter().map(|(_, spec)| spec["accounts"][0]["groups"].clone()).collect();
    assert!(groups.contains(&json!(["developers"])) && groups.contains(&Value::Null), "{said:?}");
    let other = plane.usher(&["import", "--provider", "nowhere"]).await;
    assert!(other.code == Some(2) && other.stderr.contains("uprov/nowhere does not exist"), "{other:?}");

    plane.kubectl_with(&["apply", "-f", "-"], &said.stdout).await.ok();
    for person in [&ada, &zoe] {
        wait_until("it is told what would be done", SOON, async || {
            let account = told(&client, person, &service.provider).await;
            if account["message"] == "only observed: would adopt it" { Ok(()) } else { Err(account.to_string()) }
        })
        .await;
    }
    edit(&client, "Provider", &service.provider, json!({"mode": "Enforce"})).await;
    for (person, user) in [&ada, &zoe].into_iter().zip(&mut before) {
        assert_eq!(tells(&client, person, &service.provider, "Active").await["id"], user["id"]);
        let mut now = service.user(user["userName"].as_str().expect("a login")).await.expect("an account");
        for mark in ["meta", "externalId", "groups"] {
            user[mark] = Value::Null;
            now[mark] = Value::Null;
        }
        assert_eq!(now, *user);
    }
    service.shows(&login, true, &["developers"]).await;
    service.shows(&eve, false, &[]).await;
    for (role, _) in named(&said, "Role") {
        reaches(&client, "Role", &role, "/status/conditions/0/status", "True").await;
    }
    let again = plane.usher(&import).await;
    assert!(named(&again, "Developer").is_empty() && named(&again, "Binding").is_empty(), "{again:?}");

    remove(&client, "Provider", &service.provider).await;
}
