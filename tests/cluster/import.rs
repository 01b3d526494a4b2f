//! `usher import` on a cluster where 200 people work already: what it says is taken as it is, changes nobody's access, and nothing is written by asking.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::support::access::{Matrix, Questions, Subject, assert_matrix_eq};
use crate::support::audit::{Audit, Event, lines};
use crate::support::client::{self, kind, manifest};
use crate::support::install::{Install, PATIENT, token, write_kubeconfig};
use crate::support::operator::Operator;
use crate::support::people::{IDENTITIES, edit};
use crate::support::{AuditLevel, ControlPlane, Output, wait_until};

const SOON: Duration = Duration::from_mins(3);
const PEOPLE: usize = 200;
const TEAMS: usize = 4;
const FLAGS: [&str; 5] = ["import", "--owner-label", "owner", "--email", "{user}@example.com"];
const PROBES: [&str; 4] = ["get pods", "create pods", "create serviceaccounts", "get secrets"];

/// What a person is called, and how the cluster knows her: every third by an e-mail address.
fn person(number: usize) -> String {
    format!("p{number:03}")
}

fn user(number: usize) -> String {
    if number.is_multiple_of(3) { format!("oidc:{}@example.com", person(number)) } else { format!("oidc:{}", person(number)) }
}

fn namespace(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn subjects(kind: &str, names: &[String]) -> Value {
    names.iter().map(|name| json!({"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"})).collect()
}

fn binding(namespace: &str, name: &str, (kind, role): (&str, &str), subjects: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" },
        "metadata": {"name": name, "namespace": Some(namespace).filter(|it| !it.is_empty()), "labels": {"by": "hand"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": subjects,
    })
}

fn users(names: &[String]) -> Value {
    subjects("User", names)
}

/// Four teams that edit in two namespaces of dev and look at one of prod; everybody looks at what all share, and owns a namespace.
fn usual() -> Vec<Value> {
    let everybody: Vec<String> = (0..PEOPLE).map(user).collect();
    let edit = ("ClusterRole", "edit");
    let view = ("ClusterRole", "view");
    let mut objects = vec![namespace("common", json!({"env": "dev"}))];
    objects.push(binding("common", "all", view, users(&everybody)));
    for team in 0..TEAMS {
        let members: Vec<String> = (0..PEOPLE).filter(|number| number % TEAMS == team).map(user).collect();
        for part in ["api", "web"] {
            let name = format!("team{team}-{part}");
            objects.push(namespace(&name, json!({"env": "dev"})));
            // Some write a binding for the team, some one for each.
            if team.is_multiple_of(2) {
                objects.push(binding(&name, "team", edit, users(&members)));
            } else {
                let one = |member: &String| {
                    binding(&name, &format!("edit-{}", member.replace([':', '@'], "-")), edit, users(std::slice::from_ref(member)))
                };
                objects.extend(members.iter().map(one));
            }
        }
        let name = format!("live{team}");
        objects.push(namespace(&name, json!({"env": "prod"})));
        objects.push(binding(&name, "team", view, users(&members)));
    }
    for number in 0..PEOPLE {
        let name = format!("home-{}", person(number));
        objects.push(namespace(&name, json!({"owner": person(number)})));
        objects.push(binding(&name, "owner", edit, users(&[user(number)])));
    }
    objects
}

/// What cannot be said, each with words that have to stand in its line.
fn odd() -> Vec<(Vec<Value>, &'static [&'static str])> {
    let view = ("ClusterRole", "view");
    let ada = users(&[user(0)]);
    let ci = json!([{"kind": "ServiceAccount", "name": "ci", "namespace": "common"}]);
    vec![
        (vec![binding("common", "group", view, subjects("Group", &["oidc:devs".to_owned()]))], &["common/group", "Group oidc:devs"]),
        (vec![binding("common", "own-role", ("Role", "deployer"), ada.clone())], &["common/own-role", "Role deployer"]),
        (vec![binding("common", "admins", ("ClusterRole", "admin"), ada.clone())], &["common/admins", "fence.mayBind"]),
        (vec![binding("", "root", ("ClusterRole", "cluster-admin"), ada.clone())], &["ClusterRoleBinding root", "cluster-wide"]),
        (vec![binding("default", "odd", view, ada.clone())], &["default/odd", "nobody anything in default"]),
        (vec![namespace("lone", json!({})), binding("lone", "odd", view, ada.clone())], &["lone/odd", "no Environment"]),
        (vec![binding("home-p001", "guest", view, ada)], &["home-p001/guest", "workspace of dev/p001"]),
        (vec![namespace("left-behind", json!({"owner": "zoe"}))], &["Namespace left-behind", "zoe"]),
        (vec![binding("common", "ci", ("ClusterRole", "edit"), ci)], &[]),
    ]
}

