//! Many who leave at once: their access goes all the same, but what cannot be undone is held until somebody says that it was meant.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use crate::api::Departure;
use crate::api::departure::Brake;
use crate::api::metadata::RELEASE;

use super::departures::lasts;
use super::developer::seconds;
use super::placement::Scene;
use super::settings::BRAKE_WINDOW;

/// How long a batch has not grown before receipts that name it by an earlier digest are written again.
const SETTLES: SignedDuration = SignedDuration::from_secs(5);

/// The brake on a departure, if it is one of a batch that is too large and was not released.
pub fn brake(scene: Scene<'_>, uid: &str) -> Option<Brake> {
    held(scene, uid).map(|(brake, _)| brake)
}

/// What a receipt says of the brake, and when to look again. While a batch grows, a receipt that names it already is left as it is: to write all of them for each
/// new one would be the square of their number.
pub fn told(scene: Scene<'_>, departure: &Departure, now: Timestamp) -> (Option<Brake>, Option<Timestamp>) {
    let Some((brake, newest)) = held(scene, &departure.spec.developer.uid) else { return (None, None) };
    let Some(before) = departure.status.as_ref().and_then(|status| status.brake.clone()) else { return (Some(brake), None) };
    let settled = newest.checked_add(SETTLES).unwrap_or(newest);
    if before.digest == brake.digest {
        (Some(before), None)
    } else if now < settled {
        (Some(before), Some(settled))
    } else {
        (Some(brake), None)
    }
}

/// The brake, and when the last of the batch left.
fn held(scene: Scene<'_>, uid: &str) -> Option<(Brake, Timestamp)> {
    let batch = batch_of(scene, uid, lasts)?;
    let digest = digest(&batch);
    let words: Vec<&String> = batch.iter().filter_map(|departure| departure.annotations().get(RELEASE)).collect();
    // Who came back since a batch was released is no reason to hold the others of it again.
    let whole = || batch_of(scene, uid, |_| true).map(|whole| self::digest(&whole));
    let released = words.contains(&&digest) || !words.is_empty() && whole().is_some_and(|whole| words.contains(&&whole));
    let (first, last) = batch.first().zip(batch.last())?;
    (!released).then(|| {
        let brake = Brake {
            removals: i64::try_from(batch.len()).unwrap_or(i64::MAX),
            population: i64::try_from(population(scene)).unwrap_or(i64::MAX),
            since: seconds(at(first)),
            digest,
        };
        (brake, at(last))
    })
}

/// The departures that count as one with this one, oldest first, if they are too many.
fn batch_of<'a>(scene: Scene<'a>, uid: &str, which: impl Fn(&Departure) -> bool) -> Option<Vec<&'a Arc<Departure>>> {
    let limit = limit(scene);
    let mut all: Vec<&Arc<Departure>> = scene.world.departures().all().map(|(_, it)| it).filter(|it| which(it)).collect();
    if all.len() <= limit {
        return None;
    }
    all.sort_by_key(|departure| (at(departure), departure.name_any()));
    batches(&all, limit).into_iter().find(|batch| batch.iter().any(|departure| departure.spec.developer.uid == uid))
}

/// Every stretch of departures in which more than `limit` lie within the window; stretches that overlap are one.
fn batches<'a>(all: &[&'a Arc<Departure>], limit: usize) -> Vec<Vec<&'a Arc<Departure>>> {
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    let mut end = 0;
    for (start, first) in all.iter().enumerate() {
        while all.get(end).is_some_and(|departure| at(departure).duration_since(at(first)) <= BRAKE_WINDOW) {
            end += 1;
        }
        if end - start <= limit {
            continue;
        }
        match stretches.last_mut().filter(|(_, last)| start < *last) {
            Some((_, last)) => *last = end,
            None => stretches.push((start, end)),
        }
    }
    stretches.into_iter().filter_map(|(start, end)| all.get(start..end).map(<[_]>::to_vec)).collect()
}

fn at(departure: &Departure) -> Timestamp {
    departure.spec.requested_at.0
}

/// How many may leave within the window.
fn limit(scene: Scene<'_>) -> usize {
    let offboarding = &scene.settings.offboarding;
    offboarding.brake_people.max(population(scene) * offboarding.brake_percent / 100)
}

/// Everybody who is there.
fn population(scene: Scene<'_>) -> usize {
    scene.world.developers().count()
}

fn digest(batch: &[&Arc<Departure>]) -> String {
    let uids: BTreeSet<&str> = batch.iter().map(|departure| departure.spec.developer.uid.as_str()).collect();
    let mut hash = Sha256::new();
    for uid in uids {
        hash.update(uid.as_bytes());
        hash.update(b"\n");
    }
    format!("sha256:{}", data_encoding::HEXLOWER.encode(&hash.finalize()))
}
