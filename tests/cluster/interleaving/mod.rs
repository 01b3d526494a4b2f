//! Everything at once: people come, change, are locked, leave and return, while operators are killed, the leader changes and the API server restarts. After each
//! rest access is what a model of a page says, nobody who left or is locked holds anything, and no receipt that says Complete is contradicted by a full reading.
//!
//! The dice are printed; `USHER_SEED` repeats them, `USHER_STEPS` says how many steps (`make soak`: 1,000).

mod cluster;
mod model;
mod scan;

use std::time::Instant;

use self::cluster::Cluster;
use self::model::{Model, Step};
use crate::support::dice::Dice;

const STEPS: usize = 100;
/// After so many steps something breaks, in turn.
const QUIET_STEPS: usize = 12;
/// After so many steps somebody deletes a workspace by hand.
const UNTIL_A_NAMESPACE_GOES: usize = 31;
/// At most so many steps are made before everything comes to rest.
const AT_ONCE: usize = 8;

#[tokio::test]
async fn whatever_happens_and_in_whatever_order_access_is_exact_and_receipts_are_true() {
    let steps = std::env::var("USHER_STEPS").map_or(STEPS, |steps| steps.parse().expect("USHER_STEPS is a number"));
    let mut dice = Dice::new();
    let mut cluster = Cluster::new().await;
    let mut model = Model::default();
    let (mut done, mut rests, since) = (0, 0, Instant::now());
    while done < steps {
        for _ in 0..=dice.roll(AT_ONCE) {
            done += 1;
            if done.is_multiple_of(QUIET_STEPS) {
                cluster = cluster.breaks(done / QUIET_STEPS, &mut dice).await;
            } else {
                let step = Step::by(&mut dice, &model);
                println!("{done:4} {step:?}");
                cluster.carry_out(&step, &mut model).await;
            }
        }
        cluster.rest(&mut model).await;
        rests += 1;
        if done / UNTIL_A_NAMESPACE_GOES > model.lost_workspaces {
            cluster.lose_a_workspace(&mut model, &mut dice).await;
            cluster.rest(&mut model).await;
        }
    }
    cluster.end(&mut model).await;
    println!("{done} steps and {rests} rests in {:.0?}: {}", since.elapsed(), model.tally());
    cluster.stop().await;
}
