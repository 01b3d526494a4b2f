//! PATCH (RFC 7644, section 3.5.2), as senders write it: operations in any case of letters, values without a path, paths with a filter for what is not there yet. All of a
//! request is carried out, or none of it; a request of which nothing is understood is an error, so that no sender takes a leaver for gone whom nobody has suspended.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::error::{ScimError, ScimType, quoted};
use super::filter::Filter;
use super::matching::fits;
use super::path::{PatchPath, Target, patch_path};
use super::resource::{check, holder, value_of, values};
use super::schema::{Attribute, Mutability, Schema, find};
use super::{Attributes, ResourceKind};

/// The most operations of one request.
const MOST_OPERATIONS: usize = 1_000;
/// So many names that are not understood are told.
const SAMPLE: usize = 5;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

/// One operation.
#[derive(Debug)]
struct Operation<'a> {
    verb: Verb,
    path: Option<&'a str>,
    value: Option<&'a Value>,
}

/// Carries out a request on a resource. Members stand in it as objects with a value.
pub fn patch(kind: ResourceKind, attributes: &Attributes, body: &Value) -> Result<Attributes, ScimError> {
    let operations = operations(body)?;
    let mut patcher = Patcher { kind, attributes: attributes.clone(), understood: 0, unknown: Vec::new() };
    for operation in &operations {
        patcher.apply(operation)?;
    }
    if patcher.understood == 0 {
        let names = patcher.unknown.iter().take(SAMPLE).map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let detail = format!("nothing of this is kept here: {names}; /Schemas has what is, so take the others out of what is sent");
        return Err(ScimError::bad(ScimType::InvalidPath, detail));
    }
    let mut patched = patcher.attributes;
    tidy(&mut patched);
    check(kind, &patched)?;
    Ok(patched)
}

/// The operations of a body.
fn operations(body: &Value) -> Result<Vec<Operation<'_>>, ScimError> {
    let list = field(body, "Operations").and_then(Value::as_array);
    let list = list.ok_or_else(|| ScimError::syntax("a PATCH has a list called Operations"))?;
    if list.is_empty() || list.len() > MOST_OPERATIONS {
        return Err(ScimError::syntax(format!("a PATCH has between 1 and {MOST_OPERATIONS} Operations, and this has {}", list.len())));
    }
    let operation = |operation| {
        let word = field(operation, "op").and_then(Value::as_str).unwrap_or_default();
        let verb = match word.to_ascii_lowercase().as_str() {
            "add" => Verb::Add,
            "replace" => Verb::Replace,
            "remove" => Verb::Remove,
            _ => return Err(ScimError::syntax(format!("op is {}; it is add, replace or remove", quoted(word)))),
        };
        let path = match field(operation, "path") {
            None | Some(Value::Null) => None,
            Some(Value::String(path)) => Some(path.as_str()).filter(|path| !path.trim().is_empty()),
            Some(_) => return Err(ScimError::bad(ScimType::InvalidPath, "a path is a text")),
        };
        Ok(Operation { verb, path, value: field(operation, "value") })
    };
    list.iter().map(operation).collect()
}

/// A field of an object, in whatever case of letters.
fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// What is changed, and what was understood so far.
struct Patcher {
    kind: ResourceKind,
    attributes: Attributes,
    understood: usize,
    unknown: Vec<String>,
}

impl Patcher {
    fn apply(&mut self, operation: &Operation<'_>) -> Result<(), ScimError> {
        let Some(path) = operation.path else { return self.apply_whole(operation) };
        match patch_path(self.kind, path)? {
            None => self.unknown.push(path.to_owned()),
            Some(PatchPath::Whole) => return self.apply_whole(operation),
            Some(PatchPath::Extension(schema)) => self.apply_extension(operation.verb, schema, operation.value)?,
            Some(PatchPath::Attribute(target, filter)) => {
                let changed = target.part.map_or(target.attribute.mutability, |part| part.mutability.max(target.attribute.mutability));
                if changed == Mutability::ReadOnly {
                    let detail = format!("{} is said by usher, and not by the sender: take it out of what is sent", quoted(path));
                    return Err(ScimError::bad(ScimType::Mutability, detail));
                }
                self.apply_to(operation.verb, target, filter.as_ref(), operation.value)?;
                self.understood += 1;
            }
        }
        Ok(())
    }

