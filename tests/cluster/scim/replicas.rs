//! Every replica serves, whether it leads or not, and each knows at once what another one answered.

use serde_json::json;

use super::user;
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::scim::{Sender, certify, declare_source};
use crate::support::{AuditLevel, ControlPlane, name};

#[tokio::test]
async fn what_one_replica_answered_another_one_knows_and_a_new_certificate_needs_no_restart() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let install = Install::new(&plane, &[PATIENT[0], PATIENT[1], "scim.enabled=true", "starterRoles=false"]).await;
    let ca = certify(&client).await;
    let one = Operator::start_with(&install, &["--identity", "usher-0"]).await;
    one.ready().await;
    let other = Operator::start_with(&install, &["--identity", "usher-1"]).await;
    other.ready().await;
    let token = declare_source(&client, "hr", json!({"mode": "Observe"})).await;
    let to = [Sender::new(&one, &ca, "hr", &token).await, Sender::new(&other, &ca, "hr", &token).await];
    for sender in &to {
        sender.let_in().await;
    }
    let [first, second] = &to;
    for _ in 0..20 {
        let login = name("ada");
        let id = first.post("/Users", &user(&login)).await.is(201).id();
        assert_eq!(second.get(&format!("/Users/{id}")).await.is(200).id(), id);
        assert_eq!(second.find("Users", &format!("userName eq \"{login}@example.com\"")).await["Resources"][0]["id"], id.as_str());
        second.post("/Users", &user(&login)).await.is(409);
        let group = second.post("/Groups", &json!({"displayName": login, "members": [{"value": id}]})).await.is(201).id();
        let set = |title: &str| json!([{"op": "replace", "path": "title", "value": title}]);
        second.patch(&format!("/Users/{id}"), set("one")).await.is(200);
        assert_eq!(first.get(&format!("/Users/{id}")).await.is(200).body["title"], "one");
        let rename = json!([{"op": "replace", "path": "userName", "value": format!("new-{login}@example.com")}]);
        first.patch(&format!("/Users/{id}"), rename).await.is(200);
        let by_login = |login: &str| format!("userName eq \"{login}@example.com\"");
        assert_eq!(second.find("Users", &by_login(&login)).await["totalResults"], 0, "she is called otherwise");
        assert_eq!(second.find("Users", &by_login(&format!("new-{login}"))).await["Resources"][0]["id"], id.as_str());
        first.with("DELETE", &format!("/Users/{id}"), &[], None).await.is(204);
        assert_eq!(second.find("Users", &by_login(&format!("new-{login}"))).await["totalResults"], 0, "she is gone");
        assert_eq!(second.find("Users", &format!("externalId eq \"ext-{login}\"")).await["totalResults"], 0, "she is gone");
        second.get(&format!("/Users/{id}")).await.is(404);
        first.with("DELETE", &format!("/Groups/{group}"), &[], None).await.is(204);
    }
    let renewed = certify(&client).await;
    for sender in &to {
        Sender::at(&sender.base, &renewed, &token).let_in().await;
    }
    drop((one, other));
    plane.stop().await;
}
