//! The command line: flags, their environment names, and what they mean.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use runloom_core::partial::{
    Partial, PartialOverride, PartialPolicy, PendingInput, Profile, ToolCalls,
};

/// Queue-based orchestrator for AI-agent runs.
#[derive(Debug, Parser)]
#[command(name = "runloom", version, about)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Which log lines to write, such as `info` or `runloom_worker=debug,info`.
    #[arg(long, global = true, env = "RUNLOOM_LOG", default_value = "info")]
    pub(crate) log: String,
    /// How to write log lines.
    #[arg(
        long,
        global = true,
        env = "RUNLOOM_LOG_FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
}

/// The roles of the binary.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Gateway and worker in one process on an embedded database: no other server is needed.
    Dev(Box<Dev>),
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
    /// Address or name to listen on.
    #[arg(long, env = "RUNLOOM_HOST", default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Port to listen on; 0 picks a free one.
    #[arg(long, env = "RUNLOOM_PORT", default_value_t = 8123)]
    pub(crate) port: u16,
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
    #[command(flatten)]
    pub(crate) worker: WorkerArgs,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
    #[command(flatten)]
    pub(crate) partial: PartialArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Also serve the small graphs that the project's own client tests use.
    #[arg(long, hide = true)]
    pub(crate) test_graphs: bool,
}

/// How runs are executed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Worker")]
pub(crate) struct WorkerArgs {
    /// Runs executed at the same time.
    #[arg(long, env = "RUNLOOM_SLOTS", default_value = "100")]
    pub(crate) slots: NonZeroUsize,
    /// Longest time a run may take, in seconds.
    #[arg(long, env = "RUNLOOM_RUN_TIMEOUT", default_value = "86400", value_parser = seconds)]
    pub(crate) run_timeout: Duration,
    /// Time that code which ignores a stop is waited for, in seconds; then it is fenced off.
    #[arg(long, env = "RUNLOOM_STOP_GRACE", default_value = "5", value_parser = seconds)]
    pub(crate) stop_grace: Duration,
    /// Time that runs get to reach the end of a step when the server stops, in seconds.
    #[arg(long, env = "RUNLOOM_DRAIN_BUDGET", default_value = "10", value_parser = seconds)]
    pub(crate) drain_budget: Duration,
    /// Attempts of a run before faults of the infrastructure fail it.
    #[arg(long, env = "RUNLOOM_MAX_ATTEMPTS", default_value = "3")]
    pub(crate) max_attempts: NonZeroU32,
}

/// How the server answers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Gateway")]
pub(crate) struct GatewayArgs {
    /// Largest request body, in MiB.
    #[arg(long, env = "RUNLOOM_BODY_LIMIT", default_value = "300")]
    pub(crate) body_limit: NonZeroUsize,
    /// Time that the events of a resumable run are kept after its end, in seconds.
    #[arg(long, env = "RUNLOOM_STREAM_TTL", default_value = "120", value_parser = seconds)]
    pub(crate) stream_ttl: Duration,
    /// End each stream with an `end` event that carries the run's status.
    #[arg(long, env = "RUNLOOM_END_EVENT")]
    pub(crate) end_event: bool,
}

/// What is kept of a run that was stopped. A run can override it in
/// `config.configurable.runloom`.
#[derive(Debug, Args)]
#[command(next_help_heading = "What an interrupted run leaves")]
pub(crate) struct PartialArgs {
    /// The answer it had begun to stream: `auto` keeps it in the thread, `off` on the run only.
    #[arg(long, env = "RUNLOOM_PARTIAL")]
    pub(crate) partial: Option<Partial>,
    /// Tool calls without an answer: `repair` answers them with an error, `keep` leaves them.
    #[arg(long, env = "RUNLOOM_TOOL_CALLS")]
    pub(crate) tool_calls: Option<ToolCalls>,
    /// The input of a run superseded before it started: `keep` applies it, `drop` does not.
    #[arg(long, env = "RUNLOOM_PENDING_INPUT")]
    pub(crate) pending_input: Option<PendingInput>,
    /// A named set of these: `strict` does what the published server does.
    #[arg(long, env = "RUNLOOM_PROFILE")]
    pub(crate) profile: Option<Profile>,
}

impl PartialArgs {
    /// The choices that hold for runs that make none.
    pub(crate) fn policy(&self) -> PartialPolicy {
        PartialPolicy::default().overridden_by(PartialOverride {
            profile: self.profile,
            partial: self.partial,
            tool_calls: self.tool_calls,
            pending_input: self.pending_input,
        })
    }
}

/// The model of the demo agent.
#[derive(Debug, Args)]
#[command(next_help_heading = "Demo agent")]
#[expect(
    clippy::struct_field_names,
    reason = "the flags carry the name that their users know"
)]
pub(crate) struct ModelArgs {
    /// An OpenAI-compatible endpoint; without it the agent follows a script and needs no network.
    #[arg(long, env = "OPENAI_BASE_URL")]
    pub(crate) openai_base_url: Option<String>,
    /// The key for it.
    #[arg(
        long,
        env = "OPENAI_API_KEY",
        hide_env_values = true,
        default_value = ""
    )]
    pub(crate) openai_api_key: String,
    /// The model to ask for.
    #[arg(long, env = "OPENAI_MODEL", default_value = "gpt-4o-mini")]
    pub(crate) openai_model: String,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_profile_can_be_softened_by_single_choices() {
        let args = [
            "runloom",
            "dev",
            "--profile",
            "strict",
            "--tool-calls",
            "repair",
        ];
        let Command::Dev(dev) = Cli::parse_from(args).command;
        let expected = PartialPolicy {
            tool_calls: ToolCalls::Repair,
            ..PartialPolicy::STRICT
        };
        assert_eq!(dev.partial.policy(), expected);
    }

    #[test]
    fn nonsense_is_refused() {
        for args in [
            ["--partial", "maybe"],
            ["--run-timeout", "-1"],
            ["--slots", "0"],
        ] {
            assert!(Cli::try_parse_from(["runloom", "dev"].into_iter().chain(args)).is_err());
        }
    }
}
