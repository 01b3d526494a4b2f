//! Outside systems: every connector against the real server.
//!
//! `conformance` is the list of cases that all of them pass; every other module is one system, with what is peculiar to it.
//! `servers` is about the servers themselves, which `hack/systems/` runs.

#![allow(clippy::doc_markdown, reason = "names of systems are words here")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

mod conformance;
mod flood;
mod gitea;
mod keycloak;
mod ldap;
mod memory;
mod postgresql;
#[allow(dead_code, reason = "the tests of the operator use more of it")]
#[path = "../support/systems/proxy.rs"]
mod proxy;
mod proxy_itself;
mod scim;
mod servers;
#[path = "../support/mod.rs"]
mod support;
