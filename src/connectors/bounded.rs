//! How much a system may say at once. The libraries of LDAP and PostgreSQL keep a message until they have all of it, however long it is: memory would end first.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::error::ConnectorError;

/// A larger answer is not read: no page of any system is as large.
pub const MOST_BYTES: u64 = 32 * 1024 * 1024;

/// The error of an answer that is not read.
pub fn too_large(operation: &str) -> ConnectorError {
    ConnectorError::Garbled { operation: operation.to_owned(), message: words() }
}

fn words() -> String {
    format!("the answer is larger than {MOST_BYTES} bytes")
}

/// How much was read on a connection since something was answered last.
#[derive(Debug, Default)]
pub struct Allowance {
    read: AtomicU64,
}

impl Allowance {
    /// An answer is whole: what comes now is another one.
    pub fn renew(&self) {
        // What was too much stays so: the connection is at its end.
        let _ = self.read.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |read| (read <= MOST_BYTES).then_some(0));
    }

    /// Whether an answer was too large.
    pub fn is_exceeded(&self) -> bool {
        self.read.load(Ordering::Relaxed) > MOST_BYTES
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        self.read.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        if self.is_exceeded() { Err(io::Error::other(words())) } else { Ok(()) }
    }
}

/// A connection that ends at an answer that is too large.
#[derive(Debug)]
pub struct Bounded<S> {
    stream: S,
    allowance: Arc<Allowance>,
}

impl<S> Bounded<S> {
    /// A connection of which no more is read than is allowed.
    pub const fn new(stream: S, allowance: Arc<Allowance>) -> Self {
        Self { stream, allowance }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.allowance.take(buffer.filled().len() - before))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