/// A cluster before usher came, with the chart, an operator and two Environments that it only observes.
struct Old {
    plane: ControlPlane,
    client: kube::Client,
    importer: PathBuf,
    _install: Install,
    _operator: Operator,
}

impl Old {
    async fn prepare() -> Self {
        let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
        let client = plane.admin_client().await;
        let odd = odd().into_iter().flat_map(|(objects, _)| objects);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": usual().into_iter().chain(odd).collect::<Vec<_>>()});
        let apply = async {
            plane.kubectl_with(&["create", "-f", "-"], &list.to_string()).await.ok();
        };
        let values = [&PATIENT[..], &["environments.default=false", "starterRoles=false"]].concat();
        let (install, ()) = tokio::join!(Install::new(&plane, &values), apply);
        let operator = Operator::start(&install).await;
        operator.ready().await;
        let workspace = json!({"clusterRole": "edit", "isolation": "None", "podSecurity": "privileged"});
        for (name, more) in [("dev", json!({"home": true, "workspace": workspace})), ("prod", json!({}))] {
            let mut spec = json!({"mode": "Observe", "namespaces": {"matchLabels": {"env": name}}});
            spec.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
            let object = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Environment", "metadata": {"name": name}, "spec": spec});
            client::apply(&client, &object.to_string()).await;
        }
        let importer = importer(&plane, &client).await;
        Self { plane, client, importer, _install: install, _operator: operator }
    }

    async fn import(&self, more: &[&str]) -> Output {
        self.plane.usher_as(&self.importer, &[&FLAGS[..], more].concat()).await
    }

    /// What some people may do in some places.
    fn questions() -> Questions {
        let people: Vec<(String, Subject)> = (0..9).map(|number| (person(number), Subject::user(&user(number)))).collect();
        let people: Vec<(&str, Subject)> = people.iter().map(|(name, subject)| (name.as_str(), subject.clone())).collect();
        let places = ["common", "team0-api", "team1-web", "live0", "live1", "home-p001", "home-p002", "lone", "default", "kube-system"];
        Questions::new(&people, &places, &PROBES)
    }

    async fn now(&self) -> Matrix {
        Self::questions().ask(&self.client).await
    }

    /// What `usher plan --live` says about manifests that are applied already.
    async fn plan(&self, folder: &str) -> (Option<i32>, Value) {
        let said = self.plane.usher_as(&self.importer, &["plan", "--live", "-f", folder, "-o", "json"]).await;
        let plan = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        (said.code, plan)
    }
}

/// Who imports: she has the ClusterRole of auditors, and what she does is in the audit log, as her name is among those of people.
async fn importer(plane: &ControlPlane, client: &kube::Client) -> PathBuf {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "importer", "namespace": IDENTITIES}});
    client::apply(client, &account.to_string()).await;
    let account = format!("--serviceaccount={IDENTITIES}:importer");
    plane.kubectl(&["create", "clusterrolebinding", "importer", "--clusterrole=usher-auditor", &account]).await.ok();
    let kubeconfig = plane.dir().join("importer.kubeconfig");
    write_kubeconfig(&kubeconfig, plane, &token(plane, IDENTITIES, "importer").await, "default");
    kubeconfig
}

