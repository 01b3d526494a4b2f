//! Proxies between usher and a real server, which make faults real: [`TcpProxy`] for any protocol, [`HttpsProxy`] for what is spoken over HTTPS.
//!
//! Both listen on a free port of 127.0.0.1 and end with the test.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// What a [`TcpProxy`] does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Takes and reads, and neither passes on nor answers.
    Silent,
    /// At the next bytes of an answer all connections are cut, and the bytes are lost.
    Armed,
    /// Nothing passes and nothing is lost, as TCP has it while a network is cut: what was sent comes later, unless its sender took it back.
    Held,
    /// Connections are broken, and new ones, too.
    Broken,
}

/// Passes bytes to a server, until told otherwise. Without TLS of its own: a server's certificate for 127.0.0.1 is good for it, too.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    answered: Arc<AtomicU64>,
    forgotten: Arc<watch::Sender<usize>>,
    task: JoinHandle<()>,
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TcpProxy {
    /// A proxy to `target`, such as 127.0.0.1:5432.
    pub async fn start(target: &str) -> Self {
        let (listener, address) = listen().await;
        let (mode, forgotten) = (Arc::new(watch::Sender::new(Mode::Pass)), Arc::new(watch::Sender::new(0)));
        let answered = Arc::new(AtomicU64::default());
        let (target, told, times, count) = (target.to_owned(), mode.clone(), forgotten.clone(), answered.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let (target, told, mut times, count) = (target.clone(), told.clone(), times.subscribe(), count.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = carry(&mut client, target, told, count) => {}
                        Ok(()) = times.changed() => swallow(client).await,
                    }
                });
            }
        });
        Self { address, mode, answered, forgotten, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many bytes of answers have passed.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// From now on bytes pass.
    pub fn pass(&self) {
        self.mode.send_replace(Mode::Pass);
    }

    /// From now on it takes connections and bytes, those of open connections too, and says nothing.
    pub fn silence(&self) {
        self.mode.send_replace(Mode::Silent);
    }

    /// From now on the network is cut: bytes of both sides wait for [`Self::pass`]. Those of a sender whose connection was reset meanwhile do not come.
    pub fn hold(&self) {
        self.mode.send_replace(Mode::Held);
    }

    /// From now on all connections are broken, new ones at once.
    pub fn break_off(&self) {
        self.mode.send_replace(Mode::Broken);
    }

    /// Nothing comes back any more on the connections that there are, and nobody is told: as when a router or a load balancer forgets them. New ones pass.
    pub fn forget(&self) {
        self.forgotten.send_modify(|times| *times += 1);
    }

    /// What is sent from now on reaches the server, and as soon as that answers the connection is cut; then bytes pass again. Arm it after logging in.
    pub fn cut_next_answer(&self) {
        self.mode.send_replace(Mode::Armed);
    }
}

