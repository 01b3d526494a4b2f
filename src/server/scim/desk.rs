//! Carries out what senders ask for. One resource is read from the API server, so that whichever replica is asked knows what another one has answered; lists are of what
//! is watched.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;
use tokio::task::block_in_place;

use crate::cluster::memory::Memory;
use crate::cluster::pushed::Store;
use crate::plan::scim::effort::Effort;
use crate::plan::scim::error::ScimError;
use crate::plan::scim::filter::Filter;
use crate::plan::scim::list::Page;
use crate::plan::scim::matching::fits;
use crate::plan::scim::path::Scope;
use crate::plan::scim::projection::Projection;
use crate::plan::scim::pushed::Resources;
use crate::plan::scim::record::{Id, Owner, Record, name_of_user};
use crate::plan::scim::render::{Surroundings, location, render};
use crate::plan::scim::request::{Asked, Call, Query};
use crate::plan::scim::{ResourceKind, discovery};
use crate::plan::source::mapping::Mapping;

/// More resources that a question is about are read all at once.
pub(super) const ONE_BY_ONE: usize = 10;

/// What came with a request.
#[derive(Debug)]
pub struct Given {
    /// Where the Source is, as the sender calls it.
    pub base: String,
    /// What stands behind the question mark.
    pub query: String,
    /// The body, if such a request has one.
    pub body: Option<Value>,
    /// Only if the resource is this version.
    pub if_match: Option<String>,
    /// Only if the resource is another version.
    pub if_none_match: Option<String>,
    /// When it came.
    pub now: Timestamp,
}

/// What is answered.
#[derive(Debug, Default)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Option<Value>,
    /// The version of the resource.
    pub etag: Option<String>,
    /// Where it is.
    pub location: Option<String>,
}

impl Answer {
    /// An answer without a resource.
    pub fn document(body: Value) -> Self {
        Self { status: 200, body: Some(body), ..Self::default() }
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

/// The Source that is pushed for.
pub(super) struct Origin {
    name: String,
    uid: String,
    /// What it makes of who is pushed.
    pub mapping: Mapping,
}

impl Origin {
    pub fn owner(&self) -> Owner<'_> {
        Owner { source: &self.name, uid: &self.uid }
    }
}

/// Carries out what senders ask for.
pub struct Desk {
    pub(super) store: Store,
    memory: Arc<Memory>,
}

impl Desk {
    /// By what is kept, and what is watched of it.
    pub fn new(store: Store, memory: Arc<Memory>) -> Self {
        Self { store, memory }
    }

    /// Carries out a call.
    pub async fn answer(&self, source: &str, call: Call, given: &Given) -> Result<Answer, ScimError> {
        let source = &self.origin(source)?;
        let nothing = Value::Null;
        let body = given.body.as_ref().unwrap_or(&nothing);
        match call {
            Call::ProviderConfig => Ok(Answer::document(discovery::provider_config(&given.base))),
            Call::ResourceTypes(id) => discovery::resource_types(&given.base, id.as_deref()).map(Answer::document),
            Call::Schemas(id) => discovery::schemas(&given.base, id.as_deref()).map(Answer::document),
            Call::Find(kind, Asked::InQuery) => self.find(source, kind, &Query::read(&given.query), given).await,
            Call::Find(kind, Asked::InBody) => self.find(source, kind, &Query::of_search(body), given).await,
            Call::Create(kind) => self.create((source, kind), body, given).await,
            Call::Read(kind, id) => self.read((source, kind), &id, given).await,
            Call::Replace(kind, id) => self.put((source, kind), &id, body, given).await,
            Call::Patch(kind, id) => self.patch((source, kind), &id, body, given).await,
            Call::Delete(kind, id) => self.delete((source, kind), &id, given).await,
        }
    }

    /// The Source as it is. Who was let in by one that is gone since is let in no more.
    fn origin(&self, name: &str) -> Result<Origin, ScimError> {
        let source = self.memory.read(|content, _| content.world.source(name).cloned()).ok_or_else(ScimError::stranger)?;
        Ok(Origin { name: name.to_owned(), uid: source.uid().unwrap_or_default(), mapping: Mapping::of(&source.spec) })
    }

    async fn read(&self, at: (&Origin, ResourceKind), id: &str, given: &Given) -> Result<Answer, ScimError> {
        let record = self.load(at, id).await?;
        let same = given.if_none_match.as_deref().is_some_and(|tags| names(tags, &record.version()));
        if same {
            return Ok(Answer { etag: Some(record.version()), ..Answer::empty(304) });
        }
        Ok(self.shown(200, &record, given))
    }

    /// The resource, as the API server has it.
    pub(super) async fn load(&self, (source, kind): (&Origin, ResourceKind), id: &str) -> Result<Arc<Record>, ScimError> {
        let missing = || ScimError::not_found(&format!("the {kind} {id}"));
        let id: Id = id.parse().map_err(|()| missing())?;
        let resources = Resources::among(&self.store.of_id(source.owner(), id).await?);
        resources.get(id).filter(|record| record.kind == kind).cloned().ok_or_else(missing)
    }

