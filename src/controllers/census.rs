//! What metrics tell of all that is kept.

use std::collections::BTreeMap;

use crate::api::SourceState;
use crate::api::departure::DepartureState;
use crate::api::provider::ProviderState;
use crate::plan::departures::{lasts, overdue};
use crate::plan::scorecard::Figures;
use crate::plan::scorecard::times::Took;
use crate::telemetry::metrics::{Census, ScorecardCensus, SourceCensus};

use super::context::Context;

/// Every state that a Departure may be told in, so that none of them is left out when nobody is in it.
const STATES: [DepartureState; 5] = [
    DepartureState::Revoking,
    DepartureState::Verifying,
    DepartureState::Incomplete,
    DepartureState::Complete,
    DepartureState::CompleteWithWaivers,
];

/// Counts Departures, Providers and Sources by their states.
pub fn take(context: &Context) -> Census {
    let now = context.now();
    let scorecards = context.figures.told().into_iter().map(|(name, figures)| scorecard(name, &figures)).collect();
    context.memory.read(|content, _| {
        let mut departures: BTreeMap<&'static str, usize> = STATES.map(|state| (word(state), 0)).into();
        let mut late = 0;
        for (_, departure) in content.world.departures().all().filter(|(_, departure)| lasts(departure)) {
            let state = departure.status.as_ref().and_then(|status| status.state).unwrap_or(DepartureState::Revoking);
            *departures.entry(word(state)).or_default() += 1;
            late += usize::from(overdue(departure, now));
        }
        let state_of = |provider: &crate::api::Provider| provider.status.as_ref().and_then(|status| status.state);
        let told = content.world.live_providers().filter_map(|(name, provider)| Some((name.clone(), provider_word(state_of(provider)?))));
        let providers = told.collect();
        let state_of = |source: &crate::api::Source| source.status.as_ref().and_then(|status| status.state);
        let sources = content.world.sources().map(|(name, source)| {
            let age = context.sources.complete_at(name).map(|at| now.duration_since(at).as_secs_f64());
            SourceCensus { name: name.clone(), state: state_of(source).map(source_word), age }
        });
        Census { departures, overdue: late, providers, sources: sources.collect(), consistency: context.consistency.ratios(), scorecards }
    })
}

fn scorecard(name: String, figures: &Figures) -> ScorecardCensus {
    let times = |took: &Took| {
        let percentiles = [("50", 50), ("90", 90)].into_iter();
        percentiles.filter_map(|(label, percent)| Some((label, took.percentile(percent)?.as_secs_f64()))).collect()
    };
    let status = &figures.status;
    let (rate, kinds) = (&status.access_error_rate, status.manual_touchpoints.by_kind);
    ScorecardCensus {
        name,
        people: status.people,
        access: times(&figures.access),
        commit: times(&figures.commit),
        errors: ratio(rate.errors, rate.expected),
        denied: rate.denied,
        touchpoints: vec![
            ("waiver", kinds.waiver),
            ("release", kinds.release),
            ("conflict", kinds.conflict),
            ("handRepair", kinds.hand_repair),
            ("handMadeAccess", kinds.hand_made_access),
        ],
        consistency: figures.alike.ratio(),
    }
}

/// A share from 0 to 1; nothing of nothing.
fn ratio(part: i64, whole: i64) -> Option<f64> {
    let number = |count: i64| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
    (whole > 0).then(|| number(part) / number(whole))
}

const fn word(state: DepartureState) -> &'static str {
    match state {
        DepartureState::Revoking => "Revoking",
        DepartureState::Verifying => "Verifying",
        DepartureState::Incomplete => "Incomplete",
        DepartureState::Complete => "Complete",
        DepartureState::CompleteWithWaivers => "CompleteWithWaivers",
    }
}

const fn provider_word(state: ProviderState) -> &'static str {
    match state {
        ProviderState::Connected => "Connected",
        ProviderState::Unreachable => "Unreachable",
        ProviderState::Quarantined => "Quarantined",
        ProviderState::Braked => "Braked",
        ProviderState::Observing => "Observing",
    }
}

const fn source_word(state: SourceState) -> &'static str {
    match state {
        SourceState::Reading => "Reading",
        SourceState::InSync => "InSync",
        SourceState::Incomplete => "Incomplete",
        SourceState::Braked => "Braked",
        SourceState::Observing => "Observing",
    }
}
