//! The first way of a credential to its owner: by whoever may read the Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::api::metadata::{KUBECONFIG_KEY, KUBECONFIG_SECRET};
use crate::api::{Developer, Environment};
use crate::cluster::remote::{Way, secret_of};
use crate::plan::cluster::ClusterKey;

use super::connect::Connect;
use super::settings::Values;
use super::{Failure, print};

/// Print a person's kubeconfig from her home workspace.
///
/// Where that is in another cluster, it is read there by the Secret in usher's namespace, as usher does.
#[derive(Debug, clap::Args)]
pub struct Kubeconfig {
    #[command(flatten)]
    connect: Connect,
    /// The namespace that usher is installed in
    #[arg(long, short = 'n', env = "USHER_NAMESPACE", default_value = "usher-system")]
    namespace: String,
    /// The Developer
    name: String,
}

impl Kubeconfig {
    /// Prints it.
    pub async fn execute(self) -> Result<(), Failure> {
        let client = self.connect.client().await?;
        let developers: Api<Developer> = Api::all(client.clone());
        let developer = developers
            .get_opt(&self.name)
            .await?
            .ok_or_else(|| format!("dev/{} does not exist; `kubectl get dev` lists those that do", self.name))?;
        let status = developer.status.unwrap_or_default();
        let home = status.workspaces.iter().find(|workspace| workspace.home).ok_or_else(|| {
            let message = status.summary.map(|summary| summary.message).unwrap_or_default();
            format!("dev/{} has no home workspace: {message}", self.name)
        })?;
        let there = self.cluster_of(&client, &home.environment).await?;
        let secrets: Api<Secret> = Api::namespaced(there, &home.namespace);
        let secret = secrets
            .get_opt(KUBECONFIG_SECRET)
            .await
            .map_err(|error| format!("cannot read Secret {}/{KUBECONFIG_SECRET}: {error}", home.namespace))?;
        let value = secret.and_then(|secret| secret.data?.remove(KUBECONFIG_KEY)).ok_or_else(|| {
            format!("dev/{} has no kubeconfig now (state {:?}); `kubectl describe dev {}` says why", self.name, status.state, self.name)
        })?;
        print(&format!("{}\n", String::from_utf8(value.0)?))
    }

    /// A client of the cluster of an Environment.
    async fn cluster_of(&self, client: &Client, environment: &str) -> Result<Client, Failure> {
        let found = Api::<Environment>::all(client.clone()).get_opt(environment).await?;
        let cluster = found.as_ref().map_or(ClusterKey::Home, ClusterKey::of);
        if cluster == ClusterKey::Home {
            return Ok(client.clone());
        }
        let terms = Values::read(client, &self.namespace).await?.terms()?;
        let way = Way { home: client, namespace: &self.namespace, secret: secret_of(&cluster), terms };
        let opened = way.open().await.map_err(|trouble| {
            format!("dev/{} is at home in uenv/{environment}, in another cluster, which cannot be read: {}", self.name, trouble.message)
        })?;
        Ok(opened.0)
    }
}
