//! People: what an entry says of an account, and what must change about an entry so that it says something else. Pure.

use std::collections::BTreeSet;

use crate::api::provider::LockOut;
use crate::plan::account::{Account, AccountState, Owner, Profile, PublicKey};

use super::dn;
use super::wire::{Edit, Entry, add, delete, replace};

/// The attributes of an entry that are spoken of here.
pub(super) mod attribute {
    pub const ID: &str = "entryUUID";
    pub const VERSION: &str = "entryCSN";
    pub const CLASS: &str = "objectClass";
    pub const USERNAME: &str = "uid";
    pub const NAME: &str = "cn";
    pub const SURNAME: &str = "sn";
    pub const GIVEN_NAME: &str = "givenName";
    pub const SHOWN_NAME: &str = "displayName";
    pub const EMAIL: &str = "mail";
    pub const PASSWORD: &str = "userPassword";
    pub const KEY: &str = "sshPublicKey";
    pub const LOCKED: &str = "pwdAccountLockedTime";
    pub const CHANGED: &str = "pwdChangedTime";
}

/// What an entry needs besides for keys.
pub(super) const KEY_CLASS: &str = "ldapPublicKey";
/// The value of `pwdAccountLockedTime` that an administrator sets: locked until an administrator takes it away.
const LOCKED_FOR_GOOD: &str = "000001010000Z";
/// What begins a password that is put aside. The scheme is one that every server knows, so that none takes it for a password in clear and hashes it; what follows
/// is no base64, so that no password ever fits.
const ASIDE: &[u8] = b"{SSHA}!usher-locked!";
/// What begins a key that is put aside: to sshd the line is a comment.
const KEY_ASIDE: &[u8] = b"# usher-locked: ";
/// What begins the title of a key that usher put there.
const KEY_TITLE: &str = "usher: ";
/// What begins the note of the login that somebody had before, beside her mark, as long as groups may name her by it.
const FORMER: &str = "usher-was/";

/// How accounts are kept in one directory.
#[derive(Debug)]
pub(super) struct Manner {
    /// The attribute that keeps whose an account is.
    pub mark: String,
    /// How people are locked out.
    pub lock_out: LockOut,
    /// usher's own entry, canonical.
    pub own: Option<String>,
}

impl Manner {
    /// What is asked of each entry.
    pub fn attributes(&self) -> [&str; 11] {
        use attribute::{CLASS, EMAIL, ID, KEY, LOCKED, NAME, PASSWORD, SHOWN_NAME, USERNAME, VERSION};
        [ID, VERSION, CLASS, USERNAME, NAME, SHOWN_NAME, EMAIL, PASSWORD, KEY, LOCKED, &self.mark]
    }

    /// The account that an entry is, but for its groups; nothing if the directory does not tell its id.
    pub fn account(&self, entry: &Entry) -> Option<Account> {
        let mut profile = profile(entry);
        if self.former(entry).is_some() {
            // A new login was cut short. This is what no profile is to be, so it is set again, and that is brought to its end.
            profile.display_name.clear();
        }
        Some(Account {
            id: entry.text(attribute::ID)?.to_owned(),
            profile,
            state: self.state(entry),
            groups: BTreeSet::new(),
            owner: entry.texts(&self.mark).find_map(Owner::read),
            administrator: self.own.is_some() && self.own == dn::canonical(&entry.dn),
            credentials: entry.values(attribute::PASSWORD).iter().any(|value| value != ASIDE) || !entry.values(attribute::KEY).is_empty(),
        })
    }

    /// Whether one can log in. Where a password could not be put aside, and the policy's lock was set instead, nobody can tell.
    fn state(&self, entry: &Entry) -> AccountState {
        let begun = || is_locked_by_policy(entry) || entry.values(attribute::KEY).iter().any(|value| value.starts_with(KEY_ASIDE));
        match self.is_locked(entry) {
            true => AccountState::Disabled,
            false if begun() => AccountState::Doubtful,
            false => AccountState::Enabled,
        }
    }

