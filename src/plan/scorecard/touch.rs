//! What people did by hand, as it is seen by what became of it: nobody tells usher, and nobody needs to.
//!
//! Each is seen once, where a status that is written down tells something else than before; so no start counts anything again.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::developer::DeveloperStatus;
use crate::api::metadata::RELEASE;
use crate::api::removals::ProviderBrake;
use crate::api::scorecard::TouchpointKind;
use crate::api::{Departure, Developer, Provider, Reason, Source};

use super::super::bound::{Bound, RbacBinding};
use super::super::identity::Known;
use super::super::receipt::waived;
use super::super::world::deleting;
use super::ledger::Touch;

/// A binding that is older than this when it is first seen was there before usher looked, and was counted then if ever.
const NEW: SignedDuration = SignedDuration::from_mins(10);

/// What became of a Developer: a conflict of hers is over, and she stays.
pub fn of_developer(old: &Developer, new: &Developer) -> Option<Touch> {
    let (Some(before), Some(after)) = (&old.status, &new.status) else { return None };
    let resolved = conflicts(before).filter(|kind| holds(after, kind)).count();
    let stays = after.state == before.state && conflicts(after).next().is_none();
    (resolved > 0 && stays && old.metadata.uid == new.metadata.uid).then(|| Touch {
        kind: TouchpointKind::Conflict,
        teams: new.spec.teams.clone(),
        what: format!("a conflict of dev/{} was resolved", new.name_any()),
    })
}

/// The conditions that tell of a conflict.
fn conflicts(status: &DeveloperStatus) -> impl Iterator<Item = &str> {
    let conflict = Reason::Conflict.as_str();
    let told = status.conditions.iter().filter(move |condition| condition.status == "False" && condition.reason == conflict);
    told.map(|condition| condition.type_.as_str())
}

fn holds(status: &DeveloperStatus, kind: &str) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

/// What became of a receipt: something of it was waived, or a brake was released by a word on it.
pub fn of_departure(old: &Departure, new: &Departure, teams: &[String]) -> Vec<Touch> {
    let (Some(before), Some(after)) = (&old.status, &new.status) else { return Vec::new() };
    let person = &new.spec.developer.name;
    // The word counts, not the state: what is waived may be looked for again, and be gone for a while.
    let (said, says) = (waived(old), waived(new));
    let known = |target: &String| after.targets.iter().any(|other| other.target == *target);
    let newly = says.keys().filter(|target| !said.contains_key(*target) && known(target));
    let touch = |kind, what| Touch { kind, teams: teams.to_vec(), what };
    let newly = newly.map(|target| touch(TouchpointKind::Waiver, format!("{target} of departure/{} was waived", new.name_any())));
    let held = before.brake.as_ref().map(|brake| brake.digest.as_str());
    let holds = after.brake.as_ref().map(|brake| brake.digest.as_str());
    let freed =
        released(new, held, holds).then(|| touch(TouchpointKind::Release, format!("the departure of {person} and others was released")));
    newly.chain(freed).collect()
}

/// What became of a Provider: its brake was released.
pub fn of_provider(old: &Provider, new: &Provider) -> Option<Touch> {
    let brake = |provider: &Provider| provider.status.as_ref().and_then(|status| status.brake.clone());
    freed(new, brake(old), brake(new)).then(|| release(format!("the brake of uprov/{} was released", new.name_any())))
}

/// What became of a Source: its brake was released.
pub fn of_source(old: &Source, new: &Source) -> Option<Touch> {
    let brake = |source: &Source| source.status.as_ref().and_then(|status| status.brake.clone());
    freed(new, brake(old), brake(new)).then(|| release(format!("the brake of usource/{} was released", new.name_any())))
}

fn release(what: String) -> Touch {
    Touch { kind: TouchpointKind::Release, teams: Vec::new(), what }
}

