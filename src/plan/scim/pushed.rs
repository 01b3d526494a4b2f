//! All that was pushed, as it is kept in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::ResourceKind;
use super::record::{Id, Moved, Owner, Record, text};

/// All that was pushed, for all Sources.
#[derive(Debug, Default)]
pub struct Pushed {
    /// By the names of their objects.
    records: BTreeMap<String, Arc<Record>>,
    /// How often something of a Source changed.
    changes: BTreeMap<String, u64>,
    /// How often that may have taken something from somebody.
    losses: BTreeMap<String, u64>,
    served: bool,
}

impl Pushed {
    /// Says that it is watched, so that what is not here is not there.
    pub fn serve(&mut self) {
        self.served = true;
    }

    /// Whether SCIM is served at all.
    pub fn is_served(&self) -> bool {
        self.served
    }

    /// What is kept under a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Record>> {
        self.records.get(name)
    }

    /// The names under which records are kept.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.records.keys()
    }

    /// Keeps a record, or forgets it. Returns the Source that it was or is of.
    pub fn set(&mut self, name: &str, record: Option<Arc<Record>>) -> Option<String> {
        let source = record.as_ref().map(|record| record.source.clone());
        let takes = takes(self.records.get(name).map(AsRef::as_ref), record.as_deref());
        let old = match record {
            Some(record) => self.records.insert(name.to_owned(), record),
            None => self.records.remove(name),
        };
        let source = source.or_else(|| old.map(|old| old.source.clone()))?;
        *self.changes.entry(source.clone()).or_default() += 1;
        *self.losses.entry(source.clone()).or_default() += u64::from(takes);
        Some(source)
    }

    /// How often a change of a Source may have taken something from somebody: what is under way makes way for that.
    pub fn losses(&self, source: &str) -> u64 {
        self.losses.get(source).copied().unwrap_or_default()
    }

    /// How often something of a Source changed.
    pub fn changes(&self, source: &str) -> u64 {
        self.changes.get(source).copied().unwrap_or_default()
    }

    /// All records of a Source, whether they count or not.
    pub fn of(&self, owner: Owner<'_>) -> Vec<Arc<Record>> {
        self.records.values().filter(|record| record.owner() == owner).cloned().collect()
    }

    /// The records of other Sources that had or have this name: not of the one with that UID.
    pub fn of_others(&self, source: &str, uid: Option<&str>) -> Vec<Arc<Record>> {
        let others = |record: &&Arc<Record>| record.source == source && Some(record.source_uid.as_str()) != uid;
        self.records.values().filter(others).cloned().collect()
    }

    /// The names of all Sources that something was pushed for.
    pub fn sources(&self) -> impl Iterator<Item = &String> {
        self.changes.keys()
    }
}

/// Whether a change may take something from somebody: she leaves or is not active any more, or somebody is out of a Group, or all are.
fn takes(old: Option<&Record>, new: Option<&Record>) -> bool {
    match (old, new) {
        (None, None) => false,
        (None, Some(new)) => new.is_off(),
        (Some(old), None) => old.kind == ResourceKind::Group,
        (Some(old), Some(new)) if new.kind == ResourceKind::Group => {
            let members: HashSet<&Id> = new.members.iter().collect();
            let name = |record: &Record| text(&record.attributes(), "displayName").to_owned();
            old.members.iter().any(|member| !members.contains(member)) || old.text != new.text && name(old) != name(new)
        }
        (Some(old), Some(new)) => new.is_off() && !old.is_off(),
    }
}

/// Those of several records of a Source that count, by id: each resource has one. Who was deleted stays so; whoever moved to another object while the old one was changed
/// has not moved.
pub fn counting(records: &[Arc<Record>]) -> BTreeMap<Id, Arc<Record>> {
    let mut by_id: BTreeMap<Id, Vec<&Arc<Record>>> = BTreeMap::new();
    records.iter().for_each(|record| by_id.entry(record.id).or_default().push(record));
    let counting = by_id.into_iter().filter_map(|(id, of_one)| {
        let valid = of_one.iter().filter(|record| !is_void(record, &of_one));
        let last = valid.max_by_key(|record| (record.stamp.deleted.is_some(), record.stamp.revision, record.stamp.moved.is_some()))?;
        Some((id, (*last).clone()))
    });
    counting.collect()
}

