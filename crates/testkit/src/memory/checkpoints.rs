//! Checkpoints in the model.

use std::collections::BTreeMap;

use async_trait::async_trait;
use runloom_core::checkpoint::{
    Checkpoint, CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites, PendingWrite,
};
use runloom_core::database::{Checkpoints, DatabaseError, Guard};
use runloom_core::ids::{CheckpointId, RunId, ThreadId};
use runloom_core::search::map_contains;

use super::Memory;
use super::thread_row::{ThreadRow, WriteRow};

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
            row.put_checkpoint(run, new);
        }
        for new in writes {
            row.put_writes(run, new);
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
        let checkpoint = match id {
            Some(id) => row.checkpoints.get(&(ns.to_owned(), id.clone())),
            None => row.latest(ns),
        };
        Ok(checkpoint.map(|checkpoint| row.tuple(checkpoint)))
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
        let matches = |checkpoint: &&Checkpoint| {
            query.ns.as_ref().is_none_or(|ns| checkpoint.ns == *ns)
                && query.before.as_ref().is_none_or(|id| checkpoint.id < *id)
                && map_contains(&checkpoint.metadata, &query.metadata)
        };
        let mut found: Vec<_> = row.checkpoints.values().filter(matches).collect();
        found.sort_by_key(|checkpoint| std::cmp::Reverse(&checkpoint.id));
        let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
        let found = found.into_iter().take(limit);
        Ok(found.map(|checkpoint| row.tuple(checkpoint)).collect())
    }
}

impl ThreadRow {
    /// The run to write for, if the guard lets it write.
    fn admit_writer(&self, guard: &Guard) -> Result<Option<RunId>, DatabaseError> {
        match guard {
            Guard::Attempt(fence, run) if self.is_held(*fence, *run) => Ok(Some(*run)),
            Guard::Attempt(..) => Err(DatabaseError::Fenced),
            Guard::Idle { .. } if !self.in_flight().is_empty() => Err(DatabaseError::Busy),
            Guard::Idle { seen, .. } if self.latest("").map(|last| &last.id) != seen.as_ref() => {
                Err(DatabaseError::Changed)
            }
            Guard::Idle { .. } => Ok(None),
        }
    }

    fn latest(&self, ns: &str) -> Option<&Checkpoint> {
        let of_ns = self.checkpoints.values().filter(|row| row.ns == ns);
        of_ns.max_by_key(|checkpoint| &checkpoint.id)
    }

    /// Stores a checkpoint and its values, each unless it is there.
    fn put_checkpoint(&mut self, writer: Option<RunId>, new: NewCheckpoint) {
        let ns = new.checkpoint.ns.clone();
        for blob in new.blobs {
            let key = (ns.clone(), blob.channel, blob.version);
            self.blobs.entry(key).or_insert((writer, blob.blob));
        }
        let checkpoint = Checkpoint {
            thread_id: self.thread.id,
            run_id: writer,
            ..new.checkpoint
        };
        let key = (ns, checkpoint.id.clone());
        self.checkpoints.entry(key).or_insert(checkpoint);
    }

    /// Stores pending writes. A write of a special slot hides an earlier one; it replaces it only
    /// within a run, so that the earlier one is back when the run is discarded.
    pub(super) fn put_writes(&mut self, writer: Option<RunId>, new: NewWrites) {
        for write in new.writes {
            let is_here = |row: &WriteRow| {
                row.ns == new.ns
                    && row.checkpoint_id == new.checkpoint_id
                    && row.write.task_id == write.task_id
                    && row.write.index == write.index
            };
            if write.index < 0 {
                self.writes.retain(|row| !is_here(row) || row.run != writer);
            } else if self.writes.iter().any(is_here) {
                continue;
            }
            self.writes.push(WriteRow {
                ns: new.ns.clone(),
                checkpoint_id: new.checkpoint_id.clone(),
                run: writer,
                write,
            });
        }
    }

    /// A checkpoint with its values and pending writes.
    fn tuple(&self, checkpoint: &Checkpoint) -> CheckpointTuple {
        let value = |(channel, version): (&String, &String)| {
            let key = (checkpoint.ns.clone(), channel.clone(), version.clone());
            let (_, blob) = self.blobs.get(&key)?;
            Some((channel.clone(), blob.clone()))
        };
        let rows = self.writes.iter();
        let rows = rows.filter(|row| row.ns == checkpoint.ns && row.checkpoint_id == checkpoint.id);
        // Later rows hide earlier ones of the same slot.
        let visible: BTreeMap<(&str, i32), &PendingWrite> = rows
            .map(|row| ((row.write.task_id.as_str(), row.write.index), &row.write))
            .collect();
        let mut writes: Vec<_> = visible.into_values().cloned().collect();
        writes.sort_by(|a, b| {
            let key = |write: &'_ PendingWrite| (write.task_path.clone(), write.task_id.clone());
            (key(a), a.index).cmp(&(key(b), b.index))
        });
        CheckpointTuple {
            channels: checkpoint.versions.iter().filter_map(value).collect(),
            checkpoint: checkpoint.clone(),
            writes,
        }
    }
}
