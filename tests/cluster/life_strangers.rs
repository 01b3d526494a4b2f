//! What usher did not make is not touched: it is a Conflict that says what to do, and usher goes on when it is gone.

use std::time::Duration;

use kube::api::DynamicObject;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use usher::api::Developer;
use usher::plan::name;
use usher::plan::person::Person;

use crate::support::access::can;
use crate::support::client::{self, api_for, apply, condition, explain, kind};
use crate::support::people::{self, Stage, declare, developer, workspace};
use crate::support::{name as unique, operated, wait_until};

/// How long usher may take to see that what was in its way is gone.
const GOES_ON: Duration = Duration::from_secs(20);

/// Waits until `what` of an object is False for a Conflict that says each of these words, and so do Ready, Stalled and the column.
async fn conflicts(client: &Client, kind_name: &str, name: &str, what: &str, words: &[&str]) -> DynamicObject {
    let api = kind(client, kind_name).await;
    wait_until(&format!("{what} of {name} says {words:?}"), GOES_ON, async || {
        let object = api.get(name).await.unwrap();
        let says = |text: &str| words.iter().all(|word| text.contains(word));
        let wrong = [(what, "False"), ("Ready", "False"), ("Stalled", "True")].into_iter().find(|(named, status)| {
            !condition(&object, named).is_some_and(|found| {
                found["status"] == *status && found["reason"] == "Conflict" && says(found["message"].as_str().unwrap_or_default())
            })
        });
        let column = object.data.pointer("/status/summary/message").and_then(Value::as_str);
        match wrong {
            Some((named, _)) => Err(format!("{named}: {:?}", condition(&object, named))),
            None if kind_name == "Developer" && !column.is_some_and(says) => Err(format!("the column says {column:?}")),
            None => Ok(object),
        }
    })
    .await
}

/// Something of somebody else's, and how it was.
struct Stranger {
    client: Client,
    object: DynamicObject,
}

impl Stranger {
    async fn new(client: &Client, yaml: &str) -> Self {
        Self { client: client.clone(), object: apply(client, yaml).await }
    }

    async fn is_untouched(&self) {
        let api = api_for(&self.client, &self.object).await.unwrap();
        let now = api.get(&self.object.name_any()).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
        // Kubernetes' own controllers fill in the status of a quota.
        let same = |object: &DynamicObject| {
            (object.metadata.uid.clone(), object.metadata.labels.clone(), object.metadata.annotations.clone(), content(&object.data))
        };
        assert_eq!(same(&now), same(&self.object), "byte for byte");
        let by_usher = now.managed_fields().iter().any(|entry| entry.manager.as_deref() == Some("usher"));
        assert!(!by_usher, "{:?}", now.managed_fields());
    }

    async fn goes(self) {
        client::delete(&self.client, &self.object).await;
    }
}

fn content(data: &Value) -> Value {
    let mut data = data.clone();
    data.as_object_mut().map(|fields| fields.remove("status"));
    data
}

async fn ready_again(client: &Client, kind_name: &str, name: &str) -> DynamicObject {
    let api = kind(client, kind_name).await;
    wait_until(&format!("{kind_name} {name} is Ready by itself"), GOES_ON, async || {
        let object = api.get(name).await.unwrap();
        let ready = condition(&object, "Ready").cloned().unwrap_or_default();
        if ready["status"] == "True" && condition(&object, "Stalled").is_none() { Ok(object) } else { Err(ready.to_string()) }
    })
    .await
}

#[tokio::test]
async fn a_namespace_of_the_workspaces_name_is_a_conflict_until_it_goes() {
    let shared = operated().await;
    let client = &shared.client;
    let stage = Stage::new(client).await;
    let person = unique("ada");
    let role = stage.role("view").await;
    stage.binding(&role, &person).await;
    let place = format!("dev-{person}");
    let stranger =
        Stranger::new(client, &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {place}, labels: {{a: b}}}}}}")).await;
    developer(client, &person, json!({})).await;
    let words = ["namespace", place.as_str(), "was not made by usher", "pin it", "delete it"];
    let ada = conflicts(client, "Developer", &person, "WorkspaceReady", &words).await;
    let subject = people::subject(&ada);
    wait_until("her Roles are in force all the same", GOES_ON, async || {
        if can(client, &subject, "get", "pods", Some(&stage.shared)).await { Ok(()) } else { Err("no") }
    })
    .await;
    assert!(people::secret(client, &place).await.is_none(), "no Secret in what is not hers");
    stranger.is_untouched().await;
    stranger.goes().await;
    let ada = ready_again(client, "Developer", &person).await;
    assert_eq!(workspace(&ada), place);
}

