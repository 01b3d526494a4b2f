//! A server that answers with a message that does not end. None that is well does so; one that was broken into can.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::proxy::{certified, listen};

/// What is heard before TLS, and what is answered to that.
pub type Hello = (&'static [u8], &'static [u8]);

/// Floods whoever asks it anything.
pub struct Flood {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate of its CA, as PEM.
    pub ca: String,
    taken: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Flood {
    /// One whose message begins so.
    pub async fn start(hello: Option<Hello>, begins: &'static [u8]) -> Self {
        let (acceptor, ca) = certified();
        let (listener, address) = listen().await;
        let taken = Arc::new(AtomicU64::default());
        let count = taken.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                flood(client, &acceptor, hello, begins, &count).await;
            }
        });
        Self { address, ca, taken, task }
    }

    /// How many bytes of it were taken, or are under way.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

async fn flood(mut client: TcpStream, acceptor: &TlsAcceptor, hello: Option<Hello>, begins: &[u8], taken: &AtomicU64) {
    if let Some((question, answer)) = hello {
        let mut heard = vec![0; question.len()];
        client.read_exact(&mut heard).await.expect("a question");
        assert_eq!(heard, question);
        client.write_all(answer).await.expect("an answer");
    }
    let mut client = acceptor.accept(client).await.expect("TLS");
    client.read_u8().await.expect("something is asked");
    client.write_all(begins).await.expect("an answer");
    let nothing = vec![0; 64 * 1024];
    while client.write_all(&nothing).await.is_ok() {
        taken.fetch_add(64 * 1024, Ordering::Relaxed);
    }
}
