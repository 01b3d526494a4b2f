//! What went is remembered for a while, so that nothing that is heard late brings it back.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use kube::Resource;

use super::memory::version;

/// So long what went is remembered, and at most so many: what is spoken of late is spoken of soon.
const LATE: Duration = Duration::from_mins(10);
const MOST_GONE: usize = 20_000;

/// The UIDs of objects that went, and their last version. A watch or the answer to a write may still speak of an older one, which brings nothing back.
#[derive(Debug, Default)]
pub(super) struct Gone {
    versions: HashMap<String, u64>,
    order: VecDeque<(Instant, String)>,
}

impl Gone {
    /// Remembers that an object went, as of a version.
    pub(super) fn add(&mut self, uid: &str, version: u64, now: Instant) {
        if let Some(known) = self.versions.get_mut(uid) {
            *known = version.max(*known);
            return;
        }
        self.versions.insert(uid.to_owned(), version);
        self.order.push_back((now, uid.to_owned()));
        let past = |order: &VecDeque<(Instant, String)>| order.front().is_some_and(|(since, _)| now.duration_since(*since) > LATE);
        while self.order.len() > MOST_GONE || past(&self.order) {
            let Some((_, oldest)) = self.order.pop_front() else { return };
            self.versions.remove(&oldest);
        }
    }

    /// Whether that is an object that went. What a watch by labels calls gone may only have lost its label, and be mended.
    pub(super) fn holds<K: Resource>(&self, object: &K) -> bool {
        let known = object.meta().uid.as_ref().and_then(|uid| self.versions.get(uid));
        known.is_some_and(|known| version(object) < *known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_all_that_ever_went_is_remembered() {
        let mut gone = Gone::default();
        let now = Instant::now();
        (0..MOST_GONE + 5).for_each(|number| gone.add(&number.to_string(), 1, now));
        assert_eq!((gone.versions.len(), gone.order.len()), (MOST_GONE, MOST_GONE));
        gone.add("late", 1, now + LATE + Duration::from_secs(1));
        assert_eq!((gone.versions.len(), gone.order.len()), (1, 1));
    }
}
