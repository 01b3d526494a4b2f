//! Developers with who owns which field of them, as server-side apply has it: enough of its rules to see that plans keep to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use serde_json::{Map, Value, json};
use usher::api::metadata::{MISSING_SINCE, SOURCE};
use usher::api::source::EmptiedTeam;
use usher::api::{Developer, Source};
use usher::plan::source::claim::{Effect, Write, manager};
use usher::plan::source::{Found, Person, Read, SourcePlan, plan_source};
use usher::plan::world::World;

/// Somebody with a keyboard.
pub const HAND: &str = "kubectl-edit";

/// A Developer: values by field (a team is a field of its own), each with its owners; and since when she is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    pub values: BTreeMap<String, Value>,
    pub owners: BTreeMap<String, BTreeSet<String>>,
    pub source: Option<String>,
    pub missing_since: Option<String>,
}

/// All of them, and what a Source remembers of teams.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster(pub BTreeMap<String, Object>, pub Vec<EmptiedTeam>);

fn fields(spec: &Map<String, Value>) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    for (key, value) in spec {
        match value.as_array() {
            Some(teams) => fields.extend(teams.iter().map(|team| (format!("team:{}", team.as_str().expect("a team")), Value::Null))),
            None => drop(fields.insert(key.clone(), value.clone())),
        }
    }
    fields
}

impl Cluster {
    /// Somebody makes or edits a Developer by hand.
    pub fn by_hand(&mut self, name: &str, spec: &Value) {
        let object = self.0.entry(name.to_owned()).or_default();
        for (field, value) in fields(spec.as_object().expect("a spec")) {
            if object.values.get(&field) != Some(&value) {
                object.owners.insert(field.clone(), BTreeSet::from([HAND.to_owned()]));
            }
            object.values.insert(field, value);
        }
    }

    /// Carries out a plan as the operator does.
    pub fn carry_out(&mut self, source: &str, plan: &SourcePlan) {
        for write in &plan.writes {
            self.apply(source, write.clone());
        }
    }

    fn apply(&mut self, source: &str, mut write: Write) {
        let own = manager(source);
        let object = self.0.entry(write.name.clone()).or_default();
        loop {
            let wanted = fields(&write.spec);
            let others = |field: &String| object.owners.get(field).is_some_and(|owners| owners.iter().any(|owner| *owner != own));
            let conflicts: BTreeSet<String> = wanted
                .iter()
                .filter(|(field, value)| others(field) && object.values.get(*field) != Some(value))
                .map(|(field, _)| field.clone())
                .collect();
            match write.without(&conflicts).filter(|_| !write.is_forced()) {
                Some(less) => write = less,
                None => break,
            }
        }
        let wanted = fields(&write.spec);
        for (field, value) in &wanted {
            if object.values.insert(field.clone(), value.clone()).as_ref() != Some(value) {
                object.owners.remove(field);
            }
            object.owners.entry(field.clone()).or_default().insert(own.clone());
        }
        for (field, owners) in &mut object.owners {
            let before = owners.len();
            owners.retain(|owner| (*owner != own || wanted.contains_key(field)) && !write.former.contains(owner));
            if owners.is_empty() && before > 0 {
                object.values.remove(field);
            }
        }
        object.owners.retain(|_, owners| !owners.is_empty());
        object.source = Some(source.to_owned());
        object.missing_since = write.missing_since;
    }

    /// What the operator has in memory of it.
    pub fn world(&self, sources: &[&Source]) -> World {
        let mut world = World::default();
        for (name, object) in &self.0 {
            world.set_developer(name, Some(Arc::new(object.developer(name))));
        }
        for source in sources {
            world.set_source(source.metadata.name.as_deref().expect("a name"), Some(Arc::new((*source).clone())));
        }
        world
    }
}

impl Object {
    pub fn teams(&self) -> BTreeSet<&str> {
        self.values.keys().filter_map(|field| field.strip_prefix("team:")).collect()
    }

