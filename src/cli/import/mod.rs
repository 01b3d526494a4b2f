//! What people have today, as manifests: the way in for clusters that were there before usher.

mod accounts;
mod show;

use std::collections::BTreeSet;

use crate::cluster::memory::Memory;
use crate::plan::covering::Rules;
use crate::plan::import::{Accounts, Import as Found, Inputs, OwnerKey, Reach, Sort, import};

use super::connect::Connect;
use super::everywhere::{everywhere, opened};
use super::{Failure, complain, print, rules};

use self::show::{Output, list, manifests, totals};

/// Say what people have today as Developers, Roles and Bindings, list what these cannot say, and change nothing.
///
/// It reads the namespaces and bindings of every Environment's cluster. A User of a RoleBinding becomes a Developer, known to the cluster as she is now. What she has in the
/// shared namespaces of an Environment becomes Roles, and Bindings of them; people who have the same are named together. A namespace that says whose it is, by a
/// label or an annotation, is pinned as her workspace, if she has in it what the Environment gives in workspaces. What a ClusterRoleBinding gives becomes rules with
/// `cluster: true`, where the Environments and the fence allow that.
///
/// With --provider an account that has somebody's e-mail address is pinned as hers, and its groups become Roles.
///
/// Nobody gets more by these manifests than she has: what would give more is not made but listed, and so is what cannot be said, each with the reason and the remedy.
/// The manifests go to standard output, and the list to standard error; in YAML it stands above them as well. Declare the Environments first, with `mode: Observe`.
///
/// Exits with 0 if everything could be said, 1 if something is listed, 2 for an error or if a cluster could not be read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  usher import --owner-label owner > people.yaml          namespaces have a label owner
  usher import --email '{user}@example.com' -o json       user names are no e-mail addresses
  usher import -e dev --whole | kubectl apply -f -        one Environment, and Roles for all of its namespaces
  usher import --provider forge                           and accounts at a Provider
  usher import --all > /dev/null                          only the list, with what belongs to programs")]
pub struct Import {
    #[command(flatten)]
    connect: Connect,
    /// The namespace that usher is installed in
    #[arg(long, short = 'n', env = "USHER_NAMESPACE", default_value = "usher-system")]
    namespace: String,
    /// The label of namespaces that says whose they are: a user name, with or without its prefix, or an e-mail address or what stands before its @
    #[arg(long, value_name = "KEY", conflicts_with = "owner_annotation")]
    owner_label: Option<String>,
    /// The same as an annotation
    #[arg(long, value_name = "KEY")]
    owner_annotation: Option<String>,
    /// The e-mail address of who is known by another name; {user} is that name without its prefix
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    email: Option<String>,
    /// Only this Environment; may be repeated
    #[arg(long = "environment", short = 'e', value_name = "ENVIRONMENT")]
    environments: Vec<String>,
    /// Where people have something in all shared namespaces of an Environment, name none of them: so they will have it in later ones, too
    #[arg(long)]
    whole: bool,
    /// Import also the accounts of this Provider, which is asked with usher's own credential; may be repeated
    #[arg(long = "provider", value_name = "PROVIDER")]
    providers: Vec<String>,
    /// List also what is no person's: bindings of ServiceAccounts, of Kubernetes itself, and usher's own
    #[arg(long)]
    all: bool,
    /// How to print the manifests
    #[arg(long, short = 'o', default_value = "yaml")]
    output: Output,
}

/// A pattern that differs from person to person.
fn pattern(text: &str) -> Result<String, String> {
    if text.contains("{user}") { Ok(text.to_owned()) } else { Err("{user} has to stand in it, for example {user}@example.com".to_owned()) }
}

impl Import {
    /// Prints manifests, and lists what they cannot say. Returns the exit code.
    pub async fn execute(self) -> Result<u8, Failure> {
        let (client, values, memory) = opened(&self.connect, &self.namespace).await?;
        everywhere(&memory, &client, values.terms()?, std::iter::empty()).await?;
        let rules = rules::read(&memory, &client, values.terms()?).await?;
        let (accounts, silent) = accounts::read(&memory, &client, &self.providers).await?;
        let unread = [self.unread(&memory), silent].concat();
        let found = self.found(&memory, &rules, &accounts)?;
        print(&manifests(&found, self.output))?;
        complain(&list(&found, self.all));
        complain(&totals(&found));
        unread.iter().for_each(|line| complain(line));
        let left = found.left.iter().any(|left| left.sort == Sort::People);
        Ok(if unread.is_empty() { u8::from(left) } else { 2 })
    }

    fn found(&self, memory: &Memory, rules: &Rules, accounts: &Accounts) -> Result<Found, Failure> {
        let label = self.owner_label.clone().map(OwnerKey::Label);
        let owner = label.or_else(|| self.owner_annotation.clone().map(OwnerKey::Annotation));
        let environments: BTreeSet<String> = self.environments.iter().cloned().collect();
        let reach = if self.whole { Reach::Whole } else { Reach::Named };
        memory.read(|content, scene| {
            if content.world.live_environments().next().is_none() {
                return Err("there is no Environment, so nobody knows which namespaces are whose; make one with mode: Observe first".into());
            }
            if let Some(name) = environments.iter().find(|name| content.world.environment(name).is_none()) {
                return Err(format!("uenv/{name} does not exist; `kubectl get uenv` lists those that do").into());
            }
            Ok(import(Inputs {
                scene,
                rules,
                accounts,
                owner: owner.as_ref(),
                email: self.email.as_deref(),
                environments: &environments,
                reach,
            }))
        })
    }

    /// The Environments of whose clusters nothing could be read, a line each.
    fn unread(&self, memory: &Memory) -> Vec<String> {
        let wanted = |name: &String| self.environments.is_empty() || self.environments.contains(name);
        memory.read(|content, scene| {
            let environments = content.world.live_environments().filter(|(name, _)| wanted(name));
            let silent = environments.filter(|(_, environment)| scene.cluster_of(environment).is_none());
            let why = |cluster| scene.silence(&cluster).map_or_else(String::new, |(_, why)| why);
            silent
                .map(|(name, environment)| format!("not read: uenv/{name}: {}", why(crate::plan::cluster::ClusterKey::of(environment))))
                .collect()
        })
    }
}
