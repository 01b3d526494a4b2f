//! A look at everybody: one list instead of one question a person, so that its cost is bounded by pages. What is not as it should be goes to be settled.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::api::Mode;
use crate::api::provider::AccountCounts;
use crate::plan::account::{Account, Capability, Presence, steps};
use crate::plan::cell;
use crate::plan::departures::lasts;
use crate::plan::entitlement::{concerned, debts, managed};
use crate::plan::name::fraction;
use crate::plan::person::Person;

use super::super::context::Context;
use super::super::queue::Lane;
use super::desk::{Desk, Link};
use super::of_receipt;
use super::settle::{Case, case, kept, observed, owned};

/// Looks at everybody once.
pub(super) async fn sweep(context: Arc<Context>, desk: Arc<Desk>) {
    let Some(link) = desk.link() else { return };
    let Some((groups, every)) = context.memory.read(|content, _| {
        let (name, provider) = content.world.live_providers().find(|(name, _)| *name == desk.name())?;
        Some((managed(&content.world, name, provider), provider.spec.verify_every.duration()))
    }) else {
        return;
    };
    if !link.can.contains(&Capability::List) {
        return one_by_one(&context, &desk, Duration::try_from(every).unwrap_or_default());
    }
    match link.connector.list(&groups).await {
        Ok(accounts) => {
            desk.answers(&context);
            look(&context, &desk, &link, &Listed::of(accounts));
        }
        Err(error) => desk.fails(&context, &error),
    }
}

/// Where a system cannot list, each account is looked at, spread over the time until the next look.
fn one_by_one(context: &Context, desk: &Desk, every: Duration) {
    let first = !desk.swept();
    desk.counted(None);
    for who in people(context, desk) {
        if first {
            desk.push(&who, Lane::New);
        } else {
            desk.push_after(&who, Lane::Sweep, every.mul_f64(fraction(&who)));
        }
    }
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
    by_person: HashMap<(String, String), usize>,
    by_username: HashMap<String, usize>,
    by_email: HashMap<String, usize>,
}

impl Listed {
    fn of(accounts: Vec<Account>) -> Self {
        let all = || accounts.iter().enumerate();
        let by_person =
            all().filter_map(|(at, it)| it.owner.as_ref().map(|owner| ((owner.installation.clone(), owner.person.clone()), at)));
        Self {
            by_id: all().map(|(at, it)| (it.id.clone(), at)).collect(),
            by_person: by_person.collect(),
            by_username: all().map(|(at, it)| (it.profile.username.clone(), at)).collect(),
            by_email: all().map(|(at, it)| (it.profile.email.to_lowercase(), at)).collect(),
            accounts,
        }
    }

    /// The account of somebody: by id, by her mark, by login, by e-mail address.
    fn find(&self, case: &Case) -> Option<&Account> {
        let (key, wish) = (&case.desired.key, &case.desired.wish);
        let by_id = key.id.as_ref().and_then(|id| self.by_id.get(id));
        let by_mark = || self.by_person.get(&(wish.owner.installation.clone(), wish.owner.person.clone()));
        let by_name = || self.by_username.get(&wish.profile.username);
        let by_email = || key.email.as_ref().and_then(|email| self.by_email.get(&email.to_lowercase()));
        self.accounts.get(*by_id.or_else(by_mark).or_else(by_name).or_else(by_email)?)
    }
}

/// Compares everybody with the list; who is not as she should be goes to be settled.
fn look(context: &Arc<Context>, desk: &Desk, link: &Link, listed: &Listed) {
    desk.counted(None);
    let now = context.now();
    let mut people = people(context, desk);
    people.extend(left_behind(context, listed));
    let mut counts = AccountCounts::default();
    for who in people {
        let Some(mut case) = case(context, desk, &who) else {
            desk.keep(context, &who, None, false);
            continue;
        };
        case.desired = kept(link.connector.as_ref(), case.desired);
        let found = owned(listed.find(&case).cloned(), &case.desired, link);
        let next = steps(found.as_ref(), &case.desired.wish, &link.can);
        let told = cell::cell(desk.name(), &case.desired, found.as_ref(), &next, now);
        counts.conflicts += i64::from(told.as_ref().is_some_and(|cell| cell.account.state == "Conflict"));
        counts.managed += i64::from(told.as_ref().is_some_and(|cell| cell.account.id.is_some()));
        let settled = next.changes.is_empty() && next.obstacles.is_empty();
        if case.provider.spec.mode == Mode::Observe {
            desk.keep(context, &who, told.map(|cell| observed(cell, &next)), false);
        } else if settled && !awaits_push(desk, link, &who, &case) {
            desk.confirm(context, &who, told);
        } else {
            let lane = if case.desired.named { Lane::Departure } else { Lane::Drift };
            desk.push(&who, lane);
        }
    }
    counts.orphans = orphans(context, listed);
    counts.unmanaged = i64::try_from(listed.accounts.iter().filter(|account| account.owner.is_none()).count()).unwrap_or(i64::MAX);
    desk.counted(Some(counts));
    context.queues.providers.push(desk.name(), Lane::Sweep);
}

/// Whether it is still to be seen when somebody first pushed.
fn awaits_push(desk: &Desk, link: &Link, who: &str, case: &Case) -> bool {
    link.can.contains(&Capability::Activity)
        && case.desired.wish.presence == Presence::Active
        && !case.committed
        && desk.cell(who).is_none_or(|cell| cell.first_push.is_none())
}

/// People who left and whose mark is still on an account, whatever their receipts tell.
fn left_behind(context: &Context, listed: &Listed) -> Vec<String> {
    context.memory.read(|content, scene| {
        let gone = content.world.departures().all().filter(|(_, departure)| {
            let left = &departure.spec.developer;
            lasts(departure) && content.world.developer(&left.name).is_none_or(|it| it.metadata.uid.as_deref() != Some(&left.uid))
        });
        let marked = gone.filter(|(_, departure)| {
            let left = &departure.spec.developer;
            let person = Person::of(left.person_id.as_deref(), &left.uid);
            listed.by_person.contains_key(&(scene.settings.installation.clone(), person.as_str().to_owned()))
        });
        marked.map(|(name, _)| of_receipt(name)).collect()
    })
}

/// Accounts that this installation made for people whom nobody declared, and who never left.
fn orphans(context: &Context, listed: &Listed) -> i64 {
    let count = context.memory.read(|content, scene| {
        let here: BTreeSet<String> = content.world.developers().map(|(_, developer)| Person::own(developer).as_str().to_owned()).collect();
        let left: BTreeSet<String> = content
            .world
            .departures()
            .all()
            .map(|(_, departure)| &departure.spec.developer)
            .map(|left| Person::of(left.person_id.as_deref(), &left.uid).as_str().to_owned())
            .collect();
        let ours = listed.accounts.iter().filter_map(|account| account.owner.as_ref());
        ours.filter(|owner| {
            owner.installation == scene.settings.installation && !here.contains(&owner.person) && !left.contains(&owner.person)
        })
        .count()
    });
    i64::try_from(count).unwrap_or(i64::MAX)
}
