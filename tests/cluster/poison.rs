//! Five who cannot be served among a hundred: the others are not held up, and each of the five says what to do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use kube::api::{DynamicObject, ListParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use usher::api::Developer;
use usher::plan::person::Person;

use crate::support::access::{Questions, Subject};
use crate::support::client::{self, apply, condition, kind};
use crate::support::install::Install;
use crate::support::operator::Operator;
use crate::support::people::{self, account, declare, developer};
use crate::support::{AuditLevel, ControlPlane, wait_until};

const PEOPLE: usize = 100;
const SERVED_WITHIN: Duration = Duration::from_mins(1);
const LONG: &str = "a-name-as-long-as-a-developers-can-be";

/// Who cannot be served: which condition says so, with which reason and words.
const POISONED: [(&str, &str, &str, &[&str]); 5] = [
    ("squatted", "WorkspaceReady", "Conflict", &["namespace the-personal-workspace-for-squatted", "was not made by usher", "pin it"]),
    ("twin", "AccessApplied", "Conflict", &["oidc:shared", "dev/p-0", "is older", "another e-mail, username or kubernetesUser"]),
    ("nameless", "AccessApplied", "InvalidSpec", &["uenv/directory", "{personId}", "set spec.personId"]),
    (LONG, "WorkspaceReady", "InvalidSpec", &["longer than 63 characters", "shorten workspace.name of uenv/lab"]),
    ("impersonated", "CredentialsReady", "Conflict", &["ServiceAccount", "usher-identities", "was not made by usher", "delete"]),
];

/// Environments that ask more of people than every one of them has.
async fn environments(client: &Client) {
    let workspace = json!({"name": "the-personal-workspace-for-{developer}"});
    declare(client, "Environment", "lab", json!({"home": true, "namespaces": {"matchLabels": {"env": "lab"}}, "workspace": workspace}))
        .await;
    let directory = json!({"namespaces": {"matchLabels": {"env": "directory"}}, "identity": {"user": "id:{personId}"}});
    declare(client, "Environment", "directory", directory).await;
    for env in ["lab", "directory"] {
        client::namespace(client, &format!("shared-{env}"), &[("env", env)]).await;
    }
    let access = json!([{"name": "look", "environments": ["lab", "directory"], "clusterRoles": ["view"]}]);
    declare(client, "Role", "look", json!({"access": access})).await;
    declare(client, "Binding", "everybody", json!({"role": "look", "teams": ["all"]})).await;
}

/// What stands in the way of two of the five.
async fn squatters(client: &Client) {
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: the-personal-workspace-for-squatted}}";
    let account = format!(
        "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {}, namespace: {}}}}}",
        account_of("impersonated"),
        people::IDENTITIES
    );
    for yaml in [namespace, &account] {
        apply(client, yaml).await;
    }
}

fn number(name: &str) -> String {
    format!("number-of-{name}")
}

/// The ServiceAccount that usher will compute for somebody.
fn account_of(name: &str) -> String {
    let mut developer = Developer::default();
    developer.spec.person_id = Some(number(name));
    format!("{name}-{}", Person::own(&developer).digest())
}

fn spec(name: &str) -> Value {
    match name {
        "nameless" => json!({"teams": ["all"]}),
        "twin" | "p-0" => json!({"teams": ["all"], "personId": number(name), "kubernetesUser": "oidc:shared"}),
        _ => json!({"teams": ["all"], "personId": number(name)}),
    }
}

async fn all(client: &Client) -> BTreeMap<String, DynamicObject> {
    let list = kind(client, "Developer").await.list(&ListParams::default()).await.unwrap();
    list.items.into_iter().map(|object| (object.name_any(), object)).collect()
}

fn is_ready(object: &DynamicObject) -> bool {
    condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// All hundred at once, but the one who must be older than her twin.
async fn hire(client: &Client) -> Vec<String> {
    let healthy: Vec<String> = (0..PEOPLE - POISONED.len()).map(|number| format!("p-{number}")).collect();
    developer(client, "p-0", spec("p-0")).await;
    let first = client::ready(client, "p-0").await;
    let second = first.creation_timestamp().unwrap().0.as_second();
    wait_until("a later second", Duration::from_secs(3), async || {
        if k8s_openapi::jiff::Timestamp::now().as_second() > second { Ok(()) } else { Err("not yet") }
    })
    .await;
    let names = POISONED.iter().map(|(name, ..)| *name).chain(healthy.iter().map(String::as_str));
    stream::iter(names).for_each_concurrent(16, async |name| drop(developer(client, name, spec(name)).await)).await;
    healthy
}

#[tokio::test]
async fn five_of_a_hundred_who_cannot_be_served_hold_up_nobody_and_say_what_to_do() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let install = Install::new(&plane, &["environments.default=false", "starterRoles=false"]).await;
    let operator = Operator::start(&install).await;
    operator.ready().await;
    let client = plane.admin_client().await;
    environments(&client).await;
    squatters(&client).await;

    let since = Instant::now();
    let healthy = hire(&client).await;
    let people = wait_until("the 95 are Ready", SERVED_WITHIN, async || {
        let people = all(&client).await;
        let waiting: Vec<_> = healthy.iter().filter(|name| !is_ready(&people[*name])).collect();
        if waiting.is_empty() { Ok(people) } else { Err(format!("{} are not: {:?}", waiting.len(), people[waiting[0]].data["status"])) }
    })
    .await;
    println!("95 of 100 were Ready {:?} after the first was declared", since.elapsed());
    have_access(&client, &healthy, &people).await;
    for poisoned in POISONED {
        says_why(&client, poisoned).await;
    }
    columns(&plane).await;
    have_what_is_possible(&client, &all(&client).await).await;
}

