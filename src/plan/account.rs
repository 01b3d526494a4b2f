//! Accounts in outside systems, in neutral terms: what is wanted, what is there, and the smallest steps from the one to the other.
//!
//! A connector translates; every decision is here. No secret value is in any of these types.

use std::collections::BTreeSet;

/// By what an account is looked for: its id at the system if that is known and there, else its login, else its e-mail address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey {
    /// The system's own, stable id.
    pub id: Option<String>,
    /// The login.
    pub username: String,
    /// The e-mail address, where an account that has it may be adopted.
    pub email: Option<String>,
}

/// Whose an account is, as the system keeps it with the account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The installation of usher that made or adopted the account.
    pub installation: String,
    /// The person, for ever: a digest, see [`super::person`].
    pub person: String,
    /// The name of her Developer when it was marked.
    pub developer: String,
    /// Whether the account was there before usher, and what its owner had for it was not revoked since: she has a password, and is issued none.
    pub adopted: bool,
}

/// What begins a mark.
const MARK: &str = "usher";
/// What ends the mark of an account that was there before usher. It stands with the account, so that no crash and no restored backup forgets it.
const ADOPTED: &str = "adopted";

impl Owner {
    /// The mark as a text, for systems that keep it in a field of their own.
    pub fn mark(&self) -> String {
        let end = if self.adopted { format!("/{ADOPTED}") } else { String::new() };
        format!("{MARK}/{}/{}/{}{end}", self.installation, self.person, self.developer)
    }

    /// Reads a mark; nothing if the text is none.
    pub fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (installation, person, developer, adopted) = match parts.as_slice() {
            [MARK, installation, person, developer] => (installation, person, developer, false),
            [MARK, installation, person, developer, ADOPTED] => (installation, person, developer, true),
            _ => return None,
        };
        let [installation, person, developer] = [installation, person, developer].map(|part| (*part).to_owned());
        Some(Self { installation, person, developer, adopted })
    }
}

/// What becomes of what an account owns when it is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Owned {
    /// Nothing: an account that owns something is not deleted.
    #[default]
    Keep,
    /// This account, organization or role gets it.
    Transfer(String),
    /// It is archived and kept for usher's own account.
    Archive,
}

/// A public SSH key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey {
    /// What it is called.
    pub title: String,
    /// Type and base64, without the comment, which systems do not keep alike.
    pub key: String,
}

/// What a system knows of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The login.
    pub username: String,
    /// The name to show.
    pub display_name: String,
    /// The e-mail address.
    pub email: String,
    /// Her SSH keys, where the system takes any.
    pub ssh_keys: BTreeSet<PublicKey>,
}

/// Whether one can log in with an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccountState {
    /// One can.
    Enabled,
    /// It is locked out.
    #[default]
    Disabled,
    /// Somebody began to lock it out, and nobody can tell whether one can log in all the same.
    Doubtful,
    /// It is an invitation that nobody took yet.
    Invited,
}

/// An account as a system has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The system's own, stable id.
    pub id: String,
    /// What the system knows of the person.
    pub profile: Profile,
    /// Whether one can log in with it.
    pub state: AccountState,
    /// The groups, teams or roles that it is in, as a Role of usher's names them.
    pub groups: BTreeSet<String>,
    /// Whose it is; nobody's that usher knows if there is no mark.
    pub owner: Option<Owner>,
    /// Whether it administers the system. usher never touches such an account.
    pub administrator: bool,
    /// Whether something that was issued for it may still work, as far as the system tells: tokens, keys, sessions, a password.
    pub credentials: bool,
}

