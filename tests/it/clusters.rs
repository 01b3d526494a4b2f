//! Which cluster is which: nothing is forgotten of one that is silent, that an Environment has left, or to which a Secret does not lead any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::json;
use usher::api::departure::{DepartureState, TargetState};
use usher::api::environment::{ClusterReference, KnownCluster, SecretKey};
use usher::api::metadata::{DEVELOPER, DEVELOPER_UID, IDENTITIES_NAMESPACE, PERSON};
use usher::api::{Departure, DesiredState, Developer, Environment, EnvironmentStatus, Reason};
use usher::plan::change::labels;
use usher::plan::cluster::ClusterKey;
use usher::plan::departing::{begin, departing, tells_of_identities};
use usher::plan::environment::{Pending, environment_status, token_warning};
use usher::plan::link::{Claims, Link, Trouble, named};
use usher::plan::receipt::{Found, FoundIn, receipt};

use crate::cluster_model::{INSTALLATION, Model};
use crate::silent::{clusters_of, company, depart, silence};
use crate::worlds::{noon, remote};

/// The Secret of [`remote`].
pub(crate) fn secret(name: &str) -> SecretKey {
    SecretKey { name: name.to_owned(), key: "kubeconfig".to_owned() }
}

fn other(name: &str) -> ClusterKey {
    ClusterKey::Remote(name.to_owned(), "kubeconfig".to_owned())
}

/// Lets an Environment say which clusters it knows.
pub(crate) fn note(company: &mut Model, environment: &str, clusters: &[(&str, &str)]) {
    let mut object = company.world.environment(environment).expect("it is there").as_ref().clone();
    let known = |(name, uid): &(&str, &str)| KnownCluster { kubeconfig_secret: secret(name), uid: (*uid).to_owned() };
    object.status = Some(EnvironmentStatus { clusters: clusters.iter().map(known).collect(), ..EnvironmentStatus::default() });
    company.set_environment(environment, Some(object));
}

pub(crate) fn change(company: &mut Model, environment: &str, edit: impl FnOnce(&mut Environment)) {
    let mut object = company.world.environment(environment).expect("it is there").as_ref().clone();
    edit(&mut object);
    company.set_environment(environment, Some(object));
}

pub(crate) fn edit(company: &mut Model, name: &str, edit: impl FnOnce(&mut Developer)) {
    let mut developer = company.world.developer(name).expect("she is there").as_ref().clone();
    edit(&mut developer);
    company.set_developer(name, Some(developer));
}

/// The Environment as its status tells which clusters it knows.
fn known(company: &Model, environment: &str) -> Vec<String> {
    let object = company.world.environment(environment).expect("it is there");
    let status = company.read(|scene| environment_status(scene, object, Pending::default(), None));
    status.clusters.into_iter().map(|known| format!("{}={}", known.kubeconfig_secret.name, known.uid)).collect()
}

#[test]
fn of_two_secrets_to_one_cluster_one_is_let_in_and_always_the_same() {
    let mut company = company();
    let mut claims = Claims::default();
    claims.admit(&company.world, INSTALLATION, &remote(), "there").expect("it is the first");
    let refused = claims.admit(&company.world, INSTALLATION, &other("double"), "there").expect_err("it is the second");
    assert!(refused.contains("the same cluster as other/kubeconfig"), "{refused}");
    claims.admit(&company.world, INSTALLATION, &remote(), "there").expect("it may come again");
    claims.release(&remote());
    claims.admit(&company.world, INSTALLATION, &other("double"), "there").expect("the first is gone");

    // After a start the one that is written down has it, whichever comes first.
    note(&mut company, "staging", &[("other", "there")]);
    let mut claims = Claims::default();
    claims.admit(&company.world, INSTALLATION, &other("double"), "there").expect_err("it is not the one");
    claims.admit(&company.world, INSTALLATION, &remote(), "there").expect("it is");
    let home = claims.admit(&company.world, INSTALLATION, &other("home"), INSTALLATION).expect_err("it is home");
    assert!(home.contains("the cluster that usher runs in"), "{home}");
}

#[test]
fn a_secret_that_leads_elsewhere_is_refused_also_after_a_start() {
    let mut company = company();
    note(&mut company, "staging", &[("other", "there")]);
    let refused = Claims::default().admit(&company.world, INSTALLATION, &remote(), "elsewhere").expect_err("it is another one");
    assert!(refused.contains("another cluster than before") && refused.contains("there"), "{refused}");
    let mut claims = Claims::default();
    claims.admit(&company.world, INSTALLATION, &other("new"), "one").expect("it is the first");
    claims.admit(&company.world, INSTALLATION, &other("new"), "two").expect_err("it was another one");
}

