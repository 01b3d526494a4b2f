//! A person's kubeconfig and what she is told. No secret value is in here: a plan says that a token must be issued, and what surrounds it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::api::metadata::{
    ACCOUNTS_SECRET, CONTENT, DATA_DIGEST, DEVELOPER, DEVELOPER_UID, IDENTITIES_NAMESPACE, KUBECONFIG_SECRET, PERSON, TOKEN_EXPIRES_AT,
    TOKEN_ISSUED_AT, TOKEN_OF, TOKENS_ELSEWHERE, WELCOME_CONFIG_MAP,
};
use crate::api::provider::InitialCredentials;
use crate::api::{ConditionType, Developer, Mode, Reason};

use super::access::{Standing, Via, paused};
use super::change::{Change, Step, ensure, holds, labels};
use super::cluster::{ClusterKey, ClusterState};
use super::developer::{DeveloperPlan, seconds};
use super::elsewhere::{TokenNotes, annotation, chosen, noted};
use super::entitlement::given;
use super::environment::home;
use super::finding::Finding;
use super::identity::service_account;
use super::link::{Link, recorded};
use super::name::{digest, fraction};
use super::placement::{Scene, places};
use super::settings::Server;
use super::target::environment_target;

/// One context of a kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The Environment, which names the context.
    pub environment: String,
    /// Its cluster.
    pub cluster: ClusterKey,
    /// How its cluster is reached.
    pub server: Server,
    /// The namespace of the context.
    pub namespace: Option<String>,
    /// Whether it logs in with the token; else with the person's own login.
    pub token: bool,
}

/// A kubeconfig that must be written.
#[derive(Clone, Debug)]
pub struct CredentialPlan {
    /// The cluster of the Secret.
    pub cluster: ClusterKey,
    /// The namespace of the Secret.
    pub namespace: String,
    /// The ServiceAccount to issue a token for, by name and UID; none where no context needs one.
    pub service_account: Option<(String, String)>,
    /// The tokens for other clusters: those that were brought, or are in the Secret already.
    pub elsewhere: TokenNotes,
    /// How long the token lives.
    pub lifetime: SignedDuration,
    /// The contexts, the current one first.
    pub contexts: Vec<Context>,
    /// The user's name within the kubeconfig.
    pub user: String,
    /// The metadata of the Secret, but for what depends on the token.
    pub meta: ObjectMeta,
}

impl CredentialPlan {
    /// The user of a context, within the kubeconfig.
    pub fn user_of(&self, context: &Context) -> String {
        match (context.token, context.cluster == self.cluster) {
            (true, true) => self.user.clone(),
            (true, false) => user_in(&self.user, &context.cluster),
            (false, _) => format!("{}-login", self.user),
        }
    }
}

/// The user of a kubeconfig by whom somebody logs in to another cluster than that in which the kubeconfig is. All Environments of that cluster share it.
pub fn user_in(user: &str, cluster: &ClusterKey) -> String {
    format!("{user}@{}", cluster.id())
}

/// What there is to do about credentials.
#[derive(Debug, Default)]
pub struct Credentials {
    /// The kubeconfig to write, if one must be.
    pub write: Option<CredentialPlan>,
    /// What the person is told, if that changed.
    pub welcome: Option<Step>,
    /// When the token is due for renewal.
    pub renew_at: Option<Timestamp>,
    /// What stands in the way.
    pub findings: Vec<Finding>,
}

