//! The measurement of one server: all scenarios, each several times.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use tokio::time::timeout;

use crate::client::Server;
use crate::machine::{Machine, now};
use crate::results::{Case, Kind, Results, Round, Target};
use crate::scenario::soak::Stored;
use crate::scenario::{Ground, Scale};
use crate::scenario::{background, fanout, first_event, interrupt, soak, tokens, wait};
use crate::usage::{Processes, memory_kind};

/// A round that takes longer has failed.
const LONGEST_ROUND: Duration = Duration::from_mins(3);

/// How many events a long token stream has.
const TOKENS: usize = 5000;

/// Which server to measure, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// A short name without spaces.
    #[arg(long)]
    name: String,
    /// A name for readers.
    #[arg(long)]
    label: String,
    /// Whose server it is.
    #[arg(long)]
    kind: Kind,
    /// The language of its graphs: rust, python, js.
    #[arg(long)]
    graphs: String,
    /// Its version.
    #[arg(long)]
    version: String,
    /// A setting that figures depend on, as KEY=VALUE.
    #[arg(long, value_parser = setting)]
    setting: Vec<(String, String)>,
    /// Where it listens. Several are gateways to the same threads: requests alternate between them.
    #[arg(long, required = true)]
    url: Vec<String>,
    /// Its processes. What they have started counts with them.
    #[arg(long)]
    pid: Vec<u32>,
    /// Where it stores things, so that a soak can say how that grows: a folder, or the URL of a
    /// Postgres database.
    #[arg(long)]
    stored: Option<String>,
    /// The file to write.
    #[arg(long)]
    json: PathBuf,
    /// Keeps the other cases that the file has, such as those measured before the server was started
    /// anew.
    #[arg(long)]
    add: bool,
    /// What to measure, instead of everything.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// A quick look: one short round of everything.
    #[arg(long)]
    quick: bool,
    /// How often each scenario is repeated, instead of 3 times.
    #[arg(long)]
    rounds: Option<usize>,
    /// Runs of a soak, instead of 10,000.
    #[arg(long)]
    soak_runs: Option<usize>,
    /// Old runs before the last burst of a soak, instead of 20,000.
    #[arg(long)]
    soak_old: Option<usize>,
    /// Seconds after which a soak ends, however far it came.
    #[arg(long, default_value_t = 900)]
    soak_limit: u64,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Runs of one node, waited for.
    Wait,
    /// Runs queued on many threads, until all are over.
    Background,
    /// How soon a stream says something.
    FirstEvent,
    /// How fast one run takes the place of another.
    Interrupt,
    /// Many readers of one run.
    Fanout,
    /// A long token stream.
    Tokens,
    /// Many runs: memory, and speed afterwards.
    Soak,
}

impl RunArgs {
    fn scale(&self) -> Scale {
        let pick = |quick, usual| if self.quick { quick } else { usual };
        let millis = |quick, usual| Duration::from_millis(if self.quick { quick } else { usual });
        let soak = self.soak_runs.unwrap_or(pick(1000, 10_000));
        Scale {
            rounds: self.rounds.unwrap_or(pick(1, 3)).max(1),
            span: millis(2000, 5000),
            warm: millis(300, 1000),
            samples: pick(20, 100),
            soak,
            old: self.soak_old.unwrap_or(2 * soak),
            soak_limit: Duration::from_secs(self.soak_limit),
        }
    }

    fn target(&self) -> Target {
        Target {
            name: self.name.clone(),
            label: self.label.clone(),
            kind: self.kind,
            graphs: self.graphs.clone(),
            version: self.version.clone(),
            settings: self.setting.iter().cloned().collect::<BTreeMap<_, _>>(),
            gateways: self.url.len(),
            processes: self.pid.len(),
        }
    }

    fn wants(&self, scenario: Scenario) -> bool {
        self.only.is_empty() || self.only.contains(&scenario)
    }
}

/// A measurement under way. What was found is on disk after each case.
struct Measurement<'a> {
    args: &'a RunArgs,
    ground: Ground,
    results: Results,
}

