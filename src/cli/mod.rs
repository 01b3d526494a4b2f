//! The `usher` command.

pub mod connect;
pub mod consistency;
pub mod crds;
mod everywhere;
pub mod grant;
mod holdings;
pub mod import;
pub mod kubeconfig;
pub mod manifests;
pub mod orphans;
pub mod plan;
mod read;
pub mod remote;
pub mod report;
mod rules;
pub mod run;
mod serve;
pub mod settings;
mod snapshot;
mod table;
pub mod uninstall;
pub mod who_had;
pub mod who_has;
pub mod why;

use clap::{Parser, Subcommand};

/// What can go wrong, told in one line with its causes.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Gives developers everything they need to push code on day one, and takes all of it away when they leave.
///
/// People write Developers, Roles, Bindings and Environments with kubectl; `usher run` makes namespaces, RBAC and credentials follow.
/// Linked as kubectl-usher, it is `kubectl usher`.
#[derive(Debug, Parser)]
#[command(name = "usher", version, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator.
    Run(run::Run),
    /// Print the CustomResourceDefinitions, or write them as files.
    Crds(crds::Crds),
    /// Say who would gain and lose what by manifests, without a cluster or against live ones, and change nothing. Exits with 0 for no difference, 1 for some,
    /// 2 for an error.
    Plan(plan::Plan),
    /// Say what people have today as Developers, Roles and Bindings, list what these cannot say, and change nothing. Exits with 0 if all could be said, 1 if
    /// something is listed, 2 for an error.
    Import(import::Import),
    /// Give a person a Role for a while: makes a Binding that expires.
    Grant(grant::GrantRole),
    /// Print a person's kubeconfig from her home workspace.
    Kubeconfig(kubeconfig::Kubeconfig),
    /// For clusters besides the one that usher runs in.
    Remote(remote::Remote),
    /// Say who holds which Role now, since when, by whom and why.
    WhoHas(who_has::WhoHas),
    /// Say who held which Role at a moment in the past.
    WhoHad(who_had::WhoHad),
    /// Say why a person may do something: which Binding, Role and rule give it. Exits with 0 if she may, 1 if not, 2 for an error.
    Why(why::Why),
    /// Say whether people have in every Environment what their Roles give them there, and name where not. Exits with 1 if too few have.
    Consistency(consistency::Consistency),
    /// Print the four figures of the platform, over all and for each team, with the worst cells.
    Report(report::Report),
    /// List what usher made and whose owner it does not know any more, and remove it only if you say so.
    Orphans(orphans::Orphans),
    /// Take usher's finalizers off once the operator is gone, and nothing else: people keep what they have.
    Uninstall(uninstall::Uninstall),
}

impl Cli {
    /// Does what was asked. Returns the exit code.
    ///
    /// # Errors
    /// With what went wrong and what to do about it.
    pub async fn execute(self) -> Result<u8, Failure> {
        match self.command {
            Command::Run(run) => run.execute().await.map(|()| 0),
            Command::Crds(crds) => crds.execute().map(|()| 0),
            Command::Plan(plan) => plan.execute().await,
            Command::Import(import) => import.execute().await,
            Command::Grant(grant) => grant.execute().await.map(|()| 0),
            Command::Kubeconfig(kubeconfig) => kubeconfig.execute().await.map(|()| 0),
            Command::Remote(remote) => remote.execute().await.map(|()| 0),
            Command::WhoHas(who_has) => who_has.execute().await.map(|()| 0),
            Command::WhoHad(who_had) => who_had.execute().await.map(|()| 0),
            Command::Why(why) => why.execute().await,
            Command::Consistency(consistency) => consistency.execute().await,
            Command::Report(report) => report.execute().await.map(|()| 0),
            Command::Orphans(orphans) => orphans.execute().await,
            Command::Uninstall(uninstall) => uninstall.execute().await.map(|()| 0),
        }
    }
}

/// Writes to standard output; a reader who has gone away is no error.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Writes a line to standard error.
fn complain(text: &str) {
    use std::io::Write;
    // There is nowhere else to say it.
    let _ = writeln!(std::io::stderr(), "{text}");
}
