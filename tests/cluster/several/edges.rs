//! Environments that share a cluster, move to another one, and go.

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{PROD_SECRET, SOON, Several};
use crate::support::access::Questions;
use crate::support::client::{self, ready};
use crate::support::name;
use crate::support::people::{declare, developer, edit, remove, subject};

/// The shared namespace of the Environment that moves, in both clusters.
const LAB: &str = "lab";

fn on(secret: &str) -> Value {
    json!({"kubeconfigSecret": {"name": secret, "key": "kubeconfig"}})
}

#[tokio::test]
async fn an_environment_that_moves_takes_its_access_along_and_one_that_goes_takes_it_away() {
    let several = Several::take().await;
    let home = several.home();
    let (environment, role, person) = (name("lab"), name("role"), name("ada"));
    for client in &several.clients[1..] {
        client::namespace(client, LAB, &[("stage", &environment)]).await;
    }
    // It shares prod's cluster, and so its Secret.
    let spec = json!({"cluster": on(PROD_SECRET), "namespaces": {"matchLabels": {"stage": environment}}});
    declare(home, "Environment", &environment, spec).await;
    let access = json!([{"name": "work", "environments": [environment], "clusterRoles": ["edit"]}]);
    declare(home, "Role", &role, json!({"access": access})).await;
    developer(home, &person, json!({})).await;
    declare(home, "Binding", &role, json!({"role": role, "developers": [person]})).await;
    let ada = ready(home, &person).await;
    several.settle_lab(&ada, [&[], &["get pods", "create configmaps"]]).await;

    edit(home, "Environment", &environment, json!({"cluster": on("staging-kubeconfig")})).await;
    several.settle_lab(&ada, [&["get pods", "create configmaps"], &[]]).await;
    ready(home, &person).await;

    remove(home, "Environment", &environment).await;
    several.settle_lab(&ada, [&[], &[]]).await;
    edit(home, "Developer", &person, json!({"state": "Departed"})).await;
}

impl Several {
    /// What somebody may do in the namespace that moves: in staging's cluster, and in prod's.
    async fn settle_lab(&self, developer: &DynamicObject, expected: [&[&str]; 2]) {
        let questions = Questions::new(&[("she", subject(developer))], &[LAB], &["get pods", "create configmaps"]);
        for (client, probes) in self.clients[1..].iter().zip(expected) {
            questions.settle(client, SOON, &questions.cells(&["she"], &[LAB], probes)).await;
        }
    }
}