/// Carries one connection to its end.
async fn carry(client: &mut TcpStream, target: String, mode: Arc<watch::Sender<Mode>>, passed: Arc<AtomicU64>) {
    let mut told = mode.subscribe();
    if !goes_on(&mut told, client).await {
        return;
    }
    let Ok(mut server) = TcpStream::connect(&target).await else { return };
    let (mut asked, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    while goes_on(&mut told, client).await {
        tokio::select! {
            changed = told.changed() => if changed.is_err() { return },
            read = client.read(&mut asked) => match read {
                Ok(count) if count > 0 && goes_on(&mut told, client).await => {
                    if *mode.borrow() != Mode::Silent && server.write_all(&asked[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(count) if count > 0 && goes_on(&mut told, client).await => {
                    let now = *mode.borrow();
                    if now == Mode::Armed {
                        mode.send_replace(Mode::Pass);
                        return;
                    }
                    if now == Mode::Pass && client.write_all(&answered[..count]).await.is_err() {
                        return;
                    }
                    passed.fetch_add(count as u64, Ordering::Relaxed);
                }
                _ => return,
            },
        }
    }
}

/// Takes what a client sends, to no end.
async fn swallow(mut client: TcpStream) {
    let mut bytes = vec![0; 16 * 1024];
    while client.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

/// Waits while nothing passes. Says whether the connection goes on: it is not broken, and the client has not reset it.
async fn goes_on(told: &mut watch::Receiver<Mode>, client: &TcpStream) -> bool {
    let held = *told.borrow_and_update() == Mode::Held;
    let passes = told.wait_for(|mode| *mode != Mode::Held).await.is_ok_and(|mode| *mode != Mode::Broken);
    let reset = held && client.take_error().is_ok_and(|error| error.is_some());
    passes && !reset
}

/// A request as a proxy sees it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The path with the query, as it was sent.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Asked {
    /// Whether it changes something.
    pub fn changes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// The body as JSON, null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// An answer that is to be given.
#[derive(Clone, Debug)]
pub struct Told {
    /// The status.
    pub status: StatusCode,
    /// The headers; the length of the body is seen to.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Told {
    /// An answer with a body in JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self { status: StatusCode::from_u16(status).expect("a status"), headers, body: body.to_string().into() }
    }

    /// 429, with the seconds to wait.
    pub fn patience(seconds: u64) -> Self {
        let mut told = Self::json(429, &serde_json::json!({ "message": "wait a little" }));
        told.headers.insert(RETRY_AFTER, seconds.into());
        told
    }

    /// 503.
    pub fn broken() -> Self {
        Self::json(503, &serde_json::json!({ "message": "it is broken" }))
    }

    /// The body as JSON, null if it is none.
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Another body in JSON.
    pub fn set(&mut self, value: &serde_json::Value) {
        self.body = value.to_string().into();
    }
}

type Which = dyn Fn(&Asked) -> bool + Send + Sync;
type Instead = dyn Fn(&Asked) -> Option<Told> + Send + Sync;
type Rewrite = dyn Fn(&mut Asked) + Send + Sync;
type Edit = dyn Fn(&Asked, &mut Told) + Send + Sync;

/// What is to happen to requests.
#[derive(Default)]
struct Rules {
    /// So many requests get this answer.
    answers: VecDeque<Told>,
    instead: Option<Arc<Instead>>,
    rewrite: Option<Arc<Rewrite>>,
    edit: Option<Arc<Edit>>,
    held: Option<Arc<Which>>,
    cut: bool,
    delay: Duration,
    asked: Vec<Asked>,
}

struct Shared {
    rules: Mutex<Rules>,
    silent: watch::Sender<bool>,
    let_go: watch::Sender<u64>,
    connections: AtomicU64,
    upstream: reqwest::Client,
    target: String,
}

/// Takes HTTPS with a certificate of a CA of its own, and asks the real server, whose certificate it verifies.
pub struct HttpsProxy {
    address: SocketAddr,
    ca: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for HttpsProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpsProxy {
    /// A proxy to the server at `target`, a URL whose path is left to the requests: `https://127.0.0.1:3000`. `ca` is the certificate of its CA, as PEM.
    pub async fn start(target: &str, ca: Option<&str>) -> Self {
        let target = reqwest::Url::parse(target).expect("a URL").origin().ascii_serialization();
        let tls = usher::connectors::tls::config(ca).expect("a CA");
        let upstream =
            reqwest::Client::builder().tls_backend_preconfigured(tls).redirect(reqwest::redirect::Policy::none()).no_proxy().build();
        let shared = Arc::new(Shared {
            rules: Mutex::default(),
            silent: watch::Sender::new(false),
            let_go: watch::Sender::new(0),
            connections: AtomicU64::new(0),
            upstream: upstream.expect("a client"),
            target,
        });
        let (acceptor, ca) = certified();
        let (listener, address) = listen().await;
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, acceptor.clone(), serving.clone()));
            }
        });
        Self { address, ca, shared, task }
    }

    /// Its URL: `https://127.0.0.1:40321`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The certificate of its CA, as PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The next requests get this answer instead of the server's, which does not see them.
    pub fn answer(&self, times: usize, told: &Told) {
        self.shared.rules.lock().answers.extend(std::iter::repeat_n(told.clone(), times));
    }

    /// Requests for which `instead` has an answer get that one.
    pub fn instead(&self, instead: impl Fn(&Asked) -> Option<Told> + Send + Sync + 'static) {
        self.shared.rules.lock().instead = Some(Arc::new(instead));
    }

    /// From now on all that changes something gets this status, and an answer that repeats what was asked.
    pub fn echo(&self, status: u16) {
        self.instead(move |asked| {
            let text = format!("you said: {}", String::from_utf8_lossy(&asked.body));
            let fields = ["message", "error", "error_description", "errorMessage", "detail"];
            let body = fields.into_iter().map(|field| (field.to_owned(), text.clone().into())).collect();
            asked.changes().then(|| Told::json(status, &serde_json::Value::Object(body)))
        });
    }

    /// Requests that `which` means wait before they reach the server, and reach it even if whoever asked waits no more. [`Self::let_go`] ends it; another word
    /// counts for those that wait already, too.
    pub fn hold(&self, which: impl Fn(&Asked) -> bool + Send + Sync + 'static) {
        self.shared.rules.lock().held = Some(Arc::new(which));
        self.shared.let_go.send_modify(|times| *times += 1);
    }

    /// Lets all go that are held, and holds no more.
    pub fn let_go(&self) {
        self.shared.rules.lock().held = None;
        self.shared.let_go.send_modify(|times| *times += 1);
    }

    /// Every request that reaches the server goes through `rewrite`: a server may ignore some of what it is asked.
    pub fn rewrite(&self, rewrite: impl Fn(&mut Asked) + Send + Sync + 'static) {
        self.shared.rules.lock().rewrite = Some(Arc::new(rewrite));
    }

    /// Every answer of the server goes through `edit`, which makes another server's habits of it.
    pub fn edit(&self, edit: impl Fn(&Asked, &mut Told) + Send + Sync + 'static) {
        self.shared.rules.lock().edit = Some(Arc::new(edit));
    }

    /// The next request that changes something reaches the server, and the connection is cut instead of answering it.
    pub fn cut_next_change(&self) {
        self.shared.rules.lock().cut = true;
    }

    /// Every answer is kept back for so long.
    pub fn delay(&self, delay: Duration) {
        self.shared.rules.lock().delay = delay;
    }

    /// From now on it takes connections, and says nothing.
    pub fn silence(&self) {
        self.shared.silent.send_replace(true);
    }

    /// From now on it speaks again.
    pub fn speak(&self) {
        self.shared.silent.send_replace(false);
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.rules.lock().asked.clone()
    }

    /// How many requests there were so far, by method and path without the query: `GET /api/v1/users`.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for asked in self.asked() {
            let path = asked.path.split('?').next().unwrap_or_default();
            *counts.entry(format!("{} {path}", asked.method)).or_default() += 1;
        }
        counts
    }

    /// Forgets what was asked.
    pub fn forget(&self) {
        self.shared.rules.lock().asked.clear();
    }

    /// How many connections there were so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

