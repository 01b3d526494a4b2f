//! The record: when a holding began, where and by which Bindings, and why it ended.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::{Value, json};
use usher::api::grant::{EndCause, GrantInterval};
use usher::api::{GrantSpec, GrantState};

use crate::support::client::{self, kind};
use crate::support::people::{self, Stage, declare, edit, grants, reaches, remove};
use crate::support::{Shared, name, operated, throughout, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// A person who holds a Role by a Binding, and the Grant of it.
struct Held {
    shared: Shared,
    stage: Stage,
    person: String,
    role: String,
    binding: String,
}

impl Held {
    async fn new() -> Self {
        let shared = operated().await;
        let stage = Stage::new(&shared.client).await;
        let person = name("ada");
        let role = stage.role("view").await;
        let binding = stage.binding(&role, &person).await;
        stage.person(&person, json!({})).await;
        let held = Self { shared, stage, person, role, binding };
        held.shows("one Grant that runs", |grants| grants.len() == 1 && grants[0].state == GrantState::Active).await;
        held
    }

    async fn shows(&self, what: &str, fits: impl Fn(&[GrantSpec]) -> bool) -> Vec<GrantSpec> {
        wait_until(what, SOON, async || {
            let seen = grants(&self.stage.client, &self.person).await;
            at_most_one_runs(&seen);
            if fits(&seen) { Ok(seen) } else { Err(format!("{seen:#?}")) }
        })
        .await
    }

    /// Waits until what begins now begins in a later second than the Grant: the record counts in seconds.
    async fn is_older_than_now(&self) {
        let since = grants(&self.stage.client, &self.person).await[0].since.0;
        wait_until("a later second", SOON, async || if Timestamp::now().as_second() > since.as_second() { Ok(()) } else { Err("not yet") })
            .await;
    }

    /// Waits for the end of the only Grant, and gives it; nothing is said of it any more afterwards.
    async fn ended(&self) -> GrantSpec {
        let mut seen = self.shows("the Grant has ended", |grants| grants.iter().all(|grant| grant.state == GrantState::Ended)).await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        let first = seen.remove(0);
        throughout("ended is set once", Duration::from_secs(1), async || {
            let now = grants(&self.stage.client, &self.person).await;
            if now == [first.clone()] { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await;
        first
    }
}

/// Never two at once of one Role for one person.
fn at_most_one_runs(grants: &[GrantSpec]) {
    let mut running: Vec<_> = grants.iter().filter(|grant| grant.state == GrantState::Active).map(|grant| &grant.role).collect();
    running.sort();
    let count = running.len();
    running.dedup();
    assert_eq!(running.len(), count, "{grants:#?}");
}

fn open(intervals: &[GrantInterval]) -> Vec<&str> {
    intervals.iter().filter(|interval| interval.until.is_none()).map(|interval| interval.name.as_str()).collect()
}

fn assert_end(grant: &GrantSpec, cause: EndCause, by: &str) {
    let end = grant.ended.as_ref().unwrap();
    assert_eq!((end.cause, end.by.as_str()), (cause, by));
    assert!(grant.since.0 <= end.at.0 && end.at.0 <= Timestamp::now(), "{grant:?}");
    assert!(open(&grant.targets).is_empty() && open(&grant.via).is_empty(), "what ended does not go on: {grant:?}");
}

#[tokio::test]
async fn a_grant_says_who_what_where_by_what_and_why() {
    let held = Held::new().await;
    let client = &held.stage.client;
    let developer = client::ready(client, &held.person).await;
    let role = kind(client, "Role").await.get(&held.role).await.unwrap();
    let [grant] = grants(client, &held.person).await.try_into().unwrap();
    assert_eq!((grant.developer.name.as_str(), Some(grant.developer.uid.clone())), (held.person.as_str(), developer.uid()));
    assert_eq!((grant.role.as_str(), Some(grant.role_revision)), (held.role.as_str(), role.metadata.generation));
    assert_eq!(open(&grant.targets), [format!("environment/{}", held.stage.environment)]);
    assert_eq!(open(&grant.via), [held.binding.as_str()]);
    assert_eq!((grant.granted_by.as_str(), grant.until, grant.ended), ("usher-local-admin", None, None));

    let selector = format!("spec.developer.name={}", held.person);
    let table = held.shared.all.plane.kubectl(&["get", "grants", "--field-selector", &selector]).await.ok();
    let cells: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0], ["NAME", "DEVELOPER", "ROLE", "TARGETS", "STATE", "SINCE", "UNTIL", "GRANTED-BY"]);
    assert_eq!(cells[1][1..5], [held.person.as_str(), &held.role, &held.stage.environment, "Active"]);
    let labels = format!("usher.dev/developer={},usher.dev/role={},usher.dev/state=Active", held.person, held.role);
    let named = held.shared.all.plane.kubectl(&["get", "grants", "-l", &labels, "-o", "name"]).await.ok();
    assert_eq!(named.lines().count(), 1, "{named}");
}

#[tokio::test]
async fn targets_and_reasons_only_gain_entries_or_an_end() {
    let held = Held::new().await;
    let client = &held.stage.client;
    let environment = format!("environment/{}", held.stage.environment);
    let second = held.stage.binding(&held.role, &held.person).await;
    held.shows("two reasons", |grants| open(&grants[0].via).len() == 2).await;
    let other = Stage::new(client).await;
    let entry = json!({"name": "work", "environments": [held.stage.environment, other.environment], "clusterRoles": ["view"]});
    edit(client, "Role", &held.role, json!({"access": [entry]})).await;
    held.shows("two targets", |grants| open(&grants[0].targets).len() == 2).await;

    remove(client, "Binding", &held.binding).await;
    held.shows("one reason", |grants| open(&grants[0].via) == [second.as_str()]).await;
    let entry = json!({"name": "work", "environments": [held.stage.environment], "clusterRoles": ["view"]});
    edit(client, "Role", &held.role, json!({"access": [entry]})).await;
    let [grant] = held.shows("one target", |grants| open(&grants[0].targets) == [environment.as_str()]).await.try_into().unwrap();
    assert_eq!((grant.via.len(), grant.targets.len(), grant.state), (2, 2, GrantState::Active), "what was is still there: {grant:?}");
    assert_eq!(grant.role_revision, 1, "the revision at its start");
}

#[tokio::test]
async fn a_deleted_binding_ends_the_grant() {
    let held = Held::new().await;
    remove(&held.stage.client, "Binding", &held.binding).await;
    assert_end(&held.ended().await, EndCause::BindingDeleted, "unknown (deleted)");
}

#[tokio::test]
async fn an_edited_binding_ends_the_grant() {
    let held = Held::new().await;
    edit(&held.stage.client, "Binding", &held.binding, json!({"developers": ["somebody-else"]})).await;
    assert_end(&held.ended().await, EndCause::BindingEdited, "usher-local-admin");
}

#[tokio::test]
async fn an_edited_role_of_a_binding_ends_the_grant_and_begins_another() {
    let held = Held::new().await;
    let other = held.stage.role("edit").await;
    held.is_older_than_now().await;
    edit(&held.stage.client, "Binding", &held.binding, json!({"role": other})).await;
    let seen = held
        .shows("the old one ended and the new one runs", |grants| {
            let state = |role: &str| grants.iter().find(|grant| grant.role == role).map(|grant| grant.state);
            state(&held.role) == Some(GrantState::Ended) && state(&other) == Some(GrantState::Active)
        })
        .await;
    assert_end(seen.iter().find(|grant| grant.role == held.role).unwrap(), EndCause::BindingEdited, "usher-local-admin");
}

#[tokio::test]
async fn an_expired_binding_ends_the_grant() {
    let held = Held::new().await;
    let end = Timestamp::from_second(Timestamp::now().as_second() + 3).unwrap();
    edit(&held.stage.client, "Binding", &held.binding, json!({"expiresAt": end.to_string()})).await;
    held.shows("the end is announced", |grants| grants[0].until.as_ref().is_some_and(|until| until.0 == end)).await;
    let grant = held.ended().await;
    assert_end(&grant, EndCause::BindingExpired, "nobody (expired)");
    let late = grant.ended.unwrap().at.0.duration_since(end);
    assert!(!late.is_negative() && late < SignedDuration::from_secs(15), "{late}");
}

#[tokio::test]
async fn a_deleted_role_ends_the_grant() {
    let held = Held::new().await;
    remove(&held.stage.client, "Role", &held.role).await;
    assert_end(&held.ended().await, EndCause::RoleDeleted, "unknown (deleted)");
}

#[tokio::test]
async fn a_role_that_gives_nothing_any_more_ends_the_grant() {
    let held = Held::new().await;
    edit(&held.stage.client, "Role", &held.role, json!({"access": []})).await;
    assert_end(&held.ended().await, EndCause::RoleEdited, "usher-local-admin");
}

#[tokio::test]
async fn a_role_that_is_not_included_any_more_ends_its_grant() {
    let held = Held::new().await;
    let client = &held.stage.client;
    let outer = held.stage.role("edit").await;
    edit(client, "Role", &outer, json!({"includes": [held.role]})).await;
    let binding = held.stage.binding(&outer, &held.person).await;
    held.shows("both run", |grants| grants.iter().filter(|grant| open(&grant.via).contains(&binding.as_str())).count() == 2).await;
    remove(client, "Binding", &held.binding).await;
    held.shows("by the outer one alone", |grants| grants.iter().all(|grant| open(&grant.via) == [binding.as_str()])).await;
    edit(client, "Role", &outer, json!({"includes": []})).await;
    let ended = |grants: &[GrantSpec]| grants.iter().find(|grant| grant.role == held.role && grant.state == GrantState::Ended).cloned();
    let seen = held.shows("the inner one ended", |grants| ended(grants).is_some()).await;
    assert_end(&ended(&seen).unwrap(), EndCause::RoleEdited, "usher-local-admin");
}

#[tokio::test]
async fn suspension_departure_and_deletion_end_the_grant() {
    for (state, cause) in [("Suspended", EndCause::DeveloperSuspended), ("Departed", EndCause::DeveloperDeparted)] {
        let held = Held::new().await;
        edit(&held.stage.client, "Developer", &held.person, json!({"state": state})).await;
        assert_end(&held.ended().await, cause, "usher-local-admin");
    }
    let held = Held::new().await;
    remove(&held.stage.client, "Developer", &held.person).await;
    assert_end(&held.ended().await, EndCause::DeveloperDeleted, "unknown (deleted)");
}

/// Two Bindings at once, many times: the record never shows two holdings at once, and the access has no gap.
#[tokio::test]
async fn a_second_reason_never_makes_a_second_grant() {
    let held = Held::new().await;
    let client = &held.stage.client;
    let mut last = held.binding.clone();
    for _ in 0..5 {
        let next = held.stage.binding(&held.role, &held.person).await;
        held.shows("the next reason", |grants| grants.iter().any(|grant| open(&grant.via).contains(&next.as_str()))).await;
        remove(client, "Binding", &last).await;
        last = next;
    }
    let [grant] = held.shows("only the last reason", |grants| open(&grants[0].via) == [last.as_str()]).await.try_into().unwrap();
    assert_eq!((grant.via.len(), grant.state), (6, GrantState::Active));
}

#[tokio::test]
async fn usher_grant_makes_a_binding_that_expires_and_the_record_has_its_reason() {
    let held = Held::new().await;
    let client = &held.stage.client;
    let role = held.stage.role("edit").await;
    let plane = &held.shared.all.plane;
    let said = plane.usher(&["grant", &role, &held.person, "--for", "3s", "--reason", "On call for payments"]).await.ok();
    let binding =
        said.split_whitespace().next().and_then(|word| word.strip_prefix("ubind/")).unwrap_or_else(|| panic!("{said}")).to_owned();
    assert!(said.contains(&format!("urole/{role}")) && said.contains(&format!("dev/{}", held.person)), "{said}");
    let made = kind(client, "Binding").await.get(&binding).await.unwrap();
    assert_eq!(made.data["spec"]["developers"], json!([held.person]));
    let of_role = |grants: &[GrantSpec]| grants.iter().find(|grant| grant.role == role).cloned();
    let seen = held.shows("it is granted", |grants| of_role(grants).is_some()).await;
    let grant = of_role(&seen).unwrap();
    assert_eq!((grant.reason.as_deref(), open(&grant.via)), (Some("On call for payments"), vec![binding.as_str()]));
    let seen = held.shows("it is over", |grants| of_role(grants).is_some_and(|grant| grant.state == GrantState::Ended)).await;
    assert_end(&of_role(&seen).unwrap(), EndCause::BindingExpired, "nobody (expired)");
    reaches(client, "Binding", &binding, "/status/state", "Expired").await;

    for (arguments, words) in [
        (["grant", "no-such-role", &held.person, "--for", "1h", "--reason", "x"], "urole/no-such-role does not exist"),
        (["grant", &role, "nobody-at-all", "--for", "1h", "--reason", "x"], "dev/nobody-at-all does not exist"),
        (["grant", &role, &held.person, "--for", "soon", "--reason", "x"], "is not a length of time"),
    ] {
        let refused = plane.usher(&arguments).await;
        assert!(!refused.success && refused.stderr.contains(words), "{refused:?}");
    }
}

#[tokio::test]
async fn an_expired_binding_is_deleted_when_it_says_so() {
    let held = Held::new().await;
    let client = &held.stage.client;
    let expires = Timestamp::from_second(Timestamp::now().as_second() + 2).unwrap();
    let binding = name("short");
    let spec = json!({"role": held.role, "developers": [held.person], "expiresAt": expires.to_string(), "deleteAfterExpiry": "2s"});
    declare(client, "Binding", &binding, spec).await;
    reaches(client, "Binding", &binding, "/status/state", "Expired").await;
    let api = kind(client, "Binding").await;
    wait_until("it is deleted", SOON, async || match api.get_opt(&binding).await.unwrap() {
        None => Ok(()),
        Some(there) => Err(there.data["status"].to_string()),
    })
    .await;
    assert!(Timestamp::now() >= expires + SignedDuration::from_secs(2), "not before its time");
    let kept = api.get(&held.binding).await.unwrap();
    assert_eq!(kept.data["status"]["state"], Value::from("Active"));
    assert!(people::namespace(client, &held.stage.shared).await.is_some());
}
