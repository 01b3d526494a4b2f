//! Connections to the server, and what its errors mean.

use std::fmt::{self, Debug};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, Row, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::api::provider;

use super::super::Secrets;
use super::super::bounded::{Allowance, too_large};
use super::super::error::ConnectorError;
use super::super::throttle::Throttle;
use super::super::tls;
use super::way::Way;

/// How long a connection may take, and a request as a whole.
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(20);
/// When a connection that nobody uses is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// So many connections there are at most, but for those to other databases.
const MOST: usize = 4;
/// Of what the server says no more than this is told.
const MOST_WORDS: usize = 300;

/// What every session begins with. Names mean the system's own objects only: whoever may make a function in this database does not get to run it as usher. The
/// server gives up before usher does, and does not let others queue behind a lock that usher waits for.
const BEGIN: &str =
    "SET search_path = pg_catalog; SET statement_timeout = '15s'; SET lock_timeout = '5s'; SET client_min_messages = 'error'";

/// Whom a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// usher's own role: nothing works before somebody changes something.
    System,
    /// One account or group, such as one that usher's role was not given. Others go on.
    Account,
}

/// A server, with connections that are kept.
pub struct Server {
    config: Config,
    tls: MakeRustlsConnect,
    throttle: Arc<Throttle>,
    /// Connections that nobody uses. The server does what comes by one of them one after another, so requests at once take several.
    idle: Mutex<Vec<Session>>,
    places: Semaphore,
}

/// A connection.
struct Session {
    client: Client,
    allowance: Arc<Allowance>,
}

impl Session {
    /// What the server answers to one request.
    async fn ask<T>(
        &self,
        operation: &str,
        request: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<Result<T, Refusal>, ConnectorError> {
        let answer = match request(&self.client).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(Refusal::read(&error).ok_or_else(|| self.lost(operation, error))?),
        };
        self.allowance.renew();
        Ok(answer)
    }

    /// Why there is no answer.
    fn lost(&self, operation: &str, error: Error) -> ConnectorError {
        if self.allowance.is_exceeded() { too_large(operation) } else { ConnectorError::unreachable(operation, error) }
    }
}

impl Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, .. } = self;
        f.debug_struct("Server").field("hosts", &config.get_hosts()).field("user", &config.get_user()).finish_non_exhaustive()
    }
}

impl Server {
    /// A server that a Provider names. Nothing is sent yet.
    pub fn new(settings: &provider::Postgresql, secrets: &Secrets, throttle: Arc<Throttle>) -> Result<Self, ConnectorError> {
        let invalid = |message: String| ConnectorError::InvalidSettings { field: "url", message };
        let shape = || invalid("write postgresql://host:port/database without user, password and parameters".to_owned());
        let mut config = Config::from_str(&settings.url).map_err(|error| invalid(error.to_string()))?;
        let by_tcp = config.get_hosts().iter().all(|host| matches!(host, Host::Tcp(name) if !name.is_empty()));
        if settings.url.contains(['?', '@']) || config.get_hosts().is_empty() || !by_tcp || config.get_dbname().is_none() {
            return Err(shape());
        }
        config
            .user(&settings.user)
            .password(secrets.credential.expose_secret())
            .ssl_mode(SslMode::Require)
            .application_name("usher")
            .connect_timeout(CONNECT)
            .keepalives_idle(KEEPALIVE)
            .tcp_user_timeout(WHOLE)
            // Of several hosts the one that takes changes.
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        let tls = MakeRustlsConnect::new(tls::config(secrets.ca.as_deref())?);
        Ok(Self { config, tls, throttle, idle: Mutex::default(), places: Semaphore::new(MOST) })
    }

    /// The rows that a query has, all of them or an error.
    pub async fn rows(&self, operation: &str, query: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, ConnectorError> {
        let answer = self.bounded(operation, async |client| client.query_typed(query, values).await).await?;
        answer.map_err(|refusal| refusal.into_error(operation, About::System))
    }

    /// Runs statements that are one transaction, in one request.
    pub async fn run(&self, operation: &str, about: About, statements: &str) -> Result<(), ConnectorError> {
        self.attempt(operation, statements).await?.map(|_| ()).map_err(|refusal| refusal.into_error(operation, about))
    }

    /// Runs statements that are one transaction, in one request. Returns the first value that they tell, or why the server refuses.
    pub async fn attempt(&self, operation: &str, statements: &str) -> Result<Result<Option<String>, Refusal>, ConnectorError> {
        let answer = self.bounded(operation, async |client| client.simple_query(statements).await).await?;
        Ok(answer.map(|messages| messages.iter().find_map(first_value)))
    }

    /// Runs statements in another database of the server, by a connection for that alone.
    pub async fn run_in(&self, operation: &str, database: &str, statements: &str) -> Result<(), ConnectorError> {
        let mut config = self.config.clone();
        config.dbname(database);
        let call = async {
            let session = self.open(operation, &config).await.map_err(|error| no_entry(operation, database, error))?;
            let operation = format!("{operation} in database {database}");
            let done = session.ask(&operation, async |client| client.batch_execute(statements).await).await?;
            done.map_err(|refusal| match refusal {
                refusal if refusal.code == SqlState::INSUFFICIENT_PRIVILEGE => {
                    let message = format!("{}; grant usher's role and the one that gets it what is missing there", refusal.words);
                    ConnectorError::Rejected { operation, message }
                }
                refusal => refusal.into_error(&operation, About::Account),
            })
        };
        // On the heap: a connection in the making is large.
        self.throttle.send(Box::pin(async { timeout(WHOLE, call).await.map_err(|_| late(operation))? })).await
    }

    /// The database that usher is connected to.
    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }

