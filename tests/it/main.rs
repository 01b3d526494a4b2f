//! Tests without a cluster: the rules of access against a naive reading of DESIGN.md, and the order of the source.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

mod authors;
mod cli;
mod cluster_model;
mod clusters;
mod consistency;
mod crowd;
mod docs;
mod effective;
mod figures;
mod forecast;
mod generated;
mod import;
mod layers;
mod leaving;
mod leaving_model;
mod naive;
mod no_secrets;
mod page;
mod properties;
mod questions;
mod record;
mod retention;
mod scenarios;
mod scim;
#[allow(dead_code, reason = "each test binary uses some of it")]
#[path = "../support/scim_corpus.rs"]
mod scim_corpus;
mod silent;
mod sources;
mod unseen;
mod worlds;
