//! Writes of our own that are under way: what is seen of an object meanwhile may be that.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::plan::cluster::ClusterKey;

use super::seen::{By, Seen, Title};

/// What is being written, and how often at once.
#[derive(Debug, Default)]
pub struct Writings(Mutex<HashMap<(ClusterKey, Title), usize>>);

/// A write that is under way, until it is dropped.
#[derive(Debug)]
pub struct Writing<'a> {
    all: &'a Writings,
    what: (ClusterKey, Title),
}

impl Writings {
    /// A write begins.
    pub fn begin(&self, cluster: &ClusterKey, title: Title) -> Writing<'_> {
        let what = (cluster.clone(), title);
        *self.0.lock().entry(what.clone()).or_default() += 1;
        Writing { all: self, what }
    }

    /// By what a change counts as seen. It is judged as it is taken in: whoever listens may hear of it when the write is long over.
    pub(super) fn by(&self, cluster: &ClusterKey, seen: Option<&Seen>, by: By) -> By {
        let writing = self.0.lock();
        if by != By::Watch || writing.is_empty() {
            return by;
        }
        let title = seen.and_then(Seen::title);
        if title.is_some_and(|title| writing.contains_key(&(cluster.clone(), title))) { By::Echo } else { by }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut writing = self.all.0.lock();
        let left = writing.get(&self.what).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            writing.remove(&self.what);
        } else {
            writing.insert(self.what.clone(), left);
        }
    }
}
