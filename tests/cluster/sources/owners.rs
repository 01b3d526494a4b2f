//! Who owns what of a Developer, by the API server's own rules (<https://kubernetes.io/docs/reference/using-api/server-side-apply/>).

use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Error, ResourceExt};
use serde_json::{Value, json};
use usher::api::{DesiredState, Developer, Source};
use usher::plan::source::claim::{Claim, manager};

use super::{House, Realm, SOON, declare_source};
use crate::accounts::says;
use crate::support::client::explain;
use crate::support::people::{declare, developer, edit, remove};
use crate::support::systems::realm::id_in;
use crate::support::{client_of, name, wait_until};

impl House {
    /// What has the operator's token.
    async fn operator(&self) -> Client {
        client_of(&self.shared.all.install.kubeconfig()).await
    }

    /// Waits until somebody is a Source's and no other's.
    async fn belongs(&self, person: &str, source: &str) -> Value {
        wait_until(&format!("dev/{person} is of usource/{source} alone"), SOON, async || {
            let developer = self.developer(person).await.ok_or("there is none")?;
            let managers = developer.metadata.managed_fields.iter().flatten().filter_map(|entry| entry.manager.clone());
            let sources: Vec<String> = managers.filter(|it| it.starts_with("usher-source/")).collect();
            let hers = developer.labels().get("usher.dev/source").is_some_and(|of| of == source);
            if hers && sources == [manager(source)] { Ok(developer.data["spec"].clone()) } else { Err(format!("{sources:?}")) }
        })
        .await
    }
}

#[tokio::test]
async fn what_somebody_else_owns_besides_the_spec_is_told_and_stops_nobody_else() {
    let house = House::bare().await;
    let (ada, id) = house.person(&[]).await;
    let (bob, _) = house.person(&[]).await;
    developer(&house.client, &ada, json!({"personId": id})).await;
    let label = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": ada, "labels": {"usher.dev/source": "elsewhere"}}});
    let people: Api<Developer> = Api::all(house.operator().await);
    people.patch(&ada, &PatchParams::apply("somebody"), &Patch::Apply(label)).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    house.declare(house.realm.system.env("URL"), &house.realm.ca, json!({})).await;
    let message = says(&house.client, "Source", &house.source, "Ready", "Conflict").await;
    assert!(message.contains(&ada) && message.contains("metadata.labels") && message.contains("somebody"), "{message}");
    house.known(&bob).await;
}

#[tokio::test]
async fn a_word_that_came_meanwhile_is_not_overwritten() {
    let house = House::bare().await;
    let (ada, operator) = (name("ada"), house.operator().await);
    let (people, seen_by): (Api<Developer>, Api<Developer>) = (Api::all(operator), Api::all(house.client.clone()));
    let parameters = PatchParams::apply(&manager(&house.source)).force();
    let made = json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": ada, "labels": {"usher.dev/source": house.source}},
        "spec": {"email": "ada@example.com", "personId": ada, "state": "Active"},
    });
    people.patch(&ada, &parameters, &Patch::Apply(made)).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    let spec = json!({"keycloak": {"url": "https://id.example.com", "realm": "staff", "credentialsSecret": {"name": "a", "key": "b"}}});
    let source = Source::new(&house.source, serde_json::from_value(spec).expect("a spec"));
    let end = async |seen: &Developer| {
        let body = Claim::end(&source, seen, DesiredState::Suspended).body(&house.source);
        people.patch(&ada, &parameters, &Patch::Apply(body)).await
    };
    let seen = seen_by.get(&ada).await.expect("she is there");
    edit(&house.client, "Developer", &ada, json!({"state": "Departed"})).await;
    let refused = end(&seen).await;
    assert!(matches!(&refused, Err(Error::Api(status)) if status.code == 409), "{refused:?}");
    assert_eq!(seen_by.get(&ada).await.expect("she is there").spec.state, DesiredState::Departed);

    edit(&house.client, "Developer", &ada, json!({"state": "Active"})).await;
    let ended = wait_until("what is seen now is ended", SOON, async || {
        let seen = seen_by.get(&ada).await.map_err(|error| explain(&error))?;
        end(&seen).await.map_err(|error| explain(&error))
    })
    .await;
    assert_eq!(ended.spec.state, DesiredState::Suspended);
}

