//! What there is to do and to ask about somebody who is locked, and how a Lock is told.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::departure::{DepartureTarget, Sealed, TargetState};
use crate::api::lock::{LockState, LockSummary};
use crate::api::{ConditionType, Lock, LockStatus, Reason};

use super::access::{Standing, lock_holds, standing};
use super::cell::{self, Cell};
use super::change::Step;
use super::cluster::ClusterKey;
use super::departures::lasts;
use super::developer::{DeveloperInputs, DeveloperPlan, plan_developer};
use super::entitlement::accounts_of;
use super::finding::Finding;
use super::link::untouched;
use super::person::Person;
use super::placement::Scene;
use super::question::{Question, questions};
use super::receipt::seconds_of;
use super::seal::{Seal, Site, awaits_workspace, keep_all, seal, still_sealed, unseal, workspaces};
use super::status::conditions;
use super::target::provider_target;
use super::world::World;

/// What there is to do and to ask about somebody who is locked.
#[derive(Debug, Default)]
pub struct Locking {
    /// Where she stands, if she is there.
    pub standing: Option<Standing>,
    /// Her workspaces.
    pub sites: Vec<Site>,
    /// The seal of her workspaces.
    pub seal: Seal,
    /// The writes that put back what was sealed; none while Locks cannot be read, or her workspace was not taken over yet.
    pub unseal: Option<Vec<Step>>,
    /// Whether another Lock or her Departure keeps all that this one keeps.
    pub kept_elsewhere: bool,
    /// Whether bindings of this installation name her.
    pub named: bool,
    /// Whether a ServiceAccount of hers is there.
    pub accounts: bool,
    /// What has to be denied.
    pub questions: Vec<Question>,
    /// Where she may have something as the cluster does not answer: Environments in which she is known, and clusters of others; with the reason.
    pub silent: BTreeMap<String, String>,
    /// What this Lock keeps and what could not be put back yet.
    pub still_kept: Vec<Sealed>,
}

impl Locking {
    /// The Environments that are asked.
    pub fn places(&self) -> usize {
        self.questions
            .iter()
            .map(|question| &question.environment)
            .filter(|name| !self.silent.contains_key(&title(name)))
            .collect::<BTreeSet<_>>()
            .len()
    }
}

/// The conditions of a Lock.
pub const LOCK_CONDITIONS: [ConditionType; 3] = [ConditionType::Accepted, ConditionType::AccessGone, ConditionType::CredentialsRevoked];

/// Looks at the person of a Lock.
pub fn locking(scene: Scene<'_>, lock: &Lock, now: Timestamp) -> Locking {
    let name = &lock.spec.developer;
    let Some(developer) = scene.world.developer(name) else { return Locking::default() };
    let own = lock.status.as_ref().map(|status| status.sealed.clone()).unwrap_or_default();
    let kept = if lock_holds(lock, now) { kept_by_others(scene, lock, own) } else { own };
    let plan = plan_developer(&DeveloperInputs { scene, developer, now });
    let sites = workspaces(scene, name, &developer.uid().unwrap_or_default());
    Locking {
        standing: Some(standing(scene.world, developer, now)),
        seal: seal(scene, name, &sites, &kept),
        unseal: (scene.world.locks_readable() && !awaits_workspace(scene, developer, &sites, &kept)).then(|| unseal(scene, &sites, &kept)),
        kept_elsewhere: kept.iter().all(|sealed| others_keep(scene, lock, now).contains(&sealed)),
        named: !plan.access_gone(),
        accounts: scene.planned().any(|(_, state)| state.service_accounts_of(name).next().is_some()),
        questions: questions(scene, developer, now),
        silent: silent(scene, &plan),
        still_kept: still_sealed(scene, developer, &sites, &kept),
        sites,
    }
}

/// How an Environment is called.
fn title(environment: &str) -> String {
    format!("uenv/{environment}")
}

/// Where somebody may have something as the cluster does not answer, with the reason.
fn silent(scene: Scene<'_>, plan: &DeveloperPlan) -> BTreeMap<String, String> {
    let mut silent = BTreeMap::new();
    let mut told = BTreeSet::new();
    for name in plan.identities.iter().map(|identity| &identity.environment) {
        let cluster = scene.world.environment(name).map(|environment| ClusterKey::of(environment));
        let Some(cluster) = cluster.filter(|cluster| !untouched(scene, cluster)) else { continue };
        if let Some((_, why)) = scene.silence(&cluster).filter(|_| scene.plans(&cluster)) {
            silent.insert(title(name), why);
            told.insert(cluster);
        }
    }
    // Also where no Environment knows her any more.
    let others = plan.beyond.keys().filter(|cluster| !told.contains(cluster));
    silent.extend(others.filter_map(|cluster| Some((cluster.to_string(), scene.silence(cluster)?.1))));
    silent
}

/// How somebody's accounts in outside systems stand under a Lock. One that was not looked at since the start stays as it was told.
pub fn locked_accounts(world: &World, lock: &Lock, cells: &[Cell], now: Timestamp) -> Vec<DepartureTarget> {
    let Some(developer) = world.developer(&lock.spec.developer) else { return Vec::new() };
    let before = lock.status.as_ref().map(|status| status.targets.as_slice()).unwrap_or_default();
    let own = Person::own(developer);
    let line = |(provider, (id, username)): (String, (Option<String>, String))| {
        let target = provider_target(&provider);
        let previous = before.iter().find(|line| line.target == target);
        let Some(cell) = cells.iter().find(|cell| cell.account.provider == provider && cell.is_of(&own)) else {
            let unknown = || DepartureTarget { target: target.clone(), id, username: Some(username), ..DepartureTarget::default() };
            return previous.cloned().unwrap_or_else(unknown);
        };
        // What becomes of a leaver's account is no matter here, nor what it has where credentials are spared.
        let line = cell::target(world.provider(&provider).map(AsRef::as_ref), cell, previous);
        let spared = !lock.spec.revoke_credentials && cell.in_order() && cell.account.state == "Disabled";
        let disabled = spared || line.state == TargetState::Retained;
        if disabled { DepartureTarget { state: TargetState::Disabled, ..line } } else { line }
    };
    accounts_of(world, developer, now).into_iter().map(line).collect()
}

