//! A slapd of a test's own, by `hack/systems/ldap`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A slapd. It ends with the test.
pub struct Server {
    /// What the script says of it.
    env: BTreeMap<String, String>,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    process: Child,
    dir: Option<TempDir>,
}

impl Server {
    /// One as the script makes it.
    pub async fn start() -> Self {
        Self::run(None).await
    }

    /// One whose database is configured otherwise: `edit` is given the text of its entry.
    pub async fn start_with(edit: impl Fn(String) -> String) -> Self {
        let dir = TempDir::new().expect("a folder");
        let Self { orders, mut process, .. } = Self::run(Some(dir.path())).await;
        // It ends with its input.
        drop(orders);
        process.wait().await.expect("it ends");
        let file = dir.path().join("config/cn=config/olcDatabase={1}mdb.ldif");
        let before = std::fs::read_to_string(&file).expect("its configuration").replace("\n ", "");
        let after = edit(before.clone());
        assert_ne!(after, before, "something was edited");
        std::fs::write(&file, after).expect("written");
        let mut server = Self::run(Some(dir.path())).await;
        server.dir = Some(dir);
        server
    }

    async fn run(dir: Option<&Path>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/systems/ldap");
        let mut command = Command::new(script);
        command.arg("run").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(dir) = dir {
            command.arg("--dir").arg(dir);
        }
        let mut process = command.spawn().expect("hack/systems/ldap starts");
        let orders = process.stdin.take().expect("a pipe");
        let mut said = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let ready = said.next_line().await.expect("readable").expect("slapd starts: try hack/systems/ldap run");
        let dir = ready.strip_prefix("ready ").expect("it is ready");
        let text = std::fs::read_to_string(Path::new(dir).join("env")).expect("an env file");
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let env = pairs.map(|(name, value)| (name.to_owned(), value.replace('\\', ""))).collect();
        Self { env, orders, said, process, dir: None }
    }

    /// Something that the script says of it, such as `PEOPLE_DN`.
    pub fn env(&self, name: &str) -> &str {
        &self.env[name]
    }

    /// The certificate of its CA, as PEM.
    pub fn ca(&self) -> String {
        std::fs::read_to_string(self.env("CA_FILE")).expect("a certificate")
    }

    /// The entry of somebody who has this login.
    pub fn person(&self, username: &str) -> String {
        format!("uid={},{}", ldap3::dn_escape(username), self.env("PEOPLE_DN"))
    }

    /// The entry of a group.
    pub fn group(&self, name: &str) -> String {
        format!("cn={},{}", ldap3::dn_escape(name), self.env("GROUPS_DN"))
    }

    /// Tells the script `restart`, `pause` or `resume`, and waits until it is so.
    pub async fn order(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("it listens");
        self.said.next_line().await.expect("readable").expect("it does so");
    }

    /// A connection of somebody's; nothing if the password does not fit.
    pub async fn log_in(&self, dn: &str, password: &str) -> Option<Ldap> {
        let tls = usher::connectors::tls::config(Some(&self.ca())).expect("a CA");
        let settings = LdapConnSettings::new().set_config(tls.into());
        let (connection, mut ldap) = LdapConnAsync::with_settings(settings, self.env("URL")).await.expect("a connection");
        tokio::spawn(async move { drop(connection.drive().await) });
        (ldap.simple_bind(dn, password).await.expect("an answer").rc == 0).then_some(ldap)
    }

    /// A connection of who may everything, the policy notwithstanding.
    pub async fn root(&self) -> Ldap {
        self.log_in(self.env("ROOT_DN"), self.env("ROOT_PASSWORD")).await.expect("root is let in")
    }

    /// Makes an entry.
    pub async fn add(&self, dn: &str, attributes: &[(&str, &[&str])]) {
        add(&mut self.root().await, dn, attributes).await;
    }

    /// All values of an attribute of an entry, in their order; none if there is no entry.
    pub async fn values(&self, dn: &str, attribute: &str) -> Vec<String> {
        let found = self.root().await.search(dn, Scope::Base, "(objectClass=*)", [attribute]).await.expect("an answer");
        let entries = found.0.into_iter().map(SearchEntry::construct);
        entries.flat_map(|mut entry| entry.attrs.remove(attribute).unwrap_or_default()).collect()
    }

    /// Gives an attribute of an entry these values.
    pub async fn set(&self, dn: &str, attribute: &str, values: &[&str]) {
        let edit = ldap3::Mod::Replace(attribute, values.iter().copied().collect());
        self.root().await.modify(dn, vec![edit]).await.expect("an answer").success().expect("changed");
    }
}

/// Gives an attribute of an entry one value more, behind those that it has.
pub async fn add_value(ldap: &mut Ldap, dn: &str, attribute: &str, value: &str) {
    let edit = ldap3::Mod::Add(attribute, [value].into());
    ldap.modify(dn, vec![edit]).await.expect("an answer").success().expect("added");
}

/// Makes an entry.
pub async fn add(ldap: &mut Ldap, dn: &str, attributes: &[(&str, &[&str])]) {
    let attributes = attributes.iter().map(|(name, values)| (*name, values.iter().copied().collect())).collect();
    ldap.add(dn, attributes).await.expect("an answer").success().unwrap_or_else(|error| panic!("{dn}: {error}"));
}
