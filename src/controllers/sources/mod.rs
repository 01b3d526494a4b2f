//! Sources of people: a reader for each, and passes that plan what follows from what was read, carry it out and tell of it.

mod pushed;
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::api::metadata::RELEASE;
use crate::api::source::PendingPeople;
use crate::api::{ConditionType, Mode, Source, SourceStatus};
use crate::cluster::error::Error;
use crate::cluster::memory::Content;
use crate::cluster::pen::Urgency;
use crate::plan::access::paused;
use crate::plan::finding::Finding;
use crate::plan::source::belief::{Belief, Remembered, judge};
use crate::plan::source::claim::{Effect, Write};
use crate::plan::source::status::{Done as Carried, Outcome, Told, first_status, pending, source_status};
use crate::plan::source::{Read, SourcePlan, plan_source, rests, still_means};

use super::context::Context;
use super::frame::{Done, Pass};
use super::queue::Lane;
use super::report::announce;

use self::reader::{Attempt, Reader};

/// At most this many Developers are written at once.
const AT_ONCE: usize = 16;
/// A pass ends before its deadline, and the next one goes on.
const LONG_ENOUGH: Duration = Duration::from_secs(30);

/// The readers, by Source.
#[derive(Debug, Default)]
pub struct Readers {
    readers: Mutex<BTreeMap<String, Arc<Reader>>>,
}

impl Readers {
    /// The reader of a Source, which is started if there is none.
    fn of(&self, context: &Arc<Context>, source: &Source) -> Arc<Reader> {
        let mut readers = self.readers.lock();
        if let Some(reader) = readers.get(&source.name_any()).filter(|reader| reader.is_of(source)) {
            return reader.clone();
        }
        let reader = Reader::start(context, source);
        // Of a Source that was deleted and made again unseen.
        if let Some(old) = readers.insert(source.name_any(), reader.clone()) {
            old.stop();
        }
        reader
    }

    fn close(&self, context: &Context, source: &str) {
        if let Some(reader) = self.readers.lock().remove(source) {
            reader.stop();
        }
        context.metrics.source_gone(source);
    }

    /// The spec of a Source changed: it is read at once.
    pub fn look_again(&self, source: &str) {
        if let Some(reader) = self.readers.lock().get(source) {
            reader.look_again();
        }
    }

    /// A Secret of usher's own namespace changed.
    pub fn secret_changed(&self, secret: &str, sources: impl Iterator<Item = Arc<Source>>) {
        for source in sources {
            let Some(origin) = source.spec.origin() else { continue };
            if origin.credentials().name == secret || origin.ca().is_some_and(|ca| ca.name == secret) {
                self.look_again(&source.name_any());
            }
        }
    }

    /// When a Source was read completely, if it was.
    pub fn complete_at(&self, source: &str) -> Option<Timestamp> {
        self.readers.lock().get(source).and_then(|reader| reader.complete_at())
    }
}

/// Wakes all Sources, and those of which only what was pushed for them is left.
pub fn wake(context: &Context, content: &Content) {
    let there = content.world.sources().map(|(name, _)| name);
    there.chain(content.pushed.sources()).for_each(|name| context.queues.sources.push(name, Lane::New));
}

/// Passes over Sources.
pub struct Sources {
    context: Arc<Context>,
}

impl Pass for Sources {
    fn kind(&self) -> &'static str {
        "Source"
    }

    fn pass<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Done> {
        async move {
            let found = self.context.memory.read(|content, _| content.world.source(name).cloned());
            let mut done = match &found {
                None => {
                    self.context.sources.close(&self.context, name);
                    Done::gone()
                }
                Some(source) => self.run(source).await.unwrap_or_else(|error| Done { errors: vec![error], ..Done::default() }),
            };
            match pushed::purge(&self.context, name, found.as_deref()).await {
                Ok(None) => {}
                Ok(soon) => (done.gone, done.soon) = (false, soon),
                Err(error) => done.errors.push(error),
            }
            done
        }
        .boxed()
    }
}