fn is_void(record: &Record, of_one: &[&Arc<Record>]) -> bool {
    let Some(moved) = &record.stamp.moved else { return false };
    of_one.iter().any(|other| other.name() == moved.from && other.stamp.revision != moved.revision)
}

/// Whether the object that a resource moved away from is as it was left, so that it may go: not if it was changed there since, which is an answer that counts. `found` is
/// what is under its name.
pub fn is_as_left(moved: &Moved, id: Id, found: &Record) -> bool {
    found.id == id && found.stamp.revision == moved.revision
}

/// Whether a Group that was just made is one that was pushed before: a sender that hears no answer sends it again. `others` are those that may be called so.
pub fn repeats(made: &Record, others: &[Arc<Record>]) -> bool {
    let said = |record: &Record| {
        let attributes = record.attributes();
        (text(&attributes, "displayName").to_lowercase(), text(&attributes, "externalId").to_owned())
    };
    let (wanted, version) = (said(made), version(made));
    // Whatever was changed since is older than what was only just made.
    let older = |other: &Record| other.stamp.revision > 0 || self::version(other) < version;
    let resources = Resources::among(others);
    resources.of_kind(ResourceKind::Group).into_iter().any(|other| other.id != made.id && older(other) && said(other) == wanted)
}

/// The version of a record's object (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>); one that was not made yet comes last.
fn version(record: &Record) -> u64 {
    record.meta.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(u64::MAX)
}

/// What is left of resources that moved, or were deleted before they went.
pub fn left_over(records: &[Arc<Record>]) -> Vec<Arc<Record>> {
    let counting = counting(records);
    let counts = |record: &Record| counting.get(&record.id).is_some_and(|it| it.name() == record.name());
    records.iter().filter(|record| !counts(record)).cloned().collect()
}

/// The resources of a Source: those of its records that count and were not deleted.
#[derive(Debug, Default)]
pub struct Resources {
    by_id: BTreeMap<Id, Arc<Record>>,
}

impl Resources {
    /// Those among records.
    pub fn among(records: &[Arc<Record>]) -> Self {
        let mut by_id = counting(records);
        by_id.retain(|_, record| record.stamp.deleted.is_none());
        Self { by_id }
    }

    /// Takes in what was read anew of a resource, which may be gone.
    pub fn learn(&mut self, id: Id, records: &[Arc<Record>]) {
        match Self::among(records).by_id.remove(&id) {
            Some(record) => drop(self.by_id.insert(id, record)),
            None => drop(self.by_id.remove(&id)),
        }
    }

    /// The resource with an id.
    pub fn get(&self, id: Id) -> Option<&Arc<Record>> {
        self.by_id.get(&id)
    }

    /// The type of a resource.
    pub fn kind(&self, id: Id) -> Option<ResourceKind> {
        self.get(id).map(|record| record.kind)
    }

    /// All of a type, the oldest first.
    pub fn of_kind(&self, kind: ResourceKind) -> Vec<&Arc<Record>> {
        let mut all: Vec<&Arc<Record>> = self.by_id.values().filter(|record| record.kind == kind).collect();
        all.sort_by(|one, other| (&one.stamp.created, one.id).cmp(&(&other.stamp.created, other.id)));
        all
    }

    /// Those of which an attribute says this, whatever its letters.
    pub fn saying(&self, kind: ResourceKind, attribute: &str, value: &str) -> Vec<Id> {
        let value = value.to_lowercase();
        let says = |record: &&Arc<Record>| {
            record.attributes().get(attribute).and_then(Value::as_str).is_some_and(|said| said.to_lowercase() == value)
        };
        self.of_kind(kind).into_iter().filter(says).map(|record| record.id).collect()
    }

    /// The Groups that each is in: their ids and names.
    pub fn memberships(&self) -> HashMap<Id, Vec<(Id, String)>> {
        let mut groups: HashMap<Id, Vec<(Id, String)>> = HashMap::new();
        for group in self.of_kind(ResourceKind::Group) {
            let name = text(&group.attributes(), "displayName").to_owned();
            for member in &group.members {
                groups.entry(*member).or_default().push((group.id, name.clone()));
            }
        }
        groups
    }
}
