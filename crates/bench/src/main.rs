//! A load generator for any server that speaks the Agent Server's API.
//!
//! It drives the server over HTTP alone and prints a table. Absolute figures belong to one machine
//! and one session; compare only what one call printed.

mod client;
mod latency;
mod process;
mod scenario;

use clap::Parser;

use client::Client;
use process::Server;

/// What to measure, and against what.
#[derive(Debug, Parser)]
#[command(name = "runloom-bench", about)]
struct Args {
    /// A server that is running already; it must serve the graphs `echo` and `slow`.
    #[arg(long, conflicts_with = "bin")]
    url: Option<String>,
    /// A `runloom` binary to start for the measurement, in a folder of its own.
    #[arg(long, required_unless_present = "url")]
    bin: Option<std::path::PathBuf>,
    /// Seconds of each throughput measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Samples of each latency measurement.
    #[arg(long, default_value_t = 100)]
    samples: usize,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let server = match &args.bin {
        Some(bin) => Some(Server::start(bin).await?),
        None => None,
    };
    let url = server
        .as_ref()
        .map_or_else(|| args.url.clone().unwrap_or_default(), Server::url);
    let client = Client::new(&url)?;

    if let Some(memory) = server.as_ref().and_then(Server::memory_mib) {
        println!("memory at rest                        {memory:>9.1} MiB");
    }
    scenario::wait(&client, 4, 1.0).await?;
    for clients in [1, 16, 64] {
        let result = scenario::wait(&client, clients, args.seconds).await?;
        println!(
            "wait, one node, {clients:>3} clients           {:>9.0} runs/s   {}",
            result.per_second, result.latency
        );
    }
    let first = scenario::first_event(&client, args.samples).await?;
    println!("create -> first event                                {first}");
    let interrupt = scenario::interrupt(&client, args.samples).await?;
    println!(
        "interrupt -> second run's first event                {}",
        interrupt.first_event
    );
    println!(
        "interrupt -> first run seen interrupted              {}",
        interrupt.stopped
    );
    println!(
        "interrupts with a wrong outcome       {:>9}",
        interrupt.wrong
    );
    if let Some(memory) = server.as_ref().and_then(Server::memory_mib) {
        println!("memory afterwards                     {memory:>9.1} MiB");
    }
    Ok(())
}