    /// Whether usher, or an administrator in usher's way, has locked somebody out.
    pub fn is_locked(&self, entry: &Entry) -> bool {
        let passwords = entry.values(attribute::PASSWORD);
        let aside = !passwords.is_empty() && passwords.iter().all(|value| value.starts_with(ASIDE));
        aside || (self.lock_out == LockOut::Policy && is_locked_by_policy(entry))
    }

    /// The login that somebody had before, if groups may name her by it still.
    pub fn former(&self, entry: &Entry) -> Option<String> {
        let former = entry.texts(&self.mark).find_map(|text| text.strip_prefix(FORMER))?;
        (former != profile(entry).username).then(|| former.to_owned())
    }

    /// Notes a login that somebody is about to lose.
    pub fn note(&self, username: &str) -> Edit {
        add(&self.mark, format!("{FORMER}{username}"))
    }

    /// Takes the note away.
    pub fn forget(&self, username: &str) -> Edit {
        delete(&self.mark, format!("{FORMER}{username}"))
    }

    /// The mark becomes this one. Others' values of the attribute stay.
    pub fn mark(&self, entry: &Entry, owner: &Owner) -> Vec<Edit> {
        let mark = owner.mark();
        let old = entry.texts(&self.mark).filter(|text| **text != mark && Owner::read(text).is_some());
        let mut edits: Vec<Edit> = old.map(|text| delete(&self.mark, text)).collect();
        if !entry.texts(&self.mark).any(|text| text == mark) {
            edits.push(add(&self.mark, mark));
        }
        edits
    }

    /// Locks somebody out: no password fits, no key is one.
    pub fn lock(&self, entry: &Entry) -> Vec<Edit> {
        let mut edits = match self.lock_out {
            LockOut::Password if self.is_locked(entry) => Vec::new(),
            // Who has no password is given what no password fits, as a sign. Beside what may be there: it may be that usher is not told of it.
            LockOut::Password if !is_told_password(entry) => vec![add(attribute::PASSWORD, ASIDE)],
            LockOut::Password => {
                let values = entry.values(attribute::PASSWORD);
                vec![replace(attribute::PASSWORD, values.iter().map(|it| put_aside(ASIDE, it)))]
            }
            LockOut::Policy => lock_by_policy(entry),
        };
        edits.extend(lock_keys(entry));
        edits
    }

    /// Lets somebody in again, with what she had. Together with [`unlock_by_policy`], which comes after it: where a password changes the policy overlay takes that
    /// lock away itself.
    pub fn unlock(entry: &Entry) -> Vec<Edit> {
        let back = |attribute: &str, aside: &[u8]| {
            let values = entry.values(attribute);
            let changes = values.iter().any(|value| value.starts_with(aside));
            let values = values.iter().map(|value| value.strip_prefix(aside).unwrap_or(value)).filter(|value| !value.is_empty());
            changes.then(|| replace(attribute, values.map(<[u8]>::to_vec)))
        };
        [back(attribute::PASSWORD, ASIDE), back(attribute::KEY, KEY_ASIDE)].into_iter().flatten().collect()
    }

    /// Takes away all that somebody could log in with; who is locked out stays so.
    pub fn revoke(&self, entry: &Entry) -> Vec<Edit> {
        let mut edits = Vec::new();
        let sign = self.lock_out == LockOut::Password && self.is_locked(entry);
        let left: Vec<Vec<u8>> = if sign { vec![ASIDE.to_vec()] } else { Vec::new() };
        // There may be one that usher is not told of.
        if entry.values(attribute::PASSWORD) != left || left.is_empty() {
            edits.push(replace(attribute::PASSWORD, left));
        }
        edits.extend(keys(entry, Vec::new()));
        edits
    }