    /// A resource, as it is answered.
    pub(super) fn shown(&self, status: u16, record: &Record, given: &Given) -> Answer {
        let query = Query::read(&given.query);
        let projection = Projection::read(record.kind, query.attributes.as_deref(), query.excluded.as_deref());
        let resources = self.resources(record.owner());
        let memberships = (record.kind == ResourceKind::User && projection.shows("groups")).then(|| resources.memberships());
        let around = Surroundings {
            base: &given.base,
            resources: &resources,
            memberships: memberships.as_ref(),
            members: projection.shows("members"),
        };
        Answer {
            status,
            body: Some(Value::Object(projection.apply(render(record, &around)))),
            etag: Some(record.version()),
            location: Some(location(&given.base, record.kind, record.id)),
        }
    }

    /// What is watched of a Source.
    pub(super) fn resources(&self, owner: Owner<'_>) -> Resources {
        let records = self.memory.read(|content, _| content.pushed.of(owner));
        Resources::among(&records)
    }

    async fn find(&self, source: &Origin, kind: Option<ResourceKind>, query: &Query, given: &Given) -> Result<Answer, ScimError> {
        let page = Page::read(query.start.as_deref(), query.count.as_deref())?;
        let mut resources = self.resources(source.owner());
        let mut shown: Vec<(Projection, Arc<Record>)> = Vec::new();
        let mut wrong = None;
        for kind in kind.map_or(ResourceKind::ALL.to_vec(), |kind| vec![kind]) {
            let filter = match query.filter.as_deref().map(|text| Filter::read(Scope::Resource(kind), text)).transpose() {
                Ok(filter) => filter,
                Err(error) => {
                    wrong = Some(error);
                    continue;
                }
            };
            let projection = Projection::read(kind, query.attributes.as_deref(), query.excluded.as_deref());
            if let Some(filter) = &filter {
                self.learn(&mut resources, (source, kind), filter).await?;
            }
            let fitting = block_in_place(|| fitting(&resources, kind, filter.as_ref(), (query.filter.as_deref(), &given.base)))?;
            shown.extend(fitting.into_iter().map(|record| (projection.clone(), record)));
        }
        // Of several types a filter may be about one only.
        if let Some(wrong) = wrong.filter(|_| kind.is_some() || shown.is_empty()) {
            return Err(wrong);
        }
        let on_page = page.of(&shown);
        let memberships = on_page.iter().any(|(projection, record)| record.kind == ResourceKind::User && projection.shows("groups"));
        let memberships = memberships.then(|| resources.memberships());
        let rendered = on_page.iter().map(|(projection, record)| {
            let around = Surroundings {
                base: &given.base,
                resources: &resources,
                memberships: memberships.as_ref().filter(|_| projection.shows("groups")),
                members: projection.shows("members"),
            };
            Value::Object(projection.apply(render(record, &around)))
        });
        Ok(Answer::document(page.response(shown.len(), rendered.collect())))
    }

    /// Reads anew what a filter asks for that names one resource: senders look for somebody right before and after they push her, and another replica may have been asked.
    async fn learn(&self, resources: &mut Resources, (source, kind): (&Origin, ResourceKind), filter: &Filter) -> Result<(), ScimError> {
        if let Some(id) = filter.wants_only("id") {
            if let Ok(id) = id.parse() {
                resources.learn(id, &self.store.of_id(source.owner(), id).await?);
            }
            return Ok(());
        }
        let asked = ["userName", "externalId", "displayName"].into_iter().find_map(|name| Some((name, filter.wants_only(name)?)));
        let Some((attribute, value)) = asked else { return Ok(()) };
        let found = match (attribute, kind) {
            ("userName", ResourceKind::User) => self.store.of_name(&name_of_user(source.owner().uid, value)).await?.into_iter().collect(),
            ("externalId", _) => self.store.of_external(source.owner(), kind, value).await?,
            ("displayName", ResourceKind::Group) => self.store.of_group(source.owner(), value).await?,
            _ => return Ok(()),
        };
        // Also those of whom that is watched: they may be called otherwise since, or gone.
        let watched = resources.saying(kind, attribute, value);
        let ids: BTreeSet<Id> = found.iter().map(|record| record.id).chain(watched).collect();
        if ids.len() > ONE_BY_ONE {
            *resources = Resources::among(&self.store.all(source.owner()).await?);
            return Ok(());
        }
        for id in ids {
            resources.learn(id, &self.store.of_id(source.owner(), id).await?);
        }
        Ok(())
    }
}

/// Those that fit a filter. What the filter does not speak of need not be found out.
fn fitting(
    resources: &Resources,
    kind: ResourceKind,
    filter: Option<&Filter>,
    (text, base): (Option<&str>, &str),
) -> Result<Vec<Arc<Record>>, ScimError> {
    let all = resources.of_kind(kind);
    let Some(filter) = filter else { return Ok(all.into_iter().cloned().collect()) };
    let speaks_of = |name: &str| text.is_some_and(|text| text.to_ascii_lowercase().contains(name));
    let memberships: Option<HashMap<_, _>> = speaks_of("groups").then(|| resources.memberships());
    let around = Surroundings { base, resources, memberships: memberships.as_ref(), members: speaks_of("members") };
    let (mut fitting, mut effort) = (Vec::new(), Effort::of_search(filter));
    for record in all {
        effort = effort.on(record.text.len(), if around.members { record.members.len() } else { 0 })?;
        if fits(filter, &render(record, &around)) {
            fitting.push(record.clone());
        }
    }
    Ok(fitting)
}

/// Whether a list of ETags names a version (RFC 9110, section 13.1).
pub(super) fn names(tags: &str, version: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    tags.split(',').any(|tag| tag.trim() == "*" || bare(tag) == bare(version))
}
