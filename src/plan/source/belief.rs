//! Whether a complete read is to be believed. A directory that tells of nobody, or what it told before, takes nobody's access away.
//!
//! A copy of the past is seen in two ways. Where entries have versions that only grow, one that is older than it was seen before is proof. Where they have none, a
//! state that was read before, while another one was read meanwhile, is a copy until it lasts or somebody says that it was meant.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::source::ReadState;
use crate::api::{Source, SourceSpec};

use super::super::developer::seconds;
use super::super::name::fingerprint;
use super::Read;
use super::mapping::Mapping;

/// So many states are remembered.
pub const MOST_STATES: usize = 32;
/// So many people are named.
const SAMPLE: usize = 5;
/// What stands for a state in which entries are older than they were, whatever else it tells.
const OLDER: &str = "older";

/// What is remembered of reads over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The last different states, the newest at the end.
    pub states: Vec<ReadState>,
    /// Since when a state is back that was read before.
    pub returned: Option<ReadState>,
}

/// Whether a read is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belief {
    /// It is, and this is remembered from now on.
    Believed(Remembered),
    /// It is not, for this reason with its remedy; and this is remembered.
    Doubted(String, Remembered),
}

/// How the versions of entries compare with those that were read before.
fn compare(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Option<Ordering> {
    let both = now.iter().filter_map(|(id, version)| Some(version.cmp(before.get(id)?)));
    let (mut older, mut newer) = (false, now.keys().any(|id| !before.contains_key(id)));
    both.for_each(|order| {
        older |= order == Ordering::Less;
        newer |= order == Ordering::Greater;
    });
    let known = !before.is_empty() && !now.is_empty();
    known.then_some(if older {
        Ordering::Less
    } else if newer {
        Ordering::Greater
    } else {
        Ordering::Equal
    })
}

impl Remembered {
    /// What the status of a Source says. What was read by another spec cannot be compared.
    pub fn of(source: &Source) -> Self {
        let status = source.status.as_ref().filter(|status| status.observed_generation == source.metadata.generation);
        status.map(|status| Self { states: status.states.clone(), returned: status.returned.clone() }).unwrap_or_default()
    }

    fn with(&self, digest: &str, at: Timestamp) -> Self {
        let mut states = self.states.clone();
        if states.last().is_none_or(|newest| newest.digest != digest) {
            states.retain(|state| state.digest != digest);
            states.push(ReadState { digest: digest.to_owned(), at: seconds(at) });
            states.drain(..states.len().saturating_sub(MOST_STATES));
        }
        Self { states, returned: None }
    }
}

impl ReadState {
    /// The word by which somebody says that this state is meant. Another return of it has another one.
    pub fn word(&self) -> String {
        format!("sha256:{}", fingerprint(format!("{}\n{}", self.digest, self.at).as_bytes()))
    }
}

/// Judges a read. `before` are the versions of the entries of the last one that was believed, `word` what somebody released.
pub fn judge(spec: &SourceSpec, read: &Read, before: &BTreeMap<String, String>, remembered: &Remembered, word: Option<&str>) -> Belief {
    let doubted = |why: String| Belief::Doubted(why, remembered.clone());
    if read.found.people.is_empty() {
        return doubted("it tells of nobody; look at what usher may read there, and at the part of it that the Source names".to_owned());
    }
    if let Some(why) = unknown(spec, read) {
        return doubted(why);
    }
    let order = compare(before, &read.found.versions);
    let known = remembered.states.iter().rev().skip(1).find(|state| state.digest == read.digest);
    let (digest, what) = match (order, known) {
        (Some(Ordering::Less), _) => (OLDER, "entries are older than they were when it was read before".to_owned()),
        (Some(Ordering::Greater), _) | (_, None) => return Belief::Believed(remembered.with(&read.digest, read.at)),
        (_, Some(known)) => (read.digest.as_str(), format!("it tells exactly what it told at {}, and something else since then", known.at)),
    };
    let returned = remembered.returned.clone().filter(|it| it.digest == digest);
    let returned = returned.unwrap_or_else(|| ReadState { digest: digest.to_owned(), at: seconds(read.at) });
    let lasts = returned.at.parse::<Timestamp>().is_ok_and(|since| read.at.duration_since(since) >= after(spec));
    if lasts || word == Some(returned.word().as_str()) {
        return Belief::Believed(remembered.with(&read.digest, read.at));
    }
    let why = format!(
        "{what}, so this may be a copy of the past: look whether it was restored, or a replica lags; it is believed when that is over, when it lasts for {}, or at once if \
         you annotate usher.dev/release={}",
        spec.absence.after,
        returned.word()
    );
    Belief::Doubted(why, Remembered { states: remembered.states.clone(), returned: Some(returned) })
}

fn after(spec: &SourceSpec) -> SignedDuration {
    spec.absence.after.duration()
}

/// Who cannot be told apart would look like somebody who is gone.
fn unknown(spec: &SourceSpec, read: &Read) -> Option<String> {
    let mapping = Mapping::of(spec);
    let unknown: Vec<&str> =
        read.found.people.iter().filter(|person| mapping.person_id(person).is_none()).map(|person| person.id.as_str()).collect();
    let sample = unknown.iter().take(SAMPLE).copied().collect::<Vec<_>>().join(", ");
    (!unknown.is_empty()).then(|| {
        format!(
            "{} people have nothing that spec.people.personId names (of 128 characters at most), among them {sample}; let usher read it, or name what everybody has",
            unknown.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(id, version)| ((*id).to_owned(), (*version).to_owned())).collect()
    }

    #[test]
    fn one_older_entry_makes_a_copy_of_the_past() {
        let before = versions(&[("a", "2"), ("b", "2")]);
        for (now, order) in [
            (versions(&[("a", "2"), ("b", "2")]), Some(Ordering::Equal)),
            (versions(&[("a", "2")]), Some(Ordering::Equal)),
            (versions(&[("a", "3"), ("b", "2")]), Some(Ordering::Greater)),
            (versions(&[("a", "2"), ("b", "2"), ("c", "1")]), Some(Ordering::Greater)),
            (versions(&[("a", "3"), ("b", "1")]), Some(Ordering::Less)),
            (versions(&[]), None),
        ] {
            assert_eq!(compare(&before, &now), order, "{now:?}");
        }
        assert_eq!(compare(&versions(&[]), &before), None);
    }
}
