//! Who did not push yet at a forge: it is looked now and then whether she did. That is one question a person, so it goes beside all other work, by a small share
//! of what the system allows, and the less often the longer she is there.

use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;

use crate::connectors::error::ConnectorError;
use crate::plan::account::{Account, AccountState, Capability, Profile};
use crate::plan::cell::Cell;
use crate::plan::name::fraction;
use crate::plan::provider::{Call, PUSHES_SHARE, until_push};

use super::super::context::Context;
use super::super::queue::Lane;
use super::desk::Desk;
use super::link::Link;
use super::settle::{Case, case};

/// So many requests a look takes at least: for the name, and for what she did.
const REQUESTS: u32 = 2;
/// Who came within this time is looked at before all others.
const NEW: Duration = Duration::from_hours(24);

/// Whether it is still to be seen when somebody first pushed.
fn awaited(link: &Link, case: &Case, cell: &Cell) -> bool {
    link.can.contains(&Capability::Activity)
        && !case.committed
        && cell.wanted()
        && cell.account.state == "Active"
        && cell.account.id.is_some()
        && cell.first_push.is_none()
}

/// Sees to it that somebody's first push is not missed.
pub(super) fn expect(context: &Context, desk: &Desk, link: &Link, who: &str, case: &Case) {
    let Some(cell) = desk.cell(who) else { return };
    if awaited(link, case, &cell) {
        let age = age(case, context.now());
        let wait = until_push(age);
        // After a start they do not all come at once.
        let chance = if age < NEW { 1.0 } else { fraction(who) };
        desk.pushes.push_after(who, if age < NEW { Lane::New } else { Lane::Sweep }, wait.mul_f64(chance));
    }
}

fn age(case: &Case, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(case.since.unwrap_or(now))).unwrap_or_default()
}

/// Looks at one after another, for ever.
pub(super) async fn watch(context: Weak<Context>, desk: Arc<Desk>) {
    loop {
        let (who, _) = desk.pushes.next().await;
        let Some(context) = context.upgrade() else { return };
        let pause = look(&context, &desk, &who).await;
        desk.pushes.done(&who);
        drop(context);
        tokio::time::sleep(pause).await;
    }
}

/// Looks whether somebody pushed. Returns how long the system is to be spared such questions then.
async fn look(context: &Arc<Context>, desk: &Desk, who: &str) -> Duration {
    let (Some(link), Some(case), Some(cell)) = (desk.link(), case(context, desk, who), desk.cell(who)) else { return Duration::ZERO };
    if !awaited(&link, &case, &cell) {
        return Duration::ZERO;
    }
    let per_second = u32::try_from(case.provider.spec.requests_per_second).unwrap_or(1).max(1);
    let pause = Duration::from_secs(1) * REQUESTS * PUSHES_SHARE / per_second;
    if desk.ready() {
        let (id, username) = (cell.account.id.unwrap_or_default(), cell.account.username.unwrap_or_default());
        let account =
            Account { id, state: AccountState::Enabled, profile: Profile { username, ..Profile::default() }, ..Account::default() };
        let began = desk.moment();
        match link.connector.first_push(&account).await {
            Ok(Some(at)) if desk.uses(&link) => {
                desk.pushed(context, who, at);
                return pause;
            }
            Ok(_) => {}
            Err(error @ ConnectorError::RateLimited { .. }) if desk.uses(&link) => desk.fails(context, Call::Look, &error, began),
            Err(error) => tracing::debug!(provider = desk.name(), error = error.chain(), "cannot look for pushes"),
        }
    }
    expect(context, desk, &link, who, &case);
    pause
}
