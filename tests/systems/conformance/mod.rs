//! The cases that every connector passes, on the in-memory reference and against the real servers.
//!
//! A system takes part by a [`Target`] and one line, `conformance!(name, start)`, in a file of its own; each case is then a test of its own.

mod cases;
mod faults;
mod leaving;
mod people;
mod recovery;
mod secrets;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use usher::connectors::Connector;
use usher::plan::account::{
    Account, AccountChange, AccountKey, Adoption, Capability, Managed, Obstacle, Owned, Owner, Presence, Profile, Wish, steps,
};

pub use cases::*;
pub use faults::*;
pub use leaving::*;
pub use people::*;
pub use recovery::*;
pub use secrets::*;

/// What a system does to a request instead of answering it. Each is made real: by a stopped process, a closed port, a proxy in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing listens.
    Closed,
    /// It takes the connection and says nothing.
    Silent,
    /// It does what it is asked to, and the connection is cut before the answer.
    CutAfter,
    /// It does not accept usher's credential any more.
    Unauthorized,
    /// It asks to wait for so many seconds (HTTP: 429 with Retry-After).
    Patience(u64),
    /// It fails (HTTP: 503).
    Broken,
    /// It answers all that changes something with this status, and repeats what it was asked (HTTP).
    Echo(u16),
}

/// What an administrator does to an account.
#[derive(Clone, Copy, Debug)]
pub enum Hand<'a> {
    /// Lets somebody in who was locked out.
    LetsIn,
    /// Gives her another name to show.
    Names(&'a str),
    /// Puts her into a group.
    PutsInto(&'a str),
    /// Takes her out of a group.
    TakesOutOf(&'a str),
}

/// A real system as a test sees it: one tenant, realm, organization or tree for the test alone. All but `connector` and `faulty` act by the system's own means,
/// as its administrator or as a person, and never by usher's connector.
#[async_trait]
pub trait Target: Send + Sync {
    /// A connector as usher makes it from a Provider.
    async fn connector(&self) -> Arc<dyn Connector>;
    /// A connector that meets with a fault at its next request that changes something, or at once if `fault` is not [`Fault::CutAfter`]; nothing where the
    /// system has no such fault (a database knows no 429).
    async fn faulty(&self, fault: Fault) -> Option<Arc<dyn Connector>>;
    /// The login that somebody has here: where tests share a system, it is no other test's.
    fn login(&self, person: &str) -> String {
        person.to_owned()
    }
    /// How the system spells a group of this name.
    fn group(&self, name: &str) -> String;
    /// Makes a group, spelled by [`Self::group`].
    async fn make_group(&self, group: &str);
    /// Makes an account that usher knows nothing of. Returns its id, as the connector tells it.
    async fn make_stranger(&self, username: &str, email: &str) -> String;
    /// So many strangers, as fast as the system can: stranger-0, stranger-1 …
    async fn make_crowd(&self, count: usize);
    /// Gives an account another login by hand; false where logins cannot change.
    async fn rename(&self, id: &str, username: &str) -> bool;
    /// Changes an account by hand; false where this cannot be done so.
    async fn by_hand(&self, _id: &str, _hand: Hand<'_>) -> bool {
        false
    }
    /// Exchanges usher's credential, so that the old one is refused from now on. Returns a connector with the new one; nothing where that cannot be done.
    async fn exchange_credential(&self) -> Option<Arc<dyn Connector>> {
        None
    }
    /// Whether somebody can log in by a password, really.
    async fn log_in(&self, username: &str, password: &str) -> bool;
    /// Lets somebody make what outlives her login: a token, a key, an open session. Nothing where the system has none.
    async fn issue(&self, username: &str, password: &str) -> Option<String>;
    /// Whether that still works.
    async fn accepts(&self, credential: &str) -> bool;
    /// Lets somebody own something; false where accounts own nothing.
    async fn own(&self, username: &str, password: &str) -> bool;
    /// An account, organization or role that can get what others own.
    async fn make_heir(&self) -> String;
    /// Whether the heir has it by now.
    async fn heir_owns(&self, heir: &str) -> bool;
    /// usher's own credential for the system, which nothing may print.
    fn secret(&self) -> String;
}

/// Makes every case a test: `conformance!(Realm::start().await)`. Where tests share a system, the second is one that thousands may crowd into.
#[macro_export]
macro_rules! conformance {
    ($start:expr) => {
        $crate::conformance!($start, $start);
    };
    ($start:expr, $alone:expr) => {
        $crate::conformance!(@cases $alone; no_page_is_lost);
        $crate::conformance!(@cases $start;
            nobody_is_found, an_account_is_made_once, two_who_make_it_at_once_make_one, a_password_that_was_issued_logs_in, a_profile_changes_and_nothing_else,
            an_account_that_was_renamed_is_found_by_its_id, groups_come_and_go, the_last_one_leaves_a_group_and_others_come, a_missing_group_is_named,
            ssh_keys_come_and_go, a_strangers_account_is_nobodys, another_installations_account_is_told, an_account_is_adopted,
            who_is_locked_out_has_nothing_and_comes_back, what_was_issued_is_dead_for_ever, what_cannot_be_revoked_is_told, an_account_is_deleted, what_somebody_owns_keeps_the_account,
            what_somebody_owned_is_handed_over, the_second_run_changes_nothing, a_closed_door_is_told, a_system_that_hangs_is_told,
            a_change_whose_answer_was_lost_is_made_once, a_refused_credential_is_told, a_system_that_asks_for_patience_gets_it, a_broken_system_is_told,
            no_secret_is_printed, a_password_that_is_refused_is_not_repeated, every_change_whose_answer_was_lost_is_made_in_the_end,
            what_was_changed_by_hand_is_put_right, an_exchanged_credential_is_refused_and_the_new_one_works,
        );
    };
    (@cases $start:expr; $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let target = $start;
                $crate::conformance::$case(&target).await;
            }
        )*
    };
}

