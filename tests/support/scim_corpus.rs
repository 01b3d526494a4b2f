//! The requests in `tests/corpus/scim`, which senders are documented to send: read from their files, and what should come of them. The pure tests and those against a running
//! operator go through the same.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

/// One request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is.
    pub name: String,
    /// Where it is documented.
    pub source: String,
    /// What is there before, of the type that the path is about.
    #[serde(default)]
    pub given: Option<Value>,
    /// What is sent.
    pub request: Request,
    /// What should come of it.
    pub then: Then,
}

/// What is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Request {
    pub method: String,
    /// With `{id}` for what is there before.
    pub path: String,
    #[serde(default)]
    pub filter: Option<String>,
    #[serde(default)]
    pub start_index: Option<u32>,
    #[serde(default)]
    pub count: Option<u32>,
    #[serde(default)]
    pub body: Option<Value>,
}

/// What should come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Then {
    pub status: u16,
    #[serde(default)]
    pub scim_type: Option<String>,
    /// How many are found.
    #[serde(default)]
    pub total: Option<usize>,
    /// What the resource has afterwards, besides others.
    #[serde(default)]
    pub resource: Option<Value>,
    /// What it does not have.
    #[serde(default)]
    pub without: Vec<String>,
    /// What it still has.
    #[serde(default)]
    pub unchanged: Option<Value>,
}

/// Whatever it is about: of Users, or of Groups.
impl Case {
    pub fn is_about_groups(&self) -> bool {
        self.request.path.starts_with("/Groups")
    }
}

/// All requests of all files, each with the name of its sender; `names` are put in the place of words in braces.
pub fn cases(names: &[(&str, &str)]) -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/scim");
    let mut files: Vec<_> = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let sender = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let mut text = std::fs::read_to_string(&file).expect("readable");
        for (name, value) in names {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        let of_file: Vec<Case> = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        cases.extend(of_file.into_iter().map(|case| (sender.clone(), case)));
    }
    cases
}

/// Says what of the wanted is not there: every attribute that is named, with all of its values.
pub fn missing(wanted: &Value, found: &Value) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => objects(wanted, found),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            let fits = |one: &Value| found.iter().any(|other| missing(one, other).is_none());
            wanted.iter().find(|one| !fits(one)).map(|one| format!("{one} is not among {found:?}"))
        }
        _ => (wanted != found).then(|| format!("{found} is not {wanted}")),
    }
}

fn objects(wanted: &Map<String, Value>, found: &Map<String, Value>) -> Option<String> {
    wanted.iter().find_map(|(name, value)| match found.get(name) {
        Some(there) => missing(value, there).map(|why| format!("{name}: {why}")),
        None => Some(format!("there is no {name} in {found:?}")),
    })
}