/// What a system can do. What it cannot do becomes a finding, never a pretended success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Make accounts.
    Create,
    /// Lock accounts out and let them in again.
    Disable,
    /// Delete accounts.
    Delete,
    /// Tell an account's groups, and change them.
    Groups,
    /// Make what was issued for an account worthless: tokens, sessions, passwords.
    RevokeTokens,
    /// Let nobody in by a passkey that was not taken back with the rest.
    RevokePasskeys,
    /// Keep public SSH keys.
    SshKeys,
    /// Set a password.
    Password,
    /// Keep whose an account is with the account itself.
    Mark,
    /// List all accounts.
    List,
    /// Tell when somebody first pushed.
    Activity,
}

/// The smallest step between two states of an account. Each can be repeated without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountChange {
    /// Makes an account that is enabled, and that nobody has a password of.
    Create {
        /// What the system is told of the person.
        profile: Profile,
        /// Whose it is.
        owner: Owner,
    },
    /// Marks an account as the person's: one that existed before, or that was made for her by another name.
    Adopt {
        /// The account.
        id: String,
        /// Whose it is from now on.
        owner: Owner,
    },
    /// Tells the system what changed about the person.
    SetProfile {
        /// The account.
        id: String,
        /// All of it, as it is to be.
        profile: Profile,
    },
    /// Locks an account out, or lets it in again.
    SetEnabled {
        /// The account.
        id: String,
        /// Whether one can log in with it.
        enabled: bool,
    },
    /// Puts an account into a group.
    Join {
        /// The account.
        id: String,
        /// The group.
        group: String,
    },
    /// Takes an account out of a group.
    Leave {
        /// The account.
        id: String,
        /// The group.
        group: String,
    },
    /// Makes what was issued for an account worthless: tokens, keys, sessions, passwords.
    RevokeCredentials {
        /// The account.
        id: String,
    },
    /// Gives an account a new password, which the answer tells.
    IssuePassword {
        /// The account.
        id: String,
    },
    /// Takes back an invitation.
    CancelInvite {
        /// The invitation.
        id: String,
    },
    /// Deletes an account.
    Delete {
        /// The account.
        id: String,
        /// What becomes of what it owns.
        owned: Owned,
    },
}

impl AccountChange {
    /// Whether it takes something away. Removals come first, and the brake counts them.
    pub const fn removes(&self) -> bool {
        matches!(
            self,
            Self::SetEnabled { enabled: false, .. }
                | Self::Leave { .. }
                | Self::RevokeCredentials { .. }
                | Self::CancelInvite { .. }
                | Self::Delete { .. }
        )
    }

    /// Whether what takes something away from somebody who is to have nothing is wanted still: what was decided may have been softened meanwhile. What destroys
    /// data, and what is revoked for good, needs a word that still stands.
    pub fn follows(&self, wish: &Wish) -> bool {
        match self {
            Self::Delete { owned, .. } => wish.presence == Presence::Gone && *owned == wish.owned,
            Self::RevokeCredentials { .. } => matches!(wish.presence, Presence::Revoked | Presence::Gone),
            other => other.removes() && wish.presence != Presence::Active,
        }
    }
}

/// What a person is to have at a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// An account that one can log in with.
    Active,
    /// If there is an account, nobody can log in with it; what was issued for it does not work meanwhile.
    LockedOut,
    /// As before, and what was issued for it never works again.
    Revoked,
    /// No account.
    Gone,
}

/// Which groups are usher's to give and take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Managed {
    /// Only these, which some Role names (`membership: Additive`).
    Only(BTreeSet<String>),
    /// All of them (`membership: Exclusive`).
    All,
}

/// Which accounts that usher did not make it may take over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adoption {
    /// None.
    #[default]
    Never,
    /// The one that has the person's login.
    ByUsername,
    /// The one that has the person's e-mail address.
    ByEmail,
    /// The one that is pinned in the Developer with `adopt: true`.
    Pinned,
}

