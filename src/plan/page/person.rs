//! One person: every Grant of hers, running or over, and what happened to her, in order.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use crate::api::grant::GrantInterval;
use crate::api::metadata::REQUESTED_BY;
use crate::api::{Departure, Grant, GrantState, Lock};
use crate::plan::access::lock_holds;
use crate::plan::departures::complete;
use crate::plan::developer::seconds;
use crate::plan::placement::Scene;
use crate::plan::receipt::seconds_of;

use super::checks::Checks;
use super::matrix::state;
use super::rights::{Kind, Reader, View};

/// A person, as a reader may see her.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PersonView {
    /// The Developer's name.
    pub name: String,
    /// What she is called, if that is known and another word.
    pub display_name: String,
    /// How she stands, if that is known.
    pub state: String,
    /// Her teams, as far as they are known.
    pub teams: Vec<String>,
    /// How many people of this name the record knows.
    pub people: usize,
    /// Her Grants: what runs first, then what is over, the newest first.
    pub grants: Vec<GrantView>,
    /// What happened, the newest first.
    pub events: Vec<Event>,
    /// What is left out for want of a permission, a sentence each.
    pub missing: Vec<String>,
}

/// A Grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantView {
    /// The Grant.
    pub name: String,
    /// Whose it is: the personId of the Developer, else her UID.
    pub person: String,
    /// The Role.
    pub role: String,
    /// Whether it runs.
    pub active: bool,
    /// Since when.
    pub since: String,
    /// When it will end by itself, or ended.
    pub until: String,
    /// Who asked for it.
    pub granted_by: String,
    /// For whom.
    pub on_behalf_of: String,
    /// By which change.
    pub change: String,
    /// Why.
    pub reason: String,
    /// Where.
    pub targets: Vec<Target>,
    /// By which Bindings.
    pub via: Vec<Via>,
    /// Who ended it; empty while it runs.
    pub ended_by: String,
    /// What ended it.
    pub ended_why: String,
}

/// A place of a Grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// environment/<name> or provider/<name>.
    pub name: String,
    /// Since when.
    pub since: String,
    /// Until when; empty while it holds.
    pub until: String,
    /// Whether it was seen to be right; false also where it holds no more.
    pub verified: bool,
    /// What is wrong there.
    pub fault: String,
}

/// A Binding of a Grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Via {
    /// The Binding.
    pub binding: String,
    /// The team by which it named her; empty where it named her herself.
    pub team: String,
    /// Since when.
    pub since: String,
    /// Until when; empty while it gives the Role.
    pub until: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Event {
    /// When.
    pub at: String,
    /// What, in a word.
    pub kind: EventKind,
    /// About which object.
    pub object: String,
    /// By whom; empty where nobody did it.
    pub by: String,
    /// Why, or what it came to.
    pub note: String,
}

/// What can happen to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// A Grant began.
    GrantBegan,
    /// A Grant reached a further place.
    PlaceGained,
    /// A Grant goes on without a place.
    PlaceLost,
    /// A Grant ended.
    GrantEnded,
    /// She was locked.
    Locked,
    /// The time of a Lock was over.
    LockExpired,
    /// She was told to leave.
    DepartureBegan,
    /// Every API server that answers denied her.
    AccessGone,
    /// Nothing was left of her.
    DepartureCompleted,
    /// She came back.
    Returned,
}

/// Everything that is known of one person, with what was seen of her Roles; nothing if the record knows nobody of that name.
pub fn person(
    scene: Scene<'_>,
    name: &str,
    (grants, checks): (&[Arc<Grant>], &Checks),
    reader: &Reader,
    now: Timestamp,
) -> Option<PersonView> {
    let developer = scene.world.developer(name).filter(|_| reader.may(Kind::Developers));
    let locks: Vec<&Lock> = scene.world.locks_of(name).filter(|_| reader.may(Kind::Locks)).map(AsRef::as_ref).collect();
    let departures = scene.world.departures().of_name(name).filter(|_| reader.may(Kind::Departures));
    let departures: Vec<&Departure> = departures.map(AsRef::as_ref).collect();
    if developer.is_none() && grants.is_empty() && locks.is_empty() && departures.is_empty() {
        return None;
    }
    let mut events: Vec<Event> = grants.iter().flat_map(|grant| of_grant(grant)).collect();
    events.extend(locks.iter().flat_map(|lock| of_lock(lock, now)));
    events.extend(departures.iter().flat_map(|departure| of_departure(departure)));
    events.sort_by(|one, other| other.cmp(one));
    let mut views: Vec<GrantView> = grants.iter().map(|grant| view(scene, grant, checks)).collect();
    views.sort_by(|one, other| (other.active, &other.since, &one.role).cmp(&(one.active, &one.since, &other.role)));
    let people: BTreeSet<&String> = views.iter().map(|view| &view.person).collect();
    Some(PersonView {
        name: name.to_owned(),
        display_name: developer.map(|it| it.display_name().to_owned()).filter(|display| display != name).unwrap_or_default(),
        state: developer.map(|developer| state(developer)).unwrap_or_default(),
        teams: developer.map_or_else(|| teams_of(grants), |developer| developer.spec.teams.clone()),
        people: people.len(),
        grants: views,
        events,
        missing: reader.misses(View::People),
    })
}

/// The teams by which somebody holds a Role now.
fn teams_of(grants: &[Arc<Grant>]) -> Vec<String> {
    let via = grants.iter().flat_map(|grant| &grant.spec.via).filter(|via| via.until.is_none());
    let teams: BTreeSet<&String> = via.filter_map(|via| via.team.as_ref()).collect();
    teams.into_iter().cloned().collect()
}

