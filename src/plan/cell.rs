//! How one person's account at one Provider stands: what was found and what stands in the way, for everybody who tells of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::departure::{DepartureTarget, Leftover, TargetState};
use crate::api::developer::AccountStatus;
use crate::api::provider::AccountAction;
use crate::api::{ConditionType, Departure, Developer, Mode, Provider, Reason};

use super::account::{Account, AccountState, Capability, Managed, Obstacle, Presence, Steps, Wish, belongs};
use super::developer::{seconds, whole_second};
use super::entitlement::{Desired, entitlements, possible};
use super::finding::Finding;
use super::person::Person;
use super::target::provider_target;
use super::world::World;

/// Why usher leaves something undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// It only looks.
    Observed,
    /// Nothing is added before Locks can be read again.
    LocksUnread,
}

/// What precedes the time of the next try in a message. It moves with each try, and says nothing of what is wrong.
const NEXT_TRY: &str = "; next try at ";

/// A message without what moves while nothing changes.
pub fn lasting(message: &str) -> String {
    let mut parts = message.split(NEXT_TRY);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (_, rest) in parts.filter_map(|part| part.split_once("; ")) {
        text.push_str("; ");
        text.push_str(rest);
    }
    text
}

/// How one person's account at one Provider stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// For her status.
    pub account: AccountStatus,
    /// What she was to have when it was looked at.
    pub wish: Wish,
    /// Why it is not as planned; the message of the account says more.
    pub trouble: Option<Reason>,
    /// What the system cannot do and somebody has to do by hand.
    pub left: Vec<String>,
    /// Whether what was issued may still work.
    pub credentials: bool,
    /// When the account will be deleted.
    pub delete_at: Option<Timestamp>,
    /// When it was last read.
    pub verified_at: Timestamp,
    /// How often it was tried since it last went well.
    pub attempts: i64,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
    /// When she first pushed.
    pub first_push: Option<Timestamp>,
    /// Since when she is to be gone, as far as that was known when it was looked at.
    pub asked_at: Option<Timestamp>,
    /// Whether it is not known yet what other accounts bear her mark.
    pub unsure: bool,
    /// Why something was left undone that usher would do.
    pub undone: Option<Undone>,
}

impl Cell {
    /// Whether it is as it should be.
    pub const fn in_order(&self) -> bool {
        self.trouble.is_none()
    }

    /// Whether she is to have an account that one can log in with.
    pub fn wanted(&self) -> bool {
        self.wish.presence == Presence::Active
    }

    /// Whether it was looked at for the same wish, and the same leaving; what was left undone there is to be done as soon as usher may. Which groups of others are managed besides is seen when everybody is looked at.
    pub fn is_for(&self, desired: &Desired) -> bool {
        let same = Wish { managed: desired.wish.managed.clone(), ..self.wish.clone() } == desired.wish;
        same && self.asked_at == desired.asked_at && (desired.observes || self.undone != Some(Undone::Observed))
    }

    /// Whether it tells of the person who has the name now. One of an earlier person of that name tells nothing.
    pub fn is_of(&self, person: &Person) -> bool {
        self.wish.owner.person == person.as_str()
    }

    /// Whether it tells the same of the same person as another, whenever each was looked at.
    pub fn tells_like(&self, other: &Self) -> bool {
        let same_person = self.wish.owner.person == other.wish.owner.person;
        same_person && Self { verified_at: other.verified_at, wish: other.wish.clone(), ..self.clone() } == *other
    }

    /// The same, with what is left of other accounts that bear her mark.
    #[must_use]
    pub fn with_others(mut self, left: Vec<String>) -> Self {
        if left.is_empty() {
            return self;
        }
        let words: Vec<String> = self.account.message.take().into_iter().chain(left.iter().cloned()).collect();
        self.account.message = Some(words.join("; "));
        self.trouble = self.trouble.or(Some(Reason::Unsupported));
        self.credentials = true;
        self.left.extend(left);
        self
    }
}

