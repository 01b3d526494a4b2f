//! The passes that tell the figures: all Scorecards at once, as most changes concern several of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::Api;

use crate::api::Scorecard;
use crate::cluster::error::Error;
use crate::plan::scorecard::{Facts, Figures, Person, figures, next_change, observed, upkeep};

use super::super::context::Context;
use super::super::frame::{Done, Pass};
use super::ledgers::write_down;

/// So many people are looked at before others may go on.
const CHUNK: usize = 500;

/// The passes over Scorecards.
pub struct Scorecards {
    context: Arc<Context>,
}

impl Pass for Scorecards {
    fn kind(&self) -> &'static str {
        "Scorecard"
    }

    fn pass<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Done> {
        self.run().boxed()
    }
}

impl Scorecards {
    /// The passes over Scorecards.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    async fn run(&self) -> Done {
        let (context, now) = (&self.context, self.context.now());
        let ledger = match write_down(context).await {
            Ok(written) => written.map(|(ledger, _)| ledger),
            Err(error) => return Done { errors: vec![error], ..Done::default() },
        };
        // Whoever completes what is missing asks again.
        let (Some(ledger), Some((alike, wrong))) = (ledger, context.consistency.all()) else { return Done::gone() };
        let people = self.people(now).await;
        let mut done = Done { errors: self.keep_up(&people).await, ..Done::default() };
        let all: Vec<Arc<Scorecard>> = context.memory.read(|content, _| content.scorecards.values().cloned().collect());
        let facts = Facts { people: &people, wrong: &wrong, alike: &alike, ledger: &ledger, now };
        let mut told = BTreeMap::new();
        for scorecard in &all {
            let figures = figures(&scorecard.spec, &facts);
            match self.tell(scorecard, &figures, now).await {
                Ok(wrote) => done.wrote |= wrote,
                Err(error) => done.errors.push(error),
            }
            told.insert(scorecard.metadata.name.clone().unwrap_or_default(), figures);
            tokio::task::yield_now().await;
        }
        context.figures.kept.lock().told = told;
        let windows: BTreeSet<_> = all.iter().map(|scorecard| scorecard.spec.window.duration()).collect();
        done.recheck_at = next_change(&people, &windows, now);
        done
    }

    /// Everybody, some at a time: the memory is others' meanwhile.
    async fn people(&self, now: Timestamp) -> Vec<Person> {
        let memory = &self.context.memory;
        let names: Vec<String> = memory.read(|content, _| content.world.developers().map(|(name, _)| name.clone()).collect());
        let mut people = Vec::with_capacity(names.len());
        for some in names.chunks(CHUNK) {
            memory.read(|content, _| {
                let there = some.iter().filter_map(|name| content.world.developer(name));
                people.extend(there.map(|developer| Person::of(&content.world, developer, now)));
            });
            tokio::task::yield_now().await;
        }
        people
    }

    /// Makes those that are lacking, corrects those of another window, and removes those of teams that nobody is in. Returns what went wrong.
    async fn keep_up(&self, people: &[Person]) -> Vec<Error> {
        let context = &self.context;
        let window = &context.memory.settings().figures.window;
        let upkeep = context.memory.read(|content, _| upkeep(people, window, content.scorecards.values()));
        let mut errors = Vec::new();
        for scorecard in &upkeep.make {
            errors.extend(context.objects.begin_scorecard(scorecard).await.err());
        }
        for scorecard in &upkeep.correct {
            errors.extend(context.objects.set_window(scorecard, window).await.err());
        }
        if !upkeep.remove.is_empty() {
            errors.extend(self.remove(&upkeep.remove).await.err());
        }
        errors
    }

    /// While one of usher's kinds is missing it only seems that nobody is in a team.
    async fn remove(&self, scorecards: &[Arc<Scorecard>]) -> Result<(), Error> {
        if self.context.read_epoch().await?.is_none() {
            return Ok(());
        }
        let api: Api<Scorecard> = Api::all(self.context.client.clone());
        for scorecard in scorecards {
            self.context.objects.purge(&api, scorecard.as_ref()).await?;
        }
        Ok(())
    }

    async fn tell(&self, scorecard: &Scorecard, figures: &Figures, now: Timestamp) -> Result<bool, Error> {
        let previous = scorecard.status.as_ref();
        let status = observed(previous, figures.status.clone(), now);
        self.context.objects.write_status(scorecard, previous, &status).await
    }
}