/// The name is computed, so somebody can be there first.
#[tokio::test]
async fn a_role_binding_of_a_computed_name_is_a_conflict_until_it_goes() {
    let shared = operated().await;
    let client = &shared.client;
    let stage = Stage::new(client).await;
    let (person, role) = (unique("ada"), unique("role"));
    let computed = name::role_binding(&role, "view", &stage.environment, 0);
    let yaml = format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: '{computed}', namespace: {}}},
          roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}},
          subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory}}]}}",
        stage.shared
    );
    let stranger = Stranger::new(client, &yaml).await;
    let entry = json!({"name": "work", "environments": [stage.environment], "clusterRoles": ["view"]});
    declare(client, "Role", &role, json!({"access": [entry]})).await;
    stage.binding(&role, &person).await;
    developer(client, &person, json!({})).await;
    let words = ["RoleBinding", computed.as_str(), stage.shared.as_str(), "was not made by usher", "delete or rename"];
    conflicts(client, "Role", &role, "AccessApplied", &words).await;
    stranger.is_untouched().await;
    stranger.goes().await;
    ready_again(client, "Role", &role).await;
    client::ready(client, &person).await;
}

#[tokio::test]
async fn a_cluster_role_of_a_computed_name_is_a_conflict_until_it_goes() {
    let shared = operated().await;
    let client = &shared.client;
    let stage = Stage::new(client).await;
    let (person, role) = (unique("ada"), unique("role"));
    let computed = name::cluster_role(&role, "look", false, "");
    let yaml = format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: '{computed}'}},
          rules: [{{apiGroups: ['*'], resources: ['*'], verbs: ['*']}}]}}"
    );
    let stranger = Stranger::new(client, &yaml).await;
    let rule = json!({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]});
    let entry = json!({"name": "look", "environments": [stage.environment], "rules": [rule]});
    declare(client, "Role", &role, json!({"access": [entry]})).await;
    stage.binding(&role, &person).await;
    let ada = developer(client, &person, json!({})).await;
    conflicts(client, "Role", &role, "AccessApplied", &["ClusterRole", &computed, "was not made by usher", "delete or rename"]).await;
    let typed: Developer = ada.try_parse().unwrap();
    let account = format!("{person}-{}", Person::own(&typed).digest());
    let subject = crate::support::access::Subject::service_account(people::IDENTITIES, &account);
    assert!(!can(client, &subject, "delete", "pods", Some(&stage.shared)).await, "the rules of a stranger are nobody's access");
    stranger.is_untouched().await;
    stranger.goes().await;
    ready_again(client, "Role", &role).await;
    client::ready(client, &person).await;
}

#[tokio::test]
async fn a_service_account_of_her_identitys_name_is_a_conflict_until_it_goes() {
    let shared = operated().await;
    let client = &shared.client;
    let (person, number) = (unique("ada"), unique("number"));
    let mut ada = Developer::default();
    ada.spec.person_id = Some(number.clone());
    let account = format!("{person}-{}", Person::own(&ada).digest());
    let yaml = format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {account}, namespace: {}}}}}", people::IDENTITIES);
    let stranger = Stranger::new(client, &yaml).await;
    developer(client, &person, json!({"personId": number})).await;
    let words = ["ServiceAccount", account.as_str(), people::IDENTITIES, "was not made by usher", "delete"];
    conflicts(client, "Developer", &person, "CredentialsReady", &words).await;
    assert!(people::secret(client, &format!("dev-{person}")).await.is_none(), "no token of a stranger's");
    stranger.is_untouched().await;
    stranger.goes().await;
    let ada = ready_again(client, "Developer", &person).await;
    assert!(people::whoami(&people::kubeconfig(client, &workspace(&ada)).await).await.is_ok());
}

