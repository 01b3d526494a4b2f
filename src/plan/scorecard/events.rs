//! What the API server's audit webhook sends: of its events only those are of interest that tell of a request which no rule allowed.

use std::fmt;

use jiff::Timestamp;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::why::Question;
use super::denied::Request;

/// What the API server writes on an event of a request that its authorizer denied. Admission refuses with 403 as well, and that is no matter of Roles.
const DECISION: &str = "authorization.k8s.io/decision";
/// A word of a request is cut to this many characters: it is kept until it is judged.
const LONGEST: usize = 253;

/// So many requests of one list are looked at; what comes beyond is not.
const MOST: usize = 1_000;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Denied,
}

/// The requests of events that are of interest: the others are forgotten as they are read.
#[derive(Default)]
struct Denied(Vec<Request>);

impl<'de> Deserialize<'de> for Denied {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OneByOne)
    }
}

struct OneByOne;

impl<'de> Visitor<'de> for OneByOne {
    type Value = Denied;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<Denied, A::Error> {
        let mut found = Vec::new();
        while let Some(event) = events.next_element::<Event>()? {
            found.extend(request(event).filter(|_| found.len() < MOST));
        }
        Ok(Denied(found))
    }
}

/// An event of audit.k8s.io/v1, as far as it is read (<https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default)]
    stage: String,
    #[serde(default)]
    verb: String,
    #[serde(default)]
    user: User,
    impersonated_user: Option<User>,
    object_ref: Option<ObjectRef>,
    response_status: Option<Answer>,
    request_received_timestamp: Option<Timestamp>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    api_group: String,
    subresource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    code: i32,
}

/// The requests of a list of events that were denied. Who acts as somebody else asks about herself, and is not counted.
///
/// # Errors
/// When it is no list of events.
pub fn denied(body: &[u8]) -> Result<Vec<Request>, serde_json::Error> {
    let list: List = serde_json::from_slice(body)?;
    Ok(list.items.0)
}

fn request(event: Event) -> Option<Request> {
    let forbidden = event.annotations.get(DECISION).is_some_and(|decision| decision == "forbid");
    let denied = event.response_status.is_some_and(|answer| answer.code == 403) && forbidden;
    if !denied || event.stage != "ResponseComplete" || event.impersonated_user.is_some() {
        return None;
    }
    let object = event.object_ref.filter(|object| !object.resource.is_empty())?;
    let word = |text: String| text.chars().take(LONGEST).collect::<String>();
    let some = |text: Option<String>| text.filter(|text| !text.is_empty()).map(word);
    Some(Request {
        user: word(event.user.username),
        question: Question {
            verb: word(event.verb),
            group: word(object.api_group),
            resource: word(object.resource),
            subresource: some(object.subresource),
            name: some(object.name),
            namespace: some(object.namespace),
        },
        at: event.request_received_timestamp?,
        times: 1,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(change: &Value) -> Value {
        let mut event = json!({
            "level": "Metadata", "auditID": "1", "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/shop/pods", "verb": "list",
            "user": {"username": "system:serviceaccount:usher-identities:ada-1", "groups": ["system:authenticated"]},
            "objectRef": {"resource": "pods", "namespace": "shop", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "status": "Failure", "reason": "Forbidden", "code": 403},
            "requestReceivedTimestamp": "2026-11-23T08:00:00.123456Z", "stageTimestamp": "2026-11-23T08:00:00.223456Z",
            "annotations": {"authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": ""},
        });
        let fields = event.as_object_mut().expect("fields");
        fields.extend(change.as_object().expect("fields").clone());
        event
    }

    fn found(change: &Value) -> usize {
        let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": [event(change)]});
        denied(list.to_string().as_bytes()).expect("a list").len()
    }

    #[test]
    fn only_what_the_authorizer_denied_to_somebody_herself_is_read() {
        assert_eq!(found(&json!({})), 1);
        for other in [
            json!({"responseStatus": {"code": 200}}),
            json!({"annotations": {"authorization.k8s.io/decision": "allow"}}),
            json!({"annotations": {}}),
            json!({"stage": "RequestReceived"}),
            json!({"impersonatedUser": {"username": "bob"}}),
            json!({"objectRef": null}),
            json!({"responseStatus": null}),
        ] {
            assert_eq!(found(&other), 0, "{other}");
        }
    }

    #[test]
    fn a_list_of_very_many_is_cut() {
        let list = json!({"items": vec![event(&json!({})); MOST + 10]});
        assert_eq!(denied(list.to_string().as_bytes()).expect("a list").len(), MOST);
    }

    #[test]
    fn a_request_is_what_was_asked() {
        let change = json!({"objectRef": {"resource": "pods", "subresource": "log", "namespace": "shop", "name": "web", "apiGroup": ""}, "verb": "get"});
        let list = json!({"items": [event(&change)]});
        let requests = denied(list.to_string().as_bytes()).expect("a list");
        assert_eq!(requests[0].question.words(), "get pods/log web in namespace shop");
        assert_eq!(requests[0].at.to_string(), "2026-11-23T08:00:00.123456Z");
        assert!(denied(b"{\"items\": 1}").is_err() && denied(b"").is_err());
        assert_eq!(denied(b"{}").expect("an empty list").len(), 0);
    }
}