/// What a Lock that holds keeps: also what an earlier one, which was lifted while this one held, could not put back.
fn kept_by_others(scene: Scene<'_>, lock: &Lock, mut kept: Vec<Sealed>) -> Vec<Sealed> {
    let others = scene.world.locks_of(&lock.spec.developer).filter(|other| other.name_any() != lock.name_any());
    keep_all(&mut kept, others.filter_map(|other| other.status.as_ref()).flat_map(|status| &status.sealed));
    kept
}

/// What other Locks that hold, and Departures that last, keep of the same name.
fn others_keep<'a>(scene: Scene<'a>, lock: &Lock, now: Timestamp) -> Vec<&'a Sealed> {
    let (name, own) = (&lock.spec.developer, lock.name_any());
    let locks = scene.world.locks_of(name).filter(|other| other.name_any() != own && lock_holds(other, now));
    let departures = scene.world.departures().of_name(name).filter(|departure| lasts(departure));
    let in_locks = locks.filter_map(|other| other.status.as_ref()).flat_map(|status| &status.sealed);
    in_locks.chain(departures.filter_map(|departure| departure.status.as_ref()).flat_map(|status| &status.sealed)).collect()
}

/// How far a Lock is.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// How her accounts in outside systems stand.
    pub accounts: Vec<DepartureTarget>,
    /// The Environments, and other clusters, that do not answer, with the reason: what is to be done there is owed, and nobody waits for it.
    pub silent: BTreeMap<String, String>,
}

impl LockFound {
    /// The same with what was found in another cluster.
    pub fn join(&mut self, there: &Self) {
        self.access_gone &= there.access_gone;
        self.credentials_revoked &= there.credentials_revoked;
        self.access_gone_ms = self.access_gone_ms.max(there.access_gone_ms).filter(|_| self.access_gone);
    }
}

/// The status of a Lock.
pub fn lock_status(lock: &Lock, found: &LockFound, now: Timestamp) -> LockStatus {
    let previous = lock.status.clone().unwrap_or_default();
    let again = previous.state == Some(LockState::Lifted);
    let access_gone_ms = if again && !found.lifted { found.access_gone_ms } else { previous.access_gone_ms.or(found.access_gone_ms) };
    let mut findings = Vec::new();
    if !found.lifted && !found.access_gone {
        findings.push(Finding::new(ConditionType::AccessGone, Reason::Progressing, "access is being taken away"));
    }
    if !found.lifted && !found.credentials_revoked {
        findings.push(Finding::new(ConditionType::CredentialsRevoked, Reason::Progressing, "API servers remember tokens for ten seconds"));
    }
    if let (false, Some(why)) = (found.lifted, found.silent.values().next()) {
        let names: Vec<&str> = found.silent.keys().map(String::as_str).collect();
        let text = format!("she may still have something in {}: {why}; it goes as soon as usher may work there", names.join(", "));
        findings.push(Finding::new(ConditionType::CredentialsRevoked, Reason::Unreachable, text));
    }
    let works = |line: &&DepartureTarget| !matches!(line.state, TargetState::Gone | TargetState::Disabled);
    let open: Vec<&DepartureTarget> = found.accounts.iter().filter(works).collect();
    if let (false, Some(worst)) = (found.lifted, open.iter().max_by_key(|line| line.state == TargetState::Failed)) {
        let names: Vec<&str> = open.iter().map(|line| line.target.as_str()).collect();
        let why = worst.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let reason = match worst.state {
            TargetState::Unreachable => Reason::Unreachable,
            TargetState::Failed => Reason::LeftoversRemain,
            _ => Reason::Progressing,
        };
        let text = format!("accounts may still work at {}{why}", names.join(", "));
        findings.push(Finding::new(ConditionType::CredentialsRevoked, reason, text));
    }
    let reason = if found.lifted { Reason::Lifted } else { Reason::Locked };
    let state = match (found.lifted, found.access_gone && found.credentials_revoked && open.is_empty() && found.silent.is_empty()) {
        (true, _) => LockState::Lifted,
        (false, true) => LockState::Applied,
        (false, false) => LockState::Applying,
    };
    let done = if found.access_gone { found.places } else { 0 } + found.accounts.len() - open.len();
    let all = found.places + found.silent.len() + found.accounts.len();
    let targets = if found.lifted { previous.summary.clone().unwrap_or_default().targets } else { format!("{done}/{all}") };
    LockStatus {
        observed_generation: lock.metadata.generation,
        conditions: conditions(&LOCK_CONDITIONS, &findings, (reason, ""), lock.metadata.generation, (&previous.conditions, now)),
        state: Some(state),
        access_gone_ms,
        sealed: found.sealed.clone(),
        targets: if found.lifted { Vec::new() } else { found.accounts.clone() },
        summary: Some(LockSummary { targets, access_gone: access_gone_ms.map(seconds_of).unwrap_or_default() }),
    }
}