/// The account that a person is to have at a system: the union of what all her Roles give her there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Whether there is to be one.
    pub presence: Presence,
    /// What the system is told of her.
    pub profile: Profile,
    /// Who she is.
    pub owner: Owner,
    /// Her groups; none unless she is to be active.
    pub groups: BTreeSet<String>,
    /// Which groups are usher's to give and take.
    pub managed: Managed,
    /// Whether an account that usher did not make may become hers.
    pub adoption: Adoption,
    /// Whether an account that was made for somebody of her name who never left is hers: she was declared again after a reinstallation.
    pub heir: bool,
    /// Whether she is to be given a password, if none was delivered for this account yet.
    pub password: bool,
    /// The account for which a password was delivered: one that was made anew has none yet.
    pub delivered: Option<String>,
    /// What becomes of what the account owns when it is deleted.
    pub owned: Owned,
    /// Logins that usher never touches.
    pub protected: BTreeSet<String>,
}

/// Why nothing, or not everything, can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The account belongs to nobody that usher knows.
    #[error("account {0} exists and usher did not make it; pin it with adopt: true in the Developer's accounts, or rename it")]
    Foreign(String),
    /// The account is another person's.
    #[error("account {0} belongs to another person; choose another username")]
    Another(String),
    /// The account is another installation's.
    #[error("account {0} is managed by another installation of usher; choose another username")]
    Elsewhere(String),
    /// The account administers the system, or its login is protected.
    #[error("account {0} is an administrator's or protected, and is never touched; choose another username, or see to it by hand")]
    Protected(String),
    /// The system cannot do what is needed.
    #[error("the system cannot {}", needed(*.0))]
    Unsupported(Capability),
}

const fn needed(capability: Capability) -> &'static str {
    match capability {
        Capability::Create => "make accounts; make the account by hand and pin it",
        Capability::Disable => "lock accounts out and let them in; do it by hand",
        Capability::Delete => "delete accounts; delete the account by hand",
        Capability::Groups => "change groups; leave groups out of the Role",
        Capability::RevokeTokens => "revoke what was issued; revoke it by hand",
        Capability::RevokePasskeys => {
            "take back passkeys, and they let in whom it lets in again; take hers off the account by hand, or switch passkeys off there"
        }
        Capability::SshKeys => "keep SSH keys",
        Capability::Password => "set passwords; set initialCredentials: None in the Provider",
        Capability::Mark => "keep whose an account is",
        Capability::List => "list accounts",
        Capability::Activity => "tell who pushed",
    }
}

/// The next steps for an account, and what stands in the way of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// In this order; each only if those before it succeeded. What takes away comes first. An account that is made or adopted is read again before anything else
    /// is done to it.
    pub changes: Vec<AccountChange>,
    /// What cannot be done.
    pub obstacles: Vec<Obstacle>,
}

/// The smallest steps from the account that was found to the one that is wanted.
pub fn steps(found: Option<&Account>, wish: &Wish, can: &BTreeSet<Capability>) -> Steps {
    let Some(account) = found else { return made(wish, can) };
    if let Some(obstacle) = refuses(account, wish) {
        // Whose account it is does not matter to who is to have none; but one of her own that is not touched is left to her.
        let works = belongs(account, wish) && account.state != AccountState::Disabled;
        let obstacles = if wish.presence == Presence::Active || works { vec![obstacle] } else { Vec::new() };
        return Steps { obstacles, ..Steps::default() };
    }
    if account.owner.is_none() {
        return adopted(account, wish);
    }
    match wish.presence {
        Presence::Active => kept(account, wish, can),
        Presence::LockedOut | Presence::Revoked | Presence::Gone => taken(account, wish, can),
    }
}

/// Whether an account must not be touched for this person.
fn refuses(account: &Account, wish: &Wish) -> Option<Obstacle> {
    let name = account.profile.username.clone();
    if account.administrator || protects(wish, &name) {
        return Some(Obstacle::Protected(name));
    }
    match &account.owner {
        _ if belongs(account, wish) => None,
        None if may_adopt(account, wish) => None,
        None => Some(Obstacle::Foreign(name)),
        Some(owner) if owner.installation != wish.owner.installation => Some(Obstacle::Elsewhere(name)),
        Some(_) => Some(Obstacle::Another(name)),
    }
}

