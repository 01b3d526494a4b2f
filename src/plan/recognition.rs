//! Whether an account that was found is the one that is looked for. Marks say so; ids help where a system keeps no marks or lost one; names alone never do.

use super::account::{Account, Adoption, Presence, belongs};
use super::entitlement::Desired;

/// Whether the id by which an account was found is another account's by now: systems are replaced, and some give ids again. Then she is looked for by login.
pub fn mistaken(desired: &Desired, found: &Account, marks: bool) -> bool {
    let by_record = desired.pinned.is_none() && desired.recorded.as_ref() == Some(&found.id);
    by_record && marks && !belongs(found, &desired.wish) && !same_login(desired, found)
}

/// Takes an account that was found for what it is to her.
pub fn recognized(desired: &mut Desired, found: Option<Account>, marks: bool) -> Option<Account> {
    let mut account = found?;
    let recorded = desired.recorded.as_ref() == Some(&account.id);
    if account.owner.is_none() && recorded && !marks {
        // The id is all that there is.
        account.owner = Some(desired.wish.owner.clone());
    } else if account.owner.is_none() && recorded && same_login(desired, &account) {
        // It was hers, by id and by login, and somebody took the mark off: it is marked again, and leaving takes it away all the same.
        if desired.wish.presence == Presence::Active {
            desired.wish.adoption = Adoption::Pinned;
        } else {
            account.owner = Some(desired.wish.owner.clone());
        }
    } else if desired.wish.adoption == Adoption::Pinned && desired.pinned.as_ref().is_some_and(|id| *id != account.id) {
        // The account that is meant is not there; one that merely has her login is not it.
        desired.wish.adoption = Adoption::Never;
    }
    Some(account)
}

fn same_login(desired: &Desired, found: &Account) -> bool {
    found.profile.username.eq_ignore_ascii_case(&desired.wish.profile.username)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::account::{AccountKey, AccountState, Managed, Obstacle, Owned, Owner, Profile, Wish, steps};
    use super::*;

    fn desired(presence: Presence, recorded: Option<&str>, pinned: Option<&str>) -> Desired {
        let owner = Owner { installation: "here".to_owned(), person: "uid-1".to_owned(), developer: "ada".to_owned(), adopted: false };
        let wish = Wish {
            presence,
            profile: Profile { username: "ada".to_owned(), ..Profile::default() },
            owner,
            groups: BTreeSet::new(),
            managed: Managed::All,
            adoption: if pinned.is_some() { Adoption::Pinned } else { Adoption::Never },
            heir: false,
            password: false,
            delivered: None,
            owned: Owned::Keep,
            protected: BTreeSet::new(),
        };
        Desired {
            key: AccountKey::default(),
            wish,
            named: presence != Presence::Active,
            written: presence != Presence::Active,
            entitled: true,
            delete_at: None,
            held: false,
            recorded: recorded.map(str::to_owned),
            pinned: pinned.map(str::to_owned),
            adopted: false,
            given: BTreeSet::new(),
            epoch: None,
            observes: false,
            asked_at: None,
        }
    }

    fn account(id: &str, username: &str) -> Account {
        let profile = Profile { username: username.to_owned(), ..Profile::default() };
        Account { id: id.to_owned(), profile, state: AccountState::Enabled, ..Account::default() }
    }

    #[test]
    fn a_pin_means_the_account_of_that_id_and_no_namesake() {
        for (found, adopted) in [("17", true), ("99", false)] {
            let mut desired = desired(Presence::Active, None, Some("17"));
            let account = recognized(&mut desired, Some(account(found, "ada")), true);
            let next = steps(account.as_ref(), &desired.wish, &BTreeSet::new());
            assert_eq!(next.obstacles == [Obstacle::Foreign("ada".to_owned())], !adopted, "{next:?}");
            assert_eq!(next.changes.len(), usize::from(adopted));
        }
    }

    #[test]
    fn an_account_that_lost_its_mark_is_hers_by_id_and_login() {
        let mut leaver = desired(Presence::Revoked, Some("17"), None);
        let found = recognized(&mut leaver, Some(account("17", "ada")), true).expect("found");
        assert!(belongs(&found, &leaver.wish));
        let mut stays = desired(Presence::Active, Some("17"), None);
        let found = recognized(&mut stays, Some(account("17", "Ada")), true);
        assert_eq!(steps(found.as_ref(), &stays.wish, &BTreeSet::new()).changes.len(), 1, "it is marked again");
        let mut other = desired(Presence::Revoked, Some("17"), None);
        let found = recognized(&mut other, Some(account("17", "zoe")), true).expect("found");
        assert!(!belongs(&found, &other.wish) && mistaken(&other, &found, true), "the id is another one's by now");
        assert!(!mistaken(&other, &found, false), "without marks the id is all that there is");
    }
}