    /// What changes about a profile but for the login.
    pub fn set_profile(&self, entry: &Entry, wanted: &Profile) -> Vec<Edit> {
        let there = profile(entry);
        let mut edits = Vec::new();
        let names = dn::naming(&entry.dn).map(|(attribute, _)| attribute).unwrap_or_default();
        if there.display_name != wanted.display_name {
            let names = self::names(&wanted.display_name).into_iter().filter(|(attribute, _)| !attribute.eq_ignore_ascii_case(&names));
            edits.extend(names.map(|(attribute, value)| replace(attribute, value.map(String::into_bytes))));
        }
        if there.email != wanted.email {
            edits.extend(emails(entry, &wanted.email));
        }
        if there.ssh_keys != wanted.ssh_keys {
            let others = entry.values(attribute::KEY).iter().filter(|value| usher_key(value).is_none()).cloned();
            let aside: &[u8] = if self.is_locked(entry) { KEY_ASIDE } else { b"" };
            let hers = wanted.ssh_keys.iter().map(|key| put_aside(aside, key_line(key).as_bytes()));
            edits.extend(keys(entry, others.chain(hers).collect()));
        }
        edits
    }

    /// The attributes of an entry that is made.
    pub fn make(&self, profile: &Profile, owner: &Owner) -> Vec<(&str, Vec<Vec<u8>>)> {
        let mut classes = vec!["top", "person", "organizationalPerson", "inetOrgPerson"];
        let mut made =
            vec![(attribute::USERNAME, vec![profile.username.clone().into_bytes()]), (&*self.mark, vec![owner.mark().into_bytes()])];
        let names = names(&profile.display_name).into_iter();
        made.extend(names.filter_map(|(attribute, value)| Some((attribute, vec![value?.into_bytes()]))));
        if !profile.email.is_empty() {
            made.push((attribute::EMAIL, vec![profile.email.clone().into_bytes()]));
        }
        if !profile.ssh_keys.is_empty() {
            classes.push(KEY_CLASS);
            made.push((attribute::KEY, profile.ssh_keys.iter().map(|key| key_line(key).into_bytes()).collect()));
        }
        made.push((attribute::CLASS, classes.into_iter().map(Into::into).collect()));
        made
    }
}

/// Whether the directory tells of a password, or of what stands in for one.
pub(super) fn is_told_password(entry: &Entry) -> bool {
    !entry.values(attribute::PASSWORD).is_empty()
}

/// Whether there was a password, by what the policy overlay notes, and none is told.
pub(super) fn lost_password(entry: &Entry) -> bool {
    !is_told_password(entry) && !entry.values(attribute::CHANGED).is_empty()
}

/// Takes back what was put beside a password that usher is not told of.
pub(super) fn withdraw_sign() -> Edit {
    delete(attribute::PASSWORD, ASIDE)
}

/// Whether an administrator's lock by the policy overlay is there; those for wrong passwords are none of usher's business.
pub(super) fn is_locked_by_policy(entry: &Entry) -> bool {
    entry.text(attribute::LOCKED) == Some(LOCKED_FOR_GOOD)
}

fn lock_by_policy(entry: &Entry) -> Vec<Edit> {
    let lock = || replace(attribute::LOCKED, [LOCKED_FOR_GOOD.into()]);
    (!is_locked_by_policy(entry)).then(lock).into_iter().collect()
}

/// Locks somebody out as far as that goes without touching her password.
pub(super) fn lock_without_password(entry: &Entry) -> Vec<Edit> {
    lock_by_policy(entry).into_iter().chain(lock_keys(entry)).collect()
}

/// Takes away an administrator's lock.
pub(super) fn unlock_by_policy(entry: &Entry) -> Vec<Edit> {
    is_locked_by_policy(entry).then(|| replace(attribute::LOCKED, [])).into_iter().collect()
}

fn lock_keys(entry: &Entry) -> Option<Edit> {
    let values = entry.values(attribute::KEY);
    let changes = values.iter().any(|value| !value.starts_with(KEY_ASIDE));
    changes.then(|| replace(attribute::KEY, values.iter().map(|value| put_aside(KEY_ASIDE, value))))
}

fn put_aside(aside: &[u8], value: &[u8]) -> Vec<u8> {
    if value.starts_with(aside) { value.to_vec() } else { [aside, value].concat() }
}

