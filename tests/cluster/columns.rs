//! `kubectl get` answers without `-o yaml`: every column of every kind, printed by the real kubectl and read.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::support::client::{apply_as, condition, delete, kind};
use crate::support::{ControlPlane, bare, name};

/// The age of something new; what it is exactly nobody can say.
const YOUNG: &str = "<young>";

/// Header and cell, in the order of the columns.
type Row<'a> = [(&'a str, &'a str)];

/// Makes an object, and gives it a status as the operator would.
async fn stored(client: &Client, kind_name: &str, name: &str, spec: Value, status: Option<Value>) -> DynamicObject {
    let object = json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": kind_name, "spec": spec,
        "metadata": {"name": name, "annotations": {"usher.dev/requested-by": "bob@example.com"}},
    });
    let object = apply_as(client, "test", serde_json::from_value(object).unwrap()).await.unwrap();
    let Some(mut status) = status else { return object };
    status["conditions"] = conditions();
    let api = kind(client, kind_name).await;
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await.unwrap()
}

/// Ready is not the first, so that a column that prints the first condition shows itself.
fn conditions() -> Value {
    let condition = |name: &str, status: &str| json!({"type": name, "status": status, "reason": "X", "message": "x", "observedGeneration": 1, "lastTransitionTime": "2026-11-23T08:00:00Z"});
    json!([condition("Accepted", "Unknown"), condition("Ready", "True"), condition("AccessApplied", "False")])
}

/// Compares what kubectl prints without and with `-o wide`, of which the last `wide` columns are.
async fn assert_printed(plane: &ControlPlane, short: &str, name: &str, expected: &Row<'_>, wide: usize) {
    let narrow = expected.get(..expected.len() - wide).unwrap();
    for (flags, expected) in [(&[][..], narrow), (&["-o", "wide"][..], expected)] {
        let arguments = [&["get", short, name], flags].concat();
        let text = plane.kubectl(&arguments).await.ok();
        let [row] = rows(&text).try_into().unwrap_or_else(|_| panic!("not one row:\n{text}"));
        let same =
            row.len() == expected.len() && row.iter().zip(expected).all(|(seen, wanted)| seen.0 == wanted.0 && fits(&seen.1, wanted.1));
        assert!(same, "kubectl {}:\n{text}\nwanted {expected:?}", arguments.join(" "));
    }
}

/// Splits kubectl's table by the places of its headers: cells may be empty, and hold blanks.
pub fn rows(text: &str) -> Vec<Vec<(String, String)>> {
    let mut lines = text.lines();
    let head: Vec<char> = lines.next().unwrap_or_default().chars().collect();
    let starts: Vec<_> = (0..head.len()).filter(|&at| head[at] != ' ' && (at == 0 || head[at - 1] == ' ')).collect();
    let cell = |line: &[char], at: usize| {
        let from = starts[at].min(line.len());
        let to = starts.get(at + 1).map_or(line.len(), |&next| next.min(line.len()));
        line[from..to].iter().collect::<String>().trim_end().to_owned()
    };
    let row = |line: &str| {
        let line: Vec<char> = line.chars().collect();
        (0..starts.len()).map(|at| (cell(&head, at), cell(&line, at))).collect()
    };
    lines.map(row).collect()
}

fn fits(seen: &str, wanted: &str) -> bool {
    let young = || seen.strip_suffix(['s', 'm']).is_some_and(|number| number.chars().all(|c| c.is_ascii_digit() || c == 'm'));
    if wanted == YOUNG { young() } else { seen == wanted }
}

fn developer_spec() -> Value {
    json!({"email": "ada@example.com", "teams": ["payments", "web"], "endsAt": "2127-11-23T18:00:00Z"})
}

