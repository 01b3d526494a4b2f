//! usher gives a developer everything needed to push code on day one, and takes all of it away, provably, when she leaves.
//!
//! Layers, each of which may use only those to its left: `api ← plan ← {connectors, cluster} ← {controllers, server} ← cli`; `telemetry` stands beside, from `cluster` upwards.
//! `ARCHITECTURE.md` has the code map; `tests/it/layers.rs` enforces the order.

pub mod api;
pub mod cli;
pub mod cluster;
pub mod connectors;
pub mod controllers;
pub mod plan;
pub mod server;
pub mod telemetry;
