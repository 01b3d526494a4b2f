//! Asks API servers, live, what somebody may do and what names her. Nothing here is taken from memory.

use std::collections::HashMap;
use std::fmt::Debug;

use futures::TryStreamExt;
use futures::stream::{self, StreamExt};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::api::metadata::IDENTITIES_NAMESPACE;
use crate::plan::bound::RbacBinding;
use crate::plan::identity::Known;
use crate::plan::question::Question;

use super::apply::failed;
use super::error::Error;

/// At most this many questions are under way at once.
const AT_ONCE: usize = 16;
/// How many objects a page of a list has.
const PAGE: u32 = 500;

/// What an API server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The question.
    pub question: Question,
    /// Why it is allowed, in the words of the API server; nothing if it is denied.
    pub allowed: Option<String>,
}

/// Asks whether somebody may do each of these.
pub async fn ask(client: &Client, questions: Vec<Question>) -> Result<Vec<Answer>, Error> {
    stream::iter(questions).map(|question| one(client, question)).buffer_unordered(AT_ONCE).try_collect().await
}

async fn one(client: &Client, question: Question) -> Result<Answer, Error> {
    let (resource, subresource) = match question.resource.split_once('/') {
        Some((resource, subresource)) => (resource.to_owned(), Some(subresource.to_owned())),
        None => (question.resource.clone(), None),
    };
    let (user, groups) = who(&question.known);
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user),
            groups: Some(groups),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(question.verb.clone()),
                group: Some(question.group.clone()),
                resource: Some(resource),
                subresource,
                name: question.name.clone(),
                namespace: question.namespace.clone(),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await;
    let status = answer.map_err(|error| failed::<SubjectAccessReview>("create", &review.metadata, error))?.status.unwrap_or_default();
    Ok(Answer { question, allowed: status.allowed.then(|| status.reason.unwrap_or_default()) })
}

/// How the API server knows somebody: the user name, and the groups that come with it.
fn who(known: &Known) -> (String, Vec<String>) {
    let all = "system:authenticated".to_owned();
    match known {
        Known::User(name) => (name.to_string(), vec![all]),
        Known::ServiceAccount(name) => (
            format!("system:serviceaccount:{IDENTITIES_NAMESPACE}:{name}"),
            vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{IDENTITIES_NAMESPACE}"), all],
        ),
    }
}

/// A binding that names somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Naming {
    /// The namespace; none for a ClusterRoleBinding.
    pub namespace: Option<String>,
    /// The binding.
    pub name: String,
    /// What it gives.
    pub gives: String,
}

/// Every binding of a cluster, by the subjects that it names: kind, namespace, name.
#[derive(Debug, Default)]
pub struct Scan(HashMap<(String, String, String), Vec<Naming>>);

impl Scan {
    /// Reads all bindings, live.
    pub async fn read(client: &Client) -> Result<Self, Error> {
        let mut scan = Self::default();
        each::<RoleBinding>(client, |binding| scan.add(binding)).await?;
        each::<ClusterRoleBinding>(client, |binding| scan.add(binding)).await?;
        Ok(scan)
    }

    fn add<K: RbacBinding>(&mut self, binding: &K) {
        let naming = Naming {
            namespace: binding.namespace(),
            name: binding.name_any(),
            gives: format!("{}/{}", binding.role_ref().kind, binding.role_ref().name),
        };
        for subject in binding.subjects() {
            let key = (subject.kind.clone(), subject.namespace.clone().unwrap_or_default(), subject.name.clone());
            self.0.entry(key).or_default().push(naming.clone());
        }
    }

    /// The bindings that name somebody.
    pub fn naming(&self, known: &Known) -> &[Naming] {
        let subject = known.subject();
        self.0.get(&(subject.kind, subject.namespace.unwrap_or_default(), subject.name)).map_or(&[], Vec::as_slice)
    }

    /// The bindings that name a ServiceAccount of a namespace, with its name.
    pub fn naming_accounts_of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a String, &'a Naming)> {
        let hers = self.0.iter().filter(move |((kind, at, _), _)| kind == "ServiceAccount" && at == namespace);
        hers.flat_map(|((_, _, name), namings)| namings.iter().map(move |naming| (name, naming)))
    }
}

async fn each<K>(client: &Client, mut look: impl FnMut(&K)) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::all(client.clone());
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = api.list(&page).await.map_err(|error| failed::<K>("list", &ObjectMeta::default(), error))?;
        list.items.iter().for_each(&mut look);
        match list.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => return Ok(()),
        }
    }
}

/// The ServiceAccounts of a namespace, live; none if there is no such namespace.
pub async fn service_accounts(client: &Client, namespace: &str) -> Result<Vec<PartialObjectMeta<ServiceAccount>>, Error> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let list =
        api.list_metadata(&ListParams::default()).await.map_err(|error| failed::<ServiceAccount>("list", &ObjectMeta::default(), error))?;
    Ok(list.items)
}