/// Plans the credentials of a person whose objects are there.
pub fn plan_credentials(
    scene: Scene<'_>,
    developer: &Developer,
    plan: &DeveloperPlan,
    held: &BTreeMap<String, Via>,
    (brought, now): (&TokenNotes, Timestamp),
) -> Credentials {
    let mut credentials = Credentials::default();
    if plan.standing != Standing::Active || paused(developer) || !scene.world.locks_readable() {
        return credentials;
    }
    let mut blocked = |reason, message: String| credentials.findings.push(Finding::new(ConditionType::CredentialsReady, reason, message));
    let Some(home_name) = home(scene.world) else {
        blocked(
            Reason::NoEnvironment,
            "no Environment is home, so there is nowhere to put the kubeconfig; set home: true on one".to_owned(),
        );
        return credentials;
    };
    if scene.world.environment(home_name).is_some_and(|environment| environment.spec.workspace.is_none()) {
        blocked(
            Reason::NoEnvironment,
            format!(
                "uenv/{home_name} is home and makes no workspaces, so there is nowhere to put the kubeconfig; give it workspace: {{}}, or set home: true on another"
            ),
        );
        return credentials;
    }
    let Some(workspace) = plan.workspaces.iter().find(|workspace| workspace.environment == *home_name) else {
        let reason =
            if plan.findings.iter().any(|finding| finding.reason == Reason::Conflict) { Reason::Conflict } else { Reason::Progressing };
        blocked(
            reason,
            format!("she has no workspace in uenv/{home_name}, the home Environment, so there is nowhere to put the kubeconfig"),
        );
        return credentials;
    };
    let Some(environment) = scene.world.environment(home_name) else { return credentials };
    let (Some(state), true) = (scene.cluster_of(environment), environment.spec.mode == Mode::Enforce && !paused(environment.as_ref()))
    else {
        return credentials;
    };
    if !state.namespaces.contains_key(&workspace.namespace) {
        return credentials;
    }
    let cluster = ClusterKey::of(environment);
    match kubeconfig(scene, (developer, plan), (state, &workspace.namespace, home_name), (brought, &mut credentials.findings), now) {
        Ok((write, renew_at)) => {
            credentials.write = write;
            credentials.renew_at = renew_at;
        }
        Err(finding) => credentials.findings.push(finding),
    }
    match welcome(scene, developer, plan, held, (state, &workspace.namespace)) {
        Ok(change) => credentials.welcome = change.map(|change| Step { cluster, environment: Some(home_name.clone()), change }),
        Err(finding) => credentials.findings.push(finding),
    }
    credentials
}

type Due = (Option<CredentialPlan>, Option<Timestamp>);

fn kubeconfig(
    scene: Scene<'_>,
    (developer, plan): (&Developer, &DeveloperPlan),
    (state, namespace, home): (&ClusterState, &str, &str),
    (brought, findings): (&TokenNotes, &mut Vec<Finding>),
    now: Timestamp,
) -> Result<Due, Finding> {
    let cluster = scene.world.environment(home).map_or(ClusterKey::Home, |environment| ClusterKey::of(environment));
    let mut contexts = contexts(scene, plan, home);
    let seen = state.secrets.get(&(namespace.to_owned(), KUBECONFIG_SECRET.to_owned()));
    let others: Vec<&ClusterKey> =
        contexts.iter().filter(|context| context.token && context.cluster != cluster).map(|context| &context.cluster).collect();
    let noted = seen.as_ref().map(|seen| noted(seen, &others)).unwrap_or_default();
    let brought = brought.iter().filter(|(at, _)| others.contains(at)).map(|(at, note)| (at.clone(), note.clone())).collect();
    let elsewhere = chosen(scene, developer, plan, &noted, &brought);
    // One for another cluster comes as soon as its token was brought from there.
    let lacks = |context: &Context| context.token && context.cluster != cluster && !elsewhere.contains_key(&context.cluster);
    findings.extend(contexts.iter().filter(|context| lacks(context)).filter_map(|context| awaited(scene, context)));
    contexts.retain(|context| !lacks(context));
    if contexts.is_empty() {
        return Ok((None, None));
    }
    let account = service_account(&developer.name_any(), &plan.person);
    let needs_token = contexts.iter().any(|context| context.token && context.cluster == cluster);
    let uid = state.service_accounts.get(&(IDENTITIES_NAMESPACE.to_owned(), account.clone())).and_then(|account| account.uid());
    if needs_token && uid.is_none() {
        return Ok((None, None));
    }
    let mut meta = meta(scene, developer, plan, namespace, KUBECONFIG_SECRET);
    meta.annotations.get_or_insert_default().insert(CONTENT.to_owned(), content(&contexts, &account));
    meta.annotations.get_or_insert_default().extend(annotation(&elsewhere).map(|note| (TOKENS_ELSEWHERE.to_owned(), note)));
    let service_account = uid.filter(|_| needs_token).map(|uid| (account.clone(), uid));
    if let Some(seen) = &seen {
        if !state.ours(seen.as_ref()) {
            return Err(stranger("Secret", KUBECONFIG_SECRET, namespace));
        }
        match keeps(seen, &meta, service_account.as_ref(), now) {
            Keeps::No => {}
            keeps => return Ok((None, keeps.until())),
        }
        // Nobody knows now what the others are, which she has.
        let unknown = unknown_servers(scene, plan, seen);
        match still_good(seen, service_account.as_ref(), now) {
            keeps @ (Keeps::Always | Keeps::Until(_)) if !unknown.is_empty() => {
                findings.extend(unknown);
                return Ok((None, keeps.until()));
            }
            _ => {}
        }
    }
    let lifetime = scene.settings.token_lifetime;
    Ok((
        Some(CredentialPlan {
            cluster,
            namespace: namespace.to_owned(),
            service_account,
            elsewhere,
            lifetime,
            contexts,
            user: developer.name_any(),
            meta,
        }),
        None,
    ))
}