#[tokio::test]
async fn people_of_a_source_that_is_gone_become_anothers_and_what_somebody_says_as_well_stays() {
    let house = House::new(json!({})).await;
    let viewers = house.team("view").await;
    let (ada, id) = house.person(&[&format!("teams/{viewers}")]).await;
    let known = house.known(&ada).await;
    house.may(&known, &["get"]).await;
    declare(&house.client, "Developer", &ada, json!({"displayName": "Some Body"})).await;
    remove(&house.client, "Source", &house.source).await;
    let changed = json!({"firstName": "Other", "lastName": "Name", "email": format!("{ada}@other.example")});
    house.realm.admin("PUT", &format!("/users/{id}"), changed).await;
    let second = name("second");
    declare_source(&house.client, &second, &house.realm, (house.realm.system.env("URL"), &house.realm.ca), json!({})).await;
    house.belongs(&ada, &second).await;
    let spec = wait_until("what the Source alone says follows", SOON, async || {
        let spec = house.developer(&ada).await.ok_or("she is gone")?.data["spec"].clone();
        if spec["email"] == format!("{ada}@other.example") { Ok(spec) } else { Err(spec.to_string()) }
    })
    .await;
    assert_eq!((&spec["displayName"], &spec["teams"], &spec["state"]), (&json!("Some Body"), &json!([viewers]), &json!("Active")));
    house.may_still(&known, &["get"]).await;
}

#[tokio::test]
async fn whoever_moves_from_one_source_to_another_changes_teams_and_is_not_suspended() {
    let by_number = json!({"people": {"personId": "{number}"}});
    let house = House::new(by_number.clone()).await;
    let other = Realm::with(&super::READS, |_| {}).await;
    let (viewers, editors) = (house.team("view").await, house.team("edit").await);
    other.make_group_at(&format!("teams/{editors}")).await;
    let second = name("second");
    let user = |login: &str, number: &str| json!({"username": login, "email": format!("{login}@example.com"), "enabled": true, "attributes": {"number": [number]}});
    let ada = name("ada");
    let id = id_in(&house.realm.admin("POST", "/users", user(&ada, &ada)).await);
    house.realm.join(&id, &format!("teams/{viewers}")).await;
    let (bob, eve) = (name("bob"), name("eve"));
    house.realm.admin("POST", "/users", user(&bob, &bob)).await;
    other.admin("POST", "/users", user(&eve, &eve)).await;
    declare_source(&house.client, &second, &other, (other.system.env("URL"), &other.ca), by_number).await;
    let known = house.known(&ada).await;
    house.may(&known, &["get"]).await;

    let there = id_in(&other.admin("POST", "/users", user(&ada, &ada)).await);
    other.join(&there, &format!("teams/{editors}")).await;
    let message = says(&house.client, "Source", &second, "Ready", "Conflict").await;
    assert!(message.contains(&format!("is of usource/{}", house.source)), "{message}");
    house.realm.admin("DELETE", &format!("/users/{id}"), Value::Null).await;
    house.may(&known, &["get", "create"]).await;
    let spec = house.belongs(&ada, &second).await;
    assert_eq!((&spec["teams"], &spec["state"]), (&json!([editors]), &json!("Active")));
    wait_until("nobody is missing", SOON, async || {
        let status = house.settles(1).await;
        if status["lastRead"]["missing"] == 0 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let developer = house.developer(&ada).await.expect("she is there");
    assert!(!developer.annotations().contains_key("usher.dev/missing-since"), "{:?}", developer.annotations());
}