    /// Without a path: each name of the value is one, with an URN or dots or a filter in it as the sender likes.
    fn apply_whole(&mut self, operation: &Operation<'_>) -> Result<(), ScimError> {
        if operation.verb == Verb::Remove {
            return Err(ScimError::bad(ScimType::NoTarget, "a remove says by its path what is removed; DELETE removes the resource"));
        }
        let Some(Value::Object(object)) = operation.value else {
            return Err(ScimError::syntax("without a path the value is an object whose names are attributes"));
        };
        for (name, value) in object {
            match patch_path(self.kind, name)? {
                Some(PatchPath::Attribute(target, filter)) if target.attribute.mutability != Mutability::ReadOnly => {
                    self.apply_to(operation.verb, target, filter.as_ref(), Some(value))?;
                    self.understood += 1;
                }
                Some(PatchPath::Extension(schema)) => self.apply_extension(Verb::Add, schema, Some(value))?,
                Some(PatchPath::Attribute(..) | PatchPath::Whole) | None => self.unknown.push(name.clone()),
            }
        }
        Ok(())
    }

    fn apply_extension(&mut self, verb: Verb, schema: &'static Schema, value: Option<&Value>) -> Result<(), ScimError> {
        self.understood += 1;
        let Some(Value::Object(value)) = value.filter(|_| verb != Verb::Remove) else {
            return match (verb, value) {
                (Verb::Remove, _) | (Verb::Replace, Some(Value::Null)) => {
                    self.attributes.remove(schema.id);
                    Ok(())
                }
                _ => Err(ScimError::value(format!("{} is an object", schema.id))),
            };
        };
        if verb == Verb::Replace {
            self.attributes.remove(schema.id);
        }
        for (name, value) in value {
            match find(schema.attributes, name) {
                Some(attribute) => self.apply_to(verb, Target { extension: Some(schema), attribute, part: None }, None, Some(value))?,
                None => self.unknown.push(name.clone()),
            }
        }
        Ok(())
    }

    fn apply_to(&mut self, verb: Verb, target: Target, filter: Option<&Filter>, value: Option<&Value>) -> Result<(), ScimError> {
        let Some(holder) = holder(&mut self.attributes, target) else { return Ok(()) };
        match filter {
            Some(filter) => apply_filtered(holder, verb, target, filter, value),
            None => apply_plain(holder, verb, target, value),
        }
    }
}

/// What a value says, where one is needed: null is none, which removes.
fn said(verb: Verb, attribute: &Attribute, value: Option<&Value>) -> Result<(), ScimError> {
    if verb != Verb::Remove && value.is_none() {
        return Err(ScimError::value(format!("what {} should be stands in value, and there is none", attribute.name)));
    }
    Ok(())
}

/// An attribute, or a part of it, whatever its values are.
fn apply_plain(holder: &mut Attributes, verb: Verb, target: Target, value: Option<&Value>) -> Result<(), ScimError> {
    let attribute = target.attribute;
    said(verb, attribute, value)?;
    if let Some(part) = target.part {
        return apply_part(holder, verb, attribute, part, value);
    }
    if verb == Verb::Remove {
        return remove(holder, attribute, value);
    }
    let new = value_of(attribute, value.unwrap_or(&Value::Null))?;
    match (holder.get_mut(attribute.name), new) {
        // Adding nothing adds nothing, and nothing in its place is nothing.
        (_, None) if verb == Verb::Add => {}
        (_, None) => drop(holder.remove(attribute.name)),
        (Some(Value::Array(there)), Some(Value::Array(more))) if verb == Verb::Add => append(there, more),
        (Some(Value::Object(there)), Some(Value::Object(more))) => there.extend(more),
        (_, Some(new)) => drop(holder.insert(attribute.name.to_owned(), new)),
    }
    Ok(())
}

/// Takes away an attribute; of several values only those that are named, where the sender names some.
fn remove(holder: &mut Attributes, attribute: &'static Attribute, value: Option<&Value>) -> Result<(), ScimError> {
    if attribute.required {
        let detail = format!("every resource has a {0}; replace it, and do not remove it", attribute.name);
        return Err(ScimError::bad(ScimType::Mutability, detail));
    }
    let named = value.filter(|value| attribute.multi && !value.is_null());
    match (named, holder.get_mut(attribute.name)) {
        (Some(value), Some(Value::Array(there))) => {
            let named = value_of(attribute, value)?;
            let keys: HashSet<String> = named.iter().filter_map(Value::as_array).flatten().map(key).collect();
            there.retain(|value| !keys.contains(&key(value)));
        }
        (Some(_), _) => {}
        (None, _) => drop(holder.remove(attribute.name)),
    }
    Ok(())
}

/// A part of an attribute; of several values a part of each.
fn apply_part(
    holder: &mut Attributes,
    verb: Verb,
    attribute: &'static Attribute,
    part: &'static Attribute,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    let new = if verb == Verb::Remove { None } else { value_of(part, value.unwrap_or(&Value::Null))? };
    match holder.get_mut(attribute.name) {
        Some(Value::Array(there)) => there.iter_mut().filter_map(Value::as_object_mut).for_each(|it| set(it, part, new.clone())),
        Some(Value::Object(there)) => set(there, part, new),
        _ => {
            let Some(new) = new else { return Ok(()) };
            let object = Value::Object(Map::from_iter([(part.name.to_owned(), new)]));
            holder.insert(attribute.name.to_owned(), if attribute.multi { Value::Array(vec![object]) } else { object });
        }
    }
    Ok(())
}

