//! Changes that were seen, for those who decide what to look at again.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};

use crate::api::{Binding, Departure, Developer, Environment, Grant, Lock, Provider, Role, Source};
use crate::plan::bound::Bound;
use crate::plan::cluster::{ClusterKey, Key};
use crate::plan::link::Link;

use super::memory::key_of;

/// A change that was seen, for those who decide what to look at again.
#[derive(Debug)]
pub enum Seen {
    /// A Developer, before and after.
    Developer(String, Option<Arc<Developer>>, Option<Arc<Developer>>),
    /// A Role, before and after.
    Role(String, Option<Arc<Role>>, Option<Arc<Role>>),
    /// A Binding, before and after.
    Binding(String, Option<Arc<Binding>>, Option<Arc<Binding>>),
    /// An Environment, before and after.
    Environment(String, Option<Arc<Environment>>, Option<Arc<Environment>>),
    /// A Provider, before and after.
    Provider(String, Option<Arc<Provider>>, Option<Arc<Provider>>),
    /// A Source, before and after.
    Source(String, Option<Arc<Source>>, Option<Arc<Source>>),
    /// Something was pushed for a Source.
    Pushed(String),
    /// A Secret of usher's own namespace, in which the credentials of a Provider or Source may be.
    OwnSecret(String),
    /// A Lock, before and after.
    Lock(String, Option<Arc<Lock>>, Option<Arc<Lock>>),
    /// Whether Locks can be read changed.
    LocksReadable,
    /// A Departure, before and after.
    Departure(String, Option<Arc<Departure>>, Option<Arc<Departure>>),
    /// A Grant, before and after.
    Grant(Option<Arc<Grant>>, Option<Arc<Grant>>),
    /// A Scorecard that went away.
    ScorecardGone,
    /// A revision of a Role that went away.
    RevisionGone(String),
    /// A namespace, before and after.
    Namespace(Option<Arc<Namespace>>, Option<Arc<Namespace>>),
    /// A RoleBinding, before and after.
    RoleBinding(Option<Bound<RoleBinding>>, Option<Bound<RoleBinding>>),
    /// A ClusterRoleBinding, before and after.
    ClusterRoleBinding(Option<Bound<ClusterRoleBinding>>, Option<Bound<ClusterRoleBinding>>),
    /// A ClusterRole: its name, the Roles whose rules it held and holds, and whether it came or went.
    ClusterRole(String, BTreeSet<String>, bool),
    /// A ServiceAccount of a person's name that somebody else made came or went.
    Stranger(String),
    /// Something personal: whose it was and is, by its label and by the workspace that it is in; and which object it is, if it was there before and is another
    /// than it was, or gone.
    Personal(BTreeSet<String>, Option<Title>),
    /// How a cluster besides the home cluster stands, before and after.
    Link(ClusterKey, Option<Link>, Option<Link>),
}

/// Which object it is: its kind, and where it is kept.
pub type Title = (&'static str, Key);

impl Seen {
    /// Which object of usher's own making it is about, if it is about one that hands may change.
    pub fn title(&self) -> Option<Title> {
        match self {
            Self::RoleBinding(old, new) => old.as_ref().or(new.as_ref()).map(|bound| ("RoleBinding", key_of(bound.head().as_ref()))),
            Self::ClusterRoleBinding(old, new) => {
                old.as_ref().or(new.as_ref()).map(|bound| ("ClusterRoleBinding", key_of(bound.head().as_ref())))
            }
            Self::ClusterRole(name, ..) => Some(("ClusterRole", (String::new(), name.clone()))),
            Self::Personal(_, title) => title.clone(),
            _ => None,
        }
    }
}

/// By what a change was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A watch.
    Watch,
    /// The same while a write of our own to this very object is under way, of which it may tell.
    Echo,
    /// The answer to a write of our own, which is as it was meant to be.
    Answer,
}
