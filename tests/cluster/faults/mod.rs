//! What usher stands on fails: the API server, etcd, the network, the history that watches go on from. Afterwards access is exact, nothing is missing or left
//! over, nothing was done twice, and never did two replicas write at once: what was written and when is read from the audit log.

mod api_server;
mod compaction;
mod etcd;
mod memory;
mod network;
mod token;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::accounts::proxy::TcpProxy;
use crate::support::access::Matrix;
use crate::support::audit::{Audit, Event, lines, made_twice};
use crate::support::client::{explain, kind};
use crate::support::fleet::{Fleet, Member, developer, list, put};
use crate::support::install::Install;
use crate::support::{ControlPlane, throughout, wait_until};

/// Long enough for anything that a busy machine does after a fault.
const SOON: Duration = Duration::from_mins(2);
/// So long nothing is written before a cluster counts as settled.
const CALM: Duration = Duration::from_secs(4);
/// How many people are declared at once.
const AT_ONCE: usize = 8;
/// How many of many people are asked about.
const ASKED: usize = 12;
/// How long a Lease holds by default: nobody writes so long after the last renewal, and nobody else earlier (DESIGN.md, "Numbers").
const LEASE: SignedDuration = SignedDuration::from_secs(10);
/// The last answers of an API server that is killed may not have been heard.
const UNHEARD: SignedDuration = SignedDuration::from_secs(1);

/// The chart with these values more, and a proxy to the API server. People are told of one address, whichever way a replica takes.
async fn proxied(plane: &ControlPlane, values: &[&str]) -> (Install, TcpProxy) {
    let server = plane.variable("APISERVER_URL");
    let address = format!("cluster.server={server}");
    let install = Install::new(plane, &[&["environments.default=false", "starterRoles=false", &address], values].concat()).await;
    (install, TcpProxy::start(server.trim_start_matches("https://")).await)
}

/// The way that a replica takes by a proxy.
fn by(proxy: &TcpProxy) -> String {
    format!("https://{}", proxy.address())
}

/// So many more people, half of them in team web.
fn newcomers(count: usize) -> Vec<Member> {
    (0..count).map(|number| Member { name: format!("new{number:02}"), web: number.is_multiple_of(2), ops: false }).collect()
}

/// Declares people, some at once, however often the API server fails meanwhile.
async fn arrive(client: &Client, members: &[Member]) {
    stream::iter(members).for_each_concurrent(AT_ONCE, async |member| drop(put(client, developer(member)).await)).await;
}

/// Lets somebody depart, however often the API server fails meanwhile.
async fn depart(client: &Client, fleet: &mut Fleet, name: &str) {
    let departed = Patch::Merge(json!({"spec": {"state": "Departed"}}));
    wait_until("the departure is declared", SOON, async || {
        let patched = kind(client, "Developer").await.patch(name, &PatchParams::default(), &departed).await;
        patched.map_err(|error| explain(&error))
    })
    .await;
    fleet.departs(name);
}

/// Waits until the operator has written so many times more.
async fn in_the_midst(audit: &Audit, before: usize, more: usize) {
    wait_until("the operator is in the midst of it", SOON, async || {
        let count = audit.writes().len() - before;
        if count > more { Ok(()) } else { Err(count) }
    })
    .await;
}

/// Everybody is Ready, access is exact, receipts are complete, and nothing is missing or left over. Of many people some are asked about; the bindings of all
/// are read.
async fn whole(client: &Client, fleet: &mut Fleet) {
    fleet.ready(client).await;
    let some: Vec<_> = fleet.people.iter().step_by(fleet.people.len().div_ceil(ASKED)).collect();
    let (questions, expected) = fleet.expectation(&some);
    questions.settle(client, SOON, &expected).await;
    let departed: Vec<_> = fleet.departed.iter().collect();
    let (questions, _) = fleet.expectation(&departed);
    questions.settle(client, SOON, &Matrix::new()).await;
    receipts(client, fleet).await;
    fleet.in_order(client).await;
}

async fn receipts(client: &Client, fleet: &Fleet) {
    let departures = kind(client, "Departure").await;
    wait_until("everybody who departed has a receipt that is complete", SOON, async || {
        let all = list::<DynamicObject>(departures.clone()).await;
        let states: Vec<_> = all.iter().map(|it| &it.data["status"]["state"]).collect();
        if states == vec!["Complete"; fleet.departed.len()] { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await;
}

/// Waits until nothing is written any more, sees that it stays so, and gives what was written before.
async fn at_rest(audit: &Audit) -> Vec<Event> {
    let writes = audit.still(CALM).await;
    throughout("nothing is written", CALM, async || {
        let now = audit.writes();
        if now.len() == writes.len() { Ok(()) } else { Err(lines(&now[writes.len()..])) }
    })
    .await;
    writes
}

/// Nothing was made twice, issued twice or written as it was before. What was answered right before one of `ends` may not have been heard.
#[track_caller]
fn assert_nothing_twice(writes: &[Event], ends: &[Timestamp]) {
    let heard = |event: &Event| !ends.iter().any(|end| event.at() <= *end && end.duration_since(event.done()) < UNHEARD);
    let twice = made_twice(writes);
    assert!(twice.is_empty(), "made twice: {twice:?}");
    let accepted = |event: &&Event| event.code < 300 && event.resource != "events" && event.verb != "delete";
    let mut last: BTreeMap<_, &Event> = BTreeMap::new();
    let mut kept: BTreeMap<String, &Event> = BTreeMap::new();
    for event in writes.iter().filter(accepted) {
        // Whether a token was one too many, its Secret says.
        let repeated = last.insert(event.object(), event).filter(|before| heard(before) && event.subresource != "token");
        if let Some(before) = repeated {
            let pair = [before.clone(), event.clone()];
            assert!(event.body.is_some() && content(before) != content(event), "written as it was:{}", lines(&pair));
            assert!(event.resource != "secrets", "credentials are written once:{}", lines(&pair));
        }
        // A token is issued again only if it did not get into its Secret.
        if event.resource == "secrets" {
            kept.insert(event.namespace.trim_start_matches("dev-").to_owned(), event);
        }
        let owner = event.name.rsplit_once('-').filter(|_| event.subresource == "token").map_or("", |(owner, _)| owner);
        let before = kept.get(owner).filter(|before| heard(before));
        assert!(before.is_none(), "a token too many:{}", lines(std::slice::from_ref(event)));
    }
}

/// What a write says, without the version that it was made for.
fn content(event: &Event) -> Value {
    let mut body = event.body.as_deref().cloned().unwrap_or_default();
    if let Some(meta) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("resourceVersion");
    }
    body
}

/// Two replicas never wrote at once: what the API server took from one of them it took while the last write of the Lease was that one's own, and within the
/// time that such a write gives.
#[track_caller]
fn assert_one_wrote_at_a_time(audit: &Audit) {
    let mut requests = audit.operator();
    requests.retain(|event| event.is_write() && event.code < 300);
    requests.sort_by_key(Event::at);
    let mut holder: Option<&Event> = None;
    for event in &requests {
        if event.is_lease() {
            holder = Some(event);
            continue;
        }
        let lease = holder.unwrap_or_else(|| panic!("written without a Lease:{}", lines(std::slice::from_ref(event))));
        assert!(lease.credential == event.credential, "two write:{}", lines(&[lease.clone(), event.clone()]));
        assert!(event.at().duration_since(lease.at()) < LEASE, "after the Lease ran out:{}", lines(&[lease.clone(), event.clone()]));
    }
}
