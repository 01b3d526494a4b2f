//! What is generated is fresh, what is shipped is valid, and every field explains itself.

use std::collections::BTreeSet;
use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool};
use serde_json::Value;
use usher::api::Reason;
use usher::plan::cluster::ClusterKey;

use crate::cluster_model::{Model, Task};
use crate::docs::manifests::check as parses;
use crate::worlds::noon;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_definitions_are_fresh() {
    let mut folders: BTreeSet<_> = BTreeSet::new();
    let mut expected: BTreeSet<_> = BTreeSet::new();
    for (path, text) in usher::cli::crds::files() {
        let there = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
        assert!(there == text, "{} is stale: run `make crds`", path.display());
        folders.extend(path.parent().map(Path::to_owned));
        expected.insert(path);
    }
    for folder in folders {
        for entry in std::fs::read_dir(root().join(&folder)).expect("a folder") {
            let path = folder.join(entry.expect("an entry").file_name());
            assert!(expected.contains(&path), "{} is not generated any more: delete it", path.display());
        }
    }
}

/// The definitions are what the types say, and the chart's differ by the annotation that keeps them alone.
#[test]
fn the_definitions_say_what_the_types_say() {
    let defined: Vec<Value> = usher::api::crds().iter().map(|crd| serde_json::to_value(crd).expect("a definition")).collect();
    for (at, folder) in ["crds", "charts/usher/templates/crds"].into_iter().enumerate() {
        for wanted in &defined {
            let file = format!("{folder}/{}.yaml", wanted["spec"]["names"]["plural"].as_str().expect("a name"));
            let text = std::fs::read_to_string(root().join(&file)).expect("it is there");
            let mut found: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
            let kept = found["metadata"].as_object_mut().expect("metadata").remove("annotations");
            assert_eq!(kept.is_some(), at == 1, "{file}: the chart keeps definitions when it is removed, crds/ has nothing of Helm");
            if let Some(kept) = kept {
                assert_eq!(kept["helm.sh/resource-policy"], "keep", "{file}");
            }
            assert_eq!(found["spec"], wanted["spec"], "{file}");
        }
    }
}

#[test]
fn every_field_explains_itself() {
    let mut silent = Vec::new();
    for crd in usher::api::crds() {
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()).expect("a schema");
            fields(schema, &crd.spec.names.kind, &mut silent);
        }
    }
    assert!(silent.is_empty(), "kubectl explain would say nothing of: {silent:#?}");
}

fn fields(schema: &JSONSchemaProps, path: &str, silent: &mut Vec<String>) {
    for (name, property) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        if property.description.as_ref().is_none_or(|text| text.trim().len() < 4) {
            silent.push(path.clone());
        }
        fields(property, &path, silent);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        fields(items, &format!("{path}[]"), silent);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        fields(values, &format!("{path}.*"), silent);
    }
}

/// Pain 11: for a list, left out is one thing, `[]` another, and null is neither.
#[test]
fn no_field_takes_null() {
    fn nullable(schema: &JSONSchemaProps) -> bool {
        let inner = schema.properties.iter().flatten().map(|(_, property)| property);
        let items = schema.items.iter().filter_map(|items| match items {
            JSONSchemaPropsOrArray::Schema(items) => Some(items.as_ref()),
            JSONSchemaPropsOrArray::Schemas(_) => None,
        });
        schema.nullable == Some(true) || inner.chain(items).any(nullable)
    }
    for crd in usher::api::crds() {
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()).expect("a schema");
            assert!(!nullable(schema), "{}", crd.spec.names.kind);
        }
    }
}

fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("readable");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

fn yaml_files(folder: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

/// A world of these documents, with namespaces labelled as the examples say, planned to its end.
fn planned(documents: &[Value]) -> Model {
    let mut model = Model::new(noon(), [ClusterKey::Home]);
    for env in ["dev", "staging", "prod"] {
        let labels = [("env", env), ("team", "payments")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        model.set_namespace(&ClusterKey::Home, &format!("payments-{env}"), Some(labels.into()));
    }
    for document in documents {
        model.add(document);
    }
    model.settle();
    model
}

fn check(documents: &[Value], what: &str) {
    assert!(!documents.is_empty(), "{what} has no manifests");
    for document in documents {
        parses(document).unwrap_or_else(|problem| panic!("{what}: {problem}"));
    }
    let model = planned(documents);
    let wrong = model.all_findings();
    let wrong: Vec<_> =
        wrong.iter().filter(|(_, finding)| matches!(finding.reason, Reason::InvalidSpec | Reason::Denied | Reason::Conflict)).collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?}");
}

#[test]
fn the_defaults_of_the_chart_are_valid_and_enough_for_the_quick_start() {
    let defaults: Vec<Value> = yaml_files("charts/usher/defaults").iter().flat_map(|path| documents(path)).collect();
    check(&defaults, "charts/usher/defaults");
    let quick = [defaults, documents(&root().join("examples/quickstart.yaml"))].concat();
    check(&quick, "examples/quickstart.yaml with the chart's defaults");
    let model = planned(&quick);
    let findings = model.all_findings();
    assert!(findings.is_empty(), "{findings:#?}");
    assert!(model.tasks().contains(&Task::Developer("ada".to_owned())));
}

#[test]
fn the_examples_are_valid_together() {
    let names = ["environments", "people", "roles", "bindings"];
    let all: Vec<Value> = names.iter().flat_map(|name| documents(&root().join(format!("examples/{name}.yaml")))).collect();
    check(&all, "examples");
    let findings = planned(&all).all_findings();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn every_example_is_valid() {
    for path in yaml_files("examples") {
        check(&documents(&path), &path.file_name().expect("a name").to_string_lossy());
    }
}
