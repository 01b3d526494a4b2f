//! What an administrator of another cluster does, so that usher may work there.

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use serde_json::json;

use crate::api::Span;
use crate::plan::settings::Server;

use super::connect::{Connect, chain};
use super::settings::reached_by;
use super::{Failure, complain, print};

/// For clusters besides the one that usher runs in.
#[derive(Debug, clap::Args)]
pub struct Remote {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a kubeconfig by which usher works in a cluster: for a Secret in its own namespace.
    ///
    /// It is made with your own credentials for that cluster, in which the chart was installed with side=Remote. Run it again before the token ends, and put
    /// the new one into the same Secret: usher takes it without a restart.
    Kubeconfig(RemoteKubeconfig),
}

/// Print a kubeconfig by which usher works in a cluster.
#[derive(Debug, clap::Args)]
struct RemoteKubeconfig {
    #[command(flatten)]
    connect: Connect,
    /// The namespace in which the chart was installed with side=Remote
    #[arg(long, default_value = "usher-system")]
    namespace: String,
    /// The ServiceAccount
    #[arg(long, default_value = "usher")]
    service_account: String,
    /// How long its token lives, such as 90d; the API server may give less
    #[arg(long, default_value = "90d")]
    duration: Span,
    /// The address of the API server, as usher and people reach it [default: that of the context]
    #[arg(long)]
    server: Option<String>,
}

impl Remote {
    /// Does it.
    ///
    /// # Errors
    /// When the cluster cannot be reached, or there is no such ServiceAccount.
    pub async fn execute(self) -> Result<(), Failure> {
        let Command::Kubeconfig(command) = self.command;
        command.execute().await
    }
}

impl RemoteKubeconfig {
    async fn execute(self) -> Result<(), Failure> {
        let config = self.connect.config().await?;
        let token = self.token(&config).await?;
        let Server { url, ca_data } = reached_by(&config);
        let server = self.server.clone().unwrap_or(url);
        let mut cluster = json!({"server": server});
        if let (Some(map), false) = (cluster.as_object_mut(), ca_data.is_empty()) {
            map.insert("certificate-authority-data".to_owned(), ca_data.into());
        }
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "remote", "cluster": cluster}],
            "users": [{"name": "usher", "user": {"token": token}}],
            "contexts": [{"name": "remote", "context": {"cluster": "remote", "user": "usher", "namespace": self.namespace}}],
            "current-context": "remote",
        });
        print(&format!("{kubeconfig}\n"))
    }

    async fn token(&self, config: &Config) -> Result<String, Failure> {
        let accounts: Api<ServiceAccount> = Api::namespaced(Client::try_from(config.clone())?, &self.namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(self.duration.duration().as_secs()), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let account = format!("{}/{}", self.namespace, self.service_account);
        let answer = accounts.create_token_request(&self.service_account, &PostParams::default(), &request).await.map_err(|error| {
            format!("no token for ServiceAccount {account}: {}; is the chart installed there with side=Remote?", chain(&error))
        })?;
        let status = answer.status.unwrap_or_default();
        if let Some(end) = &status.expiration_timestamp {
            complain(&format!(
                "the token of ServiceAccount {account} ends at {}; make another one before that",
                crate::plan::developer::seconds(end.0)
            ));
        }
        status.token.ok_or_else(|| format!("the API server gave no token for ServiceAccount {account}").into())
    }
}
