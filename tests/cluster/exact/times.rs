//! Access begins and ends by itself, to the second.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Stage, VIEW};
use crate::support::access::can;
use crate::support::wait_until;

const DEV: &[&str] = &["dev-pay", "dev-web"];
/// How late usher may be on a machine that does much else at once. It is never early; how fast it is, `make bench` says.
const LATE: SignedDuration = SignedDuration::from_secs(15);

async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.role("viewer", json!([stage.entry(&["dev"], json!({"clusterRoles": ["view"]}))])).await;
    stage
}

/// A whole second, this far from now.
fn from_now(seconds: i64) -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second() + seconds).expect("in range")
}

/// Asks all the time until somebody's access changes, which is not before `moment` and at most [`LATE`] after it.
async fn changes_at(stage: &Stage, person: &str, moment: Timestamp, to: bool) {
    let (subject, place) = (stage.subject(person).await, stage.name("dev-pay"));
    let what = format!("{person} at {moment}: {to}");
    let (asked, seen) = wait_until(&what, Duration::from_secs(40), async || {
        let asked = Timestamp::now();
        if can(&stage.client, &subject, "get", "pods", Some(&place)).await == to { Ok((asked, Timestamp::now())) } else { Err("no") }
    })
    .await;
    assert!(seen >= moment, "{what}: {} early", moment.duration_since(seen));
    assert!(asked.duration_since(moment) <= LATE, "{what}: {} late", asked.duration_since(moment));
}

#[tokio::test]
async fn a_binding_gives_from_its_start_to_its_expiry() {
    let mut stage = stage().await;
    // Late enough for a busy machine to have written all of it before.
    let (start, end) = (from_now(20), from_now(35));
    stage.bind("timed", "viewer", &["ada"], json!({"startsAt": start.to_string(), "expiresAt": end.to_string()})).await;
    let api = stage.api("Binding").await;
    let state = async |wanted: &str| {
        wait_until(&format!("it is {wanted}"), Duration::from_secs(20), async || {
            let seen = api.get(&stage.name("timed")).await.unwrap().data["status"]["state"].clone();
            if seen == wanted { Ok(()) } else { Err(seen) }
        })
        .await;
    };
    state("Scheduled").await;
    changes_at(&stage, "ada", start, true).await;
    state("Active").await;
    changes_at(&stage, "ada", end, false).await;
    state("Expired").await;
    let ready = stage.says("Binding", "timed", "Ready", ("True", "AsPlanned")).await;
    assert_eq!(ready, "");
    let none = stage.cells(&[], &[], &[]);
    stage.step("and nothing else", none, async |_| {}).await;
}

#[tokio::test]
async fn a_developer_holds_from_her_start_to_her_end() {
    let mut stage = stage().await;
    // Late enough for a busy machine to have written all of it before.
    let (start, end) = (from_now(20), from_now(35));
    let bob = stage.cells(&["bob"], DEV, VIEW);
    stage
        .step("bob alone", bob.clone(), async |stage| {
            stage.developer("ada", json!({"startsAt": start.to_string(), "endsAt": end.to_string()})).await;
            stage.says("Developer", "ada", "Ready", ("True", "Pending")).await;
            stage.bind("all", "viewer", &["ada", "bob"], json!({})).await;
        })
        .await;
    changes_at(&stage, "ada", start, true).await;
    changes_at(&stage, "ada", end, false).await;
    stage.says("Developer", "ada", "Ready", ("True", "Departed")).await;
    stage.stands(bob).await;
    // A later end on the same object brings her back: somebody says so.
    let both = stage.cells(&["ada", "bob"], DEV, VIEW);
    let later = from_now(3_600).to_string();
    stage.step("a later end", both, async |stage| stage.developer("ada", json!({"endsAt": later})).await).await;
}

/// An edit of a time counts as soon as it is made, in both directions.
#[tokio::test]
async fn an_edited_expiry_counts_at_once() {
    let mut stage = stage().await;
    let ada = stage.cells(&["ada"], DEV, VIEW);
    let none = stage.cells(&[], &[], &[]);
    let expires = async |stage: &Stage, at: Timestamp| {
        let start = from_now(-7_200).to_string();
        stage.bind("timed", "viewer", &["ada"], json!({"startsAt": start, "expiresAt": at.to_string()})).await;
    };
    stage.step("later", ada.clone(), async |stage| expires(stage, from_now(3_600)).await).await;
    stage.step("past", none, async |stage| expires(stage, from_now(-1)).await).await;
    stage.step("later again", ada, async |stage| expires(stage, from_now(600)).await).await;
    let soon = from_now(3);
    expires(&stage, soon).await;
    changes_at(&stage, "ada", soon, false).await;
}

/// Two Bindings of one Role: the one that lasts keeps it, without a gap when the other expires.
#[tokio::test]
async fn the_binding_that_lasts_keeps_what_the_other_gave_too() {
    let mut stage = stage().await;
    let ada = stage.cells(&["ada"], DEV, VIEW);
    let end = from_now(3);
    stage
        .step("bound", ada.clone(), async |stage| {
            stage.bind("short", "viewer", &["ada"], json!({"expiresAt": end.to_string()})).await;
            stage.bind("long", "viewer", &["ada"], json!({})).await;
        })
        .await;
    let expired = async |stage: &Stage| {
        let api = stage.api("Binding").await;
        wait_until("the short one is expired", Duration::from_secs(40), async || {
            let state = api.get(&stage.name("short")).await.unwrap().data["status"]["state"].clone();
            if state == "Expired" { Ok(()) } else { Err(state) }
        })
        .await;
    };
    stage.step("one expires", ada, expired).await;
}