/// What is told of an account, with the steps that are left for it; nothing if she has none and is to have none.
pub fn cell(name: &str, desired: &Desired, found: Option<&Account>, left: &Steps, now: Timestamp) -> Option<Cell> {
    let foreign = left.obstacles.iter().find(|obstacle| conflicts(obstacle));
    let hers = found.filter(|account| belongs(account, &desired.wish));
    let wanted = desired.wish.presence == Presence::Active;
    if !wanted && hers.is_none() && desired.recorded.is_none() && !desired.entitled {
        return None;
    }
    let state = match (hers, foreign) {
        (_, Some(_)) => "Conflict",
        (None, None) if wanted => "Pending",
        (None, None) => "Absent",
        (Some(account), None) => match account.state {
            AccountState::Enabled | AccountState::Doubtful => "Active",
            AccountState::Disabled => "Disabled",
            AccountState::Invited => "Invited",
        },
    };
    let words: Vec<String> = left.obstacles.iter().map(ToString::to_string).collect();
    let trouble = left.obstacles.first().map(|obstacle| if conflicts(obstacle) { Reason::Conflict } else { Reason::Unsupported });
    let groups = hers.map(|account| account.groups.intersection(&desired.wish.groups).count());
    let given = hers.map(|account| account.groups.iter().filter(|group| ours(group, desired)).cloned().collect());
    let adopted = hers.is_some_and(|account| desired.adopted || account.owner.as_ref().is_some_and(|owner| owner.adopted));
    Some(Cell {
        account: AccountStatus {
            provider: name.to_owned(),
            id: hers.map(|account| account.id.clone()),
            username: Some(hers.map_or_else(|| desired.wish.profile.username.clone(), |account| account.profile.username.clone())),
            state: state.to_owned(),
            groups: groups.map(|groups| i64::try_from(groups).unwrap_or(i64::MAX)),
            given_groups: given.unwrap_or_default(),
            adopted,
            epoch: desired.epoch.clone(),
            message: (!words.is_empty()).then(|| words.join("; ")),
        },
        wish: desired.wish.clone(),
        trouble,
        left: words,
        credentials: hers.is_some_and(|account| account.credentials),
        delete_at: desired.delete_at.filter(|_| hers.is_some()),
        verified_at: now,
        attempts: 0,
        next_try: None,
        first_push: None,
        asked_at: desired.asked_at,
        unsure: false,
        undone: None,
    })
}

/// Whether a group of an account was given by usher, as far as that is known.
fn ours(group: &String, desired: &Desired) -> bool {
    desired.wish.groups.contains(group) || matches!(&desired.wish.managed, Managed::Only(groups) if groups.contains(group))
}

/// Whether somebody else's account is in the way.
pub const fn conflicts(obstacle: &Obstacle) -> bool {
    !matches!(obstacle, Obstacle::Unsupported(_))
}

/// What is told of an account that could not be brought about, as it stood before.
pub fn troubled(name: &str, desired: &Desired, before: Option<&Cell>, (reason, message): (Reason, String), now: Timestamp) -> Cell {
    let state = match (reason, before) {
        (Reason::Conflict, _) => "Conflict",
        (Reason::Braked, Some(before)) => before.account.state.as_str(),
        (Reason::Paused, None) => "Pending",
        (_, Some(before)) if !matches!(before.account.state.as_str(), "Pending" | "Failed") => before.account.state.as_str(),
        _ => "Failed",
    };
    Cell {
        account: AccountStatus {
            provider: name.to_owned(),
            id: before.and_then(|before| before.account.id.clone()).or_else(|| desired.recorded.clone()),
            username: Some(desired.wish.profile.username.clone()),
            state: state.to_owned(),
            groups: before.and_then(|before| before.account.groups),
            // What status tells is all that tells of it after a start.
            given_groups: before.map_or_else(|| desired.given.clone(), |before| before.account.given_groups.clone()),
            adopted: desired.adopted,
            epoch: desired.epoch.clone(),
            message: Some(message),
        },
        wish: desired.wish.clone(),
        trouble: Some(reason),
        left: Vec::new(),
        credentials: before.is_some_and(|before| before.credentials),
        delete_at: desired.delete_at,
        verified_at: before.map_or(now, |before| before.verified_at),
        attempts: before.map_or(0, |before| before.attempts) + 1,
        next_try: None,
        first_push: before.and_then(|before| before.first_push),
        asked_at: desired.asked_at,
        unsure: false,
        undone: None,
    }
}