#[test]
fn nothing_is_written_to_a_cluster_before_it_is_noted_which_it_is() {
    let mut company = company();
    company.links.insert(remote(), Link { uid: Some("there".to_owned()), read: true, ..Link::default() });
    assert_eq!(known(&company, "staging"), ["other=there"]);
    let eve = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": "eve"}, "spec": {"email": "eve@x", "teams": ["all"]}});
    company.add(&eve);
    company.settle();
    assert_eq!(clusters_of(&company, "eve"), BTreeSet::from([ClusterKey::Home]));
    note(&mut company, "staging", &[("other", "there")]);
    company.settle();
    assert_eq!(clusters_of(&company, "eve").len(), 2);
}

#[test]
fn what_an_environment_left_behind_in_a_cluster_that_was_not_read_is_not_forgotten() {
    let mut company = company();
    note(&mut company, "staging", &[("other", "there")]);
    silence(&mut company, false);
    change(&mut company, "staging", |staging| staging.spec.cluster = Some(ClusterReference { kubeconfig_secret: secret("new") }));
    assert_eq!(known(&company, "staging"), ["other=there"]);
    assert!(named(&company.world).contains(&remote()), "somebody looks after it, also after a start");
    // It is read, and what is there is taken away: until then it is kept in mind.
    company.links.insert(remote(), Link { uid: Some("there".to_owned()), read: true, ..Link::default() });
    assert_eq!(known(&company, "staging"), ["other=there"]);
    company.settle();
    assert_eq!(clusters_of(&company, "ada"), BTreeSet::from([ClusterKey::Home]));
    assert_eq!(known(&company, "staging"), Vec::<String>::new());
}

#[test]
fn a_cluster_whose_secret_was_taken_away_is_nobodys_to_look_at() {
    let mut company = company();
    note(&mut company, "staging", &[("other", "there")]);
    change(&mut company, "staging", |staging| staging.spec.cluster = None);
    silence(&mut company, false);
    assert_eq!(known(&company, "staging"), ["other=there"]);
    let trouble = Trouble { reason: Reason::SecretNotFound, message: String::new(), silent: true };
    company.links.insert(remote(), Link { trouble: Some(trouble), ..Link::default() });
    assert_eq!(known(&company, "staging"), Vec::<String>::new());
}

/// A receipt by what is found, where clusters answer or not.
fn told(company: &Model, departure: &Departure) -> (Departure, Vec<(String, TargetState)>) {
    let view = company.read(|scene| departing(scene, departure, noon()));
    let gone = FoundIn { access_gone: true, credentials_revoked: true, leftovers: Some(Vec::new()), ..FoundIn::default() };
    let at = |cluster: &ClusterKey| match view.silent.get(cluster) {
        Some(why) => FoundIn::silent(why.clone(), 1, None),
        None => gone.clone(),
    };
    let found = Found {
        identities: view.identities.clone(),
        workspaces: view.workspaces.clone(),
        places: view.places.clone(),
        clusters: view.clusters.iter().map(|cluster| (cluster.clone(), at(cluster))).collect(),
        ..Found::default()
    };
    let mut next = departure.clone();
    next.status = Some(receipt(departure, found, noon()));
    let targets = next.status.iter().flat_map(|status| &status.targets).map(|line| (line.target.clone(), line.state)).collect();
    (next, targets)
}

/// Ada's receipt, begun while staging's cluster is silent.
fn begun(company: &mut Model) -> Departure {
    silence(company, true);
    let mut ada = company.world.developer("ada").expect("she is there").as_ref().clone();
    ada.spec.state = DesiredState::Departed;
    company.set_developer("ada", Some(ada.clone()));
    let departure = company.read(|scene| begin(scene, &ada, noon()));
    let (departure, targets) = told(company, &departure);
    let line = |state| ("environment/staging".to_owned(), state);
    assert!(targets.contains(&line(TargetState::Unreachable)), "{targets:?}");
    departure
}

