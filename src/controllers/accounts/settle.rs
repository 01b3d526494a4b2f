//! One person's account at one Provider: look, decide, change, look again, until it is as it should be or something stands in the way.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::{Mode, Provider, Reason};
use crate::cluster::error::Error;
use crate::connectors::Connector;
use crate::connectors::error::{ConnectorError, Retry};
use crate::plan::access::paused;
use crate::plan::account::{Account, AccountChange, Capability, Managed, Presence, Steps, steps};
use crate::plan::cell::{self, Cell, Undone};
use crate::plan::entitlement::{Desired, and_given, desired, left, owes};
use crate::plan::foresight::foreseen;
use crate::plan::name::fraction;
use crate::plan::provider::{self, Call, Moment};
use crate::plan::recognition::{mistaken, recognized};

use super::super::context::Context;
use super::super::figures;
use super::super::queue::Lane;
use super::desk::Desk;
use super::hand::{carry_out, observed};
use super::link::Link;
use super::others::{self, Others};
use super::{RECEIPT, of_receipt, pushes};

/// However far it is, an account is as it should be after so many rounds, or somebody changes it at the same time.
pub(super) const ROUNDS: usize = 6;
/// How soon an account that somebody refused is tried again, and how late at most.
const FIRST_TRY: Duration = Duration::from_secs(2);
const LAST_TRY: Duration = Duration::from_mins(10);
/// How soon it is looked whether usher's kinds are whole again.
const SPARED: Duration = Duration::from_mins(1);
/// How long a system may take to say that it is well.
const PROBE: Duration = Duration::from_secs(5);

/// What decides about one account.
pub(super) struct Case {
    pub(super) provider: Arc<Provider>,
    pub(super) desired: Desired,
    /// Whether work on it is stopped.
    paused: bool,
    /// Whether something may be added.
    adds: bool,
    /// Whether it was seen that she pushed.
    pub(super) committed: bool,
    /// Since when she is declared.
    pub(super) since: Option<Timestamp>,
    /// When it was decided: what is sent for it is sent later.
    began: Moment,
}

/// What is to be for somebody, by what is known now; nothing if she is nobody's concern any more.
pub(super) fn case(context: &Context, desk: &Desk, who: &str) -> Option<Case> {
    let now = context.now();
    let mut case = context.memory.read(|content, scene| {
        let world = &content.world;
        let provider = world.live_providers().find(|(name, _)| *name == desk.name())?.1.clone();
        let (mut desired, stopped, committed, since) = if let Some(name) = who.strip_prefix(RECEIPT) {
            // Who came back is her Developer's matter again, whatever was due.
            let departure = world.departures().get(name).filter(|departure| owes(world, departure))?;
            (left(scene, (desk.name(), &provider), departure, now), false, true, None)
        } else {
            let developer = world.developer(who)?;
            let committed = developer.status.iter().filter_map(|status| status.timeline.as_ref()).any(|it| it.first_commit_at.is_some());
            let since = developer.metadata.creation_timestamp.as_ref().map(|it| it.0);
            (desired(scene, (desk.name(), &provider), developer, now), paused(developer.as_ref()), committed, since)
        };
        remembered(desk, who, &mut desired);
        if desk.about(|known| known.adopted(&desired.wish.owner.person)) {
            desired = desired.of_adopted();
            desk.about(|known| known.set_adopted(&desired.wish.owner.person, desired.adopted));
        }
        let paused = (stopped || paused(provider.as_ref())) && !desired.named;
        Some(Case { provider, desired, paused, adds: world.locks_readable(), committed, since, began: desk.moment() })
    })?;
    if case.desired.wish.presence == Presence::Active {
        case.desired.epoch = context.epoch().or(case.desired.epoch);
    }
    Some(case)
}

/// Adds what is known of somebody's account and what her status may not tell yet: what she was given, its id, and which other one was hers before.
fn remembered(desk: &Desk, who: &str, desired: &mut Desired) {
    let person = desired.wish.owner.person.clone();
    let before = desk.cell_of(who, desired).map(|cell| cell.account).unwrap_or_default();
    desired.epoch = before.epoch.or(desired.epoch.take());
    let managed = std::mem::replace(&mut desired.wish.managed, Managed::All);
    desired.wish.managed = and_given(managed, &before.given_groups);
    let earlier = [desired.recorded.clone(), before.id];
    // One that was made or taken over since is newer than what her status tells.
    desired.recorded = desk.about(|known| known.id(&person)).or_else(|| desired.recorded.take());
    desired.key.id = desired.pinned.clone().or_else(|| desired.recorded.clone());
    let own = desired.key.id.clone();
    let others = earlier.into_iter().chain([desired.recorded.clone()]).flatten().filter(|id| own.as_ref() != Some(id)).collect();
    desk.about(|known| known.add_others(&person, others));
}

