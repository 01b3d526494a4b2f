//! Manifests that are not applied yet, laid over what is written: each takes the place of the object of its kind and name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::object::HasStatus;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::{Binding, Developer, Environment, Lock, Provider, Role};

use super::world::World;

/// What manifests say.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The people.
    pub developers: Vec<Developer>,
    /// The Roles.
    pub roles: Vec<Role>,
    /// The Bindings.
    pub bindings: Vec<Binding>,
    /// The Environments.
    pub environments: Vec<Environment>,
    /// The outside systems.
    pub providers: Vec<Provider>,
    /// The emergency stops.
    pub locks: Vec<Lock>,
    /// The fields of the spec that each of them names, by its title.
    pub fields: Fields,
}

/// The fields of the spec that manifests name, by title.
pub type Fields = BTreeMap<String, BTreeSet<String>>;

/// What happens to the objects of which there is no manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They stay.
    Stay,
    /// They are deleted; but for Locks, which win over all that is written elsewhere.
    Go,
}

/// How an object is called in messages.
pub fn title<K: Named>(object: &K) -> String {
    format!("{}/{}", K::SHORT, object.name_any())
}

/// A kind of which there are manifests.
pub trait Named: Resource<DynamicType = ()> + HasStatus<Status: Clone> + Clone + Serialize {
    /// Its short name.
    const SHORT: &'static str;
    /// The object of that name, as it is written now.
    fn written<'a>(world: &'a World, name: &str) -> Option<&'a Arc<Self>>;
    /// Writes it.
    fn write(world: &mut World, object: Self);
    /// The names of all.
    fn names(world: &World) -> Vec<String>;
}

macro_rules! named {
    ($kind:ty, $short:literal, $one:ident, $all:ident, $set:ident) => {
        impl Named for $kind {
            const SHORT: &'static str = $short;
            fn written<'a>(world: &'a World, name: &str) -> Option<&'a Arc<Self>> {
                world.$one(name)
            }
            fn write(world: &mut World, object: Self) {
                world.$set(&object.name_any(), Some(Arc::new(object)));
            }
            fn names(world: &World) -> Vec<String> {
                world.$all().map(|(name, _)| name.clone()).collect()
            }
        }
    };
}

named!(Developer, "dev", developer, developers, set_developer);
named!(Role, "urole", role, roles, set_role);
named!(Binding, "ubind", binding, bindings, set_binding);
named!(Environment, "uenv", environment, environments, set_environment);
named!(Provider, "uprov", provider, providers, set_provider);
named!(Lock, "ulock", lock, locks, set_lock);

impl Manifests {
    /// How the objects are called in messages.
    pub fn titles(&self) -> BTreeSet<String> {
        fn of<K: Named>(objects: &[K]) -> impl Iterator<Item = String> {
            objects.iter().map(title)
        }
        let people = of(&self.developers).chain(of(&self.roles)).chain(of(&self.bindings));
        people.chain(of(&self.environments)).chain(of(&self.providers)).chain(of(&self.locks)).collect()
    }

    /// Lays them over what is written. Says what the live objects have and the manifests leave out: whoever applies them may keep it.
    pub fn lay_over(self, world: &mut World, others: Others, now: Timestamp) -> BTreeSet<(String, String)> {
        let kept = self.left_out(world);
        lay(world, self.environments, others, now);
        lay(world, self.developers, others, now);
        lay(world, self.roles, others, now);
        lay(world, self.bindings, others, now);
        lay(world, self.providers, others, now);
        lay(world, self.locks, Others::Stay, now);
        kept
    }

    /// What the live objects have and the manifests leave out.
    fn left_out(&self, world: &World) -> BTreeSet<(String, String)> {
        fn of<K: Named>(world: &World, fields: &Fields, objects: &[K]) -> Vec<(String, String)> {
            objects.iter().filter_map(|object| left_out(world, fields, object)).collect()
        }
        let people =
            [of(world, &self.fields, &self.developers), of(world, &self.fields, &self.roles), of(world, &self.fields, &self.bindings)];
        let places =
            [of(world, &self.fields, &self.environments), of(world, &self.fields, &self.providers), of(world, &self.fields, &self.locks)];
        people.into_iter().chain(places).flatten().collect()
    }
}

fn lay<K: Named>(world: &mut World, objects: Vec<K>, others: Others, now: Timestamp) {
    let named: BTreeSet<String> = objects.iter().map(ResourceExt::name_any).collect();
    if others == Others::Go {
        for name in K::names(world).into_iter().filter(|name| !named.contains(name)) {
            let Some(live) = K::written(world, &name) else { continue };
            let mut going = live.as_ref().clone();
            going.meta_mut().deletion_timestamp.get_or_insert(Time(now));
            K::write(world, going);
        }
    }
    for object in objects {
        let live = K::written(world, &object.name_any()).cloned();
        K::write(world, successor(object, live.as_deref(), now));
    }
}

