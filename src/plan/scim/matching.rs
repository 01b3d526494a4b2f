//! Whether a resource fits a filter (RFC 7644, section 3.4.2.2).

use std::cmp::Ordering;

use serde_json::Value;

use super::Attributes;
use super::filter::{Filter, Operator};
use super::path::Target;
use super::schema::{Attribute, Type};

/// Whether something fits: a resource, or one of several values of an attribute.
pub fn fits(filter: &Filter, attributes: &Attributes) -> bool {
    match filter {
        Filter::And(one, other) => fits(one, attributes) && fits(other, attributes),
        Filter::Or(one, other) => fits(one, attributes) || fits(other, attributes),
        Filter::Not(inner) => !fits(inner, attributes),
        Filter::Present(target) => values(target, attributes).into_iter().any(is_present),
        Filter::Within(target, inner) => {
            let elements = whole(target, attributes).into_iter().filter_map(Value::as_object);
            elements.into_iter().any(|element| fits(inner, element))
        }
        // What is not there is nothing else than what was asked for.
        Filter::Compare(target, Operator::NotEqual, wanted) => {
            let there = values(target, attributes);
            let nothing = wanted.is_null() && there.is_empty();
            !nothing && !there.into_iter().any(|value| compares(target.compared(), value, Operator::Equal, wanted))
        }
        Filter::Compare(target, Operator::Equal, Value::Null) => !values(target, attributes).into_iter().any(is_present),
        Filter::Compare(target, operator, wanted) => {
            values(target, attributes).into_iter().any(|value| compares(target.compared(), value, *operator, wanted))
        }
    }
}

fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The values of an attribute, each for itself.
fn whole<'a>(target: &Target, attributes: &'a Attributes) -> Vec<&'a Value> {
    let holder = match target.extension {
        Some(schema) => attributes.get(schema.id).and_then(Value::as_object),
        None => Some(attributes),
    };
    match holder.and_then(|holder| holder.get(target.attribute.name)) {
        Some(Value::Array(all)) => all.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

/// What is compared of an attribute.
fn values<'a>(target: &Target, attributes: &'a Attributes) -> Vec<&'a Value> {
    let whole = whole(target, attributes);
    match target.part.or_else(|| target.attribute.part("value")) {
        Some(part) => whole.into_iter().filter_map(|value| value.get(part.name)).collect(),
        None => whole,
    }
}

/// Whether a value compares so with what is wanted.
fn compares(attribute: &Attribute, value: &Value, operator: Operator, wanted: &Value) -> bool {
    if attribute.kind == Type::Boolean {
        return operator == Operator::Equal && truth(value).is_some() && truth(value) == truth(wanted);
    }
    let (Some(value), Some(wanted)) = (text(attribute, value), text(attribute, wanted)) else { return false };
    let order = value.cmp(&wanted);
    match operator {
        Operator::Equal => order == Ordering::Equal,
        Operator::NotEqual => order != Ordering::Equal,
        Operator::Contains => value.contains(&wanted),
        Operator::StartsWith => value.starts_with(&wanted),
        Operator::EndsWith => value.ends_with(&wanted),
        Operator::Greater => order == Ordering::Greater,
        Operator::GreaterOrEqual => order != Ordering::Less,
        Operator::Less => order == Ordering::Less,
        Operator::LessOrEqual => order != Ordering::Greater,
    }
}

/// True or false, as senders write it: Entra ID sends `roles[primary eq "True"]`.
pub fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Text as it is compared.
fn text(attribute: &Attribute, value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    Some(if attribute.case_exact { text } else { text.to_lowercase() })
}
