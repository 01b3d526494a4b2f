//! What is told of a Provider.

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::provider::{AccountCounts, OrphanedAccount, ProviderBrake, ProviderState, ProviderSummary};
use crate::api::{ConditionType, Mode, Provider, ProviderStatus, Reason};

use super::access::paused;
use super::account::Capability;
use super::developer::seconds;
use super::finding::Finding;
use super::status::conditions;

/// The conditions of a Provider.
pub const PROVIDER_CONDITIONS: [ConditionType; 2] = [ConditionType::Accepted, ConditionType::Connected];

/// How a Provider's system was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Why it does not answer as it should; nothing while it does.
    pub trouble: Option<(Reason, String)>,
    /// How often it failed in a row.
    pub failures: u32,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
    /// How many accounts wait for it.
    pub waiting: usize,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// How many accounts of which sort there are, once they were counted.
    pub accounts: Option<AccountCounts>,
    /// Some of those that are nobody's, counted with them.
    pub orphans: Vec<OrphanedAccount>,
    /// Whether removals are held.
    pub brake: Option<ProviderBrake>,
    /// Whether it answered at least once.
    pub known: bool,
}

/// After this many failures in a row a system is asked less often, and that is told.
pub const QUARANTINED_AFTER: u32 = 5;

impl Health {
    /// Whether it failed so often that it is asked less often.
    pub const fn quarantined(&self) -> bool {
        self.failures >= QUARANTINED_AFTER
    }
}

/// The status of a Provider.
pub fn provider_status(provider: &Provider, health: &Health, now: Timestamp) -> ProviderStatus {
    let previous = provider.status.clone().unwrap_or_default();
    let findings = findings(provider, health);
    let observes = provider.spec.mode == Mode::Observe;
    let ready = if observes {
        (Reason::Observing, "nothing is changed here; set mode: Enforce when the pending changes are what you want")
    } else {
        (Reason::AsPlanned, "")
    };
    let conditions = conditions(&PROVIDER_CONDITIONS, &findings, ready, provider.metadata.generation, (&previous.conditions, now));
    let message = conditions.first().filter(|it| it.status != "True").map(|it| it.message.clone()).unwrap_or_default();
    let system = provider.spec.system();
    let managed = health.accounts.or(previous.accounts).map(|accounts| accounts.managed.to_string()).unwrap_or_default();
    let mut capabilities: Vec<String> = health.capabilities.iter().map(|it| format!("{it:?}")).collect();
    if capabilities.is_empty() {
        capabilities = previous.capabilities;
    }
    ProviderStatus {
        observed_generation: provider.metadata.generation,
        state: state(health, observes).or(previous.state.filter(|_| health.trouble.is_none())),
        summary: Some(ProviderSummary {
            kind: system.map(|system| system.name().to_owned()).unwrap_or_default(),
            accounts: managed,
            url: system.map(|system| system.url().to_owned()).unwrap_or_default(),
            queue: if health.trouble.is_some() { health.waiting } else { 0 }.to_string(),
            next_try: health.next_try.map(seconds).unwrap_or_default(),
            message,
        }),
        conditions,
        capabilities,
        accounts: health.accounts.or(previous.accounts),
        orphans: if health.accounts.is_some() { health.orphans.clone() } else { previous.orphans },
        brake: health.brake.clone(),
    }
}

fn state(health: &Health, observes: bool) -> Option<ProviderState> {
    if health.trouble.is_some() {
        return Some(if health.quarantined() { ProviderState::Quarantined } else { ProviderState::Unreachable });
    }
    if health.brake.is_some() {
        return Some(ProviderState::Braked);
    }
    health.known.then_some(if observes { ProviderState::Observing } else { ProviderState::Connected })
}

fn findings(provider: &Provider, health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |condition, reason, message: String| findings.push(Finding::new(condition, reason, message));
    if let Some((reason, message)) = &health.trouble {
        let reason = if health.quarantined() && *reason == Reason::Unreachable { Reason::Quarantined } else { *reason };
        add(ConditionType::Connected, reason, message.clone());
    }
    if let Some(brake) = &health.brake {
        add(
            ConditionType::Ready,
            Reason::Braked,
            format!(
                "{} of {} accounts would lose something at once; annotate usher.dev/release={} if that is meant",
                brake.removals, brake.population, brake.digest
            ),
        );
    }
    if paused(provider) {
        let name = provider.name_any();
        add(ConditionType::Ready, Reason::Paused, format!("uprov/{name} is paused; remove the annotation usher.dev/paused to go on"));
    }
    findings
}
