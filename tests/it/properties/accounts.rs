//! Accounts outside: whatever is found and whatever is wanted, the steps get there, touch nobody else's, and give nothing on the way that is not wanted.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::subsequence;
use usher::plan::account::{
    Account, AccountChange, AccountState, Adoption, Capability, Managed, Obstacle, Owned, Owner, Presence, Profile, PublicKey, Wish, steps,
};

const GROUPS: [&str; 4] = ["a", "b", "c", "d"];
const ALL: [Capability; 10] = [
    Capability::Create,
    Capability::Disable,
    Capability::Delete,
    Capability::Groups,
    Capability::RevokeTokens,
    Capability::RevokePasskeys,
    Capability::SshKeys,
    Capability::Password,
    Capability::Mark,
    Capability::List,
];

fn owner(installation: &str, person: &str) -> Owner {
    Owner { installation: installation.to_owned(), person: person.to_owned(), developer: "ada".to_owned(), adopted: false }
}

fn profile(username: &str, display_name: &str, keys: &[&str]) -> Profile {
    let key = |key: &&str| PublicKey { title: (*key).to_owned(), key: format!("ssh-ed25519 {key}") };
    Profile {
        username: username.to_owned(),
        display_name: display_name.to_owned(),
        email: format!("{username}@example.com"),
        ssh_keys: keys.iter().map(key).collect(),
    }
}

fn groups() -> impl Strategy<Value = BTreeSet<String>> {
    subsequence(GROUPS.to_vec(), 0..=4).prop_map(|groups| groups.into_iter().map(str::to_owned).collect())
}

fn found() -> impl Strategy<Value = Option<Account>> {
    let owners = prop_oneof![
        3 => Just(Some(owner("here", "ada"))),
        1 => Just(Some(Owner { adopted: true, ..owner("here", "ada") })),
        1 => Just(None),
        1 => Just(Some(owner("here", "bob"))),
        1 => Just(Some(owner("there", "ada"))),
    ];
    let states = prop_oneof![Just(AccountState::Enabled), Just(AccountState::Disabled), Just(AccountState::Invited)];
    let flags = (states, any::<bool>(), prop::bool::weighted(0.1));
    let profiles = (prop_oneof![Just("ada"), Just("lovelace")], prop_oneof![Just("Ada"), Just("Ada Lovelace")], any::<bool>());
    let account =
        (owners, flags, profiles, groups()).prop_map(|(owner, (state, credentials, administrator), (name, title, key), groups)| {
            let profile = profile(name, title, if key { &["old"] } else { &[] });
            Account { id: "17".to_owned(), profile, state, groups, owner, administrator, credentials }
        });
    prop::option::weighted(0.8, account)
}

fn wish() -> impl Strategy<Value = Wish> {
    let presence = prop_oneof![
        3 => Just(Presence::Active),
        1 => Just(Presence::LockedOut),
        1 => Just(Presence::Revoked),
        1 => Just(Presence::Gone),
    ];
    let adoption = prop_oneof![Just(Adoption::Never), Just(Adoption::ByUsername), Just(Adoption::ByEmail), Just(Adoption::Pinned)];
    let passwords = (any::<bool>(), prop_oneof![Just(None), Just(Some("17")), Just(Some("16"))]);
    (presence, adoption, groups(), groups(), any::<bool>(), prop::bool::weighted(0.1), (any::<bool>(), passwords)).prop_map(
        |(presence, adoption, wanted, more, exclusive, protected, (heir, (password, delivered)))| {
            let groups = if presence == Presence::Active { wanted } else { BTreeSet::new() };
            let managed = if exclusive { Managed::All } else { Managed::Only(&groups | &more) };
            let protected = if protected { BTreeSet::from(["ada".to_owned()]) } else { BTreeSet::new() };
            let profile = profile("ada", "Ada Lovelace", &["laptop"]);
            let owner = owner("here", "ada");
            let delivered = delivered.map(str::to_owned);
            Wish { presence, profile, owner, groups, managed, adoption, heir, password, delivered, owned: Owned::Keep, protected }
        },
    )
}

/// What a system makes of a step.
fn after(account: Option<Account>, change: &AccountChange) -> Option<Account> {
    if let AccountChange::Create { profile, owner } = change {
        assert!(account.is_none(), "made although there is one");
        let (id, profile, owner) = ("18".to_owned(), profile.clone(), Some(owner.clone()));
        return Some(Account { id, profile, owner, state: AccountState::Enabled, credentials: true, ..Account::default() });
    }
    let mut account = account.expect("there is one");
    match change {
        AccountChange::Create { .. } => unreachable!("dealt with"),
        AccountChange::Adopt { owner, .. } => account.owner = Some(owner.clone()),
        AccountChange::SetProfile { profile, .. } => account.profile = profile.clone(),
        AccountChange::SetEnabled { enabled, .. } => account.state = if *enabled { AccountState::Enabled } else { AccountState::Disabled },
        AccountChange::Join { group, .. } => drop(account.groups.insert(group.clone())),
        AccountChange::Leave { group, .. } => assert!(account.groups.remove(group), "not in it"),
        AccountChange::RevokeCredentials { .. } => {
            account.credentials = false;
            account.profile.ssh_keys.clear();
        }
        AccountChange::IssuePassword { .. } => account.credentials = true,
        AccountChange::CancelInvite { .. } | AccountChange::Delete { .. } => return None,
    }
    Some(account)
}

