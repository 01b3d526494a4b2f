//! Manifests of usher's kinds out of files. Other kinds are passed over; what does not parse is an error that names file and field.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::metadata::GROUP;
use crate::plan::manifests::{Fields, Manifests, Named, title};

use super::Failure;

/// Loads all manifests of usher's kinds below a folder, or in a file.
///
/// # Errors
/// When a file cannot be read, or a manifest does not parse.
pub fn load(path: &Path) -> Result<Manifests, Failure> {
    let mut manifests = Manifests::default();
    let mut files = Vec::new();
    collect(path, &mut files)?;
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).map_err(|error| format!("{} is not YAML: {error}", file.display()))?;
        for document in documents {
            add(&mut manifests, document).map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    Ok(manifests)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let cannot = |error| format!("cannot read {}: {error}", path.display());
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(cannot)? {
        let inner = entry.map_err(cannot)?.path();
        if inner.is_dir() || is_manifest(&inner) {
            collect(&inner, files)?;
        }
    }
    Ok(())
}

/// Whether a path is a manifest by its ending.
fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending == *known))
}

fn add(manifests: &mut Manifests, mut document: Value) -> Result<(), Failure> {
    if let Some(items) = document.get_mut("items").and_then(Value::as_array_mut) {
        return std::mem::take(items).into_iter().try_for_each(|item| add(manifests, item));
    }
    let text = |key: &str| document.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if !version.starts_with(&format!("{GROUP}/")) {
        return Ok(());
    }
    match kind.as_str() {
        "Developer" => manifests.developers.push(parse(&mut manifests.fields, document)?),
        "Role" => manifests.roles.push(parse(&mut manifests.fields, document)?),
        "Binding" => manifests.bindings.push(parse(&mut manifests.fields, document)?),
        "Environment" => manifests.environments.push(parse(&mut manifests.fields, document)?),
        "Provider" => manifests.providers.push(parse(&mut manifests.fields, document)?),
        "Lock" => manifests.locks.push(parse(&mut manifests.fields, document)?),
        _ => {}
    }
    Ok(())
}

/// Parses one object as the API server would: null is left out, and a field that does not exist is an error.
fn parse<K: Named + DeserializeOwned>(fields: &mut Fields, mut document: Value) -> Result<K, Failure> {
    drop_nulls(&mut document);
    let called = format!(
        "{} {}",
        document.get("kind").and_then(Value::as_str).unwrap_or_default(),
        document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("without a name")
    );
    let object: K = serde_json::from_value(document.clone()).map_err(|error| format!("{called}: {error}"))?;
    let known = serde_json::to_value(&object)?;
    match unknown(document.get("spec"), known.get("spec"), "spec") {
        Some(field) => Err(format!("{called}: there is no field {field}; `kubectl explain` lists those that there are").into()),
        None => {
            let named = document.get("spec").and_then(Value::as_object).into_iter().flat_map(|spec| spec.keys().cloned());
            fields.insert(title(&object), named.collect());
            Ok(object)
        }
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, inner| !inner.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The first field that was written and is not read. What is at its default is not written again, so only keys with a value count.
fn unknown(written: Option<&Value>, read: Option<&Value>, path: &str) -> Option<String> {
    match (written?, read) {
        (Value::Object(written), Some(Value::Object(read))) => written.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match read.get(key) {
                None if !is_empty(value) => Some(path),
                inner => unknown(Some(value), inner, &path),
            }
        }),
        (Value::Array(written), Some(Value::Array(read))) => written
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(at, (value, inner))| unknown(Some(value), Some(inner), &format!("{path}[{at}]"))),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<Manifests, Failure> {
        let mut manifests = Manifests::default();
        add(&mut manifests, serde_saphyr::from_str(text)?)?;
        Ok(manifests)
    }

    #[test]
    fn a_field_that_does_not_exist_is_named() {
        let text = "{apiVersion: usher.dev/v1alpha1, kind: Role, metadata: {name: a}, spec: {access: [{name: x, enviroments: [dev], environments: [dev], clusterRoles: [view]}]}}";
        let error = load_text(text).expect_err("a typing error").to_string();
        assert!(error.contains("spec.access[0].enviroments"), "{error}");
    }

    #[test]
    fn null_is_left_out_and_other_kinds_are_passed_over() {
        let text = "{apiVersion: usher.dev/v1alpha1, kind: Developer, metadata: {name: a}, spec: {email: a@b.c, teams: null}}";
        assert_eq!(load_text(text).expect("parses").developers.len(), 1);
        assert!(load_text("{apiVersion: v1, kind: Role, metadata: {name: a}}").expect("passed over").roles.is_empty());
    }
}
