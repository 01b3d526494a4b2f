//! Lists merge: two field managers own their own entries of each, under server-side apply.

use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::case::{Case, table};
use crate::support::client::{api_for, apply_as, delete, explain};
use crate::support::{bare, name};

/// The list, the first manager's entry, the second's, and the key of a list that is a map.
struct List {
    kind: &'static str,
    path: &'static str,
    key: Option<&'static str>,
    first: Value,
    second: Value,
}

fn lists() -> Vec<List> {
    let set = |kind, path| List { kind, path, key: None, first: json!("one"), second: json!("two") };
    let map = |kind, path, key, rest: Value| {
        let entry = |name: &str| {
            let mut entry = rest.clone();
            entry[key] = json!(name);
            entry
        };
        List { kind, path, key: Some(key), first: entry("one"), second: entry("two") }
    };
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPayloadPayloadPayload ada@laptop";
    vec![
        set("Developer", "teams"),
        map("Developer", "sshKeys", "name", json!({"key": key})),
        map("Developer", "workspaces", "environment", json!({"namespace": "ada"})),
        map("Developer", "accounts", "provider", json!({"username": "ada"})),
        set("Role", "includes"),
        map("Role", "access", "name", json!({"environments": ["dev"], "clusterRoles": ["view"]})),
        map("Role", "accounts", "provider", json!({"groups": ["x"]})),
        set("Binding", "developers"),
        set("Binding", "teams"),
        set("Binding", "environments"),
    ]
}