fn freed(object: &impl ResourceExt, before: Option<ProviderBrake>, after: Option<ProviderBrake>) -> bool {
    let digest = |brake: Option<ProviderBrake>| brake.map(|brake| brake.digest);
    released(object, digest(before).as_deref(), digest(after).as_deref())
}

/// Whether what was held is held no more, by somebody's word.
fn released(object: &impl ResourceExt, held: Option<&str>, holds: Option<&str>) -> bool {
    held.is_some() && held != holds && object.annotations().get(RELEASE).map(String::as_str) == held
}

/// Those whom a binding that usher did not make names newly. One that was there before usher looked is not new.
pub fn named_newly<'a, K: RbacBinding>(
    old: Option<&'a Bound<K>>,
    new: Option<&'a Bound<K>>,
    now: Timestamp,
) -> impl Iterator<Item = &'a Known> {
    let fresh = |bound: &Bound<K>| bound.head().meta().creation_timestamp.as_ref().is_some_and(|made| now.duration_since(made.0) < NEW);
    let new = new.filter(|bound| !bound.ours && (old.is_some() || fresh(bound)));
    let before = move |known: &Known| old.is_some_and(|old| !old.ours && old.subjects.contains(known));
    new.into_iter().flat_map(|bound| bound.subjects.iter()).filter(move |known| !before(known))
}

/// That a binding names people: one thing that was done, however many they are. Each comes with her teams.
pub fn hand_made<'a>(binding: &str, people: impl Iterator<Item = (&'a str, &'a [String])>) -> Option<Touch> {
    let (mut named, mut teams) = (BTreeSet::new(), BTreeSet::new());
    for (name, of) in people {
        named.insert(name);
        teams.extend(of);
    }
    let first = named.first()?;
    let more = if named.len() > 1 { format!(" and {} more", named.len() - 1) } else { String::new() };
    Some(Touch {
        kind: TouchpointKind::HandMadeAccess,
        teams: teams.into_iter().cloned().collect(),
        what: format!("{binding} names dev/{first}{more}"),
    })
}

