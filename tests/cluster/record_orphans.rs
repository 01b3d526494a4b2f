//! `usher orphans`: what nobody owns any more is named, and goes only when somebody says so.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::support::client::{self, kind, ready};
use crate::support::fleet::{object, put};
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::remove;
use crate::support::{AuditLevel, ControlPlane, Output, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// Ada and bob work; then the operator is away while ada's Developer vanishes, as after a restore that lacks it.
struct House {
    operator: Operator,
    plane: ControlPlane,
    client: Client,
}

impl House {
    async fn new() -> Self {
        let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
        let client = plane.admin_client().await;
        let install = Install::new(&plane, &PATIENT).await;
        let mut operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
        operator.ready().await;
        client::namespace(&client, "shop", &[("usher.dev/managed", "true")]).await;
        put(&client, object("Binding", "work", &json!({"role": "viewer", "teams": ["all"]}))).await;
        for name in ["ada", "bob"] {
            put(&client, object("Developer", name, &json!({"email": format!("{name}@example.com"), "teams": ["all"]}))).await;
        }
        for name in ["ada", "bob"] {
            ready(&client, name).await;
        }
        operator.terminate().await;
        let developers = kind(&client, "Developer").await;
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        developers.patch("ada", &PatchParams::default(), &patch).await.expect("allowed");
        remove(&client, "Developer", "ada").await;
        Self { operator, plane, client }
    }

    async fn orphans(&self, arguments: &[&str]) -> (Output, Vec<Value>) {
        let said = self.plane.usher(&[&["orphans", "-o", "json"], arguments].concat()).await;
        let listed = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        (said, listed)
    }

    /// Whose name is in the bindings of the shared namespace.
    async fn named(&self) -> Vec<String> {
        let api = Api::<RoleBinding>::namespaced(self.client.clone(), "shop");
        let bindings = api.list(&ListParams::default()).await.expect("bindings").items;
        bindings.iter().flat_map(|binding| binding.subjects.iter().flatten()).map(|subject| subject.name.clone()).collect()
    }

    async fn accounts(&self) -> Vec<String> {
        let api = Api::<ServiceAccount>::namespaced(self.client.clone(), "usher-identities");
        let names: Vec<String> =
            api.list(&ListParams::default()).await.expect("accounts").items.iter().map(ResourceExt::name_any).collect();
        names.into_iter().filter(|name| name != "default").collect()
    }

    async fn workspace_goes_on(&self) -> bool {
        let found = Api::<Namespace>::all(self.client.clone()).get_opt("dev-ada").await.expect("an answer");
        found.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none())
    }
}

fn kinds(listed: &[Value], state: &str) -> Vec<String> {
    let mut kinds: Vec<String> =
        listed.iter().filter(|it| it["state"] == state).map(|it| it["kind"].as_str().expect("a kind").to_owned()).collect();
    kinds.sort();
    kinds
}

#[tokio::test]
async fn orphans_are_named_and_removed_only_when_somebody_says_so() {
    let mut house = House::new().await;
    let (said, listed) = house.orphans(&[]).await;
    assert_eq!(
        (said.code, kinds(&listed, "left").join(" ")),
        (Some(1), "Namespace RoleBinding RoleBinding ServiceAccount".to_owned()),
        "{said:?}"
    );
    let table = house.plane.usher(&["orphans"]).await.stdout;
    assert!(table.contains("Namespace dev-ada") && table.contains("dev/ada does not exist") && !table.contains("bob-"), "{table}");
    assert_eq!(
        (house.named().await.len(), house.accounts().await.len(), house.workspace_goes_on().await),
        (2, 2, true),
        "nothing was touched"
    );

    // The operator reports nothing of the kind away: whoever is to decide is asked.
    house.operator.restart().await;
    house.operator.ready().await;
    let (said, listed) = house.orphans(&["--remove"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(
        (kinds(&listed, "left"), kinds(&listed, "removed"), kinds(&listed, "taken out")),
        (vec!["Namespace".to_owned()], vec!["RoleBinding".to_owned(), "ServiceAccount".to_owned()], vec!["RoleBinding".to_owned()],)
    );
    wait_until("only bob is left", SOON, async || {
        let (named, accounts) = (house.named().await, house.accounts().await);
        let bobs = named.len() == 1 && accounts.len() == 1 && named[0] == accounts[0] && named[0].starts_with("bob-");
        if bobs { Ok(()) } else { Err(format!("{named:?} {accounts:?}")) }
    })
    .await;
    assert!(house.workspace_goes_on().await, "people's data wants a word of its own");

    let (said, listed) = house.orphans(&["--remove", "--workspaces"]).await;
    assert_eq!((said.code, kinds(&listed, "removed").join(" ")), (Some(0), "Namespace".to_owned()), "{said:?}");
    let none = house.plane.usher(&["orphans"]).await;
    assert_eq!((none.code, none.stdout.contains("no orphans")), (Some(0), true), "{none:?}");
    assert!(!house.workspace_goes_on().await);
    house.operator.terminate().await;
    house.plane.stop().await;
}

#[tokio::test]
async fn nothing_is_an_orphan_by_right_while_a_kind_is_missing() {
    let house = House::new().await;
    let crds =
        Api::<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>::all(house.client.clone());
    // One that holds no objects with finalizers.
    let meant = json!({"metadata": {"annotations": {"usher.dev/allow-deletion": "true"}}});
    crds.patch("locks.usher.dev", &PatchParams::default(), &Patch::Merge(meant)).await.expect("annotated");
    crds.delete("locks.usher.dev", &DeleteParams::default()).await.expect("deleted");
    let said = house.plane.usher(&["orphans", "--remove"]).await;
    assert!(said.code == Some(2) && said.stderr.contains("locks.usher.dev: missing or being deleted"), "{said:?}");
    assert_eq!((house.named().await.len(), house.accounts().await.len()), (2, 2));
    house.plane.stop().await;
}
