//! Outside systems: every connector against the real server.

mod conformance;
mod memory;