fn text(value: Option<&String>) -> String {
    value.cloned().unwrap_or_default()
}

fn view(scene: Scene<'_>, grant: &Grant, checks: &Checks) -> GrantView {
    let spec = &grant.spec;
    let active = spec.state == GrantState::Active;
    let until = |interval: &GrantInterval| interval.until.as_ref().map(|time| seconds(time.0)).unwrap_or_default();
    let target = |target: &GrantInterval| {
        let holds = active && target.until.is_none();
        let fault = holds.then(|| checks.verified(scene, &spec.role, &target.name, &spec.developer.name)).and_then(Result::err);
        Target {
            name: target.name.clone(),
            since: seconds(target.since.0),
            until: until(target),
            verified: holds && fault.is_none(),
            fault: fault.map(|fault| fault.to_string()).unwrap_or_default(),
        }
    };
    let via = |via: &GrantInterval| Via {
        binding: via.name.clone(),
        team: text(via.team.as_ref()),
        since: seconds(via.since.0),
        until: until(via),
    };
    let ends = spec.ended.as_ref().map(|end| &end.at).or(spec.until.as_ref());
    GrantView {
        name: grant.name_any(),
        person: spec.developer.person_id.clone().unwrap_or_else(|| spec.developer.uid.clone()),
        role: spec.role.clone(),
        active,
        since: seconds(spec.since.0),
        until: ends.map(|time| seconds(time.0)).unwrap_or_default(),
        granted_by: spec.granted_by.clone(),
        on_behalf_of: text(spec.on_behalf_of.as_ref()),
        change: text(spec.change.as_ref()),
        reason: text(spec.reason.as_ref()),
        targets: spec.targets.iter().map(target).collect(),
        via: spec.via.iter().map(via).collect(),
        ended_by: spec.ended.as_ref().map(|end| end.by.clone()).unwrap_or_default(),
        ended_why: spec.ended.as_ref().map(|end| format!("{:?}", end.cause)).unwrap_or_default(),
    }
}

/// Where something begins or ends apart from the Grant that it belongs to, that is told apart.
fn of_grant(grant: &Grant) -> Vec<Event> {
    let spec = &grant.spec;
    let object = format!("urole/{}", spec.role);
    let event =
        |at: Timestamp, kind, by: &str, note: String| Event { at: seconds(at), kind, object: object.clone(), by: by.to_owned(), note };
    let at_first: Vec<&str> =
        spec.targets.iter().filter(|target| target.since.0 <= spec.since.0).map(|target| target.name.as_str()).collect();
    let mut begins = at_first.join(", ");
    if let Some(reason) = &spec.reason {
        begins = if begins.is_empty() { reason.clone() } else { format!("{begins}: {reason}") };
    }
    let mut events = vec![event(spec.since.0, EventKind::GrantBegan, &spec.granted_by, begins)];
    let end = spec.ended.as_ref().map(|end| end.at.0);
    for target in &spec.targets {
        if target.since.0 > spec.since.0 {
            events.push(event(target.since.0, EventKind::PlaceGained, "", target.name.clone()));
        }
        if let Some(until) = target.until.as_ref().filter(|until| end.is_none_or(|end| until.0 < end)) {
            events.push(event(until.0, EventKind::PlaceLost, "", target.name.clone()));
        }
    }
    events.extend(spec.ended.as_ref().map(|end| event(end.at.0, EventKind::GrantEnded, &end.by, format!("{:?}", end.cause))));
    events
}

/// When a Lock was lifted by hand is not kept; what began again then is told by Grants.
fn of_lock(lock: &Lock, now: Timestamp) -> Vec<Event> {
    let object = format!("ulock/{}", lock.name_any());
    let by = lock.annotations().get(REQUESTED_BY).cloned().unwrap_or_default();
    let note = if lock.spec.lifted { format!("{} (lifted since)", lock.spec.reason) } else { lock.spec.reason.clone() };
    let made =
        lock.creation_timestamp().map(|time| Event { at: seconds(time.0), kind: EventKind::Locked, object: object.clone(), by, note });
    let over = lock.spec.until.as_ref().filter(|_| !lock.spec.lifted && !lock_holds(lock, now));
    let over = over.map(|until| Event {
        at: seconds(until.0),
        kind: EventKind::LockExpired,
        object,
        by: String::new(),
        note: lock.spec.reason.clone(),
    });
    made.into_iter().chain(over).collect()
}

fn of_departure(departure: &Departure) -> Vec<Event> {
    let object = format!("departure/{}", departure.name_any());
    let event =
        |at: Timestamp, kind, by: &str, note: String| Event { at: seconds(at), kind, object: object.clone(), by: by.to_owned(), note };
    let begun = departure.spec.requested_at.0;
    let mut events = vec![event(begun, EventKind::DepartureBegan, &departure.spec.requested_by, String::new())];
    let Some(status) = &departure.status else { return events };
    if let Some(took) = status.access_gone_ms {
        let at = begun.checked_add(jiff::SignedDuration::from_millis(took)).unwrap_or(begun);
        events.push(event(at, EventKind::AccessGone, "", format!("after {}", seconds_of(took))));
    }
    if let Some(at) = status.completed_at.as_ref().filter(|_| complete(departure)) {
        events.push(event(at.0, EventKind::DepartureCompleted, "", status.state.map(|state| format!("{state:?}")).unwrap_or_default()));
    }
    events.extend(status.returned_at.as_ref().map(|at| event(at.0, EventKind::Returned, "", String::new())));
    events
}
