//! A look at everybody: one list instead of one question a person, so that its cost is bounded by pages. What is not as it should be goes to be settled.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::provider::{AccountCounts, OrphanedAccount};
use crate::api::{Mode, Reason};
use crate::connectors::error::ConnectorError;
use crate::plan::account::{Account, AccountChange, AccountState, Capability, Owner, Presence, Steps, belongs, steps};
use crate::plan::cell::{self, Cell};
use crate::plan::entitlement::{and_given, concerned, debts, entitlements, managed_of_all, owes};
use crate::plan::foresight::foreseen;
use crate::plan::name::fraction;
use crate::plan::person::Person;
use crate::plan::provider::{Call, told_already, told_in_receipt};
use crate::plan::recognition::{mistaken, recognized};

use super::super::context::Context;
use super::super::queue::Lane;
use super::desk::Desk;
use super::hand::observed;
use super::link::Link;
use super::settle::{Case, case, kept, stands, whole};
use super::{RECEIPT, of_receipt, others, pushes};

/// At most so many accounts that are nobody's are named.
const MOST: usize = 10;

/// Looks at everybody once.
pub(super) async fn sweep(context: Arc<Context>, desk: Arc<Desk>) {
    let Some(link) = desk.link() else { return };
    let Some((groups, every)) = context.memory.read(|content, _| {
        let (name, provider) = content.world.live_providers().find(|(name, _)| *name == desk.name())?;
        Some((managed_of_all(&content.world, name, provider), provider.spec.verify_every.duration()))
    }) else {
        return;
    };
    if !link.can.contains(&Capability::List) {
        return one_by_one(&context, &desk, Duration::try_from(every).unwrap_or_default());
    }
    let (began, asked) = (context.now(), desk.moment());
    let answer = link.connector.list(&and_given(groups, &desk.given())).await;
    if !desk.uses(&link) {
        // Of another system, or by credentials of the past.
        return desk.sweep_again();
    }
    match answer {
        Ok(accounts) => {
            desk.answers(&context, Call::List, asked);
            look(&context, &desk, &link, &Listed::of(accounts), began);
        }
        Err(error) => {
            desk.fails(&context, Call::List, &error, asked);
            silent(&context, &desk, &link, &error).await;
            if !desk.swept() {
                // Nobody was looked at yet: they wait, and it is told.
                people(&context, &desk).iter().for_each(|who| desk.push(who, Lane::New));
            }
        }
    }
}

/// Whether it is only the list that a system does not give is asked at once: who waits for a single account need not wait for that.
async fn silent(context: &Context, desk: &Desk, link: &Link, error: &ConnectorError) {
    if matches!(error, ConnectorError::RateLimited { .. }) {
        return;
    }
    let asked = desk.moment();
    if let Err(error) = link.connector.probe().await
        && desk.uses(link)
    {
        desk.fails(context, Call::Probe, &error, asked);
    }
}

/// Where a system cannot list, each account is looked at, spread over the time until the next look. Only who has none is not kept waiting.
fn one_by_one(context: &Context, desk: &Desk, every: Duration) {
    desk.counted(None);
    desk.knows_who_waits();
    let now = context.now();
    for who in people(context, desk) {
        let known = desk.cell(&who).is_some() || told(context, desk, &who, now);
        if known {
            desk.push_after(&who, Lane::Sweep, every.mul_f64(fraction(&who)));
        } else {
            desk.push(&who, Lane::New);
        }
    }
}

/// Whether it was told before a start that somebody's account is as it should be.
fn told(context: &Context, desk: &Desk, who: &str, now: Timestamp) -> bool {
    context.memory.read(|content, _| match who.strip_prefix(RECEIPT) {
        Some(name) => content.world.departures().get(name).is_some_and(|departure| told_in_receipt(departure, desk.name())),
        None => content.world.developer(who).is_some_and(|developer| {
            let wanted = entitlements(&content.world, developer, now).contains_key(desk.name());
            told_already(developer, desk.name(), wanted, Reason::Unreachable)
        }),
    })
}

