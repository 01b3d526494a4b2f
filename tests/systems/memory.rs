//! The reference passes its own cases.

use std::sync::Arc;

use async_trait::async_trait;
use usher::connectors::Connector;
use usher::connectors::memory::{self, Memory};
use usher::plan::account::{Account, AccountState};

use crate::conformance;
use crate::conformance::{Fault, Hand, Target, profile};

struct Reference(Memory);

#[async_trait]
impl Target for Reference {
    async fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(self.0.clone())
    }

    async fn faulty(&self, fault: Fault) -> Option<Arc<dyn Connector>> {
        let fault = match fault {
            Fault::Closed | Fault::Silent | Fault::Broken => memory::Fault::Silent,
            Fault::CutAfter => memory::Fault::Cut,
            Fault::Unauthorized => memory::Fault::Stranger,
            Fault::Patience(seconds) => memory::Fault::Patience(seconds),
            // It says nothing of its own.
            Fault::Echo(_) => return None,
        };
        self.0.fail(&[fault]);
        Some(Arc::new(self.0.clone()))
    }

    fn group(&self, name: &str) -> String {
        name.to_owned()
    }

    async fn make_group(&self, group: &str) {
        self.0.make_group(group);
    }

    async fn make_stranger(&self, username: &str, email: &str) -> String {
        let mut profile = profile(username);
        profile.email = email.to_owned();
        self.0.put(Account { profile, state: AccountState::Enabled, ..Account::default() })
    }

    async fn make_crowd(&self, count: usize) {
        for number in 0..count {
            let name = format!("stranger-{number}");
            self.make_stranger(&name, &format!("{name}@example.com")).await;
        }
    }

    async fn rename(&self, id: &str, username: &str) -> bool {
        let mut account = self.0.get(id).expect("an account");
        account.profile.username = username.to_owned();
        self.0.put(account);
        true
    }

    async fn by_hand(&self, id: &str, hand: Hand<'_>) -> bool {
        let mut account = self.0.get(id).expect("an account");
        match hand {
            Hand::LetsIn => account.state = AccountState::Enabled,
            Hand::Names(name) => account.profile.display_name = name.to_owned(),
            Hand::PutsInto(group) => account.groups.extend([group.to_owned()]),
            Hand::TakesOutOf(group) => account.groups.retain(|it| it != group),
        }
        self.0.put(account);
        true
    }

    async fn log_in(&self, username: &str, password: &str) -> bool {
        self.0.log_in(username, password)
    }

    async fn issue(&self, username: &str, password: &str) -> Option<String> {
        assert!(self.0.log_in(username, password), "who issues a token logs in before");
        self.0.issue(username)
    }

    async fn accepts(&self, credential: &str) -> bool {
        self.0.accepts(credential)
    }

    async fn own(&self, username: &str, _: &str) -> bool {
        let id = self.0.find_id(username).expect("an account");
        self.0.own(&id, "engine");
        true
    }

    async fn make_heir(&self) -> String {
        self.make_stranger("heir", "heir@example.com").await;
        "heir".to_owned()
    }

    async fn heir_owns(&self, heir: &str) -> bool {
        self.0.owner_of("engine").as_deref() == Some(heir)
    }

    fn secret(&self) -> String {
        "there is none here".to_owned()
    }
}

conformance!(Reference(Memory::default()));