/// What was done in rounds so far.
#[derive(Default)]
struct Going {
    /// The id of an account that was made a moment ago.
    made: Option<String>,
    /// Whether anything was changed.
    changed: bool,
}

/// How it ended.
enum End {
    /// It is as it should be, or what stands in the way is told.
    Told(Option<Cell>),
    /// It waits for a word, as too many would lose something.
    Braked(Cell),
    /// Nothing is taken while nobody can say what there is.
    Spared,
    /// What is to be changed meanwhile.
    Changed,
}

/// Settles somebody's account.
pub(super) async fn settle(context: &Arc<Context>, desk: &Desk, who: &str, lane: Lane) {
    let person = case(context, desk, who).map(|case| case.desired.wish.owner.person);
    // What was begun for her receipt ends before it is looked whether she is in order again.
    let _turn = match &person {
        Some(person) => Some(desk.turn(person).await),
        None => None,
    };
    let (mut going, mut was_in_order) = (Going::default(), false);
    for turn in 0..ROUNDS {
        let Some(link) = desk.link() else { return desk.push_after(who, lane, FIRST_TRY) };
        // A look at everybody is under way, which costs less than one at each; who leaves does not wait for it.
        if lane > Lane::Departure && desk.expects_sweep() {
            return;
        }
        let Some(case) = case(context, desk, who) else { return gone(context, desk, who) };
        if case.paused {
            let provider = desk.name();
            let paused =
                (Reason::Paused, format!("changes wait while uprov/{provider} or she is paused; remove the annotation usher.dev/paused"));
            return troubles(context, desk, who, paused, None);
        }
        if turn == 0 && lane == Lane::New && settled_meanwhile(desk, who, &case) {
            return;
        }
        if turn == 0 {
            was_in_order = desk.cell(who).is_some_and(|cell| cell.in_order() && cell.wanted() && cell.is_for(&case.desired));
        }
        let end = round(context, desk, &link, who, &case, &mut going).await;
        // What was as it should be, and is to be as it was, somebody changed there.
        if going.changed && std::mem::take(&mut was_in_order) {
            figures::account_repaired(context, desk.name(), who);
        }
        match with_others(context, desk, &link, who, &case, end).await {
            Ok(End::Told(cell)) => return told(context, desk, &link, (who, lane), &case, cell),
            Ok(End::Braked(cell)) => return desk.keep(context, who, Some(cell), true),
            Ok(End::Spared) => {
                let why = "one of usher's kinds is missing or was made anew, so the account is kept until a Binding explains it; suspend her to lock it out";
                troubles(context, desk, who, (Reason::Orphans, why.to_owned()), None);
                return desk.push_after(who, lane, SPARED);
            }
            Ok(End::Changed) => {}
            Err(error) => return failed(context, desk, &link, (who, lane), &case, error).await,
        }
    }
    desk.push_after(who, lane, FIRST_TRY);
}

/// Once her own account is as it should be, who is to have nothing is locked out of the others that bear her mark.
async fn with_others(
    context: &Arc<Context>,
    desk: &Desk,
    link: &Link,
    who: &str,
    case: &Case,
    end: Result<End, Failure>,
) -> Result<End, Failure> {
    let cell = match end? {
        End::Told(cell) => cell,
        other => return Ok(other),
    };
    if !others::concern(case) {
        return Ok(End::Told(cell));
    }
    Ok(match others::settle(context, desk, link, who, case).await? {
        Others::Left(left) => End::Told(others::told(desk, link, case, cell, left)),
        Others::Changed => End::Changed,
    })
}

/// Whether what made this necessary was seen to already: her own password, delivered while she was settled, asks for another look.
fn settled_meanwhile(desk: &Desk, who: &str, case: &Case) -> bool {
    // What is left of who is locked out is told, and does not change by looking.
    let over = |cell: &Cell| cell.in_order() || locked_out(cell) && !cell.left.is_empty();
    desk.cell(who).is_some_and(|cell| over(&cell) && cell.undone != Some(Undone::LocksUnread) && cell.is_for(&case.desired))
}

