//! PostgreSQL: the real server, with a role for usher that has no more rights than the documentation asks for.

mod cost;
mod leaving;
mod names;
mod rights;
mod server;
mod sessions;
mod size;
mod strangers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use postgres_protocol::escape::escape_identifier;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_postgres::Client;
use usher::api::provider::{self, System};
use usher::connectors::throttle::Throttle;
use usher::connectors::{Connector, Secrets, connect};

use crate::conformance;
use crate::conformance::{Fault, Hand, Target};
use crate::proxy::TcpProxy;

use self::server::Server;

/// usher's own role, and its password.
const USHER: &str = "usher";
const SECRET: &str = "ushers-own-Passw0rd";
/// Where people own things: not the database that usher is connected to.
const WORKSHOP: &str = "workshop";

/// As docs/reference/providers/postgresql.md says.
const LEAST: &str = "CREATE ROLE usher LOGIN CREATEROLE PASSWORD 'ushers-own-Passw0rd'; GRANT pg_signal_backend TO usher";

struct Postgres {
    server: Option<Server>,
    admin: Client,
    version: i32,
    user: &'static str,
    open: Mutex<BTreeMap<String, Client>>,
    opened: AtomicUsize,
    proxies: Mutex<Vec<TcpProxy>>,
    listeners: Mutex<Vec<TcpListener>>,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let server = self.server.take().expect("there until now");
        if !std::thread::panicking() {
            server.give();
        }
    }
}

impl Postgres {
    /// A server for this test, where usher's role has the least rights.
    async fn start() -> Self {
        let server = Server::take().await;
        let admin = server.admin("postgres").await;
        admin.batch_execute(LEAST).await.expect("usher's role");
        let version = admin.query_one("SELECT current_setting('server_version_num')::int", &[]).await.expect("a version").get(0);
        Self {
            server: Some(server),
            admin,
            version,
            user: USHER,
            open: Mutex::default(),
            opened: AtomicUsize::new(0),
            proxies: Mutex::default(),
            listeners: Mutex::default(),
        }
    }

    /// A server where usher is the superuser: not what anybody should do, and somebody will.
    async fn by_superuser() -> Self {
        let mut target = Self::start().await;
        target.user = "postgres";
        target
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("there until the end")
    }

    async fn run(&self, statements: &str) {
        self.admin.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    async fn value<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, query: &str) -> T {
        self.admin.query_one(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}")).get(0)
    }

    /// Changes a setting of the server, which hears of it a moment later.
    async fn set(&self, setting: &str, value: &str) {
        self.run(&format!("ALTER SYSTEM SET {setting} = '{value}'")).await;
        self.run("SELECT pg_reload_conf()").await;
        let until = Instant::now() + Duration::from_secs(10);
        while self.value::<String>(&format!("SELECT current_setting('{setting}')")).await != value {
            assert!(Instant::now() < until, "it never hears of {setting}");
        }
    }

    fn password(&self) -> &str {
        if self.user == USHER { SECRET } else { self.server().password() }
    }

    /// Since version 16 usher may give only what it was given, and change only those whom it made or was given.
    async fn entrust(&self, role: &str) {
        if self.version >= 160_000 && self.user == USHER {
            self.run(&server::named("GRANT {name} TO usher WITH ADMIN OPTION", role)).await;
        }
    }

    fn connector_at(&self, port: u16, password: &str) -> Arc<dyn Connector> {
        let settings = self.settings(&format!("postgresql://127.0.0.1:{port}/postgres"));
        connect(System::Postgresql(&settings), self.secrets(password), Arc::new(Throttle::new(10_000))).expect("a connector")
    }

    fn settings(&self, url: &str) -> provider::Postgresql {
        provider::Postgresql { url: url.to_owned(), user: self.user.to_owned(), ..provider::Postgresql::default() }
    }

    fn secrets(&self, password: &str) -> Secrets {
        Secrets { credential: SecretString::from(password), ca: Some(self.server().ca.clone()) }
    }

    async fn proxy(&self) -> TcpProxy {
        TcpProxy::start(&format!("127.0.0.1:{}", self.server().port)).await
    }

    /// A session of somebody's.
    async fn session(&self, database: &str, user: &str, password: &str) -> Option<Client> {
        let server = self.server();
        match server.log_in(server.port, database, user, password).await {
            Ok(client) => Some(client),
            Err(error) if error.as_db_error().is_some() => None,
            Err(error) => panic!("the server is well: {error:?}"),
        }
    }

    /// Where somebody may own things.
    async fn make_workshop(&self, username: &str) {
        if !self.value::<bool>("SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'workshop')").await {
            self.make_group("foreman").await;
            self.run("CREATE DATABASE workshop OWNER foreman").await;
        }
        self.run(&server::named("GRANT CREATE ON DATABASE workshop TO {name}", username)).await;
    }