/// The Environments for which a kubeconfig has a token, or in which its owner logs in by herself and usher has been, and of whose clusters nobody knows now how people
/// reach them: nothing was read yet, or the Secret cannot be used. Where it was taken away nobody does any more.
fn unknown_servers(scene: Scene<'_>, plan: &DeveloperPlan, seen: &Secret) -> Vec<Finding> {
    let given_up = |cluster: &ClusterKey| scene.links.get(cluster).is_some_and(Link::given_up);
    let unknown = plan.identities.iter().filter_map(|identity| {
        let cluster = ClusterKey::of(scene.world.environment(&identity.environment)?);
        // Whether there is a context for her own login nothing says: usher has been there, so there was one.
        let login = identity.kind == "User" && recorded(scene.world, &cluster).next().is_some();
        let context = login || !noted(seen, &[&cluster]).is_empty();
        if scene.server(&cluster).is_some() || given_up(&cluster) || !context {
            return None;
        }
        let (reason, why) = scene.silence(&cluster)?;
        let message = format!("the kubeconfig stays as it is, as it is not known how people reach uenv/{}: {why}", identity.environment);
        Some(Finding::new(ConditionType::CredentialsReady, reason, message).at(environment_target(&identity.environment)))
    });
    unknown.collect()
}

/// Until when what is in a Secret is good, whatever else is to be in it: not if somebody changed it, or its token is not that of the ServiceAccount or due for renewal.
fn still_good(seen: &Secret, account: Option<&(String, String)>, now: Timestamp) -> Keeps {
    if seen.annotations().get(TOKEN_OF) != account.map(|(_, uid)| uid) || !intact(seen) {
        return Keeps::No;
    }
    if account.is_none() {
        return Keeps::Always;
    }
    match renew_at(seen) {
        Some(renew_at) if now < renew_at => Keeps::Until(renew_at),
        _ => Keeps::No,
    }
}

/// When the token in a Secret is due for renewal.
fn renew_at(seen: &Secret) -> Option<Timestamp> {
    let note = |key: &str| seen.annotations().get(key).map(String::as_str);
    let moment = |key: &str| note(key).and_then(|text| text.parse().ok());
    let ((issued, expires), uid) = moment(TOKEN_ISSUED_AT).zip(moment(TOKEN_EXPIRES_AT)).zip(note(TOKEN_OF))?;
    renewal(issued, expires, uid)
}

/// Says that a token for another cluster is not there yet.
fn awaited(scene: Scene<'_>, context: &Context) -> Option<Finding> {
    // Where nothing is written she has no identity, and so no token.
    let environment = scene.world.environment(&context.environment);
    environment.filter(|environment| environment.spec.mode == Mode::Enforce && !paused(environment.as_ref()))?;
    let (reason, why) = scene.silence(&context.cluster).unwrap_or((Reason::Progressing, "its token is on its way".to_owned()));
    let message = format!("the kubeconfig has no context for uenv/{} yet: {why}", context.environment);
    Some(Finding::new(ConditionType::CredentialsReady, reason, message).at(environment_target(&context.environment)))
}

