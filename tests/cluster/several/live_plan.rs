//! `usher plan --live` against three clusters: what it says is what then happens, it says what it could not read, and it writes nothing anywhere.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding, Subject};
use kube::api::{Api, DeleteParams, ListParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::{ENVIRONMENTS, FULL, NOTHING, SOON, Several};
use crate::support::audit::{Audit, Event, lines};
use crate::support::client::{self, ready};
use crate::support::install::{NAMESPACE, token, write_kubeconfig};
use crate::support::people::{IDENTITIES, declare, developer, edit};
use crate::support::{Output, name, wait_until};

/// Nothing is written any more when nothing was for so long.
const STILL: Duration = Duration::from_secs(3);
const OURS: &str = "app.kubernetes.io/managed-by=usher";

/// What somebody has in an Environment, in the words of the plan.
type Held = BTreeSet<(String, String, String)>;

/// Who asks for plans: she has the ClusterRole of auditors at home, and may read the kubeconfigs of the other clusters or not. What she does is in the audit log,
/// as the name of her ServiceAccount is among those of people.
struct Planner {
    kubeconfig: PathBuf,
    name: String,
}

impl Planner {
    async fn new(several: &Several, secrets: bool) -> Self {
        let (home, plane, planner) = (several.home(), &several.all.home, name("planner"));
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": planner, "namespace": IDENTITIES}});
        client::apply(home, &account.to_string()).await;
        let account = format!("--serviceaccount={IDENTITIES}:{planner}");
        let mut bindings = vec![vec!["create", "clusterrolebinding", &planner, "--clusterrole=usher-auditor", &account]];
        if secrets {
            bindings.push(vec!["create", "role", &planner, "-n", NAMESPACE, "--verb=get", "--resource=secrets"]);
            bindings.push(vec!["create", "rolebinding", &planner, "-n", NAMESPACE, "--role", &planner, &account]);
        }
        for binding in bindings {
            plane.kubectl(&binding).await.ok();
        }
        let kubeconfig = plane.dir().join(format!("{planner}.kubeconfig"));
        write_kubeconfig(&kubeconfig, plane, &token(plane, IDENTITIES, &planner).await, "default");
        Self { kubeconfig, name: planner }
    }

    async fn plan(&self, several: &Several, folder: &str, more: &[&str]) -> Output {
        several.all.home.usher_as(&self.kubeconfig, &[&["plan", "--live", "-f", folder], more].concat()).await
    }

    /// The plan as JSON, with the exit code.
    async fn json(&self, several: &Several, folder: &str) -> (Option<i32>, Value) {
        let said = self.plan(several, folder, &["-o", "json"]).await;
        let plan = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        (said.code, plan)
    }

    async fn leave(self, several: &Several) {
        let accounts = Api::<ServiceAccount>::namespaced(several.home().clone(), IDENTITIES);
        accounts.delete(&self.name, &DeleteParams::default()).await.expect("it is there");
        std::fs::remove_file(self.kubeconfig).expect("it is there");
    }
}

/// Manifests in a folder.
fn folder(several: &Several, objects: &[(&str, &str, Value)]) -> String {
    let folder = several.all.home.dir().join(name("manifests"));
    std::fs::create_dir_all(&folder).expect("space on the disk");
    for (kind, name, spec) in objects {
        let object = json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        std::fs::write(folder.join(format!("{kind}-{name}.json")), object.to_string()).expect("space on the disk");
    }
    folder.to_str().expect("a plain path").to_owned()
}

/// What a plan says that people gain, or lose.
fn told(plan: &Value, way: &str) -> Held {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {plan:#}")).to_owned();
    let mut held = Held::new();
    for change in plan["changes"].as_array().expect("changes") {
        let words = change[way].as_array().expect("words");
        held.extend(words.iter().map(|words| (text(&change["developer"]), text(&change["environment"]), text(words))));
    }
    held
}

impl Several {
    /// What people have by the RBAC in all clusters, read as it stands there.
    async fn held(&self, people: &[&str]) -> Held {
        let mut held = Held::new();
        for client in &self.clients {
            held.extend(held_in(client, people).await);
        }
        held
    }

    /// Waits until what people have differs from before by exactly what was told.
    async fn becomes(&self, people: &[&str], before: &Held, plan: &Value) {
        let expected: Held = before.difference(&told(plan, "loses")).cloned().chain(told(plan, "gains")).collect();
        wait_until("what was planned is so", SOON, async || {
            let now = self.held(people).await;
            if now == expected { Ok(()) } else { Err(format!("too much: {:#?}\ntoo little: {:#?}", &now - &expected, &expected - &now)) }
        })
        .await;
    }

    /// Waits until the operator has nothing left to write in the other clusters, and listens to all from then on.
    async fn listen(&self) -> [Audit; 3] {
        let planes = [&self.all.home, &self.staging().plane, &self.prod().plane];
        for plane in &planes[1..] {
            Audit::from_now(plane).still(STILL).await;
        }
        planes.map(Audit::from_now)
    }
}

async fn held_in(client: &Client, people: &[&str]) -> Held {
    let ours = ListParams::default().labels(OURS);
    let roles = Api::<ClusterRole>::all(client.clone()).list(&ours).await.expect("a list").items;
    let given = |name: &str| match roles.iter().find(|role| role.name_any() == name) {
        Some(role) => role.rules.iter().flatten().map(rule).collect(),
        None => vec![name.to_owned()],
    };
    let mut held = Held::new();
    let mut add = |subjects: Option<Vec<Subject>>, environment: &str, words: Vec<String>| {
        for subject in subjects.into_iter().flatten() {
            let person =
                people.iter().find(|person| subject.name.strip_prefix(&format!("{person}-")).is_some_and(|rest| !rest.contains('-')));
            let Some(person) = person else { continue };
            held.extend(words.iter().map(|words| ((*person).to_owned(), environment.to_owned(), words.clone())));
        }
    };
    for binding in Api::<RoleBinding>::all(client.clone()).list(&ours).await.expect("a list").items {
        let (labels, namespace) = (binding.labels().clone(), binding.namespace().unwrap_or_default());
        let words = match labels.get("usher.dev/role") {
            Some(role) => {
                given(&binding.role_ref.name).into_iter().map(|what| format!("urole/{role}: {what} in namespace {namespace}")).collect()
            }
            None => vec![format!("workspace {namespace}: {}", binding.role_ref.name)],
        };
        add(binding.subjects, &labels["usher.dev/environment"], words);
    }
    for binding in Api::<ClusterRoleBinding>::all(client.clone()).list(&ours).await.expect("a list").items {
        let (role, environment) = (binding.labels()["usher.dev/role"].clone(), binding.annotations()["usher.dev/environments"].clone());
        let words = given(&binding.role_ref.name).into_iter().map(|what| format!("urole/{role}: {what} cluster-wide")).collect();
        add(binding.subjects, &environment, words);
    }
    held
}

/// A rule of a test of this file, in words.
fn rule(rule: &PolicyRule) -> String {
    let groups = rule.api_groups.iter().flatten().filter(|group| !group.is_empty()).map(|group| format!(" ({group})")).collect::<String>();
    format!("{} {}{groups}", rule.verbs.join(","), rule.resources.iter().flatten().cloned().collect::<Vec<_>>().join(","))
}

/// What was asked of an API server by somebody, and that nothing of it changes anything.
async fn only_read(audit: &Audit, user: &str) {
    let by = |events: Vec<Event>| events.into_iter().filter(|event| event.user.ends_with(user)).collect::<Vec<_>>();
    let asked = wait_until(&format!("{user} has read bindings"), SOON, async || {
        let asked = by(audit.events());
        if asked.iter().any(|event| event.verb == "list" && event.resource == "rolebindings") { Ok(asked) } else { Err(lines(&asked)) }
    })
    .await;
    let writes: Vec<Event> = asked.into_iter().filter(|event| event.is_write() && !event.is_lease()).collect();
    assert!(writes.is_empty(), "{}", lines(&writes));
}

/// Another edition of the Role of [`Several::role`]: less in dev, nothing in prod, other rules in staging, and something cluster-wide there.
fn edited() -> Value {
    let rule = |resource: &str, verbs: &[&str]| json!([{"apiGroups": ["example.com"], "resources": [resource], "verbs": verbs}]);
    json!({"access": [
        {"name": "work", "environments": ["dev"], "clusterRoles": ["view"]},
        {"name": "more", "environments": ["staging"], "clusterRoles": ["edit"]},
        {"name": "own", "environments": ["staging"], "rules": rule("widgets", &["get", "list"])},
    ]})
}

#[tokio::test]
async fn what_is_planned_is_what_then_happens_in_every_cluster_and_planning_writes_nothing() {
    let several = Several::take().await;
    let home = several.home();
    let (role, stays, ada) = several.holder().await;
    let (leaves, comes) = (name("bob"), name("eve"));
    developer(home, &leaves, json!({})).await;
    declare(home, "Binding", &leaves, json!({"role": role, "developers": [leaves]})).await;
    let bob = ready(home, &leaves).await;
    several.settle(&bob, FULL).await;
    let people = [stays.as_str(), &leaves, &comes];
    let email = |name: &str| json!({"email": format!("{name}@example.com")});
    let mut departed = email(&leaves);
    departed["state"] = "Departed".into();
    let look = json!({"access": [{"name": "look", "environments": ["*"], "clusterRoles": ["view"]}]});
    let manifests = folder(
        &several,
        &[
            ("Role", &role, edited()),
            ("Role", &comes, look),
            ("Developer", &leaves, departed),
            ("Developer", &comes, email(&comes)),
            ("Binding", &comes, json!({"role": comes, "developers": [comes], "environments": ["prod", "staging"]})),
        ],
    );
    let planner = Planner::new(&several, true).await;

    let audits = several.listen().await;
    let (code, plan) = planner.json(&several, &manifests).await;
    assert_eq!(code, Some(1), "{plan:#}");
    only_read(&audits[0], &planner.name).await;
    // In the others it reads with the credentials of usher.
    for audit in &audits[1..] {
        only_read(audit, "usher-system:usher").await;
    }
    assert_eq!((&plan["unread"], &plan["warnings"], &plan["withheld"]), (&json!([]), &json!([]), &json!([])), "{plan:#}");
    let before = several.held(&people).await;
    assert!(!told(&plan, "gains").is_empty() && told(&plan, "loses").is_subset(&before), "{plan:#}\n{before:#?}");
    assert!(told(&plan, "gains").is_disjoint(&before), "{plan:#}\n{before:#?}");

    // As the test made the objects under another name, a server-side apply would keep what it wrote in lists.
    several.all.home.kubectl(&["apply", "-f", &manifests]).await.ok();
    several.becomes(&people, &before, &plan).await;
    several.settle(&ada, [&["get pods"], FULL[1], &[]]).await;
    several.settle(&bob, NOTHING).await;
    several.settle(&ready(home, &comes).await, [&[], &["get pods"], &["get pods"]]).await;

    // Of what is so already there is nothing to say.
    let said = planner.plan(&several, &manifests, &[]).await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "Nobody gains or loses anything.\n"), "{said:?}");
    planner.leave(&several).await;
    for person in [&stays, &comes] {
        edit(home, "Developer", person, json!({"state": "Departed"})).await;
    }
    several.settle(&ada, NOTHING).await;
}

