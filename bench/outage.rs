//! The rows "One person leaves while an outside system is down" and "while it hangs": what happens in the clusters never waits for outside systems.

use std::time::Duration;

use crate::accounts::{House, Place, scim};
use crate::leaving::{all_leave, percentile};
use crate::people;
use crate::support::client::kind;
use crate::support::wait_until;
use crate::table::Row;

/// How many leave in each state of the system: some at a time in turn, so that what else the machine does befalls all three.
const TURNS: usize = 3;
const A_TURN: usize = 34;
/// What an outage may make of it.
const MUST: f64 = 1.2;
const PROVIDER: &str = "sick";
const RECOVERS: Duration = Duration::from_mins(5);

/// What is the matter with the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well,
    Down,
    Hangs,
}

const STATES: [State; 3] = [State::Well, State::Down, State::Hangs];

/// Measures how long it takes until somebody who leaves is denied in the cluster, while everybody has an account in a system that is well, down, or hangs.
pub async fn measure() -> Vec<Row> {
    let people = STATES.len() * TURNS * A_TURN;
    eprintln!("outage: a control plane, the chart, the operator and {people} people with accounts");
    let house = House::with(people).await;
    let mut place = scim().await;
    house.declare(&place, PROVIDER).await;
    house.give(&place, PROVIDER).await;
    let names = people::names(people);
    let mut groups = names.chunks(A_TURN);
    let mut times: Vec<(State, Vec<f64>)> = STATES.map(|state| (state, Vec::new())).into();
    for turn in 0..TURNS {
        // None is always the first, when the cluster is emptiest.
        times.rotate_left(turn.min(1));
        for (state, times) in &mut times {
            let leavers = groups.next().expect("enough people");
            let measured;
            (place, measured) = leave_while(&house, place, *state, leavers).await;
            eprintln!("  {state:?}: p50 {:.0} ms, worst {:.0} ms", percentile(&measured, 0.5), percentile(&measured, 1.0));
            times.extend(measured);
        }
    }
    house.end().await;
    rows(&times)
}

fn rows(times: &[(State, Vec<f64>)]) -> Vec<Row> {
    let of = |wanted: State, share: f64| {
        let found = times.iter().find(|(state, _)| *state == wanted).expect("it was measured");
        percentile(&found.1, share)
    };
    let row = |what: &str, state: State| {
        [
            Row::beside(format!("One person leaves while a system {what}: p50, ms, vs well"), of(state, 0.5), of(State::Well, 0.5)),
            Row::at_most(
                format!("One person leaves while a system {what}: p99, ms, vs well"),
                of(state, 0.99),
                of(State::Well, 0.99),
                MUST,
            ),
        ]
    };
    [row("is down", State::Down), row("hangs", State::Hangs)].into_iter().flatten().collect()
}

async fn leave_while(house: &House, place: Place, state: State, leavers: &[String]) -> (Place, Vec<f64>) {
    match state {
        State::Well => {}
        State::Down => place.system().kill(),
        State::Hangs => place.system().pause(),
    }
    let times = all_leave(house.admin(), leavers).await;
    let place = match state {
        State::Well => place,
        State::Down => place.restarted().await,
        State::Hangs => {
            place.system().resume();
            place
        }
    };
    recovered(house).await;
    (place, times)
}

/// What waited for the system is done, so that the next turn begins like the one before.
async fn recovered(house: &House) {
    let api = kind(house.admin(), "Provider").await;
    wait_until("the system is well again", RECOVERS, async || {
        let status = api.get(PROVIDER).await.map_err(|error| error.to_string())?.data["status"].clone();
        if status["state"] == "Connected" && house.waiting(PROVIDER).await == 0.0 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}
