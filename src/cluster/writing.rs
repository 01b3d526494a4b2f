//! What usher is writing. Whatever is seen of an object meanwhile is taken for its own work, in whichever order a watch and the answer tell of it.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::memory::Seen;

/// Kind, namespace and name.
pub type Title = (&'static str, String, String);

/// By what a change was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A watch.
    Watch,
    /// A watch, while we wrote that object ourselves; or that it is gone, by the answer to our own deletion.
    Meanwhile,
    /// The answer to a write of our own, which is as it was meant to be.
    Answer,
}

/// The objects to which writes of our own are under way.
#[derive(Debug, Default)]
pub struct Writing(Mutex<HashMap<Title, usize>>);

impl Writing {
    /// A write of our own begins. It is under way until what is returned is dropped, also if it is given up.
    pub fn begin(&self, title: Title) -> UnderWay<'_> {
        *self.0.lock().entry(title.clone()).or_default() += 1;
        UnderWay { writing: self, title }
    }

    /// By what a change is told that a watch, or the answer to a deletion, brings now.
    pub(super) fn by(&self, seen: &Seen) -> By {
        let own = seen.title().is_some_and(|title| self.0.lock().contains_key(&title));
        if own { By::Meanwhile } else { By::Watch }
    }
}

/// A write that is under way.
#[derive(Debug)]
pub struct UnderWay<'a> {
    writing: &'a Writing,
    title: Title,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut all = self.writing.0.lock();
        if let Some(count) = all.get_mut(&self.title) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.title);
            }
        }
    }
}

impl Seen {
    /// The object in a cluster that usher makes and is told to have changed, if it is one.
    pub fn title(&self) -> Option<Title> {
        let title = |kind, namespace: &str, name: &str| Some((kind, namespace.to_owned(), name.to_owned()));
        match self {
            Self::RoleBinding(old, new) => {
                let bound = old.as_ref().or(new.as_ref())?;
                title("RoleBinding", bound.namespace().unwrap_or_default(), bound.name())
            }
            Self::ClusterRoleBinding(old, new) => title("ClusterRoleBinding", "", old.as_ref().or(new.as_ref())?.name()),
            Self::ClusterRole(name, ..) => title("ClusterRole", "", name),
            Self::Personal(_, Some((kind, (namespace, name)))) => title(kind, namespace, name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn changed(name: &str) -> Seen {
        Seen::ClusterRole(name.to_owned(), BTreeSet::new(), false)
    }

    #[test]
    fn what_is_seen_of_an_object_while_usher_writes_it_is_its_own() {
        let writing = Writing::default();
        let title = || changed("usher:role:r:1").title().expect("an object of a cluster");
        let by = |name: &str| writing.by(&changed(name));
        assert_eq!(by("usher:role:r:1"), By::Watch);
        let (one, other) = (writing.begin(title()), writing.begin(title()));
        assert_eq!((by("usher:role:r:1"), by("usher:role:r:2")), (By::Meanwhile, By::Watch));
        drop(one);
        assert_eq!(by("usher:role:r:1"), By::Meanwhile, "another write is still under way");
        drop(other);
        assert_eq!(by("usher:role:r:1"), By::Watch);
    }
}
