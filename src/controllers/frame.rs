//! Around every pass, whatever the kind: span, timing, metrics, retry. Passes of one kind run side by side, each object's one after another.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use crate::cluster::error::Error;
use crate::cluster::pen::Urgency;
use crate::plan::name::fraction;
use crate::telemetry::metrics::Metrics;

use super::queue::{Lane, Queue};

/// A pass that takes longer is given up and tried again: something hangs.
const DEADLINE: Duration = Duration::from_mins(1);
/// A settled object is looked at again after this, spread over as much again.
const RECHECK: Duration = Duration::from_mins(10);

/// How a pass ended.
#[derive(Debug, Default)]
pub struct Done {
    /// When the plan changes by itself.
    pub recheck_at: Option<Timestamp>,
    /// Look again after this, as something is still under way.
    pub soon: Option<Duration>,
    /// The errors of single steps; the others were carried out.
    pub errors: Vec<Error>,
    /// Whether anything was written.
    pub wrote: bool,
    /// Whether the object is not there. It is not looked at again until it is.
    pub gone: bool,
    /// So long a burst of its changes lasts from now on: what costs much is done less often.
    pub rest: Duration,
}

impl Done {
    /// There is no such object.
    pub fn gone() -> Self {
        Self { gone: true, ..Self::default() }
    }
}

/// A pass over one object, by name.
pub trait Pass: Send + Sync + 'static {
    /// The kind, for logs and metrics.
    fn kind(&self) -> &'static str;
    /// Gathers, plans, carries out and reports.
    fn pass<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Done>;
}

/// Runs the passes of one kind.
pub struct Frame {
    pass: Arc<dyn Pass>,
    queue: Queue,
    metrics: Arc<Metrics>,
    failures: Arc<Mutex<HashMap<String, u32>>>,
    concurrency: usize,
    /// Whether metrics tell of its queue.
    told: bool,
}

impl Frame {
    /// A frame around the passes of one kind.
    pub fn new(pass: Arc<dyn Pass>, queue: Queue, metrics: Arc<Metrics>, concurrency: usize) -> Self {
        Self { pass, queue, metrics, failures: Arc::default(), concurrency, told: true }
    }

    /// The same in another cluster, of whose queue metrics do not tell: its work counts as that of the kind.
    pub fn elsewhere(pass: Arc<dyn Pass>, queue: Queue, metrics: Arc<Metrics>, concurrency: usize) -> Self {
        Self { told: false, ..Self::new(pass, queue, metrics, concurrency) }
    }

    /// Takes names from the queue for ever.
    pub async fn run(self) {
        let this = Arc::new(self);
        let queue = this.queue.clone();
        if this.told {
            this.metrics.watch_queue(this.pass.kind(), move || queue.lanes());
        }
        let places = Arc::new(Semaphore::new(this.concurrency));
        let mut running = JoinSet::new();
        loop {
            while running.try_join_next().is_some() {}
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let (name, lane) = this.queue.next().await;
            let this = this.clone();
            running.spawn(async move {
                this.one(&name, lane).await;
                this.queue.done(&name);
                drop(place);
            });
        }
    }

    async fn one(&self, name: &str, lane: Lane) {
        let kind = self.pass.kind();
        let span = tracing::debug_span!("pass", kind, name, ?lane);
        let start = Instant::now();
        let urgency = self.queue.urgency(name).unwrap_or_else(|| Urgency::new(lane));
        let result = urgency.during(timeout(DEADLINE, self.pass.pass(name))).instrument(span).await;
        let took = start.elapsed();
        let Ok(done) = result else {
            tracing::warn!(kind, name, "a pass took more than a minute and is tried again");
            self.metrics.pass(kind, "Deadline", took);
            self.queue.push_after(name, lane, Duration::from_secs(5));
            return;
        };
        let worst = done.errors.iter().max_by_key(|error| error.reason());
        self.metrics.pass(kind, &worst.map_or_else(|| "Done".to_owned(), |error| error.reason().as_str()), took);
        for error in &done.errors {
            if error.is_no_failure() {
                tracing::debug!(kind, name, error = error.chain(), "looking again");
            } else {
                tracing::warn!(kind, name, error = error.chain(), "a step failed");
            }
        }
        if done.wrote {
            tracing::info!(kind, name, took_ms = took.as_millis(), "applied");
        }
        self.again(name, lane, &done);
    }

    /// Decides when the next pass is due.
    fn again(&self, name: &str, lane: Lane, done: &Done) {
        if !done.rest.is_zero() {
            self.queue.rest(name, done.rest);
        }
        let failures = {
            let mut failures = self.failures.lock();
            let hard = done.errors.iter().any(|error| !error.is_no_failure());
            if hard {
                let count = failures.entry(name.to_owned()).or_default();
                *count += 1;
                *count - 1
            } else {
                failures.remove(name);
                0
            }
        };
        if let Some(delay) = done.errors.iter().map(|error| error.retry_after(failures)).min() {
            self.queue.push_after(name, lane, delay.mul_f64(0.5f64.mul_add(fraction(name), 0.75)));
        }
        if let Some(delay) = done.soon {
            self.queue.push_after(name, lane, delay);
        }
        if let Some(at) = done.recheck_at {
            let wait = at.duration_since(Timestamp::now());
            self.queue.push_after(name, Lane::Expiry, Duration::try_from(wait).unwrap_or_default().min(RECHECK));
        }
        if !done.gone {
            self.queue.push_after(name, Lane::Sweep, RECHECK.mul_f64(1.0 + fraction(name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    struct Look {
        gone: bool,
    }

    impl Pass for Look {
        fn kind(&self) -> &'static str {
            "Look"
        }

        fn pass<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Done> {
            std::future::ready(Done { gone: self.gone, ..Done::default() }).boxed()
        }
    }

    /// Otherwise everybody who ever was there would be looked at for ever.
    #[tokio::test(start_paused = true)]
    async fn what_is_gone_is_not_looked_at_again() {
        for gone in [true, false] {
            let queue = Queue::new(Duration::ZERO);
            let frame = Frame::new(Arc::new(Look { gone }), queue.clone(), Arc::default(), 1);
            frame.one("ada", Lane::New).await;
            assert_eq!(timeout(3 * RECHECK, queue.next()).await.is_err(), gone);
        }
    }
}
