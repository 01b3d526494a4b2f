//! LDAP, against OpenLDAP's slapd: one of its own for each test, as it starts in a fifth of a second.

mod cost;
mod limits;
mod locking;
mod membership;
mod people;
mod proxy;
mod renaming;
mod server;
mod source;
mod strangers;

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use ldap3::{Ldap as Ldap3, Scope, SearchEntry};
use secrecy::SecretString;
use usher::api::environment::SecretKey;
use usher::api::provider::{Ldap, LockOut, System};
use usher::connectors::throttle::Throttle;
use usher::connectors::{Connector, Secrets, connect};

use crate::conformance::{Fault, Hand, Target};
use crate::proxy::TcpProxy;

use self::proxy::LdapProxy;
use self::server::Server;

/// A directory of a test's own.
pub struct Directory {
    server: Server,
    lock_out: LockOut,
    /// Those that stand between usher and the server live as long as the test.
    proxies: parking_lot::Mutex<Vec<Box<dyn std::any::Any + Send + Sync>>>,
}

impl Directory {
    async fn start(lock_out: LockOut) -> Self {
        Self::of(Server::start().await, lock_out)
    }

    fn of(server: Server, lock_out: LockOut) -> Self {
        Self { server, lock_out, proxies: parking_lot::Mutex::default() }
    }

    /// The settings of a Provider.
    fn settings(&self) -> Ldap {
        Ldap {
            url: self.server.env("URL").to_owned(),
            bind_dn: self.server.env("ADMIN_USER").to_owned(),
            credentials_secret: SecretKey::default(),
            base_dn: self.server.env("PEOPLE_DN").to_owned(),
            group_base_dn: self.server.env("GROUPS_DN").to_owned(),
            lock_out: self.lock_out,
            ..Ldap::default()
        }
    }

    fn by(&self, settings: &Ldap, credential: &str, ca: Option<String>) -> Arc<dyn Connector> {
        let secrets = Secrets { credential: SecretString::from(credential), ca };
        connect(System::Ldap(settings), secrets, Arc::new(Throttle::new(1_000_000))).expect("settings of use")
    }

    fn at(&self, url: &str, ca: &str) -> Arc<dyn Connector> {
        self.by(&Ldap { url: url.to_owned(), ..self.settings() }, &self.secret(), Some(ca.to_owned()))
    }

    fn usher(&self) -> Arc<dyn Connector> {
        self.by(&self.settings(), &self.secret(), Some(self.server.ca()))
    }

    async fn proxy(&self) -> LdapProxy {
        LdapProxy::start(&format!("127.0.0.1:{}", self.server.env("PORT")), &self.server.ca()).await
    }

    /// Makes a group of some class, with these members in this attribute.
    async fn make(&self, class: &str, name: &str, attribute: &str, members: &[&str]) {
        let (classes, names) = ([class], [name]);
        let mut attributes: Vec<(&str, &[&str])> = vec![("objectClass", &classes), ("cn", &names)];
        if !members.is_empty() {
            attributes.push((attribute, members));
        }
        if class == "posixGroup" {
            attributes.push(("gidNumber", &["5000"]));
        }
        self.server.add(&self.server.group(name), &attributes).await;
    }
}

#[async_trait]
impl Target for Directory {
    async fn connector(&self) -> Arc<dyn Connector> {
        self.usher()
    }

    async fn faulty(&self, fault: Fault) -> Option<Arc<dyn Connector>> {
        match fault {
            Fault::Closed => {
                let (listener, address) = crate::proxy::listen().await;
                drop(listener);
                Some(self.at(&format!("ldaps://{address}"), &self.server.ca()))
            }
            Fault::Silent => {
                let proxy = TcpProxy::start(&format!("127.0.0.1:{}", self.server.env("PORT"))).await;
                proxy.silence();
                let connector = self.at(&format!("ldaps://{}", proxy.address()), &self.server.ca());
                self.proxies.lock().push(Box::new(proxy));
                Some(connector)
            }
            Fault::CutAfter | Fault::Broken => {
                let proxy = self.proxy().await;
                if fault == Fault::Broken {
                    proxy.fail();
                } else {
                    proxy.cut_next_change();
                }
                let connector = self.at(&proxy.url(), proxy.ca());
                self.proxies.lock().push(Box::new(proxy));
                Some(connector)
            }
            Fault::Unauthorized => Some(self.by(&self.settings(), "not-its-Passw0rd", Some(self.server.ca()))),
            // LDAP has no way to ask for it, and a proxy for it has no words.
            Fault::Patience(_) | Fault::Echo(_) => None,
        }
    }

    fn group(&self, name: &str) -> String {
        name.to_owned()
    }

    async fn make_group(&self, group: &str) {
        // Its owner is a stranger: it must have one member.
        self.make("groupOfNames", group, "member", &["cn=empty-membership-placeholder"]).await;
    }

