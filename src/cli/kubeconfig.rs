//! The first way of a credential to its owner: by whoever may read the Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::api::Developer;
use crate::api::metadata::{KUBECONFIG_KEY, KUBECONFIG_SECRET};

use super::connect::Connect;
use super::{Failure, print};

/// Print a person's kubeconfig from her home workspace.
#[derive(Debug, clap::Args)]
pub struct Kubeconfig {
    #[command(flatten)]
    connect: Connect,
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
        let secrets: Api<Secret> = Api::namespaced(client, &home.namespace);
        let secret = secrets
            .get_opt(KUBECONFIG_SECRET)
            .await
            .map_err(|error| format!("cannot read Secret {}/{KUBECONFIG_SECRET}: {error}", home.namespace))?;
        let value = secret.and_then(|secret| secret.data?.remove(KUBECONFIG_KEY)).ok_or_else(|| {
            format!("dev/{} has no kubeconfig now (state {:?}); `kubectl describe dev {}` says why", self.name, status.state, self.name)
        })?;
        print(&format!("{}\n", String::from_utf8(value.0)?))
    }
}
