//! Checkpoints in the model.

use async_trait::async_trait;
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites};
use runloom_core::database::{Checkpoints, DatabaseError, Guard};
use runloom_core::ids::{CheckpointId, RunId, ThreadId};

use super::Memory;
use super::shelf::Shelf;
use super::thread_row::ThreadRow;

#[async_trait]
impl Checkpoints for Memory {
    async fn put_checkpoints(
        &self,
        thread: ThreadId,
        guard: Guard,
        checkpoints: Vec<NewCheckpoint>,
        writes: Vec<NewWrites>,
    ) -> Result<(), DatabaseError> {
        let (mut state, now) = self.begin();
        let row = match (&guard, state.threads.get_mut(&thread)) {
            (_, Some(row)) => row,
            (Guard::Attempt(..), None) => return Err(DatabaseError::Fenced),
            (Guard::Idle { .. }, None) => return Err(DatabaseError::NotFound("thread")),
        };
        let run = row.admit_writer(&guard)?;
        for new in checkpoints {
            row.shelf.put_checkpoint(run, new);
        }
        for new in writes {
            row.shelf.put_writes(run, new);
        }
        if let Guard::Idle { head, .. } = guard {
            row.apply_head(head);
            row.failed = false;
            row.thread.error = None;
            row.thread.state_updated_at = now;
            row.thread.updated_at = now;
            row.refresh(now);
        }
        Ok(())
    }

    async fn checkpoint(
        &self,
        thread: ThreadId,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, DatabaseError> {
        let (state, _) = self.begin();
        let Some(row) = state.threads.get(&thread) else {
            return Ok(None);
        };
        Ok(row.shelf.find(ns, id))
    }

    async fn checkpoints(
        &self,
        thread: ThreadId,
        query: CheckpointQuery,
    ) -> Result<Vec<CheckpointTuple>, DatabaseError> {
        let (state, _) = self.begin();
        let Some(row) = state.threads.get(&thread) else {
            return Ok(Vec::new());
        };
        Ok(row.shelf.list(&query))
    }

    async fn delete_checkpoints(
        &self,
        thread: ThreadId,
        runs: &[RunId],
    ) -> Result<(), DatabaseError> {
        let (mut state, _) = self.begin();
        state.thread(thread)?.resting_shelf()?.forget_runs(runs);
        Ok(())
    }

    async fn prune_checkpoints(&self, thread: ThreadId) -> Result<(), DatabaseError> {
        let (mut state, _) = self.begin();
        state.thread(thread)?.resting_shelf()?.prune();
        Ok(())
    }
}

impl ThreadRow {
    /// The shelf, if no run is in flight.
    fn resting_shelf(&mut self) -> Result<&mut Shelf, DatabaseError> {
        if self.in_flight().is_empty() {
            Ok(&mut self.shelf)
        } else {
            Err(DatabaseError::Busy)
        }
    }

    /// The run to write for, if the guard lets it write.
    fn admit_writer(&self, guard: &Guard) -> Result<Option<RunId>, DatabaseError> {
        match guard {
            Guard::Attempt(fence, run) if self.is_held(*fence, *run) => Ok(Some(*run)),
            Guard::Attempt(..) => Err(DatabaseError::Fenced),
            Guard::Idle { .. } if !self.in_flight().is_empty() => Err(DatabaseError::Busy),
            Guard::Idle { seen, .. }
                if self.shelf.latest("").map(|last| &last.id) != seen.as_ref() =>
            {
                Err(DatabaseError::Changed)
            }
            Guard::Idle { .. } => Ok(None),
        }
    }
}
