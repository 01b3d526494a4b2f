//! A bare client of PostgreSQL: the statements that the connector has for a new account, and nothing else.

use postgres_protocol::password::scram_sha_256;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{Oid, Type};
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;
use usher::connectors::tls;

use super::person::Somebody;
use super::places::Place;

#[allow(dead_code, reason = "the connector has statements for more than new accounts")]
#[path = "../../src/connectors/postgresql/statements.rs"]
mod statements;

/// How many requests a person takes.
pub const REQUESTS: usize = 6;

/// A session.
pub async fn log_in(port: &str, (user, password): (&str, &str), ca: &str) -> Client {
    let mut config = Config::new();
    let port = port.parse().expect("a port");
    config.host("127.0.0.1").port(port).dbname("postgres").user(user).password(password).ssl_mode(SslMode::Require);
    let tls = MakeRustlsConnect::new(tls::config(Some(ca)).expect("a CA"));
    let (client, connection) = config.connect(tls).await.expect("a session");
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// A session of usher's role.
pub async fn session(place: &Place) -> Client {
    log_in(&place.more, ("usher", &place.credential), &place.ca).await
}

/// Makes an account.
pub async fn make(client: &Client, place: &Place, somebody: &Somebody) {
    let login = &somebody.username;
    assert!(!found(client, login).await, "{login} is there already");
    let made = client.simple_query(&statements::create(login, &somebody.owner().mark())).await.expect("made");
    let id: Oid = made.iter().find_map(first_value).and_then(|id| id.parse().ok()).expect("an id");
    assert!(found(client, login).await);
    client.simple_query(&statements::join(id, &place.group)).await.expect("in the group");
    let verifier = scram_sha_256(b"a-password-as-long-as-those-of-usher");
    client.simple_query(&statements::password(id, &verifier)).await.expect("a password");
    assert!(found(client, login).await);
}

async fn found(client: &Client, login: &String) -> bool {
    let none: Oid = 0;
    let rows = client.query_typed(statements::FIND, &[(&none, Type::OID), (login, Type::TEXT)]).await.expect("an answer");
    !rows.is_empty()
}

fn first_value(message: &SimpleQueryMessage) -> Option<&str> {
    match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    }
}
