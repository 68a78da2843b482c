//! Where a role keeps what it knows.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::seconds;

/// The database of `runloom dev`.
#[derive(Debug, Args)]
pub(crate) struct EmbeddedArgs {
    /// Folder of the database; created if it is missing.
    #[arg(
        long,
        env = "RUNLOOM_DATA",
        default_value = ".runloom",
        conflicts_with = "memory"
    )]
    pub(crate) data: PathBuf,
    /// Keep everything in memory and forget it at the end.
    #[arg(long)]
    pub(crate) memory: bool,
    /// Time that the events of a resumable run are kept after its end, in seconds.
    #[arg(long, env = "RUNLOOM_STREAM_TTL", default_value = "120", value_parser = seconds)]
    pub(crate) stream_ttl: Duration,
}
