//! Whether what Grants record is what was last seen: in the clusters by the same comparison as the consistency index, and at Providers as the person's status tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::plan::consistency::{AllCells, Fault, all_cells};
use crate::plan::placement::Scene;
use crate::plan::target::{environment_of, provider_of};

/// What was seen of some Roles.
#[derive(Debug, Default)]
pub struct Checks(BTreeMap<String, AllCells>);

impl Checks {
    /// Looks at a Role. This is the dear part, so whoever asks may let others at what it reads between one Role and the next.
    pub fn look(&mut self, scene: Scene<'_>, role: &str, now: Timestamp) {
        let seen = scene.world.role(role).map(|role| all_cells(scene, role, now)).unwrap_or_default();
        self.0.insert(role.to_owned(), seen);
    }

    /// Looks at what a Grant says of a target, by a Role that was looked at.
    ///
    /// # Errors
    /// With what is wrong there, in words, if it was not seen to be as it should.
    pub fn verified(&self, scene: Scene<'_>, role: &str, target: &str, developer: &str) -> Result<(), Arc<str>> {
        match (environment_of(target), provider_of(target)) {
            (Some(environment), _) => self.in_environment(role, environment, developer),
            (None, Some(provider)) => at_provider(scene, provider, developer),
            (None, None) => Err("nobody knows what this is".into()),
        }
    }

    fn in_environment(&self, role: &str, environment: &str, developer: &str) -> Result<(), Arc<str>> {
        let mut cells = self.0.get(role).map(|seen| [&seen.compared, &seen.alone]).into_iter().flatten();
        match cells.find_map(|cells| cells.get(environment)?.get(developer)) {
            Some(None) => Ok(()),
            Some(Some(Fault { message, .. })) => Err(message.clone()),
            None => Err("no Binding gives her this any more; it is being taken away".into()),
        }
    }
}

fn at_provider(scene: Scene<'_>, provider: &str, developer: &str) -> Result<(), Arc<str>> {
    let status = scene.world.developer(developer).and_then(|developer| developer.status.as_ref());
    let account = status.into_iter().flat_map(|status| &status.accounts).find(|account| account.provider == provider);
    match account.map(|account| account.state.as_str()) {
        Some("Active") => Ok(()),
        Some(state) => Err(format!("the account is {state}").into()),
        None => Err("no account was seen".into()),
    }
}
