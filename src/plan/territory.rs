//! Which namespace belongs to which Environment.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use crate::api::Environment;
use crate::api::metadata::{IDENTITIES_NAMESPACE, WORKSPACE};
use crate::api::role::NamespaceChoice;

use super::world::deleting;

type Labels = BTreeMap<String, String>;

/// The namespaces of a cluster, divided among its Environments. A namespace that two match belongs to neither.
#[derive(Debug, Default)]
pub struct Territory {
    own_namespace: String,
    selectors: BTreeMap<String, Selector>,
    labels: BTreeMap<String, Labels>,
    shared: BTreeMap<String, BTreeSet<String>>,
    contested: BTreeMap<String, BTreeSet<String>>,
}

/// A selector of Kubernetes; `None` when it is malformed, which then selects nothing.
pub fn selector(labels: Option<&Labels>, expressions: Option<&Vec<LabelSelectorRequirement>>) -> Option<Selector> {
    let selector = LabelSelector { match_labels: labels.cloned(), match_expressions: expressions.cloned() };
    Selector::try_from(selector).ok()
}

/// Whether a namespace is never shared and never a workspace by pin, whatever its labels.
pub fn is_reserved(name: &str, own_namespace: &str) -> bool {
    name.starts_with("kube-") || name == "default" || name == IDENTITIES_NAMESPACE || name == own_namespace
}

impl Territory {
    /// Takes in the Environments of this cluster.
    pub fn set_environments<'a>(&mut self, own_namespace: &str, environments: impl Iterator<Item = &'a Environment>) {
        own_namespace.clone_into(&mut self.own_namespace);
        self.selectors = environments
            .filter(|environment| !deleting(*environment))
            .filter_map(|environment| {
                let namespaces = environment.spec.namespaces.as_ref()?;
                let selector = selector(namespaces.match_labels.as_ref(), namespaces.match_expressions.as_ref())?;
                Some((environment.name_any(), selector)).filter(|(_, selector)| !selector.selects_all())
            })
            .collect();
        self.shared.clear();
        self.contested.clear();
        for (name, labels) in std::mem::take(&mut self.labels) {
            self.place(&name, labels);
        }
    }

    /// Takes in a namespace as it is now, or its going.
    pub fn set_namespace(&mut self, name: &str, namespace: Option<&Namespace>) {
        self.labels.remove(name);
        self.contested.remove(name);
        self.shared.retain(|_, names| {
            names.remove(name);
            !names.is_empty()
        });
        // A workspace is never shared, and there may be thousands.
        let counts = |namespace: &&Namespace| !deleting(*namespace) && !namespace.labels().contains_key(WORKSPACE);
        if let Some(namespace) = namespace.filter(counts) {
            self.place(name, namespace.labels().clone());
        }
    }

    fn place(&mut self, name: &str, labels: Labels) {
        let matching = self.matching(name, &labels);
        if let (Some(first), 1) = (matching.first(), matching.len()) {
            self.shared.entry(first.clone()).or_default().insert(name.to_owned());
        } else if matching.len() > 1 {
            self.contested.insert(name.to_owned(), matching);
        }
        self.labels.insert(name.to_owned(), labels);
    }

    /// The Environments whose selector matches a namespace of that name with those labels.
    fn matching(&self, name: &str, labels: &Labels) -> BTreeSet<String> {
        if is_reserved(name, &self.own_namespace) {
            return BTreeSet::new();
        }
        self.matching_labels(labels)
    }

    /// The Environments whose selector matches those labels.
    pub fn matching_labels(&self, labels: &Labels) -> BTreeSet<String> {
        self.selectors.iter().filter(|(_, selector)| selector.matches(labels)).map(|(name, _)| name.clone()).collect()
    }

    /// The Environments, none, one or several, that a namespace matches.
    pub fn of(&self, namespace: &str) -> BTreeSet<String> {
        self.labels.get(namespace).map(|labels| self.matching(namespace, labels)).unwrap_or_default()
    }

    /// The shared namespaces of an Environment.
    pub fn shared(&self, environment: &str) -> impl Iterator<Item = &String> {
        self.shared.get(environment).into_iter().flatten()
    }

    /// The namespaces that this Environment and another one match, with those others.
    pub fn contested<'a>(&'a self, environment: &'a str) -> impl Iterator<Item = (&'a String, &'a BTreeSet<String>)> {
        self.contested.iter().filter(move |(_, environments)| environments.contains(environment))
    }

    /// The shared namespaces of an Environment that an access entry chooses.
    pub fn chosen<'a>(&'a self, environment: &str, choice: Option<&NamespaceChoice>) -> Vec<&'a String> {
        let Some(choice) = choice else { return self.shared(environment).collect() };
        if let Some(names) = &choice.names {
            return self.shared(environment).filter(|name| names.contains(name)).collect();
        }
        let Some(selector) =
            selector(choice.match_labels.as_ref(), choice.match_expressions.as_ref()).filter(|selector| !selector.selects_all())
        else {
            return Vec::new();
        };
        self.shared(environment).filter(|name| self.labels.get(*name).is_some_and(|labels| selector.matches(labels))).collect()
    }
}
