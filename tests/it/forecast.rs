//! `usher plan --live` without a cluster: what it tells of each sort of edit, in words.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use usher::api::metadata::ROLE;
use usher::plan::cluster::ClusterKey;
use usher::plan::difference::Difference;
use usher::plan::forecast::Forecast;
use usher::plan::identity::Known;
use usher::plan::manifests::{Manifests, Others};

use crate::cluster_model::Model;
use crate::properties::forecast::stage;
use crate::silent::{company, silence};

fn object<K: DeserializeOwned>(kind: &str, name: &str, spec: Value) -> K {
    let object = json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(object).expect("an object")
}

fn ada(more: Value) -> Manifests {
    let mut spec = json!({"email": "ada@x", "teams": ["all"]});
    spec.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
    let fields = spec.as_object().expect("an object").keys().cloned().collect();
    Manifests {
        developers: vec![object("Developer", "ada", spec)],
        fields: [("dev/ada".to_owned(), fields)].into(),
        ..Manifests::default()
    }
}

fn foretold(model: Model, manifests: Manifests) -> Forecast {
    stage(model).forecast(manifests, Others::Stay)
}

/// Changes, a line each.
fn lines(changes: &[Difference]) -> Vec<String> {
    let line = |change: &Difference| {
        let words =
            |sign: char, words: &std::collections::BTreeSet<String>| words.iter().map(|it| format!("{sign} {it}")).collect::<Vec<_>>();
        let all = [words('+', &change.gains), words('-', &change.loses)].concat();
        all.into_iter().map(|words| format!("{} {} {words}", change.who, change.place)).collect::<Vec<_>>()
    };
    changes.iter().flat_map(line).collect()
}

#[test]
fn who_leaves_loses_what_she_has_in_every_cluster_and_who_stays_nothing() {
    let forecast = foretold(company(), ada(json!({"state": "Departed"})));
    let all = ["dev", "staging"].map(|name| {
        [
            format!("dev/ada in uenv/{name} - urole/viewer: view in namespace shop"),
            format!("dev/ada in uenv/{name} - workspace {name}-ada: usher-developer"),
        ]
    });
    assert_eq!(lines(&forecast.changes), all.concat());
    assert!(forecast.withheld.is_empty() && forecast.unread.is_empty() && forecast.problems.is_empty(), "{forecast:?}");
}

#[test]
fn who_comes_gets_what_others_have() {
    let eve = object("Developer", "eve", json!({"email": "eve@x", "teams": ["all"]}));
    let forecast = foretold(company(), Manifests { developers: vec![eve], ..Manifests::default() });
    assert_eq!(
        lines(&forecast.changes),
        ["dev", "staging"]
            .map(|name| {
                [
                    format!("dev/eve in uenv/{name} + urole/viewer: view in namespace shop"),
                    format!("dev/eve in uenv/{name} + workspace {name}-eve: usher-developer"),
                ]
            })
            .concat()
    );
}

#[test]
fn an_edit_of_rules_is_told_by_rule_for_everybody_who_holds_the_role() {
    let rule = |verb: &str| json!({"apiGroups": ["apps"], "resources": ["deployments"], "verbs": [verb]});
    let role = |rules: Value| object("Role", "viewer", json!({"access": [{"name": "own", "environments": ["dev"], "rules": rules}]}));
    let mut model = company();
    model.set_role("viewer", Some(finished(role(json!([rule("get"), rule("delete")])))));
    model.settle();
    let manifests = Manifests { roles: vec![role(json!([rule("get")]))], ..Manifests::default() };
    let forecast = foretold(model, manifests);
    let lost = "in uenv/dev - urole/viewer: delete deployments (apps) in namespace shop";
    assert_eq!(lines(&forecast.changes), [format!("dev/ada {lost}"), format!("dev/bob {lost}")]);
}

/// A Role as the API server keeps it: the one of the company goes on under its UID.
fn finished(mut role: usher::api::Role) -> usher::api::Role {
    role.metadata.uid = Some("uid-of-viewer".to_owned());
    role.metadata.generation = Some(2);
    role
}

/// A binding of somebody else's that names ada in a shared namespace.
fn foreign(model: &mut Model) {
    let account = model.plan_developer("ada").expect("she is there").identities[0].name.clone();
    let mut binding = RoleBinding {
        role_ref: RoleRef { api_group: None, kind: "Role".to_owned(), name: "deployer".to_owned() },
        subjects: Some(vec![Known::ServiceAccount(account.as_str().into()).subject()]),
        ..RoleBinding::default()
    };
    binding.metadata.name = Some("by-hand".to_owned());
    binding.metadata.namespace = Some("shop".to_owned());
    model.state(&ClusterKey::Home).set_role_binding(&("shop".to_owned(), "by-hand".to_owned()), Some(Arc::new(binding)));
}

