//! A resource as it is answered.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::pushed::Resources;
use super::record::{Id, Record};
use super::schema::{core, extension};
use super::{Attributes, ResourceKind};

/// What a resource is shown with.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Where the Source is.
    pub base: &'a str,
    /// All resources of the Source: members that are none any more are not shown.
    pub resources: &'a Resources,
    /// The Groups that each User is in, if those are shown.
    pub memberships: Option<&'a HashMap<Id, Vec<(Id, String)>>>,
    /// Whether members are shown.
    pub members: bool,
}

/// Where a resource is.
pub fn location(base: &str, kind: ResourceKind, id: Id) -> String {
    format!("{base}/{}/{id}", kind.endpoint())
}

/// A resource with all that is told of it.
pub fn render(record: &Record, around: &Surroundings<'_>) -> Attributes {
    let mut shown = record.attributes();
    let extended = extension(record.kind).map(|schema| schema.id).filter(|id| shown.contains_key(*id));
    let schemas: Vec<&str> = [core(record.kind).id].into_iter().chain(extended).collect();
    shown.insert("schemas".to_owned(), json!(schemas));
    shown.insert("id".to_owned(), record.id.to_string().into());
    shown.insert(
        "meta".to_owned(),
        json!({
            "resourceType": record.kind.to_string(),
            "created": record.stamp.created,
            "lastModified": record.stamp.modified,
            "location": location(around.base, record.kind, record.id),
            "version": record.version(),
        }),
    );
    if let Some(groups) = around.memberships.and_then(|memberships| memberships.get(&record.id)) {
        shown.insert("groups".to_owned(), groups.iter().map(|group| membership(around.base, group)).collect());
    }
    if around.members && !record.members.is_empty() {
        let members: Vec<Value> = record.members.iter().filter_map(|id| member(around, *id)).collect();
        shown.insert("members".to_owned(), members.into());
    }
    shown
}

fn membership(base: &str, (id, name): &(Id, String)) -> Value {
    json!({"value": id.to_string(), "$ref": location(base, ResourceKind::Group, *id), "display": name, "type": "direct"})
}

fn member(around: &Surroundings<'_>, id: Id) -> Option<Value> {
    let kind = around.resources.kind(id)?;
    Some(json!({"value": id.to_string(), "$ref": location(around.base, kind, id), "type": kind.to_string()}))
}
