//! What there is to do and to ask about somebody who is locked, and how a Lock is told.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::departure::Sealed;
use crate::api::lock::{LockState, LockSummary};
use crate::api::{ConditionType, Lock, LockStatus, Reason};

use super::access::{Standing, standing};
use super::change::Step;
use super::developer::{DeveloperInputs, plan_developer};
use super::finding::Finding;
use super::placement::Scene;
use super::question::{Question, questions};
use super::receipt::seconds_of;
use super::seal::{Seal, Site, seal, unseal, workspaces};
use super::status::conditions;

/// What there is to do and to ask about somebody who is locked.
#[derive(Debug, Default)]
pub struct Locking {
    /// Where she stands, if she is there.
    pub standing: Option<Standing>,
    /// Her workspaces.
    pub sites: Vec<Site>,
    /// The seal of her workspaces.
    pub seal: Seal,
    /// The writes that put back what was sealed.
    pub unseal: Vec<Step>,
    /// Whether bindings of this installation name her.
    pub named: bool,
    /// Whether a ServiceAccount of hers is there.
    pub accounts: bool,
    /// What has to be denied.
    pub questions: Vec<Question>,
}

impl Locking {
    /// The Environments that are asked.
    pub fn places(&self) -> usize {
        self.questions.iter().map(|question| &question.environment).collect::<BTreeSet<_>>().len()
    }
}

/// The conditions of a Lock.
pub const LOCK_CONDITIONS: [ConditionType; 3] = [ConditionType::Accepted, ConditionType::AccessGone, ConditionType::CredentialsRevoked];

/// Looks at the person of a Lock.
pub fn locking(scene: Scene<'_>, lock: &Lock, now: Timestamp) -> Locking {
    let name = &lock.spec.developer;
    let Some(developer) = scene.world.developer(name) else { return Locking::default() };
    let kept = lock.status.as_ref().map(|status| status.sealed.clone()).unwrap_or_default();
    let plan = plan_developer(&DeveloperInputs { scene, developer, now });
    let sites = workspaces(scene, name, &developer.uid().unwrap_or_default());
    Locking {
        standing: Some(standing(scene.world, developer, now)),
        seal: seal(scene, name, &sites, &kept),
        unseal: unseal(scene, &sites, &kept),
        named: !plan.access_gone(),
        accounts: scene.clusters.values().any(|state| state.service_accounts_of(name).next().is_some()),
        questions: questions(scene, developer, now),
        sites,
    }
}

/// How far a Lock is.
#[derive(Debug, Default)]
pub struct LockFound {
    /// Whether all that was asked is denied and her workspaces are sealed.
    pub access_gone: bool,
    /// Whether it is over.
    pub lifted: bool,
    /// Whether what was issued is refused, if it is to be.
    pub credentials_revoked: bool,
    /// How long it took until all was denied, if that was seen now.
    pub access_gone_ms: Option<i64>,
    /// What is kept to be put back.
    pub sealed: Vec<Sealed>,
    /// How many Environments were asked.
    pub places: usize,
}

/// The status of a Lock.
pub fn lock_status(lock: &Lock, found: &LockFound, now: Timestamp) -> LockStatus {
    let previous = lock.status.clone().unwrap_or_default();
    let access_gone_ms = if found.lifted { previous.access_gone_ms } else { previous.access_gone_ms.or(found.access_gone_ms) };
    let mut findings = Vec::new();
    if !found.lifted && !found.access_gone {
        findings.push(Finding::new(ConditionType::AccessGone, Reason::Progressing, "access is being taken away"));
    }
    if !found.lifted && !found.credentials_revoked {
        findings.push(Finding::new(ConditionType::CredentialsRevoked, Reason::Progressing, "API servers remember tokens for ten seconds"));
    }
    let reason = if found.lifted { Reason::Lifted } else { Reason::Locked };
    let state = match (found.lifted, found.access_gone && found.credentials_revoked) {
        (true, _) => LockState::Lifted,
        (false, true) => LockState::Applied,
        (false, false) => LockState::Applying,
    };
    let done = if found.access_gone { found.places } else { 0 };
    let targets = if found.lifted { previous.summary.clone().unwrap_or_default().targets } else { format!("{done}/{}", found.places) };
    LockStatus {
        observed_generation: lock.metadata.generation,
        conditions: conditions(&LOCK_CONDITIONS, &findings, (reason, ""), lock.metadata.generation, (&previous.conditions, now)),
        state: Some(state),
        access_gone_ms,
        sealed: found.sealed.clone(),
        summary: Some(LockSummary { targets, access_gone: access_gone_ms.map(seconds_of).unwrap_or_default() }),
    }
}
