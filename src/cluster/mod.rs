//! The Kubernetes API: watches into memory, writes out of plans. It decides nothing.
//!
//! Entry points: [`memory::Memory`], [`watch::Watches`], [`apply::Cluster`].

pub mod accounts;
pub mod apply;
pub mod ask;
pub mod connection;
pub mod crds;
pub mod error;
mod gone;
pub mod leader;
pub mod memory;
pub mod objects;
pub mod pen;
pub mod pushed;
pub mod records;
pub mod remote;
pub mod secrets;
pub mod watch;
pub mod writing;
