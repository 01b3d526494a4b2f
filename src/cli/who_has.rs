//! Who holds what now, by the record.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::api::metadata::{CLUSTER_PREFIX, ENVIRONMENT, ENVIRONMENTS, MANAGED_BY, MANAGER, ROLE, ROLE_PREFIX};
use crate::api::{Developer, Grant};
use crate::plan::change::ours;
use crate::plan::holdings::{Filter, Holding, OWNER, held_now, owned_now};
use crate::plan::target::environment_of;

use super::connect::Connect;
use super::holdings::{Output, View, show};
use super::read::{installation, list};
use super::{Failure, print};

/// Say who holds which Role, where, since when, until when, by whom and why; and who owns which workspace.
///
/// It reads the Grants, which usher writes once access is in place. Exits with 0, also if nobody holds anything, and with 2 for an error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  usher who-has                          everybody
  usher who-has --developer ada          what ada has
  usher who-has --role backend           who has urole/backend
  usher who-has -n shop-prod             who has something in this namespace
  usher who-has -o csv > access.csv      for a spreadsheet")]
pub struct WhoHas {
    #[command(flatten)]
    connect: Connect,
    /// Only of this Developer
    #[arg(long, value_name = "DEVELOPER")]
    developer: Option<String>,
    /// Only of this Role; workspaces are left out then
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Only what gives something in this namespace
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// How to print it
    #[arg(long, short = 'o', default_value = "table")]
    output: Output,
}

impl WhoHas {
    /// Prints who holds what.
    pub async fn execute(self) -> Result<(), Failure> {
        let client = self.connect.client().await?;
        let filter = Filter { developer: self.developer.clone(), role: self.role.clone() };
        let fields = |name: &str| ListParams::default().fields(&format!("spec.state=Active{name}"));
        let selector = filter.developer.as_ref().map(|name| format!(",spec.developer.name={name}")).unwrap_or_default();
        let grants: Vec<Grant> = list(&Api::all(client.clone()), &fields(&selector)).await?;
        let mut holdings = held_now(&grants, &filter);
        if self.role.is_none() {
            let developers: Vec<Developer> = list(&Api::all(client.clone()), &ListParams::default()).await?;
            holdings.extend(owned_now(&developers, &filter));
            holdings.sort();
        }
        if let Some(namespace) = &self.namespace {
            let given = Given::read(&client, namespace).await?;
            holdings = holdings.into_iter().filter_map(|holding| given.narrow(holding, namespace)).collect();
        }
        print(&show(&holdings, View::Now, self.output))
    }
}

/// The Roles that give something in a namespace, each with the Environments.
struct Given(BTreeMap<String, Vec<String>>);

impl Given {
    async fn read(client: &Client, namespace: &str) -> Result<Self, Failure> {
        let installation = installation(client).await?;
        let own = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER},{ROLE}"));
        let inside: Vec<RoleBinding> = list(&Api::namespaced(client.clone(), namespace), &own).await?;
        let wide: Vec<ClusterRoleBinding> = list(&Api::all(client.clone()), &own).await?;
        let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // A label alone proves nothing: whoever may write RoleBindings in the namespace may write labels on them.
        for binding in inside.iter().filter(|binding| ours(*binding, &installation) && binding.name_any().starts_with(ROLE_PREFIX)) {
            let labels = binding.labels();
            given.entry(labels.get(ROLE).cloned().unwrap_or_default()).or_default().extend(labels.get(ENVIRONMENT).cloned());
        }
        for binding in wide.iter().filter(|binding| ours(*binding, &installation) && binding.name_any().starts_with(CLUSTER_PREFIX)) {
            let environments = binding.annotations().get(ENVIRONMENTS).into_iter().flat_map(|list| list.split(',')).map(str::to_owned);
            given.entry(binding.labels().get(ROLE).cloned().unwrap_or_default()).or_default().extend(environments);
        }
        Ok(Self(given))
    }

    /// What of a holding is in the namespace.
    fn narrow(&self, mut holding: Holding, namespace: &str) -> Option<Holding> {
        if holding.role == OWNER {
            return holding.targets.contains(&format!("namespace/{namespace}")).then_some(holding);
        }
        let environments = self.0.get(&holding.role)?;
        holding.targets.retain(|target| environment_of(target).is_some_and(|name| environments.iter().any(|it| it == name)));
        (!holding.targets.is_empty()).then_some(holding)
    }
}