/// Her Developer went meanwhile. What was done for her until a moment ago her receipt may not have seen.
fn gone(context: &Context, desk: &Desk, who: &str) {
    desk.keep(context, who, None, false);
    let receipts: Vec<String> = context.memory.read(|content, _| {
        let world = &content.world;
        let open = world.departures().of_name(who).filter(|departure| owes(world, departure));
        open.map(|departure| of_receipt(&departure.name_any())).collect()
    });
    receipts.iter().for_each(|receipt| desk.push(receipt, Lane::Departure));
}

/// Looks for an account; not by an id that is another account's by now.
async fn find(connector: &dyn Connector, desired: &mut Desired, link: &Link) -> Result<Option<Account>, ConnectorError> {
    let marks = link.can.contains(&Capability::Mark);
    let mut found = connector.find(&desired.key, &desired.wish.managed).await?;
    if found.as_ref().is_some_and(|account| mistaken(desired, account, marks)) {
        desired.key.id = None;
        found = connector.find(&desired.key, &desired.wish.managed).await?;
    }
    Ok(recognized(desired, found, marks))
}

/// Looks, and makes the next changes.
async fn round(context: &Arc<Context>, desk: &Desk, link: &Link, who: &str, case: &Case, going: &mut Going) -> Result<End, Failure> {
    let connector = link.connector.as_ref();
    let mut desired = kept(connector, case.desired.clone());
    let found = find(connector, &mut desired, link).await.map_err(|error| Failure::System(Call::Look, error))?;
    if !desk.uses(link) {
        return Ok(End::Changed);
    }
    desk.answers(context, Call::Look, case.began);
    if found.is_none() {
        desk.about(|known| known.set_id(&desired.wish.owner.person, None));
    }
    if lost_its_mark(found.as_ref(), going.made.take()) && link.can.contains(&Capability::Mark) {
        desk.learn(link, connector.probe().await.map_err(|error| Failure::System(Call::Look, error))?);
        return Ok(End::Changed);
    }
    let all = steps(found.as_ref(), &desired.wish, &link.can);
    let wanted = all.changes.len();
    let next = allowed(all, case);
    let unread = next.changes.len() < wanted;
    let now = context.now();
    let told = |left: &Steps| {
        let cell = cell::cell(desk.name(), &case.desired, found.as_ref(), left, now);
        cell.map(|cell| Cell { undone: unread.then_some(Undone::LocksUnread), ..cell })
    };
    if case.provider.spec.mode == Mode::Observe {
        let would = if case.adds { foreseen(found.as_ref(), &desired.wish, &link.can) } else { next.changes.clone() };
        return Ok(End::Told(told(&next).map(|cell| observed(cell, &would))));
    }
    let removes = next.changes.iter().any(AccountChange::removes);
    if !removes {
        // A word that was said for what is done by now is none for what may be edited while this goes on.
        desk.loses_nothing(who);
    }
    if next.changes.is_empty() {
        return Ok(End::Told(told(&next)));
    }
    // What disappears with one of usher's kinds ends nothing, and nor does that it is not back yet when the kind is.
    if removes && !desired.written && !whole(context.read_epoch().await?.as_deref(), desired.epoch.as_deref()) {
        return Ok(End::Spared);
    }
    if removes && !desired.named && !desk.admits(&case.provider, who, now) {
        return Ok(End::Braked(cell::braked(desk.name(), &case.desired, told(&next).as_ref(), now)));
    }
    let mut refused = None;
    for change in &next.changes {
        if !stands(context, desk, link, who, case, change) {
            return Ok(End::Changed);
        }
        if matches!(change, AccountChange::Adopt { .. }) && found.as_ref().is_some_and(|account| account.owner.is_none()) {
            desk.about(|known| known.set_adopted(&case.desired.wish.owner.person, true));
        }
        match carry_out(context, desk, connector, who, (case, found.as_ref()), change).await {
            // A group that is not there keeps nobody out of the others.
            Err(Failure::System(_, error @ ConnectorError::Rejected { .. })) if matches!(change, AccountChange::Join { .. }) => {
                refused = refused.or(Some(error));
            }
            other => {
                let id = other?;
                if id.is_some() {
                    desk.about(|known| known.set_id(&case.desired.wish.owner.person, id.as_deref()));
                }
                going.changed = true;
                going.made = id.filter(|_| matches!(change, AccountChange::Create { .. }));
                desk.answers(context, Call::Change, case.began);
            }
        }
        if matches!(change, AccountChange::Create { .. } | AccountChange::Adopt { .. }) {
            return Ok(End::Changed);
        }
    }
    refused.map_or(Ok(End::Changed), |error| Err(error.into()))
}

