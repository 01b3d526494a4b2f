//! The kinds as the API server enforces and explains them. The tables next to this file are the tests: `refused.yaml` and `accepted.yaml`.

mod accepted;
mod case;
mod explain;
mod merge;
mod refused;