fn subject(name: &str) -> Subject {
    match name {
        "p-0" | "twin" => Subject::user("oidc:shared"),
        _ => Subject::user(&format!("id:{}", number(name))),
    }
}

/// The healthy ones are in both shared namespaces, as each Environment knows them, and in their workspaces.
async fn have_access(client: &Client, healthy: &[String], people: &BTreeMap<String, DynamicObject>) {
    for name in healthy {
        let lab = if name == "p-0" { subject(name) } else { Subject::service_account(people::IDENTITIES, &account(&people[name])) };
        let own = format!("the-personal-workspace-for-{name}");
        let known = [("lab", lab), ("directory", subject(name))];
        let questions = Questions::new(&known, &["shared-lab", "shared-directory", &own], &["get pods"]);
        let mut expected = questions.cells(&["lab"], &["shared-lab", &own], &["get pods"]);
        expected.extend(questions.cells(&["directory"], &["shared-directory"], &["get pods"]));
        if name == "p-0" {
            expected.extend(questions.cells(&["lab"], &["shared-directory"], &["get pods"]));
            expected.extend(questions.cells(&["directory"], &["shared-lab", &own], &["get pods"]));
        }
        crate::support::access::assert_matrix_eq(&questions.ask(client).await, &expected);
    }
}

async fn says_why(client: &Client, (name, what, reason, words): (&str, &str, &str, &[&str])) {
    let api = kind(client, "Developer").await;
    wait_until(&format!("{name} says why"), SERVED_WITHIN, async || {
        let object = api.get(name).await.unwrap();
        let says = |named: &str, status: &str| {
            condition(&object, named).is_some_and(|found| {
                let message = found["message"].as_str().unwrap_or_default();
                found["status"] == status && found["reason"] == reason && words.iter().all(|word| message.contains(word))
            })
        };
        if says(what, "False") && says("Ready", "False") && says("Stalled", "True") {
            Ok(())
        } else {
            Err(object.data["status"].to_string())
        }
    })
    .await;
}

/// `kubectl get dev -o wide` has the remedy in its last column.
async fn columns(plane: &ControlPlane) {
    let table = plane.kubectl(&["get", "dev", "-o", "wide"]).await.ok();
    for (name, _, _, words) in POISONED {
        let row = table.lines().find(|row| row.starts_with(&format!("{name} "))).unwrap();
        assert!(words.iter().all(|word| row.contains(word)), "{row}");
        assert!(row.split_whitespace().nth(2) == Some("False"), "READY: {row}");
    }
}

/// Each of the five has what does not depend on what is wrong, and no record says more.
async fn have_what_is_possible(client: &Client, people: &BTreeMap<String, DynamicObject>) {
    let of = |name: &str| Subject::service_account(people::IDENTITIES, &account(&people[name]));
    let questions = Questions::new(
        &[
            ("squatted", of("squatted")),
            (LONG, of(LONG)),
            ("nameless", of("nameless")),
            ("impersonated", Subject::service_account(people::IDENTITIES, &account_of("impersonated"))),
            ("impersonated in directory", subject("impersonated")),
        ],
        &["shared-lab", "shared-directory", "the-personal-workspace-for-squatted", "the-personal-workspace-for-impersonated"],
        &["get pods"],
    );
    let mut expected = questions.cells(&["squatted", LONG, "nameless"], &["shared-lab"], &["get pods"]);
    expected.extend(questions.cells(&["impersonated in directory"], &["shared-directory"], &["get pods"]));
    questions.settle(client, Duration::from_secs(10), &expected).await;
    for (name, targets) in
        [("twin", None), ("nameless", Some("lab")), ("impersonated", Some("directory")), ("squatted", Some("directory,lab"))]
    {
        let grants: Vec<_> = people::grants(client, name).await.into_iter().map(|grant| grant.summary.targets).collect();
        assert_eq!(grants, targets.into_iter().map(str::to_owned).collect::<Vec<_>>(), "{name}");
    }
}