    /// A request, bounded in time as a whole. One without an answer ends its connection.
    async fn bounded<T>(
        &self,
        operation: &str,
        request: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<Result<T, Refusal>, ConnectorError> {
        self.throttle.send(self.answer(operation, request)).await
    }

    async fn answer<T>(
        &self,
        operation: &str,
        request: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<Result<T, Refusal>, ConnectorError> {
        let call = async {
            // Nobody closes it, so there is always a place in the end.
            let _place = self.places.acquire().await;
            let session = self.session(operation).await?;
            let answer = session.ask(operation, request).await?;
            self.idle.lock().push(session);
            Ok(answer)
        };
        let answer = timeout(WHOLE, call).await.unwrap_or_else(|_| Err(late(operation)));
        if answer.is_err() {
            // What ended one has most likely ended all: nobody is to find that out one by one.
            self.idle.lock().clear();
        }
        answer
    }

    /// A connection that nobody uses, or a new one.
    async fn session(&self, operation: &str) -> Result<Session, ConnectorError> {
        while let Some(session) = self.idle.lock().pop() {
            if !session.client.is_closed() {
                return Ok(session);
            }
        }
        self.open(operation, &self.config).await.map_err(|error| error.into_error(operation))
    }

    async fn open(&self, operation: &str, config: &Config) -> Result<Session, OpenError> {
        let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(1);
        let allowance = Arc::new(Allowance::default());
        let open = async {
            let way = Way { tls: self.tls.clone(), allowance: allowance.clone() };
            let (client, connection) = config.connect(way).await?;
            // Ends with the client; what goes wrong with it, the client's next request tells.
            tokio::spawn(async move { drop(connection.await) });
            client.batch_execute(BEGIN).await?;
            Ok(client)
        };
        let client = match timeout(CONNECT * hosts, open).await {
            Ok(Err(_)) if allowance.is_exceeded() => Err(OpenError::Useless(too_large(operation))),
            Ok(opened) => opened.map_err(OpenError::Refused),
            Err(_) => Err(OpenError::Useless(late(operation))),
        }?;
        allowance.renew();
        Ok(Session { client, allowance })
    }
}

fn first_value(message: &SimpleQueryMessage) -> Option<String> {
    match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
        _ => None,
    }
}

/// Why there is no connection.
#[derive(Debug)]
enum OpenError {
    Refused(Error),
    Useless(ConnectorError),
}

impl OpenError {
    /// What it means for the connection that everything depends on.
    fn into_error(self, operation: &str) -> ConnectorError {
        let error = match self {
            Self::Refused(error) => error,
            Self::Useless(error) => return error,
        };
        let Some(refusal) = Refusal::read(&error) else { return ConnectorError::unreachable(operation, error) };
        let operation = operation.to_owned();
        match refusal.code.code() {
            "3D000" => ConnectorError::InvalidSettings { field: "url", message: refusal.words },
            code if code.starts_with("28") || code == "42501" => ConnectorError::Unauthorized { operation, status: refusal.words },
            _ => ConnectorError::unreachable(operation, refusal.words),
        }
    }
}

/// What it means for one database of many: the server as a whole is well.
fn no_entry(operation: &str, database: &str, error: OpenError) -> ConnectorError {
    let operation = format!("{operation} in database {database}");
    let refusal = match &error {
        OpenError::Refused(error) => Refusal::read(error),
        OpenError::Useless(_) => None,
    };
    match refusal {
        Some(refusal) if refusal.is_about_entry() => {
            let message = format!("it does not let usher in ({}); let usher's role CONNECT to it, or drop it", refusal.words);
            ConnectorError::Rejected { operation, message }
        }
        _ => error.into_error(&operation),
    }
}

fn late(operation: &str) -> ConnectorError {
    ConnectorError::unreachable(operation, "it took too long")
}

/// What the server said instead of doing what it was asked to.
#[derive(Debug)]
pub struct Refusal {
    /// Its code.
    pub code: SqlState,
    /// Its words, on one line and bounded.
    pub words: String,
}

impl Refusal {
    fn read(error: &Error) -> Option<Self> {
        error.as_db_error().map(|error| Self { code: error.code().clone(), words: words(error) })
    }

    /// Not let into a database: by pg_hba.conf, for want of CONNECT, or as nobody is.
    fn is_about_entry(&self) -> bool {
        let code = self.code.code();
        code.starts_with("28") || matches!(code, "42501" | "55000")
    }

    /// What it means.
    pub fn into_error(self, operation: &str, about: About) -> ConnectorError {
        let operation = operation.to_owned();
        match self.code.code() {
            code if code.starts_with("28") => ConnectorError::Unauthorized { operation, status: self.words },
            "42501" if about == About::System => ConnectorError::Unauthorized { operation, status: self.words },
            // 55P03 is a lock that somebody holds, 25006 a server that takes no changes any more, 57014 a statement that took too long, XX000 two who change
            // the same role at once.
            "55P03" | "25006" => ConnectorError::unreachable(operation, self.words),
            code if ["08", "40", "53", "57", "58", "XX"].iter().any(|class| code.starts_with(class)) => {
                ConnectorError::unreachable(operation, self.words)
            }
            _ => ConnectorError::Rejected { operation, message: self.words },
        }
    }
}

/// The server's message with its details and its advice. It never repeats values of a statement.
fn words(error: &DbError) -> String {
    let parts = [Some(error.message()), error.detail(), error.hint()];
    let text: String = parts.into_iter().flatten().collect::<Vec<_>>().join(". ");
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MOST_WORDS).collect()
}