#[tokio::test]
async fn developer() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let name = name("ada");
    let status = json!({
        "observedGeneration": 1, "state": "Active", "foreignBindings": 2,
        "summary": {"roles": "backend,viewer", "teams": "payments,web", "workspace": "dev-ada", "accounts": "3/4", "expires": "2127-11-23T18:00:00Z", "message": "forge does not answer: it is tried again"},
    });
    let object = stored(&client, "Developer", &name, developer_spec(), Some(status)).await;
    assert_eq!(condition(&object, "Ready").unwrap()["status"], "True");
    let row = [
        ("NAME", name.as_str()),
        ("STATE", "Active"),
        ("READY", "True"),
        ("TEAMS", "payments,web"),
        ("ROLES", "backend,viewer"),
        ("ACCOUNTS", "3/4"),
        ("EXPIRES", "2127-11-23T18:00:00Z"),
        ("AGE", YOUNG),
        ("EMAIL", "ada@example.com"),
        ("WORKSPACE", "dev-ada"),
        ("FOREIGN", "2"),
        ("MESSAGE", "forge does not answer: it is tried again"),
    ];
    assert_printed(plane, "dev", &name, &row, 4).await;
    delete(&client, &object).await;
}

/// Before the operator has looked, no column may show raw JSON or `<invalid>`.
#[tokio::test]
async fn developer_without_status() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let name = name("new");
    let object = stored(&client, "Developer", &name, developer_spec(), None).await;
    let row = [
        ("NAME", name.as_str()),
        ("STATE", ""),
        ("READY", ""),
        ("TEAMS", ""),
        ("ROLES", ""),
        ("ACCOUNTS", ""),
        ("EXPIRES", ""),
        ("AGE", YOUNG),
        ("EMAIL", "ada@example.com"),
        ("WORKSPACE", ""),
        ("FOREIGN", ""),
        ("MESSAGE", ""),
    ];
    assert_printed(plane, "developer", &name, &row, 4).await;
    delete(&client, &object).await;
}

#[tokio::test]
async fn role() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let name = name("backend");
    let long_ago = Timestamp::now() - Duration::from_hours(40 * 24 + 12);
    let status = json!({
        "observedGeneration": 1, "holders": 12, "lastApplied": {"generation": 3, "at": long_ago.to_string(), "took": "80ms"},
        "summary": {"environments": "dev,staging,prod", "providers": "forge"},
    });
    let spec = json!({"access": [{"name": "work", "environments": ["dev", "staging", "prod"], "clusterRoles": ["edit"]}]});
    let object = stored(&client, "Role", &name, spec, Some(status)).await;
    let row = [
        ("NAME", name.as_str()),
        ("HOLDERS", "12"),
        ("ENVIRONMENTS", "dev,staging,prod"),
        ("PROVIDERS", "forge"),
        ("APPLIED", "40d"),
        ("READY", "True"),
        ("AGE", YOUNG),
    ];
    assert_printed(plane, "urole", &name, &row, 0).await;
    delete(&client, &object).await;
}

#[tokio::test]
async fn binding() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let name = name("payments");
    let spec = json!({"role": "backend", "developers": ["ada"], "expiresAt": "2127-12-01T00:00:00Z", "reason": "On call for payments"});
    let status = json!({"observedGeneration": 1, "state": "Active", "holders": 12, "summary": {"expires": "2127-12-01T00:00:00Z"}});
    let object = stored(&client, "Binding", &name, spec, Some(status)).await;
    let row = [
        ("NAME", name.as_str()),
        ("ROLE", "backend"),
        ("STATE", "Active"),
        ("HOLDERS", "12"),
        ("EXPIRES", "2127-12-01T00:00:00Z"),
        ("READY", "True"),
        ("AGE", YOUNG),
        ("REASON", "On call for payments"),
        ("REQUESTED-BY", "bob@example.com"),
    ];
    assert_printed(plane, "ubind", &name, &row, 2).await;
    delete(&client, &object).await;
}

#[tokio::test]
async fn environment() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let name = name("staging");
    let status = json!({"observedGeneration": 1, "namespaces": 4, "workspaces": 0, "consistency": "100%", "summary": {"cluster": "in-cluster", "pending": "+2 ~0 -1"}});
    let object =
        stored(&client, "Environment", &name, json!({"namespaces": {"matchLabels": {"env": name}}, "mode": "Observe"}), Some(status)).await;
    let row = [
        ("NAME", name.as_str()),
        ("CLUSTER", "in-cluster"),
        ("MODE", "Observe"),
        ("NAMESPACES", "4"),
        ("WORKSPACES", "0"),
        ("PENDING", "+2 ~0 -1"),
        ("CONSISTENCY", "100%"),
        ("READY", "True"),
        ("AGE", YOUNG),
    ];
    assert_printed(plane, "uenv", &name, &row, 0).await;
    delete(&client, &object).await;
}

