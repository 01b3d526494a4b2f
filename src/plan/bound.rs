//! Bindings of RBAC as they were seen. The same people are named in many of them, so who is named is kept once for all of these.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::change::{Managed, Write, ensure, remove};
use super::identity::Known;
use super::world::deleting;

/// People who are named together.
pub type People = Arc<BTreeSet<Known>>;

/// A binding of RBAC, of either scope.
pub trait RbacBinding: Managed + ResourceExt {
    /// Its subjects.
    fn subjects(&self) -> &[Subject];
    /// What it gives.
    fn role_ref(&self) -> &RoleRef;
    /// Puts in others.
    fn set_subjects(&mut self, subjects: Vec<Subject>);
}

impl RbacBinding for RoleBinding {
    fn subjects(&self) -> &[Subject] {
        self.subjects.as_deref().unwrap_or_default()
    }
    fn role_ref(&self) -> &RoleRef {
        &self.role_ref
    }
    fn set_subjects(&mut self, subjects: Vec<Subject>) {
        self.subjects = Some(subjects);
    }
}

impl RbacBinding for ClusterRoleBinding {
    fn subjects(&self) -> &[Subject] {
        self.subjects.as_deref().unwrap_or_default()
    }
    fn role_ref(&self) -> &RoleRef {
        &self.role_ref
    }
    fn set_subjects(&mut self, subjects: Vec<Subject>) {
        self.subjects = Some(subjects);
    }
}

/// A RoleBinding or ClusterRoleBinding that was seen.
#[derive(Clone, Debug)]
pub struct Bound<K> {
    /// All of it but its subjects. Whoever writes it takes [`Self::whole`].
    head: Arc<K>,
    /// Those of its subjects that could be people.
    pub subjects: People,
    /// Its other subjects, and those that it names twice; of a binding of others all subjects, just as they are written.
    strangers: Arc<[Subject]>,
    /// Whether this installation made it.
    pub ours: bool,
}

impl<K: RbacBinding> Bound<K> {
    /// Takes a binding apart. `keep` says how to keep who is named.
    pub fn new(object: Arc<K>, ours: bool, keep: impl FnOnce(BTreeSet<Known>) -> People) -> Self {
        let (mut people, mut strangers) = (BTreeSet::new(), Vec::new());
        for subject in object.subjects() {
            let new = Known::read(subject).is_some_and(|known| people.insert(known));
            if !(ours && new) {
                strangers.push(subject.clone());
            }
        }
        let mut head = object;
        if !head.subjects().is_empty() {
            Arc::make_mut(&mut head).set_subjects(Vec::new());
        }
        Self { head, subjects: keep(people), strangers: strangers.into(), ours }
    }

    /// Its metadata.
    pub fn meta(&self) -> &ObjectMeta {
        self.head.meta()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// Its namespace, if it has one.
    pub fn namespace(&self) -> Option<&str> {
        self.meta().namespace.as_deref()
    }

    /// Its labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        self.head.labels()
    }

    /// Its annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        self.head.annotations()
    }

    /// What it gives.
    pub fn role_ref(&self) -> &RoleRef {
        self.head.role_ref()
    }

    /// Whether it is being deleted.
    pub fn deleting(&self) -> bool {
        deleting(self.head.as_ref())
    }

    /// Whether it names others, such as groups, or somebody twice.
    pub fn strangers(&self) -> bool {
        !self.strangers.is_empty()
    }

    /// The object but for its subjects, for who asks for its version only.
    pub const fn head(&self) -> &Arc<K> {
        &self.head
    }

    /// All of its subjects.
    pub fn all_subjects(&self) -> Vec<Subject> {
        let people = self.subjects.iter().filter(|_| self.ours).map(Known::subject);
        people.chain(self.strangers.iter().cloned()).collect()
    }

    /// The object, as it was seen.
    pub fn whole(&self) -> K {
        let mut whole = self.head.as_ref().clone();
        whole.set_subjects(self.all_subjects());
        whole
    }

    /// The write that deletes it.
    pub fn removal(&self) -> Write<K> {
        remove(self.head.as_ref())
    }

    /// It without some people. Everything else in it stays.
    pub fn rest(&self, gone: &BTreeSet<Known>) -> K {
        let stays = |subject: &Subject| !Known::read(subject).is_some_and(|known| gone.contains(&known));
        let mut rest = self.head.as_ref().clone();
        rest.set_subjects(self.all_subjects().into_iter().filter(stays).collect());
        rest
    }

    /// The write that takes people out of it, or itself away when nobody is left in it.
    pub fn without(&self, gone: &BTreeSet<Known>) -> Write<K> {
        let rest = self.rest(gone);
        if rest.subjects().is_empty() { self.removal() } else { Write::Replace(rest) }
    }

    /// The write that makes it what `desired` says, naming just these people, if one is needed. What cannot be changed goes: the next plan makes it.
    pub fn become_like(&self, desired: K, people: &People) -> Option<Write<K>> {
        let named = self.subjects == *people && !self.strangers();
        let mut write = match ensure(desired, Some(self.head.as_ref())) {
            None if named => return None,
            None => Write::Replace(self.head.as_ref().clone()),
            Some(write) => write,
        };
        if let Write::Replace(object) = &mut write {
            object.set_subjects(people.iter().map(Known::subject).collect());
        }
        Some(write)
    }
}

