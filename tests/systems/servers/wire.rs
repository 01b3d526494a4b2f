//! As much of each protocol as it takes to see that a server really answers, without a client that might cover up for it.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::systems::System;

/// A connection to the port of an address such as `ldaps://127.0.0.1:636`.
pub async fn connect(url: &str) -> TcpStream {
    let authority = url.split("://").last().and_then(|rest| rest.split('/').next()).expect("an address");
    TcpStream::connect(authority).await.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// TLS on a connection, where nothing but the system's own certificate authority is trusted.
pub async fn tls(system: &System, connection: TcpStream) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(system.ca_file()).expect("a certificate");
    roots.add(authority).expect("a certificate authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    connector.connect(name, connection).await.expect("the certificate is by this authority, for this address")
}

/// Sends `request`, and reads the first of what is answered.
pub async fn ask(connection: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), request: &[u8]) -> Vec<u8> {
    connection.write_all(request).await.expect("it is taken");
    connection.flush().await.expect("it is taken");
    let mut answer = vec![0; 4096];
    let length = connection.read(&mut answer).await.expect("an answer");
    answer.truncate(length);
    answer
}

/// Sends a request with `body` over HTTPS, and gives the status and the whole answer.
pub async fn http(system: &System, token: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let kind = if path.contains("/v2/") { "application/scim+json" } else { "application/json" };
    http_at(system, system.env("URL"), &format!("Authorization: Bearer {token}\r\nContent-Type: {kind}"), (method, path, body)).await
}

/// The same at an address of the system, with these headers.
pub async fn http_at(system: &System, url: &str, headers: &str, (method, path, body): (&str, &str, &str)) -> (u16, String) {
    let mut connection = tls(system, connect(url).await).await;
    let request = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{headers}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    connection.write_all(request.as_bytes()).await.expect("it is taken");
    let mut answer = Vec::new();
    // Not everybody says farewell as TLS wants it.
    let _ = connection.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).expect("text");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no HTTP: {answer:?}")), answer)
}

/// PostgreSQL's request for TLS, and its answer; then TLS.
pub async fn postgresql(system: &System) -> TlsStream<TcpStream> {
    let mut connection = connect(system.env("URL")).await;
    assert_eq!(ask(&mut connection, &[0, 0, 0, 8, 4, 210, 22, 47]).await, b"S", "it takes TLS");
    tls(system, connection).await
}

/// The first message of a PostgreSQL client.
pub fn startup(user: &str) -> Vec<u8> {
    let body = format!("user\0{user}\0database\0postgres\0\0");
    let length = u32::try_from(body.len() + 8).expect("short");
    [&length.to_be_bytes(), &[0, 3, 0, 0][..], body.as_bytes()].concat()
}

/// The part of a message in BER: a tag, how long it is, what it is.
pub fn ber(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [.., high, low] = content.len().to_be_bytes();
    let head = if content.len() < 128 { vec![tag, low] } else { vec![tag, 0x82, high, low] };
    [head, content].concat()
}

/// An LDAP request. All have the same number, as nobody sends two at once.
pub fn ldap(operation: &[u8]) -> Vec<u8> {
    ber(0x30, &[&[2, 1, 1], operation])
}

/// Somebody logs in by name and password.
pub fn bind(dn: &str, password: &str) -> Vec<u8> {
    ldap(&ber(0x60, &[&[2, 1, 3], &ber(4, &[dn.as_bytes()]), &ber(0x80, &[password.as_bytes()])]))
}

/// TLS shall begin on this connection.
pub fn start_tls() -> Vec<u8> {
    ldap(&ber(0x77, &[&ber(0x80, &[b"1.3.6.1.4.1.1466.20037"])]))
}

/// A new entry.
pub fn add(dn: &str, attributes: &[(&str, &str)]) -> Vec<u8> {
    let attribute = |(name, value): &(&str, &str)| ber(0x30, &[&ber(4, &[name.as_bytes()]), &ber(0x31, &[&ber(4, &[value.as_bytes()])])]);
    let attributes: Vec<u8> = attributes.iter().flat_map(attribute).collect();
    ldap(&ber(0x68, &[&ber(4, &[dn.as_bytes()]), &ber(0x30, &[&attributes])]))
}

/// The result code in an answer of LDAP's.
pub fn code(answer: &[u8]) -> u8 {
    let at = answer.windows(2).position(|two| two == [0x0a, 1]).unwrap_or_else(|| panic!("no result: {answer:?}"));
    answer[at + 2]
}
