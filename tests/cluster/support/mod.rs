//! The harness: control planes, the installed operator, and what tests ask them.
//!
//! Processes are children of threads of this process and hang on pipes or on parent-death signals, never on destructors: libtest runs none for statics, and a
//! killed test process runs none at all. Clients are made per test, because each `#[tokio::test]` has a runtime of its own.

pub mod access;
pub mod audit;
#[allow(dead_code, reason = "`make bench` needs none")]
pub mod browser;
pub mod client;
mod control_plane;
pub mod dice;
#[allow(dead_code, reason = "the tests of outside systems use more of it")]
#[path = "../../support/evidence.rs"]
pub mod evidence;
pub mod fleet;
pub mod install;
mod name;
#[allow(dead_code, reason = "used as soon as `usher run` works")]
pub mod operator;
pub mod order;
pub mod pause;
pub mod people;
#[path = "../../support/process.rs"]
pub mod process;
pub mod replica;
#[allow(dead_code, reason = "`make bench` uses less of it")]
pub mod scim;
pub mod scrape;
#[allow(dead_code, reason = "the tests of outside systems use more of it")]
#[path = "../../support/script.rs"]
mod script;
pub mod shared;
pub mod slot;
#[path = "../../support/systems/mod.rs"]
pub mod systems;
pub mod tools;
#[allow(dead_code, reason = "`make bench` uses more of it")]
pub mod usage;
mod wait;

pub use control_plane::{AuditLevel, ControlPlane, client_as, client_of, run_as_written};
pub use name::name;
pub use shared::bare;
#[allow(unused_imports, reason = "used as soon as `usher run` works")]
pub use shared::{Shared, operated};
pub use tools::Output;
pub use wait::{throughout, wait_until};