fn stranger(kind: &str, name: &str, namespace: &str) -> Finding {
    Finding::new(
        ConditionType::CredentialsReady,
        Reason::Conflict,
        format!("{kind} {name} in namespace {namespace} was not made by usher; delete or rename it"),
    )
}

/// Until when a Secret may stay as it is.
enum Keeps {
    /// It must be written now.
    No,
    /// For ever: there is no token in it.
    Always,
    /// Until its token is due for renewal.
    Until(Timestamp),
}

impl Keeps {
    /// When it is due for renewal, if ever.
    const fn until(self) -> Option<Timestamp> {
        match self {
            Self::No | Self::Always => None,
            Self::Until(renew_at) => Some(renew_at),
        }
    }
}

/// Whether a Secret may stay as it is, and until when.
fn keeps(seen: &Secret, meta: &ObjectMeta, account: Option<&(String, String)>, now: Timestamp) -> Keeps {
    let note = |key: &str| seen.annotations().get(key).map(String::as_str);
    let desired = |key: &str| meta.annotations.as_ref().and_then(|annotations| annotations.get(key)).map(String::as_str);
    let labelled = holds(meta.labels.as_ref(), seen.metadata.labels.as_ref());
    let same = [CONTENT, DEVELOPER_UID, TOKENS_ELSEWHERE].into_iter().all(|key| note(key) == desired(key));
    if labelled && same { still_good(seen, account, now) } else { Keeps::No }
}

/// Whether a Secret holds what was written into it.
pub(super) fn intact(seen: &Secret) -> bool {
    let note = seen.annotations().get(DATA_DIGEST).map(String::as_bytes);
    seen.data.as_ref().is_some_and(|data| data.len() == 1 && data.values().next().is_some_and(|digest| Some(digest.0.as_slice()) == note))
}

/// When a token is renewed: between two fifths and a half of its life, spread over people so that not all are due at once.
pub fn renewal(issued: Timestamp, expires: Timestamp, uid: &str) -> Option<Timestamp> {
    let life = expires.duration_since(issued);
    issued.checked_add(life.mul_f64(0.1f64.mul_add(fraction(uid), 0.4))).ok()
}

/// What of a kubeconfig is not secret.
fn content(contexts: &[Context], account: &str) -> String {
    /// In the words in which it was digested from the beginning: another digest would make every kubeconfig anew.
    #[derive(Debug)]
    #[expect(dead_code, reason = "read by Debug")]
    struct Context<'a> {
        environment: &'a str,
        server: &'a Server,
        namespace: Option<&'a str>,
        token: bool,
    }
    let shown = contexts.iter().map(|context| Context {
        environment: &context.environment,
        server: &context.server,
        namespace: context.namespace.as_deref(),
        token: context.token,
    });
    digest(&[account, &format!("{:?}", shown.collect::<Vec<_>>())])
}

fn contexts(scene: Scene<'_>, plan: &DeveloperPlan, home: &str) -> Vec<Context> {
    let mut contexts: Vec<Context> = plan
        .identities
        .iter()
        .filter_map(|identity| {
            let cluster = ClusterKey::of(scene.world.environment(&identity.environment)?);
            // A cluster of which nobody knows where it is is in no kubeconfig.
            Some((identity, scene.server(&cluster)?.clone(), cluster))
        })
        .map(|(identity, server, cluster)| Context {
            environment: identity.environment.clone(),
            cluster,
            server,
            namespace: plan
                .workspaces
                .iter()
                .find(|workspace| workspace.environment == identity.environment)
                .map(|workspace| workspace.namespace.clone()),
            token: identity.kind == "ServiceAccount",
        })
        .collect();
    contexts.sort_by_key(|context| (context.environment != home, context.environment.clone()));
    contexts
}

