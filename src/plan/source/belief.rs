//! Whether a complete read is to be believed. A directory that tells of nobody, or what it told before, takes nobody's access away.
//!
//! A copy of the past is seen in two ways. Where entries have versions that only grow, one that is older than it was seen before is proof. Where they have none, a
//! state that was read before, while another one was read meanwhile, is a copy until it lasts or somebody says that it was meant.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::source::{EmptiedTeam, EntryVersion, Origin, ReadState};
use crate::api::{Source, SourceSpec};

use super::super::developer::seconds;
use super::super::name::fingerprint;
use super::Read;
use super::mapping::Mapping;

/// So many states are remembered, and so many entries with their versions.
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
    /// A digest of what is read, and by which mapping.
    pub reads: String,
    /// The entries that were changed last, with their versions: by whatever spec they were read, none becomes older.
    pub newest: Vec<EntryVersion>,
    /// Teams that nobody is told to be in any more.
    pub emptied: Vec<EmptiedTeam>,
}

/// Whether a read is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belief {
    /// It is, and this is remembered from now on.
    Believed(Remembered),
    /// It is not, for this reason with its remedy; and this is remembered.
    Doubted(String, Remembered),
}

/// How the versions of entries compare with those that were read before: all of them since usher started, else the newest ones. An entry that was not there is news
/// only if it is newer than everything that was: else it is an old one that is back.
fn compare(before: &BTreeMap<String, String>, newest: &[EntryVersion], now: &BTreeMap<String, String>) -> Option<Ordering> {
    let remembered: BTreeMap<&str, &String> = newest.iter().map(|it| (it.entry.as_str(), &it.version)).collect();
    let last = before.values().chain(remembered.values().copied()).max()?;
    let (mut older, mut newer) = (false, false);
    for (id, version) in now {
        let seen = before.get(id).max(remembered.get(entry(id).as_str()).copied());
        older |= seen.is_some_and(|seen| version < seen);
        newer |= version > seen.unwrap_or(last);
    }
    (!now.is_empty()).then_some(if older {
        Ordering::Less
    } else if newer {
        Ordering::Greater
    } else {
        Ordering::Equal
    })
}

/// What stands for an entry where it is remembered.
fn entry(id: &str) -> String {
    fingerprint(id.as_bytes()).chars().take(16).collect()
}

/// What decides what is read and what it means: states of one are no states of another.
fn reads(spec: &SourceSpec) -> String {
    let from = match spec.origin() {
        Some(Origin::Keycloak(it)) => format!("{:?}", (&it.url, &it.realm)),
        Some(Origin::Ldap(it)) => format!("{:?}", (&it.url, &it.base_dn, &it.filter, &it.group_base_dn)),
        Some(Origin::Scim(_)) => "scim".to_owned(),
        None => String::new(),
    };
    fingerprint(format!("{from} {:?} {:?}", spec.people, spec.teams).as_bytes())
}

impl Remembered {
    /// What the status of a Source says. States that were read from somewhere else, or by another mapping, cannot be compared.
    pub fn of(source: &Source) -> Self {
        let reads = reads(&source.spec);
        let Some(status) = &source.status else { return Self { reads, ..Self::default() } };
        let (newest, emptied) = (status.newest.clone(), status.emptied.clone());
        let (states, returned) = if status.reads == reads { (status.states.clone(), status.returned.clone()) } else { (Vec::new(), None) };
        Self { states, returned, reads, newest, emptied }
    }

    /// With a read that is believed. Where it tells what the last one did nothing is remembered anew, so that nothing is written; but what was a return of the past,
    /// and is believed now, is what others are compared with from now on.
    fn with(&self, read: &Read) -> Self {
        let mut now = Self { returned: None, ..self.clone() };
        if self.returned.is_some() {
            now.newest = newest(&read.found.versions);
        }
        if now.states.last().is_none_or(|newest| newest.digest != read.digest) {
            now.states.retain(|state| state.digest != read.digest);
            now.states.push(ReadState { digest: read.digest.clone(), at: seconds(read.at) });
            now.states.drain(..now.states.len().saturating_sub(MOST_STATES));
            now.newest = newest(&read.found.versions);
        }
        now
    }
}

