//! The export of the record: every change of a Grant or a Departure as a JSON line, at least once.
//!
//! What is still to be written is remembered by name, so a sink that is stuck costs no memory, and what changed twice meanwhile is written as it is then.
//! A start begins with everything that is kept: nothing has to be remembered across restarts, and nothing is written to the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::{Resource, ResourceExt};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::api::{Departure, Grant};
use crate::cluster::memory::{Kept, Memory};
use crate::plan::cluster::ClusterKey;
use crate::plan::export::{Happened, Line};
use crate::telemetry::export::{Sink, Target};
use crate::telemetry::metrics::Metrics;

/// At most this many lines are written at once.
const BATCH: usize = 200;
/// At most this many deletions wait; of more only the fact is told.
const MOST_GONE: usize = 4_096;
/// A write that takes longer hangs.
const HANGS: Duration = Duration::from_secs(10);
/// How soon to try again, and how late at most.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_mins(1);

/// What is to be said of an object: how it is, or how it was last.
#[derive(Clone, Debug)]
enum Note {
    Is(Happened),
    Was(Box<Line>),
}

/// Exports the record.
pub struct Exporter {
    target: Target,
    stream: String,
    pending: Mutex<BTreeMap<(String, String), Note>>,
    /// How many changes are being written.
    under_way: AtomicUsize,
    wake: Notify,
}

impl Exporter {
    /// One that writes to a target; `stream` names this run of this replica.
    pub fn new(target: Target, stream: String) -> Self {
        Self { target, stream, pending: Mutex::default(), under_way: AtomicUsize::new(0), wake: Notify::new() }
    }

    /// Whether something is still to be written. What was not exported is not purged.
    pub fn behind(&self) -> bool {
        self.waiting() > 0
    }

    fn waiting(&self) -> usize {
        let pending = self.pending.lock();
        pending.len() + self.under_way.load(Ordering::SeqCst)
    }

    /// Notes that an object of the record was written, or is gone.
    pub fn note_change<K: Resource<DynamicType = ()> + Serialize>(&self, old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
        match (old, new) {
            (_, Some(new)) => self.note::<K>(&new.name_any(), Note::Is(Happened::Written)),
            (Some(old), None) => {
                self.note::<K>(&old.name_any(), Note::Was(Box::new(Line::of(&self.stream, 0, Happened::Gone, old.as_ref()))));
            }
            (None, None) => {}
        }
    }

    fn note<K: Resource<DynamicType = ()>>(&self, name: &str, note: Note) {
        if self.target == Target::Off {
            return;
        }
        let mut pending = self.pending.lock();
        let gone = matches!(note, Note::Was(_)) && pending.values().filter(|note| matches!(note, Note::Was(_))).count() >= MOST_GONE;
        if gone {
            tracing::warn!(kind = %K::kind(&()), name, "too many deletions wait for the export, so this one is not exported");
            return;
        }
        pending.insert((K::kind(&()).into_owned(), name.to_owned()), note);
        drop(pending);
        self.wake.notify_one();
    }

    /// Writes what is to be written, for ever.
    pub async fn run(&self, memory: &Memory, metrics: &Metrics) {
        if self.target == Target::Off {
            return;
        }
        let sink = match Sink::start(self.target.clone()) {
            Ok(sink) => sink,
            Err(error) => {
                tracing::error!(%error, "the record is not exported: no thread for it");
                return;
            }
        };
        memory.read(|content, _| {
            content.grants.names().for_each(|name| self.note::<Grant>(name, Note::Is(Happened::Kept)));
            content.world.departures().all().for_each(|(name, _)| self.note::<Departure>(name, Note::Is(Happened::Kept)));
        });
        let mut written = 0;
        loop {
            let notes = self.next().await;
            let lines = self.lines(memory, &notes, written);
            let count = lines.lines().count() as u64;
            if count > 0 {
                self.insist(&sink, &lines, metrics).await;
                written += count;
                metrics.exported(count);
            }
            self.under_way.store(0, Ordering::SeqCst);
            metrics.export_waits(self.waiting());
        }
    }

    async fn next(&self) -> Vec<((String, String), Note)> {
        loop {
            let notes: Vec<_> = {
                let mut pending = self.pending.lock();
                let notes: Vec<_> = std::iter::from_fn(|| pending.pop_first()).take(BATCH).collect();
                self.under_way.store(notes.len(), Ordering::SeqCst);
                notes
            };
            if !notes.is_empty() {
                return notes;
            }
            self.wake.notified().await;
        }
    }

    /// The lines of a batch, older versions first, numbered after those that were written.
    fn lines(&self, memory: &Memory, notes: &[((String, String), Note)], written: u64) -> String {
        let mut lines: Vec<Line> = notes
            .iter()
            .filter_map(|((kind, name), note)| match note {
                Note::Was(line) => Some(line.as_ref().clone()),
                Note::Is(event) if kind == "Grant" => self.line_of::<Grant>(memory, name, *event),
                Note::Is(event) => self.line_of::<Departure>(memory, name, *event),
            })
            .collect();
        lines.sort_by_key(Line::version);
        (1..).zip(lines).map(|(number, line)| Line { sequence: written + number, ..line }.text()).collect()
    }

    /// Nothing, if it went meanwhile: that is told by a line of its own.
    fn line_of<K: Kept + Resource<DynamicType = ()> + Serialize>(&self, memory: &Memory, name: &str, event: Happened) -> Option<Line> {
        let object = memory.get::<K>(&ClusterKey::Home, &(String::new(), name.to_owned()))?;
        Some(Line::of(&self.stream, 0, event, object.as_ref()))
    }

    /// Writes the same lines until they are written, and says so while they are not.
    async fn insist(&self, sink: &Sink, lines: &str, metrics: &Metrics) {
        let mut pause = SOONEST;
        let mut failed = false;
        metrics.export_waits(self.waiting());
        while let Err(error) = self.try_once(sink, lines, metrics).await {
            failed = true;
            metrics.export_failed();
            metrics.export_waits(self.waiting());
            tracing::warn!(
                to = ?self.target, %error, waiting = self.waiting(),
                "the record cannot be exported and is tried again; access goes on, and nothing is purged meanwhile"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LATEST);
        }
        if failed {
            tracing::info!(to = ?self.target, "the record is exported again");
        }
    }

    /// Writes lines, and says so while that hangs, as it does when nobody reads a pipe.
    async fn try_once(&self, sink: &Sink, lines: &str, metrics: &Metrics) -> std::io::Result<()> {
        let mut write = std::pin::pin!(sink.write(lines.to_owned()));
        loop {
            match timeout(HANGS, &mut write).await {
                Ok(outcome) => return outcome,
                Err(_) => {
                    metrics.export_failed();
                    metrics.export_waits(self.waiting());
                    tracing::warn!(to = ?self.target, waiting = self.waiting(), "the export hangs: does anybody read it? Access goes on, and nothing is purged meanwhile");
                }
            }
        }
    }
}