fn meta(scene: Scene<'_>, developer: &Developer, plan: &DeveloperPlan, namespace: &str, name: &str) -> ObjectMeta {
    let title = developer.name_any();
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels(&scene.settings.installation, [(DEVELOPER, title.as_str()), (PERSON, plan.person.as_str())])),
        annotations: Some(super::workspace::uid_annotation(developer)),
        ..ObjectMeta::default()
    }
}

fn welcome(
    scene: Scene<'_>,
    developer: &Developer,
    plan: &DeveloperPlan,
    held: &BTreeMap<String, Via>,
    (state, namespace): (&ClusterState, &str),
) -> Result<Option<Change>, Finding> {
    let seen = state.config_maps.get(&(namespace.to_owned(), WELCOME_CONFIG_MAP.to_owned()));
    if seen.as_ref().is_some_and(|seen| !state.ours(seen.as_ref())) {
        return Err(stranger("ConfigMap", WELCOME_CONFIG_MAP, namespace));
    }
    let desired = ConfigMap {
        metadata: meta(scene, developer, plan, namespace, WELCOME_CONFIG_MAP),
        data: Some(BTreeMap::from([("welcome.txt".to_owned(), welcome_text(scene, developer, plan, held))])),
        ..ConfigMap::default()
    };
    Ok(ensure(desired, seen.as_deref()).map(Change::ConfigMap))
}

/// What a person has, in words.
fn welcome_text(scene: Scene<'_>, developer: &Developer, plan: &DeveloperPlan, held: &BTreeMap<String, Via>) -> String {
    let mut text = format!("Welcome, {}.\n\nYour workspaces:\n", developer.display_name());
    for workspace in &plan.workspaces {
        let home = if workspace.home { " (home: your kubeconfig is Secret usher-kubeconfig here)" } else { "" };
        text.push_str(&format!("- {} in {}{home}\n", workspace.namespace, workspace.environment));
    }
    text.push_str("\nYour Roles:\n");
    for (name, via) in held {
        let Some(role) = scene.world.live_role(name) else { continue };
        let found = places(scene, role);
        let environments: std::collections::BTreeSet<&str> = via.values().flat_map(|scope| found.environments(scope)).collect();
        let description = role.spec.description.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        let environments = environments.into_iter().collect::<Vec<_>>().join(", ");
        text.push_str(&format!("- urole/{name} in {environments}{description}\n"));
    }
    if held.is_empty() {
        text.push_str("- none yet: a Binding gives you one\n");
    }
    text.push_str(&accounts_text(scene, developer, held));
    if let Some(end) = &developer.spec.ends_at {
        text.push_str(&format!("\nAll of it ends at {}.\n", seconds(end.0)));
    }
    text
}

/// Where a person has accounts, and what she can clone where that is a forge; nothing if she has none.
fn accounts_text(scene: Scene<'_>, developer: &Developer, held: &BTreeMap<String, Via>) -> String {
    let mut text = String::new();
    for (name, provider, login, groups) in given(scene.world, developer, held.keys()) {
        let url = provider.spec.system().map(|system| system.url().trim_end_matches('/').to_owned()).unwrap_or_default();
        let secret = provider.spec.initial_credentials == InitialCredentials::Secret;
        let password =
            if secret { format!("; a first password is in Secret {ACCOUNTS_SECRET} here, if the system has any") } else { String::new() };
        text.push_str(&format!("- uprov/{name} at {url}: login {login}{password}\n"));
        if provider.spec.gitea.is_some() {
            // An organization of hers, and what is her own.
            let mut owners: std::collections::BTreeSet<&str> = groups.iter().filter_map(|group| Some(group.split_once('/')?.0)).collect();
            owners.insert(&login);
            let clones = owners.iter().map(|owner| format!("  git clone {url}/{owner}/REPOSITORY.git\n"));
            text.extend(clones);
        }
    }
    if text.is_empty() { text } else { format!("\nYour accounts:\n{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_lies_between_two_fifths_and_half_of_the_life() {
        let (issued, expires) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(1_000).expect("valid"));
        for uid in ["a", "b", "c", "d"] {
            let at = renewal(issued, expires, uid).expect("in range").as_second();
            assert!((400..=500).contains(&at), "{at}");
        }
    }
}
