//! What a request may cost. Whoever has the token of one Source must not keep the operator busy, so what would compare too much is refused before it does.

use serde_json::Value;

use super::error::{ScimError, ScimType};
use super::filter::Filter;

/// The most that one PATCH compares: a thousand operations on a Group of five thousand, each with two comparisons, and some more.
const MOST_OF_PATCH: usize = 12_000_000;
/// The most that one search compares. What it passes by is cheaper.
const MOST_OF_SEARCH: usize = 20_000_000;
/// A comparison of so many bytes costs one, as does one of fewer.
const BLOCK: usize = 64;

/// How much is still done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    weight: usize,
    left: usize,
}

impl Effort {
    /// For a search.
    pub fn of_search(filter: &Filter) -> Self {
        Self { weight: weight(filter), left: MOST_OF_SEARCH }
    }

    /// For a PATCH.
    pub const fn of_patch() -> Self {
        Self { weight: 1, left: MOST_OF_PATCH }
    }

    /// Searches a resource of so many bytes and members.
    pub fn on(self, bytes: usize, members: usize) -> Result<Self, ScimError> {
        let cost = (1 + bytes / BLOCK + members).saturating_mul(self.weight);
        let left = self.left.checked_sub(cost).ok_or_else(|| {
            ScimError::bad(
                ScimType::TooMany,
                "the filter asks for more comparing than is done at once: ask for less, or by fewer comparisons",
            )
        })?;
        Ok(Self { left, ..self })
    }

    /// Goes through the values of an attribute, to those that fit a filter if there is one, and writes something into each.
    pub fn go_through(&mut self, values: &[Value], filter: Option<&Filter>, written: Option<&Value>) -> Result<(), ScimError> {
        let each = filter.map_or(1, weight) + written.map_or(0, bytes) / BLOCK;
        let cost = values.iter().map(|value| 1 + bytes(value) / BLOCK).sum::<usize>().saturating_mul(each);
        self.left = self.left.checked_sub(cost).ok_or_else(|| {
            ScimError::too_large("so many operations on so many values are more than is done at once; send them in several PATCHes")
        })?;
        Ok(())
    }
}

/// What a filter costs on one value.
fn weight(filter: &Filter) -> usize {
    match filter {
        Filter::And(one, other) | Filter::Or(one, other) => weight(one) + weight(other),
        Filter::Not(inner) => weight(inner),
        Filter::Within(_, inner) => 1 + weight(inner),
        Filter::Present(_) => 1,
        Filter::Compare(_, _, wanted) => 1 + bytes(wanted) / BLOCK,
    }
}

/// How long the texts in a value are.
fn bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(bytes).sum(),
        Value::Object(map) => map.values().map(bytes).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
