//! The executors of one project: as many processes as configured, replaced when they fail.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::peer::{Answers, Call, CallError};
use crate::process::{Launch, StartError};
use crate::protocol::Manifest;

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
    /// How long a question waits for a process that can answer.
    pub question_wait: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            processes: 1,
            max_runs: 64,
            memory_limit: None,
            spare: true,
            question_wait: Duration::from_secs(15),
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
pub struct Pool {}

impl Pool {
    /// Starts the processes; returns when the first one has loaded its graphs, or with why it did not.
    pub async fn start(config: PoolConfig, launch: Launch) -> Result<Self, StartError> {
        todo!("{config:?} {launch:?}")
    }

    /// What the newest process has, as it changes with reloads.
    pub fn manifest(&self) -> watch::Receiver<Arc<Manifest>> {
        todo!()
    }

    /// Waits for room for a run, in the order of asking. Dropping the future gives up the place in the queue.
    pub async fn place(&self) -> Result<Place, Closed> {
        todo!()
    }

    /// Waits for a process that can answer a question, which takes no run's place.
    /// [`CallError::Gone`] if there is none for as long as questions may wait.
    pub async fn desk(&self) -> Result<Place, CallError> {
        todo!()
    }

    /// Asks any process. What it asks on behalf of the question is answered by `answers`, or refused.
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
        desk.open(method, body, answers)?.reply().await
    }

    /// Starts processes with newer code; the old ones end when their runs are over. If the new ones do not
    /// start, everything stays as it was.
    pub async fn replace(&self, launch: Launch) -> Result<Arc<Manifest>, StartError> {
        todo!("{launch:?}")
    }

    /// Ends all processes at once, whatever they do.
    pub async fn shutdown(&self) {
        todo!()
    }
}

/// Room in a process, free again when dropped.
pub struct Place {}

impl Place {
    /// What the process has.
    pub fn manifest(&self) -> &Arc<Manifest> {
        todo!()
    }

    /// Sends a request to the process. What it asks on its behalf is answered by `answers`, or refused.
    pub fn open<B: Serialize + ?Sized>(
        &self,
        method: &str,
        body: &B,
        answers: Option<Arc<dyn Answers>>,
    ) -> Result<Call, CallError> {
        todo!("{method}")
    }

    /// Kills the process with everything that it started, because this run cannot be stopped otherwise.
    pub fn kill(&self) {
        todo!()
    }

    /// The run left this many threads behind: the process is replaced when its other runs are over.
    pub fn leaked(&self, threads: u32) {
        todo!("{threads}")
    }

    /// Waits until the process is gone, and says why as far as this run is concerned.
    pub async fn lost(&self) -> Loss {
        todo!()
    }
}