/// Whether somebody changed or removed a binding of usher's: it is another one than it was, whoever it names. What is on its way out goes by itself.
pub fn changed<K: RbacBinding>(old: Option<&Bound<K>>, new: Option<&Bound<K>>) -> bool {
    match (old.filter(|old| !deleting(old.head().as_ref())), new) {
        (Some(old), Some(new)) => old.ours && (!new.ours || old.all_subjects() != new.all_subjects() || old.labels() != new.labels()),
        (Some(old), None) => old.ours,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::api::metadata::WAIVE;

    use super::*;

    fn of<K: serde::de::DeserializeOwned>(object: Value) -> K {
        serde_json::from_value(object).expect("an object")
    }

    fn developer(state: &str, reason: &str) -> Developer {
        let condition = json!({
            "type": "WorkspaceReady", "status": if reason == "AsPlanned" { "True" } else { "False" }, "reason": reason, "message": "",
            "lastTransitionTime": "2026-11-23T08:00:00Z",
        });
        of(json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": "ada", "uid": "1"},
            "spec": {"email": "ada@example.com", "teams": ["payments"]}, "status": {"state": state, "conditions": [condition]},
        }))
    }

    #[test]
    fn a_conflict_that_is_over_was_resolved_by_somebody() {
        let told = |old: &Developer, new: &Developer| of_developer(old, new).map(|touch| (touch.kind, touch.teams));
        let (conflict, fine) = (developer("Active", "Conflict"), developer("Active", "AsPlanned"));
        assert_eq!(told(&conflict, &fine), Some((TouchpointKind::Conflict, vec!["payments".to_owned()])));
        assert_eq!(told(&fine, &conflict), None);
        assert_eq!(told(&conflict, &developer("Active", "Unreachable")), None, "nobody knows any more");
        assert_eq!(told(&conflict, &developer("Departing", "AsPlanned")), None, "who leaves has none");
    }

    #[test]
    fn a_binding_is_one_thing_that_was_done_whoever_it_names() {
        let teams = ["payments".to_owned(), "search".to_owned()];
        let names: Vec<String> = (0..3_000).map(|number| format!("p{number:04}")).collect();
        let people = names.iter().enumerate().map(|(number, name)| (name.as_str(), &teams[number % 2..=number % 2]));
        let touch = hand_made("RoleBinding shop/theirs", people).expect("people are named");
        assert_eq!((touch.kind, &touch.teams[..]), (TouchpointKind::HandMadeAccess, &teams[..]));
        assert_eq!(touch.what, "RoleBinding shop/theirs names dev/p0000 and 2999 more");
        let one = hand_made("RoleBinding shop/theirs", [("ada", &teams[..1])].into_iter()).expect("somebody is named");
        assert_eq!(one.what, "RoleBinding shop/theirs names dev/ada");
        assert_eq!(hand_made("RoleBinding shop/theirs", std::iter::empty()), None);
    }

    fn departure(target: &str, brake: Option<&str>, word: Option<&str>) -> Departure {
        of(json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": "Departure",
            "metadata": {"name": "ada-1", "annotations": word.map(|word| json!({RELEASE: word})).unwrap_or_default()},
            "spec": {"developer": {"name": "ada", "uid": "1"}, "requestedBy": "bob", "requestedAt": "2026-11-23T08:00:00Z"},
            "status": {
                "targets": [{"target": "provider/forge", "state": target}],
                "brake": brake.map(|digest| json!({"digest": digest, "removals": 40, "population": 200, "since": "2026-11-23T08:00:00Z"})),
            },
        }))
    }

    #[test]
    fn a_waiver_and_a_release_count_once_and_what_passes_by_itself_does_not() {
        let kinds = |old: &Departure, new: &Departure| of_departure(old, new, &[]).into_iter().map(|touch| touch.kind).collect::<Vec<_>>();
        let said = |state: &str| {
            let mut departure = departure(state, None, None);
            departure.annotations_mut().insert(WAIVE.to_owned(), "provider/forge=the robot only reads; provider/else=no such".to_owned());
            departure
        };
        assert_eq!(kinds(&departure("Failed", None, None), &said("Failed")), [TouchpointKind::Waiver]);
        assert_eq!(kinds(&said("Failed"), &said("Waived")), []);
        assert_eq!(kinds(&said("Waived"), &said("Failed")), [], "it is looked for again");
        let held = departure("Failed", Some("sha256:1"), None);
        assert_eq!(kinds(&held, &departure("Failed", None, Some("sha256:1"))), [TouchpointKind::Release]);
        assert_eq!(kinds(&held, &departure("Failed", None, None)), [], "others of the batch are let through with it");
        assert_eq!(kinds(&held, &departure("Failed", None, Some("sha256:2"))), []);
    }

    #[test]
    fn a_provider_is_released_by_the_word_for_what_it_held() {
        let provider = |brake: Option<&str>, word: Option<&str>| -> Provider {
            of(json!({
                "apiVersion": "usher.dev/v1alpha1", "kind": "Provider",
                "metadata": {"name": "forge", "annotations": word.map(|word| json!({RELEASE: word})).unwrap_or_default()},
                "spec": {"scim": {"url": "https://chat.example.com", "credentialsSecret": {"name": "chat", "key": "token"}}},
                "status": {"brake": brake.map(|digest| json!({"digest": digest, "removals": 1, "population": 2, "since": ""}))},
            }))
        };
        let kind = |old, new| of_provider(&old, &new).map(|touch| touch.kind);
        assert_eq!(kind(provider(Some("a"), None), provider(None, Some("a"))), Some(TouchpointKind::Release));
        assert_eq!(kind(provider(Some("a"), None), provider(None, None)), None);
        assert_eq!(kind(provider(Some("a"), Some("b")), provider(Some("c"), Some("b"))), None);
    }
}