#[test]
fn a_receipt_keeps_in_mind_in_which_cluster_something_was() {
    let mut company = company();
    note(&mut company, "staging", &[("other", "there")]);
    let departure = begun(&mut company);
    let owed = |company: &Model| {
        let (next, targets) = told(company, &departure);
        let state = next.status.as_ref().and_then(|status| status.state);
        assert_eq!(state, Some(DepartureState::Incomplete), "{targets:?}");
        assert!(targets.contains(&("environment/staging".to_owned(), TargetState::Unreachable)), "{targets:?}");
        next.status.expect("it is told").summary.expect("columns").message
    };
    let line = departure.status.iter().flat_map(|status| &status.targets).find(|line| line.target == "environment/staging");
    assert_eq!(
        line.and_then(|line| line.cluster.clone()),
        Some(KnownCluster { kubeconfig_secret: secret("other"), uid: "there".to_owned() })
    );

    // The Environment moves home, and goes; the Secret leads to another cluster, or nothing leads there any more.
    change(&mut company, "staging", |staging| staging.spec.cluster = None);
    assert!(owed(&company).contains("it hangs"));
    company.set_environment("staging", None);
    assert!(owed(&company).contains("it hangs"));
    company.set_developer("ada", None);
    assert!(owed(&company).contains("it hangs"));
    company.links.insert(remote(), Link { uid: Some("elsewhere".to_owned()), read: true, ..Link::default() });
    assert!(owed(&company).contains("another cluster"));
    company.links.clear();
    company.clusters.remove(&remote());
    assert!(owed(&company).contains("no Environment leads there"));
}

#[test]
fn a_receipt_finds_its_cluster_again_by_another_secret() {
    let mut company = company();
    note(&mut company, "staging", &[("other", "there")]);
    let departure = begun(&mut company);
    company.links.clear();
    company.links.insert(other("new"), Link { uid: Some("there".to_owned()), ..Link::default() });
    let view = company.read(|scene| departing(scene, &departure, noon()));
    assert_eq!(view.places.place("environment/staging").map(|place| &place.cluster), Some(&other("new")));
}

#[test]
fn a_cluster_that_no_environment_is_in_any_more_has_a_line_of_its_own() {
    let mut company = company();
    note(&mut company, "staging", &[("other", "there")]);
    change(&mut company, "staging", |staging| staging.spec.cluster = None);
    silence(&mut company, false);
    edit(&mut company, "ada", |ada| ada.spec.state = DesiredState::Departed);
    let ada = company.world.developer("ada").expect("she is there").clone();
    let departure = company.read(|scene| begin(scene, &ada, noon()));
    let (_, targets) = told(&company, &departure);
    assert!(targets.contains(&("cluster/other/kubeconfig".to_owned(), TargetState::Unreachable)), "{targets:?}");
}

#[test]
fn nothing_is_complete_of_which_nobody_knows_where_it_is() {
    let mut company = company();
    depart(&mut company, "ada");
    let departure = company.world.departures().of_name("ada").next().expect("a receipt").as_ref().clone();
    let (mut next, _) = told(&company, &departure);
    // As if somebody had been known where nobody can tell.
    let gone = FoundIn { access_gone: true, credentials_revoked: true, leftovers: Some(Vec::new()), ..FoundIn::default() };
    let found = Found { clusters: BTreeMap::from([(ClusterKey::Home, gone)]), ..Found::default() };
    next.status = Some(receipt(&next, found, noon()));
    let status = next.status.expect("it is told");
    assert_eq!(status.state, Some(DepartureState::Verifying), "{status:?}");
}

#[test]
fn a_receipt_owes_nothing_where_usher_never_came() {
    let mut company = company();
    silence(&mut company, false);
    edit(&mut company, "ada", |ada| ada.spec.state = DesiredState::Departed);
    let ada = company.world.developer("ada").expect("she is there").clone();
    let identities = company.plan_developer("ada").expect("she is there").identities;
    assert!(identities.iter().any(|identity| identity.environment == "staging"), "she is known there");
    let (departure, targets) = told(&company, &company.read(|scene| begin(scene, &ada, noon())));
    assert_eq!(targets.iter().map(|(target, _)| target.as_str()).collect::<Vec<_>>(), ["environment/dev"]);
    assert!(company.read(|scene| tells_of_identities(scene, &departure, &identities)), "her deletion does not wait for it");
    // Once usher was there, and as long as nothing is read, it is owed.
    note(&mut company, "staging", &[("other", "there")]);
    let (_, targets) = told(&company, &departure);
    assert!(targets.contains(&("environment/staging".to_owned(), TargetState::Unreachable)), "{targets:?}");
    assert!(!company.read(|scene| tells_of_identities(scene, &departure, &identities)));
}

