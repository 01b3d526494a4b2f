//! Every sort of Provider has all that docs/adding-a-connector.md asks for.

use std::collections::BTreeSet;

use serde::Deserialize;
use usher::api::provider::PROVIDER_TYPES;
use usher::api::{Provider, crds};

use super::{manifests, pages, read, repository};

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
fn examples_have_no_field_that_is_none() {
    for sort in PROVIDER_TYPES {
        let file = format!("examples/provider-{sort}.yaml");
        for document in serde_saphyr::from_multiple::<serde_json::Value>(&read(&file)).expect("YAML") {
            manifests::check(&document).unwrap_or_else(|problem| panic!("{file}: {problem}"));
            let mut misspelt = document.clone();
            misspelt["spec"]["mispelt"] = true.into();
            manifests::check(&misspelt).expect_err("or the check says nothing");
        }
    }
}

/// The names of the functions of a file that are cases: they are told a target and nothing else.
fn cases(file: &str) -> BTreeSet<String> {
    let text = read(file);
    let signatures = text.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.strip_suffix("(target: &dyn Target) {"));
    signatures.map(str::to_owned).collect()
}

#[test]
fn every_sort_passes_every_case() {
    let list = read("tests/systems/conformance/mod.rs");
    let start = list.find("macro_rules! conformance").expect("the macro");
    let whole = list[start..].split("(@cases $start:expr").next().expect("the arms that list cases");
    let listed: BTreeSet<String> = whole.split(|it: char| !it.is_alphanumeric() && it != '_').map(str::to_owned).collect();
    let files = std::fs::read_dir(repository().join("tests/systems/conformance")).expect("a folder");
    let files = files.map(|file| file.expect("a file").file_name().into_string().expect("a name"));
    let there: BTreeSet<String> = files.flat_map(|file| cases(&format!("tests/systems/conformance/{file}"))).collect();
    assert!(there.len() > 30, "they are found: {there:?}");
    let forgotten: Vec<&String> = there.difference(&listed).collect();
    assert!(forgotten.is_empty(), "conformance! lacks {forgotten:?}");
    for sort in PROVIDER_TYPES {
        let text = suite_of(sort);
        let whole = text.lines().any(|line| line.contains("conformance!(") && !line.contains("@cases") && line.ends_with(".await);"));
        assert!(whole, "tests/systems/{sort} takes part with every case by one line: conformance!(….await);");
    }
}

fn suite_of(sort: &str) -> String {
    let files = ["tests/systems/{}.rs", "tests/systems/{}/mod.rs"].map(|file| file.replace("{}", sort));
    read(files.iter().find(|file| repository().join(file).is_file()).unwrap_or_else(|| panic!("none of {files:?}")))
}

/// Files below a folder that speak of a sort in code.
fn speak_of(sort: &str, folder: &str) -> BTreeSet<String> {
    let (variant, field) = (format!("System::{}{}", sort[..1].to_uppercase(), &sort[1..]), format!(".spec.{sort}"));
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(repository().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                open.push(path);
            } else if [&variant, &field].iter().any(|it| read(&path).contains(it.as_str())) {
                found.insert(path);
            }
        }
    }
    found
}

#[test]
fn the_page_names_every_place_that_must_change() {
    let page = read("docs/adding-a-connector.md");
    let mut places =
        BTreeSet::from(["Makefile", "tests/systems/main.rs", "tests/systems/servers/mod.rs", "hack/systems/<name>"].map(str::to_owned));
    for sort in PROVIDER_TYPES {
        places.extend(speak_of(sort, "src").into_iter().filter(|file| !file.starts_with(&format!("src/connectors/{sort}"))));
        let scripts = read("Makefile");
        let scripts = scripts.lines().find(|line| line.contains("hack/systems/,")).expect("the scripts").to_owned();
        assert!(scripts.split([' ', ')', ',']).any(|name| name == sort), "the Makefile's check-lint lacks hack/systems/{sort}");
        let proven = format!("{sort}_hangs_crashes_comes_back_and_goes");
        assert!(read("tests/systems/servers/mod.rs").contains(&proven), "tests/systems/servers/mod.rs lacks {proven}");
    }
    places.extend(["PROVIDER_TYPES", "ProviderSpec::system", "`name`, `url`, `credentials`, `ca`"].map(str::to_owned));
    let silent: Vec<&String> = places.iter().filter(|place| !page.contains(place.as_str())).collect();
    assert!(silent.is_empty(), "docs/adding-a-connector.md does not name {silent:?}");
}

#[test]
fn every_sort_passes_the_suite_on_a_server_that_installs_itself() {
    let suite = read("tests/systems/main.rs");
    for sort in PROVIDER_TYPES {
        assert!(suite.lines().any(|line| line == format!("mod {sort};")), "tests/systems/main.rs lacks mod {sort}");
        assert!(suite_of(sort).contains("conformance!("), "tests/systems/{sort} does not take part in the suite");
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