#[tokio::test]
async fn a_cluster_that_cannot_be_read_is_named_and_the_rest_is_planned() {
    let several = Several::take().await;
    let home = several.home();
    let (_, person, ada) = several.holder().await;
    let suspended = json!({"email": format!("{person}@example.com"), "state": "Suspended"});
    let manifests = folder(&several, &[("Developer", &person, suspended)]);
    let planner = Planner::new(&several, true).await;
    let (code, whole) = planner.json(&several, &manifests).await;
    assert_eq!((code, places(&whole, "changes")), (Some(1), ENVIRONMENTS.map(str::to_owned).into()), "{whole:#}");

    let paused = several.staging().pause();
    let (code, plan) = planner.json(&several, &manifests).await;
    drop(paused);
    assert_eq!((code, places(&plan, "changes")), (Some(2), ["dev", "prod"].map(str::to_owned).into()), "{plan:#}");
    assert_eq!(places(&plan, "unread"), ["staging".to_owned()].into());
    assert!(plan["unread"][0]["message"].as_str().is_some_and(|why| why.contains("API server")), "{plan:#}");
    several.environment("staging", "Ready", "True", "AsPlanned").await;

    // Whoever may not read the kubeconfigs plans for the home cluster.
    let auditor = Planner::new(&several, false).await;
    let said = auditor.plan(&several, &manifests, &[]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    for environment in ["staging", "prod"] {
        let line = said.stdout.lines().find(|line| line.starts_with(&format!("not read: uenv/{environment}: "))).unwrap_or_default();
        assert!(line.contains(&format!("{NAMESPACE}/{environment}-kubeconfig")) && line.contains("forbidden"), "{said:?}");
    }
    assert!(said.stdout.contains(&format!("dev/{person} in uenv/dev\n  - ")), "{said:?}");
    auditor.leave(&several).await;

    // It happens as it was planned while all could be read.
    let before = several.held(&[&person]).await;
    edit(home, "Developer", &person, json!({"state": "Suspended"})).await;
    several.becomes(&[&person], &before, &whole).await;
    several.settle(&ada, NOTHING).await;
    planner.leave(&several).await;
    edit(home, "Developer", &person, json!({"state": "Departed"})).await;
}

/// The Environments that are named in a part of a plan.
fn places(plan: &Value, part: &str) -> BTreeSet<String> {
    let entries = plan[part].as_array().unwrap_or_else(|| panic!("{plan:#}"));
    entries.iter().filter_map(|entry| entry["environment"].as_str().map(str::to_owned)).collect()
}