    async fn make_stranger(&self, username: &str, email: &str) -> String {
        let dn = self.server.person(username);
        make_stranger(&mut self.server.root().await, &dn, username, email).await;
        self.server.values(&dn, "entryUUID").await.remove(0)
    }

    async fn make_crowd(&self, count: usize) {
        let root = self.server.root().await;
        let made = futures::stream::iter(0..count).for_each_concurrent(50, |number| {
            let mut root = root.clone();
            async move {
                let name = format!("stranger-{number}");
                let email = format!("{name}@example.com");
                make_stranger(&mut root, &self.server.person(&name), &name, &email).await;
            }
        });
        made.await;
    }

    async fn rename(&self, id: &str, username: &str) -> bool {
        let mut root = self.server.root().await;
        let filter = format!("(entryUUID={id})");
        let found = root.search(self.server.env("PEOPLE_DN"), Scope::Subtree, &filter, ["uid"]).await.expect("an answer");
        let dn = SearchEntry::construct(found.0.into_iter().next().expect("an entry")).dn;
        root.modifydn(&dn, &format!("uid={username}"), true, None).await.expect("an answer").success().expect("renamed");
        true
    }

    async fn by_hand(&self, id: &str, hand: Hand<'_>) -> bool {
        let filter = format!("(entryUUID={id})");
        let found = self.server.root().await.search(self.server.env("PEOPLE_DN"), Scope::Subtree, &filter, ["uid"]).await;
        let dn = SearchEntry::construct(found.expect("an answer").0.into_iter().next().expect("an entry")).dn;
        match (hand, self.lock_out) {
            (Hand::LetsIn, LockOut::Policy) => self.server.set(&dn, "pwdAccountLockedTime", &[]).await,
            (Hand::LetsIn, LockOut::Password) => self.server.set(&dn, "userPassword", &["A-new-Passw0rd"]).await,
            (Hand::Names(name), _) => self.server.set(&dn, "displayName", &[name]).await,
            (Hand::PutsInto(group), _) => {
                server::add_value(&mut self.server.root().await, &self.server.group(group), "member", &dn).await;
            }
            // One member it must have.
            (Hand::TakesOutOf(group), _) => {
                self.server.set(&self.server.group(group), "member", &["cn=empty-membership-placeholder"]).await;
            }
        }
        true
    }

    async fn log_in(&self, username: &str, password: &str) -> bool {
        self.server.log_in(&self.server.person(username), password).await.is_some()
    }

    /// A key of her own. (An open connection goes on whatever anybody does, see `an_open_connection_goes_on`.)
    async fn issue(&self, username: &str, password: &str) -> Option<String> {
        assert!(self.log_in(username, password).await, "it is hers");
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0NlUY7U3sKjG9EyYcPw3f1k2Qv8zOqjmrVyXk0Qn5M ada@home";
        let dn = self.server.person(username);
        let edits = vec![ldap3::Mod::Add("objectClass", ["ldapPublicKey"].into()), ldap3::Mod::Add("sshPublicKey", [key].into())];
        self.server.root().await.modify(&dn, edits).await.expect("an answer").success().expect("it takes keys");
        Some(key.to_owned())
    }

    /// As sshd reads what a directory gives it: what begins with # is a comment.
    async fn accepts(&self, credential: &str) -> bool {
        let base = self.server.env("PEOPLE_DN");
        let found = self.server.root().await.search(base, Scope::Subtree, "(sshPublicKey=*)", ["sshPublicKey"]).await.expect("an answer");
        let keys = found.0.into_iter().flat_map(|entry| SearchEntry::construct(entry).attrs.remove("sshPublicKey").unwrap_or_default());
        keys.flat_map(|value| value.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>())
            .any(|line| !line.starts_with('#') && line.contains(credential))
    }

    async fn own(&self, _: &str, _: &str) -> bool {
        false
    }

    async fn make_heir(&self) -> String {
        self.make_stranger("heir", "heir@example.com").await;
        "heir".to_owned()
    }

    async fn heir_owns(&self, _: &str) -> bool {
        false
    }

    fn secret(&self) -> String {
        self.server.env("ADMIN_PASSWORD").to_owned()
    }
}

/// Makes somebody whom usher knows nothing of.
async fn make_stranger(root: &mut Ldap3, dn: &str, username: &str, email: &str) {
    let attributes: [(&str, &[&str]); 5] =
        [("objectClass", &["inetOrgPerson"]), ("uid", &[username]), ("cn", &[username]), ("sn", &[username]), ("mail", &[email])];
    server::add(root, dn, &attributes).await;
}

/// Where the password is put aside.
mod by_password {
    use super::{Directory, LockOut};

    crate::conformance!(Directory::start(LockOut::Password).await);
}

/// Where the password policy locks out.
mod by_policy {
    use super::{Directory, LockOut};

    crate::conformance!(Directory::start(LockOut::Policy).await);
}