#[tokio::test]
async fn lists_merge_under_server_side_apply() {
    let client = bare().await.admin_client().await;
    let mut failures = Vec::new();
    for list in lists() {
        if let Err(problem) = merge(&client, &list).await {
            failures.push(format!("{} spec.{}: {problem}", list.kind, list.path));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Two managers add an entry each; then the first takes hers away, and the second's stays.
async fn merge(client: &Client, list: &List) -> Result<(), String> {
    let name = name("merge");
    let spec = |entries: Value| {
        // What each kind needs besides, which belongs to both.
        let mut spec = match list.kind {
            "Developer" => json!({"email": "ada@example.com"}),
            "Binding" => json!({"role": "viewer", "developers": ["zoe"]}),
            _ => json!({}),
        };
        match (spec[list.path].as_array_mut(), entries) {
            (Some(shared), Value::Array(entries)) => shared.extend(entries),
            (_, entries) => spec[list.path] = entries,
        }
        spec
    };
    let case = Case::bare(list.kind);
    let step = async |manager: &str, entries: Value| {
        let applied = apply_as(client, manager, case.object(&name, &spec(entries)))
            .await
            .map_err(|error| format!("{manager}: {}", explain(&error)))?;
        Ok::<_, String>(keys(&applied.data["spec"][list.path], list.key))
    };
    step("first", json!([list.first])).await?;
    let both = step("second", json!([list.second])).await?;
    let left = step("first", json!([])).await?;
    delete(client, &case.object(&name, &json!({}))).await;
    if !(both.contains(&"one".to_owned()) && both.contains(&"two".to_owned())) {
        return Err(format!("two managers' entries do not add up: {both:?}"));
    }
    if left.contains(&"one".to_owned()) || !left.contains(&"two".to_owned()) {
        return Err(format!("taking away one manager's entry leaves {left:?}"));
    }
    Ok(())
}

fn keys(entries: &Value, key: Option<&str>) -> Vec<String> {
    let name = |entry: &Value| key.map_or(entry, |key| &entry[key]).as_str().unwrap_or_default().to_owned();
    entries.as_array().into_iter().flatten().map(name).collect()
}

#[tokio::test]
async fn lists_within_an_access_entry_merge() {
    let client = bare().await.admin_client().await;
    let (case, name) = (Case::bare("Role"), name("nested"));
    let entry = |environment: &str, role: &str, namespace: &str| {
        case.object(&name, &json!({"access": [{"name": "work", "environments": [environment], "clusterRoles": [role], "namespaces": {"names": [namespace]}}]}))
    };
    let sets = |object: &kube::api::DynamicObject| {
        let access = &object.data["spec"]["access"][0];
        [&access["environments"], &access["clusterRoles"], &access["namespaces"]["names"]].map(|set| keys(set, None))
    };
    apply_as(&client, "first", entry("dev", "view", "a")).await.unwrap();
    let both = apply_as(&client, "second", entry("staging", "edit", "b")).await.unwrap();
    assert_eq!(sets(&both), [["dev", "staging"], ["view", "edit"], ["a", "b"]]);
    let left = apply_as(&client, "first", case.object(&name, &json!({"access": []}))).await.unwrap();
    assert_eq!(sets(&left), [["staging"], ["edit"], ["b"]]);
    delete(&client, &left).await;
}

/// A change of one entry by the one who does not own it is a conflict, not a silent take-over.
#[tokio::test]
async fn somebody_elses_entry_is_a_conflict() {
    let client = bare().await.admin_client().await;
    let case = Case::bare("Role");
    let name = name("conflict");
    let spec = |role: &str| json!({"access": [{"name": "work", "environments": ["dev"], "namespaces": {"names": ["a"]}, "clusterRoles": ["view"], "cluster": false, "rules": [{"apiGroups": [""], "resources": [role], "verbs": ["get"]}]}]});
    let stored = apply_as(&client, "first", case.object(&name, &spec("pods"))).await.unwrap();
    let error = apply_as(&client, "second", case.object(&name, &spec("secrets"))).await.unwrap_err();
    assert!(explain(&error).contains(r#"conflict with "first""#), "{error}");
    let kept = api_for(&client, &stored).await.unwrap().get(&stored.name_any()).await.unwrap();
    assert_eq!(kept.data["spec"], stored.data["spec"]);
    delete(&client, &stored).await;
}

/// What the table of good objects has can be stored and read back by the types of `usher::api`: a field that only the schema knows would be lost.
#[tokio::test]
async fn accepted_objects_survive_the_types() {
    for case in table(include_str!("accepted.yaml")) {
        let written = case.object("x", &case.spec);
        let spec = usher_spec(&case.kind, &without_nulls(&written.data["spec"])).unwrap_or_else(|error| panic!("{}: {error}", case.what));
        let lost = lost(&case.spec, &spec, "spec");
        assert!(lost.is_empty(), "{}: {lost:?}", case.what);
    }
}

/// What the API server makes of nulls.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().filter(|(_, field)| !field.is_null()).map(|(name, field)| (name.clone(), without_nulls(field))).collect()
        }
        Value::Array(entries) => entries.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

fn usher_spec(kind: &str, spec: &Value) -> Result<Value, serde_json::Error> {
    fn through<T: serde::de::DeserializeOwned + serde::Serialize>(spec: &Value) -> Result<Value, serde_json::Error> {
        serde_json::to_value(serde_json::from_value::<T>(spec.clone())?)
    }
    match kind {
        "Developer" => through::<usher::api::DeveloperSpec>(spec),
        "Role" => through::<usher::api::RoleSpec>(spec),
        "Binding" => through::<usher::api::BindingSpec>(spec),
        "Environment" => through::<usher::api::EnvironmentSpec>(spec),
        "Source" => through::<usher::api::SourceSpec>(spec),
        "Grant" => through::<usher::api::GrantSpec>(spec),
        other => panic!("no such kind: {other}"),
    }
}

/// The paths that were written and are not in what was read. Empty lists and `false` may be left out where they are defaults.
fn lost(written: &Value, read: &Value, path: &str) -> Vec<String> {
    match (written, read) {
        (Value::Object(fields), _) => {
            fields.iter().flat_map(|(name, value)| lost(value, &read[name.as_str()], &format!("{path}.{name}"))).collect()
        }
        (Value::Array(entries), Value::Array(others)) if entries.len() == others.len() => {
            entries.iter().zip(others).enumerate().flat_map(|(at, (one, other))| lost(one, other, &format!("{path}[{at}]"))).collect()
        }
        (Value::Array(entries), Value::Null) if entries.is_empty() => Vec::new(),
        // Times may be written differently.
        (Value::Null, _) | (Value::Bool(false), Value::Null) | (Value::String(_), Value::String(_)) => Vec::new(),
        (one, other) if one == other => Vec::new(),
        _ => vec![path.to_owned()],
    }
}
