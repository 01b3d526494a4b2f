//! A resource as somebody sent it, made one of its schema: names in the case of letters that the schema has, values of its types. Senders' habits are served (booleans as
//! strings, one value where several may be, names with dots); what is no attribute that is kept is left out.

use serde_json::{Map, Value};

use super::error::{ScimError, quoted};
use super::matching::truth;
use super::path::{Scope, Target, resolve};
use super::schema::{Attribute, Mutability, Type, core, extension};
use super::{Attributes, ResourceKind};

/// The most values of one attribute, but for members, and the longest text.
const MOST_VALUES: usize = 100;
const LONGEST_TEXT: usize = 4_096;

/// Takes in the body of a POST or PUT.
pub fn take_in(kind: ResourceKind, body: &Value) -> Result<Attributes, ScimError> {
    let Value::Object(body) = body else { return Err(ScimError::syntax(format!("a {kind} is an object of JSON"))) };
    let mut attributes = Attributes::new();
    for (name, value) in body {
        if let Some(schema) = extension(kind).filter(|schema| schema.id.eq_ignore_ascii_case(name)) {
            let inner = match value {
                Value::Object(inner) => inner,
                Value::Null => continue,
                _ => return Err(ScimError::value(format!("{} is an object", schema.id))),
            };
            let extended = values(|name| super::schema::find(schema.attributes, name), inner)?;
            if !extended.is_empty() {
                attributes.insert(schema.id.to_owned(), Value::Object(extended));
            }
        } else if let Some(target) = resolve(Scope::Resource(kind), name) {
            put(&mut attributes, target, value)?;
        }
    }
    check(kind, &attributes)?;
    Ok(attributes)
}

/// What a PUT makes of a resource: what was sent; and where that is silent about whether she may have anything, or who she is, what was said of it before (RFC 7644,
/// section 3.5.1, leaves that to the server). It may not have been carried out yet.
pub fn replaced(before: &Attributes, sent: &Attributes) -> Attributes {
    let mut replaced = sent.clone();
    for name in ["active", "externalId"] {
        if let (Some(value), None) = (before.get(name), sent.get(name)) {
            replaced.insert(name.to_owned(), value.clone());
        }
    }
    replaced
}

/// Puts a value where a name points that may have a dot or an URN in it.
fn put(attributes: &mut Attributes, target: Target, value: &Value) -> Result<(), ScimError> {
    if target.attribute.mutability == Mutability::ReadOnly {
        return Ok(());
    }
    let value = match target.part {
        Some(part) => value_of(part, value)?.map(|value| Value::Object(Map::from_iter([(part.name.to_owned(), value)]))),
        None => value_of(target.attribute, value)?,
    };
    let Some(value) = value else { return Ok(()) };
    let Some(holder) = holder(attributes, target) else { return Ok(()) };
    match (holder.get_mut(target.attribute.name), value) {
        (Some(Value::Object(there)), Value::Object(more)) => there.extend(more),
        (Some(Value::Array(there)), Value::Object(more)) => there.push(Value::Object(more)),
        (_, Value::Object(more)) if target.attribute.multi => {
            holder.insert(target.attribute.name.to_owned(), Value::Array(vec![Value::Object(more)]));
        }
        (_, value) => drop(holder.insert(target.attribute.name.to_owned(), value)),
    }
    Ok(())
}

/// The map that an attribute stands in.
pub fn holder(attributes: &mut Attributes, target: Target) -> Option<&mut Attributes> {
    match target.extension {
        Some(schema) => attributes.entry(schema.id).or_insert_with(|| Value::Object(Map::new())).as_object_mut(),
        None => Some(attributes),
    }
}

/// What must hold of every resource.
pub fn check(kind: ResourceKind, attributes: &Attributes) -> Result<(), ScimError> {
    for required in core(kind).attributes.iter().filter(|attribute| attribute.required) {
        let there = attributes.get(required.name).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty());
        if !there {
            return Err(ScimError::value(format!("a {kind} has a {0}; send {0} with some text", required.name)));
        }
    }
    for (name, value) in attributes {
        let Value::Array(values) = value else { continue };
        if values.iter().filter(|value| value.get("primary") == Some(&Value::Bool(true))).count() > 1 {
            return Err(ScimError::value(format!("several values of {name} are primary; one is enough")));
        }
    }
    Ok(())
}

/// The values of an object, by the attributes that it may have.
pub fn values(of: impl Fn(&str) -> Option<&'static Attribute>, object: &Map<String, Value>) -> Result<Map<String, Value>, ScimError> {
    let mut taken = Map::new();
    for (name, value) in object {
        let Some(attribute) = of(name).filter(|attribute| attribute.mutability != Mutability::ReadOnly) else { continue };
        if let Some(value) = value_of(attribute, value)? {
            taken.insert(attribute.name.to_owned(), value);
        }
    }
    Ok(taken)
}

/// A value as its attribute has it; nothing if that is none (null and the empty list are, by RFC 7643, section 2.5).
pub fn value_of(attribute: &'static Attribute, value: &Value) -> Result<Option<Value>, ScimError> {
    if !attribute.multi {
        return one(attribute, value);
    }
    let several = match value {
        Value::Array(several) => several.as_slice(),
        only => std::slice::from_ref(only),
    };
    if several.len() > MOST_VALUES && attribute.name != "members" {
        return Err(ScimError::value(format!("{} has {} values; {MOST_VALUES} are the most", attribute.name, several.len())));
    }
    let mut taken = Vec::new();
    for value in several {
        taken.extend(one(attribute, value)?);
    }
    Ok((!taken.is_empty()).then_some(Value::Array(taken)))
}

/// One value.
pub fn one(attribute: &'static Attribute, value: &Value) -> Result<Option<Value>, ScimError> {
    let wrong = |wanted: &str| {
        let sent = quoted(&value.to_string());
        ScimError::value(format!("{} is {wanted}, and {sent} is not", attribute.name))
    };
    Ok(Some(match (attribute.kind, value) {
        (_, Value::Null) => return Ok(None),
        (Type::Complex, Value::Object(object)) => {
            let parts = values(|name| attribute.part(name), object)?;
            if parts.is_empty() {
                return Ok(None);
            }
            Value::Object(parts)
        }
        // Entra ID sends the manager's id where an object should be.
        (Type::Complex, Value::String(_) | Value::Number(_)) => match attribute.part("value") {
            Some(part) => match one(part, value)? {
                Some(value) => Value::Object(Map::from_iter([(part.name.to_owned(), value)])),
                None => return Ok(None),
            },
            None => return Err(wrong("an object")),
        },
        (Type::Complex, _) => return Err(wrong("an object")),
        (Type::Boolean, value) => Value::Bool(truth(value).ok_or_else(|| wrong("true or false"))?),
        (_, Value::Number(number)) => Value::String(number.to_string()),
        (_, Value::String(text)) if text.len() > LONGEST_TEXT => return Err(wrong(&format!("a text of {LONGEST_TEXT} bytes at most"))),
        (_, Value::String(text)) => Value::String(text.clone()),
        (_, _) => return Err(wrong("a text")),
    }))
}
