//! What somebody has in a cluster that does not answer: it is told, and kept in the record, until it is seen to be gone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use kube::ResourceExt;
use serde_json::json;
use usher::api::departure::Sealed;
use usher::api::environment::{ClusterReference, IdentityKind};
use usher::api::lock::LockState;
use usher::api::metadata::IDENTITIES_NAMESPACE;
use usher::api::{ConditionType, DesiredState, DeveloperStatus, GrantSpec, GrantState, Lock, LockSpec, Reason};
use usher::plan::access::held_roles;
use usher::plan::cluster::ClusterKey;
use usher::plan::credential::{Credentials, plan_credentials};
use usher::plan::elsewhere::{TokenNote, TokenNotes};
use usher::plan::holding::lingering;
use usher::plan::link::{Link, Trouble, owing};
use usher::plan::locking::{LockFound, lock_status, locking};
use usher::plan::seal::{still_sealed, unseal, workspaces};
use usher::plan::settings::Server;

use crate::cluster_model::Model;
use crate::clusters::{change, edit, note, secret};
use crate::record::{Grants, record};
use crate::silent::{clusters_of, company, silence};
use crate::worlds::{noon, remote};

/// Everybody as if she had been looked at, and staging as if usher had been there.
fn known_company() -> Model {
    let mut company = company();
    note(&mut company, "staging", &[("other", "there")]);
    for name in ["ada", "bob"] {
        edit(&mut company, name, |developer| developer.status = Some(DeveloperStatus::default()));
    }
    company
}

fn suspend(company: &mut Model, name: &str) {
    edit(company, name, |developer| developer.spec.state = DesiredState::Suspended);
}

/// The Grant of somebody, and where it still runs.
fn running(grants: &Grants, name: &str) -> (GrantState, BTreeSet<String>) {
    let spec: &GrantSpec = &grants.values().find(|grant| grant.spec.developer.name == name).expect("a Grant").spec;
    (spec.state, spec.targets.iter().filter(|target| target.until.is_none()).map(|target| target.name.clone()).collect())
}

fn said(company: &Model, name: &str) -> Vec<(Reason, String)> {
    let plan = company.plan_developer(name).expect("she is there");
    let findings = company.read(|scene| lingering(scene, &plan, &BTreeMap::new()));
    assert!(findings.iter().all(|finding| finding.condition == ConditionType::AccessApplied));
    findings.into_iter().map(|finding| (finding.reason, finding.message)).collect()
}

#[test]
fn who_is_suspended_while_a_cluster_is_silent_is_not_told_to_have_nothing() {
    for read in [true, false] {
        let mut company = known_company();
        let mut grants = Grants::new();
        record(&company, &mut grants);
        silence(&mut company, read);
        suspend(&mut company, "ada");
        company.settle();
        assert_eq!(clusters_of(&company, "ada"), BTreeSet::from([remote()]));
        let told = said(&company, "ada");
        assert!(
            told.iter().all(|(reason, text)| *reason == Reason::Unreachable && text.contains("it hangs")) && !told.is_empty(),
            "{told:?}"
        );
        record(&company, &mut grants);
        let staging = BTreeSet::from(["environment/staging".to_owned()]);
        assert_eq!(running(&grants, "ada"), (GrantState::Active, staging), "read: {read}");

        company.links.clear();
        company.settle();
        assert!(said(&company, "ada").is_empty());
        record(&company, &mut grants);
        assert_eq!(running(&grants, "ada"), (GrantState::Ended, BTreeSet::new()));
    }
}

#[test]
fn what_a_binding_gave_that_expired_meanwhile_goes_on_in_the_record_until_it_is_gone() {
    let mut company = known_company();
    let mut grants = Grants::new();
    record(&company, &mut grants);
    silence(&mut company, true);
    company.set_binding("all", None);
    company.settle();
    let told = said(&company, "ada");
    assert!(told.iter().any(|(_, text)| text.contains("urole/viewer") && text.contains("it hangs")), "{told:?}");
    record(&company, &mut grants);
    assert_eq!(running(&grants, "ada"), (GrantState::Active, BTreeSet::from(["environment/staging".to_owned()])));
    company.links.clear();
    company.settle();
    record(&company, &mut grants);
    assert_eq!(running(&grants, "ada").0, GrantState::Ended);
}

