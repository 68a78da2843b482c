//! A load generator for any server that speaks the Agent Server's API, and the report of what it found.
//!
//! It drives a server over HTTP alone. Absolute figures belong to one machine and one session; compare
//! only what one session measured.

#![expect(
    clippy::cast_precision_loss,
    reason = "counts of a measurement are far below 2^52"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is rounded down here is a positive count"
)]

mod client;
mod floor;
mod http;
mod latency;
mod machine;
mod measure;
mod report;
mod results;
mod scenario;
mod sse;
mod usage;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures servers that run agents.
#[derive(Debug, Parser)]
#[command(name = "runloom-bench", about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Measures a server that is running. It must serve the graphs `echo`, `work` and `tokens`.
    Run(Box<measure::RunArgs>),
    /// Measures what a server is built on: Postgres, NATS and HTTP, with nothing else.
    Floor(floor::FloorArgs),
    /// Makes a page and a chart of what one session has measured.
    Report(ReportArgs),
}

/// What a report is made of.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Files with results, or folders of such files.
    #[arg(long, required = true, num_args = 1..)]
    json: Vec<PathBuf>,
    /// The page to write.
    #[arg(long)]
    markdown: PathBuf,
    /// The chart to write.
    #[arg(long)]
    chart: PathBuf,
    /// Remarks that are put into the page.
    #[arg(long, default_value = "crates/bench/remarks.md")]
    remarks: PathBuf,
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Run(args) => {
            // One thread drives it all: it leaves the most of the machine to the server.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(measure::run(&args))
        }
        Command::Floor(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            runtime.block_on(floor::run(&args))
        }
        Command::Report(args) => report::write(&args),
    }
}
