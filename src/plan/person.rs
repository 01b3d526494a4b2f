//! Who a Developer is, across objects of the same name.
//!
//! A mark says for whom something was made: the digest of her `personId`, else of the UID that was first. Someone who comes back is known by it,
//! and someone else of the same name is a stranger (DESIGN.md, promise 10).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::Developer;
use crate::api::metadata::{DEPARTED_AT, DEVELOPER_UID, PERSON};

use super::name::digest;

/// A person as the marks know her: `id-…` from a personId, `uid-…` from the UID of a Developer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Person(Arc<str>);

/// What is written on something that was made for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The person.
    pub person: Person,
    /// The UID of the Developer object that it was last made for.
    pub uid: String,
    /// Whether that person departed.
    pub departed: bool,
}

impl Person {
    /// The value of the label.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part that goes into names.
    pub fn digest(&self) -> &str {
        self.0.rsplit('-').next().unwrap_or(&self.0)
    }

    fn by_id(&self) -> bool {
        self.0.starts_with("id-")
    }

    /// Who a Developer is if nothing was made for that name before.
    pub fn own(developer: &Developer) -> Self {
        Self::of(developer.spec.person_id.as_deref(), developer.metadata.uid.as_deref().unwrap_or_default())
    }

    /// Who somebody of that personId is, or else of that UID.
    pub fn of(person_id: Option<&str>, uid: &str) -> Self {
        match person_id {
            Some(id) => Self(format!("id-{}", digest(&["personId", id])).into()),
            None => Self(format!("uid-{}", digest(&["uid", uid])).into()),
        }
    }
}

impl Mark {
    /// Reads the mark on an object of usher's.
    pub fn read(labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> Option<Self> {
        let (person, uid) = (labels.get(PERSON), annotations.get(DEVELOPER_UID));
        // Either is a mark: somebody may have taken off the other.
        person.or(uid)?;
        Some(Self {
            person: Person(person.map_or("", String::as_str).into()),
            uid: uid.cloned().unwrap_or_default(),
            departed: annotations.contains_key(DEPARTED_AT),
        })
    }

    /// Whether what bears this mark belongs to the Developer of that UID, who is `own` if nothing was made for her name before. `left`: whether somebody of the
    /// UID in the mark is known to have departed.
    pub fn belongs_to(&self, own: &Person, uid: Option<&str>, left: bool) -> bool {
        if self.person == *own || uid == Some(&self.uid) {
            return true;
        }
        let other_id = own.by_id() && self.person.by_id();
        !(self.departed || left || other_id) && self.names()
    }

    /// Whether the person is still written there.
    fn names(&self) -> bool {
        !self.person.0.is_empty()
    }
}

/// Who a Developer is who is `own` if nothing was made for her name before, given the marks that are hers. The first one decides.
pub fn person<'a>(own: Person, hers: impl IntoIterator<Item = &'a Mark>) -> Person {
    if own.by_id() {
        return own;
    }
    hers.into_iter().find(|mark| mark.names()).map_or(own, |mark| mark.person.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn developer(uid: &str, id: Option<&str>) -> Developer {
        let mut developer = Developer::default();
        developer.metadata.uid = Some(uid.to_owned());
        developer.spec.person_id = id.map(str::to_owned);
        developer
    }

    fn mark(of: &Developer, departed: bool) -> Mark {
        Mark { person: Person::own(of), uid: of.metadata.uid.clone().unwrap_or_default(), departed }
    }

    fn belongs_to(mark: &Mark, developer: &Developer) -> bool {
        mark.belongs_to(&Person::own(developer), developer.metadata.uid.as_deref(), false)
    }

    #[test]
    fn a_new_uid_takes_over_what_nobody_left() {
        let (first, second) = (developer("1", None), developer("2", None));
        assert!(belongs_to(&mark(&first, false), &second));
        assert_eq!(person(Person::own(&second), &[mark(&first, false)]), Person::own(&first));
    }

    #[test]
    fn a_new_uid_is_a_stranger_to_what_somebody_left() {
        let (first, second) = (developer("1", None), developer("2", None));
        assert!(!belongs_to(&mark(&first, true), &second));
        assert!(!mark(&first, false).belongs_to(&Person::own(&second), second.metadata.uid.as_deref(), true));
        assert_eq!(person(Person::own(&second), &[]), Person::own(&second));
    }

    #[test]
    fn the_same_person_id_comes_back() {
        let (first, second) = (developer("1", Some("7")), developer("2", Some("7")));
        assert!(belongs_to(&mark(&first, true), &second));
    }

    #[test]
    fn another_person_id_is_a_stranger() {
        let (first, second) = (developer("1", Some("7")), developer("2", Some("8")));
        assert!(!belongs_to(&mark(&first, false), &second));
    }

    #[test]
    fn the_same_object_may_return() {
        let first = developer("1", None);
        assert!(belongs_to(&mark(&first, true), &first));
    }
}
