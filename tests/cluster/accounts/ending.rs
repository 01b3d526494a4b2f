//! What ends by itself ends outside, too: nobody edits anything (DESIGN.md, "Exactly who gets what").

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::metrics::becomes;
use crate::support::client::ready;
use crate::support::people::{declare, developer, edit};
use crate::support::{name, operated, wait_until};

use super::proxy::Asked;
use super::{SOON, Service, bind, outside, receipt, tells};

/// How late usher may be on a machine that does much else at once. It is never early.
const LATE: SignedDuration = SignedDuration::from_secs(30);
/// So many accounts are worked on at once.
const AT_ONCE: usize = 4;
/// So many newcomers wait behind those.
const WAITING: u8 = 8;

/// A whole second, this far from now.
fn from_now(seconds: i64) -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second() + seconds).expect("in range")
}

/// Waits until somebody's account stands so, which it does at a moment, and not before.
async fn stands_at(service: &Service, moment: Timestamp, person: &str, active: bool, groups: &[&str]) {
    service.shows(person, active, groups).await;
    let late = Timestamp::now().duration_since(moment);
    assert!(late >= SignedDuration::ZERO && late <= LATE, "{person} is active: {active}, in {groups:?}: {late} late");
}

/// The system is looked at only once, so that it is nothing but the end itself that ends it.
#[tokio::test]
async fn what_was_given_until_a_moment_is_taken_outside_at_that_moment() {
    let shared = operated().await;
    let client = &shared.client;
    let service = Service::new(client, json!({"verifyEvery": "24h"})).await;
    let (lasting, short) = (outside(client, &[&service]).await, name("role"));
    declare(client, "Role", &short, json!({"accounts": [{"provider": service.provider, "groups": ["releases"]}]})).await;
    let [both, only, ends, begins] = ["ada", "bob", "cyd", "dan"].map(name);
    bind(client, &lasting, &[&both, &ends]).await;
    let binding = bind(client, &short, &[&both, &only]).await;
    for person in [&both, &only, &ends, &begins] {
        developer(client, person, json!({})).await;
    }
    service.shows(&both, true, &["developers", "releases"]).await;
    service.shows(&only, true, &["releases"]).await;
    for person in [&both, &only, &ends] {
        tells(client, person, &service.provider, "Active").await;
        ready(client, person).await;
    }

    let moment = from_now(5);
    edit(client, "Binding", &binding, json!({"expiresAt": moment})).await;
    edit(client, "Developer", &ends, json!({"endsAt": moment})).await;
    declare(client, "Binding", &name("bind"), json!({"role": lasting, "developers": [begins], "startsAt": moment})).await;
    tokio::join!(
        stands_at(&service, moment, &both, true, &["developers"]),
        stands_at(&service, moment, &only, false, &[]),
        stands_at(&service, moment, &ends, false, &[]),
        stands_at(&service, moment, &begins, true, &["developers"]),
    );
    tells(client, &only, &service.provider, "Disabled").await;
    receipt(client, &ends, &service.provider, "Disabled").await;
    for person in [&both, &only, &begins] {
        ready(client, person).await;
    }
}

/// What makes an account, and whose.
fn makes(asked: &Asked) -> Option<String> {
    let makes = asked.changes() && asked.path.ends_with("/Users");
    makes.then(|| asked.json()["userName"].as_str().unwrap_or_default().to_owned())
}

/// A system that takes its time over newcomers, of whom many wait: a Binding ends and somebody leaves meanwhile, and they are next.
#[tokio::test]
async fn what_ends_by_itself_waits_for_who_leaves_and_for_nobody_who_comes() {
    let shared = operated().await;
    let client = &shared.client;
    let (service, proxy) = Service::behind_proxy(client, json!({"verifyEvery": "24h"})).await;
    let role = outside(client, &[&service]).await;
    let (ends, leaves) = (name("ada"), name("bob"));
    let binding = bind(client, &role, &[&ends]).await;
    bind(client, &role, &[&leaves]).await;
    let mut ids = Vec::new();
    for person in [&leaves, &ends] {
        developer(client, person, json!({})).await;
        ids.push(tells(client, person, &service.provider, "Active").await["id"].as_str().expect("an id").to_owned());
        ready(client, person).await;
    }

    let coming: Vec<String> = (0..AT_ONCE + usize::from(WAITING)).map(|_| name("eve")).collect();
    bind(client, &role, &coming.iter().map(String::as_str).collect::<Vec<_>>()).await;
    proxy.forget();
    proxy.hold(|asked| makes(asked).is_some());
    for person in &coming {
        developer(client, person, json!({})).await;
    }
    let held = wait_until("as many are made as may be at once", SOON, async || {
        let held: Vec<String> = proxy.asked().iter().filter_map(makes).collect();
        if held.len() == AT_ONCE { Ok(held) } else { Err(format!("{held:?}")) }
    })
    .await;
    let provider = format!("provider=\"{}\"", service.provider);
    let waits = async |lane: &str, many: u8| {
        let labels = [provider.as_str(), &format!("lane=\"{lane}\"")];
        becomes(&shared, "usher_account_queue_length", &labels, |waiting| waiting >= f64::from(many)).await;
    };
    waits("new", WAITING).await;
    edit(client, "Binding", &binding, json!({"expiresAt": from_now(2)})).await;
    waits("expiry", 1).await;
    edit(client, "Developer", &leaves, json!({"state": "Departed"})).await;
    waits("departure", 1).await;

    proxy.forget();
    // One place gets free, and whoever comes after them has it for long.
    let first = held[0].clone();
    proxy.hold(move |asked| makes(asked).is_some_and(|who| who != first));
    service.shows(&leaves, false, &[]).await;
    service.shows(&ends, false, &[]).await;
    let asked = proxy.asked();
    let began = |id: &String| asked.iter().position(|asked| asked.path.contains(id.as_str())).expect("it was looked at");
    let [left, ended] = [began(&ids[0]), began(&ids[1])];
    let came = asked.iter().take(ended).filter_map(makes).count();
    assert!(left < ended && came == 0, "{left} {ended} {came}: {:?}", proxy.counts());
    proxy.let_go();
    for person in &coming {
        tells(client, person, &service.provider, "Active").await;
    }
}