/// Whether an account that was made a moment ago has no mark: then the system loses them, however it seemed.
fn lost_its_mark(found: Option<&Account>, made: Option<String>) -> bool {
    found.is_some_and(|account| account.owner.is_none() && made.as_ref() == Some(&account.id))
}

/// Whether usher's kinds are there, and the same as when somebody was last seen to be entitled.
pub(super) fn whole(now: Option<&str>, then: Option<&str>) -> bool {
    now.is_some_and(|now| then.is_none_or(|then| then == now))
}

/// Whether what was decided is so still. Whoever left or was locked since is given nothing any more, and who is to keep something does not lose it.
pub(super) fn stands(context: &Context, desk: &Desk, link: &Link, who: &str, case: &Case, change: &AccountChange) -> bool {
    let Some(now) = self::case(context, desk, who) else { return false };
    let same = now.desired.wish == case.desired.wish && (now.adds || change.removes());
    let leaves = case.desired.named && now.desired.named && change.follows(&now.desired.wish);
    desk.uses(link) && !now.paused && now.provider.spec.mode == Mode::Enforce && (same || leaves)
}

/// Why a round ended early.
pub(super) enum Failure {
    System(Call, ConnectorError),
    Cluster(Error),
}

impl From<ConnectorError> for Failure {
    fn from(error: ConnectorError) -> Self {
        Self::System(Call::Change, error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Cluster(error)
    }
}

/// What is wished, in the letters in which the system keeps it.
pub(super) fn kept(connector: &dyn Connector, mut desired: Desired) -> Desired {
    desired.wish.profile = connector.keeps(desired.wish.profile);
    desired
}

/// While Locks cannot be read nothing is added to anybody.
pub(super) fn allowed(mut next: Steps, case: &Case) -> Steps {
    if !case.adds {
        next.changes.retain(AccountChange::removes);
    }
    next
}

/// Keeps what is told, and says when to look again.
fn told(context: &Arc<Context>, desk: &Desk, link: &Link, (who, lane): (&str, Lane), case: &Case, cell: Option<Cell>) {
    let Some(mut cell) = cell else { return desk.keep(context, who, None, false) };
    let before = desk.cell_of(who, &case.desired);
    cell.first_push = before.as_ref().and_then(|before| before.first_push);
    // What stands in the way may be moved without a word to usher.
    if cell.trouble.is_some() {
        cell.attempts = attempts(&cell, before.as_ref());
        // Where a look at everybody tells of it, it is looked at alone only at first, and not at all for who is locked out.
        let wait = patience(who, cell.attempts);
        if !link.can.contains(&Capability::List) || !locked_out(&cell) && wait < LAST_TRY / 2 {
            desk.push_after(who, lane.max(Lane::New), wait);
        }
    }
    if let Some(at) = cell.delete_at.filter(|_| cell.account.id.is_some() && !case.desired.held) {
        let wait = Duration::try_from(at.duration_since(context.now())).unwrap_or_default();
        if cell.wish.presence != Presence::Gone {
            desk.push_after(who, Lane::Expiry, wait);
        }
    }
    desk.keep(context, who, Some(cell), false);
    pushes::expect(context, desk, link, who, case);
}

/// How often it was looked whether something still stands in the way. Of who is locked out that is told, and does not change by looking.
pub(super) fn attempts(cell: &Cell, before: Option<&Cell>) -> i64 {
    match cell.trouble {
        Some(_) if !locked_out(cell) => before.map_or(0, |before| before.attempts).saturating_add(1),
        Some(_) => 1,
        None => 0,
    }
}

/// Whether somebody is to have nothing, and cannot log in any more: whatever is left to be done is not urgent.
fn locked_out(cell: &Cell) -> bool {
    !cell.wanted() && matches!(cell.account.state.as_str(), "Disabled" | "Absent")
}

fn patience(who: &str, attempts: i64) -> Duration {
    let doubled = FIRST_TRY.saturating_mul(1 << u32::try_from(attempts.saturating_sub(1)).unwrap_or_default().min(12));
    doubled.min(LAST_TRY).mul_f64(0.5f64.mul_add(fraction(who), 0.75))
}

/// Whether it is only this account that fails. A system that answers otherwise is well, whatever it says of somebody.
async fn hers_alone(link: &Link, error: &ConnectorError) -> bool {
    match error {
        ConnectorError::Rejected { .. } | ConnectorError::OwnsObjects { .. } => true,
        ConnectorError::RateLimited { .. } | ConnectorError::InvalidSettings { .. } | ConnectorError::NotLeading => false,
        ConnectorError::Unreachable { .. } | ConnectorError::Unauthorized { .. } | ConnectorError::Garbled { .. } => {
            matches!(tokio::time::timeout(PROBE, link.connector.probe()).await, Ok(Ok(_)))
        }
    }
}

/// Something went wrong: with the system, so that everybody waits, or with this account alone.
async fn failed(context: &Arc<Context>, desk: &Desk, link: &Link, (who, lane): (&str, Lane), case: &Case, failure: Failure) {
    let now = context.now();
    let before = desk.cell_of(who, &case.desired);
    let (call, error) = match failure {
        Failure::System(call, error) => (call, error),
        Failure::Cluster(error) => {
            let cell = cell::troubled(desk.name(), &case.desired, before.as_ref(), (error.reason(), error.chain()), now);
            desk.push_after(who, lane, error.retry_after(u32::try_from(cell.attempts).unwrap_or_default()));
            return desk.note(context, who, Some(cell), false);
        }
    };
    let alone = hers_alone(link, &error).await;
    if !desk.uses(link) {
        return desk.push(who, lane);
    }
    if !alone {
        // She waits with the others, and is told with them.
        desk.fails(context, call, &error, case.began);
        return desk.push(who, lane);
    }
    let mut cell = cell::troubled(desk.name(), &case.desired, before.as_ref(), (error.reason(), error.chain()), now);
    let wait = match error.retry() {
        Retry::After(wait) => wait,
        Retry::Backoff | Retry::OnChange => patience(who, cell.attempts),
    };
    cell.next_try = next_try(now, wait);
    // Who is locked out and cannot be deleted is not more urgent than who waits for an account.
    desk.push_after(who, if locked_out(&cell) { lane.max(Lane::Drift) } else { lane }, wait);
    desk.note(context, who, Some(cell), false);
}

fn next_try(now: Timestamp, wait: Duration) -> Option<Timestamp> {
    jiff::SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok())
}