/// Whether a login is never touched. Most systems know no letter case, so that `Root` is `root`.
fn protects(wish: &Wish, username: &str) -> bool {
    wish.protected.iter().any(|name| name.eq_ignore_ascii_case(username))
}

/// Whether an account is marked as that person's, by this installation.
pub fn belongs(account: &Account, wish: &Wish) -> bool {
    let hers = |owner: &Owner| owner.person == wish.owner.person || inherits(owner, wish);
    account.owner.as_ref().is_some_and(|owner| owner.installation == wish.owner.installation && hers(owner))
}

/// Whether somebody may have what was marked for an earlier person of her name who never left. Two who are known by different personIds are two people.
fn inherits(owner: &Owner, wish: &Wish) -> bool {
    let by_id = |person: &str| person.starts_with("id-");
    wish.heir && owner.developer == wish.owner.developer && !(by_id(&owner.person) && by_id(&wish.owner.person))
}

fn may_adopt(account: &Account, wish: &Wish) -> bool {
    match wish.adoption {
        Adoption::Never => false,
        Adoption::ByUsername => account.profile.username == wish.profile.username,
        Adoption::ByEmail => account.profile.email.eq_ignore_ascii_case(&wish.profile.email),
        Adoption::Pinned => true,
    }
}

/// Who is to have none does not get hold of one on her way out.
fn adopted(account: &Account, wish: &Wish) -> Steps {
    let adopt = || AccountChange::Adopt { id: account.id.clone(), owner: Owner { adopted: true, ..wish.owner.clone() } };
    Steps { changes: (wish.presence == Presence::Active).then(adopt).into_iter().collect(), ..Steps::default() }
}

fn made(wish: &Wish, can: &BTreeSet<Capability>) -> Steps {
    if wish.presence != Presence::Active {
        return Steps::default();
    }
    if protects(wish, &wish.profile.username) {
        return Steps { obstacles: vec![Obstacle::Protected(wish.profile.username.clone())], ..Steps::default() };
    }
    if !can.contains(&Capability::Create) {
        return Steps { obstacles: vec![Obstacle::Unsupported(Capability::Create)], ..Steps::default() };
    }
    let create = AccountChange::Create { profile: profile(wish, can), owner: wish.owner.clone() };
    Steps { changes: vec![create], ..Steps::default() }
}

/// What of a profile a system keeps.
fn profile(wish: &Wish, can: &BTreeSet<Capability>) -> Profile {
    let mut profile = wish.profile.clone();
    if !can.contains(&Capability::SshKeys) {
        profile.ssh_keys.clear();
    }
    profile
}

fn kept(account: &Account, wish: &Wish, can: &BTreeSet<Capability>) -> Steps {
    let mut steps = Steps::default();
    let id = &account.id;
    let stuck = leave(account, &wish.groups, wish, can, &mut steps);
    // Whoever's it was before, that account was there before usher.
    let adopted = account.owner.as_ref().is_some_and(|owner| owner.adopted);
    let owner = Owner { adopted, ..wish.owner.clone() };
    if account.owner.as_ref() != Some(&owner) {
        steps.changes.push(AccountChange::Adopt { id: id.clone(), owner });
    }
    let mut profile = profile(wish, can);
    if protects(wish, &profile.username) {
        // Nobody becomes by another name what nobody may touch.
        steps.obstacles.push(Obstacle::Protected(std::mem::replace(&mut profile.username, account.profile.username.clone())));
    }
    if account.profile != profile {
        steps.changes.push(AccountChange::SetProfile { id: id.clone(), profile });
    }
    let missing: Vec<&String> = wish.groups.difference(&account.groups).collect();
    if can.contains(&Capability::Groups) {
        steps.changes.extend(missing.into_iter().map(|group| AccountChange::Join { id: id.clone(), group: group.clone() }));
    } else if !missing.is_empty() && !stuck {
        steps.obstacles.push(Obstacle::Unsupported(Capability::Groups));
    }
    // Where passwords are none of the system's business people log in by SSO.
    let delivered = wish.delivered.as_ref() == Some(id);
    if wish.password && !adopted && !delivered && can.contains(&Capability::Password) {
        steps.changes.push(AccountChange::IssuePassword { id: id.clone() });
    }
    // Last: who comes back is let in with today's groups only.
    if matches!(account.state, AccountState::Disabled | AccountState::Doubtful) && !stuck {
        if can.contains(&Capability::Disable) {
            steps.changes.push(AccountChange::SetEnabled { id: id.clone(), enabled: true });
        } else {
            steps.obstacles.push(Obstacle::Unsupported(Capability::Disable));
        }
    }
    steps
}

