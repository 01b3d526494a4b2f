//! What a Source owns of a Developer, by the API server's own record of field managers, and what it writes: by server-side apply, so that what others own stays
//! theirs (<https://kubernetes.io/docs/reference/using-api/server-side-apply/>).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use serde_json::{Map, Value, json};

use crate::api::metadata::{MISSING_SINCE, RECORDED_AT, SOURCE, SOURCE_MANAGER};
use crate::api::{DesiredState, Developer, Source};

use super::super::developer::seconds;
use super::mapping::Wanted;

/// The fields that a Source says, but for teams.
const SAID: [&str; 4] = ["displayName", "email", "personId", "state"];

/// One apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The Developer.
    pub name: String,
    /// Exactly this object, if it is there already.
    pub uid: Option<String>,
    /// Exactly as it was then, where what others say does not count.
    pub version: Option<String>,
    /// What the Source says of her: fields of the spec. What it said before and is not here any more it gives up.
    pub spec: Map<String, Value>,
    /// Since when it does not tell of her.
    pub missing_since: Option<String>,
    /// When it recorded her: said when she is made, and ever after.
    pub recorded_at: Option<String>,
    /// What it is to her.
    pub effect: Effect,
    /// The field managers of Sources that had her before: they give up what they said, and this Source owns it instead.
    pub former: BTreeSet<String>,
}

/// What a write is to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// She becomes a Developer.
    Makes,
    /// She is this Source's from now on, and everything of her stays as it is.
    TakesOver,
    /// Something changes, and she loses nothing.
    Changes,
    /// She was missing, and is told of.
    Finds,
    /// She is missing.
    Misses,
    /// She is known by another address, where that is how a cluster knows her: whoever has the old one loses everything.
    Readdresses,
    /// She loses a team.
    Narrows,
    /// She has nothing: what others say of her state does not count, and no other field changes.
    Ends,
}

impl Effect {
    /// Whether she loses something.
    pub const fn loses(self) -> bool {
        matches!(self, Self::Misses | Self::Readdresses | Self::Narrows | Self::Ends)
    }

    /// In words, before her name.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Makes => "make",
            Self::TakesOver => "take over",
            Self::Changes => "change",
            Self::Finds => "note as found",
            Self::Misses => "note as missing",
            Self::Readdresses => "give another address to",
            Self::Narrows => "take a team from",
            Self::Ends => "take everything from",
        }
    }
}

/// What a Source owns of a Developer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Fields of the spec but for teams.
    fields: BTreeSet<String>,
    /// Her teams by the Source.
    pub teams: BTreeSet<String>,
}

/// The field manager of a Source.
pub fn manager(source: &str) -> String {
    format!("{SOURCE_MANAGER}{source}")
}

/// Since when the Source does not tell of a Developer.
pub fn missing_since(developer: &Developer) -> Option<Timestamp> {
    developer.annotations().get(MISSING_SINCE)?.parse().ok()
}

impl Claim {
    /// Reads what a Source owns.
    pub fn read(source: &Source, developer: &Developer) -> Self {
        Self::of(&manager(&source.name_any()), developer)
    }

    fn of(manager: &str, developer: &Developer) -> Self {
        let entry = applied(developer).find(|entry| entry.manager.as_deref() == Some(manager));
        let spec = entry.and_then(|entry| entry.fields_v1.as_ref()?.0.get("f:spec")?.as_object().cloned()).unwrap_or_default();
        let fields = spec.keys().filter_map(|key| key.strip_prefix("f:")).filter(|key| *key != "teams").map(str::to_owned).collect();
        let teams = spec.get("f:teams").and_then(Value::as_object).into_iter().flatten();
        let teams = teams.filter_map(|(key, _)| serde_json::from_str::<String>(key.strip_prefix("v:")?).ok()).collect();
        Self { fields, teams }
    }

    /// Makes somebody.
    pub fn make(name: &str, wanted: &Wanted) -> Write {
        Write {
            name: name.to_owned(),
            uid: None,
            version: None,
            spec: spec(values(wanted), &wanted.teams),
            missing_since: None,
            recorded_at: wanted.recorded_at.map(seconds),
            effect: Effect::Makes,
            former: BTreeSet::new(),
        }
    }