#[test]
fn who_departs_is_over_in_the_record_and_owed_on_her_receipt() {
    let mut company = known_company();
    let mut grants = Grants::new();
    record(&company, &mut grants);
    silence(&mut company, true);
    crate::silent::depart(&mut company, "ada");
    record(&company, &mut grants);
    assert_eq!(running(&grants, "ada"), (GrantState::Ended, BTreeSet::new()));
}

fn lock(company: &mut Model) -> Lock {
    let mut lock = Lock::new(
        "stop",
        LockSpec { developer: "ada".to_owned(), reason: "a test".to_owned(), until: None, lifted: false, revoke_credentials: true },
    );
    lock.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(noon()));
    company.set_lock("stop", Some(lock.clone()));
    lock
}

#[test]
fn a_lock_is_not_applied_while_a_silent_cluster_gives_something_of_which_no_environment_speaks() {
    for read in [true, false] {
        let mut company = known_company();
        silence(&mut company, read);
        let lock = lock(&mut company);
        change(&mut company, "staging", |staging| {
            staging.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(noon()));
        });
        company.settle();
        let view = company.read(|scene| locking(scene, &lock, noon()));
        assert_eq!(view.silent.values().collect::<Vec<_>>(), ["it hangs"], "read: {read}");
        let found = LockFound { access_gone: true, credentials_revoked: true, silent: view.silent, ..LockFound::default() };
        let status = lock_status(&lock, &found, noon());
        assert_eq!(status.state, Some(LockState::Applying));
        company.links.clear();
        company.settle();
        assert!(company.read(|scene| locking(scene, &lock, noon())).silent.is_empty());
    }
}

#[test]
fn what_is_back_at_home_is_not_put_back_again_while_another_cluster_is_silent() {
    let mut company = known_company();
    let sealed = |environment: Option<&str>, namespace: &str| Sealed {
        environment: environment.map(str::to_owned),
        namespace: namespace.to_owned(),
        name: "guests".to_owned(),
        role_ref: "ClusterRole/view".to_owned(),
        subjects: vec!["User/guest".to_owned()],
    };
    let kept = [sealed(None, "dev-ada"), sealed(Some("staging"), "staging-ada")];
    let uid = company.world.developer("ada").and_then(|ada| ada.uid()).expect("a UID");
    let open = |company: &Model, kept: &[Sealed]| {
        let ada = company.world.developer("ada").expect("she is there");
        company.read(|scene| {
            let sites = workspaces(scene, "ada", &uid);
            (still_sealed(scene, ada, &sites, kept), unseal(scene, &sites, kept).len())
        })
    };
    for read in [true, false] {
        silence(&mut company, read);
        let (left, _) = open(&company, &kept);
        assert_eq!(left, kept[1..], "read: {read}");
        assert!(open(&company, &left).1 <= 1, "nothing at home");
    }
    company.links.clear();
    assert_eq!(open(&company, &kept).0, kept[1..], "it is kept until it is seen to be there");
    let (_, steps) = open(&company, &kept[1..]);
    assert_eq!(steps, 1);
    let sites = company.read(|scene| workspaces(scene, "ada", &uid));
    for step in company.read(|scene| unseal(scene, &sites, &kept[1..])) {
        company.carry_out(&step);
    }
    assert!(open(&company, &kept[1..]).0.is_empty());
}

/// What is planned of Ada's credentials, with a token for the other cluster that was brought.
fn credentials(company: &Model, brought: &TokenNotes) -> Credentials {
    let ada = company.world.developer("ada").expect("she is there");
    let plan = company.plan_developer("ada").expect("she is there");
    company.read(|scene| plan_credentials(scene, ada, &plan, &held_roles(scene.world, ada, noon()), (brought, noon())))
}

/// A token of Ada's ServiceAccount in the other cluster.
fn token(company: &Model) -> TokenNotes {
    let accounts = &company.clusters[&remote()].service_accounts;
    let uid = accounts.iter().find(|((namespace, name), _)| namespace == IDENTITIES_NAMESPACE && name.starts_with("ada-"));
    let uid = uid.and_then(|(_, account)| account.uid()).expect("a ServiceAccount");
    let expires = noon().checked_add(SignedDuration::from_hours(720)).expect("in range");
    TokenNotes::from([(remote(), TokenNote { uid, issued: noon(), expires })])
}

/// The company, with a kubeconfig of Ada's that has a context for each Environment.
fn with_kubeconfig() -> Model {
    let company = known_company();
    let brought = token(&company);
    kubeconfig_in(company, &brought)
}

