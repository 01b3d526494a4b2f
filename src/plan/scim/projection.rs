//! What is shown of a resource: `attributes` and `excludedAttributes` (RFC 7644, section 3.9).

use serde_json::{Map, Value};

use super::path::{Scope, Target, resolve};
use super::schema::{COMMON, find};
use super::{Attributes, ResourceKind};

/// What somebody asked to see. Names that are no attributes are none that could be shown.
#[derive(Clone, Debug, Default)]
pub struct Projection {
    only: Option<Vec<Target>>,
    but: Vec<Target>,
}

impl Projection {
    /// Reads what stands between commas.
    pub fn read(kind: ResourceKind, only: Option<&str>, but: Option<&str>) -> Self {
        let targets = |text: &str| text.split(',').filter_map(|name| resolve(Scope::Resource(kind), name.trim())).collect::<Vec<_>>();
        let only = only.filter(|text| !text.trim().is_empty()).map(targets);
        Self { only, but: but.map(targets).unwrap_or_default() }
    }

    /// Whether an attribute is shown at all: whoever asks need not find out what it is.
    pub fn shows(&self, name: &str) -> bool {
        let wanted = self.only.as_ref().is_none_or(|only| only.iter().any(|target| target.attribute.name == name));
        wanted && !self.but.iter().any(|target| target.attribute.name == name && target.part.is_none())
    }

    /// Whether somebody said what to show.
    pub fn says(&self) -> bool {
        self.only.is_some() || !self.but.is_empty()
    }

    /// A resource as it is shown.
    pub fn apply(&self, attributes: Attributes) -> Attributes {
        let mut shown = match &self.only {
            None => attributes,
            Some(only) => chosen(&attributes, only),
        };
        for target in &self.but {
            exclude(&mut shown, target);
        }
        shown
    }
}

fn is_always_shown(name: &str) -> bool {
    find(COMMON, name).is_some_and(|attribute| attribute.always)
}

fn chosen(attributes: &Attributes, only: &[Target]) -> Attributes {
    let mut shown: Attributes =
        attributes.iter().filter(|(name, _)| is_always_shown(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    for target in only {
        match target.extension {
            None => choose(attributes, &mut shown, target),
            Some(schema) => {
                let Some(Value::Object(from)) = attributes.get(schema.id) else { continue };
                let to = shown.entry(schema.id).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(to) = to {
                    choose(from, to, target);
                }
            }
        }
    }
    shown
}

fn choose(from: &Attributes, to: &mut Attributes, target: &Target) {
    let name = target.attribute.name;
    let Some(value) = from.get(name) else { return };
    let Some(part) = target.part else {
        to.insert(name.to_owned(), value.clone());
        return;
    };
    let piece = |value: &Value| value.get(part.name).map(|it| (part.name.to_owned(), it.clone()));
    match value {
        Value::Array(elements) => {
            let there = to.entry(name).or_insert_with(|| Value::Array(vec![Value::Object(Map::new()); elements.len()]));
            let there = there.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
            there.zip(elements).for_each(|(to, from)| to.extend(piece(from)));
        }
        one => {
            let there = to.entry(name).or_insert_with(|| Value::Object(Map::new()));
            there.as_object_mut().into_iter().for_each(|to| to.extend(piece(one)));
        }
    }
}

fn exclude(shown: &mut Attributes, target: &Target) {
    let holder = match target.extension {
        None => Some(shown),
        Some(schema) => shown.get_mut(schema.id).and_then(Value::as_object_mut),
    };
    let (Some(holder), name) = (holder, target.attribute.name) else { return };
    let Some(part) = target.part else {
        if !is_always_shown(name) {
            holder.remove(name);
        }
        return;
    };
    match holder.get_mut(name) {
        Some(Value::Array(elements)) => elements.iter_mut().filter_map(Value::as_object_mut).for_each(|it| drop(it.remove(part.name))),
        Some(Value::Object(one)) => drop(one.remove(part.name)),
        _ => {}
    }
}
