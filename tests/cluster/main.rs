//! Tests against a real control plane: what only a real API server, with real controllers, can prove.
//!
//! One binary, because each links all of kube. `support` is the harness; every other module is about one promise. Tests run in parallel, so names come from
//! [`support::name`], and who needs a cluster for herself takes [`support::ControlPlane::exclusive`].
//!
//! | Module | Proves | Needs |
//! |---|---|---|
//! | `control_plane` | the controllers of the control plane really work, and that nothing is left of it | nothing |
//! | `harness` | what the harness measures access and writes with is right itself | nothing |
//! | `schema` | nonsense is refused with the remedy, good objects merge, defaults and explanations are there | the CRDs |
//! | `columns` | `kubectl get` answers without `-o yaml` | the CRDs |
//! | `chart` | what the operator gets from the chart, and what stays when that goes | Helm |
//!
//! To come, with the operator: `onboarding` (workspace, credentials, a kubeconfig that works), `exactness` (the matrix before and after every kind of edit),
//! `transition` (no gap and no excess while access is replaced), `leaving` (suspend, depart, delete), `rehire` (the same name fifty times), `repair` (hand edits),
//! `strangers` (what is not ours), `tokens` (renewal), `poison` (five bad of a hundred), `crash` (killed twenty times), `replicas` (hand-over), `quiet` (a settled
//! cluster writes nothing), `reinstall` (CRDs or chart gone and back), `audit` (the chart's RBAC is what was used), `commands` (`usher kubeconfig`, `grant`, `uninstall`).

#![allow(clippy::doc_markdown, reason = "kinds of Kubernetes are words here")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

mod chart;
mod columns;
mod control_plane;
mod crash;
mod drift;
mod exact;
mod harness;
mod life;
mod life_deletion;
mod life_grants;
mod life_rehire;
mod life_strangers;
mod life_tokens;
mod poison;
mod quiet;
mod rbac;
mod record_authors;
mod record_orphans;
mod record_questions;
mod record_revisions;
mod reinstall;
mod reinstall_finalizers;
mod replicas;
mod schema;
mod support;
mod upgrade;
mod upgrade_stored;
