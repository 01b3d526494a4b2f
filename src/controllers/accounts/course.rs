//! How a desk and its system get on: what answers and what fails, when it is tried again, and what those are told who wait.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::time::Instant;

use crate::api::Reason;
use crate::connectors::error::{ConnectorError, Retry};
use crate::connectors::throttle::Throttle;
use crate::plan::name::fraction;
use crate::plan::provider::{Call, Health, Moment};

use super::super::context::Context;
use super::super::queue::Lane;
use super::desk::Desk;
use super::link::Link;
use super::settle;

impl Desk {
    pub(super) fn use_link(&self, link: Link) {
        let mut state = self.state.lock();
        state.capabilities = link.can.iter().copied().collect();
        state.link = Some(link);
    }

    /// Whether the connection, or the try at one, was made of this; from now on it is.
    pub(super) fn is_made_of(&self, made_of: String) -> bool {
        let mut state = self.state.lock();
        std::mem::replace(&mut state.made_of, made_of.clone()) == made_of
    }

    pub(super) fn let_go(&self) {
        let mut state = self.state.lock();
        (state.link, state.throttle) = (None, None);
        state.course.tried_anew();
    }

    /// What all requests pass, also of connections that are made anew.
    pub(super) fn throttle(&self, make: impl FnOnce() -> Throttle) -> Arc<Throttle> {
        self.state.lock().throttle.get_or_insert_with(|| Arc::new(make())).clone()
    }

    /// What was sent at `began` failed because of the system: everybody who waits for it is told, and it is tried again later.
    pub(super) fn fails(&self, context: &Context, call: Call, error: &ConnectorError, began: Moment) {
        self.ails(context, call, (error.reason(), error.chain(), error.retry()), began);
    }

    pub(super) fn ails(&self, context: &Context, call: Call, (reason, message, retry): (Reason, String, Retry), began: Moment) {
        let chance = fraction(&format!("{}{}", self.uid(), context.tick()));
        let mut state = self.state.lock();
        if let (Retry::After(wait), Some(throttle)) = (retry, &state.throttle) {
            throttle.hold(wait);
        }
        let Some(wait) = state.course.failed(call, (reason, message), retry, (began, self.moment()), chance) else { return };
        state.next_try = SignedDuration::try_from(wait).ok().and_then(|wait| context.now().checked_add(wait).ok());
        if call == Call::List {
            // It is not put off until the next one is due.
            state.sweep_at = Some(Instant::now() + wait);
        }
        drop(state);
        tracing::warn!(provider = self.name(), ?reason, wait_s = wait.as_secs(), "the system does not answer as it should");
        context.queues.providers.push(self.name(), Lane::New);
    }

    /// The system answered what was asked at `began`.
    pub(super) fn answers(&self, context: &Context, call: Call, began: Moment) {
        if self.state.lock().course.answered(call, (began, self.moment())) {
            context.queues.providers.push(self.name(), Lane::New);
        }
    }

    /// Whether the system is left alone.
    pub(super) fn waits(&self) -> bool {
        self.state.lock().course.waits(self.moment())
    }

    /// Whether it may be worked with.
    pub(super) fn ready(&self) -> bool {
        self.state.lock().course.ready(self.moment())
    }

    /// When the system is tried again.
    pub(super) fn tried_at(&self) -> Instant {
        self.opened + self.state.lock().course.until().unwrap_or_default()
    }

    /// Nothing is under way. If nobody waits either, nothing fails.
    pub(super) fn rests(&self, context: &Context) {
        if self.queue.backlog() == 0 && self.state.lock().course.rests(self.moment()) {
            context.queues.providers.push(self.name(), Lane::New);
        }
    }

    /// Whether a look at everybody is to come that tells of all at less cost than a look at each. A system that never lists is not waited for.
    pub(super) fn expects_sweep(&self) -> bool {
        let state = self.state.lock();
        !state.swept && !state.course.lists_no_more()
    }

    /// Those who wait for a system that fails say so, each once while it fails for that reason. The Provider alone tells of each try.
    pub(super) fn tell_waiting(&self, context: &Arc<Context>) {
        let Health { trouble: Some((reason, _)), next_try, .. } = self.health() else { return };
        let waiting = {
            let mut state = self.state.lock();
            let seen = state.told.filter(|(told, _)| *told == reason).map_or(0, |(_, seen)| seen);
            let (waiting, last) = self.queue.arrived_after(seen);
            state.told = Some((reason, last));
            waiting
        };
        let words = format!("the system does not answer as it should; see kubectl get uprov {} -o wide", self.name());
        for who in waiting {
            if !settle::told_already(context, self, &who, reason) {
                settle::troubles(context, self, &who, (reason, words.clone()), next_try);
            }
        }
    }
}