/// A namespace that is pinned is adopted with its content, but what stands in it under usher's names is somebody's.
#[tokio::test]
async fn a_pinned_namespace_is_adopted_with_its_content_and_what_is_in_the_way_is_a_conflict() {
    let shared = operated().await;
    let client = &shared.client;
    let (person, place) = (unique("ada"), unique("her-own"));
    let namespace = client::namespace(client, &place, &[("team", "a")]).await;
    let map = Stranger::new(
        client,
        &format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: work, namespace: {place}}}, data: {{a: b}}}}"),
    )
    .await;
    let secret = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: usher-kubeconfig, namespace: {place}}}, stringData: {{kubeconfig: mine}}}}"
    );
    let secret = Stranger::new(client, &secret).await;
    let policy = format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: usher, namespace: {place}}},
          spec: {{podSelector: {{}}, policyTypes: [Egress]}}}}"
    );
    let policy = Stranger::new(client, &policy).await;
    developer(client, &person, json!({"workspaces": [{"environment": "dev", "namespace": place}]})).await;
    conflicts(
        client,
        "Developer",
        &person,
        "WorkspaceReady",
        &["NetworkPolicy", "usher", &place, "was not made by usher", "delete or rename"],
    )
    .await;
    policy.is_untouched().await;
    policy.goes().await;
    conflicts(
        client,
        "Developer",
        &person,
        "CredentialsReady",
        &["Secret usher-kubeconfig", &place, "was not made by usher", "delete or rename"],
    )
    .await;
    secret.is_untouched().await;
    secret.goes().await;
    let ada = ready_again(client, "Developer", &person).await;
    assert_eq!(workspace(&ada), place);
    let adopted = people::namespace(client, &place).await.unwrap();
    assert_eq!((adopted.uid(), adopted.labels()["team"].as_str()), (namespace.uid(), "a"));
    assert_eq!(adopted.annotations()["usher.dev/adopted"], "true");
    assert!(people::whoami(&people::kubeconfig(client, &place).await).await.is_ok());
    map.is_untouched().await;
}

#[tokio::test]
async fn a_pin_never_reaches_what_is_nobodys_or_somebody_elses() {
    let shared = operated().await;
    let client = &shared.client;
    let stage = Stage::new(client).await;
    let bob = stage.person(&unique("bob"), json!({})).await;
    let other = unique("other");
    client::namespace(
        client,
        &other,
        &[("usher.dev/installation", "00000000-0000-0000-0000-000000000000"), ("usher.dev/workspace", "ada")],
    )
    .await;
    for place in ["kube-system", "kube-public", "default", people::IDENTITIES, "usher-system"] {
        let pin = json!({"workspaces": [{"environment": "dev", "namespace": place}], "email": "ada@example.com"});
        let ada = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": unique("ada")}, "spec": pin});
        let refused = client::dry_run(client, &serde_json::from_value(ada).unwrap()).await.unwrap_err();
        assert!(explain(&refused).contains("nobody's workspace: name another namespace"), "{place}: {}", explain(&refused));
    }
    let cases = [
        (stage.shared.clone(), "Conflict", "is shared in uenv/"),
        (workspace(&bob), "Conflict", "is the workspace of dev/bob"),
        (other, "Conflict", "belongs to another installation"),
    ];
    for (place, reason, words) in &cases {
        let before = people::namespace(client, place).await.unwrap();
        let person = unique("ada");
        developer(client, &person, json!({"workspaces": [{"environment": "dev", "namespace": place}]})).await;
        let ada = client::wait_for_condition(&kind(client, "Developer").await, &person, "Stalled", "True").await;
        let found = condition(&ada, "WorkspaceReady").unwrap();
        assert_eq!(found["reason"], *reason, "{place}: {found}");
        let message = found["message"].as_str().unwrap();
        assert!(message.contains(words) && message.contains(place.as_str()), "{place}: {message}");
        assert_eq!(workspace(&ada), "");
        assert!(!can(client, &people::subject(&ada), "get", "pods", Some(place)).await, "{place}");
        let after = people::namespace(client, place).await.unwrap();
        assert_eq!((before.labels(), before.annotations()), (after.labels(), after.annotations()), "{place}");
    }
}
