//! The Argo CD health checks of docs/gitops.md, run by the Lua that Argo CD has (5.1) against statuses that usher's own code makes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mlua::{Lua, LuaOptions, StdLib, Table};
use serde_json::{Value, json};
use usher::api::{ConditionType, Reason};
use usher::plan::finding::Finding;
use usher::plan::source::status::SOURCE_CONDITIONS;
use usher::plan::status::{DEVELOPER_CONDITIONS, ENVIRONMENT_CONDITIONS, ROLE_CONDITIONS, conditions};

use super::{blocks, read};

const KINDS: [(&str, &[ConditionType]); 5] = [
    ("Developer", &DEVELOPER_CONDITIONS),
    ("Role", &ROLE_CONDITIONS),
    ("Binding", &ROLE_CONDITIONS),
    ("Environment", &ENVIRONMENT_CONDITIONS),
    ("Source", &SOURCE_CONDITIONS),
];

/// The health checks by kind, as the page has them: entries of the ConfigMap argocd-cm.
fn checks() -> BTreeMap<String, String> {
    let page = read("docs/gitops.md");
    let maps = blocks(&page, "yaml").into_iter().filter_map(|block| serde_saphyr::from_str::<Value>(&block).ok());
    let map = maps.into_iter().find(|map| map["metadata"]["name"] == "argocd-cm").expect("a ConfigMap argocd-cm on the page");
    let data = map["data"].as_object().expect("data").clone();
    let prefix = "resource.customizations.health.usher.dev_";
    data.into_iter().filter_map(|(key, script)| Some((key.strip_prefix(prefix)?.to_owned(), script.as_str()?.to_owned()))).collect()
}

/// An object of a kind in generation 2, whose status was written for `observed`.
fn object(kind: &str, types: &[ConditionType], findings: &[Finding], ready: Reason, observed: i64) -> Value {
    let now: Timestamp = "2026-11-23T08:00:00Z".parse().expect("a time");
    let conditions = conditions(types, findings, (ready, ""), Some(observed), (&[], now));
    json!({
        "apiVersion": "usher.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "x", "generation": 2},
        "spec": {},
        "status": {"observedGeneration": observed, "conditions": conditions},
    })
}

/// What Argo CD would show: the status and the message.
fn health(script: &str, object: &Value) -> (String, String) {
    // Argo CD opens no library but this one to health checks.
    let lua = Lua::new_with(StdLib::TABLE, LuaOptions::default()).expect("Lua");
    lua.globals().set("obj", to_lua(&lua, object)).expect("a global");
    let answer: Table = lua.load(script).eval().unwrap_or_else(|error| panic!("{error}\n{script}"));
    (answer.get("status").expect("a status"), answer.get::<Option<String>>("message").expect("a text").unwrap_or_default())
}

fn to_lua(lua: &Lua, value: &Value) -> mlua::Value {
    let set = |table: &Table, key: mlua::Value, value: &Value| table.set(key, to_lua(lua, value)).expect("a table");
    match value {
        Value::Null => mlua::Value::Nil,
        Value::Bool(truth) => mlua::Value::Boolean(*truth),
        Value::Number(number) => mlua::Value::Number(number.as_f64().expect("a number")),
        Value::String(text) => mlua::Value::String(lua.create_string(text).expect("a string")),
        Value::Array(items) => {
            let table = lua.create_table().expect("a table");
            for (place, item) in (1..).zip(items) {
                set(&table, mlua::Value::Integer(place), item);
            }
            mlua::Value::Table(table)
        }
        Value::Object(fields) => {
            let table = lua.create_table().expect("a table");
            for (name, field) in fields {
                set(&table, to_lua(lua, &json!(name)), field);
            }
            mlua::Value::Table(table)
        }
    }
}

fn every_kind(check: impl Fn(&str, &str, &[ConditionType])) {
    let checks = checks();
    for (kind, types) in KINDS {
        check(kind, checks.get(kind).unwrap_or_else(|| panic!("docs/gitops.md has no health check for {kind}")), types);
    }
    assert_eq!(checks.len(), KINDS.len(), "a health check for each kind that people write, and no more");
}

#[test]
fn what_is_ready_is_healthy() {
    every_kind(|kind, script, types| {
        let (status, _) = health(script, &object(kind, types, &[], Reason::AsPlanned, 2));
        assert_eq!(status, "Healthy", "{kind}");
    });
}

#[test]
fn what_is_not_judged_yet_is_progressing() {
    every_kind(|kind, script, types| {
        let bare = json!({"kind": kind, "metadata": {"name": "x", "generation": 1}, "spec": {}});
        assert_eq!(health(script, &bare).0, "Progressing", "{kind} without a status");
        let old = object(kind, types, &[], Reason::AsPlanned, 1);
        assert_eq!(health(script, &old).0, "Progressing", "{kind} whose status is of an older spec");
        let last = *types.last().expect("conditions");
        let work = Finding::new(last, Reason::Progressing, "being applied");
        let (status, message) = health(script, &object(kind, types, &[work], Reason::AsPlanned, 2));
        assert_eq!((status.as_str(), message.as_str()), ("Progressing", "being applied"), "{kind}");
    });
}

#[test]
fn what_waiting_cannot_mend_is_degraded_and_says_why() {
    every_kind(|kind, script, types| {
        let stuck = Finding::new(ConditionType::Accepted, Reason::Conflict, "somebody else has that name");
        let (status, message) = health(script, &object(kind, types, &[stuck], Reason::AsPlanned, 2));
        assert_eq!((status.as_str(), message.as_str()), ("Degraded", "somebody else has that name"), "{kind}");
    });
}

#[test]
fn somebody_who_has_left_or_is_suspended_as_asked_is_not_degraded() {
    let script = &checks()["Developer"];
    for (reason, expected) in [(Reason::Departed, "Healthy"), (Reason::Pending, "Healthy"), (Reason::Suspended, "Suspended")] {
        assert_eq!(health(script, &object("Developer", &DEVELOPER_CONDITIONS, &[], reason, 2)).0, expected, "{reason:?}");
    }
}

#[test]
fn an_observed_environment_is_suspended() {
    let script = &checks()["Environment"];
    let observed = object("Environment", &ENVIRONMENT_CONDITIONS, &[], Reason::Observing, 2);
    assert_eq!(health(script, &observed).0, "Suspended");
}