pub(crate) async fn run(args: &RunArgs) -> anyhow::Result<()> {
    allow_many_connections()?;
    let processes = Processes::of(&args.pid);
    let missing = processes.missing();
    ensure!(missing.is_empty(), "no processes {missing:?}");
    let mut measurement = Measurement {
        args,
        ground: Ground {
            server: Arc::new(Server::at(&args.url).await?),
            processes,
            scale: args.scale(),
        },
        results: Results {
            target: args.target(),
            machine: Machine::here(),
            taken: now(),
            quick: args.quick,
            memory: memory_kind().to_owned(),
            cases: Vec::new(),
        },
    };
    if args.add && args.json.exists() {
        let earlier = Results::read_all(std::slice::from_ref(&args.json))?;
        let earlier = earlier.into_iter().next();
        measurement.results.cases = earlier.map(|results| results.cases).unwrap_or_default();
    }
    measurement.all().await
}

fn allow_many_connections() -> anyhow::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot allow itself many connections")
}

impl Measurement<'_> {
    async fn all(&mut self) -> anyhow::Result<()> {
        self.rest()?;
        for clients in [1, 16, 64] {
            let name = format!("wait/{clients}");
            let round = async |ground: &Ground| wait::round(ground, clients).await;
            self.case(Scenario::Wait, &name, round).await?;
        }
        self.case(Scenario::Background, "background", background::round)
            .await?;
        self.case(Scenario::FirstEvent, "first-event/1", first_event::idle)
            .await?;
        let round = async |ground: &Ground| first_event::bursts(ground, 50).await;
        self.case(Scenario::FirstEvent, "first-event/50", round)
            .await?;
        for threads in [1, 50] {
            let name = format!("interrupt/{threads}");
            let round = async |ground: &Ground| interrupt::round(ground, threads).await;
            self.case(Scenario::Interrupt, &name, round).await?;
        }
        let round = async |ground: &Ground| tokens::round(ground, TOKENS).await;
        self.case(Scenario::Tokens, "tokens", round).await?;
        let stored = self.args.stored.as_deref().map(Stored::at);
        let round = async |ground: &Ground| soak::round(ground, stored.as_ref()).await;
        self.case(Scenario::Soak, "soak", round).await?;
        // Last, as what many connections have needed is not given back soon.
        for readers in [500, 2000] {
            let name = format!("fanout/{readers}");
            let round = async |ground: &Ground| fanout::round(ground, readers).await;
            self.case(Scenario::Fanout, &name, round).await?;
        }
        Ok(())
    }

    /// Memory before anything was asked.
    fn rest(&mut self) -> anyhow::Result<()> {
        if self.ground.processes.is_empty() {
            return Ok(());
        }
        let mut round = Round::default();
        let memory = self.ground.processes.memory_mib();
        round.set("memory_mib", memory);
        round.set("memory_each_mib", memory / self.args.pid.len() as f64);
        self.note(Case {
            name: "rest".to_owned(),
            rounds: vec![round],
            failed: None,
        })
    }

    /// Measures a case, if it is wanted. A server that cannot do it has failed in it, not in the others.
    async fn case(
        &mut self,
        scenario: Scenario,
        name: &str,
        round: impl AsyncFn(&Ground) -> anyhow::Result<Round>,
    ) -> anyhow::Result<()> {
        if !self.args.wants(scenario) {
            return Ok(());
        }
        let (rounds, longest) = match scenario {
            // It takes long, and repeats itself.
            Scenario::Soak => (1, self.ground.scale.soak_limit + LONGEST_ROUND),
            _ => (self.ground.scale.rounds, LONGEST_ROUND),
        };
        let mut case = Case {
            name: name.to_owned(),
            rounds: Vec::new(),
            failed: None,
        };
        let ground = self.ground.clone();
        let measuring = async {
            wait::warm_up(&ground, ground.scale.warm)
                .await
                .context("warming up")?;
            for _ in 0..rounds {
                let round = timeout(longest, round(&ground)).await;
                let round = round.with_context(|| format!("no end within {longest:?}"))??;
                case.rounds.push(round);
            }
            anyhow::Ok(())
        };
        if let Err(error) = measuring.await {
            case.failed = Some(format!("{error:#}"));
        }
        self.note(case)
    }

    #[expect(
        clippy::print_stdout,
        reason = "whoever waits for it wants to see it go on"
    )]
    fn note(&mut self, case: Case) -> anyhow::Result<()> {
        println!("{:<16} {}", self.args.name, crate::report::line(&case));
        self.results.put(case);
        self.results.write(&self.args.json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_key_and_a_value() {
        let pair = ("url".to_owned(), "a=b".to_owned());
        assert_eq!(setting("url=a=b"), Ok(pair));
        assert!(setting("nothing").is_err());
    }
}