impl Sources {
    /// Passes over Sources.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    async fn run(&self, source: &Arc<Source>) -> Result<Done, Error> {
        let context = &self.context;
        let reader = context.sources.of(context, source);
        let word = source.annotations().get(RELEASE).map(String::as_str);
        let freed = word.is_some_and(|word| reader.release(word));
        let remembered = Remembered::of(source);
        let (outcome, remembered, read) = match reader.last(context, source) {
            None => {
                // What was told before a start stands until it is read again.
                let settled = source.status.as_ref().is_some_and(|status| status.observed_generation == source.metadata.generation);
                return if settled && !paused(source.as_ref()) {
                    Ok(Done::default())
                } else {
                    self.tell(source, first_status(source, context.now())).await
                };
            }
            Some(Attempt::Failed(reason, message)) => (Outcome::Failed(reason, message), remembered, None),
            Some(Attempt::Read(read)) => match judge(&source.spec, &read, &reader.versions(), &remembered, word) {
                Belief::Believed(remembered) => (Outcome::Complete, remembered, Some(read)),
                Belief::Doubted(why, remembered) => (Outcome::Doubted(why), remembered, None),
            },
        };
        let (brake, removals) = reader.brake(self.population(source));
        let told = Told { outcome, done: None, brake, removals, remembered };
        if freed {
            // Written down before it is carried out, so that whoever goes on after a crash asks for no other word.
            self.tell(source, source_status(source, told, context.now())).await?;
            return Ok(Done { soon: Some(Duration::ZERO), ..Done::default() });
        }
        match read.filter(|_| !rests(source)) {
            Some(read) => self.act(source, &reader, &read, told).await,
            None => self.tell(source, source_status(source, told, context.now())).await,
        }
    }

    fn population(&self, source: &Source) -> usize {
        self.context.memory.read(|content, _| crate::plan::source::population(source, &content.world))
    }

    /// Plans what follows from a read that is believed, carries it out unless the brake holds or it is only observed, and tells of it.
    async fn act(&self, source: &Arc<Source>, reader: &Reader, read: &Read, mut told: Told<'_>) -> Result<Done, Error> {
        let context = &self.context;
        let word = source.annotations().get(RELEASE).map(String::as_str);
        let (emptied, losses) = (std::mem::take(&mut told.remembered.emptied), reader.losses());
        let mut plan = context.memory.read(|content, _| plan_source(source, &content.world, read, (&emptied, word)));
        let enforced = source.spec.mode == Mode::Enforce;
        let limits = (plan.limits(source.spec.brake), plan.population);
        let may = enforced && read.is_fresh(context.now());
        let admitted = may && reader.admits((&plan.losing, &plan.missing), limits.0, limits.1, context.now());
        let (problems, mut findings) = (std::mem::take(&mut plan.problems), std::mem::take(&mut plan.findings));
        findings.extend(reader.shut().map(|(reason, message)| Finding::new(ConditionType::Connected, reason, message)));
        let mut done = Carried { people: read.found.people.len(), missing: plan.missing.len(), problems, findings, ..Carried::default() };
        let mut after = Done::default();
        if (admitted || !enforced) && !plan.doubts {
            reader.follows(read);
        } else {
            // What is not carried out, or not believed as a whole, is no past that could come back.
            told.remembered = Remembered::of(source);
        }
        told.remembered.emptied = std::mem::take(&mut plan.emptied);
        if admitted {
            let written = self.carry_out(source, &plan, losses).await;
            after.wrote = !written.made.is_empty() || written.changed > 0;
            (done.created, done.changed) = reader.wrote(read, written.made, written.changed);
            after.soon = written.unfinished.then_some(Duration::ZERO);
            done.errors =
                written.errors.iter().filter(|error| !error.is_no_failure()).map(|error| (error.reason(), error.chain())).collect();
            after.errors = written.errors;
            pushed::clear(context, source).await;
        } else {
            // What it did before it grew old is still what came of it.
            (done.created, done.changed) = reader.wrote(read, BTreeSet::new(), 0);
            done.pending = Some(pending(&plan)).filter(|pending| *pending != PendingPeople::default());
        }
        let (brake, removals) = reader.brake(plan.population);
        let told = Told { done: Some((read, done)), brake: brake.filter(|_| enforced), removals, ..told };
        let reported = self.tell(source, source_status(source, told, context.now())).await;
        after.errors.extend(reported.err());
        Ok(after)
    }

    /// Makes and changes Developers: those first who lose something by it.
    async fn carry_out(&self, source: &Source, plan: &SourcePlan, losses: u64) -> Written {
        let (leaving, others): (Vec<Write>, Vec<Write>) = plan.writes.iter().cloned().partition(|write| write.effect == Effect::Ends);
        let (mut written, until) = (Written::default(), Instant::now() + LONG_ENOUGH);
        if !leaving.is_empty() {
            Urgency::leave();
        }
        self.carry_some(source, leaving, (until, None), &mut written).await;
        Urgency::ease();
        self.carry_some(source, others, (until, Some(losses)), &mut written).await;
        written
    }

    async fn carry_some(&self, source: &Source, writes: Vec<Write>, (until, losses): (Instant, Option<u64>), written: &mut Written) {
        let name = source.name_any();
        let answers = stream::iter(writes).enumerate().map(|(number, write)| {
            let name = &name;
            async move {
                // Whoever deletes a Source, pauses it or says something else of it stops what is under way.
                // And so does whoever pushes that somebody is to lose something: that goes first, but however often it is pushed some of the rest goes, too.
                let meant = self.context.memory.read(|content, _| {
                    let first = number >= AT_ONCE && losses.is_some_and(|losses| content.pushed.losses(name) > losses);
                    !first && still_means(source, content.world.source(name).map(Arc::as_ref))
                });
                if Instant::now() > until || !meant {
                    return None;
                }
                let answer = self.context.objects.apply_developer(name, &write).await;
                Some(answer.map(|()| write))
            }
        });
        let mut answers = std::pin::pin!(answers.buffer_unordered(AT_ONCE));
        while let Some(answer) = answers.next().await {
            match answer {
                None => written.unfinished = true,
                Some(Ok(write)) => written.take(&write),
                Some(Err(error)) => written.errors.push(error),
            }
        }
    }

    async fn tell(&self, source: &Arc<Source>, status: SourceStatus) -> Result<Done, Error> {
        let previous = source.status.as_ref();
        if self.context.objects.write_status(source.as_ref(), previous, &status).await? {
            announce(&self.context, source.as_ref(), previous.map(|status| status.conditions.as_slice()), &status.conditions);
        }
        Ok(Done::default())
    }
}

/// What was written.
#[derive(Debug, Default)]
struct Written {
    /// Who was made, by personId.
    made: BTreeSet<String>,
    changed: usize,
    errors: Vec<Error>,
    /// Whether there was no time for all of it, or something follows from it.
    unfinished: bool,
}

impl Written {
    fn take(&mut self, write: &Write) {
        match write.effect {
            Effect::Makes => drop(self.made.insert(write.person_id())),
            // What she gives up by it may be another one's now.
            Effect::TakesOver | Effect::Ends | Effect::Readdresses => (self.changed, self.unfinished) = (self.changed + 1, true),
            _ => self.changed += 1,
        }
    }
}
