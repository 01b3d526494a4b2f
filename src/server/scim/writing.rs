//! What changes a resource. It is written onto exactly what was read; if that is another one by now, all is done anew with what it is.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::cluster::pushed::Meant;
use crate::plan::developer::seconds;
use crate::plan::scim::error::{ScimError, quoted};
use crate::plan::scim::patch::patch;
use crate::plan::scim::people::remembering;
use crate::plan::scim::projection::Projection;
use crate::plan::scim::pushed::{Resources, counting, is_as_left, repeats};
use crate::plan::scim::record::{Id, Owner, Record, text};
use crate::plan::scim::request::Query;
use crate::plan::scim::resource::{replaced, take_in};
use crate::plan::scim::{Attributes, ResourceKind};

use super::desk::{Answer, Desk, Given, ONE_BY_ONE, Origin, names};

/// So often a change is tried that others get in the way of.
const TRIES: usize = 8;

/// A Source, and a type of its resources.
type At<'a> = (&'a Origin, ResourceKind);

/// What somebody wants of a resource.
enum Change<'a> {
    /// That it is this.
    All(Attributes),
    /// What a PATCH says.
    Some(&'a Value),
}

impl Desk {
    pub(super) async fn create(&self, (source, kind): At<'_>, body: &Value, given: &Given) -> Result<Answer, ScimError> {
        let mut attributes = take_in(kind, body)?;
        let members = self.members(source.owner(), &mut attributes, &[]).await?.unwrap_or_default();
        let record = Record::new((kind, source.owner(), new_id()?), &attributes, members, &seconds(given.now));
        if kind == ResourceKind::Group {
            // What is there already need not be made to be seen.
            self.must_be_new(&record, &attributes).await?;
        }
        let taken = || ScimError::taken(kind, "userName", text(&attributes, "userName"));
        let made = self.make(&record).await?.ok_or_else(taken)?;
        if kind == ResourceKind::Group
            && let Err(error) = self.must_be_new(&made, &attributes).await
        {
            self.store.delete(&made, Meant::AsSeen).await?;
            return Err(error);
        }
        Ok(self.shown(201, &made, given))
    }

    /// A sender that hears no answer sends a Group again, perhaps to another replica. Two of one name would be no team at all.
    async fn must_be_new(&self, group: &Record, attributes: &Attributes) -> Result<(), ScimError> {
        let name = text(attributes, "displayName");
        let others = self.store.of_group(group.owner(), name).await?;
        if repeats(group, &others) { Err(ScimError::taken(ResourceKind::Group, "displayName and externalId", name)) } else { Ok(()) }
    }

    /// Makes a record. Nothing if somebody has its name; what is only left of somebody who moved on is taken away.
    async fn make(&self, record: &Record) -> Result<Option<Record>, ScimError> {
        for _ in 0..2 {
            if let Some(made) = self.store.create(record).await? {
                return Ok(Some(made));
            }
            let Some(other) = self.store.of_name(record.name()).await? else { continue };
            let of_other = self.store.of_id(other.owner(), other.id).await?;
            let counts = counting(&of_other).get(&other.id).is_some_and(|it| it.name() == other.name());
            if counts || !self.store.delete(&other, Meant::AsSeen).await? {
                return Ok(None);
            }
        }
        Ok(None)
    }

    pub(super) async fn put(&self, at: At<'_>, id: &str, body: &Value, given: &Given) -> Result<Answer, ScimError> {
        let changed = self.change(at, id, given, &Change::All(take_in(at.1, body)?)).await?;
        Ok(self.shown(200, &changed, given))
    }

    pub(super) async fn patch(&self, at: At<'_>, id: &str, body: &Value, given: &Given) -> Result<Answer, ScimError> {
        let changed = self.change(at, id, given, &Change::Some(body)).await?;
        let query = Query::read(&given.query);
        let asked = Projection::read(at.1, query.attributes.as_deref(), query.excluded.as_deref()).says();
        if at.1 == ResourceKind::Group && !asked {
            // Senders want no list of thousands for each of its changes.
            return Ok(Answer { etag: Some(changed.version()), ..Answer::empty(204) });
        }
        Ok(self.shown(200, &changed, given))
    }

    pub(super) async fn delete(&self, at: At<'_>, id: &str, given: &Given) -> Result<Answer, ScimError> {
        let record = self.load(at, id).await?;
        must_match(given, &record)?;
        if at.1 == ResourceKind::User {
            // That she left is noted first: from here on nothing brings her back. Who finds it noted goes on with it.
            self.store.create(&record.deleted(&seconds(given.now))).await?;
        }
        let exactly = at.1 == ResourceKind::Group && given.if_match.is_some();
        if exactly && !self.store.delete(&record, Meant::AsSeen).await? {
            return Err(ScimError::changed());
        }
        if !exactly {
            self.store.delete(&record, Meant::Whatever).await?;
        }
        Ok(Answer::empty(204))
    }