/// Whether an account is nobody else's, and not one that is never touched.
fn hers(account: &Account, wish: &Wish) -> bool {
    !account.administrator
        && !wish.protected.contains(&account.profile.username)
        && account
            .owner
            .as_ref()
            .is_none_or(|owner| owner.installation == wish.owner.installation && (owner.person == wish.owner.person || wish.heir))
}

fn managed(groups: &BTreeSet<String>, wish: &Wish) -> BTreeSet<String> {
    match &wish.managed {
        Managed::All => groups.clone(),
        Managed::Only(only) => groups & only,
    }
}

/// What nobody may have on the way: a group that neither was there nor is wanted, a login that neither was there nor is wanted.
fn within(now: &Account, before: Option<&Account>, wish: &Wish) {
    let had = before.map(|before| before.groups.clone()).unwrap_or_default();
    assert!(now.groups.is_subset(&(&had | &wish.groups)), "{:?}", now.groups);
    let could = before.is_some_and(|before| before.state == AccountState::Enabled);
    let enabled = could || wish.presence == Presence::Active;
    let can = now.state == AccountState::Enabled;
    assert!(!can || enabled, "let in on the way out");
    if can && !could {
        assert!(before.is_none() || managed(&now.groups, wish).is_subset(&wish.groups), "let in with yesterday's groups: {now:?}");
    }
}

fn run(found: Option<Account>, wish: &Wish, can: &BTreeSet<Capability>) -> Option<Account> {
    let before = found.clone();
    let (mut account, mut wish) = (found, wish.clone());
    for _ in 0..4 {
        let wish = &mut wish;
        let next = steps(account.as_ref(), wish, can);
        let Some(last) = next.changes.iter().rposition(AccountChange::removes).or(Some(0)) else { unreachable!() };
        let removes_first = next.changes.iter().take(last).all(AccountChange::removes);
        assert!(removes_first, "what is taken comes first: {:?}", next.changes);
        if next.changes.is_empty() {
            return account;
        }
        for change in &next.changes {
            if let AccountChange::IssuePassword { id } = change {
                let own = |it: &Account| it.owner.is_none() || it.owner.as_ref().is_some_and(|owner| owner.adopted);
                assert!(before.as_ref().is_none_or(|before| !own(before)), "a password of somebody's own is never replaced: {before:?}");
                assert_ne!(wish.delivered.as_ref(), Some(id), "it was delivered");
                wish.delivered = Some(id.clone());
            }
            account = after(account, change);
            account.iter().for_each(|now| within(now, before.as_ref(), wish));
        }
    }
    panic!("it never ends: {:?}", steps(account.as_ref(), &wish, can));
}
fn plain(presence: Presence) -> Wish {
    Wish {
        presence,
        profile: profile("ada", "Ada Lovelace", &[]),
        owner: owner("here", "ada"),
        groups: BTreeSet::new(),
        managed: Managed::All,
        adoption: Adoption::Never,
        heir: false,
        password: true,
        delivered: None,
        owned: Owned::Keep,
        protected: BTreeSet::new(),
    }
}

fn hers_by(username: &str) -> Account {
    let profile = profile(username, "Ada Lovelace", &[]);
    Account { id: "17".to_owned(), profile, state: AccountState::Enabled, owner: Some(owner("here", "ada")), ..Account::default() }
}

#[test]
fn an_account_that_was_made_anew_gets_a_password_and_one_that_has_it_gets_none() {
    let issue = [AccountChange::IssuePassword { id: "17".to_owned() }];
    for (delivered, issues) in [(None, true), (Some("16"), true), (Some("17"), false)] {
        let wish = Wish { delivered: delivered.map(str::to_owned), ..plain(Presence::Active) };
        let next = steps(Some(&hers_by("ada")), &wish, &BTreeSet::from(ALL));
        assert_eq!(next.changes == issue, issues, "{next:?}");
    }
}

#[test]
fn nobody_is_renamed_to_what_is_never_touched() {
    let wish = Wish { protected: BTreeSet::from(["ADA".to_owned()]), ..plain(Presence::Active) };
    let next = steps(Some(&hers_by("lovelace")), &wish, &BTreeSet::from(ALL));
    assert_eq!(next.obstacles, [Obstacle::Protected("ada".to_owned())]);
    let renames = |change: &AccountChange| matches!(change, AccountChange::SetProfile { profile, .. } if profile.username != "lovelace");
    assert!(!next.changes.iter().any(renames), "{next:?}");
    let leaves = Wish { protected: wish.protected, ..plain(Presence::Revoked) };
    assert!(!steps(Some(&hers_by("lovelace")), &leaves, &BTreeSet::from(ALL)).changes.is_empty(), "and she is locked out all the same");
}

