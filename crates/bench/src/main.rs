//! A load generator for any server that speaks the Agent Server's API.
//!
//! It drives the server over HTTP alone and prints a table. Absolute figures belong to one machine
//! and one session; compare only what one call printed.

mod client;
mod latency;
mod process;
mod scenario;

use clap::{Parser, ValueEnum};

use client::Client;
use process::Server;

/// What to measure, and against what.
#[derive(Debug, Parser)]
#[command(name = "runloom-bench", about)]
struct Args {
    /// A server that is running already; it must serve the graphs `echo` and `slow`. Several are
    /// gateways to the same threads: requests alternate between them.
    #[arg(long, conflicts_with = "bin")]
    url: Vec<String>,
    /// A `runloom` binary to start for the measurement, in a folder of its own.
    #[arg(long, required_unless_present = "url")]
    bin: Option<std::path::PathBuf>,
    /// Start the binary as two gateways and three workers on this Postgres database.
    #[arg(long, requires = "bin", requires = "nats_url")]
    database_url: Option<String>,
    /// Start the binary as two gateways and three workers on these NATS servers.
    #[arg(long, requires = "database_url")]
    nats_url: Option<String>,
    /// What to measure.
    #[arg(long, default_value = "all")]
    only: Only,
    /// Seconds of each throughput measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Samples of each latency measurement.
    #[arg(long, default_value_t = 100)]
    samples: usize,
    /// Threads to be interrupted at the same time: one line for each number.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    threads: Vec<usize>,
}

/// The scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    /// All of them.
    All,
    /// How fast one run takes the place of another.
    Interrupt,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let servers = match (&args.bin, &args.database_url, &args.nats_url) {
        (None, ..) => Vec::new(),
        (Some(bin), Some(database), Some(nats)) => Server::cluster(bin, database, nats).await?,
        (Some(bin), ..) => vec![Server::start(bin).await?],
    };
    let started = servers.iter().filter_map(Server::url);
    let urls: Vec<String> = started.chain(args.url.clone()).collect();
    let clients = urls.iter().map(|url| Client::new(url));
    let clients = clients.collect::<anyhow::Result<Vec<_>>>()?;
    measure(&args, &clients, &servers).await
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
async fn measure(args: &Args, clients: &[Client], servers: &[Server]) -> anyhow::Result<()> {
    let memory = || servers.iter().filter_map(Server::memory_mib).sum::<f64>();
    if !servers.is_empty() {
        println!(
            "memory at rest                        {:>9.1} MiB",
            memory()
        );
    }
    // The first requests pay for connections and for pages that nobody has read.
    scenario::wait(&clients[0], 4, 1.0).await?;
    if args.only == Only::All {
        for number in [1, 16, 64] {
            let result = scenario::wait(&clients[0], number, args.seconds).await?;
            println!(
                "wait, one node, {number:>3} clients           {:>9.0} runs/s   {}",
                result.per_second, result.latency
            );
        }
        let first = scenario::first_event(&clients[0], args.samples).await?;
        println!("create -> first event                                {first}");
    }
    for &threads in &args.threads {
        let samples = args.samples.max(threads * 4);
        let interrupt = scenario::interrupt(clients, threads, samples).await?;
        println!(
            "interrupt, {threads:>3} threads -> second run's first event  {}",
            interrupt.first_event
        );
        println!(
            "interrupt, {threads:>3} threads -> first run seen over       {}",
            interrupt.stopped
        );
        println!(
            "interrupts with a wrong outcome       {:>9}",
            interrupt.wrong
        );
    }
    if !servers.is_empty() {
        println!(
            "memory afterwards                     {:>9.1} MiB",
            memory()
        );
    }
    Ok(())
}
