//! What the name of an attribute means, as it stands in filters, in the paths of a PATCH and in lists of attributes (RFC 7644, section 3.10).

use super::ResourceKind;
use super::error::{ScimError, ScimType, quoted};
use super::filter::Filter;
use super::schema::{Attribute, COMMON, Schema, core, extension, find};

/// Longer ones are no names of attributes.
const LONGEST: usize = 1_024;

/// Where names are looked up.
#[derive(Clone, Copy, Debug)]
pub enum Scope {
    /// Among the attributes of a resource.
    Resource(ResourceKind),
    /// Among the parts of a complex attribute: within brackets.
    Parts(&'static Attribute),
}

/// An attribute, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The extension that it is of; nothing if it is of the resource itself.
    pub extension: Option<&'static Schema>,
    /// The attribute.
    pub attribute: &'static Attribute,
    /// The part of it, if one is named.
    pub part: Option<&'static Attribute>,
}

/// What the path of a PATCH means.
#[derive(Clone, Debug)]
pub enum PatchPath {
    /// The resource itself.
    Whole,
    /// All of an extension.
    Extension(&'static Schema),
    /// An attribute, or a part of it; of several values those that fit a filter.
    Attribute(Target, Option<Filter>),
}

impl Target {
    /// What is compared: of a complex attribute its value.
    pub fn compared(&self) -> &'static Attribute {
        self.part.or_else(|| self.attribute.part("value")).unwrap_or(self.attribute)
    }

    /// An attribute of one value.
    fn whole(extension: Option<&'static Schema>, attribute: &'static Attribute) -> Self {
        Self { extension, attribute, part: None }
    }
}

/// A name without its URN, and which schema that was.
fn divide(kind: ResourceKind, text: &str) -> Result<(Option<&'static Schema>, &str), ()> {
    if !text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:")) {
        return Ok((None, text));
    }
    for schema in [Some(core(kind)), extension(kind)].into_iter().flatten() {
        let Some((urn, rest)) = text.split_at_checked(schema.id.len()) else { continue };
        if !urn.eq_ignore_ascii_case(schema.id) {
            continue;
        }
        if let Some(rest) = rest.strip_prefix([':', '.']).or(rest.is_empty().then_some("")) {
            return Ok((Some(schema), rest));
        }
    }
    Err(())
}

/// Looks up a name. Names of an extension are found without its URN, too, where they are nobody else's. Nothing if there is no such attribute.
pub fn resolve(scope: Scope, text: &str) -> Option<Target> {
    if text.len() > LONGEST {
        return None;
    }
    let kind = match scope {
        Scope::Parts(attribute) => return attribute.part(text).map(|part| Target::whole(None, part)),
        Scope::Resource(kind) => kind,
    };
    let (schema, rest) = divide(kind, text).ok()?;
    let (name, part) = rest.split_once('.').map_or((rest, None), |(name, part)| (name, Some(part)));
    let of_core = || find(core(kind).attributes, name).or_else(|| find(COMMON, name)).map(|it| (None, it));
    let of_extension = || extension(kind).and_then(|it| Some((Some(it), find(it.attributes, name)?)));
    let (extension, attribute) = match schema {
        Some(schema) if schema.id == core(kind).id => of_core(),
        Some(_) => of_extension(),
        None => of_core().or_else(of_extension),
    }?;
    let part = match part {
        Some(part) => Some(attribute.part(part)?),
        None => None,
    };
    Some(Target { extension, attribute, part })
}

/// Reads the path of a PATCH. Nothing if it is well formed and names no attribute that is kept.
pub fn patch_path(kind: ResourceKind, text: &str) -> Result<Option<PatchPath>, ScimError> {
    let text = text.trim();
    let wrong = |why: &str| ScimError::bad(ScimType::InvalidPath, format!("the path {} {why}", quoted(text)));
    if text.len() > LONGEST {
        return Err(wrong("is too long"));
    }
    if let Ok((Some(schema), "")) = divide(kind, text) {
        let whole = schema.id == core(kind).id;
        return Ok(Some(if whole { PatchPath::Whole } else { PatchPath::Extension(schema) }));
    }
    let Some((name, rest)) = text.split_once('[') else {
        return Ok(resolve(Scope::Resource(kind), text).map(|target| PatchPath::Attribute(target, None)));
    };
    let end = closing(rest).ok_or_else(|| wrong("has a [ without a ]"))?;
    let (filter, after) = (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default());
    let Some(mut target) = resolve(Scope::Resource(kind), name) else { return Ok(None) };
    if target.part.is_some() || target.attribute.parts.is_empty() {
        return Err(wrong("has a filter on something that has no parts"));
    }
    let filter = Filter::read(Scope::Parts(target.attribute), filter)
        .map_err(|error| ScimError::bad(ScimType::InvalidPath, format!("the path {}: {}", quoted(text), error.detail)))?;
    match after.strip_prefix('.') {
        Some(part) => match target.attribute.part(part) {
            Some(part) => target.part = Some(part),
            None => return Ok(None),
        },
        None if after.is_empty() => {}
        None => return Err(wrong("goes on after the ] without a dot")),
    }
    Ok(Some(PatchPath::Attribute(target, Some(filter))))
}

/// Where the bracket closes, outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().find_map(|(at, character)| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted => return Some(at),
            _ => {}
        }
        None
    })
}
