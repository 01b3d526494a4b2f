//! Who would gain and lose what.

use super::Failure;

/// Say who would gain and lose what by manifests, without a cluster.
#[derive(Debug, clap::Args)]
pub struct Plan {}

impl Plan {
    /// Prints the plan.
    pub fn execute(self) -> Result<u8, Failure> {
        Err("not yet".into())
    }
}
