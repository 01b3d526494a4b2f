//! Who asked for an object as it is, for whom and by which change: what admission wrote on it. Nothing is guessed.

use kube::ResourceExt;

use crate::api::metadata::{CHANGE, ON_BEHALF_OF, REQUESTED_BY};

/// What is said where nobody recorded who asked.
pub const UNKNOWN: &str = "unknown";
/// What is said of a deletion, which no admission policy can record.
pub const DELETED: &str = "unknown (deleted)";
/// What is said where something ended at a time that was set before.
pub const EXPIRED: &str = "nobody (expired)";

/// Who asked for an object as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who wrote its spec or labels last, or [`UNKNOWN`].
    pub by: String,
    /// For whom, if a trusted applier said so.
    pub on_behalf_of: Option<String>,
    /// By which change, if a trusted applier said so.
    pub change: Option<String>,
}

impl Request {
    /// What is written on an object.
    pub fn of(object: &impl ResourceExt) -> Self {
        let note = |key: &str| object.annotations().get(key).filter(|value| !value.trim().is_empty()).cloned();
        Self { by: note(REQUESTED_BY).unwrap_or_else(|| UNKNOWN.to_owned()), on_behalf_of: note(ON_BEHALF_OF), change: note(CHANGE) }
    }

    /// Where nothing is known.
    pub fn unknown() -> Self {
        Self { by: UNKNOWN.to_owned(), on_behalf_of: None, change: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Binding, BindingSpec};

    #[test]
    fn what_is_not_written_is_unknown() {
        let mut binding = Binding::new("b", BindingSpec::default());
        assert_eq!(Request::of(&binding), Request::unknown());
        binding.annotations_mut().extend([(REQUESTED_BY.to_owned(), String::new()), (CHANGE.to_owned(), "pulls/41".to_owned())]);
        assert_eq!(Request::of(&binding), Request { change: Some("pulls/41".to_owned()), ..Request::unknown() });
    }
}
