//! Measures usher on a real control plane, against bare clients that write the same in the same run (DESIGN.md, "Numbers").
//!
//! `make bench N=500`, or `cargo bench --bench bench -- --people 500`. Each part has a control plane of its own, one after another: `usher` declares people
//! and waits until all are Ready, `replay` sends the writes that the operator sent meanwhile, taken from the audit log, and `floor` sends the ten that a
//! person needs. Absolute figures are the machine's; ratios hold anywhere.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot be made says so by failing"
)]
#![allow(clippy::cast_precision_loss, reason = "counts are small")]
#![allow(missing_docs, reason = "a program, not a library")]

mod accounts;
mod calls;
mod floor;
mod handover;
mod large;
mod leaving;
mod opened;
mod outage;
mod people;
mod planning;
mod provisioning;
mod replay;
mod settled;
mod several;
mod table;

#[allow(dead_code, unused_imports, missing_docs, clippy::pedantic, reason = "made for the tests, and used in part here")]
#[path = "../tests/cluster/support/mod.rs"]
mod support;

#[allow(dead_code, reason = "made for the tests, and used in part here")]
#[path = "../tests/support/systems/proxy.rs"]
mod proxy;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// Measures usher on a real control plane of its own, with its baselines in the same run.
#[derive(Parser)]
struct Options {
    /// How many people are declared
    #[arg(long, default_value_t = 500)]
    people: usize,
    /// Measure this part only
    #[arg(long)]
    only: Option<Part>,
    /// Of accounts: in this system only, such as ldap
    #[arg(long)]
    system: Option<String>,
    /// Where the results go as JSON
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench.json"))]
    output: std::path::PathBuf,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured on control planes of its own.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What a plan costs, without any server
    Planning,
    /// Many people are declared
    Provisioning,
    /// A Role is edited, somebody comes, the operator is started again, and nothing happens
    Settled,
    /// One person leaves
    Leaving,
    /// The same in three clusters, for 500 people at most
    Several,
    /// A leader is told to stop
    Handover,
    /// Accounts come into being in outside systems
    Accounts,
    /// One person leaves while an outside system is down or hangs
    Outage,
    /// 10,000 people, and as much else as so many have; left out with fewer
    Large,
}

/// What DESIGN.md calls many; what is bounded for so many is not measured with more.
const MANY: usize = 2_000;
/// And what it calls large.
const LARGE: usize = 10_000;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let many = options.people.min(MANY);
    let mut rows = Vec::new();
    for part in Part::value_variants().iter().filter(|part| options.only.is_none_or(|only| only == **part)) {
        rows.extend(match part {
            Part::Planning => planning::measure(options.people),
            Part::Provisioning => provisioning::measure(many).await,
            Part::Settled => settled::measure(many).await,
            Part::Leaving => leaving::measure(many).await,
            Part::Several => several::measure(many).await,
            Part::Handover => handover::measure().await,
            Part::Accounts => accounts::measure(many, options.system.as_deref()).await,
            Part::Outage => outage::measure().await,
            Part::Large if options.people >= LARGE => large::measure(options.people).await,
            Part::Large => Vec::new(),
        });
    }
    table::print(&rows);
    table::write(&options.output, &rows);
    if rows.iter().all(|row| row.pass != Some(false)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
