//! What a Provider or Source tells of removals: how many there may be at once, those that are held, and those that were lately.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

fn ten() -> i32 {
    10
}

/// How many may lose something at once: accounts of a Provider, or people of a Source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrakeLimits {
    /// This many.
    #[serde(default = "ten")]
    #[schemars(range(min = 0, max = 100_000))]
    pub max_removals: i32,
    /// This share of all that usher keeps by it.
    #[serde(default = "ten")]
    #[schemars(range(min = 0, max = 100))]
    pub max_percent: i32,
}

impl Default for BrakeLimits {
    fn default() -> Self {
        Self { max_removals: ten(), max_percent: ten() }
    }
}

/// Removals that are held because there are too many at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ProviderBrake {
    /// Names exactly these removals. The annotation `usher.dev/release: <digest>` on the Provider or Source lets them through.
    pub digest: String,
    /// How many accounts or people would lose something.
    pub removals: i64,
    /// Of how many.
    pub population: i64,
    /// When the first of them was held.
    pub since: String,
    /// Some of the people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sample: Vec<String>,
}

/// What the brake must know when another replica goes on, or usher starts again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecentRemovals {
    /// About so many accounts or people lost something within ten minutes, rounded up.
    pub lately: i64,
    /// When that was so.
    #[serde(default)]
    pub as_of: String,
    /// Whom a release let through, until all of them are done. At most 500 are kept; when usher starts again meanwhile the others wait for another word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub let_through: Vec<String>,
}
