//! Structured logs, as text for people or as JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Starts logging to standard error.
///
/// # Errors
/// When the filter is not one of tracing's directives.
pub fn start(format: Format, filter: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter: EnvFilter = filter.parse()?;
    let registry = tracing_subscriber::registry().with(filter);
    let mut layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    if !std::io::stderr().is_terminal() {
        // In a file or a pipe, colours are in the way of whoever searches.
        layer.set_ansi(false);
    }
    match format {
        Format::Text => registry.with(layer).init(),
        Format::Json => registry.with(layer.json().flatten_event(true).with_current_span(true).with_span_list(false)).init(),
    }
    Ok(())
}
