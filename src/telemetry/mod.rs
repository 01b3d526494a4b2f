//! Logs and metrics. A side layer, usable from `cluster` upwards.

pub mod export;
pub mod logging;
pub mod metrics;
mod scorecards;