    /// Whose something in the workshop is.
    async fn owner_of(&self, table: &str) -> String {
        let admin = self.server().admin(WORKSHOP).await;
        let query = "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = $1::text::regclass";
        admin.query_one(query, &[&table]).await.expect("it is there").get(0)
    }
}

#[async_trait]
impl Target for Postgres {
    async fn connector(&self) -> Arc<dyn Connector> {
        self.connector_at(self.server().port, self.password())
    }

    async fn faulty(&self, fault: Fault) -> Option<Arc<dyn Connector>> {
        let port = match fault {
            Fault::Closed => TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port(),
            Fault::Silent => {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let port = listener.local_addr().expect("an address").port();
                self.listeners.lock().push(listener);
                port
            }
            Fault::CutAfter => {
                let proxy = self.proxy().await;
                let connector = self.connector_at(proxy.address().port(), self.password());
                connector.probe().await.expect("nothing is wrong yet");
                proxy.cut_next_answer();
                self.proxies.lock().push(proxy);
                return Some(connector);
            }
            Fault::Unauthorized => return Some(self.connector_at(self.server().port, "what-it-was-before")),
            // It has no words for either.
            Fault::Patience(_) | Fault::Broken | Fault::Echo(_) => return None,
        };
        Some(self.connector_at(port, self.password()))
    }

    fn group(&self, name: &str) -> String {
        name.to_owned()
    }

    async fn make_group(&self, group: &str) {
        self.run(&server::named("CREATE ROLE {name}", group)).await;
        self.entrust(group).await;
    }

    async fn make_stranger(&self, username: &str, _: &str) -> String {
        self.run(&server::named("CREATE ROLE {name} LOGIN PASSWORD 'a-strangers-Passw0rd'", username)).await;
        self.entrust(username).await;
        self.value(&server::named("SELECT oid::text FROM pg_roles WHERE rolname = {text}", username)).await
    }

    async fn make_crowd(&self, count: usize) {
        let make = "EXECUTE format('CREATE ROLE %I LOGIN', 'stranger-' || number)";
        self.run(&format!("DO $$ BEGIN FOR number IN 0..{count} - 1 LOOP {make}; END LOOP; END $$")).await;
    }

    async fn rename(&self, id: &str, username: &str) -> bool {
        let now: String = self.value(&format!("SELECT rolname::text FROM pg_roles WHERE oid = {id}")).await;
        let (now, then) = (escape_identifier(&now), escape_identifier(username));
        self.run(&format!("ALTER ROLE {now} RENAME TO {then}")).await;
        true
    }

    /// Names to show are not kept, and what a superuser grants only a superuser takes back.
    async fn by_hand(&self, id: &str, hand: Hand<'_>) -> bool {
        if !matches!(hand, Hand::LetsIn) {
            return false;
        }
        let name: String = self.value(&format!("SELECT rolname::text FROM pg_roles WHERE oid = {id}")).await;
        self.run(&server::named("ALTER ROLE {name} LOGIN", &name)).await;
        true
    }

    async fn log_in(&self, username: &str, password: &str) -> bool {
        self.session("postgres", username, password).await.is_some()
    }

    async fn issue(&self, username: &str, password: &str) -> Option<String> {
        let session = self.session("postgres", username, password).await.expect("she logs in");
        let name = format!("session-{}", self.opened.fetch_add(1, Ordering::Relaxed));
        self.open.lock().insert(name.clone(), session);
        Some(name)
    }

    async fn accepts(&self, credential: &str) -> bool {
        let session = self.open.lock().remove(credential).expect("a session");
        let works = session.simple_query("SELECT 1").await.is_ok();
        self.open.lock().insert(credential.to_owned(), session);
        works
    }

    async fn own(&self, username: &str, password: &str) -> bool {
        self.make_workshop(username).await;
        let session = self.session(WORKSHOP, username, password).await.expect("she logs in");
        let made = session.batch_execute("CREATE SCHEMA bench; CREATE TABLE bench.engine (wheel serial PRIMARY KEY)").await;
        made.expect("she may");
        true
    }

    async fn make_heir(&self) -> String {
        self.make_group("heir").await;
        "heir".to_owned()
    }

    async fn heir_owns(&self, heir: &str) -> bool {
        self.owner_of("bench.engine").await == heir
    }

    fn secret(&self) -> String {
        self.password().to_owned()
    }
}

conformance!(Postgres::start().await);

/// The cases where it matters that usher's role may do anything.
mod superuser {
    use super::Postgres;
    use crate::conformance;

    conformance!(@cases Postgres::by_superuser().await;
        an_account_is_made_once, groups_come_and_go, an_account_is_adopted, who_is_locked_out_has_nothing_and_comes_back, what_was_issued_is_dead_for_ever,
        what_somebody_owns_keeps_the_account, what_somebody_owned_is_handed_over,
    );
}
