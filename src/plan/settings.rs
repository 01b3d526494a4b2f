//! What the installation decides, and the planner obeys.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::api::{ScorecardSpec, Span};

/// The values of the chart that decide what is planned.
#[derive(Clone, Debug)]
pub struct Settings {
    /// usher's own namespace, which is nobody's workspace and never shared.
    pub namespace: String,
    /// The UID of `kube-system` of the home cluster, which marks what this installation makes.
    pub installation: String,
    /// What people's kubeconfigs say about reaching the home cluster.
    pub server: Server,
    /// How long a ServiceAccount token lives.
    pub token_lifetime: SignedDuration,
    /// What Roles may give.
    pub fence: Fence,
    /// What happens when people leave.
    pub offboarding: Offboarding,
    /// How long the record is kept.
    pub audit: Audit,
    /// What the figures are of.
    pub figures: Figures,
}

impl Settings {
    /// Those of a chart whose values nobody changed. `installation` is the UID of `kube-system` of the home cluster.
    pub fn of(namespace: impl Into<String>, installation: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            installation: installation.into(),
            server: Server::default(),
            token_lifetime: SignedDuration::from_hours(720),
            fence: Fence::default(),
            offboarding: Offboarding::default(),
            audit: Audit::default(),
            figures: Figures::default(),
        }
    }
}

/// What the figures are of, and how often they are told.
#[derive(Clone, Debug)]
pub struct Figures {
    /// What happened longer ago does not count.
    pub window: Span,
    /// The least time between two writes of a Scorecard.
    pub every: SignedDuration,
}

impl Default for Figures {
    fn default() -> Self {
        Self { window: ScorecardSpec::default().window, every: SignedDuration::from_mins(1) }
    }
}

/// How long the record is kept.
#[derive(Clone, Debug)]
pub struct Audit {
    /// What is over is deleted after this.
    pub retention: SignedDuration,
    /// At most this many revisions of one Role are kept.
    pub revisions_per_role: usize,
}

impl Default for Audit {
    fn default() -> Self {
        Self { retention: SignedDuration::from_hours(400 * 24), revisions_per_role: 100 }
    }
}

/// How a cluster is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// The URL of the API server.
    pub url: String,
    /// Its certificate authority in PEM, base64; empty where the system's suffice.
    pub ca_data: String,
}

/// What Roles may give. The chart's RBAC and policies hold the operator to the same.
#[derive(Clone, Debug)]
pub struct Fence {
    /// The existing ClusterRoles that may be named.
    pub may_bind: BTreeSet<String>,
    /// Whether Roles may have rules of their own.
    pub inline_rules: bool,
    /// The verbs that cluster-wide rules may have.
    pub cluster_scope_verbs: BTreeSet<String>,
    /// Whether cluster-wide rules may reach Secrets.
    pub cluster_scope_secrets: bool,
}

/// What happens when people leave.
#[derive(Clone, Debug)]
pub struct Offboarding {
    /// Whether usher takes identities of its own out of bindings that others made, instead of reporting them only.
    pub remove_foreign: bool,
    /// Destruction is held when more people than this leave within [`BRAKE_WINDOW`], or more than `brake_percent` of all, whichever is more.
    pub brake_people: usize,
    /// See `brake_people`.
    pub brake_percent: usize,
}

/// The time within which departures count as one batch.
pub const BRAKE_WINDOW: SignedDuration = SignedDuration::from_mins(10);

impl Default for Offboarding {
    fn default() -> Self {
        Self { remove_foreign: true, brake_people: 10, brake_percent: 10 }
    }
}

impl Default for Fence {
    fn default() -> Self {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            may_bind: set(&["view", "edit", "usher-developer"]),
            inline_rules: true,
            cluster_scope_verbs: set(&["get", "list", "watch"]),
            cluster_scope_secrets: false,
        }
    }
}