/// What the directory knows of somebody.
fn profile(entry: &Entry) -> Profile {
    let naming = dn::naming(&entry.dn);
    let named = |wanted: &str| naming.iter().find(|(attribute, _)| attribute == wanted).map(|(_, value)| value.clone());
    let text = |attribute: &str| entry.text(attribute).map(str::to_owned);
    // Of several logins the one that names the entry is the login; who has none is called as the entry is.
    let username = named(attribute::USERNAME).or_else(|| text(attribute::USERNAME)).or_else(|| naming.clone().map(|(_, value)| value));
    Profile {
        username: username.unwrap_or_default(),
        display_name: text(attribute::SHOWN_NAME).or_else(|| text(attribute::NAME)).unwrap_or_default(),
        email: text(attribute::EMAIL).unwrap_or_default(),
        ssh_keys: entry.values(attribute::KEY).iter().filter_map(|value| usher_key(value)).collect(),
    }
}

/// A profile as the directory will tell it: names without needless spaces, and never empty, as `cn` and `sn` must not be.
pub(super) fn keeps(mut profile: Profile) -> Profile {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    profile.display_name = Some(plain(&profile.display_name)).filter(|name| !name.is_empty()).unwrap_or_else(|| profile.username.clone());
    profile.email = profile.email.trim().to_owned();
    profile.ssh_keys = profile.ssh_keys.into_iter().map(|key| PublicKey { title: plain(&key.title), key: plain(&key.key) }).collect();
    profile
}

/// A name in the attributes that have it: whole, and by the last word as `sn`, which people must have.
fn names(shown: &str) -> [(&'static str, Option<String>); 4] {
    let (given, surname) = shown.rsplit_once(' ').map_or((None, shown), |(given, surname)| (Some(given), surname));
    [
        (attribute::SHOWN_NAME, Some(shown.to_owned())),
        (attribute::NAME, Some(shown.to_owned())),
        (attribute::SURNAME, Some(surname.to_owned())),
        (attribute::GIVEN_NAME, given.map(str::to_owned)),
    ]
}

/// The first address becomes this one; others stay, behind it. One by one, as a set of values has no order.
fn emails(entry: &Entry, email: &str) -> Vec<Edit> {
    let others = entry.values(attribute::EMAIL).iter().skip(1).filter(|other| !other.eq_ignore_ascii_case(email.as_bytes()));
    let first = (!email.is_empty()).then(|| email.as_bytes().to_vec());
    let values = first.into_iter().chain(others.cloned());
    std::iter::once(replace(attribute::EMAIL, [])).chain(values.map(|value| add(attribute::EMAIL, value))).collect()
}

/// The keys of an entry become these, and its class goes and comes with them: in some schemas a key must be there.
fn keys(entry: &Entry, wanted: Vec<Vec<u8>>) -> Vec<Edit> {
    let has_class = entry.has(attribute::CLASS, KEY_CLASS);
    if wanted.is_empty() && entry.values(attribute::KEY).is_empty() {
        return Vec::new();
    }
    let class = match (has_class, wanted.is_empty()) {
        (false, false) => Some(add(attribute::CLASS, KEY_CLASS)),
        (true, true) => Some(delete(attribute::CLASS, KEY_CLASS)),
        _ => None,
    };
    std::iter::once(replace(attribute::KEY, wanted)).chain(class).collect()
}

fn key_line(key: &PublicKey) -> String {
    format!("{} {KEY_TITLE}{}", key.key, key.title)
}

/// A key that usher put there; nothing if it is another one, the person's own.
fn usher_key(value: &[u8]) -> Option<PublicKey> {
    let text = std::str::from_utf8(value.strip_prefix(KEY_ASIDE).unwrap_or(value)).ok()?;
    let (kind, rest) = text.split_once(' ')?;
    let (key, comment) = rest.split_once(' ')?;
    let title = comment.strip_prefix(KEY_TITLE)?;
    Some(PublicKey { title: title.to_owned(), key: format!("{kind} {key}") })
}
