//! What senders are documented to send, to a running operator: it answers as they expect, and what they read afterwards is what they sent.

use serde_json::{Value, json};

use crate::scim_corpus::{Case, cases, missing};
use crate::support::scim::{Answer, Sender, declare_source};
use crate::support::{name, operated};

/// Where a case is tried: a Source of its own with two people.
struct Place {
    sender: Sender,
    ada: String,
    bob: String,
}

fn filled(value: &Value, place: &Place, id: &str) -> Value {
    let text = value.to_string().replace("{id}", id).replace("{ada}", &place.ada).replace("{bob}", &place.bob);
    serde_json::from_str(&text).expect("JSON")
}

async fn send(place: &Place, case: &Case, id: &str) -> Answer {
    let endpoint = case.request.path.replace("{id}", id);
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let mut query = Vec::new();
    if let Some(filter) = &case.request.filter {
        let filter = filter.replace("{ada}", &place.ada).replace("{bob}", &place.bob);
        query.push(format!("filter={}", encoded(&filter)));
    }
    query.extend(case.request.start_index.map(|start| format!("startIndex={start}")));
    query.extend(case.request.count.map(|count| format!("count={count}")));
    let path = if query.is_empty() { endpoint } else { format!("{endpoint}?{}", query.join("&")) };
    let body = case.request.body.as_ref().map(|body| filled(body, place, id));
    place.sender.with(&case.request.method, &path, &[], body.as_ref()).await
}

/// What is wrong with what came of it.
async fn outcome(place: &Place, case: &Case) -> Option<String> {
    let endpoint = if case.is_about_groups() { "/Groups" } else { "/Users" };
    let id = match &case.given {
        Some(given) => place.sender.post(endpoint, &filled(given, place, "")).await.is(201).id(),
        None => String::new(),
    };
    let answer = send(place, case, &id).await;
    let then = &case.then;
    if answer.status != then.status {
        return Some(format!("{answer:?}"));
    }
    if then.scim_type.as_ref().is_some_and(|word| answer.body["scimType"] != **word) {
        return Some(format!("{answer:?}"));
    }
    if let Some(total) = then.total {
        // Where nobody is chosen the two others are found, too.
        let total = if case.request.filter.is_none() { total + 2 } else { total };
        return (answer.body["totalResults"] != total).then(|| format!("{answer:?}"));
    }
    if case.request.method == "DELETE" {
        let after = place.sender.get(&format!("{endpoint}/{id}")).await;
        return (after.status != 404).then(|| format!("{after:?}"));
    }
    let id = if id.is_empty() && answer.status < 300 { answer.id() } else { id };
    if id.is_empty() {
        return None;
    }
    let after = place.sender.get(&format!("{endpoint}/{id}")).await.is(200).body;
    let wanted = then.resource.as_ref().or(then.unchanged.as_ref()).map(|wanted| filled(wanted, place, &id));
    let lacks = wanted.and_then(|wanted| missing(&wanted, &after));
    let has = then.without.iter().find(|name| after.get(*name).is_some()).map(|name| format!("{name} is there: {after}"));
    lacks.or(has)
}

#[tokio::test]
async fn every_documented_request_is_answered_as_its_sender_expects() {
    let shared = operated().await;
    let mut wrong = Vec::new();
    for (sender, case) in cases(&[]) {
        let source = name("corpus");
        let token = declare_source(&shared.client, &source, json!({"mode": "Observe"})).await;
        let to = Sender::new(&shared.all.operator, &shared.all.scim_ca, &source, &token).await;
        to.let_in().await;
        let (ada, bob) = (name("helper"), name("helper"));
        let ids = [to.post("/Users", &super::user(&ada)).await.is(201).id(), to.post("/Users", &super::user(&bob)).await.is(201).id()];
        let [ada, bob] = ids;
        let place = Place { sender: to, ada, bob };
        wrong.extend(outcome(&place, &case).await.map(|why| format!("{sender}: {}: {why}", case.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