    /// What a resource is to be, given what it is.
    async fn changed(&self, at: At<'_>, change: &Change<'_>, record: &Record) -> Result<(Attributes, Vec<Id>), ScimError> {
        let mut attributes = match change {
            // Keycloak's sender leaves members out when the last one is gone.
            Change::All(attributes) => replaced(&record.attributes(), attributes),
            Change::Some(body) => {
                let mut attributes = record.attributes();
                if !record.members.is_empty() {
                    let members: Vec<Value> = record.members.iter().map(|member| json!({"value": member.to_string()})).collect();
                    attributes.insert("members".to_owned(), members.into());
                }
                block_in_place(|| patch(at.1, &attributes, body))?
            }
        };
        let members = self.members(at.0.owner(), &mut attributes, &record.members).await?.unwrap_or_default();
        Ok((attributes, members))
    }

    /// Changes a resource, whatever else happens to it meanwhile.
    async fn change(&self, at: At<'_>, id: &str, given: &Given, change: &Change<'_>) -> Result<Arc<Record>, ScimError> {
        for _ in 0..TRIES {
            let record = self.load(at, id).await?;
            must_match(given, &record)?;
            if !self.has_moved(&record).await? {
                continue;
            }
            let (attributes, members) = self.changed(at, change, &record).await?;
            if attributes == record.attributes() && members == record.members {
                return Ok(record);
            }
            let changed = record.changed(&attributes, members, &seconds(given.now));
            let changed = remembering(&record, changed, &at.0.mapping);
            if let Some(kept) = self.keep(&record, &changed).await? {
                return Ok(Arc::new(kept));
            }
        }
        Err(busy())
    }

    /// Ends the move of a resource, whoever began it: nobody may change it where it was any more. Not if somebody did since it was left.
    async fn has_moved(&self, record: &Record) -> Result<bool, ScimError> {
        let Some(moved) = &record.stamp.moved else { return Ok(true) };
        for _ in 0..TRIES {
            match self.store.of_name(&moved.from).await? {
                // It went, and somebody else may be called so by now.
                None => return Ok(true),
                Some(before) if before.id != record.id => return Ok(true),
                Some(before) if !is_as_left(moved, record.id, &before) => return Ok(false),
                Some(before) if self.store.delete(&before, Meant::AsSeen).await? => return Ok(true),
                // It is another one by now: which is read again.
                Some(_) => {}
            }
        }
        Err(busy())
    }

    /// Keeps a change. Nothing if the resource is another one by now.
    async fn keep(&self, before: &Record, changed: &Record) -> Result<Option<Record>, ScimError> {
        if changed.name() == before.name() {
            return self.store.replace(changed).await;
        }
        let Some(made) = self.make(changed).await? else {
            return Err(ScimError::taken(changed.kind, "userName", text(&changed.attributes(), "userName")));
        };
        if self.has_moved(&made).await? {
            return Ok(Some(made));
        }
        // It was changed where it was, so it has not moved.
        self.store.delete(&made, Meant::AsSeen).await?;
        Ok(None)
    }

    /// Takes the members out of what was sent: those who were there before, and others of the Source. Nothing if none were sent.
    async fn members(&self, source: Owner<'_>, attributes: &mut Attributes, before: &[Id]) -> Result<Option<Vec<Id>>, ScimError> {
        let Some(Value::Array(sent)) = attributes.remove("members") else { return Ok(None) };
        let mut members = Vec::with_capacity(sent.len());
        let mut seen = HashSet::new();
        for member in &sent {
            let value = member.get("value").and_then(Value::as_str).unwrap_or_default();
            let id: Id = value.parse().map_err(|()| nobody(value))?;
            if seen.insert(id) {
                members.push(id);
            }
        }
        let known: HashSet<&Id> = before.iter().collect();
        let new: Vec<Id> = members.iter().filter(|id| !known.contains(id)).copied().collect();
        if !new.is_empty() {
            self.must_exist(source, &new).await?;
        }
        Ok(Some(members))
    }

    async fn must_exist(&self, source: Owner<'_>, ids: &[Id]) -> Result<(), ScimError> {
        let mut resources = self.resources(source);
        let unknown: Vec<Id> = ids.iter().filter(|id| resources.get(**id).is_none()).copied().collect();
        if unknown.len() > ONE_BY_ONE {
            resources = Resources::among(&self.store.all(source).await?);
        } else {
            for id in &unknown {
                resources.learn(*id, &self.store.of_id(source, *id).await?);
            }
        }
        match unknown.iter().find(|id| resources.get(**id).is_none()) {
            Some(id) => Err(nobody(&id.to_string())),
            None => Ok(()),
        }
    }
}

fn busy() -> ScimError {
    ScimError::later("others change this at the same time; send it again")
}

fn nobody(value: &str) -> ScimError {
    ScimError::value(format!("members names {}, and no User or Group of this Source has that id; push it first", quoted(value)))
}

fn must_match(given: &Given, record: &Record) -> Result<(), ScimError> {
    match &given.if_match {
        Some(tags) if !names(tags, &record.version()) => Err(ScimError::changed()),
        _ => Ok(()),
    }
}

fn new_id() -> Result<Id, ScimError> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).map_err(|_| ScimError::later("no id can be made; send it again"))?;
    Ok(Id::new(bytes))
}
