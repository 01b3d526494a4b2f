//! What to ask the API servers, to know that somebody has nothing any more.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::{Developer, Role};

use super::access::{covers, would_hold};
use super::cluster::ClusterKey;
use super::identity::Known;
use super::placement::{Reference, Scene, entry, places};
use super::subjects::known_in;

/// At most this many questions about one person: she may hold Roles in very many namespaces.
const MOST: usize = 400;

/// Whether somebody may do something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The cluster that is asked.
    pub cluster: ClusterKey,
    /// The Environment that it is about.
    pub environment: String,
    /// Who.
    pub known: Known,
    /// Where; everywhere if left out.
    pub namespace: Option<String>,
    /// The verb.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The resource.
    pub resource: String,
    /// The object, where a rule gives single ones.
    pub name: Option<String>,
}

/// One thing that each Role, and each workspace, of somebody gives, in each place: what must be denied once she has nothing.
pub fn questions(scene: Scene<'_>, developer: &Developer, now: Timestamp) -> Vec<Question> {
    let mut questions = BTreeSet::new();
    for (name, via) in would_hold(scene.world, developer, now) {
        let Some(role) = scene.world.live_role(&name) else { continue };
        let places = places(scene, role);
        for place in places.inside.iter().filter(|place| via.values().any(|scope| covers(scope, &place.environment))) {
            let rule = match &place.reference {
                Reference::Inline(entry) => first_of(role, entry),
                Reference::Existing(_) => Some(pods()),
            };
            questions.extend(ask(scene, developer, &place.environment, Some(&place.namespace), rule));
        }
        for place in &places.wide {
            let rule = first_of(role, &place.entry);
            questions.extend(place.environments.iter().filter_map(|environment| ask(scene, developer, environment, None, rule.clone())));
        }
    }
    let workspaces = developer.status.iter().flat_map(|status| &status.workspaces);
    questions.extend(workspaces.filter_map(|it| ask(scene, developer, &it.environment, Some(&it.namespace), Some(pods()))));
    questions.into_iter().take(MOST).collect()
}

/// Verb, group, resource and object.
type Asked = (String, String, String, Option<String>);

fn pods() -> Asked {
    ("get".to_owned(), String::new(), "pods".to_owned(), None)
}

/// What the first rule of an access entry gives.
fn first_of(role: &Role, name: &str) -> Option<Asked> {
    let rule = entry(role, name)?.rules.first()?.clone();
    Some((
        rule.verbs.first()?.clone(),
        rule.api_groups.first()?.clone(),
        rule.resources.first()?.clone(),
        rule.resource_names.first().cloned(),
    ))
}

fn ask(scene: Scene<'_>, developer: &Developer, environment: &str, namespace: Option<&str>, asked: Option<Asked>) -> Option<Question> {
    let object = scene.world.environment(environment).filter(|object| scene.plans(&ClusterKey::of(object)))?;
    let known = known_in(scene, developer, object).ok()?;
    let (verb, group, resource, name) = asked?;
    Some(Question {
        cluster: ClusterKey::of(object),
        environment: object.name_any(),
        known,
        namespace: namespace.map(str::to_owned),
        verb,
        group,
        resource,
        name,
    })
}
