//! Every manifest on a page is one that the API server would take.

use serde::de::DeserializeOwned;
use serde_json::Value;
use usher::api::{Binding, Developer, Environment, Provider, Role, Source};

use super::{blocks, pages};

#[test]
fn every_manifest_on_a_page_parses_as_its_kind() {
    let mut ours = 0;
    for (path, text) in pages() {
        for block in blocks(&text, "yaml") {
            let documents: Vec<Value> =
                serde_saphyr::from_multiple(&block).unwrap_or_else(|error| panic!("{}: {error}\n{block}", path.display()));
            for document in documents {
                if document["apiVersion"] == "usher.dev/v1alpha1" {
                    ours += 1;
                    check(&document).unwrap_or_else(|problem| panic!("{}: {problem}\n{block}", path.display()));
                }
            }
        }
    }
    assert!(ours > 5, "pages show manifests, so if none is found the search is wrong");
}

pub fn check(document: &Value) -> Result<(), String> {
    match document["kind"].as_str().unwrap_or_default() {
        "Developer" => same::<Developer>(document),
        "Role" => same::<Role>(document),
        "Binding" => same::<Binding>(document),
        "Environment" => same::<Environment>(document),
        "Provider" => same::<Provider>(document),
        "Source" => same::<Source>(document),
        other => Err(format!("{other} is not a kind that people write")),
    }
}

/// Parses, and every field that was written is still there: a misspelt one would be gone.
fn same<K: DeserializeOwned + serde::Serialize>(document: &Value) -> Result<(), String> {
    let object: K = serde_json::from_value(document.clone()).map_err(|error| error.to_string())?;
    let again = serde_json::to_value(&object).map_err(|error| error.to_string())?;
    lost(document, &again, "").map_or(Ok(()), |path| Err(format!("there is no field {path}")))
}

/// The first field that is in `before` and not in `after`.
fn lost(before: &Value, after: &Value, path: &str) -> Option<String> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => before.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match after.get(name) {
                Some(found) => lost(value, found, &path),
                // What is as the default says is left out again.
                None if value.is_null() || *value == Value::Bool(false) || value.as_array().is_some_and(Vec::is_empty) => None,
                None => Some(path),
            }
        }),
        (Value::Array(before), Value::Array(after)) => {
            before.iter().zip(after).find_map(|(before, after)| lost(before, after, &format!("{path}[]")))
        }
        _ => None,
    }
}
