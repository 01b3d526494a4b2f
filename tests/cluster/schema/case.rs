//! The tables of good and bad objects.

use kube::api::DynamicObject;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One row of a table: an object, and what the API server has to say about it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is tried.
    #[serde(rename = "case")]
    pub what: String,
    /// The kind.
    pub kind: String,
    /// metadata.name; left out: it does not matter.
    #[serde(default)]
    pub name: Option<String>,
    /// The spec. A row with `each` stands for one row per value, with the value for `EACH` in name and spec.
    #[serde(default)]
    pub spec: Value,
    #[serde(default)]
    pub each: Vec<String>,
    /// The spec that the object had before. Left out: it is new.
    #[serde(default)]
    pub was: Option<Value>,
    /// Pieces of the refusal: the field, and the remedy.
    #[serde(default)]
    pub says: Vec<String>,
    /// What the spec of the accepted object is, by JSON pointer; null: nothing.
    #[serde(default)]
    pub then: Map<String, Value>,
}

impl Case {
    /// A row of which only the kind matters.
    pub fn bare(kind: &str) -> Self {
        let row = json!({"case": kind, "kind": kind});
        serde_json::from_value(row).expect("a row")
    }

    /// The object with this name and spec.
    pub fn object(&self, name: &str, spec: &Value) -> DynamicObject {
        let object = json!({"apiVersion": "usher.dev/v1alpha1", "kind": self.kind, "metadata": {"name": name}, "spec": spec});
        serde_json::from_value(object).unwrap_or_else(|error| panic!("{}: {error}", self.what))
    }

    fn expand(self) -> Vec<Self> {
        if self.each.is_empty() {
            return vec![self];
        }
        let fill = |text: &str, value: &str| text.replace("EACH", value);
        let one = |value: &String| {
            // Within JSON, but without its quotation marks.
            let quoted = Value::from(value.as_str()).to_string();
            let spec = fill(&self.spec.to_string(), quoted.trim_matches('"'));
            Self {
                what: format!("{}: {value}", self.what),
                name: self.name.as_ref().map(|name| fill(name, value)),
                spec: serde_json::from_str(&spec).unwrap_or_else(|error| panic!("{}: {error}: {spec}", self.what)),
                says: self.says.iter().map(|piece| fill(piece, value)).collect(),
                each: Vec::new(),
                ..self.clone()
            }
        };
        self.each.iter().map(one).collect()
    }
}

/// The rows of a table.
pub fn table(yaml: &str) -> Vec<Case> {
    let cases: Vec<Case> = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}"));
    cases.into_iter().flat_map(Case::expand).collect()
}
