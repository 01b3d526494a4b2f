//! Who has what where, in words; and what of that somebody gains and loses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Somebody who has something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A Developer.
    Developer(String),
    /// A name in a binding of usher's that is no Developer's.
    Unknown(String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Developer(name) => write!(f, "dev/{name}"),
            Self::Unknown(name) => write!(f, "{name} (nobody's)"),
        }
    }
}

/// Where somebody has something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In an Environment.
    Environment(String),
    /// In a cluster, where no Environment is.
    Cluster(String),
    /// At a Provider.
    Provider(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "in uenv/{name}"),
            Self::Cluster(name) => write!(f, "in cluster {name}"),
            Self::Provider(name) => write!(f, "at uprov/{name}"),
        }
    }
}

/// Who has what: person and place, with what she has there in words.
pub type Matrix = BTreeMap<(Who, Place), BTreeSet<String>>;

/// Adds what somebody has somewhere.
pub fn add(matrix: &mut Matrix, who: Who, place: Place, words: impl IntoIterator<Item = String>) {
    matrix.entry((who, place)).or_default().extend(words);
}

/// What one person gains and loses in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Who.
    pub who: Who,
    /// The Environment or Provider.
    pub place: Place,
    /// What she would have that she has not.
    pub gains: BTreeSet<String>,
    /// What she has that she would not have.
    pub loses: BTreeSet<String>,
}

/// Compares two matrices, cell by cell.
pub fn differences(before: &Matrix, after: &Matrix) -> Vec<Difference> {
    let cells: BTreeSet<&(Who, Place)> = before.keys().chain(after.keys()).collect();
    let empty = BTreeSet::new();
    cells
        .into_iter()
        .map(|cell| {
            let (old, new) = (before.get(cell).unwrap_or(&empty), after.get(cell).unwrap_or(&empty));
            Difference {
                who: cell.0.clone(),
                place: cell.1.clone(),
                gains: new.difference(old).cloned().collect(),
                loses: old.difference(new).cloned().collect(),
            }
        })
        .filter(|difference| !(difference.gains.is_empty() && difference.loses.is_empty()))
        .collect()
}
