//! The `usher` command: see `usher --help`.

use std::process::ExitCode;

use clap::Parser;
use usher::cli::Cli;
use usher::cli::connect::chain;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().execute().await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            use std::io::Write;
            // There is nowhere else to say it.
            let _ = writeln!(std::io::stderr(), "error: {}", chain(error.as_ref()));
            ExitCode::from(2)
        }
    }
}