/// Takes an account out of the groups that are usher's to take, but for those that stay. Says whether it is in some that it cannot be taken out of.
fn leave(account: &Account, stay: &BTreeSet<String>, wish: &Wish, can: &BTreeSet<Capability>, steps: &mut Steps) -> bool {
    let ours = |group: &&String| match &wish.managed {
        Managed::Only(groups) => groups.contains(*group),
        Managed::All => true,
    };
    let excess: Vec<&String> = account.groups.difference(stay).filter(ours).collect();
    let stuck = !excess.is_empty() && !can.contains(&Capability::Groups);
    if stuck {
        steps.obstacles.push(Obstacle::Unsupported(Capability::Groups));
    } else {
        steps.changes.extend(excess.into_iter().map(|group| AccountChange::Leave { id: account.id.clone(), group: group.clone() }));
    }
    stuck
}

/// Lock out, make worthless what was issued, take back the invitation, take out of groups, and only then delete.
fn taken(account: &Account, wish: &Wish, can: &BTreeSet<Capability>) -> Steps {
    let mut steps = Steps::default();
    let id = &account.id;
    if account.state == AccountState::Invited {
        steps.changes.push(AccountChange::CancelInvite { id: id.clone() });
        return steps;
    }
    let mut need = |wanted: bool, capability: Capability, change: AccountChange| match (wanted, can.contains(&capability)) {
        (false, _) => {}
        (true, true) => steps.changes.push(change),
        (true, false) => steps.obstacles.push(Obstacle::Unsupported(capability)),
    };
    let open = matches!(account.state, AccountState::Enabled | AccountState::Doubtful);
    need(open, Capability::Disable, AccountChange::SetEnabled { id: id.clone(), enabled: false });
    let revoke = matches!(wish.presence, Presence::Revoked | Presence::Gone);
    need(revoke && account.credentials, Capability::RevokeTokens, AccountChange::RevokeCredentials { id: id.clone() });
    // Where nothing can be revoked that is all that is to be said.
    if revoke && can.contains(&Capability::RevokeTokens) && !can.contains(&Capability::RevokePasskeys) {
        steps.obstacles.push(Obstacle::Unsupported(Capability::RevokePasskeys));
    }
    leave(account, &BTreeSet::new(), wish, can, &mut steps);
    let own = account.owner.as_ref().filter(|owner| owner.adopted && wish.presence == Presence::Revoked && !account.credentials);
    if let Some(owner) = own {
        // Nothing of what its owner had for it is left: whoever comes back needs a password.
        steps.changes.push(AccountChange::Adopt { id: id.clone(), owner: Owner { adopted: false, ..owner.clone() } });
    }
    if wish.presence == Presence::Gone {
        if can.contains(&Capability::Delete) {
            steps.changes.push(AccountChange::Delete { id: id.clone(), owned: wish.owned.clone() });
        } else {
            steps.obstacles.push(Obstacle::Unsupported(Capability::Delete));
        }
    }
    steps
}