fn people(context: &Context, desk: &Desk) -> BTreeSet<String> {
    let now = context.now();
    let mut people: BTreeSet<String> = desk.known().into_iter().collect();
    context.memory.read(|content, _| {
        people.extend(concerned(&content.world, desk.name(), now));
        people.extend(debts(&content.world, desk.name()).iter().map(|departure| of_receipt(departure)));
    });
    people
}

/// A list, by all that an account may be found by.
struct Listed {
    accounts: Vec<Account>,
    by_id: HashMap<String, usize>,
    by_person: HashMap<(String, String), Vec<usize>>,
    by_username: HashMap<String, usize>,
    by_email: HashMap<String, usize>,
}

impl Listed {
    fn of(accounts: Vec<Account>) -> Self {
        let all = || accounts.iter().enumerate();
        let mut by_person: HashMap<(String, String), Vec<usize>> = HashMap::new();
        for (at, owner) in all().filter_map(|(at, it)| Some((at, it.owner.as_ref()?))) {
            by_person.entry((owner.installation.clone(), owner.person.clone())).or_default().push(at);
        }
        // Which of several with one address is meant nobody can tell.
        let mut by_email: HashMap<String, Option<usize>> = HashMap::new();
        for (at, it) in all() {
            by_email.entry(it.profile.email.to_lowercase()).and_modify(|at| *at = None).or_insert(Some(at));
        }
        Self {
            by_id: all().map(|(at, it)| (it.id.clone(), at)).collect(),
            by_person,
            by_username: all().map(|(at, it)| (it.profile.username.clone(), at)).collect(),
            by_email: by_email.into_iter().filter_map(|(email, at)| Some((email, at?))).collect(),
            accounts,
        }
    }

    /// The account of somebody: by id, by her mark, by login, by e-mail address.
    fn find(&self, case: &Case, marks: bool) -> Option<&Account> {
        let (key, wish) = (&case.desired.key, &case.desired.wish);
        let by_id = key.id.as_ref().and_then(|id| self.by_id.get(id));
        let by_id = by_id.filter(|at| self.accounts.get(**at).is_some_and(|account| !mistaken(&case.desired, account, marks)));
        let by_mark = || self.by_person.get(&(wish.owner.installation.clone(), wish.owner.person.clone()))?.first();
        let by_name = || self.by_username.get(&wish.profile.username);
        let by_email = || key.email.as_ref().and_then(|email| self.by_email.get(&email.to_lowercase()));
        self.accounts.get(*by_id.or_else(by_mark).or_else(by_name).or_else(by_email)?)
    }

    /// The accounts that bear somebody's mark besides her own.
    fn others<'a>(&'a self, case: &Case, own: Option<&'a Account>) -> impl Iterator<Item = &'a Account> {
        let owner = &case.desired.wish.owner;
        let marked = self.by_person.get(&(owner.installation.clone(), owner.person.clone()));
        let marked = marked.into_iter().flatten().filter_map(|at| self.accounts.get(*at));
        marked.filter(move |account| own.is_none_or(|own| own.id != account.id))
    }
}

