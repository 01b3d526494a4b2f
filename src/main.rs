//! The `usher` command: see `usher --help`.

use std::process::ExitCode;

use clap::Parser;
use usher::cli::Cli;
use usher::cli::connect::chain;

/// Thousands of small objects come and go for years: this one keeps them close together. `.cargo/config.toml` tunes it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
