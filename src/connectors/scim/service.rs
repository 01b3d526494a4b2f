//! What is said to a service, and how its answers are read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::header::{ACCEPT, CONTENT_TYPE, IF_MATCH, LOCATION};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::connectors::error::ConnectorError;
use crate::connectors::http::{Answer, Http};
use crate::connectors::paging::{self, Page};

use super::resource::{Edit, Resource};

/// How many resources are asked for at a time. Many services give no more; one that gives less is asked more often.
const PAGE: usize = 100;
/// How often a list is read that moves meanwhile.
const MOST_READS: usize = 3;
/// What a service says of itself is believed for so long.
const BELIEVED: Duration = Duration::from_mins(10);
const MEDIA_TYPE: &str = "application/scim+json";

/// A service with SCIM, as a client sees it.
#[derive(Debug)]
pub(super) struct Service {
    http: Http,
    token: SecretString,
    described: Mutex<Option<(Instant, Described)>>,
}

/// What a service says that it can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Described {
    pub(super) patch: bool,
    pub(super) etag: bool,
    pub(super) passwords: bool,
}

/// What came of a change to one resource.
pub(super) enum Outcome {
    /// It was made; some services tell what is so now.
    Made(Option<Resource>),
    /// There is no such resource.
    Gone,
}

/// What came of making a resource.
pub(super) enum Making {
    /// It has this id.
    Made(String),
    /// It was not made.
    Refused(Box<Answer>),
}

impl Service {
    pub(super) fn new(http: Http, token: SecretString) -> Self {
        Self { http, token, described: Mutex::new(None) }
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.http.request(method, path).bearer_auth(self.token.expose_secret()).header(ACCEPT, "application/scim+json, application/json")
    }