fn provider_spec() -> Value {
    json!({"gitea": {"url": "https://git.example.com", "credentialsSecret": {"name": "forge-admin", "key": "token"}}, "mode": "Observe"})
}

#[tokio::test]
async fn provider() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let name = name("forge");
    let summary = json!({
        "type": "gitea", "accounts": "12", "url": "https://git.example.com", "queue": "3", "nextTry": "2026-11-23T08:01:00Z", "message": "no answer",
    });
    let status = json!({"observedGeneration": 1, "state": "Unreachable", "summary": summary});
    let object = stored(&client, "Provider", &name, provider_spec(), Some(status)).await;
    let row = [
        ("NAME", name.as_str()),
        ("TYPE", "gitea"),
        ("ACCOUNTS", "12"),
        ("MODE", "Observe"),
        ("STATE", "Unreachable"),
        ("READY", "True"),
        ("AGE", YOUNG),
        ("URL", "https://git.example.com"),
        ("QUEUE", "3"),
        ("NEXT-TRY", "2026-11-23T08:01:00Z"),
        ("MESSAGE", "no answer"),
    ];
    assert_printed(plane, "uprov", &name, &row, 4).await;
    delete(&client, &object).await;
}

fn source_spec() -> Value {
    json!({"keycloak": {"url": "https://id.example.com", "realm": "staff", "credentialsSecret": {"name": "hr-reader", "key": "password"}}})
}

#[tokio::test]
async fn source() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let name = name("hr");
    let read = json!({"at": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), "people": 2501, "complete": true, "created": 3, "changed": 1, "missing": 2, "conflicts": 0});
    let summary = json!({"type": "keycloak", "people": "2501", "message": "braked"});
    let status = json!({"observedGeneration": 1, "state": "Braked", "summary": summary, "lastRead": read});
    let object = stored(&client, "Source", &name, source_spec(), Some(status)).await;
    let row = [
        ("NAME", name.as_str()),
        ("TYPE", "keycloak"),
        ("PEOPLE", "2501"),
        ("STATE", "Braked"),
        ("LAST-READ", YOUNG),
        ("READY", "True"),
        ("AGE", YOUNG),
        ("CREATED", "3"),
        ("CHANGED", "1"),
        ("MISSING", "2"),
        ("MESSAGE", "braked"),
    ];
    assert_printed(plane, "usource", &name, &row, 4).await;
    delete(&client, &object).await;
}

fn grant_spec(developer: &str, role: &str, state: &str) -> Value {
    let mut spec = json!({
        "developer": {"name": developer, "uid": "00000000-0000-0000-0000-000000000000"},
        "role": role, "roleRevision": 3, "grantedBy": "alice@example.com", "reason": "On call for payments",
        "targets": [{"name": "environment/dev", "since": "2026-11-23T08:00:00Z"}], "via": [{"name": "payments-backend", "since": "2026-11-23T08:00:00Z"}],
        "since": "2026-11-23T08:00:00Z", "until": "2126-12-01T00:00:00Z", "state": state,
        "summary": {"targets": "dev,forge", "via": "payments-backend", "until": "2126-12-01T00:00:00Z"},
    });
    if state == "Ended" {
        spec["ended"] = json!({"at": "2026-11-28T09:00:00Z", "by": "unknown (deleted)", "cause": "BindingDeleted"});
    }
    spec
}

#[tokio::test]
async fn grant() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let name = name("ada-backend");
    let object = stored(&client, "Grant", &name, grant_spec("ada", "backend", "Ended"), None).await;
    let row = [
        ("NAME", name.as_str()),
        ("DEVELOPER", "ada"),
        ("ROLE", "backend"),
        ("TARGETS", "dev,forge"),
        ("STATE", "Ended"),
        ("SINCE", "2026-11-23T08:00:00Z"),
        ("UNTIL", "2126-12-01T00:00:00Z"),
        ("GRANTED-BY", "alice@example.com"),
        ("ENDED", "2026-11-28T09:00:00Z"),
        ("ENDED-BY", "unknown (deleted)"),
        ("REASON", "On call for payments"),
        ("VIA", "payments-backend"),
    ];
    assert_printed(plane, "grant", &name, &row, 4).await;
    delete(&client, &object).await;
}

