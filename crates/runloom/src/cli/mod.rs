//! The command line: flags, their environment names, and what they mean.

mod backends;
mod gateway;
mod graphs;
mod project;
mod retention;
mod secret;
#[cfg(test)]
mod tests;
mod worker;

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use backends::{DatabaseArgs, EmbeddedArgs, MigrateArgs, NatsArgs, Storage};
pub(crate) use gateway::{GatewayArgs, ListenArgs, MonitorArgs, PartialArgs};
pub(crate) use graphs::{GraphArgs, ModelArgs};
pub(crate) use project::ProjectArgs;
pub(crate) use retention::{RetentionArgs, ThreadAgeArgs};
pub(crate) use secret::Secret;
pub(crate) use worker::{TimingArgs, WorkerArgs};

/// Queue-based orchestrator for AI-agent runs.
#[derive(Debug, Parser)]
#[command(name = "runloom", version, about)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Which log lines to write, such as `info` or `runloom_worker=debug,info`.
    #[arg(
        long,
        global = true,
        env = "RUNLOOM_LOG",
        default_value = "info,async_nats=warn"
    )]
    pub(crate) log: String,
    /// How to write log lines.
    #[arg(
        long,
        global = true,
        env = "RUNLOOM_LOG_FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
    /// Where to send traces, such as `http://collector:4318`; `OTEL_EXPORTER_OTLP_ENDPOINT` and the other
    /// variables of OpenTelemetry are heard, too. Without any, nothing is traced.
    #[arg(long, global = true, env = "RUNLOOM_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
}

/// The roles of the binary.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Gateway and worker in one process on an embedded database: no other server is needed.
    Dev(Box<Dev>),
    /// Answer clients; on Postgres and NATS, beside any number of others.
    Gateway(Box<GatewayRole>),
    /// Execute runs; on Postgres and NATS, beside any number of others.
    Worker(Box<WorkerRole>),
    /// Gateway and worker in one process, on Postgres and NATS.
    All(Box<All>),
    /// Bring the schema of the database to the version of this binary.
    Migrate(Migrate),
    /// Check the database and NATS, and say what to do.
    Doctor(Box<Doctor>),
    /// Ask a process of this machine how it is, and exit with 0 if it is well.
    Health(HealthProbe),
}

impl Command {
    /// What it is called in traces, if it has anything to do with runs.
    pub(crate) fn service(&self) -> Option<&'static str> {
        match self {
            Self::Dev(_) | Self::All(_) => Some("runloom"),
            Self::Gateway(_) => Some("runloom-gateway"),
            Self::Worker(_) => Some("runloom-worker"),
            Self::Migrate(_) | Self::Doctor(_) | Self::Health(_) => None,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything about `runloom dev`.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) monitor: MonitorArgs,
    #[command(flatten)]
    pub(crate) store: EmbeddedArgs,
    #[command(flatten)]
    pub(crate) timing: TimingArgs,
    #[command(flatten)]
    pub(crate) worker: WorkerArgs,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
    #[command(flatten)]
    pub(crate) graphs: GraphArgs,
    /// Do not load a project in Python anew when its files change.
    #[arg(long, env = "RUNLOOM_NO_RELOAD", help_heading = "Graphs in Python")]
    pub(crate) no_reload: bool,
}

/// Everything about `runloom gateway`.
#[derive(Debug, Args)]
pub(crate) struct GatewayRole {
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) monitor: MonitorArgs,
    #[command(flatten)]
    pub(crate) timing: TimingArgs,
    #[command(flatten)]
    pub(crate) servers: ServerArgs,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
    #[command(flatten)]
    pub(crate) graphs: GraphArgs,
}

/// Everything about `runloom worker`.
#[derive(Debug, Args)]
pub(crate) struct WorkerRole {
    #[command(flatten)]
    pub(crate) monitor: MonitorArgs,
    #[command(flatten)]
    pub(crate) timing: TimingArgs,
    #[command(flatten)]
    pub(crate) servers: ServerArgs,
    #[command(flatten)]
    pub(crate) worker: WorkerArgs,
    #[command(flatten)]
    pub(crate) graphs: GraphArgs,
}

/// Everything about `runloom all`.
#[derive(Debug, Args)]
pub(crate) struct All {
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) monitor: MonitorArgs,
    #[command(flatten)]
    pub(crate) timing: TimingArgs,
    #[command(flatten)]
    pub(crate) servers: ServerArgs,
    #[command(flatten)]
    pub(crate) worker: WorkerArgs,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
    #[command(flatten)]
    pub(crate) graphs: GraphArgs,
}

/// The servers that the roles for many machines stand on.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) migrate: MigrateArgs,
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
}

/// Everything about `runloom migrate`.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

/// Everything about `runloom doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
}

/// Everything about `runloom health`.
#[derive(Debug, Args)]
pub(crate) struct HealthProbe {
    /// What to ask: `http://HOST:PORT/PATH`. Without it, the process that has the same settings.
    pub(crate) url: Option<String>,
    /// Ask whether it can serve, not only whether it lives.
    #[arg(long, conflicts_with = "url")]
    pub(crate) ready: bool,
    #[command(flatten)]
    pub(crate) monitor: MonitorArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// A lease: long enough that a renewal fits in, short enough that a lost worker is noticed.
fn lease(text: &str) -> Result<Duration, String> {
    let lease = seconds(text)?;
    if (Duration::from_secs(1)..=Duration::from_hours(1)).contains(&lease) {
        return Ok(lease);
    }
    Err("a lease lasts between 1 and 3600 seconds".to_owned())
}
