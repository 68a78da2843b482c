//! What a server is built on, with nothing else: how fast it could be at best on this machine.

pub(crate) mod nats;
pub(crate) mod sql;
pub(crate) mod web;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::latency::Latency;
use crate::machine::{Machine, now};
use crate::results::{Case, Kind, Results, Round, Target};
use crate::scenario::{all, rate};
use crate::usage::memory_kind;

/// Which servers to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct FloorArgs {
    /// A Postgres database. A schema is made in it and removed.
    #[arg(long)]
    database_url: String,
    /// A NATS server with `JetStream`. A stream is made in it and removed.
    #[arg(long)]
    nats_url: String,
    /// The file to write.
    #[arg(long)]
    json: PathBuf,
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

pub(crate) async fn run(args: &FloorArgs) -> anyhow::Result<()> {
    let mut floor = Floor {
        args,
        results: Results {
            target: Target {
                name: "floor".to_owned(),
                label: "The floor".to_owned(),
                kind: Kind::Floor,
                graphs: String::new(),
                version: String::new(),
                settings: BTreeMap::new(),
                gateways: 0,
                processes: 0,
            },
            machine: Machine::here(),
            taken: now(),
            quick: false,
            memory: memory_kind().to_owned(),
            cases: Vec::new(),
        },
    };
    let span = Duration::from_secs(args.seconds);
    let mut ground = sql::Ground::prepare(&args.database_url).await?;
    let settings = ground.settings().await?;
    floor.results.target.settings.extend(settings);
    for connections in [1, 16, 32, 64] {
        let name = format!("sql/{connections}");
        let round = async || ground.round(connections, span).await;
        floor.case(&name, round).await?;
    }
    ground.remove().await?;
    floor
        .results
        .target
        .settings
        .insert("nats".to_owned(), nats::version(&args.nats_url).await?);
    floor
        .case("nats/core", async || nats::core(&args.nats_url, span).await)
        .await?;
    floor
        .case("nats/pull", async || nats::pull(&args.nats_url, span).await)
        .await?;
    floor
        .case("http/64", async || web::round(64, span).await)
        .await
}

struct Floor<'a> {
    args: &'a FloorArgs,
    results: Results,
}

impl Floor<'_> {
    #[expect(
        clippy::print_stdout,
        reason = "whoever waits for it wants to see it go on"
    )]
    async fn case(
        &mut self,
        name: &str,
        round: impl AsyncFn() -> anyhow::Result<Round>,
    ) -> anyhow::Result<()> {
        let mut case = Case {
            name: name.to_owned(),
            rounds: Vec::new(),
            failed: None,
        };
        for _ in 0..self.args.rounds.max(1) {
            match round().await {
                Ok(round) => case.rounds.push(round),
                Err(error) => {
                    case.failed = Some(format!("{error:#}"));
                    break;
                }
            }
        }
        println!("{:<16} {}", "floor", crate::report::line(&case));
        self.results.put(case);
        self.results.write(&self.args.json)
    }
}

/// Waits for closed loops, all begun at `began`, that give how long each of their turns took. `speed`
/// is what their turns in a second are called.
async fn gather(
    loops: JoinSet<anyhow::Result<Vec<Duration>>>,
    began: Instant,
    speed: &str,
) -> anyhow::Result<Round> {
    let mut latency = Latency::default();
    let mut turns = 0;
    for samples in all(loops).await? {
        turns += samples.len();
        for sample in samples {
            latency.record(sample);
        }
    }
    let mut round = Round::default();
    round.set(speed, rate(turns, began.elapsed()));
    latency.note(&mut round, "");
    Ok(round)
}
