//! What must hold in every world. The number of cases is proptest's, 256 unless `PROPTEST_CASES` says otherwise.

mod accounts;
mod broken;
mod consistency;
mod drift;
mod ends;
pub mod exact;
pub mod forecast;
mod grants;
mod import;
mod instants;
mod order;
mod persons;
mod reinstall;
mod shards;

use proptest::test_runner::{Config, FileFailurePersistence};

/// Cases that failed once are tried first ever after: their seeds stand beside the source of the property.
pub fn config() -> Config {
    Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 20_000,
        ..Config::default()
    }
}