#[test]
fn what_was_an_owners_own_is_usher_s_to_give_once_it_was_revoked() {
    let own = Account { owner: Some(Owner { adopted: true, ..owner("here", "ada") }), credentials: true, ..hers_by("ada") };
    assert!(steps(Some(&own), &plain(Presence::Active), &BTreeSet::from(ALL)).changes.is_empty(), "she has a password");
    let end = run(Some(own.clone()), &plain(Presence::Revoked), &BTreeSet::from(ALL)).expect("it is kept");
    assert!(end.owner.as_ref().is_some_and(|owner| !owner.adopted) && !end.credentials, "{end:?}");
    let cannot: BTreeSet<Capability> = ALL.into_iter().filter(|it| *it != Capability::RevokeTokens).collect();
    let end = run(Some(own), &plain(Presence::Revoked), &cannot).expect("it is kept");
    assert!(end.owner.is_some_and(|owner| owner.adopted), "what she had works still");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_steps_reach_what_is_wanted_and_no_more(found in found(), wish in wish()) {
        let can = BTreeSet::from(ALL);
        let end = run(found.clone(), &wish, &can);
        match &found {
            Some(account) if !hers(account, &wish) => prop_assert_eq!(end, found, "somebody else's is never touched"),
            Some(account) if account.owner.is_none() && (wish.presence != Presence::Active || wish.adoption == Adoption::Never) => {
                prop_assert_eq!(end, found, "nor is one that is nobody's, without a word");
            }
            _ => match (wish.presence, end) {
                (Presence::Active, Some(end)) => {
                    let adopted = end.owner.as_ref().is_some_and(|owner| (&owner.installation, &owner.person) == (&wish.owner.installation, &wish.owner.person));
                    if adopted {
                        prop_assert!(end.state != AccountState::Disabled, "{:?}", end);
                        // By another name nobody becomes what is never touched.
                        let kept = found.as_ref().filter(|_| wish.protected.contains("ada")).map(|found| found.profile.username.clone());
                        let username = kept.unwrap_or_else(|| wish.profile.username.clone());
                        prop_assert_eq!(&end.profile, &Profile { username, ..wish.profile.clone() });
                        prop_assert_eq!(managed(&end.groups, &wish), wish.groups.clone());
                    } else {
                        prop_assert_eq!(Some(end.clone()), found.clone());
                    }
                    let had = found.map(|found| found.groups).unwrap_or_default();
                    prop_assert_eq!(&end.groups - &managed(&end.groups, &wish), &had - &managed(&had, &wish), "groups of others stay");
                }
                (Presence::Active, None) => prop_assert!(wish.protected.contains("ada")),
                (Presence::LockedOut | Presence::Revoked, Some(end)) => {
                    prop_assert!(end.state == AccountState::Disabled && managed(&end.groups, &wish).is_empty(), "{:?}", end);
                    prop_assert!(wish.presence == Presence::LockedOut || !end.credentials, "{:?}", end);
                }
                (Presence::Gone, Some(end)) => prop_assert!(false, "left: {:?}", end),
                (Presence::LockedOut | Presence::Revoked | Presence::Gone, None) => {}
            },
        }
    }

    /// What was decided for somebody who is to have nothing is done to the end only as far as that is wanted still.
    #[test]
    fn what_takes_away_follows_the_newest_word(found in found(), then in wish(), now in wish()) {
        let next = steps(found.as_ref(), &then, &BTreeSet::from(ALL));
        for change in next.changes.iter().filter(|change| change.follows(&now)) {
            prop_assert!(change.removes());
            match change {
                AccountChange::Delete { .. } => prop_assert!(now.presence == Presence::Gone),
                AccountChange::RevokeCredentials { .. } => prop_assert!(matches!(now.presence, Presence::Revoked | Presence::Gone)),
                _ => prop_assert!(now.presence != Presence::Active),
            }
        }
    }

    /// What a system cannot do is said, and everything else is done.
    #[test]
    fn what_a_system_cannot_do_is_an_obstacle(found in found(), wish in wish(), can in subsequence(ALL.to_vec(), 0..=9)) {
        let can: BTreeSet<Capability> = can.into_iter().collect();
        let end = run(found, &wish, &can);
        // What was issued was delivered.
        let left = steps(end.as_ref(), &Wish { password: false, ..wish.clone() }, &can);
        prop_assert!(left.changes.is_empty());
        if let Some(end) = end.as_ref().filter(|end| hers(end, &wish) && end.owner.is_some() && wish.presence != Presence::Active) {
            let dead = !end.credentials || wish.presence == Presence::LockedOut;
            let harmless = end.state == AccountState::Disabled && dead && managed(&end.groups, &wish).is_empty() && wish.presence != Presence::Gone;
            prop_assert!(harmless || !left.obstacles.is_empty(), "nothing is pretended: {:?}", end);
        }
    }
}
