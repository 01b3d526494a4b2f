//! Every sort of Provider has all that docs/adding-a-connector.md asks for.

use std::collections::BTreeSet;

use serde::Deserialize;
use usher::api::provider::PROVIDER_TYPES;
use usher::api::{Provider, crds};

use super::{pages, read, repository};

/// The fields of the spec that have usher's credential for a system: the sorts that the schema knows.
fn in_the_schema() -> BTreeSet<String> {
    let crd = crds().into_iter().find(|crd| crd.spec.names.kind == "Provider").expect("the kind");
    let crd = serde_json::to_value(crd).expect("JSON");
    let fields =
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].as_object().expect("fields").clone();
    fields.into_iter().filter(|(_, field)| field["properties"]["credentialsSecret"].is_object()).map(|(name, _)| name).collect()
}

#[test]
fn every_sort_is_listed() {
    assert_eq!(in_the_schema(), PROVIDER_TYPES.map(str::to_owned).into());
}

#[test]
fn every_sort_has_an_example_of_its_own() {
    for sort in PROVIDER_TYPES {
        let file = format!("examples/provider-{sort}.yaml");
        let first = serde_saphyr::from_multiple::<serde_json::Value>(&read(&file)).expect("YAML").remove(0);
        let provider = Provider::deserialize(first).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(provider.spec.system().map(|system| system.name()), Some(sort), "{file}");
    }
}

#[test]
fn every_sort_passes_the_suite_on_a_server_that_installs_itself() {
    let suite = read("tests/systems/main.rs");
    for sort in PROVIDER_TYPES {
        assert!(suite.lines().any(|line| line == format!("mod {sort};")), "tests/systems/main.rs lacks mod {sort}");
        let files = ["tests/systems/{}.rs", "tests/systems/{}/mod.rs"].map(|file| file.replace("{}", sort));
        let file = files.iter().find(|file| repository().join(file).is_file()).unwrap_or_else(|| panic!("none of {files:?}"));
        assert!(read(file).contains("conformance!("), "{file} does not take part in the suite");
        assert!(repository().join("hack/systems").join(sort).is_file(), "hack/systems/{sort}");
    }
}

#[test]
fn every_sort_has_a_page_that_others_name() {
    let pages = pages();
    for sort in PROVIDER_TYPES {
        let name = format!("providers/{sort}.md");
        assert!(pages.iter().any(|(path, _)| path.ends_with(&name)), "docs/reference/{name}");
        assert!(pages.iter().any(|(_, text)| text.contains(&name)), "no page names {name}");
    }
}