/// What is told of an account while too many would lose something at once.
pub fn braked(name: &str, desired: &Desired, before: Option<&Cell>, now: Timestamp) -> Cell {
    let words = "too many accounts would lose something at once; see kubectl get uprov";
    troubled(name, desired, before, (Reason::Braked, words.to_owned()), now)
}

/// What keeps a Developer from being Ready.
pub fn finding(cell: &Cell) -> Option<Finding> {
    let reason = cell.trouble?;
    let message = cell.account.message.clone().unwrap_or_default();
    let next = cell.next_try.map(|at| format!("{NEXT_TRY}{}", seconds(at))).unwrap_or_default();
    let provider = &cell.account.provider;
    let text = format!("uprov/{provider}: {message}{next}");
    Some(Finding::new(ConditionType::AccountsSynced, reason, text).at(provider_target(provider)))
}

/// The line of a receipt.
pub fn target(provider: Option<&Provider>, cell: &Cell, previous: Option<&DepartureTarget>) -> DepartureTarget {
    let state = target_state(provider, cell);
    let done = matches!(state, TargetState::Gone | TargetState::Disabled | TargetState::Retained);
    let same = previous.filter(|previous| previous.state == state);
    let verified = same.and_then(|previous| previous.verified_at.clone()).or_else(|| Some(whole_second(cell.verified_at)));
    DepartureTarget {
        target: provider_target(&cell.account.provider),
        cluster: None,
        state,
        id: cell.account.id.clone().or_else(|| previous.and_then(|previous| previous.id.clone())),
        username: cell.account.username.clone(),
        verified_at: verified.filter(|_| done),
        delete_at: cell.delete_at.filter(|_| state != TargetState::Gone).map(whole_second),
        credentials: Some(credentials(cell).to_owned()),
        attempts: (cell.attempts > 0).then_some(cell.attempts),
        last_error: cell.account.message.clone().filter(|_| !done),
        next_try_at: cell.next_try.filter(|_| !done).map(whole_second),
    }
}

/// Whether what was issued is worthless.
fn credentials(cell: &Cell) -> &'static str {
    let cannot = [Capability::RevokeTokens, Capability::RevokePasskeys].map(|lack| Obstacle::Unsupported(lack).to_string());
    if cell.left.iter().any(|left| cannot.iter().any(|words| left.ends_with(words))) {
        "Cannot"
    } else if cell.credentials {
        "Pending"
    } else {
        "Revoked"
    }
}

fn target_state(provider: Option<&Provider>, cell: &Cell) -> TargetState {
    match cell.trouble {
        Some(Reason::Unreachable | Reason::RateLimited | Reason::Quarantined | Reason::Unauthorized | Reason::SecretNotFound) => {
            return TargetState::Unreachable;
        }
        Some(_) => return TargetState::Failed,
        None => {}
    }
    // Where usher only looks somebody else has to do it, or to say that it need not be done.
    if cell.account.state == "Active" && provider.is_some_and(|provider| provider.spec.mode == Mode::Observe) {
        return TargetState::Failed;
    }
    let retained = provider.is_some_and(|provider| provider.spec.on_departure.action == AccountAction::Retain);
    match cell.account.state.as_str() {
        // Another account that bears her mark may be open.
        _ if cell.unsure => TargetState::Pending,
        "Absent" => TargetState::Gone,
        "Disabled" if cell.credentials => TargetState::Pending,
        "Disabled" if retained => TargetState::Retained,
        "Disabled" => TargetState::Disabled,
        _ => TargetState::Pending,
    }
}