    /// Sends a request, with a body if there is one.
    pub(super) async fn ask(&self, operation: &str, method: Method, path: &[&str], body: Option<&Value>) -> Result<Answer, ConnectorError> {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.header(CONTENT_TYPE, MEDIA_TYPE).json(body),
            None => request,
        };
        self.http.send(operation, request).await
    }

    /// What the service says of itself; a service that says nothing has PATCH and no more.
    pub(super) async fn describe(&self) -> Result<Described, ConnectorError> {
        let operation = "ask what the service can do";
        let answer = self.ask(operation, Method::GET, &["ServiceProviderConfig"], None).await?;
        let said: Value = if answer.status == StatusCode::NOT_FOUND { Value::Null } else { answer.success()?.json()? };
        let supported = |feature: &str| said.get(feature).and_then(|it| it.get("supported")).and_then(Value::as_bool);
        let described = Described {
            patch: supported("patch").unwrap_or(true),
            etag: supported("etag").unwrap_or(false),
            passwords: supported("changePassword").unwrap_or(false),
        };
        *self.described.lock() = Some((Instant::now(), described));
        Ok(described)
    }

    /// The same, if it was not asked long ago.
    pub(super) async fn described(&self) -> Result<Described, ConnectorError> {
        let known = *self.described.lock();
        match known {
            Some((at, described)) if at.elapsed() < BELIEVED => Ok(described),
            _ => self.describe().await,
        }
    }

    /// One resource; nothing if it is gone. `attributes` are asked for by name: some services tell them only then.
    pub(super) async fn read(
        &self,
        operation: &str,
        kind: &str,
        id: &str,
        attributes: Option<&str>,
    ) -> Result<Option<Resource>, ConnectorError> {
        // These would lead elsewhere.
        if matches!(id, "" | "." | "..") {
            return Ok(None);
        }
        let request = self.request(Method::GET, &[kind, id]);
        let request = attributes.into_iter().fold(request, |request, names| request.query(&[("attributes", names)]));
        let answer = self.http.send(operation, request).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        match Resource::read(answer.success()?.json()?) {
            Some(resource) if resource.id() == id => Ok(Some(resource)),
            _ => Err(garbled(operation, "the answer is not what was asked for")),
        }
    }

    /// All resources of a kind, whole or not at all. Each page begins with the last resource of the one before: where that is another one by now, others have moved
    /// to where it was read already, and the list is read again.
    pub(super) async fn all(&self, operation: &str, kind: &str, query: &[(&str, &str)]) -> Result<Vec<Resource>, ConnectorError> {
        for _ in 0..MOST_READS {
            let moved = &AtomicBool::new(false);
            let page = |(start, joint): (usize, Option<String>)| async move {
                let page = self.page(operation, kind, query, start, PAGE).await?;
                if joint.as_ref().is_some_and(|joint| page.items.first().map(Resource::id).as_ref() != Some(joint)) {
                    moved.store(true, Ordering::Relaxed);
                    return Err(garbled(operation, "the list moved while it was read"));
                }
                // Nothing but the joint: that was the end.
                let more = page.items.len() > usize::from(joint.is_some());
                let last = page.items.last().filter(|_| page.items.len() > 1).map(Resource::id);
                let next = page.next.filter(|_| more).map(|next| if last.is_some() { (next - 1, last) } else { (next, None) });
                Ok(Page { items: page.items, next, total: page.total })
            };
            match paging::all(operation, (1, None), Resource::id, page).await {
                Err(_) if moved.load(Ordering::Relaxed) => {}
                answer => return answer,
            }
        }
        Err(garbled(operation, "the list moved each time that it was read, or has no order; it is read again"))
    }

    /// Those of a kind in which an attribute has a value. Which they are is for the caller to look at: some services have no filters, or ignore them.
    pub(super) async fn search(
        &self,
        operation: &str,
        kind: &str,
        (attribute, value): (&str, &str),
        attributes: Option<&str>,
    ) -> Result<Vec<Resource>, ConnectorError> {
        let filter = format!("{attribute} eq {}", Value::from(value));
        let asked: Vec<(&str, &str)> = attributes.into_iter().map(|names| ("attributes", names)).collect();
        let filtered: Vec<(&str, &str)> = [("filter", filter.as_str())].into_iter().chain(asked.iter().copied()).collect();
        match self.all(operation, kind, &filtered).await {
            Err(ConnectorError::Rejected { .. }) => self.all(operation, kind, &asked).await,
            answer => answer,
        }
    }

    /// The resources from the one at `start`, the first being 1.
    pub(super) async fn page(
        &self,
        operation: &str,
        kind: &str,
        query: &[(&str, &str)],
        start: usize,
        count: usize,
    ) -> Result<Page<Resource, usize>, ConnectorError> {
        let request = self.request(Method::GET, &[kind]).query(query).query(&[("startIndex", start), ("count", count)]);
        let list: Value = self.http.send(operation, request).await?.success()?.json()?;
        let total = list.get("totalResults").and_then(Value::as_u64);
        let resources = match list.get("Resources") {
            Some(Value::Array(resources)) => resources.clone(),
            // RFC 7644, 3.4.2: nothing found may be told by leaving it out.
            None | Some(Value::Null) if total == Some(0) || start > 1 => Vec::new(),
            _ => return Err(garbled(operation, "the answer is not a list of resources")),
        };
        let next = start + resources.len();
        let items: Option<Vec<Resource>> = resources.into_iter().map(Resource::read).collect();
        let items = items.ok_or_else(|| garbled(operation, "a resource in the list has no id"))?;
        let ended = total.is_some_and(|total| u64::try_from(next).is_ok_and(|next| next > total));
        Ok(Page { next: (!items.is_empty() && !ended).then_some(next), items, total })
    }

    /// Makes a resource. A service that answers without it tells where it is, in whole or from its own root on.
    pub(super) async fn make(&self, operation: &str, kind: &str, body: &Value) -> Result<Making, ConnectorError> {
        let answer = self.ask(operation, Method::POST, &[kind], Some(body)).await?;
        if !answer.status.is_success() {
            return Ok(Making::Refused(Box::new(answer)));
        }
        if let Some(resource) = answer.json().ok().and_then(Resource::read) {
            return Ok(Making::Made(resource.id()));
        }
        let location =
            answer.headers.get(LOCATION).and_then(|it| it.to_str().ok()).and_then(|it| it.trim_end_matches('/').rsplit('/').next());
        location.map(|id| Making::Made(id.to_owned())).ok_or_else(|| garbled(operation, "the answer does not tell the new id"))
    }

    /// Sets attributes of a user. What they are is asked again if the user changed meanwhile.
    pub(super) async fn set(
        &self,
        operation: &str,
        id: &str,
        read: Read,
        edits: impl Fn(Option<&Resource>) -> Result<Vec<Edit>, ConnectorError>,
    ) -> Result<Outcome, ConnectorError> {
        let body = |patch: bool, before: Option<&Resource>| {
            let edits = edits(before)?;
            Ok(match before {
                _ if edits.is_empty() => None,
                Some(whole) if !patch => Some(whole.with(&edits)),
                _ => Some(operations(
                    edits.into_iter().map(|(path, value)| json!({ "op": "replace", "path": path, "value": value })).collect(),
                )),
            })
        };
        self.change(operation, ["Users", id], read, body).await
    }

    /// Puts a user into a group, or takes her out.
    pub(super) async fn set_member(&self, operation: &str, group: &str, user: &str, member: bool) -> Result<Outcome, ConnectorError> {
        let body = |patch: bool, before: Option<&Resource>| {
            Ok(Some(match before {
                Some(whole) if !patch => whole.with_member(user, member),
                _ if member => operations(vec![json!({ "op": "add", "path": "members", "value": [{ "value": user }] })]),
                _ => operations(vec![json!({ "op": "remove", "path": format!("members[value eq {}]", Value::from(user)) })]),
            }))
        };
        self.change(operation, ["Groups", group], Read::IfNeeded, body).await
    }

    /// Changes a resource by PATCH, else by PUT of the whole. `body` makes what is sent of what was read; nothing if it is so already.
    async fn change(
        &self,
        operation: &str,
        [kind, id]: [&str; 2],
        read: Read,
        body: impl Fn(bool, Option<&Resource>) -> Result<Option<Value>, ConnectorError>,
    ) -> Result<Outcome, ConnectorError> {
        let described = self.described().await?;
        let (mut patch, mut reads, mut versions) = (described.patch, read == Read::First, described.etag);
        let mut again = true;
        loop {
            let before = if reads || !patch {
                let Some(whole) = self.whole(operation, kind, id).await? else { return Ok(Outcome::Gone) };
                Some(whole)
            } else {
                None
            };
            let Some(body) = body(patch, before.as_ref())? else { return Ok(Outcome::Made(before)) };
            let method = if patch { Method::PATCH } else { Method::PUT };
            let request = self.request(method, &[kind, id]).header(CONTENT_TYPE, MEDIA_TYPE).json(&body);
            let version = before.as_ref().and_then(Resource::version).filter(|_| versions);
            let request = version.into_iter().fold(request, |request, version| request.header(IF_MATCH, version));
            let answer = self.http.send(operation, request).await?;
            match answer.status {
                StatusCode::NOT_FOUND => return Ok(Outcome::Gone),
                StatusCode::PRECONDITION_FAILED | StatusCode::PRECONDITION_REQUIRED if again => {
                    (reads, versions, again) = (true, true, false);
                }
                StatusCode::METHOD_NOT_ALLOWED if patch => patch = false,
                _ => return Ok(Outcome::Made(answer.success()?.json().ok().and_then(Resource::read).filter(|it| it.id() == id))),
            }
        }
    }

    /// A resource with everything that it has, as a PUT takes away what it leaves out.
    async fn whole(&self, operation: &str, kind: &str, id: &str) -> Result<Option<Resource>, ConnectorError> {
        let Some(mut plain) = self.read(operation, kind, id, None).await? else { return Ok(None) };
        if kind != "Groups" || plain.tells_members() {
            return Ok(Some(plain));
        }
        let Some(asked) = self.read(operation, kind, id, Some("displayName,members")).await? else { return Ok(None) };
        plain.take_members(&asked);
        Ok(Some(plain))
    }
}

/// Whether a resource is read before it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// What it is to be depends on what it is.
    First,
    /// Only where the service cannot change a part of it.
    IfNeeded,
}

fn operations(operations: Vec<Value>) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}

pub(super) fn garbled(operation: &str, message: &str) -> ConnectorError {
    ConnectorError::Garbled { operation: operation.to_owned(), message: message.to_owned() }
}
