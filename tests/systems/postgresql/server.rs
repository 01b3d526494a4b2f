//! Servers for tests: roles are the whole server's, so each test has one to itself. One that a test is done with is emptied, and the next one gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use parking_lot::Mutex;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;
use usher::connectors::tls;

/// What the server keeps by role, row for row, with the transaction that wrote the row last; and the sessions that are open.
const ROWS: &str = "SELECT r.rolname::text, what FROM pg_authid r JOIN (
        SELECT oid AS role, concat('pg_authid ', xmin, to_jsonb(a)) AS what FROM pg_authid a
        UNION ALL SELECT member, concat('pg_auth_members ', xmin, to_jsonb(m)) FROM pg_auth_members m
        UNION ALL SELECT objoid, concat('pg_shdescription ', xmin, to_jsonb(d)) FROM pg_shdescription d WHERE classoid = 'pg_authid'::regclass
        UNION ALL SELECT setrole, concat('pg_db_role_setting ', xmin, to_jsonb(s)) FROM pg_db_role_setting s
        UNION ALL SELECT refobjid, concat('pg_shdepend ', xmin, to_jsonb(d)) FROM pg_shdepend d WHERE refclassid = 'pg_authid'::regclass
        UNION ALL SELECT usesysid, concat('session ', pid, ' ', backend_start) FROM pg_stat_activity
    ) kept ON kept.role = r.oid";

static FREE: Mutex<Vec<Server>> = Mutex::new(Vec::new());

/// A server that runs.
pub struct Server {
    /// Ends the server when it is closed: with this process at the latest.
    child: Child,
    dir: PathBuf,
    /// The certificate of its CA, as PEM.
    pub ca: String,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// The superuser's password.
    password: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Server {
    /// A server with nothing on it.
    pub async fn take() -> Self {
        let free = FREE.lock().pop();
        let Some(server) = free else { return tokio::task::spawn_blocking(Self::start).await.expect("a server") };
        server.empty().await;
        server
    }

    /// Gives it back.
    pub fn give(self) {
        FREE.lock().push(self);
    }

    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/systems/postgresql");
        let mut command = Command::new(script);
        command.arg("run").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("hack/systems/postgresql runs");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut said).expect("readable");
        let dir =
            said.trim().strip_prefix("ready ").expect("hack/systems/postgresql run says “ready DIR”; above it says why not").to_owned();
        let dir = PathBuf::from(dir);
        let env = std::fs::read_to_string(dir.join("env")).expect("it says where it is");
        let value = |key: &str| env.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).expect("a value").to_owned();
        let ca = std::fs::read_to_string(value("CA_FILE")).expect("a CA");
        let (port, password) = (value("PORT").parse().expect("a port"), value("ADMIN_PASSWORD"));
        Self { child, dir, ca, port, password }
    }

    /// A session, on any port that leads to it.
    pub async fn log_in(&self, port: u16, database: &str, user: &str, password: &str) -> Result<Client, Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).dbname(database).user(user).password(password).ssl_mode(SslMode::Require);
        let tls = MakeRustlsConnect::new(tls::config(Some(&self.ca)).expect("a CA"));
        let (client, connection) = config.connect(tls).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    /// A session of the superuser's.
    pub async fn admin(&self, database: &str) -> Client {
        self.log_in(self.port, database, "postgres", &self.password).await.expect("the superuser logs in")
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// What the server wrote so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join("postgresql.log")).expect("a log")).into_owned()
    }

    /// Takes away all that a test left.
    async fn empty(&self) {
        let admin = self.admin("postgres").await;
        let all = |query: &'static str| async {
            let rows = admin.query(query, &[]).await.expect("a list");
            rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
        };
        admin.batch_execute("ALTER SYSTEM RESET ALL").await.expect("reset");
        admin.batch_execute("SELECT pg_reload_conf()").await.expect("reset");
        for database in all("SELECT datname::text FROM pg_database WHERE datname <> 'postgres' AND NOT datistemplate").await {
            let drop = format!("DROP DATABASE {} WITH (FORCE)", escape_identifier(&database));
            admin.batch_execute(&drop).await.expect("dropped");
        }
        let roles = all("SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'").await;
        if !roles.is_empty() {
            let names = roles.iter().map(|role| escape_identifier(role)).collect::<Vec<_>>().join(", ");
            admin.batch_execute(&format!("DROP OWNED BY {names}")).await.expect("dropped");
            admin.batch_execute(&format!("DROP ROLE {names}")).await.expect("dropped");
        }
    }
}

/// As many statements as one likes with one name in each, escaped.
pub fn named(statement: &str, name: &str) -> String {
    statement.replace("{name}", &escape_identifier(name)).replace("{text}", &escape_literal(name))
}

/// All that the server keeps of each role but usher's own and the superuser's.
pub async fn everything(admin: &Client) -> BTreeMap<String, BTreeSet<String>> {
    let mut roles: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in admin.query(ROWS, &[]).await.expect("rows") {
        roles.entry(row.get(0)).or_default().insert(row.get(1));
    }
    roles.retain(|role, _| !["usher", "postgres"].contains(&role.as_str()));
    roles
}
