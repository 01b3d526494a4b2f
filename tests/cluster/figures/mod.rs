//! The four figures: each is forced to a known value, reads exactly that, and reads the same after a start.

mod denied;

use std::time::Duration;

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::support::audit::{Audit, Event, lines};
use crate::support::client::{self, apply, explain, kind, ready};
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::{account, declare, developer, edit, reaches, remove};
use crate::support::{AuditLevel, ControlPlane, throughout, wait_until};

const SOON: Duration = Duration::from_mins(1);
/// Longer than figures take to follow, so that what changes nothing was seen to change nothing.
const CALM: Duration = Duration::from_secs(5);

/// Waits until fields of a Scorecard's status have these values, and gives the status.
pub async fn reads(client: &Client, scorecard: &str, expected: &[(&str, Value)]) -> Value {
    let api = kind(client, "Scorecard").await;
    wait_until(&format!("scorecard/{scorecard} reads {expected:?}"), SOON, async || {
        let status = api.get(scorecard).await.map_err(|error| explain(&error))?.data["status"].clone();
        let wrong = expected.iter().find(|(field, value)| status.pointer(field).unwrap_or(&Value::Null) != value);
        wrong.map_or(Ok(status.clone()), |(field, _)| Err(format!("{field} in {status:#}")))
    })
    .await
}

/// A company with two Environments, which a Role names together.
struct House {
    operator: Operator,
    plane: ControlPlane,
    client: Client,
}

/// The Environments, each with one shared namespace of the same name.
const PLACES: [&str; 2] = ["one", "two"];

impl House {
    /// With a Secret in usher's namespace, if the operator needs one to start, and flags for it.
    async fn on(plane: ControlPlane, secret: Option<&str>, flags: &[&str]) -> Self {
        let client = plane.admin_client().await;
        let install = Install::new(&plane, &["environments.default=false", "starterRoles=false", PATIENT[0], PATIENT[1]]).await;
        if let Some(secret) = secret {
            apply(&client, secret).await;
        }
        let operator = Operator::start_with(&install, &[&["--identity", "usher-0"][..], flags].concat()).await;
        operator.ready().await;
        let house = Self { operator, plane, client };
        house.company().await;
        house
    }

    /// ada and bob of payments hold a Role in both Environments; eve of search holds none.
    async fn company(&self) {
        for place in PLACES {
            client::namespace(&self.client, place, &[("place", place)]).await;
            let mut spec = json!({"namespaces": {"matchLabels": {"place": place}}});
            if place == PLACES[0] {
                // Where kubeconfigs are.
                spec["home"] = json!(true);
                spec["workspace"] = json!({});
            }
            declare(&self.client, "Environment", place, spec).await;
        }
        let look = json!({"name": "look", "environments": PLACES, "clusterRoles": ["view"]});
        declare(&self.client, "Role", "backend", json!({"access": [look]})).await;
        declare(&self.client, "Binding", "payments", json!({"role": "backend", "teams": ["payments"]})).await;
        for person in ["ada", "bob"] {
            developer(&self.client, person, json!({"teams": ["payments"]})).await;
        }
        developer(&self.client, "eve", json!({"teams": ["search"], "kubernetesUser": "oidc:eve"})).await;
        for person in ["ada", "bob", "eve"] {
            ready(&self.client, person).await;
        }
    }

    async fn reads(&self, scorecard: &str, expected: &[(&str, Value)]) -> Value {
        reads(&self.client, scorecard, expected).await
    }

    fn bindings(&self, place: &str) -> Api<RoleBinding> {
        Api::namespaced(self.client.clone(), place)
    }

    /// Takes away the Role's binding in an Environment.
    async fn take(&self, place: &str) -> String {
        let api = self.bindings(place);
        let all = api.list(&ListParams::default().labels("usher.dev/role=backend")).await.expect("a list").items;
        assert_eq!(all.len(), 1, "{all:?}");
        api.delete(&all[0].name_any(), &DeleteParams::default()).await.expect("an administrator may");
        all[0].uid().expect("a uid")
    }

