//! What the protocol promises, against a running operator: who is let in, what is unique, which version is changed, pages, limits.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};

use super::{House, SOON, user};
use crate::support::client::explain;
use crate::support::install::{Install, NAMESPACE, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::reaches;
use crate::support::scim::{Sender, certify, declare_source, give_token, patch_of, token};
use crate::support::{AuditLevel, ControlPlane, name, wait_until};

#[tokio::test]
async fn nobody_is_let_in_without_the_token_and_many_wrong_ones_have_to_wait() {
    // On a cluster of its own: the patience is the same for all Sources.
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let install = Install::new(&plane, &[PATIENT[0], PATIENT[1], "scim.enabled=true", "starterRoles=false"]).await;
    let ca = certify(&client).await;
    let operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
    operator.ready().await;
    let right = declare_source(&client, "hr", json!({"mode": "Observe"})).await;
    let sender = Sender::new(&operator, &ca, "hr", &right).await;
    sender.let_in().await;
    let wrong = |source: &str, token: &str| {
        let base = sender.base.replace("/hr", &format!("/{source}"));
        Sender { base, token: token.to_owned(), ..sender.clone() }
    };
    let told = wrong("hr", "wrong").get("/Users").await.is(401);
    assert_eq!(told.header("www-authenticate"), "Bearer realm=\"scim\"");
    assert_eq!(told.body["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
    // Nobody is told which Sources there are.
    let nobody = wrong("there-is-none", &right).get("/Users").await.is(401);
    assert_eq!(nobody.body, told.body);
    wrong("hr", "").get("/ServiceProviderConfig").await.is(401);
    let mut statuses = BTreeSet::new();
    for _ in 0..60 {
        let answer = wrong("hr", "wrong").post("/Users", &user("eve")).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{answer:?}");
        }
        statuses.insert(answer.status);
    }
    assert_eq!(statuses, BTreeSet::from([401, 429]));
    sender.get("/Users").await.is(200);
    assert_eq!(sender.find("Users", "userName pr").await["totalResults"], 0, "nobody was pushed");
    let log = operator.log();
    assert!(log.contains("a wrong one, to the SCIM server") && !log.contains(&right), "the token is in the log");
    drop(operator);
    plane.stop().await;
}

#[tokio::test]
async fn a_token_that_is_exchanged_is_good_at_once_and_a_short_one_is_none() {
    let house = House::new(json!({"mode": "Observe"})).await;
    let new = token();
    give_token(&house.client, &house.source, &new).await;
    let after = Sender { token: new, ..house.sender.clone() };
    after.let_in().await;
    house.sender.get("/Users").await.is_refused();
    give_token(&house.client, &house.source, "too-short").await;
    let message = "/status/conditions/0/message";
    let source = wait_until("the Source says so", SOON, async || {
        let source = reaches(&house.client, "Source", &house.source, "/status/conditions/0/status", "False").await;
        let said = source.data.pointer(message).and_then(Value::as_str).unwrap_or_default().to_owned();
        if said.contains("shorter than 32") { Ok(said) } else { Err(said) }
    })
    .await;
    assert!(source.contains("openssl rand"), "the remedy: {source}");
    Sender { token: "too-short".to_owned(), ..house.sender.clone() }.get("/Users").await.is_refused();
}

#[tokio::test]
async fn no_two_have_one_login_and_a_login_that_was_given_up_is_free() {
    let house = House::new(json!({"mode": "Observe"})).await;
    let (ada, bob) = (name("ada"), name("bob"));
    let id = house.sender.post("/Users", &user(&ada)).await.is(201).id();
    let mut same = user(&ada);
    same["userName"] = same["userName"].as_str().expect("text").to_uppercase().into();
    let taken = house.sender.post("/Users", &same).await.is(409);
    assert_eq!((&taken.body["scimType"], &taken.body["status"]), (&json!("uniqueness"), &json!("409")));
    let other = house.sender.post("/Users", &user(&bob)).await.is(201).id();
    let rename = |to: &str| json!([{"op": "replace", "path": "userName", "value": format!("{to}@example.com")}]);
    house.sender.patch(&format!("/Users/{other}"), rename(&ada)).await.is(409);
    // All at once, one of them gets it.
    let login = user(&name("race"));
    let answers = futures::future::join_all((0..8).map(|_| house.sender.post("/Users", &login))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    // Who is called otherwise keeps her id, and leaves her login to others.
    let new = name("lovelace");
    let renamed = house.sender.patch(&format!("/Users/{id}"), rename(&new)).await.is(200);
    assert_eq!((renamed.id(), &renamed.body["userName"]), (id.clone(), &json!(format!("{new}@example.com"))));
    house.sender.patch(&format!("/Users/{other}"), rename(&ada)).await.is(200);
    assert_eq!(house.sender.find("Users", &format!("userName eq \"{ada}@EXAMPLE.com\"")).await["Resources"][0]["id"], other.as_str());
    assert_eq!(house.sender.find("Users", &format!("externalId eq \"ext-{ada}\"")).await["Resources"][0]["id"], id.as_str());
    assert_eq!(house.sender.find("Users", &format!("externalId eq \"EXT-{ada}\"")).await["totalResults"], 0, "letter by letter");
    house.sender.with("DELETE", &format!("/Users/{id}"), &[], None).await.is(204);
    house.sender.post("/Users", &user(&new)).await.is(201);
}

#[tokio::test]
async fn a_change_of_another_version_is_refused_and_what_is_known_is_not_told_again() {
    let house = House::new(json!({"mode": "Observe"})).await;
    let made = house.sender.post("/Users", &user(&name("ada"))).await.is(201);
    let (path, first) = (format!("/Users/{}", made.id()), made.header("etag").to_owned());
    assert_eq!(
        (first.as_str(), made.header("location")),
        (made.body["meta"]["version"].as_str().expect("a version"), format!("{}{path}", house.sender.base).as_str())
    );
    house.sender.with("GET", &path, &[("if-none-match", &first)], None).await.is(304);
    let title = |title: &str| patch_of(json!([{"op": "add", "path": "title", "value": title}]));
    let changed = house.sender.with("PATCH", &path, &[("if-match", &first)], Some(&title("Boss"))).await.is(200);
    let second = changed.header("etag").to_owned();
    assert_ne!(first, second);
    house.sender.with("GET", &path, &[("if-none-match", &first)], None).await.is(200);
    for (method, body) in [("PATCH", Some(title("Other"))), ("PUT", Some(user("x"))), ("DELETE", None)] {
        let refused = house.sender.with(method, &path, &[("if-match", &first)], body.as_ref()).await.is(412);
        assert!(refused.body["detail"].as_str().is_some_and(|detail| detail.contains("ETag")), "{refused:?}");
    }
    // What changes nothing is not written.
    let same = house.sender.with("PATCH", &path, &[("if-match", &second)], Some(&title("Boss"))).await.is(200);
    assert_eq!(same.header("etag"), second);
    // Many at once, and none is lost.
    let parts = ["givenName", "familyName", "middleName", "formatted", "honorificPrefix", "honorificSuffix"];
    let changes = parts.iter().map(|part| {
        let body = patch_of(json!([{"op": "replace", "path": format!("name.{part}"), "value": format!("new {part}")}]));
        let (sender, path) = (house.sender.clone(), path.clone());
        async move { sender.with("PATCH", &path, &[], Some(&body)).await.status }
    });
    let statuses = futures::future::join_all(changes).await;
    assert_eq!(statuses, [200; 6]);
    let after = house.sender.get(&path).await.is(200).body;
    for part in parts {
        assert_eq!(after["name"][part], format!("new {part}"), "{after}");
    }
    house.sender.with("DELETE", &path, &[("if-match", "*")], None).await.is(204);
}

#[tokio::test]
async fn lists_come_page_by_page_and_show_what_was_asked_for() {
    let house = House::new(json!({"mode": "Observe"})).await;
    let mut ids = BTreeSet::new();
    for number in 0..25 {
        let mut body = user(&name("ada"));
        body["title"] = if number % 5 == 0 { "Boss" } else { "Clerk" }.into();
        ids.insert(house.sender.post("/Users", &body).await.is(201).id());
    }
    let mut seen = BTreeSet::new();
    for start in [1, 11, 21, 31] {
        let page = house.sender.get(&format!("/Users?startIndex={start}&count=10&attributes=userName")).await.is(200).body;
        assert_eq!((&page["totalResults"], &page["startIndex"]), (&json!(25), &json!(start)));
        let resources = page["Resources"].as_array().expect("a list");
        assert_eq!(page["itemsPerPage"], resources.len());
        for resource in resources {
            let keys: Vec<&String> = resource.as_object().expect("an object").keys().collect();
            assert_eq!(keys, ["id", "schemas", "userName"], "{resource}");
            assert!(seen.insert(resource["id"].as_str().expect("an id").to_owned()), "twice: {resource}");
        }
    }
    assert_eq!(seen, ids);
    assert_eq!(house.sender.find("Users", "title eq \"boss\" and meta.created pr").await["totalResults"], 5);
    let search = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": "title eq \"Clerk\"", "count": 3, "attributes": ["title"]});
    let found = house.sender.post("/Users/.search", &search).await.is(200).body;
    assert_eq!((&found["totalResults"], found["Resources"].as_array().map(Vec::len)), (&json!(20), Some(3)));
    let all: Vec<Value> = ids.iter().map(|id| json!({"value": id})).collect();
    let group = house.sender.post("/Groups", &json!({"displayName": "all", "members": all})).await.is(201).id();
    let bare = house.sender.get(&format!("/Groups/{group}?excludedAttributes=members")).await.is(200).body;
    assert!(bare.get("members").is_none(), "{bare}");
    let one = ids.first().expect("somebody");
    assert_eq!(house.sender.get(&format!("/Users/{one}")).await.is(200).body["groups"][0]["display"], "all");
    let root = house.sender.get("/?filter=displayName%20eq%20%22all%22").await.is(200).body;
    assert_eq!(root["Resources"][0]["id"], group.as_str(), "of all types");
}

#[tokio::test]
async fn what_is_too_large_or_no_json_or_names_nobody_is_refused_with_the_reason() {
    let house = House::new(json!({"mode": "Observe"})).await;
    let large = json!({"userName": "a", "emails": [{"value": "x".repeat(1_100_000)}]});
    // The server may answer before all of it was sent, and end the connection.
    if let Ok(answer) = house.sender.try_with("POST", "/Users", &[], Some(&large)).await {
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    let emails: Vec<Value> = (0..90).map(|number| json!({"value": format!("{number}{}", "x".repeat(1_000))})).collect();
    house.sender.post("/Users", &json!({"userName": "a", "emails": emails})).await.is(413);
    house.sender.post("/Users", &json!("userName")).await.is(400);
    let nobody = house.sender.post("/Groups", &json!({"displayName": "a", "members": [{"value": "aaaaaaaaaaaaaaa1"}]})).await.is(400);
    assert_eq!(nobody.body["scimType"], "invalidValue", "{nobody:?}");
    let method = house.sender.with("DELETE", "/Users", &[], None).await.is(405);
    assert_eq!(method.header("allow"), "GET, POST");
    for path in ["/Users/nobody", "/Users/aaaaaaaaaaaaaaa1", "/nothing"] {
        house.sender.get(path).await.is(404);
    }
}

#[tokio::test]
async fn a_password_is_nowhere_and_what_is_kept_is_nobody_elses_to_write() {
    let house = House::new(json!({"mode": "Observe"})).await;
    let (ada, secret) = (name("ada"), format!("hunter-{}", token()));
    let mut body = user(&ada);
    body["password"] = secret.clone().into();
    let made = house.sender.post("/Users", &body).await.is(201);
    assert!(made.body.get("password").is_none());
    let maps: Api<ConfigMap> = Api::namespaced(house.client.clone(), NAMESPACE);
    let own = ListParams::default().labels(&format!("usher.dev/source={}", house.source));
    let kept = maps.list(&own).await.expect("a list").items;
    assert_eq!(kept.len(), 1);
    let text = serde_json::to_string(&kept).expect("JSON");
    assert!(text.contains(&ada) && !text.contains(&secret), "{text}");
    let map = kept.into_iter().next().expect("one");
    let name = map.metadata.name.clone().expect("a name");
    let mut forged = map.clone();
    forged.data.as_mut().expect("data").insert("resource".to_owned(), "{}".to_owned());
    let refused = maps.replace(&name, &kube::api::PostParams::default(), &forged).await.map_err(|error| explain(&error));
    assert!(refused.as_ref().is_err_and(|why| why.contains("usher-pushed")), "{refused:?}");
    let mut new = map;
    new.metadata.name = Some("usher-scim-forged".to_owned());
    (new.metadata.resource_version, new.metadata.uid) = (None, None);
    let refused = maps.create(&kube::api::PostParams::default(), &new).await.map_err(|error| explain(&error));
    assert!(refused.as_ref().is_err_and(|why| why.contains("usher-pushed")), "{refused:?}");
    maps.delete(&name, &DeleteParams::default()).await.expect("an administrator may delete it");
}
