//! What the process says of itself. Log lines are set up once, and written to standard error, so that
//! standard output stays for people.

mod json;
mod sender;
pub(crate) mod traces;

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;

use crate::cli::LogFormat;

/// Starts to write log lines that pass `filter`.
pub(crate) fn init(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).context("--log")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder
            .with_ansi(false)
            .fmt_fields(JsonFields::new())
            .event_format(json::Flat)
            .try_init(),
    };
    started
        .map_err(|error| anyhow::anyhow!(error))
        .context("cannot start logging")?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A node that panics fails its run, which says so. Where it did belongs into the log, in the form
/// of everything else.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let place = place.unwrap_or_default();
    let text = panic.payload_as_str().unwrap_or("no text");
    tracing::error!(place, error = text, "a panic");
}