/// The object that a manifest makes of the live one, or that it makes. Of the live one stay who it is, how it stands, and what others wrote beside the spec.
fn successor<K: Named>(mut object: K, live: Option<&K>, now: Timestamp) -> K {
    let (labels, annotations) = (object.meta_mut().labels.take(), object.meta_mut().annotations.take());
    if let Some(live) = live {
        *object.meta_mut() = live.meta().clone();
        *object.status_mut() = live.status().cloned();
    }
    let id = format!("planned:{}", title(&object));
    let meta = object.meta_mut();
    meta.uid.get_or_insert(id);
    meta.creation_timestamp.get_or_insert(Time(now));
    meta.labels.get_or_insert_default().extend(labels.unwrap_or_default());
    meta.annotations.get_or_insert_default().extend(annotations.unwrap_or_default());
    object
}

/// What a live object has and its manifest leaves out, in words, with the title of the object.
fn left_out<K: Named>(world: &World, fields: &Fields, manifest: &K) -> Option<(String, String)> {
    let live = K::written(world, &manifest.name_any())?;
    let title = title(manifest);
    let named = |key: &String| fields.get(&title).is_some_and(|fields| fields.contains(key));
    let (before, after) = (spec(live.as_ref()), spec(manifest));
    let differs = |(key, value): &(&String, &Value)| after.get(*key) != Some(*value) && !named(key);
    let left: Vec<String> = before.iter().filter(differs).map(|(key, _)| format!("spec.{key}")).collect();
    let message = format!("the live object also has {}, which the manifest leaves out: `kubectl apply` may keep it", left.join(", "));
    (!left.is_empty()).then_some((title, message))
}

fn spec<K: Named>(object: &K) -> Map<String, Value> {
    let value = serde_json::to_value(object).ok();
    value.and_then(|value| value.get("spec")?.as_object().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DesiredState;
    use crate::api::metadata::PAUSED;

    fn now() -> Timestamp {
        "2026-11-30T12:00:00Z".parse().expect("a time")
    }

    fn ada(spec: serde_json::Value) -> Developer {
        Developer::new("ada", serde_json::from_value(spec).expect("a spec"))
    }

    fn world() -> World {
        let mut live = ada(serde_json::json!({"email": "ada@x.org", "teams": ["a"], "state": "Suspended"}));
        live.metadata.uid = Some("1".to_owned());
        live.metadata.annotations = Some([(PAUSED.to_owned(), "true".to_owned())].into());
        let mut world = World::default();
        world.set_developer("ada", Some(Arc::new(live)));
        world
    }

    #[test]
    fn a_manifest_takes_the_place_of_the_spec_and_leaves_who_it_is() {
        let mut world = world();
        let fields = [("dev/ada".to_owned(), ["email", "teams"].map(str::to_owned).into())].into();
        let changed = ada(serde_json::json!({"email": "ada@y.org", "teams": ["b"]}));
        let manifests = Manifests { developers: vec![changed], fields, ..Manifests::default() };
        let kept = manifests.lay_over(&mut world, Others::Stay, now());
        let after = world.developer("ada").expect("she is there");
        assert_eq!((after.spec.email.as_str(), after.uid().as_deref()), ("ada@y.org", Some("1")));
        assert!(after.annotations().contains_key(PAUSED), "what others wrote beside the spec stays");
        let (object, message) = kept.first().expect("her state is left out");
        assert!(object == "dev/ada" && message.contains("has spec.state, which"), "{message}");
    }

    #[test]
    fn what_is_new_is_nobody_who_was_there() {
        let mut world = world();
        let bob = Developer::new("bob", ada(serde_json::json!({"email": "bob@x.org"})).spec);
        Manifests { developers: vec![bob], ..Manifests::default() }.lay_over(&mut world, Others::Stay, now());
        let bob = world.developer("bob").expect("he is there");
        assert_eq!((bob.uid().as_deref(), bob.creation_timestamp()), (Some("planned:dev/bob"), Some(Time(now()))));
        assert!(world.developer("ada").expect("she is there").metadata.deletion_timestamp.is_none());
    }

    #[test]
    fn others_are_deleted_if_asked_but_never_locks() {
        let mut world = world();
        let lock = Lock::new("stolen", serde_json::from_value(serde_json::json!({"developer": "ada", "reason": "x"})).expect("a spec"));
        world.set_lock("stolen", Some(Arc::new(lock)));
        Manifests::default().lay_over(&mut world, Others::Go, now());
        let ada = world.developer("ada").expect("her finalizer keeps her");
        assert_eq!((ada.metadata.deletion_timestamp.is_some(), ada.spec.state), (true, DesiredState::Suspended));
        assert!(world.lock("stolen").expect("it is there").metadata.deletion_timestamp.is_none());
    }
}
