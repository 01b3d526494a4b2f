//! The receipts that there are, by name and by person.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::api::departure::DepartureState;
use crate::api::{Departure, Developer};

/// What has not gone within this does not go without somebody's help.
const OVERDUE_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Departures by name, and the names by Developer.
#[derive(Debug, Default)]
pub struct Departures {
    by_name: BTreeMap<String, Arc<Departure>>,
    by_developer: HashMap<String, BTreeSet<String>>,
}

/// Whether a receipt is of a departure that lasts: its person has not come back.
pub fn lasts(departure: &Departure) -> bool {
    departure.status.as_ref().is_none_or(|status| status.returned_at.is_none())
}

/// Whether a receipt says that nothing is left.
pub fn complete(departure: &Departure) -> bool {
    let state = departure.status.as_ref().and_then(|status| status.state);
    matches!(state, Some(DepartureState::Complete | DepartureState::CompleteWithWaivers))
}

/// Whether a departure should have been complete long ago.
pub fn overdue(departure: &Departure, now: Timestamp) -> bool {
    lasts(departure) && !complete(departure) && now.duration_since(departure.spec.requested_at.0) > OVERDUE_AFTER
}

/// Whether a receipt is of the person that a Developer is: the same object, or the same personId.
pub fn same_person(departure: &Departure, developer: &Developer) -> bool {
    let left = &departure.spec.developer;
    let same_id = left.person_id.is_some() && left.person_id == developer.spec.person_id;
    same_id || developer.metadata.uid.as_deref() == Some(&left.uid)
}

impl Departures {
    pub(super) fn set(&mut self, name: &str, departure: Option<Arc<Departure>>) -> Option<Arc<Departure>> {
        let old = match departure.clone() {
            Some(new) => self.by_name.insert(name.to_owned(), new),
            None => self.by_name.remove(name),
        };
        if let Some(left) = old.as_ref().map(|old| &old.spec.developer.name) {
            let emptied = self.by_developer.get_mut(left).is_some_and(|names| {
                names.remove(name);
                names.is_empty()
            });
            if emptied {
                self.by_developer.remove(left);
            }
        }
        if let Some(new) = departure {
            self.by_developer.entry(new.spec.developer.name.clone()).or_default().insert(name.to_owned());
        }
        old
    }

    /// A Departure by name.
    pub fn get(&self, name: &str) -> Option<&Arc<Departure>> {
        self.by_name.get(name)
    }

    /// All Departures.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Arc<Departure>)> {
        self.by_name.iter()
    }

    /// The Departures of Developers of that name.
    pub fn of_name<'a>(&'a self, developer: &str) -> impl Iterator<Item = &'a Arc<Departure>> {
        self.by_developer.get(developer).into_iter().flatten().filter_map(|name| self.by_name.get(name))
    }

    /// The Departures of this very object.
    pub fn of<'a>(&'a self, developer: &'a Developer) -> impl Iterator<Item = &'a Arc<Departure>> {
        let name = developer.metadata.name.as_deref().unwrap_or_default();
        self.of_name(name).filter(|departure| developer.metadata.uid.as_deref() == Some(&departure.spec.developer.uid))
    }

    /// The one of this very object that lasts.
    pub fn current<'a>(&'a self, developer: &'a Developer) -> Option<&'a Arc<Departure>> {
        self.of(developer).find(|departure| lasts(departure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DepartureStatus;

    #[test]
    fn who_left_long_ago_is_overdue_until_the_receipt_is_complete_or_she_is_back() {
        let spec = serde_json::json!({
            "developer": {"name": "ada", "uid": "1"}, "requestedBy": "bob", "requestedAt": "2026-11-28T09:00:00Z",
        });
        let mut departure = Departure::new("ada-1", serde_json::from_value(spec).expect("a spec"));
        let after = |minutes| departure.spec.requested_at.0 + SignedDuration::from_mins(minutes);
        let (soon, late) = (after(10), after(11));
        assert!(!overdue(&departure, soon) && overdue(&departure, late));
        for (state, is) in [
            (DepartureState::Revoking, true),
            (DepartureState::Incomplete, true),
            (DepartureState::Complete, false),
            (DepartureState::CompleteWithWaivers, false),
        ] {
            departure.status = Some(DepartureStatus { state: Some(state), ..DepartureStatus::default() });
            assert_eq!(overdue(&departure, late), is, "{state:?}");
        }
        let returned_at = Some(departure.spec.requested_at.clone());
        departure.status = Some(DepartureStatus { returned_at, ..DepartureStatus::default() });
        assert!(!overdue(&departure, late));
    }
}