/// Who somebody is.
pub fn owner(person: &str) -> Owner {
    Owner {
        installation: "1c9a3b52-3c05-4a0f-9a61-0e5b4b6f3d11".to_owned(),
        person: format!("p-{person}"),
        developer: person.to_owned(),
        adopted: false,
    }
}

/// What the system is told of somebody.
pub fn profile(username: &str) -> Profile {
    Profile {
        username: username.to_owned(),
        display_name: format!("{username} Lovelace"),
        email: format!("{username}@example.com"),
        ssh_keys: BTreeSet::new(),
    }
}

/// By what somebody is looked for who is not known by an id.
pub fn named(username: &str) -> AccountKey {
    AccountKey { username: username.to_owned(), ..AccountKey::default() }
}

/// By what somebody is looked for whose id is known.
pub fn known(id: &str, username: &str) -> AccountKey {
    AccountKey { id: Some(id.to_owned()), ..named(username) }
}

/// What somebody is to have.
pub fn wish(person: &str, groups: &[String]) -> Wish {
    Wish {
        presence: Presence::Active,
        profile: profile(person),
        owner: owner(person),
        groups: groups.iter().cloned().collect(),
        managed: Managed::Only(groups.iter().cloned().collect()),
        adoption: Adoption::Never,
        heir: false,
        password: false,
        delivered: None,
        owned: Owned::Keep,
        protected: BTreeSet::new(),
    }
}

/// Makes an account with a password. Returns its id and the password.
pub async fn made(connector: &dyn Connector, person: &str) -> (String, String) {
    use secrecy::ExposeSecret;
    let create = AccountChange::Create { profile: connector.keeps(profile(person)), owner: owner(person) };
    let id = connector.apply(&create).await.expect("made").id.expect("an id");
    let issued = connector.apply(&AccountChange::IssuePassword { id: id.clone() }).await.expect("issued");
    let password = issued.password.expect("a password").expose_secret().to_owned();
    crate::support::evidence::secret(&format!("the password of {person}"), &password);
    (id, password)
}

/// Whether the system can do something.
pub async fn can(connector: &dyn Connector, capability: Capability) -> bool {
    connector.probe().await.expect("it answers").contains(&capability)
}

/// Carries out steps until there are none. Returns what is there then, and how many changes it took.
pub async fn converge(connector: &dyn Connector, wish: &Wish) -> (Option<Account>, usize) {
    let can = connector.probe().await.expect("it answers");
    let wish = Wish { profile: connector.keeps(wish.profile.clone()), ..wish.clone() };
    let mut changes = 0;
    for _ in 0..4 {
        let found = connector.find(&named(&wish.profile.username), &wish.managed).await.expect("an answer");
        let next = steps(found.as_ref(), &wish, &can);
        // What a system cannot revoke stands in nobody's way, and is told as long as there is an account.
        let told = |obstacle: &Obstacle| wish.presence != Presence::Active && *obstacle == Obstacle::Unsupported(Capability::RevokeTokens);
        assert!(next.obstacles.iter().all(told), "{:?}", next.obstacles);
        if next.changes.is_empty() {
            return (found, changes);
        }
        for change in &next.changes {
            connector.apply(change).await.unwrap_or_else(|error| panic!("{change:?}: {}", error.chain()));
            changes += 1;
        }
    }
    panic!("it never settles");
}

/// An account that must be there.
pub async fn read(connector: &dyn Connector, id: &str, managed: &Managed) -> Account {
    connector.find(&known(id, "nobody-of-that-name"), managed).await.expect("an answer").expect("an account")
}
