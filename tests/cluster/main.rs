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
//! | `exact` | effective access equals the plan before, during and after every kind of edit | the operator |
//! | `life`, `life_*` | suspension, departure, deletion, return; tokens, Grants, strangers | the operator |
//! | `leaving`, `lock` | receipts, seals, Locks | the operator |
//! | `leaving_brake`, `lock_unread` | too many at once; Locks that cannot be read | a cluster of their own |
//! | `accounts` | accounts in outside systems follow, wait and go | the operator, a SCIM server |
//! | `demos` | `make demo` and `make demo-full` do what they say | everything of their own |
//! | `metrics` | what a scrape tells of accounts in outside systems | the operator, a SCIM server |
//! | `metrics_page` | every metric is there, as documented, and moved by what it counts | a cluster of its own, a forge |
//! | `interleaving` | all of it at once, with kills, restarts and hand-overs, by dice | a cluster of its own |
//! | `end_to_end` | who is made in Keycloak gets access and accounts, pushes, moves and leaves, and nobody touches usher | a cluster of its own, Keycloak, a forge |
//! | `figures` | the four figures read what they were forced to, denied requests among them | clusters of their own |
//! | `churn` | coming and going for long leaves nothing behind in the operator | a cluster of its own |
//! | `record_*` | who asked, what Roles contained, the readers of the record | the operator |
//! | `drift`, `poison`, `crash`, `replicas` | repair, bad neighbours, kills, hand-over | a cluster of their own |
//! | `faults` | API server, etcd, network and watches fail, and nothing is lost, doubled or written by two | a cluster of their own |
//! | `import` | what 200 people have before usher comes is said as manifests, and nobody gains or loses by them | a cluster of its own |
//! | `several` | dev, staging and prod on three clusters: the same everywhere, and none waits for another | two more clusters |
//! | `at_rest` | a settled cluster writes nothing but the Lease | a cluster of its own |
//! | `counts` | of every edit each write that it needs, once, and no other | a cluster of its own |
//! | `absence`, `absent_operator`, `upgrade`, `upgrade_stored` | CRDs, chart or operator gone and back | a cluster of their own |
//! | `sources` | people from a directory come, move and leave; what it tells by mistake hurts nobody | the operator, Keycloak, LDAP |
//! | `scim` | an identity provider pushes people, and nothing that was answered is lost | the operator, scim2-tester |
//! | `page` | the web page shows what the record says, to whoever may list that, with mouse and keyboard | the operator, Chromium; a cluster of its own |
//! | `rbac` | the chart's RBAC is what was used | a cluster of its own |
//! | `attack` | what nobody may do, tried: as binder, responder, developer, and with the operator's token | the operator |

#![allow(clippy::doc_markdown, reason = "kinds of Kubernetes are words here")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

mod absence;
mod absent_operator;
mod accounts;
mod accounts_forge;
mod alerts;
mod at_rest;
mod attack;
mod chart;
mod churn;
mod columns;
mod control_plane;
mod counts;
mod crash;
mod demos;
mod drift;
mod end_to_end;
mod exact;
mod faults;
mod figures;
mod harness;
mod import;
mod interleaving;
mod leaving;
mod leaving_brake;
mod leaving_lingering;
mod life;
mod life_deletion;
mod life_grants;
mod life_rehire;
mod life_strangers;
mod life_tokens;
mod lock;
mod lock_unread;
mod metrics;
mod metrics_page;
mod page;
mod poison;
mod rbac;
mod record_authors;
mod record_export;
mod record_orphans;
mod record_page;
mod record_questions;
mod record_retention;
mod record_revisions;
mod replicas;
mod schema;
mod scim;
#[allow(dead_code, reason = "each test binary uses some of it")]
#[path = "../support/scim_corpus.rs"]
mod scim_corpus;
mod several;
mod sources;
mod support;
mod upgrade;
mod upgrade_stored;