/// Those of several values that fit a filter. Where none does, the one that the filter describes is made.
fn apply_filtered(holder: &mut Attributes, verb: Verb, target: Target, filter: &Filter, value: Option<&Value>) -> Result<(), ScimError> {
    let attribute = target.attribute;
    said(verb, attribute, value)?;
    let there = holder.entry(attribute.name).or_insert_with(|| Value::Array(Vec::new()));
    if !there.is_array() {
        *there = Value::Array(vec![there.take()]);
    }
    let Value::Array(elements) = there else { return Ok(()) };
    let is_meant = |element: &Value| element.as_object().is_some_and(|element| fits(filter, element));
    if verb == Verb::Remove && target.part.is_none() {
        elements.retain(|element| !is_meant(element));
        return single(holder, attribute);
    }
    let new = parts(verb, target, value)?;
    let mut meant = false;
    for element in elements.iter_mut().filter(|element| is_meant(element)) {
        meant = true;
        match (element.as_object_mut(), target.part) {
            (Some(element), Some(part)) => set(element, part, new.get(part.name).cloned()),
            (Some(element), None) => element.extend(new.clone()),
            (None, _) => {}
        }
    }
    if !meant && verb != Verb::Remove {
        let demands = filter.demands().ok_or_else(|| {
            ScimError::bad(
                ScimType::NoTarget,
                format!("no value of {} fits that filter, nor does it say what such a one is", attribute.name),
            )
        })?;
        let demands: Map<String, Value> = demands.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        let mut made = values(|name| attribute.part(name), &demands)?;
        made.extend(new);
        append(elements, vec![Value::Object(made)]);
    }
    single(holder, attribute)
}

/// What a value says of the parts of one element.
fn parts(verb: Verb, target: Target, value: Option<&Value>) -> Result<Map<String, Value>, ScimError> {
    let value = value.filter(|_| verb != Verb::Remove).unwrap_or(&Value::Null);
    if let Some(part) = target.part {
        let value = value_of(part, value)?;
        return Ok(value.into_iter().map(|value| (part.name.to_owned(), value)).collect());
    }
    let first = match value {
        Value::Array(several) => several.first().unwrap_or(&Value::Null),
        one => one,
    };
    Ok(match super::resource::one(target.attribute, first)? {
        Some(Value::Object(parts)) => parts,
        _ => Map::new(),
    })
}

/// An attribute that has one value only has it as such.
fn single(holder: &mut Attributes, attribute: &Attribute) -> Result<(), ScimError> {
    if attribute.multi {
        return Ok(());
    }
    let Some(Value::Array(mut elements)) = holder.remove(attribute.name) else { return Ok(()) };
    match (elements.pop(), elements.is_empty()) {
        (Some(only), true) => drop(holder.insert(attribute.name.to_owned(), only)),
        (Some(_), false) => return Err(ScimError::value(format!("{} has one value only", attribute.name))),
        (None, _) => {}
    }
    Ok(())
}

fn set(element: &mut Map<String, Value>, part: &Attribute, new: Option<Value>) {
    match new {
        Some(new) => drop(element.insert(part.name.to_owned(), new)),
        None => drop(element.remove(part.name)),
    }
}

/// Adds values that are not there yet; the last that is primary is the only one.
fn append(there: &mut Vec<Value>, more: Vec<Value>) {
    let mut keys: HashSet<String> = there.iter().map(key).collect();
    for value in more {
        if !keys.insert(key(&value)) {
            continue;
        }
        if value.get("primary") == Some(&Value::Bool(true)) {
            let others = there.iter_mut().filter_map(Value::as_object_mut).filter(|it| it.contains_key("primary"));
            others.for_each(|other| drop(other.insert("primary".to_owned(), Value::Bool(false))));
        }
        there.push(value);
    }
}

/// By what values are the same: members by their id, whatever else is said of them; others by all that they are.
fn key(value: &Value) -> String {
    let member = value.get("value").and_then(Value::as_str).filter(|_| value.get("display").is_none() && value.get("primary").is_none());
    match (member, value.get("type").and_then(Value::as_str)) {
        (Some(id), None | Some("User" | "Group")) => id.to_owned(),
        _ => value.to_string(),
    }
}

/// Lists and objects without anything in them are none.
fn tidy(attributes: &mut Attributes) {
    for value in attributes.values_mut() {
        if let Value::Array(values) = value {
            values.retain(|value| !is_empty(value));
        }
        if let Value::Object(inner) = value {
            inner.retain(|_, value| !is_empty(value));
        }
    }
    attributes.retain(|_, value| !is_empty(value));
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(inner) => inner.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
