//! Outside systems: every connector against the real server.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

mod conformance;
mod memory;
mod postgresql;
#[path = "../support/systems/proxy.rs"]
mod proxy;
mod proxy_itself;