/// Compares everybody with the list; who is not as she should be goes to be settled.
fn look(context: &Arc<Context>, desk: &Desk, link: &Link, listed: &Listed, began: Timestamp) {
    desk.counted(None);
    let now = context.now();
    let marks = link.can.contains(&Capability::Mark);
    let mut people = people(context, desk);
    people.extend(left_behind(context, listed));
    let mut counts = AccountCounts::default();
    let (mut known, mut losing) = (HashSet::new(), Vec::new());
    for who in people {
        let Some(mut case) = case(context, desk, &who) else {
            desk.keep(context, &who, None, false);
            continue;
        };
        // What is told is for what was asked for: another look compares it with that.
        let asked = case.desired.clone();
        case.desired = kept(link.connector.as_ref(), case.desired);
        let found = listed.find(&case, marks).cloned();
        let mut desired = std::mem::replace(&mut case.desired, asked);
        let found = found.map(|account| vouched(account, desk.cell(&who).as_ref(), &case));
        let found = recognized(&mut desired, found, marks);
        if let Some(account) = found.as_ref().filter(|account| desired.key.id.is_none() && marked(account, &case)) {
            desk.about(|known| known.set_id(&case.desired.wish.owner.person, Some(&account.id)));
        }
        let others: Vec<&Account> = listed.others(&case, found.as_ref()).collect();
        let ids = others.iter().map(|account| account.id.clone()).collect();
        desk.about(|known| known.add_others(&case.desired.wish.owner.person, ids));
        known.extend(found.iter().map(|account| account.id.clone()));
        let next = steps(found.as_ref(), &desired.wish, &link.can);
        let told = cell::cell(desk.name(), &case.desired, found.as_ref(), &next, now);
        desk.seen(&who, told.as_ref());
        // Who was looked at since the list was begun is better known than the list knows her.
        let open = others::concern(&case) && others.iter().any(|it| steps(Some(it), &desired.wish, &link.can) != Steps::default());
        let unsure = desk.cell(&who).is_some_and(|cell| cell.unsure);
        if !open
            && !unsure
            && desk
                .cell_of(&who, &case.desired)
                .is_some_and(|cell| cell.verified_at > began && cell.in_order() && cell.is_for(&case.desired))
        {
            continue;
        }
        if case.provider.spec.mode == Mode::Observe && !open {
            let would = foreseen(found.as_ref(), &desired.wish, &link.can);
            desk.keep(context, &who, told.map(|cell| observed(cell, &would)), false);
        } else if next.changes.is_empty() && !open {
            // What stands in the way the list tells as well as a look at her.
            desk.confirm(context, &who, told);
            pushes::expect(context, desk, link, &who, &case);
        } else if open || !waits(desk, &who, &case, &next, now) {
            match next.changes.into_iter().find(|change| change.removes() && !case.desired.named) {
                Some(change) => losing.push(Losing { who, case, change, told }),
                None => desk.push(&who, lane(&case, found.as_ref())),
            }
        }
    }
    brake(context, desk, link, losing, began);
    let mut orphans = orphans(context, listed, &known);
    counts.orphans = i64::try_from(orphans.len()).unwrap_or(i64::MAX);
    orphans.sort();
    orphans.truncate(MOST);
    counts.unmanaged = i64::try_from(listed.accounts.iter().filter(|account| account.owner.is_none()).count()).unwrap_or(i64::MAX);
    desk.counted(Some((counts, orphans)));
    context.queues.providers.push(desk.name(), Lane::Sweep);
}

/// Somebody who would lose something because of an edit, as a list tells.
struct Losing {
    who: String,
    case: Case,
    change: AccountChange,
    told: Option<Cell>,
}

/// If too many would lose something they wait for a word. A list tells that as well as a look at each of them, which a start would ask for otherwise.
fn brake(context: &Context, desk: &Desk, link: &Link, losing: Vec<Losing>, began: Timestamp) {
    let (epoch, now) = (context.epoch(), context.now());
    for Losing { who, case, change, told } in losing {
        let seen_since = desk.cell(&who).is_some_and(|cell| cell.verified_at > began);
        let whole = whole(epoch.as_deref(), case.desired.epoch.as_deref());
        let holds = !seen_since && whole && stands(context, desk, link, &who, &case, &change);
        if holds && !desk.admits(&case.provider, &who, now) {
            desk.keep(context, &who, Some(cell::braked(desk.name(), &case.desired, told.as_ref(), now)), true);
        } else {
            desk.push(&who, Lane::Drift);
        }
    }
    desk.knows_who_waits();
}

