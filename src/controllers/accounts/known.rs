//! What a desk knows of people's accounts before their statuses tell, or that nothing else tells. By person: who has the name later is a stranger to it.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct Known {
    /// The ids of their accounts: by their marks, or because they were just made or taken over.
    ids: BTreeMap<String, String>,
    /// The ids of other accounts that bear, or may bear, their marks.
    others: BTreeMap<String, BTreeSet<String>>,
    /// Whose accounts were taken over.
    adopted: BTreeSet<String>,
}

impl Known {
    pub(super) fn id(&self, person: &str) -> Option<String> {
        self.ids.get(person).cloned()
    }

    pub(super) fn set_id(&mut self, person: &str, id: Option<&str>) {
        match id {
            Some(id) => self.ids.insert(person.to_owned(), id.to_owned()),
            None => self.ids.remove(person),
        };
    }

    pub(super) fn others(&self, person: &str) -> BTreeSet<String> {
        self.others.get(person).cloned().unwrap_or_default()
    }

    pub(super) fn add_others(&mut self, person: &str, ids: BTreeSet<String>) {
        if !ids.is_empty() {
            self.others.entry(person.to_owned()).or_default().extend(ids);
        }
    }

    pub(super) fn forget_other(&mut self, person: &str, id: &str) {
        if let Some(ids) = self.others.get_mut(person) {
            ids.remove(id);
        }
    }

    pub(super) fn adopted(&self, person: &str) -> bool {
        self.adopted.contains(person)
    }

    pub(super) fn set_adopted(&mut self, person: &str, adopted: bool) {
        if adopted {
            self.adopted.insert(person.to_owned());
        } else {
            self.adopted.remove(person);
        }
    }
}
