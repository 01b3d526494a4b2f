//! What can go wrong with an outside system, and what to do then.

use std::time::Duration;

use crate::api::Reason;

/// Why a call to an outside system failed. The text names what was asked for and never holds a secret; what caused it is the source.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The system does not answer, not in time, or with a failure of its own.
    #[error("{operation}: no answer")]
    Unreachable {
        /// What was asked for.
        operation: String,
        /// Why there is none.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system does not accept usher's own credentials, or they do not allow it.
    #[error("{operation}: refused to usher itself ({status}); look at what credentialsSecret names, and at what that allows")]
    Unauthorized {
        /// What was asked for.
        operation: String,
        /// What the system said, such as `401 Unauthorized`.
        status: String,
    },
    /// The system asks for patience.
    #[error("{operation}: the system asks to wait")]
    RateLimited {
        /// What was asked for.
        operation: String,
        /// For how long, if it said so.
        after: Option<Duration>,
    },
    /// The system refuses the change.
    #[error("{operation}: {message}")]
    Rejected {
        /// What was asked for.
        operation: String,
        /// The system's own words.
        message: String,
    },
    /// The account owns something that keeps it from being deleted.
    #[error("{operation}: it owns {objects}; set onDeparture.ownedObjects to Transfer or Archive, or move them by hand")]
    OwnsObjects {
        /// What was asked for.
        operation: String,
        /// What it owns: a count and the first of them.
        objects: String,
    },
    /// The system said something that cannot be understood, or only half of it.
    #[error("{operation}: {message}")]
    Garbled {
        /// What was asked for.
        operation: String,
        /// What is wrong with the answer.
        message: String,
    },
    /// The settings are of no use, such as a CA that is no certificate.
    #[error("{field}: {message}")]
    InvalidSettings {
        /// The field of the Provider or Source.
        field: &'static str,
        /// What is wrong with it, and the remedy.
        message: String,
    },
    /// Nothing may be sent any more.
    #[error("this replica of usher does not lead any more, so it sends nothing")]
    NotLeading,
}

pub use crate::plan::provider::Retry;

impl ConnectorError {
    /// An error from whatever kept the system from answering.
    pub fn unreachable(operation: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unreachable { operation: operation.into(), source: source.into() }
    }

    /// The bounded word for conditions, events and metrics.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Unreachable { .. } | Self::Garbled { .. } | Self::NotLeading => Reason::Unreachable,
            Self::Unauthorized { .. } => Reason::Unauthorized,
            Self::RateLimited { .. } => Reason::RateLimited,
            Self::Rejected { .. } => Reason::ChangeRejected,
            Self::OwnsObjects { .. } => Reason::OwnsObjects,
            Self::InvalidSettings { .. } => Reason::InvalidSpec,
        }
    }

    /// When it is worth another try.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } | Self::Garbled { .. } | Self::RateLimited { after: None, .. } | Self::NotLeading => Retry::Backoff,
            Self::RateLimited { after: Some(after), .. } => Retry::After(*after),
            Self::Unauthorized { .. } | Self::Rejected { .. } | Self::OwnsObjects { .. } | Self::InvalidSettings { .. } => Retry::OnChange,
        }
    }

    /// The same error without what the system said: for requests that held a secret, which the system may have repeated. `failed` is told instead.
    #[must_use]
    pub fn without_words(self, failed: &str) -> Self {
        match self {
            Self::Unauthorized { operation, status } => {
                let status = status.split(':').next().unwrap_or_default().to_owned();
                Self::Unauthorized { operation, status }
            }
            // An error of the connection is no word of the system's.
            Self::Unreachable { operation, source } if source.downcast_ref::<reqwest::Error>().is_none() => {
                Self::unreachable(operation, failed)
            }
            error => error,
        }
    }

    /// Whether it is the system as a whole that fails, and not one account.
    pub const fn ails(&self) -> bool {
        !matches!(self, Self::Rejected { .. } | Self::OwnsObjects { .. })
    }

    /// What people read: the error and what caused it.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(next) = cause {
            let next_text = next.to_string();
            if !text.ends_with(&next_text) {
                text.push_str(": ");
                text.push_str(&next_text);
            }
            cause = next.source();
        }
        text
    }
}
