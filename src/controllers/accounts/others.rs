//! Accounts that bear somebody's mark besides her own: a pin meant another one later, or somebody made a copy. While she stays they are named as nobody's; who is to
//! have nothing is locked out of each of them, or her receipt tells which one is open.

use std::sync::Arc;

use crate::api::Mode;
use crate::connectors::error::ConnectorError;
use crate::plan::account::{Account, AccountKey, Capability, Presence, belongs, steps};
use crate::plan::cell::Cell;
use crate::plan::provider::Call;

use super::super::context::Context;
use super::desk::Desk;
use super::hand::carry_out;
use super::link::Link;
use super::settle::{Case, Failure, ROUNDS, allowed, stands};

/// How it ended.
pub(super) enum Others {
    /// What is left of them, in words.
    Left(Vec<String>),
    /// What is to be changed meanwhile.
    Changed,
}

/// Whether somebody is to have nothing, so that no other account of hers may be open either.
pub(super) fn concern(case: &Case) -> bool {
    case.desired.named && case.desired.wish.presence != Presence::Active
}

/// Locks somebody out of each of them.
pub(super) async fn settle(context: &Arc<Context>, desk: &Desk, link: &Link, who: &str, case: &Case) -> Result<Others, Failure> {
    let mut left = Vec::new();
    for id in desk.about(|known| known.others(&case.desired.wish.owner.person)) {
        match one(context, desk, link, (who, &id), case).await? {
            Others::Left(words) => left.extend(words),
            Others::Changed => return Ok(Others::Changed),
        }
    }
    Ok(Others::Left(left))
}

async fn one(context: &Arc<Context>, desk: &Desk, link: &Link, (who, id): (&str, &str), case: &Case) -> Result<Others, Failure> {
    let connector = link.connector.as_ref();
    for _ in 0..ROUNDS {
        let Some(account) = find(link, id, case).await.map_err(|error| Failure::System(Call::Look, error))? else {
            desk.about(|known| known.forget_other(&case.desired.wish.owner.person, id));
            return Ok(Others::Left(Vec::new()));
        };
        let next = allowed(steps(Some(&account), &case.desired.wish, &link.can), case);
        let login = &account.profile.username;
        let mut left: Vec<String> = next.obstacles.iter().map(|it| format!("account {login} bears her mark, too: {it}")).collect();
        if case.provider.spec.mode == Mode::Observe && !next.changes.is_empty() {
            left.push(format!("account {login} bears her mark, too, and is open; lock it out by hand, or set mode: Enforce"));
        }
        if next.changes.is_empty() || case.provider.spec.mode == Mode::Observe {
            return Ok(Others::Left(left));
        }
        for change in &next.changes {
            if !stands(context, desk, link, who, case, change) {
                return Ok(Others::Changed);
            }
            carry_out(context, desk, connector, who, (case, Some(&account)), change).await?;
        }
    }
    Ok(Others::Left(vec![format!("account {id} bears her mark, too, and somebody changes it at the same time; lock it out by hand")]))
}

async fn find(link: &Link, id: &str, case: &Case) -> Result<Option<Account>, ConnectorError> {
    let wish = &case.desired.wish;
    let key = AccountKey { id: Some(id.to_owned()), username: wish.profile.username.clone(), email: None };
    let found = link.connector.find(&key, &wish.managed).await?;
    Ok(found.filter(|account| account.id == id && belongs(account, wish)))
}

/// What is told of somebody, with what is left of her other accounts. Where nobody was looked at yet it is not known whether there are any.
pub(super) fn told(desk: &Desk, link: &Link, case: &Case, cell: Option<Cell>, left: Vec<String>) -> Option<Cell> {
    let mut cell = cell?.with_others(left);
    cell.unsure = concern(case) && !desk.swept() && link.can.contains(&Capability::List);
    Some(cell)
}