/// What was asked of the API server, and that nothing of it changes anything.
async fn only_read(audit: &Audit) {
    let asked = wait_until("bindings were read", SOON, async || {
        let asked: Vec<Event> = audit.events().into_iter().filter(|event| event.user.ends_with(":importer")).collect();
        if asked.iter().any(|event| event.verb == "list" && event.resource == "rolebindings") { Ok(asked) } else { Err(lines(&asked)) }
    })
    .await;
    let writes: Vec<Event> = asked.into_iter().filter(Event::is_write).collect();
    assert!(writes.is_empty(), "{}", lines(&writes));
}

fn documents(yaml: &str) -> Vec<(String, Value)> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("YAML");
    all.into_iter().filter(|object| !object.is_null()).map(|object| (object["kind"].as_str().expect("a kind").to_owned(), object)).collect()
}

/// What was made of 200 people: each once, a Role for each team and one for all.
fn check(yaml: &str) {
    let all = documents(yaml);
    let of = |kind: &str| all.iter().filter(|(it, _)| it == kind).map(|(_, object)| object.clone()).collect::<Vec<_>>();
    let people = of("Developer");
    assert_eq!(people.len(), PEOPLE);
    for (number, developer) in people.iter().enumerate() {
        let expected = json!({
            "email": format!("{}@example.com", person(number)),
            "kubernetesUser": user(number),
            "workspaces": [{"environment": "dev", "namespace": format!("home-{}", person(number))}],
        });
        assert_eq!((&developer["metadata"]["name"], &developer["spec"]), (&json!(person(number)), &expected));
    }
    assert_eq!((of("Role").len(), of("Binding").len()), (TEAMS, TEAMS), "{:#?}", of("Role"));
    let holders: usize = of("Binding").iter().map(|it| it["spec"]["developers"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!(holders, PEOPLE);
}

#[tokio::test]
async fn two_hundred_people_are_imported_and_nobody_gains_or_loses_anything() {
    let old = Old::prepare().await;
    let before = old.now().await;
    assert!(!before.is_empty());

    let audit = Audit::from_now(&old.plane);
    let said = old.import(&[]).await;
    only_read(&audit).await;
    assert_eq!(said.code, Some(1), "{:?}", said.stderr);
    check(&said.stdout);
    for (_, words) in odd() {
        let told = |text: &str| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(told(&said.stderr) && told(&said.stdout), "{words:?} in\n{}", said.stderr);
    }
    let listed = said.stdout.lines().filter(|line| line.starts_with("# not said")).count();
    assert_eq!(listed, odd().len() - 1, "what belongs to a program is counted only:\n{}", said.stderr);
    assert_eq!(old.import(&[]).await.stdout, said.stdout, "it says the same twice");
    let all = old.import(&["--all"]).await;
    assert!(all.stderr.lines().any(|line| line.contains("common/ci") && line.contains("ServiceAccount common/ci")), "{}", all.stderr);

    // It is taken as it is, in either form, and before that it was planned for.
    let folder = old.plane.dir().join("imported");
    std::fs::create_dir_all(&folder).expect("space on the disk");
    std::fs::write(folder.join("all.yaml"), &said.stdout).expect("space on the disk");
    let folder = folder.to_str().expect("a plain path");
    nothing_pending(&old.plan(folder).await);
    let list = old.import(&["-o", "json"]).await.stdout;
    old.plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &list).await.ok();
    old.plane.kubectl_with(&["apply", "-f", "-"], &said.stdout).await.ok();
    observed(&old).await;
    nothing_pending(&old.plan(folder).await);
    assert_matrix_eq(&old.now().await, &before);

    enforced(&old, &before).await;
}

/// Nobody would gain or lose anything, and everybody has it already.
fn nothing_pending((code, plan): &(Option<i32>, Value)) {
    assert_eq!((&plan["changes"], &plan["withheld"], &plan["unread"]), (&json!([]), &json!([]), &json!([])), "{plan:#}");
    assert_eq!((*code, &plan["warnings"]), (Some(0), &json!([])), "{plan:#}");
    let people: BTreeSet<String> = plan["already"].as_array().expect("a list").iter().map(|it| it["developer"].to_string()).collect();
    assert_eq!(people.len(), PEOPLE);
}

/// Waits until the operator has looked at everybody: all that it would do is to add its own bindings, and to take the namespaces on.
async fn observed(old: &Old) {
    let developers = kind(&old.client, "Developer").await;
    wait_until("everybody was looked at", SOON, async || {
        let all = developers.list(&ListParams::default()).await.expect("a list").items;
        let waits = all.iter().filter(|it| it.data.pointer("/status/conditions/0/status") != Some(&json!("True")));
        let waits: Vec<_> = waits.map(|it| (it.name_any(), it.data["status"]["conditions"].to_string())).collect();
        if all.len() == PEOPLE && waits.is_empty() { Ok(()) } else { Err(format!("{}: {:?}", waits.len(), waits.first())) }
    })
    .await;
    // A binding in each of their own namespaces, which get usher's labels, and one a Role in each that is shared: common is in all Roles.
    let dev = format!("+{} ~{PEOPLE} -0", PEOPLE + TEAMS * 3);
    for (environment, pending) in [("dev", dev.as_str()), ("prod", "+4 ~0 -0")] {
        let told = "nothing is changed here, and none of the pending changes would change what people may do";
        tells(old, environment, pending, told).await;
    }
    // What somebody would be given once more is told as soon as she has it no more.
    let by_hand = usual().into_iter().find(|it| it["metadata"]["namespace"] == "live0").expect("a binding");
    client::delete(&old.client, &manifest(&by_hand.to_string())).await;
    tells(old, "prod", "+4 ~0 -0", "nothing is changed here; what people may do would change by 1 of the pending changes").await;
    client::apply(&old.client, &by_hand.to_string()).await;
    tells(old, "prod", "+4 ~0 -0", "nothing is changed here, and none of").await;
}

/// Waits until an Environment tells what is pending, and begins its message so.
async fn tells(old: &Old, environment: &str, pending: &str, message: &str) {
    let environments = kind(&old.client, "Environment").await;
    wait_until(&format!("uenv/{environment} has {pending} and says: {message}"), SOON, async || {
        let status = environments.get(environment).await.expect("an Environment").data["status"].clone();
        let ready = status["conditions"].as_array().into_iter().flatten().find(|it| it["type"] == "Ready");
        let says = ready.and_then(|it| it["message"].as_str()).is_some_and(|it| it.starts_with(message));
        if says && status["summary"]["pending"] == pending { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

/// With mode Enforce and without the bindings that were there before, people have what they had, but for what was listed.
async fn enforced(old: &Old, before: &Matrix) {
    for environment in ["dev", "prod"] {
        edit(&old.client, "Environment", environment, json!({"mode": "Enforce"})).await;
        let environments = kind(&old.client, "Environment").await;
        wait_until(&format!("uenv/{environment} is as planned"), SOON, async || {
            let found = environments.get(environment).await.expect("an Environment").data["status"]["summary"]["pending"].clone();
            if found == "+0 ~0 -0" { Ok(()) } else { Err(found.to_string()) }
        })
        .await;
    }
    let owners = ListParams::default().labels("usher.dev/workspace");
    let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(old.client.clone());
    wait_until("their namespaces are workspaces", SOON, async || match namespaces.list(&owners).await.expect("a list").items.len() {
        PEOPLE => Ok(()),
        count => Err(count),
    })
    .await;
    for object in usual().iter().filter(|it| it["kind"] == "RoleBinding") {
        client::delete(&old.client, &manifest(&object.to_string())).await;
    }
    Old::questions().settle(&old.client, SOON, before).await;

    // What usher gives now is not said again.
    let said = old.import(&[]).await;
    assert!(documents(&said.stdout).is_empty(), "{}", said.stdout);
}
