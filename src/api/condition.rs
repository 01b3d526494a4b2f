//! The types and reasons of conditions, once.

use std::fmt;

/// What a condition speaks of. Positive polarity: True is good, but for `Stalled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// The clusters and systems are as asked. The first failing condition says why not.
    Ready,
    /// The spec is valid and allowed.
    Accepted,
    /// Every object that the spec names exists.
    ReferencesResolved,
    /// The Environment's cluster, the Provider's system, or what the Source reads, answers.
    Connected,
    /// Workspaces are as planned.
    WorkspaceReady,
    /// The clusters' RBAC is as planned.
    AccessApplied,
    /// Credentials are as planned.
    CredentialsReady,
    /// Accounts in outside systems are as planned.
    AccountsSynced,
    /// Every API server that answers was asked and denies.
    AccessGone,
    /// What was issued is refused everywhere.
    CredentialsRevoked,
    /// Nothing is left.
    Complete,
    /// Waiting cannot help: somebody has to change something (kstatus).
    Stalled,
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why a condition has its status. The same word serves in conditions, events and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
pub enum Reason {
    /// As asked.
    AsPlanned,
    /// Work is under way.
    Progressing,
    /// The person has not started yet.
    Pending,
    /// The person is suspended.
    Suspended,
    /// The person is locked.
    Locked,
    /// The Lock is over.
    Lifted,
    /// The person is leaving.
    Departing,
    /// The person has left.
    Departed,
    /// usher.dev/paused stops work.
    Paused,
    /// The Environment, Provider or Source is only observed.
    Observing,
    /// The spec contradicts itself or something else.
    InvalidSpec,
    /// The installation does not allow it.
    Denied,
    /// Somebody else's object or name is in the way.
    Conflict,
    /// A cluster-wide rule does not apply in some cluster.
    ClusterAccessNarrowed,
    /// A Developer that is named does not exist.
    DeveloperNotFound,
    /// A Role that is named does not exist.
    RoleNotFound,
    /// Roles include each other in a circle.
    IncludeCycle,
    /// An Environment that is named does not exist.
    EnvironmentNotFound,
    /// A ClusterRole that is named does not exist.
    ClusterRoleNotFound,
    /// A Provider that is named does not exist.
    ProviderNotFound,
    /// There is no Environment at all.
    NoEnvironment,
    /// Access stays for subjects that no Binding explains.
    Orphans,
    /// Locks cannot be read, so nothing is added to anybody.
    LocksUnreadable,
    /// Something is left that could not be removed.
    LeftoversRemain,
    /// What is left was waived.
    Waived,
    /// Too much would go at once, so it is held.
    Braked,
    /// The person came back.
    Returned,
    /// A write failed and is tried again.
    ApplyFailed,
    /// The cluster or system does not answer.
    Unreachable,
    /// The system failed again and again, and is asked less often.
    Quarantined,
    /// The system asks to wait.
    RateLimited,
    /// The system does not accept usher's own credentials, or they do not allow enough.
    Unauthorized,
    /// A Secret that is named does not exist, or lacks the key.
    SecretNotFound,
    /// The system refuses a change.
    ChangeRejected,
    /// The system cannot do what is needed.
    Unsupported,
    /// An account owns something that keeps it from being deleted.
    OwnsObjects,
    /// A source of people did not tell everything, or what it told cannot be believed.
    Incomplete,
    /// Somebody lacks at the source of people what a Developer needs.
    InvalidPerson,
}

impl Reason {
    /// The word.
    pub fn as_str(self) -> String {
        format!("{self:?}")
    }

    /// Whether waiting cannot help.
    pub const fn stalls(self) -> bool {
        matches!(self, Self::Conflict | Self::InvalidSpec | Self::Denied | Self::IncludeCycle)
    }
}