/// Whether it is told already how somebody's account stands while the system fails: nothing is to be done for her, or it was said before a start.
pub(super) fn told_already(context: &Context, desk: &Desk, who: &str, reason: Reason) -> bool {
    let Some(case) = case(context, desk, who) else { return true };
    if let Some(cell) = desk.cell(who) {
        return cell.in_order() && cell.is_for(&case.desired);
    }
    context.memory.read(|content, _| match who.strip_prefix(RECEIPT) {
        Some(name) => content.world.departures().get(name).is_some_and(|departure| provider::told_in_receipt(departure, desk.name())),
        None => {
            let wanted = case.desired.wish.presence == Presence::Active;
            content.world.developer(who).is_some_and(|developer| provider::told_already(developer, desk.name(), wanted, reason))
        }
    })
}

/// Tells that somebody waits for a system that fails.
pub(super) fn troubles(context: &Arc<Context>, desk: &Desk, who: &str, trouble: (Reason, String), next: Option<Timestamp>) {
    let Some(case) = case(context, desk, who) else { return };
    let before = desk.cell_of(who, &case.desired);
    let nothing = before.is_none() && case.desired.recorded.is_none() && !case.desired.entitled;
    if nothing {
        return;
    }
    let mut cell = cell::troubled(desk.name(), &case.desired, before.as_ref(), trouble, context.now());
    // It is looked at again in any case: what was wished is not what is. When that is, is told once; each further try is the Provider's to tell.
    let same = before.as_ref().filter(|before| before.trouble == cell.trouble && before.account.message == cell.account.message);
    cell.next_try = same.map_or(next, |before| before.next_try);
    cell.attempts = before.map_or(0, |before| before.attempts);
    desk.note(context, who, Some(cell), false);
}
