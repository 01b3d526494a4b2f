//! What an import leaves as it is, and why.

/// What sort of thing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Access or a namespace of people, which somebody has to look at.
    People,
    /// Access of ServiceAccounts: they are programs.
    Machine,
    /// Kubernetes' own.
    System,
    /// What usher made itself.
    Usher,
}

/// Something that is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// What sort of thing it is.
    pub sort: Sort,
    /// The object that it stands in.
    pub object: String,
    /// Whom it is about; empty if that says the object.
    pub who: String,
    /// Why it cannot be said.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

impl Left {
    /// Something of people's that is left.
    pub(super) fn people(object: impl Into<String>, who: impl Into<String>, (why, remedy): (impl Into<String>, impl Into<String>)) -> Self {
        Self { sort: Sort::People, object: object.into(), who: who.into(), why: why.into(), remedy: remedy.into() }
    }

    /// Something of nobody's that is left: there is nothing to do about it.
    pub(super) fn other(sort: Sort, object: impl Into<String>, who: impl Into<String>, why: &str) -> Self {
        Self { sort, object: object.into(), who: who.into(), why: why.to_owned(), remedy: "nothing to do: it stays".to_owned() }
    }
}
