//! A slapd of a test's own, by `hack/systems/ldap`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry};
use tempfile::TempDir;

use crate::support::script::{self, Script, off_thread};

/// The values of each attribute.
pub type Entry = BTreeMap<String, Vec<Vec<u8>>>;

/// A slapd. It ends with the test.
pub struct Server {
    script: Script,
    _dir: Option<TempDir>,
}

impl Server {
    /// One as the script makes it.
    pub async fn start() -> Self {
        let script = off_thread(|| run(script::run("systems/ldap", "-ldap"))).await;
        Self { script, _dir: None }
    }

    /// One whose database is configured otherwise: `edit` is given the text of its entry.
    pub async fn start_with(edit: impl Fn(String) -> String) -> Self {
        Self::start_changed(|config| {
            let file = config.join("olcDatabase={1}mdb.ldif");
            // Long lines go on in the next one, behind a space.
            let before = std::fs::read_to_string(&file).expect("its configuration").replace("\n ", "");
            let after = edit(before.clone());
            assert_ne!(after, before, "something was edited");
            std::fs::write(&file, after).expect("written");
        })
        .await
    }

    /// One that lets usher write passwords and not read them, with or without the policy overlay.
    pub async fn start_blind(policy: bool) -> Self {
        Self::start_changed(|config| {
            let file = config.join("olcDatabase={1}mdb.ldif");
            let before = std::fs::read_to_string(&file).expect("its configuration").replace("\n ", "");
            let after = before.replacen("\" write by self =xw", "\" =w by self =xw", 1);
            assert_ne!(after, before, "the right was found");
            std::fs::write(&file, after).expect("written");
            if !policy {
                std::fs::remove_file(config.join("olcDatabase={1}mdb/olcOverlay={3}ppolicy.ldif")).expect("it was there");
            }
        })
        .await
    }

    /// One whose configuration was changed after it was made.
    async fn start_changed(change: impl Fn(&Path)) -> Self {
        let dir = TempDir::new().expect("a folder");
        let command = |dir: &Path| {
            let mut command = Command::new(script::repository().join("hack/systems/ldap"));
            command.arg("run").arg("--dir").arg(dir);
            command
        };
        let first = command(dir.path());
        off_thread(|| drop(run(first))).await;
        change(&dir.path().join("config/cn=config"));
        let second = command(dir.path());
        Self { script: off_thread(|| run(second)).await, _dir: Some(dir) }
    }

    /// Something that the script says of it, such as `PEOPLE_DN`.
    pub fn env(&self, name: &str) -> &str {
        self.script.variable(name).expect(name)
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

    /// Kills it, as a crash does, and starts it again with the same data at the same address.
    pub fn restart(&mut self) {
        tokio::task::block_in_place(|| self.script.restart("restart"));
    }

    /// Makes it hang; [`Self::resume`] lets it go on.
    pub fn pause(&self) {
        tokio::task::block_in_place(|| self.script.order("pause", "paused"));
    }

    /// Lets it go on.
    pub fn resume(&self) {
        tokio::task::block_in_place(|| self.script.order("resume", "resumed"));
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

    /// All that the directory has, each entry with all its attributes, the server's own about who changed it and when among them.
    pub async fn everything(&self) -> BTreeMap<String, Entry> {
        let found = self.root().await.search(self.env("BASE_DN"), Scope::Subtree, "(objectClass=*)", ["*", "+"]).await;
        let (entries, _) = found.expect("an answer").success().expect("all of it");
        let entries = entries.into_iter().map(SearchEntry::construct);
        let texts = |attributes: HashMap<String, Vec<String>>| {
            attributes.into_iter().map(|(name, values)| (name, values.into_iter().map(String::into_bytes).collect()))
        };
        entries.map(|entry| (entry.dn, texts(entry.attrs).chain(entry.bin_attrs).collect())).collect()
    }

    /// Gives an attribute of an entry these values.
    pub async fn set(&self, dn: &str, attribute: &str, values: &[&str]) {
        let edit = ldap3::Mod::Replace(attribute, values.iter().copied().collect());
        self.root().await.modify(dn, vec![edit]).await.expect("an answer").success().expect("changed");
    }
}

fn run(command: Command) -> Script {
    Script::start(command, "ldap: ready").unwrap_or_else(|said| panic!("no slapd, as hack/systems/ldap says:\n{said}"))
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
