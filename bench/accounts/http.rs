//! A bare client of what is spoken over HTTPS: what the engine asks for one person is recorded, and asked again for others.

use parking_lot::Mutex;
use reqwest::header::{CONTENT_LENGTH, HOST, HeaderMap, LOCATION};
use serde_json::Value;
use usher::connectors::tls;

use std::sync::Arc;

use super::person::{Somebody, settle};
use super::places::Place;
use crate::proxy::{Asked, HttpsProxy, Told};

/// What is asked for one person, with the answers.
pub struct Recording {
    client: reqwest::Client,
    origin: String,
    model: Somebody,
    /// The id of her account.
    id: String,
    exchanges: Vec<(Asked, Told)>,
}

impl Recording {
    /// Lets the engine make one account through a proxy.
    pub async fn of(place: &Place, model: Somebody) -> Self {
        let origin = reqwest::Url::parse(place.url()).expect("a URL").origin().ascii_serialization();
        let proxy = HttpsProxy::start(&origin, Some(&place.ca)).await;
        let connector = place.connect(&place.url().replace(&origin, &proxy.url()), proxy.ca());
        // It logs in, and learns what the system can do: that is asked once, and not for each person.
        let can = connector.probe().await.unwrap_or_else(|error| panic!("{}", error.chain()));
        let log: Arc<Mutex<Vec<(Asked, Told)>>> = Arc::default();
        let exchanges = log.clone();
        proxy.edit(move |asked, told| exchanges.lock().push((asked.clone(), told.clone())));
        let account = settle(connector.as_ref(), &can, &model, &place.group).await;
        let exchanges = std::mem::take(&mut *log.lock());
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(Some(&place.ca)).expect("a CA"))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build();
        Self { client: client.expect("a client"), origin, model, id: account.id, exchanges }
    }

    /// How many requests a person takes.
    pub fn requests(&self) -> usize {
        self.exchanges.len()
    }

    /// Asks for the same for somebody else. An answer of another sort is the end: then it would not be the same.
    pub async fn replay(&self, somebody: &Somebody) {
        let mut id = None;
        for (asked, told) in &self.exchanges {
            let text = |text: &str| self.for_her(text, somebody, id.as_deref());
            let url = format!("{}{}", self.origin, text(&asked.path));
            let body = text(std::str::from_utf8(&asked.body).expect("text"));
            let mut headers = asked.headers.clone();
            headers.remove(HOST);
            headers.remove(CONTENT_LENGTH);
            let sent = self.client.request(asked.method.clone(), url).headers(headers).body(body).send().await.expect("an answer");
            let (status, headers) = (sent.status(), sent.headers().clone());
            let answer = sent.bytes().await.expect("an answer to its end");
            assert_eq!(status, told.status, "{} {} for {}", asked.method, asked.path, somebody.username);
            id = id.or_else(|| self.learn(told, &headers, &answer));
        }
        assert!(id.is_some(), "no answer told the id of {}", somebody.username);
    }

    /// A recorded text with her names and her id instead.
    fn for_her(&self, text: &str, somebody: &Somebody, id: Option<&str>) -> String {
        let named = self.model.replaced_in(text, somebody);
        match id {
            // A number may mean anything else, except as a whole part of a path, or where it is asked for.
            Some(id) if self.id.len() < 16 => {
                let named = named.replace(&format!("uid={}&", self.id), &format!("uid={id}&"));
                named.split('/').map(|part| if part == self.id { id } else { part }).collect::<Vec<_>>().join("/")
            }
            Some(id) => named.replace(&self.id, id),
            None => named,
        }
    }

    /// Her id, from where the recorded answer had the other one.
    fn learn(&self, told: &Told, headers: &HeaderMap, answer: &[u8]) -> Option<String> {
        let last = |headers: &HeaderMap| headers.get(LOCATION)?.to_str().ok()?.rsplit('/').next().map(str::to_owned);
        if last(&told.headers).is_some_and(|id| id == self.id) {
            return last(headers);
        }
        let pointer = pointer_to(&told.value(), &self.id)?;
        let answer: Value = serde_json::from_slice(answer).ok()?;
        answer.pointer(&pointer).map(plain)
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Where a value stands in a JSON text.
fn pointer_to(value: &Value, wanted: &str) -> Option<String> {
    let below = |key: &str, value: &Value| pointer_to(value, wanted).map(|rest| format!("/{key}{rest}"));
    match value {
        Value::Object(fields) => {
            fields.get("id").and_then(|id| below("id", id)).or_else(|| fields.iter().find_map(|(key, it)| below(key, it)))
        }
        Value::Array(items) => items.iter().enumerate().find_map(|(at, it)| below(&at.to_string(), it)),
        Value::String(_) | Value::Number(_) => (plain(value) == wanted).then(String::new),
        Value::Null | Value::Bool(_) => None,
    }
}
