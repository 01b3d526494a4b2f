//! Tokens for clusters other than that in which somebody's kubeconfig is: who asks for one there does not write it here, so that no cluster waits for another.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use crate::api::metadata::{IDENTITIES_NAMESPACE, KUBECONFIG_SECRET, TOKENS_ELSEWHERE};
use crate::api::{Developer, Mode};

use super::access::{Standing, paused};
use super::cluster::ClusterKey;
use super::credential::{intact, renewal};
use super::developer::DeveloperPlan;
use super::environment::home;
use super::identity::service_account;
use super::placement::Scene;

/// What is known of a token besides its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenNote {
    /// The UID of the ServiceAccount.
    pub uid: String,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

impl TokenNote {
    /// When it is due for renewal.
    pub fn renew_at(&self) -> Option<Timestamp> {
        renewal(self.issued, self.expires, &self.uid)
    }
}

/// Tokens by cluster.
pub type TokenNotes = BTreeMap<ClusterKey, TokenNote>;

/// The tokens for other clusters that a Secret says are in it; none if somebody changed it.
pub fn noted(secret: &Secret, clusters: &[&ClusterKey]) -> TokenNotes {
    if !intact(secret) {
        return TokenNotes::new();
    }
    let text = secret.annotations().get(TOKENS_ELSEWHERE).map_or("{}", String::as_str);
    let mut notes: BTreeMap<String, TokenNote> = serde_json::from_str(text).unwrap_or_default();
    clusters.iter().filter_map(|cluster| Some(((*cluster).clone(), notes.remove(&cluster.id())?))).collect()
}

/// The annotation that says which tokens for other clusters are in a Secret; none if there are none.
pub fn annotation(notes: &TokenNotes) -> Option<String> {
    let notes: BTreeMap<String, &TokenNote> = notes.iter().map(|(cluster, note)| (cluster.id(), note)).collect();
    (!notes.is_empty()).then(|| serde_json::to_string(&notes).unwrap_or_default())
}

/// The ServiceAccount of somebody in a cluster: its name, and its UID if it is there.
pub fn account_in(scene: Scene<'_>, developer: &Developer, plan: &DeveloperPlan, cluster: &ClusterKey) -> (String, Option<String>) {
    let name = service_account(&developer.name_any(), &plan.person);
    let state = scene.clusters.get(cluster);
    let account = state.and_then(|state| state.service_accounts.get(&(IDENTITIES_NAMESPACE.to_owned(), name.clone())));
    let uid = account.filter(|account| state.is_some_and(|state| state.ours(account.as_ref()))).and_then(|account| account.uid());
    (name, uid)
}

/// Of the tokens that are in a Secret or were brought since, those that go into it: one that is newer wins, and one of a ServiceAccount that is seen to be another
/// one by now is worth nothing. What is not seen is believed.
pub fn chosen(scene: Scene<'_>, developer: &Developer, plan: &DeveloperPlan, noted: &TokenNotes, brought: &TokenNotes) -> TokenNotes {
    let mut chosen = TokenNotes::new();
    for (cluster, note) in noted.iter().chain(brought) {
        let (_, uid) = account_in(scene, developer, plan, cluster);
        let seen = scene.clusters.contains_key(cluster);
        let newer = chosen.get(cluster).is_none_or(|other: &TokenNote| other.issued <= note.issued || uid.as_ref() != Some(&other.uid));
        if (!seen || uid.as_ref() == Some(&note.uid)) && newer {
            chosen.insert(cluster.clone(), note.clone());
        }
    }
    chosen
}

/// A token that must be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The ServiceAccount.
    pub account: String,
    /// Its UID.
    pub uid: String,
}

/// Whether somebody needs another token for a cluster that is not the one in which her kubeconfig is; and when she needs the next.
pub fn due(
    scene: Scene<'_>,
    (developer, plan): (&Developer, &DeveloperPlan),
    cluster: &ClusterKey,
    brought: &TokenNotes,
    now: Timestamp,
) -> (Option<Due>, Option<Timestamp>) {
    let nothing = (None, None);
    let wanted = plan.identities.iter().any(|identity| {
        let environment = scene.world.environment(&identity.environment);
        identity.kind == "ServiceAccount"
            && environment.is_some_and(|environment| ClusterKey::of(environment) == *cluster && environment.spec.mode == Mode::Enforce)
    });
    if !wanted || plan.standing != Standing::Active || paused(developer) || !scene.world.locks_readable() {
        return nothing;
    }
    let Some(home) = home(scene.world).and_then(|name| scene.world.environment(name)) else { return nothing };
    let Some(workspace) = plan.workspaces.iter().find(|workspace| workspace.environment == home.name_any()) else { return nothing };
    let Some(state) = scene.cluster_of(home).filter(|_| ClusterKey::of(home) != *cluster) else { return nothing };
    let (account, Some(uid)) = account_in(scene, developer, plan, cluster) else { return nothing };
    let secret = state.secrets.get(&(workspace.namespace.clone(), KUBECONFIG_SECRET.to_owned()));
    let noted = secret.map(|secret| noted(&secret, &[cluster])).unwrap_or_default();
    let note = chosen(scene, developer, plan, &noted, brought).remove(cluster);
    match note.and_then(|note| note.renew_at()) {
        Some(at) if now < at => (None, Some(at)),
        _ => (Some(Due { account, uid }), None),
    }
}
