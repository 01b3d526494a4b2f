//! The custom resources of `usher.dev/v1alpha1` as types: what users write and read.
//!
//! Doc comments here are user documentation: they show in `kubectl explain`. This layer knows no client, clock or policy.
//! [`crds`] is the entry point for everything that needs the definitions.

pub mod binding;
pub mod condition;
mod crd;
pub mod departure;
pub mod developer;
pub mod environment;
pub mod grant;
pub mod lock;
pub mod metadata;
mod origin;
pub mod provider;
pub mod removals;
pub mod role;
mod schema;
pub mod scorecard;
pub mod source;
pub mod span;

pub use binding::{Binding, BindingSpec, BindingState, BindingStatus};
pub use condition::{ConditionType, Reason};
pub use crd::{DECIDING, KINDS, crds};
pub use departure::{Departure, DepartureSpec, DepartureState, DepartureStatus};
pub use developer::{DesiredState, Developer, DeveloperSpec, DeveloperState, DeveloperStatus};
pub use environment::{Environment, EnvironmentSpec, EnvironmentStatus, Mode};
pub use grant::{Grant, GrantSpec, GrantState};
pub use lock::{Lock, LockSpec, LockState, LockStatus};
pub use provider::{Provider, ProviderSpec, ProviderState, ProviderStatus};
pub use role::{Role, RoleSpec, RoleStatus};
pub use scorecard::{Scorecard, ScorecardSpec, ScorecardStatus};
pub use source::{Source, SourceSpec, SourceState, SourceStatus};
pub use span::Span;
