//! What can go wrong with the Kubernetes API, and what to do about it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::Reason;

/// A request to a cluster that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("cannot {verb} {kind} {name}")]
    Request {
        /// What was tried.
        verb: &'static str,
        /// The kind of object.
        kind: String,
        /// The object: namespace/name, or name.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
    /// This replica may not write any more.
    #[error("the lease was not renewed in time, so another replica may work")]
    NotLeading,
    /// Something more urgent came up about the same object: the plan is made again.
    #[error("something more urgent came first")]
    MadeWay,
    /// Something of the same name was not made by this installation.
    #[error("{kind} {name} was not made by usher; delete or rename it")]
    Conflict {
        /// The kind of object.
        kind: String,
        /// The object: namespace/name, or name.
        name: String,
    },
    /// Somebody else owns what nobody but usher may say of the object.
    #[error("{kind} {name}: somebody else owns what is usher's to say ({what}); take it off there, or remove that field manager")]
    Owned {
        /// The kind of object.
        kind: String,
        /// The object: namespace/name, or name.
        name: String,
        /// What the API server said of each field.
        what: String,
    },
    /// The object changed since it was seen: look again.
    #[error("{kind} {name} changed meanwhile")]
    Stale {
        /// The kind of object.
        kind: String,
        /// The object: namespace/name, or name.
        name: String,
    },
}

impl Error {
    /// The bounded word for conditions, events and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(_) => Reason::ApplyFailed,
                _ => Reason::Unreachable,
            },
            Self::Conflict { .. } | Self::Owned { .. } => Reason::Conflict,
            Self::Stale { .. } | Self::NotLeading | Self::MadeWay => Reason::Progressing,
        }
    }

    /// The kind of object that it is about.
    pub fn kind(&self) -> &str {
        match self {
            Self::Request { kind, .. } | Self::Conflict { kind, .. } | Self::Owned { kind, .. } | Self::Stale { kind, .. } => kind,
            Self::NotLeading | Self::MadeWay => "",
        }
    }

    /// Whether it says only that the plan must be made again.
    pub fn is_no_failure(&self) -> bool {
        matches!(self, Self::Stale { .. } | Self::MadeWay)
    }

    /// How long to wait before the next try, after so many failures in a row.
    pub fn retry_after(&self, failures: u32) -> Duration {
        match self {
            Self::Stale { .. } => Duration::from_millis(20),
            Self::NotLeading => Duration::from_secs(1),
            Self::MadeWay => Duration::ZERO,
            // Most are settled soon, by whoever caused them; not all kinds of strangers are watched.
            Self::Conflict { .. } | Self::Owned { .. } => Duration::from_secs(2).saturating_mul(1 << failures.min(4)),
            Self::Request { source, .. } => asked_to_wait(source)
                .unwrap_or_else(|| Duration::from_secs(1).saturating_mul(1 << failures.min(8)).min(Duration::from_mins(5))),
        }
    }

    /// What people read: the error and what caused it, without repeating.
    pub fn chain(&self) -> String {
        match self {
            Self::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => format!("{self}: {}", status.message),
                other => format!("{self}: {other}"),
            },
            _ => self.to_string(),
        }
    }
}

/// Whether the API server said that it has too many requests.
pub fn too_many(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 429)
}

/// How long the API server asked to wait (Retry-After, <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>), a minute at most.
fn asked_to_wait(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Api(status) = error else { return None };
    let seconds = status.details.as_ref().map(|details| details.retry_after_seconds).filter(|_| status.code == 429)?;
    (seconds > 0).then(|| Duration::from_secs(u64::from(seconds).min(60)))
}

/// Whether the API server said that there is no such object.
pub fn not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// The fields that server-side apply did not take, as somebody else owns them, each with what the API server said of it
/// (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts>).
pub fn owned_by_others(error: &kube::Error) -> BTreeMap<String, String> {
    let kube::Error::Api(status) = error else { return BTreeMap::new() };
    let causes = status.details.iter().flat_map(|details| &details.causes).filter(|cause| cause.reason == "FieldManagerConflict");
    causes.map(|cause| (cause.field.clone(), format!("{}: {}", cause.field, cause.message))).collect()
}

/// Whether the API server said that the object exists or has changed.
pub fn conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
