//! Who left, when, and what was taken: the Departures, the newest first.

use std::cmp::Reverse;

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use crate::api::Departure;
use crate::api::departure::{DepartureTarget, Leftover};
use crate::plan::departures::overdue;
use crate::plan::developer::seconds;
use crate::plan::receipt::seconds_of;

/// So many are shown: who wants older ones asks for the person, or kubectl.
const MOST: usize = 2_000;

/// The receipts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Receipts {
    /// The newest first, so many at most.
    pub departures: Vec<Receipt>,
    /// How many there are in all.
    pub total: usize,
}

/// A receipt.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The Departure.
    pub name: String,
    /// Who left.
    pub developer: String,
    /// Who asked for it.
    pub requested_by: String,
    /// When.
    pub requested_at: String,
    /// Revoking, Verifying, Incomplete, Complete or CompleteWithWaivers; empty before it was looked at.
    pub state: String,
    /// Whether it takes longer than it should.
    pub overdue: bool,
    /// How long it took until every API server that answers denied; empty while one does not.
    pub access_gone: String,
    /// When nothing was left.
    pub completed_at: String,
    /// When she came back.
    pub returned_at: String,
    /// Why destruction is held, if it is.
    pub held: String,
    /// Each place where she had something.
    pub targets: Vec<DepartureTarget>,
    /// What could not be removed; the first of them.
    pub leftovers: Vec<Leftover>,
    /// How many that are in all.
    pub leftover_count: i64,
}

/// The receipts as they are now.
pub fn receipts<'a>(departures: impl IntoIterator<Item = &'a Departure>, now: Timestamp) -> Receipts {
    let mut departures: Vec<&Departure> = departures.into_iter().collect();
    departures.sort_by_key(|departure| (Reverse(departure.spec.requested_at.0), departure.name_any()));
    let total = departures.len();
    Receipts { departures: departures.into_iter().take(MOST).map(|departure| receipt(departure, now)).collect(), total }
}

fn receipt(departure: &Departure, now: Timestamp) -> Receipt {
    let (spec, status) = (&departure.spec, departure.status.clone().unwrap_or_default());
    let held = status.brake.as_ref().map(|brake| format!("{} of {} people left within ten minutes", brake.removals, brake.population));
    let count = i64::try_from(status.leftovers.len()).unwrap_or(i64::MAX);
    Receipt {
        name: departure.name_any(),
        developer: spec.developer.name.clone(),
        requested_by: spec.requested_by.clone(),
        requested_at: seconds(spec.requested_at.0),
        state: status.state.map(|state| format!("{state:?}")).unwrap_or_default(),
        overdue: overdue(departure, now),
        access_gone: status.access_gone_ms.map(seconds_of).unwrap_or_default(),
        completed_at: status.completed_at.as_ref().map(|time| seconds(time.0)).unwrap_or_default(),
        returned_at: status.returned_at.as_ref().map(|time| seconds(time.0)).unwrap_or_default(),
        held: held.unwrap_or_default(),
        targets: status.targets,
        leftovers: status.leftovers,
        leftover_count: status.leftover_count.unwrap_or(count),
    }
}
