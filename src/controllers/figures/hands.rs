//! What hands change on what usher made. A change that usher puts back was a repair; one that it leaves was none.
//!
//! What usher writes itself is never told here ([`crate::cluster::writing`]).

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::cluster::writing::Title;
use crate::plan::change::{Step, Verb};

/// A repair follows at once; what is written later has another cause.
const AT_ONCE: Duration = Duration::from_secs(30);
/// At most so many changes are remembered at once.
const MOST: usize = 1_000;

/// What hands are changing, when that was seen, and whose teams it concerns.
#[derive(Debug, Default)]
pub struct Hands(Mutex<HashMap<Title, (Instant, Vec<String>)>>);

/// Which object a step writes.
pub fn title(step: &Step) -> Title {
    let meta = step.change.meta();
    (step.change.kind(), meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

impl Hands {
    /// Somebody else changed or removed something of usher's, which concerns people of these teams.
    pub fn changed(&self, title: Title, teams: impl FnOnce() -> Vec<String>) {
        let mut changed = self.0.lock();
        if changed.len() >= MOST {
            changed.retain(|_, (at, _)| at.elapsed() < AT_ONCE);
        }
        if changed.len() < MOST {
            let teams = teams();
            changed.insert(title, (Instant::now(), teams));
        }
    }

    /// Takes in that usher wrote something. If that was a repair, the teams that it concerns.
    pub fn wrote(&self, step: &Step) -> Option<Vec<String>> {
        let (at, teams) = self.0.lock().remove(&title(step))?;
        (at.elapsed() < AT_ONCE && step.change.verb() != Verb::Delete).then_some(teams)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::rbac::v1::ClusterRole;

    use crate::plan::change::{Change, Write};
    use crate::plan::cluster::ClusterKey;

    use super::*;

    fn step(write: fn(ClusterRole) -> Write<ClusterRole>) -> Step {
        let mut role = ClusterRole::default();
        role.metadata.name = Some("usher:role:r:1".to_owned());
        Step { cluster: ClusterKey::Home, environment: None, change: Change::ClusterRole(write(role)) }
    }

    fn named() -> Title {
        ("ClusterRole", String::new(), "usher:role:r:1".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_hand_changed_and_usher_puts_back_is_a_repair_and_counts_once() {
        let (hands, mend) = (Hands::default(), step(Write::Replace));
        let teams = || vec!["payments".to_owned()];
        assert_eq!(hands.wrote(&mend), None, "nobody touched it");
        hands.changed(named(), teams);
        assert_eq!((hands.wrote(&mend), hands.wrote(&mend)), (Some(teams()), None));
        hands.changed(named(), teams);
        tokio::time::advance(AT_ONCE).await;
        assert_eq!(hands.wrote(&mend), None, "what is written much later has another cause");
        hands.changed(named(), teams);
        assert_eq!(hands.wrote(&step(|role| Write::Delete(role.metadata))), None, "it goes for another reason");
    }
}