    /// What must be written so that a Developer is as a Source says, as far as that is the Source's to say.
    pub fn diff(source: &Source, developer: &Developer, wanted: &Wanted) -> Option<Write> {
        let claim = Self::read(source, developer);
        if wanted.active == Some(false) && developer.spec.state == DesiredState::Active {
            return Some(claim.tighten(developer, DesiredState::Suspended, None));
        }
        let former = former(source, developer);
        if !former.is_empty() {
            return Some(claim.take_over(developer, former));
        }
        let claimed = super::is_of(developer, source);
        let there = there(developer);
        let returns = missing_since(developer).is_some();
        let mut values = values(wanted);
        let untold = wanted.active.is_none() && !returns;
        if wanted.active == Some(false) || untold {
            // She has nothing already, and a departure is no suspension; or it is not told whether she may have anything, which changes nothing.
            values.extend(there.get("state").map(|state| ("state".to_owned(), state.clone())));
        }
        if untold && claimed && !claim.fields.contains("state") {
            // Somebody else's word is not the source's own by being the same as before.
            values.remove("state");
        }
        if wanted.keeps_address && !claim.fields.contains("email") {
            // The source says another one, so that somebody else's is not its own by being the same.
            values.remove("email");
        }
        // What somebody else says otherwise is theirs; what nobody says is the Source's. The first time all is asked for, and the API server says what is whose.
        values.retain(|field, value| !claimed || claim.fields.contains(field) || there.get(field).is_none_or(|present| present == value));
        let same = values.iter().all(|(field, value)| claim.fields.contains(field) && there.get(field) == Some(value));
        let gives_up = claim.fields.iter().any(|field| !values.contains_key(field));
        if claimed && same && !gives_up && !returns && claim.teams == wanted.teams {
            return None;
        }
        let moved = claim.fields.contains("email") && values.get("email") != there.get("email");
        // What was her address may be another one's now, whatever else she loses: that is looked at again.
        let effect = match claim.teams.iter().any(|team| !wanted.teams.contains(team)) {
            _ if moved => Effect::Readdresses,
            true => Effect::Narrows,
            false => Effect::Changes,
        };
        Some(Write { spec: spec(values, &wanted.teams), ..Write::on(developer, effect) })
    }

    /// Owns what Sources that had her before say of her, so that nothing goes as they give it up. What follows from a read comes after that.
    fn take_over(mut self, developer: &Developer, former: BTreeSet<String>) -> Write {
        for before in former.iter().map(|manager| Self::of(manager, developer)) {
            self.fields.extend(before.fields);
            self.teams.extend(before.teams);
        }
        Write { spec: self.present(developer), former, ..Write::on(developer, Effect::TakesOver) }
    }

    /// Notes that somebody is not told of.
    pub fn mark_missing(source: &Source, developer: &Developer, at: Timestamp) -> Write {
        let spec = Self::read(source, developer).present(developer);
        Write { spec, missing_since: Some(seconds(at)), ..Write::on(developer, Effect::Misses) }
    }

    /// Takes that note away.
    pub fn found_again(source: &Source, developer: &Developer) -> Write {
        Write { spec: Self::read(source, developer).present(developer), ..Write::on(developer, Effect::Finds) }
    }

    /// Takes everything from somebody who is not told of for long enough.
    pub fn end(source: &Source, developer: &Developer, state: DesiredState) -> Write {
        let since = developer.annotations().get(MISSING_SINCE).cloned();
        Self::read(source, developer).tighten(developer, state, since)
    }

    /// Whatever others say of her state, the stricter word counts. Everything else stays as it is, so that nothing else is forced.
    fn tighten(&self, developer: &Developer, state: DesiredState, missing_since: Option<String>) -> Write {
        let mut spec = self.present(developer);
        spec.insert("state".to_owned(), word(state).into());
        Write { spec, missing_since, ..Write::on(developer, Effect::Ends) }
    }

    /// What is owned, as it is.
    fn present(&self, developer: &Developer) -> Map<String, Value> {
        let mut there = there(developer);
        there.retain(|field, _| self.fields.contains(field));
        spec(there, &self.teams)
    }
}

impl Write {
    /// A write on a Developer as she was seen, which says nothing yet.
    fn on(developer: &Developer, effect: Effect) -> Self {
        Self {
            name: developer.name_any(),
            uid: developer.uid(),
            version: developer.resource_version(),
            spec: Map::new(),
            missing_since: None,
            recorded_at: developer.annotations().get(RECORDED_AT).cloned(),
            effect,
            former: BTreeSet::new(),
        }
    }

    /// Whether what others say does not count: of her state where she has nothing by it, and that she is of a Source which had her before. Then it is carried out
    /// only on exactly what was seen, so that nobody's later word is overwritten.
    pub const fn is_forced(&self) -> bool {
        matches!(self.effect, Effect::Ends | Effect::TakesOver)
    }

