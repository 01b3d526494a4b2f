//! What usher made and whose owner it does not know any more.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::api::metadata::FIELD_MANAGER;
use crate::api::provider::OrphanedAccount;
use crate::api::{Developer, Provider, Role};
use crate::cluster::apply::Written;
use crate::cluster::crds::{Health, health};
use crate::cluster::error::{conflict, not_found};
use crate::plan::change::{Change, Write};
use crate::plan::orphan::{Orphan, Owner, orphans};

use super::connect::Connect;
use super::read::{list, told};
use super::snapshot::{Where, snapshot};
use super::table::{Output, table};
use super::{Failure, complain, print};

/// List what usher made and whose owner it does not know any more, and remove it only if you say so.
///
/// usher never takes absence for a reason: after a reinstallation or a restore, people and Roles may be about to come back, and everything is theirs again.
/// When they are not, --remove takes away the access and the identities that are left. Workspaces hold people's data and stay, unless --workspaces is
/// given as well. Accounts in outside systems are named, some of each Provider, and seen to there. Each is removed only if it still is what was listed and its owner still is not there.
///
/// Exits with 0 if there are none, or all that was asked for was removed; 1 if some are left; 2 for an error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  usher orphans                            what there is
  usher orphans -o json                    for programs
  usher orphans --remove                   take away access and identities
  usher orphans --remove --workspaces      and the workspaces, with all that is in them")]
pub struct Orphans {
    #[command(flatten)]
    connect: Connect,
    /// Remove orphaned access and identities
    #[arg(long)]
    remove: bool,
    /// With --remove: also workspaces, with everything in them
    #[arg(long, requires = "remove")]
    workspaces: bool,
    /// How to print them
    #[arg(long, short = 'o', default_value = "table")]
    output: Output,
}

/// How often what changed between reading and removing is read again.
const ROUNDS: usize = 3;

/// What became of an orphan.
struct Outcome {
    orphan: Orphan,
    /// What was done; nothing if it is left.
    done: Option<&'static str>,
    /// Why it is left.
    left: Option<Left>,
}

/// Why an orphan that should go is left.
#[derive(Debug, thiserror::Error)]
enum Left {
    #[error("it changes all the time; run this again")]
    Changed,
    #[error("{0}")]
    Because(String),
}

impl From<String> for Left {
    fn from(reason: String) -> Self {
        Self::Because(reason)
    }
}

impl Orphans {
    /// Lists, and removes if asked to. Returns the exit code.
    pub async fn execute(self) -> Result<u8, Failure> {
        let client = self.connect.client().await?;
        if self.remove {
            whole(&client).await?;
        }
        let mut outcomes: Vec<Outcome> = Vec::new();
        for _ in 0..ROUNDS {
            outcomes.retain(|outcome| !matches!(outcome.left, Some(Left::Changed)));
            let mut found = snapshot(&client, Where::Everywhere).await?.read(|_, scene| orphans(scene));
            found.retain(|orphan| outcomes.iter().all(|outcome| outcome.orphan.title() != orphan.title()));
            for orphan in found {
                outcomes.push(self.deal_with(&client, orphan).await);
            }
            // The operator may just be at work on one of them.
            if outcomes.iter().all(|outcome| !matches!(outcome.left, Some(Left::Changed))) {
                break;
            }
        }
        let accounts = orphaned_accounts(&client).await?;
        print(&match self.output {
            Output::Table => in_columns(&outcomes, &accounts),
            Output::Json => {
                let all: Vec<_> = outcomes.iter().map(as_json).chain(accounts.iter().map(account_as_json)).collect();
                format!("{:#}\n", json!(all))
            }
        })?;
        let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.left.is_some()).collect();
        for (outcome, left) in failed.iter().filter_map(|outcome| Some((outcome, outcome.left.as_ref()?))) {
            complain(&format!("error: {} is left: {left}", outcome.orphan.title()));
        }
        Ok(match (failed.len(), !accounts.is_empty() || outcomes.iter().any(|outcome| outcome.done.is_none())) {
            (0, false) => 0,
            (0, true) => 1,
            _ => 2,
        })
    }

    async fn deal_with(&self, client: &Client, orphan: Orphan) -> Outcome {
        if !self.remove || (orphan.holds_data() && !self.workspaces) {
            return Outcome { orphan, done: None, left: None };
        }
        match removed(client, &orphan).await {
            Ok(()) => Outcome { done: Some(if orphan.goes_whole() { "removed" } else { "taken out" }), orphan, left: None },
            Err(left) => Outcome { orphan, done: None, left: Some(left) },
        }
    }
}

/// Refuses while usher's kinds come or go: then everything looks like an orphan.
async fn whole(client: &Client) -> Result<(), Failure> {
    match health(client).await.map_err(|error| format!("cannot see whether usher's kinds are whole: {}", error.chain()))? {
        Health::Whole(_) => Ok(()),
        Health::Broken(kinds) => {
            let kinds = kinds.iter().map(|kind| format!("{kind}.usher.dev")).collect::<Vec<_>>().join(", ");
            Err(format!("{kinds}: missing or being deleted, so nobody can say what is an orphan; install the chart first").into())
        }
    }
}