    async fn pause_role(&self, paused: Value) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"usher.dev/paused": paused}}}));
        let api = kind(&self.client, "Role").await;
        api.patch("backend", &PatchParams::default(), &patch).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    }

    async fn everything_is_in_order(&self) {
        let rate = [("/accessErrorRate/value", json!("0%")), ("/accessErrorRate/errors", json!(0))];
        let index = [("/consistency/value", json!("100%")), ("/consistency/environments", json!(PLACES))];
        let hands = [("/manualTouchpoints/total", json!(0)), ("/manualTouchpoints/perPerson", json!("0"))];
        let all = [
            ("/people", json!(3)),
            // eve has a workspace, and that is all.
            ("/accessErrorRate/expected", json!(5)),
            ("/consistency/cells", json!(4)),
            ("/timeToAccess/count", json!(3)),
        ];
        self.reads("all", &[&rate[..], &index, &hands, &all].concat()).await;
        let team = [
            ("/people", json!(2)),
            ("/accessErrorRate/expected", json!(4)),
            ("/consistency/cells", json!(4)),
            ("/timeToAccess/count", json!(2)),
        ];
        self.reads("team-payments", &[&rate[..], &index, &hands, &team].concat()).await;
        self.reads("team-search", &[("/people", json!(1)), ("/accessErrorRate/expected", json!(1)), ("/consistency/cells", json!(0))])
            .await;
    }

    /// A binding that goes by hand is back, which is one touchpoint of those whom it concerns.
    async fn a_hand_repair(&self) {
        let uid = self.take("one").await;
        wait_until("it is back", SOON, async || {
            let all = self
                .bindings("one")
                .list(&ListParams::default().labels("usher.dev/role=backend"))
                .await
                .map_err(|error| explain(&error))?;
            if all.items.iter().any(|binding| binding.uid().as_ref() != Some(&uid)) { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        let one = [("/manualTouchpoints/byKind/handRepair", json!(1)), ("/manualTouchpoints/total", json!(1))];
        self.reads("all", &[&one[..], &[("/manualTouchpoints/perPerson", json!("0.34"))]].concat()).await;
        self.reads("team-payments", &[&one[..], &[("/manualTouchpoints/perPerson", json!("0.5"))]].concat()).await;
        self.reads("team-search", &[("/manualTouchpoints/total", json!(0))]).await;
    }

    /// What usher takes itself, and gives again a moment later under the same name, was repaired by nobody.
    async fn no_hand_in_what_usher_does_itself(&self) {
        for state in ["Suspended", "Active", "Suspended", "Active"] {
            for person in ["ada", "bob"] {
                edit(&self.client, "Developer", person, json!({"state": state})).await;
            }
            for person in ["ada", "bob"] {
                reaches(&self.client, "Developer", person, "/status/state", state).await;
                ready(&self.client, person).await;
            }
        }
        let api = kind(&self.client, "Scorecard").await;
        throughout("nobody did anything by hand", CALM, async || {
            let status = api.get("all").await.map_err(|error| explain(&error))?.data["status"].clone();
            if status["manualTouchpoints"]["total"] == 0 { Ok(()) } else { Err(format!("{status:#}")) }
        })
        .await;
        self.reads("all", &[("/accessErrorRate/errors", json!(0)), ("/timeToAccess/count", json!(3))]).await;
    }

    /// What a replica saw just before it ended, its successor counts.
    async fn a_hand_over_loses_nothing(&mut self) {
        let before = self.reads("all", &[]).await["manualTouchpoints"]["byKind"]["handRepair"].as_i64().expect("a number");
        let told = |operator: &Operator| operator.log().matches("done by hand").count();
        let so_far = told(&self.operator);
        self.take("one").await;
        wait_until("it is put back", SOON, async || if told(&self.operator) > so_far { Ok(()) } else { Err("not yet") }).await;
        self.operator.terminate().await;
        self.operator.restart().await;
        self.operator.ready().await;
        self.reads("all", &[("/manualTouchpoints/byKind/handRepair", json!(before + 1))]).await;
    }

    /// A binding that somebody makes for ada is more than she should have, until it goes.
    async fn hand_made_access(&self) {
        let name = account(&ready(&self.client, "ada").await);
        let theirs = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "theirs", "namespace": "two"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "usher-identities"}],
        });
        apply(&self.client, &theirs.to_string()).await;
        let rate = |expected: usize, value: &str| {
            [
                ("/accessErrorRate/errors", json!(1)),
                ("/accessErrorRate/expected", json!(expected)),
                ("/accessErrorRate/value", json!(value)),
            ]
        };
        let worst = [
            ("/accessErrorRate/worst/0/kind", json!("Excess")),
            ("/accessErrorRate/worst/0/developer", json!("ada")),
            ("/accessErrorRate/worst/0/target", json!("environment/two")),
        ];
        let index = [("/consistency/value", json!("75%")), ("/manualTouchpoints/byKind/handMadeAccess", json!(1))];
        self.reads("all", &[&rate(5, "20%")[..], &worst, &index].concat()).await;
        self.reads("team-payments", &[&rate(4, "25%")[..], &worst, &index].concat()).await;
        self.bindings("two").delete("theirs", &DeleteParams::default()).await.expect("an administrator may");
        let right = [
            ("/accessErrorRate/value", json!("0%")),
            ("/consistency/value", json!("100%")),
            ("/manualTouchpoints/byKind/handMadeAccess", json!(1)),
        ];
        self.reads("all", &right).await;
    }

    /// eve leaves, and what a colleague bound to her user is waived.
    async fn a_waiver(&self) {
        let hers = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "left", "namespace": "one"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "User", "name": "oidc:eve", "apiGroup": "rbac.authorization.k8s.io"}],
        });
        apply(&self.client, &hers.to_string()).await;
        self.reads("team-search", &[("/manualTouchpoints/byKind/handMadeAccess", json!(1))]).await;
        edit(&self.client, "Developer", "eve", json!({"state": "Departed"})).await;
        let departures = kind(&self.client, "Departure").await;
        let receipt = wait_until("the receipt names what is left", SOON, async || {
            let list = departures.list(&ListParams::default()).await.map_err(|error| explain(&error))?.items;
            let found = list.into_iter().find(|it| it.data["status"]["leftovers"][0]["target"].is_string());
            found.ok_or_else(|| "not yet".to_owned())
        })
        .await;
        let target = receipt.data["status"]["leftovers"][0]["target"].as_str().expect("a target").to_owned();
        let waiver = json!({"metadata": {"annotations": {"usher.dev/waive": format!("{target}=the robot only reads")}}});
        let patched = departures.patch(&receipt.name_any(), &PatchParams::default(), &Patch::Merge(waiver)).await;
        patched.unwrap_or_else(|error| panic!("{}", explain(&error)));
        reaches(&self.client, "Departure", &receipt.name_any(), "/status/state", "CompleteWithWaivers").await;
        self.reads("all", &[("/manualTouchpoints/byKind/waiver", json!(1)), ("/people", json!(2))]).await;
        self.reads("team-search", &[("/manualTouchpoints/byKind/waiver", json!(1)), ("/people", json!(0))]).await;
        self.reads("team-payments", &[("/manualTouchpoints/byKind/waiver", json!(0))]).await;
    }

    /// Two who say that they are one user: the younger waits until somebody decides.
    async fn a_conflict(&self) {
        let same = json!({"kubernetesUser": "oidc:dan", "teams": ["search"]});
        developer(&self.client, "dan", same.clone()).await;
        let elder = ready(&self.client, "dan").await.creation_timestamp().expect("a time").0;
        // Ages are in whole seconds; of two who are equally old chance decides.
        wait_until("who comes now is younger", SOON, async || {
            let now = jiff::Timestamp::now();
            if now.as_second() > elder.as_second() { Ok(()) } else { Err(now) }
        })
        .await;
        developer(&self.client, "fay", same).await;
        reaches(&self.client, "Developer", "fay", "/status/conditions/0/reason", "Conflict").await;
        self.reads("all", &[("/manualTouchpoints/byKind/conflict", json!(0)), ("/people", json!(4))]).await;
        remove(&self.client, "Developer", "dan").await;
        ready(&self.client, "fay").await;
        self.reads("team-search", &[("/manualTouchpoints/byKind/conflict", json!(1))]).await;
    }

    /// What was counted is told again by a replica that was just started, and nothing is written.
    async fn a_start_changes_nothing(&mut self) {
        let audit = Audit::from_now(&self.plane);
        audit.still(CALM).await;
        let before = self.cards().await;
        let audit = Audit::from_now(&self.plane);
        self.operator.restart().await;
        self.operator.ready().await;
        throughout("a start: no Scorecard is written", Duration::from_secs(10), async || {
            // The ServiceAccount of a workspace whose person left is taken again at a start: the controller manager made it anew.
            let writes: Vec<_> = audit.writes().into_iter().filter(Event::is_figure).collect();
            if writes.is_empty() { Ok(()) } else { Err(format!("{}\nbefore: {before:?}\nnow: {:?}", lines(&writes), self.cards().await)) }
        })
        .await;
        assert_eq!(self.cards().await, before);
    }

    async fn cards(&self) -> Vec<(String, Option<String>, Value)> {
        let list = kind(&self.client, "Scorecard").await.list(&ListParams::default()).await.expect("a list").items;
        list.into_iter().map(|it| (it.name_any(), it.resource_version(), it.data["status"].clone())).collect()
    }

    /// The command prints what the Scorecards tell.
    async fn a_report(&self) {
        let said = self.plane.usher(&["report", "-o", "json"]).await.ok();
        let report: Value = serde_json::from_str(&said).expect("JSON");
        let first = &report["scorecards"][0];
        let status = kind(&self.client, "Scorecard").await.get("all").await.expect("it is there").data["status"].clone();
        assert_eq!((&first["scorecard"], &first["team"]), (&json!("all"), &Value::Null));
        assert_eq!((&first["manualTouchpoints"], &first["accessErrorRate"]), (&status["manualTouchpoints"], &status["accessErrorRate"]));
        let text = self.plane.usher(&["report"]).await.ok();
        assert!(text.contains("team payments") && text.contains("handRepair"), "{text}");
        let unknown = self.plane.usher(&["report", "--team", "nobody"]).await;
        assert_eq!(unknown.code, Some(2), "{unknown:?}");
    }

    /// While work on a Role is paused a binding that is gone stays gone, in one Environment of two.
    async fn a_difference_between_environments(&self) {
        self.pause_role(json!("true")).await;
        self.take("two").await;
        let wrong = [
            ("/consistency/value", json!("50%")),
            ("/consistency/right", json!(2)),
            ("/accessErrorRate/errors", json!(2)),
            ("/accessErrorRate/worst/0/kind", json!("Missing")),
            ("/accessErrorRate/worst/1/target", json!("environment/two")),
        ];
        // fay has a workspace, and that is all.
        self.reads("all", &[&wrong[..], &[("/accessErrorRate/value", json!("40%"))]].concat()).await;
        self.reads("team-payments", &[&wrong[..], &[("/accessErrorRate/value", json!("50%"))]].concat()).await;
        self.pause_role(Value::Null).await;
        self.reads("all", &[("/consistency/value", json!("100%")), ("/accessErrorRate/errors", json!(0))]).await;
    }

    async fn ends(self) {
        drop(self.operator);
        self.plane.stop().await;
    }
}

#[tokio::test]
async fn each_figure_is_forced_to_a_known_value_and_reads_exactly_that() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let mut house = House::on(plane, None, &[]).await;
    house.everything_is_in_order().await;
    house.no_hand_in_what_usher_does_itself().await;
    house.a_hand_repair().await;
    house.hand_made_access().await;
    house.a_waiver().await;
    house.a_conflict().await;
    house.a_hand_over_loses_nothing().await;
    house.a_start_changes_nothing().await;
    house.a_report().await;
    house.a_difference_between_environments().await;
    house.ends().await;
}
