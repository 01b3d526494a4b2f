//! A Role for a while.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use crate::api::{Binding, BindingSpec, Developer, Role, Span};
use crate::plan::developer::seconds;
use crate::plan::name::digest;

use super::connect::Connect;
use super::{Failure, print};

/// Give a person a Role for a while: makes a Binding that expires.
#[derive(Debug, clap::Args)]
pub struct GrantRole {
    #[command(flatten)]
    connect: Connect,
    /// The Role
    role: String,
    /// The Developer
    person: String,
    /// For how long, for example 4h or 2d
    #[arg(long = "for", value_name = "TIME")]
    length: Span,
    /// Why
    #[arg(long)]
    reason: String,
    /// Only in this Environment; may be repeated [default: all that the Role names]
    #[arg(long = "environment", short = 'e', value_name = "ENVIRONMENT")]
    environments: Vec<String>,
}

impl GrantRole {
    /// Makes the Binding.
    pub async fn execute(self) -> Result<(), Failure> {
        let client = self.connect.client().await?;
        let roles: Api<Role> = Api::all(client.clone());
        if roles.get_metadata_opt(&self.role).await?.is_none() {
            return Err(format!("urole/{} does not exist; `kubectl get urole` lists those that do", self.role).into());
        }
        let developers: Api<Developer> = Api::all(client.clone());
        if developers.get_metadata_opt(&self.person).await?.is_none() {
            return Err(format!("dev/{} does not exist; `kubectl get dev` lists those that do", self.person).into());
        }
        let binding = self.binding(Timestamp::now())?;
        let bindings: Api<Binding> = Api::all(client);
        let made = bindings.create(&PostParams::default(), &binding).await.map_err(|error| format!("cannot make the Binding: {error}"))?;
        let until = made.spec.expires_at.as_ref().map(|time| seconds(time.0)).unwrap_or_default();
        print(&format!("ubind/{} gives urole/{} to dev/{} until {until}\n", made.name_any(), self.role, self.person))
    }

    fn binding(&self, now: Timestamp) -> Result<Binding, Failure> {
        let end = now.checked_add(self.length.duration()).map_err(|_| format!("--for {}: that is too long", self.length))?;
        let end = Timestamp::from_second(end.as_second())?;
        let stem: String = format!("{}-{}", self.person, self.role).chars().take(52).collect();
        let name = format!("{}-{}", stem.trim_end_matches('-'), digest(&[&self.person, &self.role, &now.to_string()]));
        let environments = (!self.environments.is_empty()).then(|| self.environments.clone());
        Ok(Binding::new(
            &name,
            BindingSpec {
                role: self.role.clone(),
                developers: vec![self.person.clone()],
                environments,
                expires_at: Some(Time(end)),
                reason: Some(self.reason.clone()),
                delete_after_expiry: "7d".parse().ok(),
                ..BindingSpec::default()
            },
        ))
    }
}
