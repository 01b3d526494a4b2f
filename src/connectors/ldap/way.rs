//! The way to a directory: a connection on which no answer can be too large. The library has no bound of its own, and takes a socket that somebody else has opened.

use std::net::TcpStream as Socket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;
use std::sync::Arc;

use ldap3::LdapError;
use reqwest::Url;
use tokio::io::{copy, split};
use tokio::net::{TcpStream, UnixStream};

use crate::connectors::bounded::{Allowance, Bounded};

/// Connects to the server of a URL. What the socket reads was allowed; it ends with the connection, and the connection with it.
pub(super) async fn connect(url: &str, allowance: Arc<Allowance>) -> Result<Socket, LdapError> {
    let url = Url::parse(url)?;
    let port = match url.scheme() {
        "ldaps" => 636,
        "ldap" => 389,
        other => return Err(LdapError::UnknownScheme(other.to_owned())),
    };
    let address = format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(port));
    let server = Bounded::new(TcpStream::connect(address).await?, allowance);
    let (near, far) = Pair::pair()?;
    far.set_nonblocking(true)?;
    tokio::spawn(carry(server, UnixStream::from_std(far)?));
    // The library asks for this type, and does nothing with it that any other socket could not do.
    Ok(Socket::from(OwnedFd::from(near)))
}

/// Carries what is said to the end of either side.
async fn carry(server: Bounded<TcpStream>, client: UnixStream) {
    let ((mut answers, mut asks), (mut asked, mut answered)) = (split(server), split(client));
    tokio::select! {
        _ = copy(&mut answers, &mut answered) => {}
        _ = copy(&mut asked, &mut asks) => {}
    }
}
