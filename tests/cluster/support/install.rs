//! The chart, installed by the real Helm, and the operator's own credentials from it.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::client::{TEST, apply_as, delete, dry_run, explain, manifest};
use super::tools::{self, Output};
use super::{ControlPlane, wait_until};

/// Long enough for anything that a busy machine does.
const SOON: Duration = Duration::from_mins(1);
/// Where the operator lives.
pub const NAMESPACE: &str = "usher-system";
/// Values for tests in which nobody takes over: when a machine is so busy that a renewal takes seconds, the operator does not end itself, as nothing here
/// starts it again. One that was killed leaves such a Lease for long, so it wants a name to come back under: `--identity`.
pub const PATIENT: [&str; 2] = ["leaderElection.leaseDuration=60s", "leaderElection.renewDeadline=40s"];

/// Most tests delete people without letting them depart first; what is refused by default is tested by name.
const DELETABLE: &str = "protection.deleteDeveloper=Allow";

/// Figures follow what happens at once, so that they are told before a test counts a cluster as settled.
const PROMPT: &str = "figures.every=1s";

/// A release of the chart in a control plane. The chart's RBAC is what the operator under test gets, and nothing more.
pub struct Install {
    admin_kubeconfig: PathBuf,
    dir: PathBuf,
}

impl Install {
    /// `helm install` of this checkout's chart, with values such as `starterRoles=false`, and a kubeconfig for the operator.
    pub async fn new(plane: &ControlPlane, values: &[&str]) -> Self {
        let install = Self::in_plane(plane);
        install.helm(&["install", "usher", "charts/usher", "--create-namespace"], values).await.ok();
        tokio::join!(install.write_kubeconfig(plane), limits_in_force(plane));
        install
    }

    /// Helm in a control plane, with nothing installed yet.
    pub fn in_plane(plane: &ControlPlane) -> Self {
        Self { admin_kubeconfig: plane.kubeconfig(), dir: plane.dir().to_owned() }
    }

    /// `helm upgrade` to a chart, such as `charts/usher` or one that an earlier commit had.
    pub async fn upgrade(&self, chart: &Path, values: &[&str]) -> Output {
        let chart = chart.to_str().expect("a path in UTF-8");
        self.helm(&["upgrade", "usher", chart], values).await
    }

    /// `helm uninstall`.
    pub async fn uninstall(&self) -> Output {
        self.helm(&["uninstall", "usher"], &[]).await
    }

    /// Any command of Helm in usher's namespace.
    pub async fn helm(&self, arguments: &[&str], values: &[&str]) -> Output {
        let mut command = tools::command(tools::tool("helm"), &self.dir);
        command.env("KUBECONFIG", &self.admin_kubeconfig).args(arguments).args(["--namespace", NAMESPACE]);
        // An earlier chart may not know the value.
        if arguments.contains(&"charts/usher") {
            command.args(["--set", DELETABLE, "--set", PROMPT]);
        }
        for value in values {
            command.args(["--set", value]);
        }
        tools::run(command, "").await
    }

    /// The operator's kubeconfig: its ServiceAccount's token, its namespace. Written anew when the ServiceAccount is: after a reinstall.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("operator.kubeconfig")
    }

    /// Where logs and the like go; it goes away with the control plane.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A kubeconfig for one of several replicas: with a token of its own, by which the audit log tells it from the others, and the way that it takes to the API
    /// server.
    pub async fn kubeconfig_for(&self, plane: &ControlPlane, replica: &str, server: &str) -> PathBuf {
        let file = self.dir.join(format!("{replica}.kubeconfig"));
        let token = token(plane, NAMESPACE, "usher").await;
        write_kubeconfig_to(&file, (server, plane.variable("CA_FILE")), &json!({"token": token}), NAMESPACE);
        file
    }

    /// Asks for a token and writes [`Self::kubeconfig`]. A reinstall makes another ServiceAccount, which needs this again.
    pub async fn write_kubeconfig(&self, plane: &ControlPlane) {
        let token = token(plane, NAMESPACE, "usher").await;
        write_kubeconfig(&self.kubeconfig(), plane, &token, NAMESPACE);
    }
}

/// Waits until the API server reads the Roles that limit Bindings. Before that, and after it has begun to look for the policy, it refuses every Binding.
async fn limits_in_force(plane: &ControlPlane) {
    let client = plane.admin_client().await;
    let object = |kind: &str, spec: serde_json::Value| {
        manifest(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": "canary"}, "spec": spec}).to_string())
    };
    let role = object("Role", json!({"requireReason": true}));
    wait_until("the kind Role is served", SOON, async || apply_as(&client, TEST, role.clone()).await.map_err(|error| explain(&error)))
        .await;
    let binding = object("Binding", json!({"role": "canary", "developers": ["canary"]}));
    wait_until("usher-binding-limits is in force", SOON, async || match dry_run(&client, &binding).await {
        Err(error) if explain(&error).contains("with a reason only") => Ok(()),
        Err(error) => Err(explain(&error)),
        Ok(_) => Err("it limits nothing".to_owned()),
    })
    .await;
    delete(&client, &role).await;
}

/// What the audit log calls the token in a kubeconfig of [`write_kubeconfig`].
pub fn credential(file: &Path) -> String {
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(file).expect("a kubeconfig")).expect("JSON");
    credential_of(config["users"][0]["user"]["token"].as_str().expect("a token"))
}

/// What the audit log calls a token.
pub fn credential_of(token: &str) -> String {
    format!("JTI={}", claims_of(token)["jti"].as_str().expect("an id"))
}

/// What a token says of whose it is.
pub fn claims_of(token: &str) -> serde_json::Value {
    let claims = token.split('.').nth(1).expect("a JSON Web Token");
    let claims = data_encoding::BASE64URL_NOPAD.decode(claims.as_bytes()).expect("Base64");
    serde_json::from_slice(&claims).expect("JSON")
}

/// A token for a ServiceAccount, as soon as that exists.
pub async fn token(plane: &ControlPlane, namespace: &str, name: &str) -> String {
    let accounts = Api::<ServiceAccount>::namespaced(plane.admin_client().await, namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec { expiration_seconds: Some(86_400), ..TokenRequestSpec::default() }),
        ..TokenRequest::default()
    };
    wait_until(&format!("a token for ServiceAccount {namespace}/{name}"), SOON, async || {
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        answer.map(|answer| answer.status.expect("a token").token.expect("a token")).map_err(|error| explain(&error))
    })
    .await
}

/// Writes a kubeconfig that only this user can read.
pub fn write_kubeconfig(file: &Path, plane: &ControlPlane, token: &str, namespace: &str) {
    write_kubeconfig_with(file, plane, &json!({"token": token}), namespace);
}

/// Writes a kubeconfig of a user who proves in some other way who she is.
pub fn write_kubeconfig_with(file: &Path, plane: &ControlPlane, user: &serde_json::Value, namespace: &str) {
    write_kubeconfig_to(file, (plane.variable("APISERVER_URL"), plane.variable("CA_FILE")), user, namespace);
}

fn write_kubeconfig_to(file: &Path, (server, ca): (&str, &str), user: &serde_json::Value, namespace: &str) {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": ca}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        "current-context": "test",
    });
    // The mode counts only when the file is new.
    let _ = std::fs::remove_file(file);
    let mut options = std::fs::OpenOptions::new();
    let mut open = options.write(true).create_new(true).mode(0o600).open(file).expect("a file in the control plane's folder");
    open.write_all(config.to_string().as_bytes()).expect("space on the disk");
}
