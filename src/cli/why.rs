//! Why somebody may do something, or may not.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRole, Role as RbacRole};
use kube::api::ListParams;
use kube::discovery::Discovery;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::plan::why::{Answer, Inquiry, Question, Reason, Rules, why};

use super::connect::{Connect, chain};
use super::read::list;
use super::snapshot::{Where, snapshot};
use super::{Failure, print};

/// Say why a person may do something: which Binding, Role and rule give it, or whose binding does, if usher did not.
///
/// It reads the RBAC that is in force in the home cluster and needs no right to impersonate anybody. Exits with 0 if she may, 1 if she may not,
/// and 2 for an error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  usher why ada get pods -n shop-dev
  usher why ada delete deployments.apps/web -n shop-prod      one object
  usher why ada get pods --subresource log -n shop-dev
  usher why ada list nodes                                    cluster-wide")]
pub struct Why {
    #[command(flatten)]
    connect: Connect,
    /// The Developer
    person: String,
    /// The verb: get, list, watch, create, update, patch, delete …
    verb: String,
    /// The resource by its plural, with its API group behind a dot and an object's name behind a slash, if need be
    #[arg(value_name = "RESOURCE[.GROUP][/NAME]")]
    resource: String,
    /// The namespace; without it only what is cluster-wide counts
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// A part of the resource, such as log or exec of pods
    #[arg(long, value_name = "SUBRESOURCE")]
    subresource: Option<String>,
    /// How to print the answer
    #[arg(long, short = 'o', default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For terminals.
    Text,
    /// For programs.
    Json,
}

impl Why {
    /// Prints the answer. Returns the exit code.
    pub async fn execute(self) -> Result<u8, Failure> {
        let client = self.connect.client().await?;
        let question = self.question(&client).await?;
        let place = self.namespace.as_deref().map_or(Where::Nowhere, Where::In);
        let memory = snapshot(&client, place).await?;
        let rules = self.rules(&client).await?;
        let now = Timestamp::now();
        let answer = memory.read(|content, scene| {
            let developer = content.world.developer(&self.person)?;
            Some(why(&Inquiry { scene, developer, question: &question, rules: &rules, now }))
        });
        let answer = answer.ok_or_else(|| format!("dev/{} does not exist; `kubectl get dev` lists those that do", self.person))?;
        print(&match self.output {
            Output::Text => text(&self.person, &question, &answer),
            Output::Json => format!(
                "{:#}\n",
                json!({"developer": self.person, "question": question.words(), "allowed": !answer.reasons.is_empty(), "reasons": answer.reasons, "notes": answer.notes})
            ),
        })?;
        Ok(u8::from(answer.reasons.is_empty()))
    }

    async fn question(&self, client: &Client) -> Result<Question, Failure> {
        let (resource, name) = match self.resource.split_once('/') {
            Some((resource, name)) => (resource, Some(name.to_owned())),
            None => (self.resource.as_str(), None),
        };
        let (resource, group) = match resource.split_once('.') {
            Some((resource, group)) => (resource.to_owned(), group.to_owned()),
            None => (resource.to_owned(), group_of(client, resource).await?),
        };
        Ok(Question {
            verb: self.verb.clone(),
            group,
            resource,
            subresource: self.subresource.clone(),
            name,
            namespace: self.namespace.clone(),
        })
    }

    async fn rules(&self, client: &Client) -> Result<Rules, Failure> {
        let everything = ListParams::default();
        let cluster: Vec<ClusterRole> = list(&Api::all(client.clone()), &everything).await?;
        let inside: Vec<RbacRole> = match &self.namespace {
            Some(namespace) => list(&Api::namespaced(client.clone(), namespace), &everything).await?,
            None => Vec::new(),
        };
        Ok(Rules {
            cluster: cluster.into_iter().map(|role| (role.name_any(), role.rules.unwrap_or_default())).collect(),
            inside: inside.into_iter().map(|role| (role.name_any(), role.rules.unwrap_or_default())).collect(),
        })
    }
}

/// The API group of a resource that was named by its plural alone; the core group goes before others, as in kubectl.
async fn group_of(client: &Client, resource: &str) -> Result<String, Failure> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await;
    let discovery = discovery.map_err(|error| format!("cannot ask which resources there are: {}; write RESOURCE.GROUP", chain(&error)))?;
    let groups = discovery.groups_alphabetical();
    let found = groups.iter().find(|group| group.recommended_resources().iter().any(|(known, _)| known.plural == resource));
    found.map(|group| group.name().to_owned()).ok_or_else(|| {
        format!("there is no resource {resource}; `kubectl api-resources` lists those that there are, by their plural in the first column")
            .into()
    })
}

fn text(person: &str, question: &Question, answer: &Answer) -> String {
    let verdict = if answer.reasons.is_empty() { "may not" } else { "may" };
    let mut text = format!("dev/{person} {verdict} {}\n", question.words());
    answer.reasons.iter().for_each(|reason| text.push_str(&reason_text(reason)));
    let ours = answer.reasons.iter().any(|reason| !matches!(reason, Reason::Others { .. }));
    if !answer.reasons.is_empty() && !ours {
        text.push_str("usher did not give it.\n");
    }
    answer.notes.iter().for_each(|note| text.push_str(&format!("note: {note}\n")));
    text
}

fn reason_text(reason: &Reason) -> String {
    let (head, rule, rbac) = match reason {
        Reason::Role { binding, team, roles, access, environment, rule, rbac } => {
            let team = team.as_ref().map(|team| format!(" (team {team})")).unwrap_or_default();
            let roles: Vec<String> = roles.iter().map(|role| format!("urole/{role}")).collect();
            let access = if access.is_empty() { String::new() } else { format!(", access {}", access.join(" and ")) };
            let place = environment.as_ref().map_or_else(|| "cluster-wide".to_owned(), |name| format!("in uenv/{name}"));
            (format!("{binding}{team} gives {}{access}, {place}", roles.join(", which includes ")), rule, rbac)
        }
        Reason::Owner { environment, rule, rbac } => {
            let place = environment.as_ref().map(|name| format!(" in uenv/{name}")).unwrap_or_default();
            (format!("it is her own workspace{place}"), rule, rbac)
        }
        Reason::Unexplained { rule, rbac } => (
            "usher once gave it, and no Binding explains it now: it is on its way out, or an orphan (`usher orphans`)".to_owned(),
            rule,
            rbac,
        ),
        Reason::Others { subject, rule, rbac } => (format!("somebody else's binding names {subject}"), rule, rbac),
    };
    format!("- {head}\n    rule: {rule}\n    {rbac}\n")
}
