//! The cluster that a command speaks to: `KUBECONFIG`, `~/.kube/config`, or the Pod's own.

use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::Failure;

/// An API server that says nothing for so long is not there, or the connection is not. Watches are told once a minute how far they are.
const ANSWERS_WITHIN: Duration = Duration::from_secs(75);

/// How to reach the home cluster, as flags of every command that does.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Connect {
    /// The context of the kubeconfig [default: the current one]
    #[arg(long, env = "USHER_CONTEXT")]
    context: Option<String>,
}

impl Connect {
    /// Finds out how to reach the cluster.
    ///
    /// # Errors
    /// When there is neither a usable kubeconfig nor a Pod's ServiceAccount.
    pub async fn config(&self) -> Result<Config, Failure> {
        let mut config = self.found().await?;
        config.read_timeout = Some(ANSWERS_WITHIN);
        config.reset_reader_on_write = true;
        Ok(config)
    }

    async fn found(&self) -> Result<Config, Failure> {
        let explicit = std::env::var_os("KUBECONFIG").is_some() || self.context.is_some();
        if !explicit {
            return Config::infer()
                .await
                .map_err(|error| format!("no cluster found: set KUBECONFIG, or run inside a cluster ({error})").into());
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let file = Kubeconfig::read().map_err(|error| format!("cannot read the kubeconfig: {}", chain(&error)))?;
        Config::from_custom_kubeconfig(file, &options).await.map_err(|error| {
            format!("the kubeconfig cannot be used: {}; check --context and the file that KUBECONFIG names", chain(&error)).into()
        })
    }

    /// A client of the cluster.
    ///
    /// # Errors
    /// When there is no way to reach a cluster.
    pub async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::try_from(self.config().await?)?)
    }
}

/// An error and what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}
