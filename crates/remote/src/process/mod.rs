//! One executor: a child process that holds the graphs of a project.

mod group;
mod spawn;
mod watch;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::logs::{self, Source, Tail};
use crate::peer::{Answers, Call, CallError, Peer};
use crate::protocol::{Hello, Manifest, PROTOCOL, RemoteError};
use spawn::{Spawned, spawn};
use watch::Watched;

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

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the executor ended ({})", self.how)
    }
}

/// A running executor. Dropping it kills its process group.
pub struct Process {
    running: Running,
    manifest: Arc<Manifest>,
}

/// A process that may not have loaded its graphs yet.
struct Running {
    pid: u32,
    control: Peer,
    data: Peer,
    kill: CancellationToken,
    end: CancellationToken,
    exit: tokio::sync::watch::Receiver<Option<Exit>>,
    tail: Tail,
}

impl Process {
    /// Starts a process and waits until it has loaded its graphs. Dropping the future kills it.
    ///
    /// To be called on a thread of the runtime itself, not from `spawn_blocking`: the process is killed when
    /// the thread ends that started it.
    pub async fn start(launch: &Launch) -> Result<Self, StartError> {
        let spawned = spawn(launch).map_err(|problem| StartError::Spawn {
            interpreter: launch.interpreter.display().to_string(),
            problem: problem.to_string(),
        })?;
        let running = Running::watch(spawned);
        let hello = running.control.call::<_, Manifest>("hello", &launch.hello);
        let manifest = match timeout(launch.patience, hello).await {
            Ok(Ok(manifest)) if manifest.protocol == PROTOCOL => manifest,
            Ok(Ok(manifest)) => {
                let text = format!("it speaks version {} of the protocol", manifest.protocol);
                return Err(StartError::Refused(RemoteError::new("Protocol", text)));
            }
            Ok(Err(CallError::Refused(error))) => return Err(StartError::Refused(error)),
            Ok(Err(CallError::Gone)) => {
                let Exit { how, said } = running.gone().await;
                return Err(StartError::Died { exit: how, said });
            }
            Ok(Err(error)) => {
                let error = RemoteError::new(RemoteError::INVALID, error.to_string());
                return Err(StartError::Refused(error));
            }
            Err(_) => {
                return Err(StartError::Late {
                    limit: launch.patience,
                    said: running.tail.text(),
                });
            }
        };
        Ok(Self {
            running,
            manifest: Arc::new(manifest),
        })
    }

    /// Its process id, which is also the id of its group.
    pub fn pid(&self) -> u32 {
        self.running.pid
    }

    /// What it has.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Sends a request. What the executor asks on its behalf is answered by `answers`, or refused.
    pub fn open<B: Serialize + ?Sized>(
        &self,
        method: &str,
        body: &B,
        answers: Option<Arc<dyn Answers>>,
    ) -> Result<Call, CallError> {
        let Running { control, data, .. } = &self.running;
        let number = control.number();
        // Before the request is sent: what it leads to may arrive at once.
        let serves = answers.map(|answers| data.register(number, answers));
        let call = control.open_as(number, method, body)?;
        Ok(call.serving(serves))
    }

    /// Ends the process, in which nothing goes on: it is asked to, and killed if it has not done so after a
    /// few seconds. What user code wants done at the end of its process can be done meanwhile.
    pub fn end(&self) {
        self.running.end.cancel();
    }

    /// Kills the process and everything that it started.
    pub fn kill(&self) {
        self.running.kill.cancel();
    }

    /// Waits until it is gone, with everything in its group.
    pub async fn gone(&self) -> Exit {
        self.running.gone().await
    }

    /// Waits until it is about to be gone: nothing can be asked any more.
    pub async fn ending(&self) {
        let control = self.running.control.end_token();
        let data = self.running.data.end_token();
        tokio::select! {
            () = control.cancelled() => {}
            () = data.cancelled() => {}
            () = self.running.kill.cancelled() => {}
            () = self.running.end.cancelled() => {}
            _ = self.running.gone() => {}
        }
    }
}

impl Running {
    fn watch(spawned: Spawned) -> Self {
        let Spawned {
            mut child,
            group,
            pid,
            control,
            data,
        } = spawned;
        let control = Peer::start(control);
        let data = Peer::start(data);
        let tail = Tail::default();
        let output = TaskTracker::new();
        if let Some(stdout) = child.stdout.take() {
            output.spawn(logs::capture(stdout, Source::Stdout, pid, tail.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            output.spawn(logs::capture(stderr, Source::Stderr, pid, tail.clone()));
        }
        output.close();
        let kill = CancellationToken::new();
        let end = CancellationToken::new();
        let (sender, exit) = tokio::sync::watch::channel(None);
        let watched = Watched {
            child,
            group,
            kill: kill.clone(),
            end: end.clone(),
            control: control.end_token(),
            data: data.end_token(),
            output,
            tail: tail.clone(),
            exit: sender,
        };
        // It ends with the process.
        TaskTracker::new().spawn(watched.until_gone());
        Self {
            pid,
            control,
            data,
            kill,
            end,
            exit,
            tail,
        }
    }

    async fn gone(&self) -> Exit {
        let mut exit = self.exit.clone();
        let seen = exit.wait_for(Option::is_some).await;
        let seen = seen.ok().and_then(|exit| exit.clone());
        // The runtime is being shut down.
        seen.unwrap_or_else(|| Exit {
            how: "unknown".to_owned(),
            said: self.tail.text(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}