#[tokio::test]
async fn lock() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let name = name("ada-laptop");
    let spec = json!({"developer": "ada", "reason": "SEC-91 laptop stolen", "lifted": true});
    let status = json!({"state": "Lifted", "accessGoneMs": 300, "summary": {"targets": "4/4", "accessGone": "0.3s"}});
    let object = stored(&client, "Lock", &name, spec, Some(status)).await;
    let row = [
        ("NAME", name.as_str()),
        ("DEVELOPER", "ada"),
        ("STATE", "Lifted"),
        ("ACCESS-GONE", "0.3s"),
        ("TARGETS", "4/4"),
        ("BY", "bob@example.com"),
        ("REASON", "SEC-91 laptop stolen"),
        ("AGE", YOUNG),
    ];
    assert_printed(plane, "ulock", &name, &row, 0).await;
    delete(&client, &object).await;
}

fn departure_spec(developer: &str) -> Value {
    let developer = json!({"name": developer, "uid": "00000000-0000-0000-0000-000000000000"});
    json!({"developer": developer, "requestedBy": "bob@example.com", "requestedAt": "2026-11-28T09:00:00Z"})
}

#[tokio::test]
async fn departure() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let name = name("ada-20261128");
    let status = json!({
        "state": "Incomplete", "accessGoneMs": 400, "completedAt": "2026-11-28T09:00:20Z",
        "summary": {"accounts": "3/4", "accessGone": "0.4s", "leftovers": "1", "nextTry": "2026-11-28T09:10:00Z", "message": "forge refuses"},
    });
    let object = stored(&client, "Departure", &name, departure_spec("ada"), Some(status)).await;
    let row = [
        ("NAME", name.as_str()),
        ("DEVELOPER", "ada"),
        ("STATE", "Incomplete"),
        ("ACCESS-GONE", "0.4s"),
        ("ACCOUNTS", "3/4"),
        ("LEFTOVERS", "1"),
        ("NEXT-TRY", "2026-11-28T09:10:00Z"),
        ("AGE", YOUNG),
        ("COMPLETED", "2026-11-28T09:00:20Z"),
        ("REQUESTED-BY", "bob@example.com"),
        ("MESSAGE", "forge refuses"),
    ];
    assert_printed(plane, "departure", &name, &row, 3).await;
    delete(&client, &object).await;
}

/// The questions of an auditor: who had what, asked of the API server and not of a filter behind it.
#[tokio::test]
async fn grants_are_selected_by_developer_role_and_state() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let (ada, bob, role) = (name("ada"), name("bob"), name("backend"));
    let rows = [(&ada, role.as_str(), "Active"), (&ada, "viewer", "Ended"), (&bob, role.as_str(), "Ended")];
    let mut grants = Vec::new();
    for (developer, role, state) in rows {
        grants.push(stored(&client, "Grant", &name("grant"), grant_spec(developer, role, state), None).await);
    }
    let named = |indexes: &[usize]| {
        let mut names: Vec<_> = indexes.iter().map(|&index| format!("grant.usher.dev/{}", grants[index].name_any())).collect();
        names.sort();
        names
    };
    for (selector, expected) in [
        (format!("spec.developer.name={ada}"), named(&[0, 1])),
        (format!("spec.role={role}"), named(&[0, 2])),
        (format!("spec.role={role},spec.state=Active"), named(&[0])),
        (format!("spec.developer.name={ada},spec.state!=Active"), named(&[1])),
        (format!("spec.developer.name={bob},spec.role=viewer"), named(&[])),
    ] {
        let text = plane.kubectl(&["get", "grants", "-o", "name", "--field-selector", &selector]).await.ok();
        let mut seen: Vec<_> = text.lines().map(str::to_owned).collect();
        seen.sort();
        assert_eq!(seen, expected, "{selector}");
    }
    let unknown = plane.kubectl(&["get", "grants", "--field-selector", "spec.reason=x"]).await;
    assert!(unknown.stderr.contains("field label not supported"), "{unknown:?}");
    for grant in &grants {
        delete(&client, grant).await;
    }
}

