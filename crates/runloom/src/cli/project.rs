//! The project in Python that is served, and how its processes are run.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use clap::Args;
use runloom_remote::project::{Overrides, Settings, Surroundings};

/// Graphs of a project in Python.
#[derive(Debug, Args)]
#[command(next_help_heading = "Graphs in Python")]
pub(crate) struct ProjectArgs {
    /// The `langgraph.json` of a project; if there is one in this folder, it is served without being
    /// named, in place of the demo agent.
    #[arg(long, env = "RUNLOOM_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Python, or the folder of a virtual environment, with the packages of the project. If it is not
    /// given: the active one, `.venv` or `venv` beside the project or above it in its repository, PATH.
    #[arg(long, env = "RUNLOOM_PYTHON", value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,
    /// Serve the graphs even if the project asks for something that is not served, such as
    /// authentication.
    #[arg(long, env = "RUNLOOM_ALLOW_UNSUPPORTED")]
    pub(crate) allow_unsupported: bool,
    /// Processes that share the runs of this worker; 1 if the project does not say otherwise.
    #[arg(long, env = "RUNLOOM_EXECUTOR_PROCESSES")]
    pub(crate) executor_processes: Option<NonZeroU16>,
    /// Runs that one process executes at once; 64 if the project does not say otherwise.
    #[arg(long, env = "RUNLOOM_EXECUTOR_MAX_RUNS")]
    pub(crate) executor_max_runs: Option<NonZeroU32>,
    /// Memory, in MiB, above which a process is replaced once its runs are over.
    #[arg(long, env = "RUNLOOM_EXECUTOR_MEMORY_LIMIT")]
    pub(crate) executor_memory_limit: Option<NonZeroU64>,
}

impl ProjectArgs {
    /// What outranks the project's own file.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            python: self.python.clone(),
            allow_unsupported: self.allow_unsupported,
            settings: Settings {
                processes: self.executor_processes.map(NonZeroU16::get),
                max_runs: self.executor_max_runs.map(NonZeroU32::get),
                memory_limit_mb: self.executor_memory_limit.map(NonZeroU64::get),
            },
            surroundings: Surroundings::of_this_process(),
        }
    }
}