/// Removes one orphan, if its owner still is not there.
async fn removed(client: &Client, orphan: &Orphan) -> Result<(), Left> {
    let back = match &orphan.owner {
        // Of a stranger's there is a Developer of that name; the marks decide, which the preconditions hold on to.
        Owner::Developer(name) if orphan.why.contains("does not exist") => Api::<Developer>::all(client.clone())
            .get_metadata_opt(name)
            .await
            .map_err(|error| told::<Developer>("get", &error).to_string())?
            .is_some(),
        Owner::Role(name) => Api::<Role>::all(client.clone())
            .get_metadata_opt(name)
            .await
            .map_err(|error| told::<Role>("get", &error).to_string())?
            .is_some(),
        _ => false,
    };
    if back {
        return Err(format!("{} is there again", orphan.owner).into());
    }
    let namespace = orphan.removal.meta().namespace.clone().unwrap_or_default();
    match &orphan.removal {
        Change::Namespace(change) => write::<Namespace>(&Api::all(client.clone()), change).await,
        Change::ServiceAccount(change) => write::<ServiceAccount>(&Api::namespaced(client.clone(), &namespace), change).await,
        Change::RoleBinding(change) => write::<RoleBinding>(&Api::namespaced(client.clone(), &namespace), change).await,
        Change::ClusterRoleBinding(change) => write::<ClusterRoleBinding>(&Api::all(client.clone()), change).await,
        Change::ClusterRole(change) => write::<ClusterRole>(&Api::all(client.clone()), change).await,
        other => Err(format!("{} is nothing that is removed here", other.kind()).into()),
    }
}

/// Deletes exactly the object that was seen, or replaces exactly the version that was seen.
async fn write<K: Written>(api: &Api<K>, change: &Write<K>) -> Result<(), Left> {
    let (verb, answer) = match change {
        Write::Delete(meta) => {
            let preconditions = Preconditions { uid: meta.uid.clone(), resource_version: None };
            let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            ("delete", api.delete(meta.name.as_deref().unwrap_or_default(), &parameters).await.map(drop))
        }
        Write::Create(object) | Write::Replace(object) => {
            let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            ("update", api.replace(&object.name_any(), &parameters, object).await.map(drop))
        }
    };
    match answer {
        Ok(()) => Ok(()),
        Err(error) if not_found(&error) && verb == "delete" => Ok(()),
        Err(error) if not_found(&error) || conflict(&error) => Err(Left::Changed),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            Err(format!("you may not {verb} it; an administrator of the cluster may ({})", status.message).into())
        }
        Err(error) => Err(super::connect::chain(&error).into()),
    }
}

/// Accounts in outside systems, each with its Provider, as the operator found them: it has the credentials, and whoever asks has not.
async fn orphaned_accounts(client: &Client) -> Result<Vec<(String, OrphanedAccount)>, Failure> {
    let providers = list::<Provider>(&Api::all(client.clone()), &ListParams::default()).await?;
    let of = |provider: Provider| {
        let name = provider.name_any();
        provider.status.unwrap_or_default().orphans.into_iter().map(move |account| (name.clone(), account))
    };
    Ok(providers.into_iter().flat_map(of).collect())
}

fn account_as_json((provider, account): &(String, OrphanedAccount)) -> serde_json::Value {
    json!({
        "state": "left",
        "kind": "Account",
        "provider": provider,
        "name": account.username,
        "id": account.id,
        "owner": format!("dev/{}", account.developer),
        "why": account.why,
    })
}

fn in_columns(outcomes: &[Outcome], accounts: &[(String, OrphanedAccount)]) -> String {
    if outcomes.is_empty() && accounts.is_empty() {
        return "There are no orphans: usher knows the owner of everything that it made.\n".to_owned();
    }
    let row = |outcome: &Outcome| {
        let orphan = &outcome.orphan;
        vec![outcome.done.unwrap_or("left").to_owned(), orphan.title(), orphan.owner.to_string(), orphan.why.clone()]
    };
    let account_row = |(provider, account): &(String, OrphanedAccount)| {
        let object = format!("Account {} at uprov/{provider}", account.username);
        vec!["left".to_owned(), object, format!("dev/{}", account.developer), account.why.clone()]
    };
    let rows: Vec<_> = outcomes.iter().map(row).chain(accounts.iter().map(account_row)).collect();
    table(&["STATE", "OBJECT", "OWNER", "WHY"], &rows)
}

fn as_json(outcome: &Outcome) -> serde_json::Value {
    let (orphan, meta) = (&outcome.orphan, outcome.orphan.removal.meta());
    json!({
        "state": outcome.done.unwrap_or("left"),
        "kind": orphan.removal.kind(),
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
        "owner": orphan.owner.to_string(),
        "subjects": orphan.subjects(),
        "why": orphan.why,
        "error": outcome.left.as_ref().map(ToString::to_string),
    })
}