#[tokio::test]
async fn scorecard() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let name = name("team");
    let status = json!({
        "people": 2501, "observedAt": "2026-11-23T08:00:00Z",
        "timeToAccess": {"p50": "1s", "p90": "3s", "count": 41}, "timeToFirstCommit": {"p50": "9m41s", "p90": "3h2m", "count": 38},
        "accessErrorRate": {"value": "0.02%", "errors": 3, "expected": 15006}, "manualTouchpoints": {"perPerson": "0.1", "total": 4},
        "consistency": {"value": "99.9%", "right": 999, "cells": 1000},
    });
    let object = stored(&client, "Scorecard", &name, json!({"team": "payments"}), Some(status)).await;
    let row = [
        ("NAME", name.as_str()),
        ("PEOPLE", "2501"),
        ("ACCESS-P50", "1s"),
        ("COMMIT-P50", "9m41s"),
        ("ERRORS", "0.02%"),
        ("TOUCHPOINTS", "0.1"),
        ("CONSISTENCY", "99.9%"),
        ("AGE", YOUNG),
        ("OBSERVED", "2026-11-23T08:00:00Z"),
    ];
    assert_printed(plane, "scorecard", &name, &row, 1).await;
    delete(&client, &object).await;
}

/// `kubectl get usher` shows what people write, `kubectl get usher-audit` the record, and neither the other.
#[tokio::test]
async fn categories_part_input_from_record() {
    let plane = bare().await;
    let client = plane.admin_client().await;
    let name = name("category");
    let objects = [
        stored(&client, "Developer", &name, json!({"email": "ada@example.com"}), None).await,
        stored(&client, "Role", &name, json!({}), None).await,
        stored(&client, "Binding", &name, json!({"role": "viewer", "developers": ["ada"]}), None).await,
        stored(&client, "Environment", &name, json!({}), None).await,
        stored(&client, "Provider", &name, provider_spec(), None).await,
        stored(&client, "Source", &name, source_spec(), None).await,
        stored(&client, "Lock", &name, json!({"developer": "ada", "reason": "x", "lifted": true}), None).await,
        stored(&client, "Grant", &name, grant_spec("ada", "viewer", "Active"), None).await,
        stored(&client, "Departure", &name, departure_spec("ada"), None).await,
        stored(&client, "Scorecard", &name, json!({}), None).await,
    ];
    let kinds = async |category: &str| {
        let text = plane.kubectl(&["get", category, "-o", "name"]).await.ok();
        let mut kinds: Vec<_> =
            text.lines().filter_map(|line| line.strip_suffix(&format!(".usher.dev/{name}")).map(str::to_owned)).collect();
        kinds.sort();
        kinds
    };
    assert_eq!(kinds("usher").await, ["binding", "developer", "environment", "lock", "provider", "role", "source"]);
    assert_eq!(kinds("usher-audit").await, ["departure", "grant", "scorecard"]);
    for object in &objects {
        delete(&client, object).await;
    }
}

/// Role and Binding share their names with built-in kinds, so the short ones are what people use.
#[tokio::test]
async fn short_names_are_ushers() {
    let plane = bare().await;
    let text = plane.kubectl(&["api-resources", "--api-group=usher.dev", "--no-headers"]).await.ok();
    let mut seen: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    seen.sort();
    let api = "usher.dev/v1alpha1";
    assert_eq!(
        seen,
        [
            ["bindings", "ubind", api, "false", "Binding"],
            ["departures", "departure", api, "false", "Departure"],
            ["developers", "dev", api, "false", "Developer"],
            ["environments", "uenv", api, "false", "Environment"],
            ["grants", "grant", api, "false", "Grant"],
            ["locks", "ulock", api, "false", "Lock"],
            ["providers", "uprov", api, "false", "Provider"],
            ["roles", "urole", api, "false", "Role"],
            ["scorecards", "scorecard", api, "false", "Scorecard"],
            ["sources", "usource", api, "false", "Source"],
        ]
    );
}
