//! The executors of one project: as many processes as configured, replaced when they fail.

mod backoff;
mod endings;
mod keeper;
mod member;
mod place;
mod question;
mod rooms;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::peer::{Answers, CallError};
use crate::process::{Launch, StartError};
use crate::protocol::{Manifest, RemoteError};
use keeper::{Keeper, Replacement};
use question::Question;
use rooms::{Asked, Rooms};

pub use crate::measures::Census;
pub use place::Place;

/// How many processes there are and what each may do.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// How many processes execute runs.
    pub processes: usize,
    /// How many runs each of them takes.
    pub max_runs: usize,
    /// A process that uses more memory than this (in bytes) is replaced.
    pub memory_limit: Option<u64>,
    /// Whether one more process is kept that has loaded everything and waits.
    pub spare: bool,
    /// A process that has not said how it is for as long as this is replaced: something in it keeps
    /// everything else from being executed.
    pub silence: Duration,
    /// How long a question waits for a process that can answer.
    pub question_wait: Duration,
    /// How long a process may take to answer a question. Then it is called off.
    pub question_limit: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            processes: 1,
            max_runs: 64,
            memory_limit: None,
            spare: true,
            silence: Duration::from_secs(30),
            question_wait: Duration::from_secs(15),
            question_limit: Duration::from_secs(30),
        }
    }
}

/// No process will take anything any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the executors were shut down")]
pub struct Closed;

/// Why a place was lost before its run was over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process was killed because this run could not be stopped.
    Killed,
    /// The process was killed by the worker for a reason that is not this run's: another run could not be
    /// stopped, or the pool was shut down.
    Evicted,
    /// The process ended by itself, or somebody else ended it; how, for people.
    Died(String),
}

/// The executors of one project. Clones share them; with the last one they end.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    rooms: Arc<Rooms>,
    manifest: watch::Receiver<Arc<Manifest>>,
    replacements: mpsc::UnboundedSender<Replacement>,
    closing: CancellationToken,
    tasks: TaskTracker,
    question_wait: Duration,
    question_limit: Duration,
}

impl Pool {
    /// Starts the processes; returns when the first one has loaded its graphs, or with why it did not.
    pub async fn start(config: PoolConfig, launch: Launch) -> Result<Self, StartError> {
        let first = keeper::start(&launch).await?;
        let rooms = Arc::new(Rooms::new(&config));
        let (question_wait, question_limit) = (config.question_wait, config.question_limit);
        let (sender, manifest) = watch::channel(Arc::clone(first.manifest()));
        let (replacements, asked) = mpsc::unbounded_channel();
        let closing = CancellationToken::new();
        let mut keeper = Keeper::new(config, launch, Arc::clone(&rooms), sender);
        keeper.join(first);
        let tasks = TaskTracker::new();
        tasks.spawn(keeper.keep(asked, closing.clone()));
        tasks.close();
        Ok(Self(Arc::new(Shared {
            rooms,
            manifest,
            replacements,
            closing,
            tasks,
            question_wait,
            question_limit,
        })))
    }

    /// What the newest process has, as it changes with reloads.
    pub fn manifest(&self) -> watch::Receiver<Arc<Manifest>> {
        self.0.manifest.clone()
    }

    /// How many of what there are now.
    pub fn census(&self) -> Census {
        self.0.rooms.census()
    }

    /// Waits for room for a run, in the order of asking. Dropping the future gives up the place in the queue.
    pub async fn place(&self) -> Result<Place, Closed> {
        match self.0.rooms.ask()? {
            Asked::Place(place) => Ok(place),
            Asked::Wait(place) => place.await.map_err(|_| Closed),
        }
    }

    /// Waits for a process that can answer a question, which takes no run's place.
    /// [`CallError::Gone`] if there is none for as long as questions may wait.
    pub async fn desk(&self) -> Result<Place, CallError> {
        let mut changes = self.0.rooms.changes();
        let waiting = async {
            loop {
                changes.mark_unchanged();
                if let Some(desk) = self.0.rooms.desk() {
                    return Ok(desk);
                }
                changes.changed().await.map_err(|_| CallError::Gone)?;
            }
        };
        timeout(self.0.question_wait, waiting)
            .await
            .unwrap_or(Err(CallError::Gone))
    }

    /// Asks any process. What it asks on behalf of the question is answered by `answers`, or refused.
    /// [`CallError::Late`] if it does not answer in time. A question whose future is dropped is called off.
    pub async fn ask<B, R>(
        &self,
        method: &str,
        body: &B,
        answers: Option<Arc<dyn Answers>>,
    ) -> Result<R, CallError>
    where
        B: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let desk = self.desk().await?;
        let question = Question::new(desk.open(method, body, answers)?);
        question.answer(self.0.question_limit).await
    }

    /// Starts processes with newer code; the old ones end when their runs are over. If the new ones do not
    /// start, everything stays as it was.
    pub async fn replace(&self, launch: Launch) -> Result<Arc<Manifest>, StartError> {
        let closed = || {
            StartError::Refused(RemoteError::new(
                RemoteError::UNAVAILABLE,
                Closed.to_string(),
            ))
        };
        let (answer, answered) = oneshot::channel();
        let replacement = Replacement { launch, answer };
        self.0
            .replacements
            .send(replacement)
            .map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Ends all processes, whatever they do, and returns when they are gone.
    pub async fn shutdown(&self) {
        self.0.closing.cancel();
        self.0.tasks.wait().await;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}
