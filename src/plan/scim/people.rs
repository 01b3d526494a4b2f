//! What a Source makes of what was pushed: people and groups, as any other source tells of them. There is no read of it that could be cut short: what was answered is here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::source::mapping::Mapping;
use super::super::source::{Found, Person};
use super::path::{Scope, resolve};
use super::pushed::{counting, left_over};
use super::record::{Record, text};
use super::{Attributes, ResourceKind};

/// What is left over goes after this: until then a replica may be about to go on with it.
const SETTLED: SignedDuration = SignedDuration::from_mins(1);
/// That somebody was deleted is noted for this time at least, so that a Developer who is only just being made is not missed.
const NOTED: SignedDuration = SignedDuration::from_mins(10);

/// Everybody who was pushed, with the attributes and groups that a mapping needs.
pub fn found(records: &[Arc<Record>], mapping: &Mapping) -> Found {
    let counting = counting(records);
    let keys = mapping.attributes();
    let mut found = Found::default();
    let mut groups: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for group in counting.values().filter(|record| record.kind == ResourceKind::Group && record.stamp.deleted.is_none()) {
        let name = text(&group.attributes(), "displayName").to_owned();
        if mapping.teams.names(&name) {
            for member in &group.members {
                groups.entry(*member).or_default().insert(group.id.to_string());
            }
            found.groups.insert(group.id.to_string(), name);
        }
    }
    let (gone, there): (Vec<_>, Vec<_>) =
        counting.values().filter(|record| record.kind == ResourceKind::User).partition(|record| record.stamp.deleted.is_some());
    for record in there {
        let groups = groups.remove(&record.id).unwrap_or_default();
        found.people.push(person(record, &keys, groups));
    }
    // Whoever was deleted and pushed again is there.
    let ids: BTreeSet<String> = found.people.iter().filter_map(|person| mapping.person_id(person)).collect();
    let gone = gone.into_iter().map(|record| Person { gone: true, active: Some(false), ..person(record, &keys, BTreeSet::new()) });
    found.people.extend(gone.filter(|person| mapping.person_id(person).is_some_and(|id| !ids.contains(&id))));
    found
}

fn person(record: &Record, keys: &BTreeSet<String>, groups: BTreeSet<String>) -> Person {
    let attributes = record.attributes();
    let known = keys.iter().filter_map(|key| Some((key.clone(), attribute(record, &attributes, key)?))).collect();
    let active = attributes.get("active").and_then(Value::as_bool);
    Person { id: record.id.to_string(), attributes: known, groups, active, gone: false, recorded_at: None }
}

/// What a key of a mapping stands for: an attribute, of several values the primary one or the first; and what senders say in different ways.
fn attribute(record: &Record, attributes: &Attributes, key: &str) -> Option<String> {
    match key {
        "id" => Some(record.id.to_string()),
        "login" => text(attributes, "userName").split('@').next().map(str::to_owned),
        "email" => address(attributes),
        "displayName" => called(attributes),
        _ => plain(attributes, key),
    }
}

fn plain(attributes: &Attributes, key: &str) -> Option<String> {
    let target = resolve(Scope::Resource(ResourceKind::User), key)?;
    let holder = match target.extension {
        Some(schema) => attributes.get(schema.id)?.as_object()?,
        None => attributes,
    };
    let part = target.part.or_else(|| target.attribute.part("value"));
    let value = match holder.get(target.attribute.name)? {
        Value::Array(several) => several.iter().find(|it| it.get("primary") == Some(&Value::Bool(true))).or_else(|| several.first())?,
        one => one,
    };
    let value = part.map_or(Some(value), |part| value.get(part.name))?;
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// Her address: the primary one, else that for work, else the first, else the login if that is one.
fn address(attributes: &Attributes) -> Option<String> {
    let several = attributes.get("emails").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is = |name: &'static str, wanted: Value| several.iter().find(move |it| it.get(name) == Some(&wanted));
    let chosen = is("primary", true.into()).or_else(|| is("type", "work".into())).or_else(|| several.first());
    let email = chosen.and_then(|it| it.get("value")).and_then(Value::as_str).map(str::to_owned);
    email.or_else(|| Some(text(attributes, "userName").to_owned()).filter(|login| login.contains('@')))
}

/// Her name as people say it: the one for that, else the whole, else its parts.
fn called(attributes: &Attributes) -> Option<String> {
    let part = |name: &str| attributes.get("name")?.get(name)?.as_str().map(str::to_owned);
    let parts = [part("givenName"), part("familyName")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let shown = Some(text(attributes, "displayName").to_owned()).filter(|name| !name.is_empty());
    shown.or_else(|| part("formatted")).or_else(|| Some(parts).filter(|name| !name.is_empty()))
}

/// Records that are of no use any more: what is left of a move, and the notes of those who are nobody's Developer any more. `lasts` says by personId whether the Source has a
/// Developer who has not departed.
pub fn spent(records: &[Arc<Record>], mapping: &Mapping, lasts: impl Fn(&str) -> bool, now: Timestamp) -> Vec<Arc<Record>> {
    let older = |text: &str, than: SignedDuration| text.parse::<Timestamp>().is_ok_and(|at| now.duration_since(at) > than);
    let mut spent = left_over(records);
    spent.retain(|record| older(&record.stamp.modified, SETTLED));
    let keys = mapping.attributes();
    let is_done = |record: &Record| {
        let known = mapping.person_id(&person(record, &keys, BTreeSet::new()));
        known.is_none_or(|id| !lasts(&id))
    };
    let noted = records.iter().filter(|record| record.stamp.deleted.as_ref().is_some_and(|at| older(at, NOTED)));
    spent.extend(noted.filter(|record| is_done(record)).cloned());
    spent
}
