//! HTTP to and from what is asked and answered. A sender is let in before anything of a body is read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::plan::scim::error::ScimError;
use crate::plan::scim::request::{Asked, Call, PREFIX, route, source_of};

use crate::server::Asked as Ready;
use crate::server::listener::Answers;
use crate::server::token::authorization;

use super::desk::{Answer, Desk, Given};
use super::door::Door;

/// A body is no larger: a Group of 5,000 members has half of it.
const LARGEST_BODY: usize = 1024 * 1024;
/// A body takes no longer.
const BODY: Duration = Duration::from_secs(30);
/// What a request asks for takes no longer; whether it was kept is not known then.
const WHOLE: Duration = Duration::from_secs(30);
/// At most this many requests are worked on at once.
static PLACES: Semaphore = Semaphore::const_new(8);
/// So many bodies of one Source are in memory at once, so that whoever dawdles for one Source holds nobody up at another.
const BODIES: usize = 8;
/// The type of bodies (RFC 7644, section 8.1).
const SCIM_JSON: HeaderValue = HeaderValue::from_static("application/scim+json");

/// What answers requests.
pub struct Service {
    /// Who lets senders in.
    pub door: Door,
    /// Who carries out.
    pub desk: Desk,
    /// Whether what is pushed was read once.
    pub ready: Ready,
    /// The places for bodies, by Source.
    pub bodies: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Answers for Service {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let source = source_of(head.uri.path()).map(|(source, _)| source.to_owned()).unwrap_or_default();
        let (call, answer) = match self.admit(&source, &head).await {
            Ok(call) => (Some(call.clone()), self.carry_out(&source, call, &head, body).await),
            Err(error) => (None, Err(error)),
        };
        let location = answer.as_ref().ok().filter(|answer| answer.status == 201).and_then(|answer| answer.location.as_deref());
        let made = location.and_then(|location| location.rsplit('/').next()).map(str::to_owned);
        let response = response(answer);
        if let Some(call) = call.filter(Call::changes) {
            let status = response.status().as_u16();
            tracing::info!(source, call = ?call, made, status, "pushed by SCIM");
        }
        response
    }
}

impl Service {
    async fn admit(&self, source: &str, head: &Parts) -> Result<Call, ScimError> {
        if !(self.ready)() {
            return Err(ScimError::later("this replica has not read the cluster yet; send it again"));
        }
        let Some((_, rest)) = source_of(head.uri.path()) else {
            return Err(ScimError::new(404, format!("SCIM is served at {PREFIX} and the name of a Source")));
        };
        self.door.admit(source, authorization(&head.headers)).await?;
        route(head.method.as_str(), rest)
    }

    async fn carry_out(&self, source: &str, call: Call, head: &Parts, body: Incoming) -> Result<Answer, ScimError> {
        let ends = |_| ScimError::later("this replica ends");
        let has_body = matches!(call, Call::Create(_) | Call::Replace(..) | Call::Patch(..) | Call::Find(_, Asked::InBody));
        let bodies = self.bodies(source);
        let (body, _room) = if has_body {
            let room = bodies.acquire().await.map_err(ends)?;
            (Some(read(body).await?), Some(room))
        } else {
            (None, None)
        };
        let _place = PLACES.acquire().await.map_err(ends)?;
        let own = |name| text(&head.headers, &name).map(str::to_owned);
        let host = own(header::HOST).map(|host| format!("https://{host}")).unwrap_or_default();
        let given = Given {
            base: format!("{host}{PREFIX}{source}"),
            query: head.uri.query().unwrap_or_default().to_owned(),
            body,
            if_match: own(header::IF_MATCH),
            if_none_match: own(header::IF_NONE_MATCH),
            now: jiff::Timestamp::now(),
        };
        let late = |_| ScimError::later("the cluster takes too long; send it again");
        timeout(WHOLE, self.desk.answer(source, call, &given)).await.map_err(late)?
    }

    /// The places for bodies of a Source whose sender was let in.
    fn bodies(&self, source: &str) -> Arc<Semaphore> {
        self.bodies.lock().entry(source.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(BODIES))).clone()
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Reads a body of JSON.
async fn read(body: Incoming) -> Result<Value, ScimError> {
    let slow = |_| ScimError::new(408, "the body did not arrive in time; send it again");
    let bytes = timeout(BODY, Limited::new(body, LARGEST_BODY).collect()).await.map_err(slow)?;
    let bytes = bytes.map_err(|error| {
        if error.is::<LengthLimitError>() {
            ScimError::too_large(format!("the body has more than {LARGEST_BODY} bytes; send members in several PATCHes"))
        } else {
            ScimError::syntax("the body broke off")
        }
    })?;
    serde_json::from_slice(&bytes.to_bytes()).map_err(|error| {
        // Never what stands there: it may be a password.
        ScimError::syntax(format!("the body is no JSON: line {}, column {}", error.line(), error.column()))
    })
}

fn response(answer: Result<Answer, ScimError>) -> Response<Full<Bytes>> {
    let mut headers = HeaderMap::new();
    let mut put = |name: header::HeaderName, value: Option<String>| {
        headers.extend(value.and_then(|value| HeaderValue::from_str(&value).ok()).map(|value| (name, value)));
    };
    let (status, body) = match answer {
        Ok(answer) => {
            put(header::ETAG, answer.etag);
            put(header::LOCATION, answer.location);
            (answer.status, answer.body)
        }
        Err(error) => {
            // What is left of a body that was not read is in the way of another request.
            put(header::CONNECTION, matches!(error.status, 408 | 413).then(|| "close".to_owned()));
            put(header::ALLOW, error.allow.map(str::to_owned));
            put(header::RETRY_AFTER, error.retry_after.map(|seconds| seconds.to_string()));
            put(header::WWW_AUTHENTICATE, (error.status == 401).then(|| "Bearer realm=\"scim\"".to_owned()));
            (error.status, Some(error.body()))
        }
    };
    let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    if !bytes.is_empty() {
        headers.insert(header::CONTENT_TYPE, SCIM_JSON);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response
}
