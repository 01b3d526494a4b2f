//! One control plane: etcd, kube-apiserver and kube-controller-manager, run by `hack/control-plane`.

use std::path::{Path, PathBuf};
use std::process::Command;

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use rustix::process::Pid;
use tokio::sync::SemaphorePermit;

pub use super::script::off_thread;
use super::script::{self, Script};
use super::shared;
use super::tools::{self, Output};

/// How much of each request the API server writes down.
#[derive(Clone, Copy, Debug, Default)]
pub enum AuditLevel {
    /// Who did what to which object.
    #[default]
    Metadata,
    /// The bodies of requests, too.
    #[allow(dead_code, reason = "for tests of what the operator writes")]
    Request,
}

/// A running control plane. Dropping it ends it; so does the end of this process, however that comes.
pub struct ControlPlane {
    script: Script,
    /// Given back when this one has ended.
    #[allow(dead_code, reason = "held, not read")]
    turn: Option<SemaphorePermit<'static>>,
}

impl ControlPlane {
    /// Starts one with an etcd of its own. Most tests want [`super::bare`], [`super::operated`] or [`Self::exclusive`], which cost less.
    #[allow(dead_code, reason = "for measuring, where nobody else may use the same etcd")]
    pub async fn start(audit: AuditLevel) -> Self {
        off_thread(move || Self::start_blocking(None, audit, &[])).await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// An API server and controllers for one test alone, which may do to them what it likes. At most four exist at once; the test waits for its turn.
    pub async fn exclusive(audit: AuditLevel) -> Self {
        Self::exclusive_with(audit, &[]).await
    }

    /// The same, with more flags for its API server.
    pub async fn exclusive_with(audit: AuditLevel, flags: &'static [&'static str]) -> Self {
        let turn = shared::turn().await;
        let etcd = super::bare().await;
        let mut plane =
            off_thread(move || Self::start_blocking(Some(etcd.dir()), audit, flags)).await.unwrap_or_else(|problem| panic!("{problem}"));
        plane.turn = Some(turn);
        plane
    }

    /// The same with an etcd of its own, for a test that does to that what it likes.
    pub async fn alone(audit: AuditLevel, flags: &'static [&'static str]) -> Self {
        let turn = shared::turn().await;
        let mut plane = off_thread(move || Self::start_blocking(None, audit, flags)).await.unwrap_or_else(|problem| panic!("{problem}"));
        plane.turn = Some(turn);
        plane
    }

    /// One with the etcd of another, for tests that share it and end it never: it ends with this process.
    pub async fn sharing(etcd: &'static Self, audit: AuditLevel) -> Self {
        off_thread(move || Self::start_blocking(Some(etcd.dir()), audit, &[])).await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Starts one, on the etcd of the control plane in `share` if that is given.
    pub fn start_blocking(share: Option<&Path>, audit: AuditLevel, flags: &[&str]) -> Result<Self, String> {
        Script::start(command(share, audit, flags), "control-plane:")
            .map(|script| Self { script, turn: None })
            .map_err(|said| format!("no control plane, as hack/control-plane says:\n{said}\nIf tools are missing: hack/install-tools"))
    }

    /// Where its files are. What a test puts here goes when the control plane ends, unless `USHER_TEST_DIR` keeps it.
    pub fn dir(&self) -> &Path {
        self.script.dir()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir().join("kubeconfig")
    }

    /// Where the API server writes what usher and its people ask.
    pub fn audit_log(&self) -> PathBuf {
        self.dir().join("audit.log")
    }

    /// A variable of the script's `env` file, such as `APISERVER_PID`.
    #[track_caller]
    pub fn variable(&self, name: &str) -> &str {
        self.script.variable(name).unwrap_or_else(|| panic!("hack/control-plane says no {name}"))
    }

    /// The processes: of the API server, and of the controller manager.
    pub fn pids(&self) -> [i32; 2] {
        ["APISERVER_PID", "CONTROLLER_MANAGER_PID"].map(|name| self.variable(name).parse().expect("a process id"))
    }

    /// The process of its etcd.
    pub fn etcd(&self) -> Pid {
        Pid::from_raw(self.variable("ETCD_PID").parse().expect("a process id")).expect("a process id")
    }

    /// Kills the API server and starts it again at the same address, with the same data. Returns when it is ready.
    pub async fn restart_apiserver(mut self) -> Self {
        off_thread(move || {
            self.script.restart("restart-apiserver");
            self
        })
        .await
    }

    /// A client for the administrator on the caller's runtime. kube limits no rates.
    pub async fn admin_client(&self) -> Client {
        client_of(&self.kubeconfig()).await
    }

    /// Runs kubectl as the administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_with(arguments, "").await
    }

    /// Runs kubectl as the administrator with something on its standard input.
    pub async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = tools::command(tools::tool("kubectl"), self.dir());
        command.env("KUBECONFIG", self.kubeconfig()).args(arguments);
        tools::run(command, input).await
    }

    /// Runs one of usher's own commands as the administrator.
    pub async fn usher(&self, arguments: &[&str]) -> Output {
        self.usher_as(&self.kubeconfig(), arguments).await
    }

    /// Runs one of usher's own commands with another kubeconfig.
    pub async fn usher_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Output {
        let mut command = tools::command(env!("CARGO_BIN_EXE_usher"), self.dir());
        command.env("KUBECONFIG", kubeconfig).args(arguments);
        tools::run(command, "").await
    }

    /// Ends it and waits for that.
    pub async fn stop(self) {
        off_thread(move || drop(self)).await;
    }
}

/// Runs a line of a page in a shell, with kubectl and usher on the PATH, as the administrator.
pub async fn run_as_written(plane: &ControlPlane, line: &str) -> Output {
    let folders =
        [tools::tool("kubectl"), PathBuf::from(env!("CARGO_BIN_EXE_usher"))].map(|tool| tool.parent().expect("a folder").to_owned());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path))).expect("no colons");
    let mut command = tools::command("bash", plane.dir());
    command.env("PATH", path).env("KUBECONFIG", plane.kubeconfig()).args(["-euo", "pipefail", "-c", line]);
    tools::run(command, "").await
}

/// A client of an administrator of another name, by impersonation.
pub async fn client_as(kubeconfig: &Path, user: &str, groups: &[&str]) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a kubeconfig that fits together");
    config.auth_info.impersonate = Some(user.to_owned());
    config.auth_info.impersonate_groups = Some(groups.iter().map(|group| (*group).to_owned()).collect());
    Client::try_from(config).expect("a client")
}

/// A client for the current context of a kubeconfig file, on the caller's runtime.
pub async fn client_of(kubeconfig: &Path) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a kubeconfig that fits together");
    Client::try_from(config).expect("a client")
}

fn command(share: Option<&Path>, audit: AuditLevel, flags: &[&str]) -> Command {
    let mut command = script::run("control-plane", "");
    command.args(["--audit-level", &format!("{audit:?}")]);
    for flag in flags {
        command.args(["--apiserver-flag", flag]);
    }
    if let Some(share) = share {
        command.arg("--share").arg(share);
    }
    command
}
