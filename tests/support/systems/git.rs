//! A person with git and ssh, as she works with a forge that `hack/systems/gitea` runs.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::process::Command;

use super::System;

/// git and ssh, with nothing of the machine's own settings.
pub struct Git {
    url: String,
    ca: PathBuf,
    ssh_port: String,
    dir: PathBuf,
}

impl Git {
    /// What works with a forge. Its files are among that one's.
    pub fn of(system: &System) -> Self {
        let (url, ssh_port) = (system.env("URL").to_owned(), system.env("SSH_PORT").to_owned());
        Self { url, ca: system.ca_file().to_owned(), ssh_port, dir: system.dir().to_owned() }
    }

    /// A place for a file or folder that is not there yet.
    fn place(&self, name: &str) -> PathBuf {
        static FILES: AtomicU64 = AtomicU64::new(0);
        self.dir.join(format!("{name}-{}", FILES.fetch_add(1, Ordering::Relaxed)))
    }

    /// A new SSH key: where the private one is, and the public one.
    pub async fn key(&self) -> (PathBuf, String) {
        let place = self.place("key");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "of a test", "-f"]).arg(&place).output().await;
        let made = made.expect("ssh-keygen: install openssh-client");
        assert!(made.status.success(), "{}", said(&made));
        let public = std::fs::read_to_string(place.with_extension("pub")).expect("a key");
        (place, public.trim().to_owned())
    }

    /// Whether an SSH key lets in.
    pub async fn opens(&self, key: &Path) -> bool {
        let ssh = Command::new("ssh").args(SSH).arg("-i").arg(key).args(["-T", "-p", &self.ssh_port, "git@127.0.0.1"]).output().await;
        said(&ssh.expect("ssh: install openssh-client")).contains("successfully authenticated")
    }

    /// Runs git.
    pub async fn run(&self, key: Option<&Path>, arguments: &[&str]) -> Output {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GIT_")) {
            command.env_remove(name);
        }
        if let Some(key) = key {
            command.env("GIT_SSH_COMMAND", format!("ssh {} -i {}", SSH.join(" "), key.display()));
        }
        let nobody = ["-c", "http.proxy=", "-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "credential.helper="];
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        command.env("GIT_SSL_CAINFO", &self.ca).args(nobody).args(arguments).output().await.expect("git: install it")
    }

    /// Clones a repository, and pushes a commit. Says whether it could.
    pub async fn pushes(&self, key: Option<&Path>, url: &str) -> bool {
        let place = self.place("clone");
        let folder = place.to_str().expect("a path");
        for arguments in [
            &["clone", "-q", url, folder][..],
            &["-C", folder, "commit", "-q", "--allow-empty", "-m", "Turn the engine"],
            &["-C", folder, "push", "-q", "origin", "HEAD:main"],
        ] {
            if !self.run(key, arguments).await.status.success() {
                return false;
            }
        }
        true
    }

    /// Where a repository is for who has this password or token.
    pub fn https(&self, username: &str, password: &str, repository: &str) -> String {
        format!("{}/{repository}.git", self.url.replace("://", &format!("://{username}:{password}@")))
    }

    pub fn ssh(&self, repository: &str) -> String {
        format!("ssh://git@127.0.0.1:{}/{repository}.git", self.ssh_port)
    }
}

const SSH: [&str; 10] = [
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "IdentitiesOnly=yes",
    "-o",
    "BatchMode=yes",
    "-F",
    "/dev/null",
];

/// What a command said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
