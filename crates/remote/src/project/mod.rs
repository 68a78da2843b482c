//! A project of the user: what its `langgraph.json` says, checked, and the interpreter that runs it.
//!
//! Every key of the file is applied, refused by name, or of no concern here; `keys` has the table.
//! What is wrong is said all at once. Left out: loading the graphs, which only their own language can.

mod environment;
mod error;
mod graphs;
mod interpreter;
mod keys;
mod paths;
mod surroundings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use runloom_core::json::JsonMap;
use runloom_core::partial::PartialOverride;
use runloom_core::thread::{Ttl, TtlStrategy};
use serde::Deserialize;
use serde_json::Value;

pub use environment::Environment;
pub use error::{InterpreterError, Level, Notice, ProjectError, Unfit};
pub use graphs::GraphSource;
pub use interpreter::{Found, Interpreter};
pub use surroundings::Surroundings;

use error::Findings;

/// The name of the file that describes a project.
pub const FILE: &str = "langgraph.json";

/// What one `langgraph.json` describes.
#[derive(Clone, Debug)]
pub struct Project {
    /// The file itself, absolute.
    pub file: PathBuf,
    /// Its folder: relative paths of graphs start here.
    pub root: PathBuf,
    /// The graphs by their ids; at least one.
    pub graphs: BTreeMap<String, GraphSource>,
    /// Folders from which code is imported, absolute, `root` first.
    pub dependencies: Vec<PathBuf>,
    /// Variables that its processes get beside those that they inherit.
    pub environment: Environment,
    /// What runs it.
    pub interpreter: Interpreter,
    /// What is kept of its runs when they are stopped; what is absent is the server's choice.
    pub interrupt: PartialOverride,
    /// How its processes are run; what is absent is the executor's choice.
    pub settings: Settings,
    /// How long its threads are kept; what is absent is the server's choice.
    pub threads: ThreadAge,
    /// All files, other than code, that it was read from.
    pub sources: Vec<PathBuf>,
}

/// How the processes of a project are run: the key `executor`, overridden by flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Processes that share the runs of one worker.
    pub processes: Option<u16>,
    /// Runs that one process executes at once.
    pub max_runs: Option<u32>,
    /// Memory, in MiB, above which a process is replaced.
    pub memory_limit_mb: Option<u64>,
}

/// How long threads are kept: the key `checkpointer.ttl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadAge {
    /// What becomes of a thread whose time is up.
    pub strategy: Option<TtlStrategy>,
    /// Minutes that a thread is kept that does not say so itself.
    pub default_ttl: Option<f64>,
    /// Minutes between two looks for threads whose time is up.
    pub sweep_interval_minutes: Option<f64>,
    /// How many threads one look deals with, at most.
    pub sweep_limit: Option<NonZeroU32>,
}

/// What is decided outside of the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The interpreter, or the folder of a virtual environment.
    pub python: Option<PathBuf>,
    /// Serve the graphs although the file asks for something that is not served.
    pub allow_unsupported: bool,
    /// Settings that outrank those in the file.
    pub settings: Settings,
    /// What is around the process that reads.
    pub surroundings: Surroundings,
}

impl Project {
    /// Reads `file` and asks its interpreter what it has.
    ///
    /// The notices are what people should know although it can be served.
    pub async fn read(
        file: &Path,
        overrides: &Overrides,
    ) -> Result<(Self, Vec<Notice>), ProjectError> {
        let file = paths::absolute(file);
        let root = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let said = said_by(&file)?;

        let mut findings = Findings::default();
        keys::judge(&said, &mut findings);
        let graphs = graphs::read(said.get("graphs"), &mut findings);
        let dependencies = paths::dependencies(said.get("dependencies"), &root, &mut findings);
        let (environment, env_file) = environment::read(
            said.get("env"),
            &root,
            &overrides.surroundings,
            &mut findings,
        );
        let interrupt = part(&said, "interrupt", &mut findings);
        let settings: Settings = part(&said, "executor", &mut findings);
        let threads = thread_age(&said, &mut findings);
        let mut notices = findings.settle(&file, overrides.allow_unsupported)?;

        let interpreter = Interpreter::of(&root, overrides).await?;
        notices.extend(interpreter.doubts(said.get("python_version")));
        let project = Self {
            sources: std::iter::once(file.clone()).chain(env_file).collect(),
            file,
            root,
            graphs,
            dependencies,
            environment,
            interpreter,
            interrupt,
            settings: settings.overridden_by(overrides.settings),
            threads,
        };
        Ok((project, notices))
    }
}

impl Settings {
    /// These settings with `stronger` applied over them.
    pub fn overridden_by(self, stronger: Self) -> Self {
        Self {
            processes: stronger.processes.or(self.processes),
            max_runs: stronger.max_runs.or(self.max_runs),
            memory_limit_mb: stronger.memory_limit_mb.or(self.memory_limit_mb),
        }
    }
}

fn said_by(file: &Path) -> Result<JsonMap, ProjectError> {
    let text = std::fs::read(file).map_err(|error| ProjectError::Unreadable {
        file: file.to_path_buf(),
        error,
    })?;
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    serde_json::from_slice(text).map_err(|error| ProjectError::NotJson {
        file: file.to_path_buf(),
        error,
    })
}

/// One of our own keys.
fn part<T: Default + for<'de> Deserialize<'de>>(
    said: &JsonMap,
    key: &str,
    findings: &mut Findings,
) -> T {
    read(said.get(key), key, findings)
}

/// What is said of the age of threads.
fn thread_age(said: &JsonMap, findings: &mut Findings) -> ThreadAge {
    const KEY: &str = "checkpointer.ttl";
    let checkpointer = said.get("checkpointer");
    let age: ThreadAge = read(
        checkpointer.and_then(|value| value.get("ttl")),
        KEY,
        findings,
    );
    let minutes = [age.default_ttl, age.sweep_interval_minutes];
    let makes_sense = |minutes| Ttl::new(minutes, TtlStrategy::default()).is_some();
    if !minutes.into_iter().flatten().all(makes_sense) {
        findings.broken(
            KEY,
            "minutes must be more than 0 and at most a hundred years",
        );
    }
    age
}

fn read<T: Default + for<'de> Deserialize<'de>>(
    value: Option<&Value>,
    key: &str,
    findings: &mut Findings,
) -> T {
    let value = value.filter(|value| !value.is_null());
    let Some(value) = value else {
        return T::default();
    };
    T::deserialize(value).unwrap_or_else(|error| {
        findings.broken(key, error.to_string());
        T::default()
    })
}
