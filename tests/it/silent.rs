//! Clusters that do not answer, without any: nobody elsewhere waits for them, nothing is concluded from what cannot be seen, and what is owed is paid.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use serde_json::json;
use usher::api::departure::{DepartureState, TargetState};
use usher::api::metadata::WAIVE;
use usher::api::{Departure, DesiredState, Reason};
use usher::plan::access::held_roles;
use usher::plan::cluster::ClusterKey;
use usher::plan::departing::departing;
use usher::plan::environment::{Going, environment_findings, going};
use usher::plan::holding::holding;
use usher::plan::link::{Link, Trouble};
use usher::plan::receipt::{Found, FoundIn, receipt};

use crate::cluster_model::Model;
use crate::effective::held;
use crate::worlds::{model, noon, remote};

/// Two people with a Role in dev, at home, and in staging, which is elsewhere.
pub(crate) fn company() -> Model {
    let mut company = model(noon());
    let object = |kind: &str, name: &str, spec: serde_json::Value| json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let elsewhere = json!({"kubeconfigSecret": {"name": "other", "key": "kubeconfig"}});
    let environments = [
        ("dev", json!({"home": true, "namespaces": {"matchLabels": {"env": "dev"}}, "workspace": {}})),
        ("staging", json!({"cluster": elsewhere, "namespaces": {"matchLabels": {"env": "staging"}}, "workspace": {}})),
    ];
    for (name, spec) in environments {
        company.add(&object("Environment", name, spec));
    }
    for (cluster, env) in [(ClusterKey::Home, "dev"), (remote(), "staging")] {
        company.set_namespace(&cluster, "shop", Some(BTreeMap::from([("env".to_owned(), env.to_owned())])));
    }
    let access = json!([{"name": "look", "environments": ["dev", "staging"], "clusterRoles": ["view"]}]);
    company.add(&object("Role", "viewer", json!({"access": access})));
    company.add(&object("Binding", "all", json!({"role": "viewer", "teams": ["all"]})));
    for name in ["ada", "bob"] {
        company.add(&object("Developer", name, json!({"email": format!("{name}@x"), "teams": ["all"]})));
    }
    company.settle();
    company
}

pub(crate) fn silence(model: &mut Model, read: bool) {
    let trouble = Trouble { reason: Reason::Unreachable, message: "it hangs".to_owned(), silent: true };
    model.links.insert(remote(), Link { trouble: Some(trouble), read, ..Link::default() });
}

pub(crate) fn depart(model: &mut Model, name: &str) {
    let mut developer = model.world.developer(name).expect("she is there").as_ref().clone();
    developer.spec.state = DesiredState::Departed;
    model.set_developer(name, Some(developer));
    model.settle();
}

/// The clusters in which somebody's ServiceAccount holds anything.
pub(crate) fn clusters_of(model: &Model, name: &str) -> BTreeSet<ClusterKey> {
    let hers = |subject: &str| subject.contains(&format!("{name}-"));
    held(model).into_iter().filter(|held| hers(&held.subject)).map(|held| held.cluster).collect()
}

#[test]
fn who_leaves_loses_everything_elsewhere_at_once_and_the_rest_when_the_cluster_is_back() {
    let mut company = company();
    let both = BTreeSet::from([ClusterKey::Home, remote()]);
    assert_eq!((clusters_of(&company, "ada"), clusters_of(&company, "bob")), (both.clone(), both.clone()));
    silence(&mut company, true);
    depart(&mut company, "ada");
    assert_eq!(clusters_of(&company, "ada"), BTreeSet::from([remote()]));
    let plan = company.plan_developer("ada").expect("she is there");
    assert!(plan.access_gone() && plan.afterwards.is_empty(), "her deletion does not wait for it: {plan:?}");
    assert!(!plan.owed.is_empty() && plan.owed.iter().all(|step| step.cluster == remote()));
    company.links.clear();
    company.settle();
    assert_eq!((clusters_of(&company, "ada"), clusters_of(&company, "bob")), (BTreeSet::new(), both));
}