/// Whether an account bears somebody's mark, by the name that she has: it is hers whatever it is called at the system.
fn marked(account: &Account, case: &Case) -> bool {
    let wish = &case.desired.wish;
    belongs(account, wish) && account.owner.as_ref().is_some_and(|owner| owner.developer == wish.owner.developer)
}

/// Whether somebody waits for a word, or for her own time to be tried again: looking at her now changes nothing.
fn waits(desk: &Desk, who: &str, case: &Case, next: &Steps, now: Timestamp) -> bool {
    let Some(cell) = desk.cell(who).filter(|cell| cell.is_for(&case.desired)) else { return false };
    let braked = cell.trouble == Some(Reason::Braked) && next.changes.iter().any(AccountChange::removes);
    braked || cell.trouble.is_some() && cell.next_try.is_some_and(|at| at > now)
}

/// An account with what is known better than a list knows it: who is locked out gets nothing issued any more, so what a look told of that stands.
fn vouched(mut account: Account, cell: Option<&Cell>, case: &Case) -> Account {
    let out = account.state == AccountState::Disabled && case.desired.wish.presence != Presence::Active;
    let told = |cell: &Cell| cell.in_order() && cell.is_for(&case.desired) && cell.account.state == "Disabled" && !cell.credentials;
    account.credentials &= !(out && cell.is_some_and(told));
    account
}

/// Who can still log in, or has something that may still work, is more urgent than who is only to lose what is of no use to her.
fn lane(case: &Case, found: Option<&Account>) -> Lane {
    let works = found.is_some_and(|account| account.state != AccountState::Disabled || account.credentials);
    if case.desired.named && works { Lane::Departure } else { Lane::Drift }
}

/// People who left and whose mark is still on an account, whatever their receipts tell.
fn left_behind(context: &Context, listed: &Listed) -> Vec<String> {
    context.memory.read(|content, scene| {
        let gone = content.world.departures().all().filter(|(_, departure)| owes(&content.world, departure));
        let marked = gone.filter(|(_, departure)| {
            let left = &departure.spec.developer;
            let person = Person::of(left.person_id.as_deref(), &left.uid);
            listed.by_person.contains_key(&(scene.settings.installation.clone(), person.as_str().to_owned()))
        });
        marked.map(|(name, _)| of_receipt(name)).collect()
    })
}

/// Accounts that this installation made for people whom nobody declared and who never left, or who have another account by now.
fn orphans(context: &Context, listed: &Listed, known: &HashSet<String>) -> Vec<OrphanedAccount> {
    context.memory.read(|content, scene| {
        let here: BTreeSet<String> = content.world.developers().map(|(_, developer)| Person::own(developer).as_str().to_owned()).collect();
        let left: BTreeSet<String> = content
            .world
            .departures()
            .all()
            .map(|(_, departure)| &departure.spec.developer)
            .map(|left| Person::of(left.person_id.as_deref(), &left.uid).as_str().to_owned())
            .collect();
        let ours = listed.accounts.iter().filter_map(|account| Some((account, account.owner.as_ref()?)));
        let ours = ours.filter(|(account, owner)| owner.installation == scene.settings.installation && !known.contains(&account.id));
        let found = listed.accounts.iter().filter(|account| known.contains(&account.id));
        let people: BTreeSet<&String> = found.filter_map(|account| account.owner.as_ref()).map(|owner| &owner.person).collect();
        let orphan = |(account, owner): (&Account, &Owner)| {
            let why = if people.contains(&owner.person) {
                format!("dev/{} has another account now", owner.developer)
            } else if here.contains(&owner.person) {
                format!("no Role gives dev/{} an account here", owner.developer)
            } else if left.contains(&owner.person) {
                return None;
            } else {
                format!("dev/{} does not exist, or is another person", owner.developer)
            };
            let (username, id) = (account.profile.username.clone(), account.id.clone());
            Some(OrphanedAccount { username, id, developer: owner.developer.clone(), why })
        };
        ours.filter_map(orphan).collect()
    })
}