#[test]
fn of_two_secrets_that_two_replicas_let_in_the_one_that_is_written_down_has_the_cluster() {
    let mut company = company();
    // This replica has let the second in, when the other one wrote the first down.
    let mut claims = Claims::default();
    claims.admit(&company.world, INSTALLATION, &other("double"), "there").expect("it came first here");
    note(&mut company, "staging", &[("other", "there")]);
    claims.admit(&company.world, INSTALLATION, &remote(), "there").expect("it is written down");
    let refused = claims.admit(&company.world, INSTALLATION, &other("double"), "there").expect_err("it is not");
    assert!(refused.contains("the same cluster as other/kubeconfig"), "{refused}");
    claims.admit(&company.world, INSTALLATION, &remote(), "there").expect("it stays in force");
    // And the second is not written down meanwhile, although it was let in.
    let lab = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "lab"},
        "spec": {"cluster": {"kubeconfigSecret": {"name": "double", "key": "kubeconfig"}}}});
    company.add(&lab);
    company.links.insert(other("double"), Link { uid: Some("there".to_owned()), read: true, ..Link::default() });
    assert_eq!(known(&company, "lab"), Vec::<String>::new());
}

/// Staging moved home, and all that was given for it in its old cluster is gone, as far as that was seen.
fn moved() -> Model {
    let mut company = company();
    note(&mut company, "staging", &[("other", "there")]);
    change(&mut company, "staging", |staging| staging.spec.cluster = None);
    company.settle();
    company
}

#[test]
fn a_cluster_that_does_not_answer_is_not_left_behind_by_what_was_seen_last() {
    let mut company = moved();
    silence(&mut company, true);
    assert_eq!(known(&company, "staging"), ["other=there"], "a write whose answer was lost may have been carried out");
    company.links.clear();
    assert_eq!(known(&company, "staging"), Vec::<String>::new());
}

#[test]
fn an_identity_that_no_pass_takes_away_keeps_no_environment() {
    let mut company = moved();
    let account = |developer: &str| {
        let marks = labels(INSTALLATION, [(DEVELOPER, developer), (PERSON, "uid-gone")]);
        let mut account = ServiceAccount::default();
        account.metadata.name = Some(format!("{developer}-1234567890"));
        account.metadata.namespace = Some(IDENTITIES_NAMESPACE.to_owned());
        account.metadata.labels = Some(marks);
        account.metadata.annotations = Some([(DEVELOPER_UID.to_owned(), format!("uid-of-{developer}"))].into());
        Arc::new(account)
    };
    let key = |developer: &str| (IDENTITIES_NAMESPACE.to_owned(), format!("{developer}-1234567890"));
    company.state(&remote()).set_service_account(&key("nobody"), Some(account("nobody")));
    assert_eq!(known(&company, "staging"), Vec::<String>::new(), "nobody's pass removes it: it is an orphan");
    company.state(&remote()).set_service_account(&key("bob"), Some(account("bob")));
    assert_eq!(known(&company, "staging"), ["other=there"], "bob's pass does");
    company.settle();
    assert_eq!(known(&company, "staging"), Vec::<String>::new());
}

#[test]
fn that_a_token_ends_soon_is_said_a_week_before() {
    let mut company = company();
    let staging = company.world.environment("staging").expect("it is there").clone();
    let said = |company: &Model, days: i64| {
        let now = noon().checked_add(SignedDuration::from_hours(24 * days)).expect("in range");
        company.read(|scene| token_warning(scene, &staging, now))
    };
    assert_eq!(said(&company, 0), (None, None), "nobody knows when it ends");
    let ends = noon().checked_add(SignedDuration::from_hours(24 * 30)).expect("in range");
    company.links.insert(remote(), Link { token_ends: Some(ends), read: true, ..Link::default() });
    let from = noon().checked_add(SignedDuration::from_hours(24 * 23)).expect("in range");
    assert_eq!(said(&company, 22), (None, Some(from)));
    let (warning, recheck) = said(&company, 23);
    assert!(
        warning.is_some_and(|text| text.contains("ends at 2026-12-23T12:00:00Z") && text.contains("Secret other")) && recheck.is_none()
    );
}

/// Whether a receipt tells of all places in which ada is known.
fn tells(company: &Model, departure: &Departure) -> bool {
    let plan = company.plan_developer("ada").expect("she is there");
    company.read(|scene| tells_of_identities(scene, departure, &plan.identities))
}

#[test]
fn a_developer_waits_until_her_receipt_tells_of_every_place() {
    let mut company = company();
    let mut departure = begun(&mut company);
    assert!(tells(&company, &departure));
    departure.status.as_mut().expect("it is told").identities.pop();
    assert!(!tells(&company, &departure));
    departure.status = None;
    assert!(!tells(&company, &departure));
}