#[test]
fn bindings_of_others_lose_who_leaves_and_nobody_else() {
    let mut model = company();
    foreign(&mut model);
    let told = lines(&foretold(model, ada(json!({"state": "Departed"}))).changes);
    let by_hand = "dev/ada in uenv/dev - Role deployer by RoleBinding shop/by-hand, which usher did not make";
    assert!(told.contains(&by_hand.to_owned()), "{told:#?}");
    let mut model = company();
    foreign(&mut model);
    assert_eq!(lines(&foretold(model, ada(json!({}))).changes), Vec::<String>::new());
}

#[test]
fn what_was_changed_by_hand_is_put_right() {
    let mut model = company();
    let state = model.state(&ClusterKey::Home);
    let of_role = |bound: &usher::plan::bound::Bound<RoleBinding>| bound.labels().contains_key(ROLE);
    let (key, mut whole) = state.role_bindings.iter().find(|(_, it)| of_role(it)).map(|(key, it)| (key.clone(), it.whole())).expect("one");
    whole.subjects.as_mut().expect("two").retain(|subject| !subject.name.starts_with("ada-"));
    state.set_role_binding(&key, Some(Arc::new(whole)));
    let forecast = foretold(model, Manifests::default());
    assert_eq!(lines(&forecast.changes), ["dev/ada in uenv/dev + urole/viewer: view in namespace shop"]);
}

#[test]
fn what_is_only_observed_is_told_apart() {
    let spec = json!({"mode": "Observe", "namespaces": {"matchLabels": {"env": "lab"}}});
    let role = json!({"access": [{"name": "look", "environments": ["lab"], "clusterRoles": ["view"]}]});
    let manifests = Manifests {
        environments: vec![object("Environment", "lab", spec)],
        roles: vec![object("Role", "lab", role)],
        bindings: vec![object("Binding", "lab", json!({"role": "lab", "developers": ["bob"]}))],
        ..Manifests::default()
    };
    let mut model = company();
    model.set_namespace(&ClusterKey::Home, "lab", Some([("env".to_owned(), "lab".to_owned())].into()));
    let forecast = foretold(model, manifests);
    assert_eq!(lines(&forecast.changes), Vec::<String>::new());
    assert_eq!(lines(&forecast.withheld), ["dev/bob in uenv/lab + urole/lab: view in namespace lab"]);
}

#[test]
fn a_cluster_that_was_not_read_is_named_and_the_rest_is_told() {
    let mut model = company();
    silence(&mut model, false);
    let forecast = foretold(model, ada(json!({"state": "Suspended"})));
    assert_eq!(forecast.unread.into_iter().collect::<Vec<_>>(), [("staging".to_owned(), "it hangs".to_owned())]);
    let places: Vec<String> = forecast.changes.iter().map(|change| change.place.to_string()).collect();
    assert_eq!(places, ["in uenv/dev"]);
    assert!(forecast.problems.is_empty(), "it is told once: {:?}", forecast.problems);
}

#[test]
fn a_lock_takes_everything_and_a_role_that_is_pruned_what_it_gave() {
    let lock = object("Lock", "stolen", json!({"developer": "ada", "reason": "SEC-91"}));
    let forecast = foretold(company(), Manifests { locks: vec![lock], ..Manifests::default() });
    assert_eq!(forecast.changes.iter().map(|change| (change.gains.len(), change.loses.len())).collect::<Vec<_>>(), [(0, 2), (0, 2)]);

    let people = ["ada", "bob"].map(|name| object("Developer", name, json!({"email": format!("{name}@x"), "teams": ["all"]}))).into();
    let model = company();
    let environments = model.world.environments().map(|(_, environment)| environment.as_ref().clone()).collect();
    let binding = object("Binding", "all", json!({"role": "viewer", "teams": ["all"]}));
    let manifests = Manifests { developers: people, environments, bindings: vec![binding], ..Manifests::default() };
    let forecast = stage(model).forecast(manifests, Others::Go);
    let told = lines(&forecast.changes);
    assert_eq!(
        (told.len(), told.iter().filter(|line| line.contains("- urole/viewer: view in namespace shop")).count()),
        (4, 4),
        "{told:#?}"
    );
    assert!(
        forecast.problems.iter().any(|(object, message)| object == "ubind/all" && message.contains("urole/viewer")),
        "{:?}",
        forecast.problems
    );
}