/// The write that makes a binding name just these people, where one of that name was seen or not, if one is needed.
pub fn bind<K: RbacBinding>(mut desired: K, people: &People, seen: Option<&Bound<K>>) -> Option<Write<K>> {
    if let Some(seen) = seen {
        return seen.become_like(desired, people);
    }
    desired.set_subjects(people.iter().map(Known::subject).collect());
    Some(Write::Create(desired))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str) -> Known {
        Known::ServiceAccount(name.into())
    }

    fn group() -> Subject {
        Subject { kind: "Group".to_owned(), name: "everybody".to_owned(), ..Subject::default() }
    }

    fn bound(subjects: &[Subject]) -> Bound<RoleBinding> {
        let object = RoleBinding { subjects: Some(subjects.to_vec()), ..RoleBinding::default() };
        Bound::new(Arc::new(object), true, Arc::new)
    }

    fn named(write: Option<Write<RoleBinding>>) -> Vec<Subject> {
        let Some(Write::Replace(object)) = write else { panic!("{write:?}") };
        object.subjects.unwrap_or_default()
    }

    #[test]
    fn who_goes_is_taken_out_and_everybody_else_stays() {
        let (ada, bob) = (person("ada"), person("bob"));
        let bound = bound(&[group(), ada.subject(), bob.subject()]);
        let rest = named(Some(bound.without(&BTreeSet::from([ada]))));
        assert_eq!(rest, [bob.subject(), group()]);
    }

    #[test]
    fn what_others_wrote_stays_as_they_wrote_it() {
        let ada = person("ada");
        let odd = Subject { kind: "User".to_owned(), name: "bob".to_owned(), namespace: Some("x".to_owned()), api_group: None };
        let object = RoleBinding { subjects: Some(vec![odd.clone(), ada.subject(), group()]), ..RoleBinding::default() };
        let bound = Bound::new(Arc::new(object.clone()), false, Arc::new);
        assert_eq!(bound.whole(), object);
        assert_eq!(bound.rest(&BTreeSet::from([ada])).subjects, Some(vec![odd, group()]));
    }

    #[test]
    fn a_binding_that_nobody_is_left_in_goes() {
        let ada = person("ada");
        let write = bound(&[ada.subject()]).without(&BTreeSet::from([ada]));
        assert!(matches!(write, Write::Delete(_)), "{write:?}");
    }

    #[test]
    fn strangers_and_doubles_are_a_difference_and_the_order_is_none() {
        let (ada, bob) = (person("ada"), person("bob"));
        let both = Arc::new(BTreeSet::from([ada.clone(), bob.clone()]));
        let desired = RoleBinding::default;
        assert!(bound(&[bob.subject(), ada.subject()]).become_like(desired(), &both).is_none());
        for more in [group(), ada.subject()] {
            let write = bound(&[bob.subject(), ada.subject(), more]).become_like(desired(), &both);
            assert_eq!(named(write), [ada.subject(), bob.subject()]);
        }
    }

    #[test]
    fn what_differs_besides_keeps_everybody() {
        let ada = person("ada");
        let mut desired = RoleBinding::default();
        desired.labels_mut().insert("usher.dev/role".to_owned(), "a".to_owned());
        assert_eq!(named(bound(&[ada.subject()]).become_like(desired, &Arc::new(BTreeSet::from([ada.clone()])))), [ada.subject()]);
    }
}
