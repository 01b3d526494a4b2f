//! A proxy that understands LDAP: it ends TLS, and asks the real server over TLS of its own. What it does to answers is what servers and networks do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::proxy::{certified, listen};

/// The operations of RFC 4511 by the byte that begins them.
const SEARCH_DONE: u8 = 0x65;
const RENAMED: u8 = 0x6d;
const CHANGES: [u8; 5] = [0x67, 0x69, 0x6b, RENAMED, 0x78];

/// What is to happen to answers.
#[derive(Default)]
struct Rules {
    /// The answers at which the connection is cut, and how many of them pass before.
    cut: Option<(&'static [u8], usize)>,
    unavailable: bool,
    without_controls: bool,
    /// The next answer to a search waits for the second, after it has told the first that it does.
    hold: Option<(Arc<Notify>, Arc<Notify>)>,
    /// How often each operation was asked for.
    asked: BTreeMap<u8, usize>,
    connections: usize,
}

impl Rules {
    /// Whether the connection is cut instead of passing this answer on.
    fn cuts(&mut self, operation: u8) -> bool {
        match &mut self.cut {
            Some((which, _)) if !which.contains(&operation) => false,
            Some((_, left @ 1..)) => {
                *left -= 1;
                false
            }
            cut => cut.take().is_some(),
        }
    }
}

/// Takes LDAP over TLS with a certificate of a CA of its own.
pub struct LdapProxy {
    address: SocketAddr,
    ca: String,
    rules: Arc<Mutex<Rules>>,
    task: JoinHandle<()>,
}

impl Drop for LdapProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LdapProxy {
    /// A proxy to a server with ldaps at `target`, such as 127.0.0.1:636.
    pub async fn start(target: &str, ca: &str) -> Self {
        let upstream = TlsConnector::from(Arc::new(usher::connectors::tls::config(Some(ca)).expect("a CA")));
        let (acceptor, ca) = certified();
        let (listener, address) = listen().await;
        let rules = Arc::new(Mutex::new(Rules::default()));
        let (target, shared) = (target.to_owned(), rules.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                shared.lock().connections += 1;
                connections.spawn(carry(client, acceptor.clone(), target.clone(), upstream.clone(), shared.clone()));
            }
        });
        Self { address, ca, rules, task }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("ldaps://{}", self.address)
    }

    /// The certificate of its CA, as PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The next change is made, and the connection is cut instead of answering it.
    pub fn cut_next_change(&self) {
        self.cut_change_after(0);
    }

    /// So many changes are answered; the next one is made, and the connection is cut instead.
    pub fn cut_change_after(&self, answered: usize) {
        self.rules.lock().cut = Some((&CHANGES, answered));
    }

    /// The same for the next new name of an entry, whatever is changed before.
    pub fn cut_next_rename(&self) {
        self.rules.lock().cut = Some((&[RENAMED], 0));
    }

    /// From now on every search ends with `unavailable`.
    pub fn fail(&self) {
        self.rules.lock().unavailable = true;
    }

    /// From now on answers to searches have no controls, so that nobody knows whether a list goes on.
    pub fn forget_controls(&self) {
        self.rules.lock().without_controls = true;
    }

    /// The next answer to a search is kept back. Returns what tells that there is one, and what lets it go.
    pub fn hold_next_search(&self) -> (Arc<Notify>, Arc<Notify>) {
        let pair = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        self.rules.lock().hold = Some(pair.clone());
        pair
    }

    /// How many requests there were so far.
    pub fn asked(&self) -> usize {
        self.rules.lock().asked.values().sum()
    }

    /// The same by what was asked for: bind, search …
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.rules.lock().asked.iter().map(|(operation, count)| (name(*operation), *count)).collect()
    }

    /// How many connections there were so far.
    pub fn connections(&self) -> usize {
        self.rules.lock().connections
    }
}

/// Carries one connection to its end.
async fn carry(client: TcpStream, acceptor: TlsAcceptor, target: String, upstream: TlsConnector, rules: Arc<Mutex<Rules>>) {
    let Ok(client) = acceptor.accept(client).await else { return };
    let server = TcpStream::connect(&target).await.expect("a connection");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let Ok(server) = upstream.connect(name, server).await else { return };
    let (mut asking, mut answering) = tokio::io::split(client);
    let (mut answers, mut asks) = tokio::io::split(server);
    let asked = async {
        while let Some(message) = read(&mut asking).await {
            *rules.lock().asked.entry(operation(&message)).or_default() += 1;
            if asks.write_all(&message).await.is_err() {
                return;
            }
        }
    };
    let answered = async {
        while let Some(message) = read(&mut answers).await {
            let Some(message) = treated(message, &rules).await else { return };
            if answering.write_all(&message).await.is_err() || answering.flush().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = asked => {}
        () = answered => {}
    }
}

/// An answer as it is passed on; nothing if the connection is cut instead.
async fn treated(message: Vec<u8>, rules: &Mutex<Rules>) -> Option<Vec<u8>> {
    let operation = operation(&message);
    if rules.lock().cuts(operation) {
        return None;
    }
    if operation != SEARCH_DONE {
        return Some(message);
    }
    let hold = rules.lock().hold.take();
    if let Some((there, go)) = hold {
        there.notify_one();
        go.notified().await;
    }
    let rules = rules.lock();
    let body = if rules.unavailable {
        vec![SEARCH_DONE, 7, 0x0a, 1, 52, 4, 0, 4, 0]
    } else if rules.without_controls {
        let start = operation_at(&message);
        message[start..start + length(&message[start..]).expect("a whole one")].to_vec()
    } else {
        return Some(message);
    };
    let header = header(&message);
    let id = &message[header..operation_at(&message)];
    let size = u8::try_from(id.len() + body.len()).expect("a short answer");
    assert!(size < 128, "a length in one byte");
    Some([&[0x30, size], id, &body].concat())
}

/// Reads one message of LDAP, whatever it holds; nothing at the end.
async fn read(from: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        if let Some(wanted) = length(&message).filter(|wanted| message.len() >= *wanted) {
            assert_eq!(message.len(), wanted);
            return Some(message);
        }
        let missing = length(&message).map_or(1, |wanted| wanted - message.len());
        let start = message.len();
        message.resize(start + missing, 0);
        from.read_exact(&mut message[start..]).await.ok()?;
    }
}

/// How long an element of BER is, with its header; nothing while that is not whole.
fn length(element: &[u8]) -> Option<usize> {
    let first = usize::from(*element.get(1)?);
    if first < 128 {
        return Some(2 + first);
    }
    let bytes = element.get(2..2 + first - 128)?;
    Some(2 + bytes.len() + bytes.iter().fold(0, |length, byte| length * 256 + usize::from(*byte)))
}

/// Where the content of an element begins.
fn header(element: &[u8]) -> usize {
    let first = usize::from(element[1]);
    if first < 128 { 2 } else { 2 + first - 128 }
}

/// Where the operation begins: behind the number of the message.
fn operation_at(message: &[u8]) -> usize {
    let header = header(message);
    header + length(&message[header..]).expect("a number")
}

fn operation(message: &[u8]) -> u8 {
    message[operation_at(message)]
}

/// What a request is called.
fn name(operation: u8) -> &'static str {
    match operation {
        0x60 => "bind",
        0x63 => "search",
        0x42 => "unbind",
        0x6e => "compare",
        0x66 => "modify",
        0x68 => "add",
        0x4a => "delete",
        0x6c => "rename",
        0x77 => "extended",
        _ => "another",
    }
}
