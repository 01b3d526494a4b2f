//! What hands change on what usher made. A change that usher puts back was a repair; one that it leaves was none.
//!
//! What usher writes itself may be seen before its answer: while a write is under way, nobody else is suspected.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::plan::change::{Step, Verb};

/// A repair follows at once; what is written later has another cause.
const AT_ONCE: Duration = Duration::from_secs(30);
/// At most so many changes are remembered at once.
const MOST: usize = 1_000;

/// Kind, namespace and name.
pub type Title = (&'static str, String, String);

/// What hands are changing, and what usher is writing.
#[derive(Debug, Default)]
pub struct Hands {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    changed: HashMap<Title, (Instant, Vec<String>)>,
    writing: HashMap<Title, usize>,
    repaired: HashMap<Title, Vec<String>>,
}

fn title(step: &Step) -> Title {
    let meta = step.change.meta();
    (step.change.kind(), meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

impl Hands {
    /// Somebody else changed or removed something of usher's, which concerns people of these teams.
    pub fn changed(&self, title: Title, teams: impl FnOnce() -> Vec<String>) {
        let mut state = self.state.lock();
        if state.writing.contains_key(&title) {
            return;
        }
        if state.changed.len() >= MOST {
            state.changed.retain(|_, (at, _)| at.elapsed() < AT_ONCE);
        }
        if state.changed.len() < MOST {
            let teams = teams();
            state.changed.insert(title, (Instant::now(), teams));
        }
    }

    /// Carries out a write of usher's own.
    pub async fn during<T, E>(&self, step: &Step, write: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let title = title(step);
        *self.state.lock().writing.entry(title.clone()).or_default() += 1;
        let _end = End { hands: self, title: title.clone() };
        let answer = write.await;
        if answer.is_ok() {
            let mut state = self.state.lock();
            let changed = state.changed.remove(&title).filter(|(at, _)| at.elapsed() < AT_ONCE);
            if let Some((_, teams)) = changed.filter(|_| step.change.verb() != Verb::Delete) {
                state.repaired.insert(title, teams);
            }
        }
        answer
    }

    /// Whether the write that was just carried out was a repair. [`Self::teams`] follows.
    pub fn repaired(&self, step: &Step) -> bool {
        self.state.lock().repaired.contains_key(&title(step))
    }

    /// The teams that a repair concerns; it is told once.
    pub fn teams(&self, step: &Step) -> Vec<String> {
        self.state.lock().repaired.remove(&title(step)).unwrap_or_default()
    }
}

/// The end of a write, also of one that is given up.
struct End<'a> {
    hands: &'a Hands,
    title: Title,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.hands.state.lock();
        if let Some(count) = state.writing.get_mut(&self.title) {
            *count -= 1;
            if *count == 0 {
                state.writing.remove(&self.title);
            }
        }
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

    async fn write(hands: &Hands, step: &Step, answer: Result<(), ()>) -> bool {
        let _ = hands.during(step, std::future::ready(answer)).await;
        let repaired = hands.repaired(step);
        hands.teams(step);
        repaired
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_hand_changed_and_usher_puts_back_is_a_repair_and_counts_once() {
        let (hands, mend) = (Hands::default(), step(Write::Replace));
        assert!(!write(&hands, &mend, Ok(())).await, "nobody touched it");
        hands.changed(named(), Vec::new);
        assert!(!write(&hands, &mend, Err(())).await, "it is not put back yet");
        assert!(write(&hands, &mend, Ok(())).await);
        assert!(!write(&hands, &mend, Ok(())).await);
        hands.changed(named(), Vec::new);
        tokio::time::advance(AT_ONCE).await;
        assert!(!write(&hands, &mend, Ok(())).await, "what is written much later has another cause");
        hands.changed(named(), Vec::new);
        assert!(!write(&hands, &step(|role| Write::Delete(role.metadata)), Ok(())).await, "it goes for another reason");
    }

    #[tokio::test]
    async fn what_is_seen_while_usher_writes_is_its_own() {
        let (hands, mend) = (Hands::default(), step(Write::Replace));
        let seen = async {
            hands.changed(named(), Vec::new);
            Ok::<(), ()>(())
        };
        let _ = hands.during(&mend, seen).await;
        assert!(!hands.repaired(&mend));
        assert!(!write(&hands, &mend, Ok(())).await);
    }
}
