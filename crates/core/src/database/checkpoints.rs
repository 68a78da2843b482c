//! Checkpoints in the database.

use async_trait::async_trait;

use super::DatabaseError;
use crate::checkpoint::{CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites};
use crate::ids::{CheckpointId, RunId, ThreadId};
use crate::lease::Fence;
use crate::state::Head;

/// Under which condition checkpoints may be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Guard {
    /// By an attempt that holds the thread, for its run.
    Attempt(Fence, RunId),
    /// From outside any run: only while the thread has none in flight
    /// ([`DatabaseError::Busy`]) and its latest root checkpoint is still the one that the writer
    /// saw ([`DatabaseError::Changed`]).
    Idle {
        /// The latest root checkpoint that the writer saw.
        seen: Option<CheckpointId>,
        /// What the head is after the write; becomes the thread's values and status.
        head: Head,
    },
}

/// Checkpoints, of graphs in any language.
#[async_trait]
pub trait Checkpoints: Send + Sync + 'static {
    /// Stores checkpoints and pending writes, all or nothing, under the guard. Storing what is
    /// there already is harmless.
    async fn put_checkpoints(
        &self,
        thread: ThreadId,
        guard: Guard,
        checkpoints: Vec<NewCheckpoint>,
        writes: Vec<NewWrites>,
    ) -> Result<(), DatabaseError>;

    /// The checkpoint `id`, or the latest one, of a namespace.
    async fn checkpoint(
        &self,
        thread: ThreadId,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, DatabaseError>;

    /// Checkpoints that match, newest first.
    async fn checkpoints(
        &self,
        thread: ThreadId,
        query: CheckpointQuery,
    ) -> Result<Vec<CheckpointTuple>, DatabaseError>;

    /// Deletes the checkpoints and pending writes that `runs` left on a thread, with all that is kept
    /// beside those checkpoints, and the values that no checkpoint names any more. The records of the runs
    /// and what the thread shows of its head stay as they are. Refused while a run is in flight
    /// ([`DatabaseError::Busy`]).
    async fn delete_checkpoints(
        &self,
        thread: ThreadId,
        runs: &[RunId],
    ) -> Result<(), DatabaseError>;

    /// Deletes the history of a thread: of each namespace the latest checkpoint stays, and those that its
    /// values are rebuilt from (see [`superfluous`](crate::pruning::superfluous)). Refused while a run is
    /// in flight ([`DatabaseError::Busy`]).
    async fn prune_checkpoints(&self, thread: ThreadId) -> Result<(), DatabaseError>;
}
