//! What the chart's remote side allows is exactly what usher asks for there, and what it uses at home, where a test reads that from the audit log (`rbac.rs`).

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::Client;
use kube::api::{Api, PostParams};
use usher::api::environment::SecretKey;
use usher::cluster::leader::Terms;
use usher::cluster::remote::Way;
use usher::plan::settings::Fence;

use crate::rbac::Right;
use crate::support::client::explain;
use crate::support::install::{Install, NAMESPACE};
use crate::support::people::{IDENTITIES, log_in};
use crate::support::{AuditLevel, ControlPlane, wait_until};

const SOON: Duration = Duration::from_mins(1);

/// A cluster with the remote side, in which rules are taken away one by one.
struct Side {
    client: Client,
    /// usher, by the kubeconfig that the documented command makes.
    usher: Client,
    fence: Fence,
}

/// The rights of the ClusterRole, and of the Role in the namespace of identities.
#[derive(Clone)]
struct Given {
    cluster: ClusterRole,
    inside: Role,
}

impl Given {
    async fn read(client: &Client) -> Self {
        let mut cluster = Api::<ClusterRole>::all(client.clone()).get("usher").await.unwrap();
        let mut inside = Api::<Role>::namespaced(client.clone(), IDENTITIES).get("usher").await.unwrap();
        (cluster.metadata.resource_version, inside.metadata.resource_version) = (None, None);
        Self { cluster, inside }
    }

    fn rights(&self) -> Vec<Right> {
        let cluster = Right::of(None, self.cluster.rules.as_deref().unwrap_or_default());
        cluster.into_iter().chain(Right::of(Some(IDENTITIES), self.inside.rules.as_deref().unwrap_or_default())).collect()
    }

    /// The same with just these rights, a rule each.
    async fn write(&self, client: &Client, rights: &[&Right]) {
        let rules = |of: Option<&str>| -> Vec<PolicyRule> {
            rights.iter().filter(|right| right.namespace.as_deref() == of).map(|right| right.rule()).collect()
        };
        let (mut cluster, mut inside) = (self.cluster.clone(), self.inside.clone());
        (cluster.rules, inside.rules) = (Some(rules(None)), Some(rules(Some(IDENTITIES))));
        let put = PostParams::default();
        Api::<ClusterRole>::all(client.clone())
            .replace("usher", &put, &cluster)
            .await
            .unwrap_or_else(|error| panic!("{}", explain(&error)));
        let roles = Api::<Role>::namespaced(client.clone(), IDENTITIES);
        roles.replace("usher", &put, &inside).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    }
}

impl Side {
    /// Waits until usher says that just this is missing, or nothing.
    async fn lacks(&self, wanted: Option<&str>) {
        let seconds = Duration::from_secs;
        let terms = Terms { lease_duration: seconds(10), renew_deadline: seconds(7), retry_period: seconds(2) };
        let way = Way { home: &self.client, namespace: NAMESPACE, secret: SecretKey::default(), terms };
        wait_until(&format!("usher says that it lacks {wanted:?}"), SOON, async || {
            let lacks = way.lacks(&self.usher, &self.fence).await.map_err(|trouble| trouble.message)?.map(|trouble| trouble.message);
            let right = match (wanted, &lacks) {
                (None, None) => true,
                (Some(wanted), Some(lacks)) => lacks.starts_with(&format!("usher lacks rights there: {wanted}; install")),
                _ => false,
            };
            if right { Ok(()) } else { Err(format!("{lacks:?}")) }
        })
        .await;
    }

    /// Takes away one right after the other. One that another rule gives as well, in all namespaces, is missed by nobody.
    async fn each_is_missed(&self) {
        let given = Given::read(&self.client).await;
        let rights = given.rights();
        let twice = |right: &Right| right.namespace.is_some() && rights.contains(&right.everywhere());
        for without in &rights {
            let others: Vec<&Right> = rights.iter().filter(|right| *right != without).collect();
            given.write(&self.client, &others).await;
            self.lacks((!twice(without)).then(|| format!("{without:?}")).as_deref()).await;
        }
        given.write(&self.client, &rights.iter().collect::<Vec<_>>()).await;
        self.lacks(None).await;
    }
}

/// What the chart gives at home, by the values of the remote side.
async fn at_home(install: &Install, values: &[&str]) -> BTreeSet<Right> {
    let text = install.helm(&["template", "usher", "charts/usher"], values).await.ok();
    let mut rights = BTreeSet::new();
    for document in serde_saphyr::from_multiple::<serde_json::Value>(&text).expect("YAML") {
        let rules = || serde_json::from_value::<Vec<PolicyRule>>(document["rules"].clone()).expect("rules");
        match (document["kind"].as_str(), document["metadata"]["name"].as_str(), document["metadata"]["namespace"].as_str()) {
            (Some("ClusterRole"), Some("usher"), _) => rights.extend(Right::of(None, &rules())),
            (Some("Role"), Some("usher"), Some(IDENTITIES)) => rights.extend(Right::of(Some(IDENTITIES), &rules())),
            _ => {}
        }
    }
    rights
}

#[tokio::test]
async fn each_right_of_the_remote_side_is_needed_and_missed_by_name() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let install = Install::in_plane(&plane);
    for inline_rules in [true, false] {
        let value = format!("fence.inlineRules={inline_rules}");
        install.helm(&["install", "usher", "charts/usher", "--create-namespace"], &["side=Remote", &value]).await.ok();
        let usher = log_in(&plane.usher(&["remote", "kubeconfig", "--namespace", NAMESPACE]).await.ok()).await;
        let fence = Fence { inline_rules, ..Fence::default() };
        let side = Side { client: plane.admin_client().await, usher, fence };
        side.lacks(None).await;
        let (there, home) = (Given::read(&side.client).await.rights(), at_home(&install, &[&value]).await);
        let more: Vec<&Right> = there.iter().filter(|right| !home.contains(right)).collect();
        assert!(there.len() > 50 && more.is_empty(), "more than usher uses at home, with {value}: {more:?}");
        side.each_is_missed().await;
        install.uninstall().await.ok();
    }
    plane.stop().await;
}
