//! The operator's writes as requests to send again, taken from the audit log.

use jiff::Timestamp;
use serde_json::Value;

use crate::calls::Call;
use crate::support::audit::Event;

/// Whether it counts as a write of the operator's work: it changed something, and is neither a Lease nor an Event.
pub fn counts(event: &Event) -> bool {
    event.is_write() && !event.is_lease() && event.resource != "events" && event.code < 300
}

/// This moment, as the audit log writes it.
pub fn moment() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// The writes to send again, in the order in which the API server got them.
pub fn calls(events: &[Event]) -> Vec<Call> {
    let mut events: Vec<&Event> = events.iter().filter(|event| counts(event)).collect();
    events.sort_by(|one, other| one.received.cmp(&other.received));
    events.into_iter().map(call).collect()
}

fn call(event: &Event) -> Call {
    let (method, content_type) = match event.verb.as_str() {
        "create" => ("POST", "application/json"),
        "update" => ("PUT", "application/json"),
        "delete" => ("DELETE", "application/json"),
        // Server-side apply is what forces.
        "patch" if event.uri.contains("force=true") => ("PATCH", "application/apply-patch+yaml"),
        "patch" => ("PATCH", "application/merge-patch+json"),
        other => panic!("nobody knows how to {other} again"),
    };
    Call { chain: chain(event), method, uri: event.uri.clone(), content_type, body: event.body.as_deref().cloned().map(fresh) }
}

/// Another control plane has other versions and UIDs.
fn fresh(mut body: Value) -> Value {
    if let Some(meta) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.retain(|key, _| key != "resourceVersion" && key != "uid");
    }
    if let Some(body) = body.as_object_mut() {
        body.remove("preconditions");
    }
    body
}

/// The person for whom it is, or else the object.
fn chain(event: &Event) -> String {
    let label = event.body.as_ref().and_then(|body| body.pointer("/metadata/labels/usher.dev~1developer"));
    if let Some(name) = label.and_then(Value::as_str) {
        return name.to_owned();
    }
    match event.resource.as_str() {
        "developers" => event.name.clone(),
        // A token: <name>-<digest of the person>.
        "serviceaccounts" => event.name.rsplit_once('-').map_or_else(|| event.name.clone(), |(name, _)| name.to_owned()),
        _ => format!("{}/{}/{}", event.resource, event.namespace, event.name_or_body()),
    }
}

trait Named {
    fn name_or_body(&self) -> &str;
}

impl Named for Event {
    /// A create names its object only in the body.
    fn name_or_body(&self) -> &str {
        let in_body = || self.body.as_ref().and_then(|body| body.pointer("/metadata/name")).and_then(Value::as_str);
        if self.name.is_empty() { in_body().unwrap_or_default() } else { &self.name }
    }
}
