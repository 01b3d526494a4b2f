//! What a sender is told when something is wrong (RFC 7644, section 3.12).

use serde_json::{Value, json};

use super::ResourceKind;

/// The URN of an error.
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";
/// So much of what somebody sent is told back.
const MOST_QUOTED: usize = 80;

/// The word for a kind of error that RFC 7644 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScimType {
    /// The filter does not parse, or cannot be applied.
    InvalidFilter,
    /// Somebody else has that value.
    Uniqueness,
    /// That attribute is not the sender's to change.
    Mutability,
    /// The body does not have the form of such a request.
    InvalidSyntax,
    /// The path of a PATCH does not parse, or names no attribute.
    InvalidPath,
    /// Nothing is at the path of a PATCH.
    NoTarget,
    /// A value is missing, or of the wrong type.
    InvalidValue,
    /// The filter asks for more comparing than is done.
    TooMany,
}

impl ScimType {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::Uniqueness => "uniqueness",
            Self::Mutability => "mutability",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
            Self::TooMany => "tooMany",
        }
    }
}

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimError {
    /// The HTTP status.
    pub status: u16,
    /// The kind of error, where RFC 7644 has a word for it.
    pub scim_type: Option<ScimType>,
    /// What is wrong, and the remedy.
    pub detail: String,
    /// The methods that are served there, where another one was asked for.
    pub allow: Option<&'static str>,
    /// After how many seconds it is worth another try.
    pub retry_after: Option<u64>,
}

impl ScimError {
    /// An answer with a status only.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self { status, scim_type: None, detail: detail.into(), allow: None, retry_after: None }
    }

    /// What the sender must mend.
    pub fn bad(scim_type: ScimType, detail: impl Into<String>) -> Self {
        Self { scim_type: Some(scim_type), ..Self::new(400, detail) }
    }

    /// A value that is of no use.
    pub fn value(detail: impl Into<String>) -> Self {
        Self::bad(ScimType::InvalidValue, detail)
    }

    /// A body that is no such request.
    pub fn syntax(detail: impl Into<String>) -> Self {
        Self::bad(ScimType::InvalidSyntax, detail)
    }

    /// Something that is not there.
    pub fn not_found(what: &str) -> Self {
        Self::new(404, format!("{} does not exist", quoted(what)))
    }

    /// Somebody without the token of a Source that is there.
    pub fn stranger() -> Self {
        Self::new(401, "send the token of this Source as Authorization: Bearer")
    }

    /// Somebody has that value already.
    pub fn taken(kind: ResourceKind, attribute: &str, value: &str) -> Self {
        let detail = format!("another {kind} has the {attribute} {}; give one of them another, or change that one", quoted(value));
        Self { scim_type: Some(ScimType::Uniqueness), ..Self::new(409, detail) }
    }

    /// The resource is another one than the sender has seen.
    pub fn changed() -> Self {
        Self::new(412, "the resource changed since it was read: read it again, and send its new ETag as If-Match")
    }

    /// Something that is served there, but not by this method.
    pub fn method(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::new(405, format!("this is served by {allow} only")) }
    }

    /// Too much at once.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(413, detail)
    }

    /// Not now, and the sender should try again.
    pub fn later(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(5), ..Self::new(503, detail) }
    }

    /// The body of the answer.
    pub fn body(&self) -> Value {
        let mut body = json!({"schemas": [ERROR], "status": self.status.to_string(), "detail": self.detail});
        if let (Some(map), Some(scim_type)) = (body.as_object_mut(), self.scim_type) {
            map.insert("scimType".to_owned(), scim_type.as_str().into());
        }
        body
    }
}

/// What somebody sent, as it may stand in a message: cut short.
pub fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(MOST_QUOTED).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
