//! The operator gone first: what was deleted meanwhile waits for it, and `usher uninstall` lets everything go without taking anything from anybody.

use std::time::Duration;

use kube::api::{Api, DeleteParams};
use kube::{Client, ResourceExt};

use crate::support::access::{Matrix, assert_matrix_eq};
use crate::support::audit::Audit;
use crate::support::client::{explain, kind};
use crate::support::fleet::{Fleet, gone, list};
use crate::support::install::Install;
use crate::support::operator::Operator;
use crate::support::{AuditLevel, ControlPlane, throughout, wait_until};

const SOON: Duration = Duration::from_mins(1);
const CALM: Duration = Duration::from_secs(1);

struct House {
    // Dropped first, as its log goes with the control plane.
    operator: Operator,
    plane: ControlPlane,
    client: Client,
    fleet: Fleet,
}

impl House {
    async fn new() -> Self {
        let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
        let client = plane.admin_client().await;
        let install = Install::new(&plane, &["environments.default=false", "starterRoles=false"]).await;
        let operator = Operator::start(&install).await;
        operator.ready().await;
        let audit = Audit::from_now(&plane);
        let mut fleet = Fleet::new(6);
        fleet.settle_in(&client).await;
        audit.still(CALM).await;
        Self { operator, plane, client, fleet }
    }

    async fn delete(&self, of: &str, name: &str) {
        let api = kind(&self.client, of).await;
        api.delete(name, &DeleteParams::default()).await.unwrap_or_else(|error| panic!("{of} {name}: {}", explain(&error)));
    }

    /// The objects that bear usher's finalizer.
    async fn held(&self) -> Vec<String> {
        let mut held = Vec::new();
        for name in Fleet::KINDS {
            let objects = list::<kube::api::DynamicObject>(kind(&self.client, name).await).await;
            let objects = objects.iter().filter(|object| object.finalizers().iter().any(|finalizer| finalizer == "usher.dev/offboard"));
            held.extend(objects.map(|object| format!("{name} {}", object.name_any())));
        }
        held
    }
}

#[tokio::test]
async fn what_was_deleted_while_the_operator_was_down_goes_when_it_is_back() {
    let mut house = House::new().await;
    let everyone: Vec<_> = house.fleet.people.iter().collect();
    let (questions, before) = house.fleet.expectation(&everyone);
    house.operator.terminate().await;
    for (of, name) in [("Developer", "p01"), ("Role", "editor"), ("Binding", "ops")] {
        house.delete(of, name).await;
    }
    // Without anybody to take it away, all of it stays.
    assert_matrix_eq(&questions.ask(&house.client).await, &before);

    house.operator.restart().await;
    house.operator.ready().await;
    for (of, name) in [("Developer", "p01"), ("Role", "editor"), ("Binding", "ops")] {
        gone(&house.client, of, name).await;
    }
    for member in &mut house.fleet.people {
        // Without urole/editor team web is nothing special, and viewer is still given to team all.
        (member.web, member.ops) = (false, false);
    }
    let (leaver, stayers): (Vec<_>, Vec<_>) = house.fleet.people.iter().partition(|member| member.name == "p01");
    let (questions, expected) = house.fleet.expectation(&stayers);
    assert_matrix_eq(&questions.ask(&house.client).await, &expected);
    let (questions, _) = house.fleet.expectation(&leaver);
    assert_matrix_eq(&questions.ask(&house.client).await, &Matrix::new());
    house.plane.stop().await;
}

#[tokio::test]
async fn uninstall_refuses_while_an_operator_runs_and_then_takes_finalizers_and_nothing_else() {
    let mut house = House::new().await;
    let held = house.held().await;
    assert_eq!(held.len(), 3 + 3 + 6 + 3, "every object that people write: {held:?}");
    let refused = house.plane.usher(&["uninstall"]).await;
    assert!(!refused.success && refused.stderr.contains("still runs the operator"), "{refused:?}");
    assert_eq!(house.held().await, held);

    // Killed, it has said no goodbye: only when its Lease is over is it certain that nobody puts the finalizers back.
    house.operator.kill();
    let refused = house.plane.usher(&["uninstall"]).await;
    assert!(!refused.success, "{refused:?}");
    let said = wait_until("the Lease of the dead is over", Duration::from_secs(15), async || {
        let output = house.plane.usher(&["uninstall"]).await;
        if output.success { Ok(output.stdout) } else { Err(output.stderr) }
    })
    .await;
    assert!(said.contains("15 objects"), "{said}");
    assert_eq!(house.held().await, Vec::<String>::new());
    house.plane.usher(&["uninstall"]).await.ok();

    let belongings = house.fleet.belongings(&house.client).await;
    for of in Fleet::KINDS {
        for object in house.fleet.manifests(of) {
            house.delete(of, &object.name_any()).await;
            gone(&house.client, of, &object.name_any()).await;
        }
    }
    house
        .plane
        .kubectl(&["annotate", "crd", "developers.usher.dev", "grants.usher.dev", "roles.usher.dev", "usher.dev/allow-deletion=true"])
        .await
        .ok();
    house.plane.kubectl(&["delete", "crd", "--timeout=60s", "developers.usher.dev", "grants.usher.dev", "roles.usher.dev"]).await.ok();
    throughout("nobody loses anything", Duration::from_secs(3), async || {
        if house.fleet.belongings(&house.client).await == belongings { Ok(()) } else { Err("something went") }
    })
    .await;
    house.fleet.exact(&house.client).await;
    house.plane.stop().await;
}

/// SIGTERM is a goodbye: the Lease is free at once.
#[tokio::test]
async fn uninstall_need_not_wait_for_an_operator_that_was_told_to_stop() {
    let mut house = House::new().await;
    house.operator.terminate().await;
    house.plane.usher(&["uninstall"]).await.ok();
    assert_eq!(house.held().await, Vec::<String>::new());
    // Whoever changes her mind finds everything as it was, and the finalizers come back.
    house.operator.restart().await;
    house.operator.ready().await;
    wait_until("the finalizers are back", SOON, async || {
        let held = house.held().await;
        if held.len() == 15 { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
    house.fleet.exact(&house.client).await;
    let leases = Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(house.client.clone(), "usher-system");
    assert!(leases.get("usher").await.unwrap().spec.unwrap().holder_identity.is_some_and(|holder| !holder.is_empty()));
    house.plane.stop().await;
}