/// A system that asks for patience once, and what it was asked before that was over.
#[derive(Debug)]
pub struct Patience {
    wait: Duration,
    asked_at: Arc<Mutex<Option<Instant>>>,
    early: Arc<Mutex<Vec<(Duration, String)>>>,
}

impl Patience {
    /// The first request that `which` means is answered with so long to wait; that and all others then reach the server.
    pub fn ask(proxy: &HttpsProxy, wait: Duration, which: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Self {
        let patience = Self { wait, asked_at: Arc::default(), early: Arc::default() };
        let (asked_at, early) = (patience.asked_at.clone(), patience.early.clone());
        proxy.instead(move |asked| {
            let mut asked_at = asked_at.lock();
            match *asked_at {
                None if which(asked) => {
                    *asked_at = Some(Instant::now());
                    return Some(Told::patience(wait.as_secs()));
                }
                // What was sent before the answer arrived is no fault.
                Some(at) if at.elapsed() > wait / 4 && at.elapsed() < wait * 9 / 10 => {
                    early.lock().push((at.elapsed(), format!("{} {}", asked.method, asked.path)));
                }
                _ => {}
            }
            None
        });
        patience
    }

    /// Fails unless it is over, and nothing was asked before it was.
    #[track_caller]
    pub fn was_kept(&self) {
        assert!(self.asked_at.lock().expect("it was asked").elapsed() >= self.wait, "{self:?}");
        assert!(self.early.lock().is_empty(), "{self:?}");
    }
}

/// Serves one connection to its end.
async fn serve(client: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    shared.connections.fetch_add(1, Ordering::Relaxed);
    shared.until_it_speaks().await;
    let Ok(stream) = acceptor.accept(client).await else { return };
    let service = hyper::service::service_fn(|request| exchange(request, &shared));
    // An error of the service closes the connection without an answer: that is what cutting is.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

/// The connection is cut.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

async fn exchange(request: Request<Incoming>, shared: &Arc<Shared>) -> Result<Response<Full<Bytes>>, Cut> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let asked = Asked { method: head.method, path, headers: head.headers, body };
    shared.until_it_speaks().await;
    let (ready, cut, delay) = {
        let mut rules = shared.rules.lock();
        rules.asked.push(asked.clone());
        let ready = rules.answers.pop_front().or_else(|| rules.instead.clone()?(&asked));
        let cut = ready.is_none() && asked.changes() && std::mem::take(&mut rules.cut);
        (ready, cut, rules.delay)
    };
    let told = match ready {
        Some(told) => told,
        None => {
            let mut sent = asked.clone();
            let rewrite = shared.rules.lock().rewrite.clone();
            rewrite.inspect(|rewrite| rewrite(&mut sent));
            let (waiting, sending) = (asked.clone(), shared.clone());
            let sent = tokio::spawn(async move {
                sending.until_let_go(&waiting).await;
                forward(&sent, &sending).await
            });
            let mut told = sent.await.map_err(|_| Cut)?.map_err(|_| Cut)?;
            let edit = shared.rules.lock().edit.clone();
            edit.inspect(|edit| edit(&asked, &mut told));
            told
        }
    };
    tokio::time::sleep(delay).await;
    shared.until_it_speaks().await;
    if cut {
        return Err(Cut);
    }
    let mut response = Response::new(Full::new(told.body));
    *response.status_mut() = told.status;
    *response.headers_mut() = told.headers;
    without_hops(response.headers_mut());
    Ok(response)
}

impl Shared {
    /// Returns when a request is not held, or not any more.
    async fn until_let_go(&self, asked: &Asked) {
        let mut let_go = self.let_go.subscribe();
        loop {
            let held = self.rules.lock().held.clone();
            if !held.is_some_and(|which| which(asked)) || let_go.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns at once, or never.
    async fn until_it_speaks(&self) {
        let mut silent = self.silent.subscribe();
        drop(silent.wait_for(|silent| !silent).await);
    }
}

async fn forward(asked: &Asked, shared: &Shared) -> Result<Told, reqwest::Error> {
    let mut headers = asked.headers.clone();
    headers.remove(HOST);
    without_hops(&mut headers);
    let url = format!("{}{}", shared.target, asked.path);
    let response = shared.upstream.request(asked.method.clone(), url).headers(headers).body(asked.body.clone()).send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Told { status, headers, body: response.bytes().await? })
}

/// Takes away what is about one connection only, and the length, which is told anew.
fn without_hops(headers: &mut HeaderMap) {
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, HeaderName::from_static("keep-alive")] {
        headers.remove(name);
    }
}

pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// What takes TLS with a new certificate for 127.0.0.1 and localhost, and the certificate of the CA that signed it.
pub fn certified() -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "a CA of a test");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let leaf = CertificateParams::new(names).expect("names").signed_by(&key, &ca).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS");
    let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).expect("a certificate");
    (TlsAcceptor::from(Arc::new(config)), ca.pem())
}