fn kubeconfig_in(mut company: Model, brought: &TokenNotes) -> Model {
    let server = Server { url: "https://there".to_owned(), ca_data: String::new() };
    company.links.insert(remote(), Link { server: Some(server), uid: Some("there".to_owned()), read: true, ..Link::default() });
    let write = credentials(&company, brought).write.expect("all that it needs is there");
    assert_eq!(write.contexts.len(), 2);
    company.write_kubeconfig(&write);
    assert!(credentials(&company, &TokenNotes::new()).write.is_none(), "it is as it should be");
    let workspaces = company.plan_developer("ada").expect("she is there").workspaces;
    edit(&mut company, "ada", |ada| ada.status.get_or_insert_default().workspaces = workspaces);
    company
}

#[test]
fn after_a_start_a_silent_cluster_takes_no_context_out_of_anybodys_kubeconfig() {
    keeps_its_contexts(with_kubeconfig());
    // Where she logs in by herself no token tells that there is a context.
    let mut company = known_company();
    change(&mut company, "staging", |staging| {
        staging.spec.identity = Some(IdentityKind { service_account: None, user: Some("oidc:{email}".to_owned()) });
    });
    company.settle();
    keeps_its_contexts(kubeconfig_in(company, &TokenNotes::new()));
}

fn keeps_its_contexts(mut company: Model) {
    let hangs = Trouble { reason: Reason::Unreachable, message: "it hangs".to_owned(), silent: true };
    let server = company.links[&remote()].server.clone();
    // Its Secret was read; not even that; it cannot be used.
    for link in [
        Link { server, trouble: Some(hangs.clone()), ..Link::default() },
        Link::default(),
        Link { trouble: Some(Trouble { reason: Reason::InvalidSpec, ..hangs }), ..Link::default() },
    ] {
        company.links.insert(remote(), link.clone());
        assert!(credentials(&company, &TokenNotes::new()).write.is_none(), "{link:?}");
    }
    // Where it was taken away nobody keeps a context for it.
    let gone = Trouble { reason: Reason::SecretNotFound, message: String::new(), silent: true };
    company.links.insert(remote(), Link { trouble: Some(gone), ..Link::default() });
    assert_eq!(credentials(&company, &TokenNotes::new()).write.expect("it changes").contexts.len(), 1);
}

#[test]
fn environments_in_one_cluster_share_their_user() {
    let mut company = with_kubeconfig();
    let spec = json!({"cluster": {"kubeconfigSecret": {"name": "other", "key": "kubeconfig"}}});
    company.add(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "lab"}, "spec": spec}));
    let write = credentials(&company, &TokenNotes::new()).write.expect("a context more");
    let users: BTreeMap<String, String> =
        write.contexts.iter().map(|context| (context.environment.clone(), write.user_of(context))).collect();
    assert_eq!(users.len(), 3);
    assert_eq!(users["lab"], users["staging"], "whose token is in the kubeconfig already");
    assert_ne!(users["lab"], users["dev"]);
}

#[test]
fn a_deleted_role_waits_for_clusters_in_which_usher_was_and_for_no_others() {
    let mut company = known_company();
    let waits = |company: &Model| company.read(|scene| owing(scene, &[])).into_keys().collect::<Vec<_>>();
    silence(&mut company, false);
    assert_eq!(waits(&company), [remote()]);
    let trouble = Trouble { reason: Reason::SecretNotFound, message: String::new(), silent: true };
    company.links.insert(remote(), Link { trouble: Some(trouble), ..Link::default() });
    assert!(waits(&company).is_empty(), "nobody can look there any more");
    silence(&mut company, true);
    assert!(waits(&company).is_empty(), "it holds nothing that is owed");
    // One that was never reached holds nothing of usher's.
    let mut company = known_company();
    change(&mut company, "staging", |staging| {
        staging.spec.cluster = Some(ClusterReference { kubeconfig_secret: secret("never") });
        staging.status = None;
    });
    let trouble = Trouble { reason: Reason::InvalidSpec, message: "no kubeconfig".to_owned(), silent: true };
    company
        .links
        .insert(ClusterKey::Remote("never".to_owned(), "kubeconfig".to_owned()), Link { trouble: Some(trouble), ..Link::default() });
    assert!(waits(&company).is_empty());
}
