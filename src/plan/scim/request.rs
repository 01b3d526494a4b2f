//! What a request asks for: by its method, its path and what stands behind the question mark.

use serde_json::Value;

use super::ResourceKind;
use super::error::ScimError;

/// Where SCIM is served; the name of a Source follows.
pub const PREFIX: &str = "/scim/v2/";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// What this server can.
    ProviderConfig,
    /// The types of resources, or one of them.
    ResourceTypes(Option<String>),
    /// The schemas, or one of them.
    Schemas(Option<String>),
    /// Resources of a type, or of all; in the body of a POST, or behind the question mark.
    Find(Option<ResourceKind>, Asked),
    /// A new resource.
    Create(ResourceKind),
    /// One resource.
    Read(ResourceKind, String),
    /// Another one in its place.
    Replace(ResourceKind, String),
    /// Changes of it.
    Patch(ResourceKind, String),
    /// Its end.
    Delete(ResourceKind, String),
}

/// Where somebody says what she looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Behind the question mark.
    InQuery,
    /// In the body, to keep it out of logs.
    InBody,
}

/// What somebody looks for, and what she wants to see of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Which resources.
    pub filter: Option<String>,
    /// From which on.
    pub start: Option<String>,
    /// How many.
    pub count: Option<String>,
    /// Only these attributes.
    pub attributes: Option<String>,
    /// All attributes but these.
    pub excluded: Option<String>,
}

/// Divides a path into the name of a Source and the rest. Nothing if nothing is served there.
pub fn source_of(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix(PREFIX)?;
    let (source, rest) = rest.split_once('/').unwrap_or((rest, ""));
    (!source.is_empty()).then_some((source, rest))
}

/// What a request asks a Source for.
pub fn route(method: &str, rest: &str) -> Result<Call, ScimError> {
    let parts: Vec<String> = rest.trim_end_matches('/').split('/').map(|part| decode(part, false)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let kind = |endpoint: &str| ResourceKind::ALL.into_iter().find(|kind| kind.endpoint().eq_ignore_ascii_case(endpoint));
    match parts.as_slice() {
        [""] => only(method, "GET", Call::Find(None, Asked::InQuery)),
        [".search"] => only(method, "POST", Call::Find(None, Asked::InBody)),
        ["ServiceProviderConfig"] => only(method, "GET", Call::ProviderConfig),
        ["ResourceTypes"] => only(method, "GET", Call::ResourceTypes(None)),
        ["ResourceTypes", id] => only(method, "GET", Call::ResourceTypes(Some((*id).to_owned()))),
        ["Schemas"] => only(method, "GET", Call::Schemas(None)),
        ["Schemas", id] => only(method, "GET", Call::Schemas(Some((*id).to_owned()))),
        ["Me"] => Err(ScimError::new(501, "a token is a Source's and nobody's own, so there is no /Me; use /Users")),
        ["Bulk"] => Err(ScimError::new(501, "several changes in one request are not served; send them one by one")),
        [endpoint, rest @ ..] => match (kind(endpoint), rest) {
            (Some(kind), []) => match method {
                "GET" => Ok(Call::Find(Some(kind), Asked::InQuery)),
                "POST" => Ok(Call::Create(kind)),
                _ => Err(ScimError::method("GET, POST")),
            },
            (Some(kind), [".search"]) => only(method, "POST", Call::Find(Some(kind), Asked::InBody)),
            (Some(kind), [id]) => of_one(method, kind, (*id).to_owned()),
            _ => Err(ScimError::not_found(rest_of(endpoint, rest).as_str())),
        },
        [] => Err(ScimError::not_found("this")),
    }
}

fn rest_of(endpoint: &str, rest: &[&str]) -> String {
    [endpoint].iter().chain(rest).map(|part| format!("/{part}")).collect()
}

fn only(method: &str, allowed: &'static str, call: Call) -> Result<Call, ScimError> {
    if method == allowed { Ok(call) } else { Err(ScimError::method(allowed)) }
}

fn of_one(method: &str, kind: ResourceKind, id: String) -> Result<Call, ScimError> {
    Ok(match method {
        "GET" => Call::Read(kind, id),
        "PUT" => Call::Replace(kind, id),
        "PATCH" => Call::Patch(kind, id),
        "DELETE" => Call::Delete(kind, id),
        _ => return Err(ScimError::method("GET, PUT, PATCH, DELETE")),
    })
}

impl Call {
    /// Whether it changes something.
    pub const fn changes(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Replace(..) | Self::Patch(..) | Self::Delete(..))
    }
}

impl Query {
    /// Reads what stands behind the question mark.
    pub fn read(text: &str) -> Self {
        let mut query = Self::default();
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = Some(decode(value, true));
            match decode(name, true).to_ascii_lowercase().as_str() {
                "filter" => query.filter = value,
                "startindex" => query.start = value,
                "count" => query.count = value,
                "attributes" => query.attributes = value,
                "excludedattributes" => query.excluded = value,
                _ => {}
            }
        }
        query
    }

    /// Reads the body of a search (RFC 7644, section 3.4.3).
    pub fn of_search(body: &Value) -> Self {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Array(several) => Some(several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")),
            _ => None,
        };
        let mut query = Self::default();
        for (name, value) in body.as_object().into_iter().flatten() {
            match name.to_ascii_lowercase().as_str() {
                "filter" => query.filter = text(value),
                "startindex" => query.start = text(value),
                "count" => query.count = text(value),
                "attributes" => query.attributes = text(value),
                "excludedattributes" => query.excluded = text(value),
                _ => {}
            }
        }
        query
    }
}

/// Takes percent signs out (RFC 3986, section 2.1); behind the question mark a plus is a space.
fn decode(text: &str, plus: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, beyond @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high * 16 + low);
                    rest = beyond;
                }
                _ => bytes.push(b'%'),
            },
            (b'+', _) if plus => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
