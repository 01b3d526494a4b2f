//! The binaries that `hack/install-tools` provides, and running them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::script::repository;

/// What a tool printed, and whether it succeeded.
#[derive(Debug)]
pub struct Output {
    /// Its exit code was 0.
    pub success: bool,
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Output {
    /// What it printed, if it succeeded; otherwise the test fails with its complaint.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.success, "{}{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// The path of kubectl or helm. The first call builds what is missing, which is silent and instant when nothing is.
pub fn tool(name: &str) -> PathBuf {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    let installed = *INSTALLED.get_or_init(|| {
        let script = repository().join("hack/install-tools");
        std::process::Command::new(script).stdin(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    assert!(installed, "the tools for tests are missing; try it by hand: hack/install-tools");
    repository().join(".tools/bin").join(name)
}

/// Runs `command` with `input` to its end.
pub async fn run(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let writing = async {
        // A tool that does not read its input has its own way to say what is wrong.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let ((), output) = tokio::join!(writing, child.wait_with_output());
    let output = output.unwrap_or_else(|error| panic!("cannot read from {command:?}: {error}"));
    Output {
        success: output.status.success(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A command that sees nothing of the developer's own settings: no kubeconfig, no proxy, caches in `scratch`.
pub fn command(program: impl AsRef<OsStr>, scratch: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", scratch).env("KUBECACHEDIR", scratch.join("kubectl-cache"));
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.current_dir(repository());
    command
}
