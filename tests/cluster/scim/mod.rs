//! People whom an identity provider pushes by SCIM 2.0 (DESIGN.md, "Sources"): what is answered is kept, access follows at once, and the protocol is as others check it.

mod access;
mod again;
mod corpus;
mod killed;
mod protocol;
mod replicas;
mod tester;

use std::time::Duration;

use kube::Client;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::support::access::{Subject, can};
use crate::support::people::{Stage, declare, find, known};
use crate::support::scim::{Sender, declare_source};
use crate::support::{Shared, name, operated, wait_until};

const SOON: Duration = Duration::from_mins(1);

/// A Source to which a test pushes, and something to give access to.
pub struct House {
    pub shared: Shared,
    pub client: Client,
    pub stage: Stage,
    pub source: String,
    pub sender: Sender,
}

impl House {
    /// With what else the Source says.
    async fn new(more: Value) -> Self {
        let shared = operated().await;
        let client = shared.client.clone();
        let stage = Stage::new(&client).await;
        let source = name("push");
        let token = declare_source(&client, &source, more).await;
        let sender = Sender::new(&shared.all.operator, &shared.all.scim_ca, &source, &token).await;
        sender.let_in().await;
        Self { shared, client, stage, source, sender }
    }

    /// Pushes somebody: her login, which is her Developer's name, and her id.
    async fn person(&self) -> (String, String) {
        let login = name("ada");
        let id = self.sender.post("/Users", &user(&login)).await.is(201).id();
        (login, id)
    }

    /// Pushes a group that is a team, and what a Role gives that team: one ClusterRole in the shared namespace.
    async fn team(&self, cluster_role: &str, members: &[&str]) -> String {
        let team = name("team");
        let role = self.stage.role(cluster_role).await;
        declare(&self.client, "Binding", &name("bind"), json!({"role": role, "teams": [team]})).await;
        let members: Vec<Value> = members.iter().map(|id| json!({"value": id})).collect();
        self.sender.post("/Groups", &json!({"displayName": team, "members": members})).await.is(201).id()
    }

    async fn developer(&self, person: &str) -> Option<DynamicObject> {
        find(&self.client, person).await
    }

    async fn known(&self, person: &str) -> Subject {
        known(&self.client, person, SOON).await
    }

    async fn state(&self, person: &str, state: &str) {
        wait_until(&format!("dev/{person} is {state}"), SOON, async || {
            let developer = self.developer(person).await.ok_or("there is none")?;
            if developer.data["spec"]["state"] == state { Ok(()) } else { Err(developer.data["spec"].to_string()) }
        })
        .await;
    }

    /// Waits until somebody may do exactly this with pods in the shared namespace.
    async fn may(&self, who: &Subject, verbs: &[&str]) {
        wait_until(&format!("{who:?} may {verbs:?}"), SOON, async || {
            let seen = self.verbs(who).await;
            if seen == verbs { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }

    async fn verbs(&self, who: &Subject) -> Vec<&'static str> {
        let mut verbs = Vec::new();
        for verb in ["get", "create"] {
            if can(&self.client, who, verb, "pods", Some(&self.stage.shared)).await {
                verbs.push(verb);
            }
        }
        verbs
    }
}

/// Somebody as senders push her.
pub fn user(login: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": format!("{login}@example.com"), "externalId": format!("ext-{login}"), "active": true,
        "name": {"givenName": "Some", "familyName": "Body"},
        "emails": [{"value": format!("{login}@example.com"), "type": "work", "primary": true}],
    })
}
