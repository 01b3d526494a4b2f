//! What hands change on what usher made. A change that usher puts back was a repair; one that it leaves was none.
//!
//! What is seen of an object while usher writes to it is no hand's, and does not come here ([`crate::cluster::seen::By::Echo`]).

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::cluster::seen::Title;
use crate::plan::change::{Step, Verb};

/// A repair follows at once; what is written later has another cause.
const AT_ONCE: Duration = Duration::from_secs(30);
/// At most so many changes are remembered at once.
const MOST: usize = 1_000;

/// What hands are changing: when each was seen, and the teams that it concerns.
#[derive(Debug, Default)]
pub struct Hands {
    changed: Mutex<HashMap<Title, (Instant, Vec<String>)>>,
}

impl Hands {
    /// Somebody else changed or removed something of usher's, which concerns people of these teams.
    pub fn changed(&self, title: Title, teams: impl FnOnce() -> Vec<String>) {
        let mut changed = self.changed.lock();
        if changed.len() >= MOST {
            changed.retain(|_, (at, _)| at.elapsed() < AT_ONCE);
        }
        if changed.len() < MOST {
            let teams = teams();
            changed.insert(title, (Instant::now(), teams));
        }
    }

    /// The teams that a repair concerns, if a write that was just carried out was one. It is told once.
    pub fn repaired(&self, step: &Step) -> Option<Vec<String>> {
        let (at, teams) = self.changed.lock().remove(&step.change.title())?;
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
        ("ClusterRole", (String::new(), "usher:role:r:1".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_hand_changed_and_usher_puts_back_is_a_repair_and_counts_once() {
        let (hands, mend) = (Hands::default(), step(Write::Replace));
        assert_eq!(hands.repaired(&mend), None, "nobody touched it");
        hands.changed(named(), || vec!["payments".to_owned()]);
        assert_eq!(hands.repaired(&mend), Some(vec!["payments".to_owned()]));
        assert_eq!(hands.repaired(&mend), None);
        hands.changed(named(), Vec::new);
        tokio::time::advance(AT_ONCE).await;
        assert_eq!(hands.repaired(&mend), None, "what is written much later has another cause");
        hands.changed(named(), Vec::new);
        assert_eq!(hands.repaired(&step(|role| Write::Delete(role.metadata))), None, "it goes for another reason");
    }
}
