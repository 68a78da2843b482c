//! How runs are executed.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Args;
use runloom_remote::project::ThreadAge;

use super::{RetentionArgs, lease, seconds};

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
    /// Attempts of a run before faults of the infrastructure fail it.
    #[arg(long, env = "RUNLOOM_MAX_ATTEMPTS", default_value = "3")]
    pub(crate) max_attempts: NonZeroU32,
    #[command(flatten)]
    pub(crate) retention: RetentionArgs,
}

/// The times that gateways and workers must agree on.
#[derive(Debug, Args)]
pub(crate) struct TimingArgs {
    /// Time, in seconds, that a worker may be silent before others take over its runs. It speaks four
    /// times as often, and stops itself a tenth earlier. The same for all processes.
    #[arg(long, env = "RUNLOOM_LEASE", default_value = "10", value_parser = lease)]
    pub(crate) lease: Duration,
    /// Time that runs get to reach the end of a step, and open connections to end, when the
    /// process stops, in seconds.
    #[arg(long, env = "RUNLOOM_DRAIN_BUDGET", default_value = "10", value_parser = seconds)]
    pub(crate) drain_budget: Duration,
}

impl WorkerArgs {
    /// The worker that they describe, where a project says this of the age of threads.
    pub(crate) fn config(&self, timing: &TimingArgs, project: ThreadAge) -> runloom_worker::Config {
        let mut config = runloom_worker::Config {
            slots: self.slots.get(),
            run_timeout: Some(self.run_timeout),
            grace: self.stop_grace,
            lease: timing.lease,
            margin: timing.lease / 10,
            drain: timing.drain_budget,
            ..runloom_worker::Config::default()
        };
        self.retention.apply(project, &mut config);
        config
    }
}
