//! HTTP to and from what is asked and answered. Nothing is changed by any request, so only GET and HEAD are known, and no body is read.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::plan::name::fingerprint;
use crate::plan::page::rights::View;
use crate::server::Asked;
use crate::server::listener::Answers;
use crate::server::token::authorization;

use super::assets::{Asset, asset};
use super::desk::{Desk, Document};
use super::door::Door;
use super::refusal::Refusal;

/// What a request asks for takes no longer.
const WHOLE: Duration = Duration::from_secs(30);
/// So many documents are made at once.
static PLACES: Semaphore = Semaphore::const_new(4);
/// Below this path are documents.
const DOCUMENTS: &str = "/api/v1/";

/// What a browser may do with the page: run and fetch what comes from here, and nothing else. Without script nothing of a form goes anywhere, and the token least.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

/// What every answer says besides.
const ALWAYS: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// What answers requests.
pub struct Service {
    /// Who lets readers in.
    pub door: Door,
    /// Who makes documents.
    pub desk: Desk,
    /// Whether what is watched was read once.
    pub ready: Asked,
}

impl Answers for Service {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, _) = request.into_parts();
        let unchanged = |etag: &str| head.headers.get(header::IF_NONE_MATCH).is_some_and(|seen| names(seen, etag));
        if head.method != Method::GET && head.method != Method::HEAD {
            let mut response = refused(&Refusal::new(405, "This page only shows: GET and HEAD are all that it knows."));
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if let Some(asset) = asset(head.uri.path()) {
            return shown(asset, unchanged);
        }
        match self.document(head.uri.path(), &head.headers).await {
            Ok(document) if unchanged(&document.etag) => with(StatusCode::NOT_MODIFIED, &document.etag, "no-store", None),
            Ok(document) => with(StatusCode::OK, &document.etag, "no-store", Some(("application/json", document.body))),
            Err(refusal) => refused(&refusal),
        }
    }
}

impl Service {
    async fn document(&self, path: &str, headers: &HeaderMap) -> Result<Document, Refusal> {
        let missing = || Refusal::new(404, "There is nothing here. The page is at /.");
        let rest = path.strip_prefix(DOCUMENTS).ok_or_else(missing)?;
        if !(self.ready)() {
            return Err(Refusal::later(503, "This replica has not read the cluster yet. Try again in a moment."));
        }
        let reader = self.door.admit(authorization(headers)).await?;
        let (view, name) = match rest.split_once('/').unwrap_or((rest, "")) {
            ("session", "") => return Desk::session(&reader),
            ("access", "") => (View::Access, ""),
            ("departures", "") => (View::Departures, ""),
            ("scorecards", "") => (View::Scorecards, ""),
            ("people", name) if is_name(name) => (View::People, name),
            _ => return Err(missing()),
        };
        let late = |_| Refusal::later(503, "usher has too much to do. Try again in a moment.");
        let work = async {
            let Ok(_place) = PLACES.acquire().await else { return Err(missing()) };
            self.desk.view(view, name, &reader).await
        };
        timeout(WHOLE, work).await.map_err(late)?
    }
}

/// Whether that can be the name of an object.
fn is_name(text: &str) -> bool {
    let part = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '.');
    !text.is_empty() && text.len() <= 253 && text.chars().all(part)
}

/// Whether a list of ETags names a version (RFC 9110, section 13.1.2).
fn names(tags: &HeaderValue, etag: &str) -> bool {
    let tags = tags.to_str().unwrap_or_default();
    tags.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == "*" || tag == etag)
}

fn shown(asset: Asset, unchanged: impl Fn(&str) -> bool) -> Response<Full<Bytes>> {
    let etag = format!("\"{}\"", fingerprint(asset.text.as_bytes()));
    // A browser asks each time whether there is another one, as after an upgrade.
    if unchanged(&etag) {
        return with(StatusCode::NOT_MODIFIED, &etag, "no-cache", None);
    }
    with(StatusCode::OK, &etag, "no-cache", Some((asset.content_type, Bytes::from_static(asset.text.as_bytes()))))
}

fn refused(refusal: &Refusal) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = with(status, "", "no-store", Some(("application/json", refusal.body().to_string().into())));
    let headers = response.headers_mut();
    headers.extend(refusal.retry_after.map(|seconds| (header::RETRY_AFTER, HeaderValue::from(seconds))));
    if refusal.status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"usher\""));
    }
    response
}

fn with(status: StatusCode, etag: &str, cache: &'static str, content: Option<(&'static str, Bytes)>) -> Response<Full<Bytes>> {
    let (content_type, body) = content.unzip();
    let mut response = Response::new(Full::new(body.unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.extend(ALWAYS);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.extend(content_type.map(|of| (header::CONTENT_TYPE, HeaderValue::from_static(of))));
    headers.extend(HeaderValue::from_str(etag).ok().filter(|etag| !etag.is_empty()).map(|etag| (header::ETAG, etag)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_alone_in_a_list_or_by_a_star() {
        for tags in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(names(&HeaderValue::from_static(tags), "\"a\""), "{tags}");
        }
        assert!(!names(&HeaderValue::from_static("\"b\""), "\"a\""));
    }

    #[test]
    fn only_names_of_objects_are_asked_for() {
        assert!(is_name("ada-1") && is_name("a.b"));
        assert!(!is_name("") && !is_name("a/b") && !is_name("%2e%2e") && !is_name("Ada"));
    }
}
