//! Taking usher out of a cluster without taking anything from anybody.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::api::metadata::{FINALIZER, LEASE};
use crate::api::{Binding, Developer, Environment, Lock, Role};
use crate::cluster::apply::Written;
use crate::cluster::leader::held_by;

use super::connect::Connect;
use super::{Failure, print};

/// Take usher's finalizers off once the operator is gone, and nothing else: people keep what they have.
#[derive(Debug, clap::Args)]
pub struct Uninstall {
    #[command(flatten)]
    connect: Connect,
    /// The namespace that usher was installed in
    #[arg(long, short = 'n', env = "USHER_NAMESPACE", default_value = "usher-system")]
    namespace: String,
}

impl Uninstall {
    /// Takes the finalizers off.
    pub async fn execute(self) -> Result<(), Failure> {
        let client = self.connect.client().await?;
        let leases: Api<Lease> = Api::namespaced(client.clone(), &self.namespace);
        if let Some(holder) = leases.get_opt(LEASE).await?.and_then(|lease| held_by(&lease, Timestamp::now())) {
            return Err(format!(
                "{holder} still runs the operator in {}; stop it first (helm uninstall usher -n {}), then run this again; \
                 an operator that was killed is believed to run until its Lease ends, some seconds later",
                self.namespace, self.namespace
            )
            .into());
        }
        let count = release::<Developer>(&client).await?
            + release::<Role>(&client).await?
            + release::<Binding>(&client).await?
            + release::<Environment>(&client).await?
            + release::<Lock>(&client).await?;
        print(&format!(
            "took usher's finalizer off {count} objects; nobody's namespaces, access or credentials were touched.\n\
             Objects that were being deleted are gone now; what was made for those people stays until somebody removes it.\n"
        ))
    }
}

async fn release<K>(client: &Client) -> Result<usize, Failure>
where
    K: Written + kube::Resource<Scope = kube::core::ClusterResourceScope>,
{
    let api: Api<K> = Api::all(client.clone());
    let objects = match api.list_metadata(&kube::api::ListParams::default()).await {
        Ok(objects) => objects,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut count = 0;
    for object in objects.items.iter().filter(|object| object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)) {
        let rest: Vec<&String> = object.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect();
        let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": object.resource_version()}});
        api.patch_metadata(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        count += 1;
    }
    Ok(count)
}
