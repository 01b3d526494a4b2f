//! Who takes from whom now. Two Roles that took from one person at once could each count on what the other is about to take.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::plan::identity::Known;

/// A Role that hangs while it takes holds up others of the same people at most this long.
const LONGEST: Duration = Duration::from_secs(10);

/// The people from whom some Role takes now.
#[derive(Debug, Default)]
pub struct Turns {
    held: Mutex<HashSet<Known>>,
    freed: Notify,
}

/// The turn of one Role; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    people: HashSet<Known>,
}

impl Turns {
    /// Waits until nobody else takes from any of these people. A plan that is made from then on has seen all that was taken before.
    pub async fn take(&self, people: HashSet<Known>) -> Turn<'_> {
        let free = async {
            loop {
                let freed = self.freed.notified();
                if self.hold(&people) {
                    return;
                }
                freed.await;
            }
        };
        if timeout(LONGEST, free).await.is_err() {
            self.held.lock().extend(people.iter().cloned());
        }
        Turn { turns: self, people }
    }

    fn hold(&self, people: &HashSet<Known>) -> bool {
        let mut held = self.held.lock();
        let free = people.iter().all(|known| !held.contains(known));
        if free {
            held.extend(people.iter().cloned());
        }
        free
    }
}

impl Turn<'_> {
    /// Whether it is the turn for all of these people.
    pub fn covers(&self, people: &HashSet<Known>) -> bool {
        people.is_subset(&self.people)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.held.lock().retain(|known| !self.people.contains(known));
        self.turns.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(names: &[&str]) -> HashSet<Known> {
        names.iter().map(|name| Known::User((*name).into())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_from_others_does_not_wait_and_who_takes_from_the_same_does() {
        let turns = Turns::default();
        let first = turns.take(people(&["ada", "bob"])).await;
        let other = turns.take(people(&["cyd"])).await;
        let mut second = std::pin::pin!(turns.take(people(&["bob", "dan"])));
        assert!(timeout(Duration::from_secs(1), second.as_mut()).await.is_err());
        drop(first);
        let second = timeout(Duration::from_secs(1), second).await.expect("it is free");
        assert!(second.covers(&people(&["dan"])) && !second.covers(&people(&["ada"])));
        drop((second, other));
        assert!(turns.held.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let turns = Turns::default();
        let _hangs = turns.take(people(&["ada"])).await;
        let start = tokio::time::Instant::now();
        let turn = turns.take(people(&["ada"])).await;
        assert!(turn.covers(&people(&["ada"])) && start.elapsed() == LONGEST);
    }
}
