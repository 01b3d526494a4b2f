//! Who asked, who ended, for whom and by which change: from what admission wrote on the objects into the record.

use std::time::Duration;

use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use usher::api::grant::EndCause;
use usher::api::{GrantSpec, GrantState};

use crate::support::client::{explain, kind};
use crate::support::people::{Stage, declare, grants, remove};
use crate::support::{Shared, client_as, name, operated, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// A person who holds a Role by a Binding that alice wrote.
struct Case {
    shared: Shared,
    stage: Stage,
    person: String,
    role: String,
    binding: String,
}

impl Case {
    async fn new() -> Self {
        let shared = operated().await;
        let stage = Stage::new(&shared.client).await;
        let (person, binding) = (name("ada"), name("bind"));
        let role = stage.role("view").await;
        stage.person(&person, json!({"teams": [person]})).await;
        declare(&shared.client, "Binding", &binding, json!({"role": role, "developers": ["nobody"]})).await;
        let case = Self { shared, stage, person, role, binding };
        case.edit("alice", "Binding", &case.binding, json!({"teams": [case.person], "developers": [], "reason": "on call"})).await;
        case.shows("a Grant runs", |grants| grants.len() == 1).await;
        case
    }

    /// Writes as somebody, as admission records it: where no policy stamps the requester yet, the annotation is set by hand.
    async fn edit(&self, by: &str, of: &str, name: &str, spec: Value) -> DynamicObject {
        let kubeconfig = self.shared.all.plane.kubeconfig();
        let somebody = client_as(&kubeconfig, by, &["system:masters"]).await;
        let notes = json!({"usher.dev/requested-by": by});
        let patch = Patch::Merge(json!({"metadata": {"annotations": notes}, "spec": spec}));
        let edited = kind(&somebody, of).await.patch(name, &PatchParams::default(), &patch).await;
        edited.unwrap_or_else(|error| panic!("{of} {name}: {}", explain(&error)))
    }

    async fn shows(&self, what: &str, fits: impl Fn(&[GrantSpec]) -> bool) -> Vec<GrantSpec> {
        wait_until(what, SOON, async || {
            let seen = grants(self.client(), &self.person).await;
            if fits(&seen) { Ok(seen) } else { Err(format!("{seen:#?}")) }
        })
        .await
    }

    fn client(&self) -> &Client {
        &self.stage.client
    }

    async fn ends(&self, cause: EndCause, by: &str) {
        let seen = self.shows("the Grant has ended", |grants| grants.iter().all(|grant| grant.state == GrantState::Ended)).await;
        let end = seen[0].ended.clone().unwrap();
        assert_eq!((end.cause, end.by.as_str()), (cause, by));
    }
}

#[tokio::test]
async fn a_grant_is_by_whoever_wrote_its_binding() {
    let case = Case::new().await;
    let [grant] = grants(case.client(), &case.person).await.try_into().unwrap();
    assert_eq!((grant.granted_by.as_str(), grant.reason.as_deref()), ("alice", Some("on call")));
    assert_eq!((grant.on_behalf_of, grant.change), (None, None));
    assert_eq!(grant.via[0].team.as_deref(), Some(case.person.as_str()));
}

#[tokio::test]
async fn an_end_is_by_whoever_wrote_what_ended_it() {
    let case = Case::new().await;
    case.edit("sue", "Developer", &case.person, json!({"state": "Suspended"})).await;
    case.ends(EndCause::DeveloperSuspended, "sue").await;
    let case = Case::new().await;
    case.edit("sue", "Developer", &case.person, json!({"teams": []})).await;
    case.ends(EndCause::DeveloperEdited, "sue").await;
    let case = Case::new().await;
    case.edit("bea", "Binding", &case.binding, json!({"teams": [], "developers": ["nobody"]})).await;
    case.ends(EndCause::BindingEdited, "bea").await;
    let case = Case::new().await;
    case.edit("rob", "Role", &case.role, json!({"access": []})).await;
    case.ends(EndCause::RoleEdited, "rob").await;
    let case = Case::new().await;
    remove(case.client(), "Binding", &case.binding).await;
    case.ends(EndCause::BindingDeleted, "unknown (deleted)").await;
}
