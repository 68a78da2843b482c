//! Reads back, when an attempt is over, what of it is stored.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple};
use runloom_core::database::{Database, DatabaseError};
use runloom_core::executor::{CheckpointReader, ExecutorError, HostError};
use runloom_core::ids::{CheckpointId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::run::Run;
use runloom_core::state::{Head, StateQuery, ThreadState};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::incarnation::{Incarnation, patient_delays};
use crate::settle::too_late;

/// How many answers may come too late before one does without.
const SLOW_READS: u32 = 3;

/// Reads one thread's checkpoints, whoever holds the thread.
struct Reader {
    database: Arc<dyn Database>,
    thread: ThreadId,
    /// Whether storage refused for a reason that will not pass.
    broken: AtomicBool,
}

impl Reader {
    fn refused(&self, error: &DatabaseError) -> HostError {
        if !matches!(error, DatabaseError::Unavailable(_)) {
            self.broken.store(true, Ordering::Relaxed);
        }
        HostError::Unavailable(error.to_string())
    }
}

#[async_trait]
impl CheckpointReader for Reader {
    async fn checkpoint(
        &self,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, HostError> {
        let found = self.database.checkpoint(self.thread, ns, id).await;
        found.map_err(|error| self.refused(&error))
    }

    async fn checkpoints(&self, query: CheckpointQuery) -> Result<Vec<CheckpointTuple>, HostError> {
        let found = self.database.checkpoints(self.thread, query).await;
        found.map_err(|error| self.refused(&error))
    }
}

/// The thread's head as its graph reads it from storage; `None` if that cannot be told.
pub(crate) async fn head(worker: &Incarnation, run: &Run) -> Option<Head> {
    let executor = worker.ports.registry.executor(&run.graph_id)?;
    let reader = Arc::new(Reader {
        database: worker.ports.database.clone(),
        thread: run.thread_id,
        broken: AtomicBool::new(false),
    });
    let query = StateQuery {
        thread_id: run.thread_id,
        ns: String::new(),
        checkpoint_id: None,
        subgraphs: false,
    };
    let state = read(worker, || {
        let state = executor.state(&run.graph_id, query.clone(), reader.clone());
        let broken = &reader.broken;
        state.map(|state| match state {
            Err(ExecutorError::Host(error)) if !broken.load(Ordering::Relaxed) => {
                Err(DatabaseError::Unavailable(error.to_string()))
            }
            Err(error) => Err(DatabaseError::Internal(error.to_string())),
            Ok(state) => Ok(state),
        })
    });
    Some(head_of(state.await?.unwrap_or_else(ThreadState::empty)))
}

/// The checkpoint `id` of the root graph, or the latest one; `None` if it is not there or cannot be
/// read.
pub(crate) async fn checkpoint(
    worker: &Incarnation,
    thread: ThreadId,
    id: Option<&CheckpointId>,
) -> Option<CheckpointTuple> {
    let database = &worker.ports.database;
    read(worker, || database.checkpoint(thread, "", id)).await?
}

/// The run as it is now; `None` if it is gone or cannot be read.
pub(crate) async fn run(worker: &Incarnation, run: &Run) -> Option<Run> {
    let database = &worker.ports.database;
    read(worker, || database.run(Some(run.thread_id), run.id)).await?
}

/// Reads something, again and again if storage is out of reach: the code of the attempt has stopped,
/// so waiting is safe, and what it had said is worth it. `None` if that can't help.
async fn read<T, F>(worker: &Incarnation, read: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T, DatabaseError>>,
{
    let mut delays = patient_delays();
    let mut slow = 0;
    while slow < SLOW_READS {
        let answer = tokio::select! {
            biased;
            answer = timeout(worker.config.call_timeout, read()) => answer,
            () = too_late(worker) => return None,
        };
        match answer {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(DatabaseError::Unavailable(reason))) => {
                tracing::warn!(reason, "cannot read back; trying again");
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot read back");
                return None;
            }
            Err(_elapsed) => slow += 1,
        }
        tokio::select! {
            biased;
            () = sleep(delays.next().unwrap_or_default()) => {}
            () = too_late(worker) => return None,
        }
    }
    tracing::warn!("reading back takes too long");
    None
}

fn head_of(state: ThreadState) -> Head {
    let waiting = state
        .tasks
        .into_iter()
        .filter(|task| !task.interrupts.is_empty());
    let interrupts: JsonMap = waiting
        .map(|task| (task.id, Value::Array(task.interrupts)))
        .collect();
    Head {
        checkpoint_id: state
            .checkpoint
            .and_then(|checkpoint| checkpoint.checkpoint_id),
        values: state.values,
        next: state.next,
        interrupts,
    }
}