    /// By what she is known for ever, where the Source says it.
    pub fn person_id(&self) -> String {
        self.spec.get("personId").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// What is sent as one of [`Self::former`], so that it owns nothing any more.
    pub fn farewell(&self) -> Value {
        json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": self.name, "uid": self.uid}})
    }

    /// What is sent.
    pub fn body(&self, source: &str) -> Value {
        let mut metadata = json!({"name": self.name, "labels": {SOURCE: source}});
        if let Some(map) = metadata.as_object_mut() {
            map.extend(self.uid.iter().map(|uid| ("uid".to_owned(), uid.clone().into())));
            let version = self.version.iter().filter(|_| self.is_forced());
            map.extend(version.map(|version| ("resourceVersion".to_owned(), version.clone().into())));
            let missing = self.missing_since.iter().map(|since| (MISSING_SINCE.to_owned(), since.clone()));
            let recorded = self.recorded_at.iter().map(|at| (RECORDED_AT.to_owned(), at.clone()));
            let notes: BTreeMap<String, String> = missing.chain(recorded).collect();
            if !notes.is_empty() {
                map.insert("annotations".to_owned(), json!(notes));
            }
        }
        json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": metadata, "spec": self.spec})
    }

    /// The same without fields that somebody else owns; nothing if no field of those is the Source's to leave out.
    #[must_use]
    pub fn without(&self, fields: &BTreeSet<String>) -> Option<Self> {
        let mut less = self.clone();
        less.spec.retain(|field, _| !fields.contains(field));
        (less.spec.len() < self.spec.len()).then_some(less)
    }
}

/// The field managers of other Sources that own something of a Developer. Whoever asks knows that she is theirs no more.
fn former(source: &Source, developer: &Developer) -> BTreeSet<String> {
    let own = manager(&source.name_any());
    let managers = applied(developer).filter_map(|entry| entry.manager.clone());
    let others = managers.filter(|manager| manager.starts_with(SOURCE_MANAGER) && *manager != own);
    // Who owns what no Source says only has the name of one, and what is hers is not given up for her.
    others.filter(|manager| Claim::of(manager, developer).fields.iter().all(|field| SAID.contains(&field.as_str()))).collect()
}

/// What was said of a Developer by server-side apply. What somebody wrote otherwise under the name of a field manager is no claim: an apply cannot give it up.
fn applied(developer: &Developer) -> impl Iterator<Item = &ManagedFieldsEntry> {
    let whole = |entry: &&ManagedFieldsEntry| entry.subresource.as_deref().unwrap_or_default().is_empty();
    let entries = developer.metadata.managed_fields.iter().flatten();
    entries.filter(|entry| entry.operation.as_deref() == Some("Apply")).filter(whole)
}

/// What a Source says of somebody, but for her teams.
fn values(wanted: &Wanted) -> BTreeMap<String, Value> {
    // That somebody may have nothing is only said by words, never by their absence.
    let state = if wanted.active == Some(false) { DesiredState::Suspended } else { DesiredState::Active };
    let mut values = BTreeMap::from([
        ("email".to_owned(), Value::from(wanted.email.as_str())),
        ("personId".to_owned(), wanted.person_id.as_str().into()),
        ("state".to_owned(), word(state).into()),
    ]);
    values.extend(wanted.display_name.iter().map(|name| ("displayName".to_owned(), Value::from(name.as_str()))));
    values
}

/// The same fields as they are.
fn there(developer: &Developer) -> BTreeMap<String, Value> {
    let spec = &developer.spec;
    let mut there = BTreeMap::from([("email".to_owned(), Value::from(spec.email.as_str())), ("state".to_owned(), word(spec.state).into())]);
    there.extend(spec.display_name.iter().map(|name| ("displayName".to_owned(), Value::from(name.as_str()))));
    there.extend(spec.person_id.iter().map(|id| ("personId".to_owned(), Value::from(id.as_str()))));
    there
}

fn spec(values: BTreeMap<String, Value>, teams: &BTreeSet<String>) -> Map<String, Value> {
    let mut spec: Map<String, Value> = values.into_iter().collect();
    if !teams.is_empty() {
        spec.insert("teams".to_owned(), teams.iter().cloned().collect());
    }
    spec
}

const fn word(state: DesiredState) -> &'static str {
    match state {
        DesiredState::Active => "Active",
        DesiredState::Suspended => "Suspended",
        DesiredState::Departed => "Departed",
    }
}
