//! Lists, page by page (RFC 7644, section 3.4.2.4).

use serde_json::{Value, json};

use super::error::{ScimError, quoted};

/// The URN of a list.
const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
/// The most resources of one page; also what /ServiceProviderConfig tells.
pub const MOST: usize = 200;
/// The resources of a page where nobody says how many.
const USUAL: usize = 100;

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where it starts, counted from 1.
    pub start: usize,
    /// How many resources it has at most.
    pub count: usize,
}

impl Page {
    /// Reads startIndex and count. What is too small is the smallest, what is too large the largest.
    pub fn read(start: Option<&str>, count: Option<&str>) -> Result<Self, ScimError> {
        let number = |name: &str, text: Option<&str>| match text.map(str::trim).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => match text.parse::<i64>() {
                Ok(number) => Ok(Some(usize::try_from(number).unwrap_or_default())),
                Err(_) => Err(ScimError::value(format!("{name} is a number, and {} is not", quoted(text)))),
            },
        };
        let (start, count) = (number("startIndex", start)?, number("count", count)?);
        Ok(Self { start: start.unwrap_or(1).max(1), count: count.unwrap_or(USUAL).min(MOST) })
    }

    /// Those of all that are on it.
    pub fn of<T>(self, all: &[T]) -> &[T] {
        let rest = all.get(self.start.saturating_sub(1)..).unwrap_or_default();
        rest.get(..self.count.min(rest.len())).unwrap_or_default()
    }

    /// The answer.
    pub fn response(self, total: usize, resources: Vec<Value>) -> Value {
        json!({"schemas": [LIST], "totalResults": total, "startIndex": self.start, "itemsPerPage": resources.len(), "Resources": resources})
    }
}

/// All of a few, on one page.
pub fn all(resources: Vec<Value>) -> Value {
    Page { start: 1, count: resources.len() }.response(resources.len(), resources)
}
