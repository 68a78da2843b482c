//! One executor: a child process that holds the graphs of a project.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::peer::{Answers, Call, CallError};
use crate::protocol::{Hello, Manifest, RemoteError};

/// How to start an executor.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What executes it: the interpreter of the user's project.
    pub interpreter: PathBuf,
    /// The interpreter's arguments; see [`crate::python::Package::arguments`].
    pub arguments: Vec<OsString>,
    /// Variables on top of the worker's own environment, without those of the worker itself (`RUNLOOM_…`).
    pub environment: Vec<(OsString, OsString)>,
    /// The working folder.
    pub folder: PathBuf,
    /// What to load.
    pub hello: Hello,
    /// How long it may take to load the graphs.
    pub patience: Duration,
}

/// How long an executor may take to load its graphs, unless the configuration says otherwise.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Why there is no executor.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// The interpreter cannot be started.
    #[error("cannot start {interpreter}: {problem}")]
    Spawn {
        /// The interpreter.
        interpreter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It ended before it had loaded its graphs.
    #[error("the executor ended while it started ({exit})\n{said}")]
    Died {
        /// How it ended.
        exit: String,
        /// The last that it wrote.
        said: String,
    },
    /// It took too long to load its graphs.
    #[error("the executor did not load its graphs within {} s\n{said}", .limit.as_secs())]
    Late {
        /// How long it had.
        limit: Duration,
        /// The last that it wrote.
        said: String,
    },
    /// It refused to work with this worker.
    #[error("the executor refused to start: {0}")]
    Refused(RemoteError),
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its status or the signal that ended it, for people.
    pub how: String,
    /// The last that it wrote.
    pub said: String,
}

/// A running executor. Dropping it kills its process group.
pub struct Process {}

impl Process {
    /// Starts a process and waits until it has loaded its graphs.
    pub async fn start(launch: &Launch) -> Result<Self, StartError> {
        todo!("{launch:?}")
    }

    /// What it has.
    pub fn manifest(&self) -> &Arc<Manifest> {
        todo!()
    }

    /// Sends a request. What the executor asks on its behalf is answered by `answers`, or refused.
    pub fn open<B: Serialize + ?Sized>(
        &self,
        method: &str,
        body: &B,
        answers: Option<Arc<dyn Answers>>,
    ) -> Result<Call, CallError> {
        todo!("{method}")
    }

    /// Kills the process and everything that it started.
    pub fn kill(&self) {
        todo!()
    }

    /// Waits until it is gone.
    pub async fn gone(&self) -> Exit {
        todo!()
    }
}
