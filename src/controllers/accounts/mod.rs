//! Accounts in outside systems: a desk for each Provider, at which one person's account after another is settled. No desk waits for another, and nothing in
//! the clusters waits for any of them.

mod course;
mod desk;
mod hand;
mod known;
mod link;
mod others;
mod pushes;
mod settle;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use parking_lot::Mutex;

use crate::api::departure::TargetState;
use crate::api::{Developer, Provider, Reason};
use crate::plan::cell::{Cell, Undone};
use crate::plan::entitlement::{desired, left, possible, urgency};
use crate::plan::provider::Health;
use crate::plan::target::provider_target;

use super::context::Context;
use super::queue::Lane;

pub use self::desk::Desk;

/// Before the name of a receipt, where that of a Developer stands otherwise: whose account it is when she is gone.
const RECEIPT: &str = "departure/";

/// By what the account of somebody who is gone is known: her receipt.
pub fn of_receipt(departure: &str) -> String {
    format!("{RECEIPT}{departure}")
}

/// The desks, by Provider.
#[derive(Debug, Default)]
pub struct Desks {
    desks: Mutex<BTreeMap<String, Arc<Desk>>>,
}

impl Desks {
    fn all(&self) -> Vec<Arc<Desk>> {
        self.desks.lock().values().cloned().collect()
    }

    /// The desk of a Provider.
    pub fn get(&self, provider: &str) -> Option<Arc<Desk>> {
        self.desks.lock().get(provider).cloned()
    }

    /// Makes sure that a Provider has a desk, and that the desk knows of its newest version.
    pub fn open(&self, context: &Arc<Context>, provider: &Provider) -> Arc<Desk> {
        let (name, uid) = (provider.name_any(), provider.uid().unwrap_or_default());
        let mut desks = self.desks.lock();
        if let Some(desk) = desks.get(&name).filter(|desk| desk.uid() == uid) {
            desk.look_again();
            return desk.clone();
        }
        let desk = Desk::open(context, provider);
        // Of a Provider that was deleted and made again unseen.
        if let Some(old) = desks.insert(name, desk.clone()) {
            old.close(context);
        }
        desk
    }

    /// Closes the desk of a Provider. Returns whom it looked at, each with whether there is an account.
    pub fn close(&self, context: &Context, provider: &str) -> BTreeMap<String, bool> {
        let desk = self.desks.lock().remove(provider);
        desk.map(|desk| desk.close(context)).unwrap_or_default()
    }

    /// How somebody's accounts stand, as far as they were looked at.
    pub fn cells_of(&self, who: &str) -> Vec<Cell> {
        self.all().iter().filter_map(|desk| desk.cell(who)).collect()
    }

    /// How a Provider's system was found.
    pub fn health(&self, provider: &str) -> Health {
        self.get(provider).map(|desk| desk.health()).unwrap_or_default()
    }

    /// A Secret of usher's own namespace changed.
    pub fn secret_changed(&self) {
        self.all().iter().for_each(|desk| desk.look_again());
    }
}

/// Sends somebody's accounts to be settled where what she is to have is not what it was when they were last looked at.
pub fn look(context: &Context, developer: &Developer) {
    let who = developer.name_any();
    let now = context.now();
    for desk in context.desks.all() {
        let changed = context.memory.read(|content, scene| {
            let provider = content.world.live_providers().find(|(name, _)| *name == desk.name())?.1;
            let wanted = desired(scene, (desk.name(), provider), developer, now);
            let cell = desk.cell(&who);
            let concerns = cell.is_some() || wanted.entitled || wanted.recorded.is_some();
            let seen = cell.as_ref().map(|cell| cell.verified_at);
            let unread = |cell: &Cell| cell.undone == Some(Undone::LocksUnread) && content.world.locks_readable();
            let same = cell.is_some_and(|cell| cell.is_for(&wanted) && cell.trouble != Some(Reason::Paused) && !unread(&cell));
            (concerns && !same).then(|| urgency(scene.world, desk.name(), developer, seen, now))
        });
        if let Some(lane) = changed {
            desk.push(&who, lane);
        }
    }
}

/// The same for somebody whose Developer is gone.
pub fn look_at_receipt(context: &Context, departure: &crate::api::Departure) {
    let who = of_receipt(&departure.name_any());
    let now = context.now();
    for desk in context.desks.all() {
        let target = provider_target(desk.name());
        let told = departure.status.iter().flat_map(|status| &status.targets).find(|it| it.target == target);
        // What was looked at before a start, or while her Developer was there, is looked at again with everybody, at less cost.
        let open = told.is_some_and(|it| matches!(it.state, TargetState::Pending | TargetState::Unreachable));
        let changed = context.memory.read(|content, scene| {
            let provider = content.world.live_providers().find(|(name, _)| *name == desk.name())?.1;
            let wanted = left(scene, (desk.name(), provider), departure, now);
            let cell = desk.cell(&who);
            let concerns = cell.is_some() || open;
            (concerns && cell.is_none_or(|cell| !cell.is_for(&wanted))).then_some(Lane::Departure)
        });
        if let Some(lane) = changed {
            desk.push(&who, lane);
        }
    }
}

/// Looks at everybody whom Providers concern, also who merely may have an account there, after Roles changed what they give there, or a Provider came.
pub fn look_at_all<'a>(context: &Context, providers: impl Iterator<Item = &'a String>) {
    let providers: BTreeSet<&String> = providers.collect();
    let people: Vec<Arc<Developer>> = context.memory.read(|content, _| {
        let now = context.now();
        let concerned = content.world.developers().filter(|(name, developer)| {
            let given = possible(&content.world, developer, now);
            providers
                .iter()
                .any(|provider| given.contains(*provider) || context.desks.get(provider).is_some_and(|desk| desk.cell(name).is_some()))
        });
        concerned.map(|(_, developer)| developer.clone()).collect()
    });
    people.iter().for_each(|developer| look(context, developer));
}
