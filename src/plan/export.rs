//! One line of the export: a change of the record, as one JSON object.
//!
//! A line may come more than once: `uid` and `resourceVersion` of the object say which are the same. The sequence counts the lines of one stream, from 1;
//! a stream begins, when the operator starts, with a line for everything that is kept, so that a gap in one is made good by the next.

use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::Grant;

/// What happened to an object of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Happened {
    /// It was there when the stream began.
    Kept,
    /// It was made or changed.
    Written,
    /// It was deleted: its time was over, or somebody did it.
    Gone,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Line {
    /// The stream: one run of one replica.
    pub stream: String,
    /// The number of the line in its stream, from 1.
    pub sequence: u64,
    /// What happened.
    pub event: Happened,
    /// Grant or Departure.
    pub kind: String,
    /// The object, as `kubectl get -o json` prints it; of one that is gone, as it was last.
    pub object: Value,
}

impl Line {
    /// The line of an object.
    pub fn of<K: Resource<DynamicType = ()> + Serialize>(stream: &str, sequence: u64, event: Happened, object: &K) -> Self {
        let mut value = serde_json::to_value(object).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            map.insert("apiVersion".to_owned(), K::api_version(&()).into());
            map.insert("kind".to_owned(), K::kind(&()).into());
        }
        Self { stream: stream.to_owned(), sequence, event, kind: K::kind(&()).into_owned(), object: value }
    }

    /// The line as it is written, with its end.
    pub fn text(&self) -> String {
        serde_json::to_string(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// The version of the object, as a number.
    pub fn version(&self) -> u64 {
        let version = self.object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        version.and_then(|version| version.parse().ok()).unwrap_or_default()
    }

    /// The Grant that it is about.
    pub fn grant(&self) -> Option<Grant> {
        (self.kind == "Grant").then(|| serde_json::from_value(self.object.clone()).ok()).flatten()
    }
}
