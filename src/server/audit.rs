//! Where the API server's audit webhook may send its events: HTTPS with a bearer token, bounded in every way.
//!
//! Nothing in the cluster waits for it: the API server sends batches beside its work, and drops them when nobody takes them.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::plan::scorecard::denied;
use crate::plan::scorecard::events;

use super::certificate::Certificate;
use super::listener::{Answers, Bounds};
use super::token::{authorization, is_right};
use super::{Asked, Ground};

/// A batch may be so long: at the level Metadata several thousand events.
const LONGEST: usize = 4 * 1024 * 1024;
/// A batch takes no longer.
const BODY: Duration = Duration::from_secs(30);
/// So many batches are read at once.
static BATCHES: Semaphore = Semaphore::const_new(2);
/// A connection lives for a minute, so that the next may lead to the replica that works.
const BOUNDS: Bounds = Bounds { name: "audit webhook", connections: 16, life: Duration::from_mins(1) };

/// Takes requests that were denied. Returns whether this replica works: what another one is told it knows nothing of.
pub type Taker = Arc<dyn Fn(Vec<denied::Request>) -> bool + Send + Sync>;

/// What is needed to take what the audit webhook sends.
pub struct AuditWebhook {
    /// What it stands on; the Secret has a `token` as well.
    pub ground: Ground,
    /// Whether this replica works.
    pub leads: Asked,
    /// Where what was denied goes.
    pub taker: Taker,
}

impl AuditWebhook {
    /// Serves for ever.
    pub async fn serve(self, listener: TcpListener) {
        let certificate = Arc::new(Certificate::with_token(BOUNDS.name));
        let service = Service { certificate: certificate.clone(), leads: self.leads, taker: self.taker };
        self.ground.serve(listener, certificate, BOUNDS, service).await;
    }
}

struct Service {
    certificate: Arc<Certificate>,
    leads: Asked,
    taker: Taker,
}

impl Answers for Service {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if !is_right(authorization(request.headers()), self.certificate.token()) {
            return told(StatusCode::UNAUTHORIZED, "the bearer token is not that of the Secret\n");
        }
        if request.method() != Method::POST {
            return told(StatusCode::METHOD_NOT_ALLOWED, "the audit webhook sends by POST\n");
        }
        if !(self.leads)() {
            return elsewhere();
        }
        let Ok(_turn) = BATCHES.acquire().await else { return elsewhere() };
        match timeout(BODY, Limited::new(request.into_body(), LONGEST).collect()).await {
            Ok(Ok(body)) => self.take(&body.to_bytes()),
            Ok(Err(_)) => {
                told(StatusCode::PAYLOAD_TOO_LARGE, "the batch is too long, or broke off: let the API server send smaller ones\n")
            }
            Err(_) => told(StatusCode::REQUEST_TIMEOUT, "the batch did not arrive in time\n"),
        }
    }
}

impl Service {
    fn take(&self, body: &[u8]) -> Response<Full<Bytes>> {
        match events::denied(body).map(|requests| (self.taker)(requests)) {
            Ok(true) => told(StatusCode::OK, ""),
            Ok(false) => elsewhere(),
            Err(error) => told(StatusCode::BAD_REQUEST, format!("no EventList of audit.k8s.io/v1: {error}\n")),
        }
    }
}

fn told(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The API server tries again, over another connection, which may lead to the replica that works.
fn elsewhere() -> Response<Full<Bytes>> {
    let mut response = told(StatusCode::TOO_MANY_REQUESTS, "this replica does not work at the moment\n");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