    pub fn text(&self, field: &str) -> &str {
        self.values.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Active, unless something else is said.
    pub fn state(&self) -> &str {
        self.values.get("state").and_then(Value::as_str).unwrap_or("Active")
    }

    pub fn is_by_hand(&self, field: &str) -> bool {
        self.owners.get(field).is_some_and(|owners| owners.contains(HAND))
    }

    fn developer(&self, name: &str) -> Developer {
        let mut spec: Map<String, Value> = self
            .values
            .iter()
            .filter(|(field, _)| !field.starts_with("team:"))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect();
        spec.insert("teams".to_owned(), self.teams().into_iter().collect());
        let mut developer = Developer::new(name, serde_json::from_value(Value::Object(spec)).expect("a spec"));
        let managers: BTreeSet<&String> = self.owners.values().flatten().filter(|owner| *owner != HAND).collect();
        let claims = managers.into_iter().map(|manager| self.claim(manager));
        developer.metadata = ObjectMeta {
            uid: Some(format!("uid-of-{name}")),
            labels: self.source.iter().map(|source| Some((SOURCE.to_owned(), source.clone()))).collect::<Option<_>>(),
            annotations: self.missing_since.iter().map(|since| Some((MISSING_SINCE.to_owned(), since.clone()))).collect::<Option<_>>(),
            managed_fields: Some(claims.collect()),
            ..developer.metadata
        };
        developer
    }

    fn claim(&self, own: &str) -> ManagedFieldsEntry {
        let owned = self.owners.iter().filter(|(_, owners)| owners.contains(own)).map(|(field, _)| field);
        let (teams, fields): (Vec<&String>, Vec<&String>) = owned.partition(|field| field.starts_with("team:"));
        let mut spec: Map<String, Value> = fields.iter().map(|field| (format!("f:{field}"), json!({}))).collect();
        if !teams.is_empty() {
            let items = teams.iter().map(|team| (format!("v:{:?}", team.trim_start_matches("team:")), json!({})));
            spec.insert("f:teams".to_owned(), Value::Object(items.collect()));
        }
        ManagedFieldsEntry {
            manager: Some(own.to_owned()),
            operation: Some("Apply".to_owned()),
            fields_v1: Some(FieldsV1(json!({"f:spec": spec}))),
            ..ManagedFieldsEntry::default()
        }
    }
}

/// A Source over Keycloak, with a group for each team.
pub fn source(name: &str, more: &Value) -> Source {
    let mut spec = json!({
        "keycloak": {"url": "https://id.example.com", "realm": "staff", "credentialsSecret": {"name": "a", "key": "b"}},
        "teams": [{"group": "/{team}", "team": "{team}"}],
    });
    spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let mut source = Source::new(name, serde_json::from_value(spec).expect("a spec"));
    source.metadata.uid = Some(format!("uid-of-{name}"));
    source
}

/// Somebody at the source.
pub fn person(id: &str, username: &str, groups: &[&str]) -> Person {
    let email = format!("{username}@example.com");
    let attributes = [("id", id), ("username", username), ("email", &email), ("firstName", username), ("lastName", "X")];
    Person {
        id: id.to_owned(),
        attributes: attributes.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        groups: groups.iter().map(|group| format!("/{group}")).collect(),
        active: Some(true),
        ..Person::default()
    }
}

pub fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + hour * 3_600).expect("a time")
}

pub fn read(hour: i64, people: &[Person]) -> Read {
    Read::new(at(hour), found(people), BTreeSet::new())
}

/// What is told where every group has another name.
pub fn found(people: &[Person]) -> Found {
    let groups = people.iter().flat_map(|person| &person.groups).map(|group| (group.clone(), group.clone())).collect();
    Found { people: people.to_vec(), groups, ..Found::default() }
}

/// Plans as the operator does.
pub fn plan(cluster: &Cluster, sources: &[&Source], read: &Read, word: Option<&str>) -> SourcePlan {
    plan_source(sources[0], &cluster.world(sources), read, (&cluster.1, word))
}

/// Plans and carries out, one pass after another, until nobody is taken over or gets another address any more; and once more if somebody was ended, as that is all
/// that was done to her.
pub fn follow_beside(cluster: &mut Cluster, sources: &[&Source], read: &Read, word: Option<&str>) -> SourcePlan {
    let name = sources[0].metadata.name.as_deref().expect("a name");
    let some = |plan: &SourcePlan, effect: Effect| plan.writes.iter().any(|write| write.effect == effect);
    let pass = |cluster: &mut Cluster| {
        let plan = plan(cluster, sources, read, word);
        cluster.carry_out(name, &plan);
        cluster.1.clone_from(&plan.emptied);
        plan
    };
    let mut first = pass(cluster);
    while some(&first, Effect::TakesOver) {
        first = pass(cluster);
    }
    let mut goes_on = some(&first, Effect::Ends) || some(&first, Effect::Readdresses);
    while goes_on {
        let rest = pass(cluster);
        goes_on = some(&rest, Effect::Readdresses);
        first.losing.extend(rest.losing);
    }
    first
}

/// The same where there is no other Source.
pub fn follow(cluster: &mut Cluster, source: &Source, read: &Read) -> SourcePlan {
    follow_beside(cluster, &[source], read, None)
}