/// What could not be removed at a Provider, for the receipt.
pub fn leftovers(provider: Option<&Provider>, cell: &Cell) -> Vec<Leftover> {
    let account = cell.account.username.clone().unwrap_or_default();
    let told = |reason: &String| Leftover {
        target: provider_target(&cell.account.provider),
        object: format!("account {account} at uprov/{}", cell.account.provider),
        reason: reason.clone(),
    };
    let observed = provider.is_some_and(|provider| provider.spec.mode == Mode::Observe);
    let refused = matches!(cell.trouble, Some(Reason::OwnsObjects | Reason::ChangeRejected)) || observed && cell.trouble.is_none();
    let refusal = cell.account.message.iter().filter(|_| refused && cell.left.is_empty());
    cell.left.iter().chain(refusal).map(told).collect()
}

/// Somebody's accounts, as her status tells of them.
#[derive(Clone, Debug, Default)]
pub struct ToldAccounts {
    /// Each of them.
    pub list: Vec<AccountStatus>,
    /// How many she is to have.
    pub wanted: usize,
    /// How many of those are in order.
    pub good: usize,
    /// The Providers at which she has, or may have, an account.
    pub possible: BTreeSet<String>,
    /// When she first pushed.
    pub first_push: Option<Timestamp>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

impl ToldAccounts {
    /// In order, of those wanted.
    pub fn summary(&self) -> String {
        if self.wanted == 0 { String::new() } else { format!("{}/{}", self.good, self.wanted) }
    }
}

/// What is told of somebody's accounts. One that was not looked at since the start stays as it was told: a restart changes nothing.
pub fn told_accounts(world: &World, developer: &Developer, cells: Vec<Cell>, now: Timestamp) -> ToldAccounts {
    let mut told = ToldAccounts { possible: possible(world, developer, now), ..ToldAccounts::default() };
    let before: BTreeMap<&str, &AccountStatus> =
        developer.status.iter().flat_map(|status| &status.accounts).map(|account| (account.provider.as_str(), account)).collect();
    let wanted = entitlements(world, developer, now);
    let own = Person::own(developer);
    let cells = cells.into_iter().filter(|cell| cell.is_of(&own));
    let mut cells: BTreeMap<String, Cell> = cells.map(|cell| (cell.account.provider.clone(), cell)).collect();
    let (mut unseen, before_start) = (false, told_before(developer));
    let failed: BTreeSet<&String> = developer.status.iter().flat_map(|status| &status.failing).map(|it| &it.target).collect();
    let mut still = BTreeSet::new();
    let in_trouble = |name: &str| before_start.as_ref().is_some_and(|finding| finding.message.contains(&format!("uprov/{name}: ")));
    for (name, _) in world.live_providers() {
        let wants = wanted.contains_key(name);
        told.wanted += usize::from(wants);
        let (account, good) = match (cells.remove(name), before.get(name.as_str())) {
            (Some(cell), _) => {
                told.first_push = told.first_push.or(cell.first_push);
                let trouble = finding(&cell);
                // What is to be changed is on its way.
                let stale = wants != cell.wanted() && trouble.is_none();
                let good = cell.in_order() && !stale && cell.account.state == "Active";
                told.findings.extend(trouble);
                if stale || wants && cell.in_order() && cell.account.state == "Pending" {
                    told.findings.extend(under_way(name, cell.account.message.as_deref()));
                }
                (cell.account, good)
            }
            // Without an account, and without a Role that gives her one, there is nothing to tell any more.
            (None, Some(before)) if !wants && before.id.is_none() && !told.possible.contains(name) => continue,
            (None, Some(before)) => {
                unseen = unseen || wants;
                still.extend(Some(provider_target(name)).filter(|target| failed.contains(target)));
                ((*before).clone(), before.state == "Active" && !in_trouble(name))
            }
            (None, None) if wants => {
                told.findings.extend(under_way(name, None));
                (AccountStatus { provider: name.clone(), state: "Pending".to_owned(), ..AccountStatus::default() }, false)
            }
            (None, None) => continue,
        };
        told.good += usize::from(wants && good);
        told.possible.extend((account.state != "Conflict").then(|| name.clone()));
        told.list.push(account);
    }
    if let Some(before) = before_start.filter(|_| unseen) {
        told.findings.retain(|finding| !before.message.contains(&finding.message));
        told.findings.push(before.at_all(still));
    }
    told
}

/// What was told to be wrong before the start.
fn told_before(developer: &Developer) -> Option<Finding> {
    let kind = ConditionType::AccountsSynced;
    let mut conditions = developer.status.iter().flat_map(|status| &status.conditions);
    let condition = conditions.find(|condition| condition.type_ == kind.to_string() && condition.status == "False")?;
    let reason = serde_json::from_value(condition.reason.clone().into()).ok()?;
    Some(Finding::new(kind, reason, condition.message.clone()))
}

/// What is only observed stays as it is.
fn under_way(provider: &str, message: Option<&str>) -> Option<Finding> {
    let text = format!("the account at uprov/{provider} is being brought about");
    message.is_none().then(|| Finding::new(ConditionType::AccountsSynced, Reason::Progressing, text).at(provider_target(provider)))
}

/// Whether a receipt tells of every account that somebody has or may have: only then may her Developer go.
pub fn tells_of_accounts(receipt: &Departure, accounts: &ToldAccounts) -> bool {
    let told: BTreeSet<&str> = receipt.status.iter().flat_map(|status| &status.targets).map(|target| target.target.as_str()).collect();
    accounts.possible.iter().all(|provider| told.contains(provider_target(provider).as_str()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::account::{AccountKey, Adoption, Owned, Owner, Profile};
    use super::super::failing;
    use super::*;
    use crate::api::{DepartureSpec, DeveloperSpec};

    fn desired(person: &str, presence: Presence) -> Desired {
        let owner = Owner { installation: "here".to_owned(), person: person.to_owned(), developer: "ada".to_owned(), adopted: false };
        let wish = Wish {
            presence,
            profile: Profile { username: "ada".to_owned(), ..Profile::default() },
            owner,
            groups: BTreeSet::new(),
            managed: Managed::All,
            adoption: Adoption::Never,
            heir: false,
            password: false,
            delivered: None,
            owned: Owned::Keep,
            protected: BTreeSet::new(),
        };
        Desired {
            key: AccountKey::default(),
            wish,
            named: false,
            written: false,
            entitled: true,
            delete_at: None,
            held: false,
            recorded: Some("17".to_owned()),
            pinned: None,
            adopted: false,
            given: BTreeSet::from(["developers".to_owned()]),
            epoch: None,
            observes: false,
            asked_at: None,
        }
    }

    fn seen(desired: &Desired) -> Cell {
        let owner = Some(desired.wish.owner.clone());
        let account = Account { id: "17".to_owned(), profile: desired.wish.profile.clone(), owner, ..Account::default() };
        cell("forge", desired, Some(&account), &Steps::default(), Timestamp::UNIX_EPOCH).expect("a cell")
    }

    #[test]
    fn what_status_says_she_was_given_outlasts_a_start_while_the_system_is_down() {
        let down = (Reason::Unreachable, "it does not answer".to_owned());
        let told = troubled("forge", &desired("uid-1", Presence::Active), None, down, Timestamp::UNIX_EPOCH);
        assert_eq!(told.account.given_groups, BTreeSet::from(["developers".to_owned()]), "else a Role that is narrowed takes nothing");
        assert_eq!(told.account.id.as_deref(), Some("17"));
    }

    #[test]
    fn a_stranger_is_told_nothing_of_who_had_the_name() {
        let (mut world, mut developer) = (World::default(), Developer::new("ada", DeveloperSpec::default()));
        developer.metadata.uid = Some("2".to_owned());
        let spec = serde_json::json!({"scim": {"url": "https://chat.example.com", "credentialsSecret": {"name": "chat", "key": "token"}}});
        let provider = Provider::new("forge", serde_json::from_value(spec).expect("a spec"));
        world.set_provider("forge", Some(Arc::new(provider)));
        let earlier = seen(&desired("uid-of-another", Presence::Active));
        let told = told_accounts(&world, &developer, vec![earlier.clone()], Timestamp::UNIX_EPOCH);
        assert!(told.list.is_empty(), "{:?}", told.list);
        let own = seen(&desired(Person::own(&developer).as_str(), Presence::Active));
        assert!(!own.tells_like(&earlier), "it has to be told whose it is");
        assert_eq!(told_accounts(&world, &developer, vec![own], Timestamp::UNIX_EPOCH).list.len(), 1);
    }

    #[test]
    fn what_was_told_before_a_start_stays_told_until_it_was_looked_at() {
        let mut world = World::default();
        let role = serde_json::json!({"accounts": [{"provider": "forge", "groups": []}]});
        world.set_role("r", Some(Arc::new(crate::api::Role::new("r", serde_json::from_value(role).expect("a spec")))));
        let binding = serde_json::json!({"role": "r", "developers": ["ada"]});
        world.set_binding("b", Some(Arc::new(crate::api::Binding::new("b", serde_json::from_value(binding).expect("a spec")))));
        let spec = serde_json::json!({"scim": {"url": "https://chat.example.com", "credentialsSecret": {"name": "chat", "key": "token"}}});
        world.set_provider("forge", Some(Arc::new(Provider::new("forge", serde_json::from_value(spec).expect("a spec")))));
        let mut developer = Developer::new("ada", DeveloperSpec::default());
        developer.metadata.uid = Some("1".to_owned());
        let wish = desired(Person::own(&developer).as_str(), Presence::Active);
        for cell in [seen(&wish), braked("forge", &wish, Some(&seen(&wish)), Timestamp::UNIX_EPOCH)] {
            let before = told_accounts(&world, &developer, vec![cell], Timestamp::UNIX_EPOCH);
            let condition = |finding: &Finding| {
                serde_json::json!({
                    "type": "AccountsSynced", "status": "False", "reason": finding.reason.as_str(), "message": finding.message,
                    "lastTransitionTime": Timestamp::UNIX_EPOCH,
                })
            };
            let failing = failing::failing(&[], &before.findings, None, Timestamp::UNIX_EPOCH);
            let conditions: Vec<_> = before.findings.iter().map(condition).collect();
            let status = serde_json::json!({"accounts": before.list, "conditions": conditions, "failing": failing});
            developer.status = Some(serde_json::from_value(status).expect("a status"));
            let after = told_accounts(&world, &developer, Vec::new(), Timestamp::UNIX_EPOCH);
            assert_eq!((after.summary(), &after.list), (before.summary(), &before.list));
            assert_eq!(format!("{:?}", after.findings), format!("{:?}", before.findings));
        }
    }

    #[test]
    fn a_receipt_counts_only_what_was_seen_since_she_left() {
        let at = Timestamp::UNIX_EPOCH;
        let left = crate::api::grant::GrantedDeveloper { name: "ada".to_owned(), uid: "1".to_owned(), person_id: None };
        let spec = DepartureSpec { requested_by: "bob".to_owned(), requested_at: whole_second(at), developer: left };
        let departure = Departure::new("ada-1", spec);
        let suspended = seen(&desired("uid-1", Presence::LockedOut));
        let accounts = super::super::receipt::accounts(&World::default(), &departure, std::slice::from_ref(&suspended));
        assert!(accounts.targets.is_empty(), "that she was locked out for a while is no proof that she is for good: {accounts:?}");
        let left = seen(&Desired { asked_at: Some(at), ..desired("uid-1", Presence::Revoked) });
        let accounts = super::super::receipt::accounts(&World::default(), &departure, std::slice::from_ref(&left));
        assert!(accounts.targets.iter().all(|target| target.state == TargetState::Disabled) && accounts.targets.len() == 1, "{accounts:?}");
        let others = left.with_others(vec!["account old bears her mark, too".to_owned()]);
        let accounts = super::super::receipt::accounts(&World::default(), &departure, &[others]);
        assert!(accounts.targets.iter().all(|target| target.state == TargetState::Failed) && accounts.leftovers.len() == 1, "{accounts:?}");
    }

    #[test]
    fn what_was_left_undone_by_observing_is_done_as_soon_as_usher_may() {
        let enforced = desired("uid-1", Presence::Active);
        let observing = Desired { observes: true, ..enforced.clone() };
        let undone = Cell { undone: Some(Undone::Observed), ..seen(&observing) };
        assert!(undone.is_for(&observing) && !undone.is_for(&enforced));
        assert!(seen(&observing).is_for(&enforced), "there was nothing to do");
    }
}
