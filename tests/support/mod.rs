//! What several test binaries share: processes, the scripts in `hack/` that run servers, and outside systems.

#[allow(dead_code, reason = "each test binary uses some of it")]
pub mod evidence;
#[allow(dead_code, reason = "each test binary uses some of it")]
pub mod process;
#[allow(dead_code, reason = "each test binary uses some of it")]
pub mod script;
pub mod systems;