#[test]
fn what_is_owed_is_paid_though_her_developer_is_gone() {
    let mut company = company();
    silence(&mut company, true);
    depart(&mut company, "ada");
    company.set_developer("ada", None);
    company.settle();
    assert_eq!(clusters_of(&company, "ada"), BTreeSet::from([remote()]));
    company.links.clear();
    company.settle();
    assert_eq!(clusters_of(&company, "ada"), BTreeSet::new());
    assert_eq!(company.clusters[&remote()].service_accounts_of("ada").count(), 0);
    assert_eq!(clusters_of(&company, "bob").len(), 2);
}

#[test]
fn who_comes_gets_everything_elsewhere_and_is_told_what_waits() {
    let mut company = company();
    for read in [true, false] {
        silence(&mut company, read);
        let (name, email) = (format!("eve-{read}"), format!("eve-{read}@x"));
        company.add(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": name}, "spec": {"email": email, "teams": ["all"]}}));
        company.settle();
        assert_eq!(clusters_of(&company, &name), BTreeSet::from([ClusterKey::Home]));
        let plan = company.plan_developer(&name).expect("she is there");
        let developer = company.world.developer(&name).expect("she is there");
        let (hers, findings) = company.read(|scene| {
            let (role, via) = held_roles(scene.world, developer, noon()).into_iter().next().expect("a Role");
            holding(scene, developer, scene.world.role(&role).expect("it is there"), via, &plan.identities)
        });
        assert!(hers.in_place, "what is in place elsewhere is recorded");
        assert_eq!(hers.awaited, BTreeSet::from(["staging".to_owned()]));
        assert!(
            findings.iter().all(|finding| finding.reason == Reason::Unreachable && finding.message.contains("it hangs")),
            "{findings:?}"
        );
    }
    company.links.clear();
    company.settle();
    assert_eq!(clusters_of(&company, "eve-false").len(), 2);
}

#[test]
fn an_environment_says_why_nothing_is_done_and_goes_without_its_secret_only() {
    let mut company = company();
    let staging = company.world.environment("staging").expect("it is there").clone();
    silence(&mut company, true);
    let findings = company.read(|scene| environment_findings(scene, &staging));
    assert!(findings.iter().any(|finding| finding.reason == Reason::Unreachable && finding.message == "it hangs"), "{findings:?}");
    let may_go = |company: &Model| company.read(|scene| going(scene, &staging));
    assert_eq!(may_go(&company), Going::WhenItAnswers, "what is there is not known to be gone, and asking again and again does not help");
    let trouble = Trouble { reason: Reason::SecretNotFound, message: String::new(), silent: true };
    company.links.insert(remote(), Link { trouble: Some(trouble), read: true, ..Link::default() });
    assert_eq!(may_go(&company), Going::Now, "nobody can look there any more");
    company.links.clear();
    assert_eq!(may_go(&company), Going::Soon);
}

#[test]
fn a_receipt_owes_what_a_silent_cluster_has_and_a_waiver_lets_it_be() {
    let mut company = company();
    silence(&mut company, true);
    depart(&mut company, "ada");
    let departure = company.world.departures().of_name("ada").next().expect("a receipt").as_ref().clone();
    let view = company.read(|scene| departing(scene, &departure, noon()));
    let gone = FoundIn { access_gone: true, credentials_revoked: true, leftovers: Some(Vec::new()), ..FoundIn::default() };
    let found = |_: &Departure| Found {
        identities: view.identities.clone(),
        workspaces: view.workspaces.clone(),
        places: view.places.clone(),
        clusters: BTreeMap::from([
            (ClusterKey::Home, gone.clone()),
            (remote(), FoundIn::silent("other: it hangs".to_owned(), 3, Some(noon()))),
        ]),
        ..Found::default()
    };
    let status = receipt(&departure, found(&departure), noon());
    let line = |name: &str| status.targets.iter().find(|target| target.target == name).expect("a line");
    assert_eq!((status.state, line("environment/dev").state), (Some(DepartureState::Incomplete), TargetState::Retained));
    let owed = line("environment/staging");
    assert_eq!((owed.state, owed.last_error.as_deref(), owed.attempts), (TargetState::Unreachable, Some("other: it hangs"), Some(3)));
    assert!(owed.next_try_at.is_some());

    let mut waived = departure.clone();
    waived.annotations_mut().insert(WAIVE.to_owned(), "environment/staging=the cluster is gone".to_owned());
    let status = receipt(&waived, found(&waived), noon());
    assert_eq!(status.state, Some(DepartureState::CompleteWithWaivers), "{status:?}");
}