fn newest(versions: &BTreeMap<String, String>) -> Vec<EntryVersion> {
    let mut all: Vec<(&String, &String)> = versions.iter().collect();
    all.sort_by(|one, other| other.1.cmp(one.1));
    all.into_iter().take(MOST_STATES).map(|(id, version)| EntryVersion { entry: entry(id), version: version.clone() }).collect()
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
    if is_pushed(spec) {
        // Each word was said for itself, so nothing of it is a copy; and a sender takes back what it said, as often as it likes. Whom nothing tells apart are no reason
        // to let somebody else have what she may not have.
        return Belief::Believed(remembered.clone());
    }
    if read.found.people.is_empty() {
        return doubted("it tells of nobody; look at what usher may read there, and at the part of it that the Source names".to_owned());
    }
    if let Some(why) = unknown(spec, read) {
        return doubted(why);
    }
    let order = compare(before, &remembered.newest, &read.found.versions);
    let known = remembered.states.iter().rev().skip(1).find(|state| state.digest == read.digest);
    let (digest, what) = match (order, known) {
        (Some(Ordering::Less), _) => (OLDER, "entries are older than they were when it was read before".to_owned()),
        (Some(Ordering::Greater), _) | (_, None) => return Belief::Believed(remembered.with(read)),
        (_, Some(known)) => (read.digest.as_str(), format!("it tells exactly what it told at {}, and something else since then", known.at)),
    };
    let returned = remembered.returned.clone().filter(|it| it.digest == digest);
    let returned = returned.unwrap_or_else(|| ReadState { digest: digest.to_owned(), at: seconds(read.at) });
    let lasts = returned.at.parse::<Timestamp>().is_ok_and(|since| read.at.duration_since(since) >= after(spec));
    let back = Remembered { returned: Some(returned.clone()), ..remembered.clone() };
    if lasts || word == Some(returned.word().as_str()) {
        return Belief::Believed(back.with(read));
    }
    let why = format!(
        "{what}, so this may be a copy of the past: look whether it was restored, or a replica lags; it is believed when that is over, when it lasts for {}, or at once if \
         you annotate usher.dev/release={}",
        spec.absence.after,
        returned.word()
    );
    Belief::Doubted(why, back)
}

/// Whether others say what there is, and it is not read.
pub(super) fn is_pushed(spec: &SourceSpec) -> bool {
    spec.origin().is_some_and(|origin| origin.is_pushed())
}

fn after(spec: &SourceSpec) -> SignedDuration {
    spec.absence.after.duration()
}

/// Where most people cannot be told apart it is no matter of single people: what tells them apart is not read, or not the right thing.
pub(super) fn unknown(spec: &SourceSpec, read: &Read) -> Option<String> {
    let mapping = Mapping::of(spec);
    let unknown: Vec<&str> =
        read.found.people.iter().filter(|person| mapping.person_id(person).is_none()).map(|person| person.id.as_str()).collect();
    let sample = unknown.iter().take(SAMPLE).copied().collect::<Vec<_>>().join(", ");
    (unknown.len() * 2 > read.found.people.len()).then(|| {
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
        let (before, nothing) = (versions(&[("a", "2"), ("b", "2")]), versions(&[]));
        let newest = newest(&before);
        for (now, order) in [
            (versions(&[("a", "2"), ("b", "2")]), Some(Ordering::Equal)),
            (versions(&[("a", "2")]), Some(Ordering::Equal)),
            (versions(&[("a", "3"), ("b", "2")]), Some(Ordering::Greater)),
            (versions(&[("a", "2"), ("b", "2"), ("c", "3")]), Some(Ordering::Greater)),
            // An old entry that is back is no news.
            (versions(&[("a", "2"), ("b", "2"), ("c", "1")]), Some(Ordering::Equal)),
            (versions(&[("a", "3"), ("b", "1")]), Some(Ordering::Less)),
            (versions(&[]), None),
        ] {
            assert_eq!(compare(&before, &[], &now), order, "{now:?}");
            assert_eq!(compare(&nothing, &newest, &now), order, "{now:?}, after a restart");
        }
        assert_eq!(compare(&nothing, &[], &before), None);
    }
}
