//! SCIM 2.0 as a server speaks it (RFC 7643, RFC 7644): what a request means, what becomes of a resource, and what is answered. No socket, no clock.
//!
//! `request` says what is asked for, `schema` which attributes there are, `resource` takes one in, `patch` changes it, `filter` and `matching` choose, as far as `effort` goes, `projection` and
//! `list` say what is shown of it, `discovery` what this server can. `record` is how a resource is kept, `pushed` all that are, `people` what a Source makes of them.

pub mod discovery;
pub mod effort;
pub mod error;
pub mod filter;
pub mod list;
pub mod matching;
pub mod patch;
pub mod path;
pub mod people;
pub mod projection;
pub mod pushed;
pub mod record;
pub mod render;
pub mod request;
pub mod resource;
pub mod schema;

use std::fmt;

/// The attributes of a resource by their names in the schema; those of an extension stand below its URN.
pub type Attributes = serde_json::Map<String, serde_json::Value>;

/// The two types of resources that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// A person.
    User,
    /// A group of people.
    Group,
}

impl ResourceKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::User, Self::Group];

    /// The last part of its endpoint.
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::User => "Users",
            Self::Group => "Groups",
        }
    }

    /// What a name of a resource type means.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == name)
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
