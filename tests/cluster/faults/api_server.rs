//! The API server is killed in the midst of many onboardings. What it answered last nobody heard, and what it was asked last nobody knows.

use jiff::Timestamp;

use super::{SOON, arrive, assert_nothing_twice, at_rest, whole};
use crate::support::audit::{Audit, Event, lines};
use crate::support::fleet::Fleet;
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::{AuditLevel, ControlPlane, wait_until};

const PEOPLE: usize = 200;
/// It is killed when so many have their namespaces.
const MIDST: usize = 60;
/// The most that a newcomer is told meanwhile: that it is under way, that something failed, and that all is there.
const STATUSES: usize = 4;

#[tokio::test]
async fn api_server_killed_in_the_midst_of_200_onboardings_loses_nothing_and_doubles_nothing() {
    let plane = ControlPlane::exclusive(AuditLevel::Request).await;
    let client = plane.admin_client().await;
    let install = Install::new(&plane, &["environments.default=false", "starterRoles=false", PATIENT[0], PATIENT[1]]).await;
    let operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
    operator.ready().await;
    let mut fleet = Fleet::new(PEOPLE);
    fleet.namespaces(&client).await;
    fleet.apply(&client, &["Environment", "Role", "Binding"]).await;

    let audit = Audit::from_now(&plane);
    let killing = async {
        wait_until("it is in the midst of it", SOON, async || match namespaces_made(&audit) {
            count @ 0..MIDST => Err(count),
            _ => Ok(()),
        })
        .await;
        let (killed, before) = (Timestamp::now(), namespaces_made(&audit));
        (plane.restart_apiserver().await, killed, before)
    };
    let ((plane, killed, before), ()) = tokio::join!(killing, arrive(&client, &fleet.people));
    assert!(before < PEOPLE, "it was killed when all was done");

    whole(&client, &mut fleet).await;
    let writes = at_rest(&audit).await;
    let earlier = writes.iter().filter(|event| event.at() < killed).count();
    println!("{} writes, {earlier} of them before the API server was killed, when {before} people had a namespace", writes.len());
    assert!(operator.is_alive(), "it went on by itself");
    assert_nothing_twice(&writes, &[killed]);
    for member in &fleet.people {
        let hers = |event: &&Event| event.target() == "developers/status.usher.dev" && event.name == member.name && event.code < 300;
        let told: Vec<Event> = writes.iter().filter(hers).cloned().collect();
        assert!(told.len() <= STATUSES, "{} was told too often:{}", member.name, lines(&told));
    }
    plane.stop().await;
}

fn namespaces_made(audit: &Audit) -> usize {
    audit.writes().iter().filter(|event| event.verb == "create" && event.resource == "namespaces" && event.code < 300).count()
}
