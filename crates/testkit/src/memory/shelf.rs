//! The checkpoints of one thread.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use runloom_core::checkpoint::{
    Blob, Checkpoint, CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites, PendingWrite,
};
use runloom_core::ids::{CheckpointId, RunId, ThreadId};
use runloom_core::pruning::{Link, superfluous};
use runloom_core::search::map_contains;

/// The checkpoints of one thread with channel values and pending writes.
#[derive(Clone)]
pub(crate) struct Shelf {
    thread: ThreadId,
    checkpoints: BTreeMap<(String, CheckpointId), Checkpoint>,
    /// By namespace, channel and version; each with the run that wrote it.
    blobs: BTreeMap<(String, String, String), (Option<RunId>, Blob)>,
    /// In the order in which they were stored.
    writes: Vec<WriteRow>,
}

/// A pending write with where it is and who wrote it.
#[derive(Clone)]
struct WriteRow {
    ns: String,
    checkpoint_id: CheckpointId,
    run: Option<RunId>,
    write: PendingWrite,
}

impl Shelf {
    pub(crate) fn new(thread: ThreadId) -> Self {
        Self {
            thread,
            checkpoints: BTreeMap::new(),
            blobs: BTreeMap::new(),
            writes: Vec::new(),
        }
    }

    /// The same for another thread.
    pub(super) fn copy_for(&self, thread: ThreadId) -> Self {
        let mut copy = self.clone();
        copy.thread = thread;
        for checkpoint in copy.checkpoints.values_mut() {
            checkpoint.thread_id = thread;
        }
        copy
    }

    /// The latest checkpoint of a namespace.
    pub(super) fn latest(&self, ns: &str) -> Option<&Checkpoint> {
        let of_ns = self.checkpoints.values().filter(|row| row.ns == ns);
        of_ns.max_by_key(|checkpoint| &checkpoint.id)
    }

    /// The checkpoint `id`, or the latest one, of a namespace.
    pub(crate) fn find(&self, ns: &str, id: Option<&CheckpointId>) -> Option<CheckpointTuple> {
        let checkpoint = match id {
            Some(id) => self.checkpoints.get(&(ns.to_owned(), id.clone())),
            None => self.latest(ns),
        };
        checkpoint.map(|checkpoint| self.tuple(checkpoint))
    }

    /// Checkpoints that match, newest first.
    pub(crate) fn list(&self, query: &CheckpointQuery) -> Vec<CheckpointTuple> {
        let matches = |checkpoint: &&Checkpoint| {
            query.ns.as_ref().is_none_or(|ns| checkpoint.ns == *ns)
                && query.before.as_ref().is_none_or(|id| checkpoint.id < *id)
                && map_contains(&checkpoint.metadata, &query.metadata)
        };
        let mut found: Vec<_> = self.checkpoints.values().filter(matches).collect();
        found.sort_by_key(|checkpoint| Reverse(&checkpoint.id));
        let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
        let found = found.into_iter().take(limit);
        found.map(|checkpoint| self.tuple(checkpoint)).collect()
    }

    /// Stores a checkpoint and its values, each unless it is there.
    pub(crate) fn put_checkpoint(&mut self, writer: Option<RunId>, new: NewCheckpoint) {
        let ns = new.checkpoint.ns.clone();
        for blob in new.blobs {
            let key = (ns.clone(), blob.channel, blob.version);
            self.blobs.entry(key).or_insert((writer, blob.blob));
        }
        let checkpoint = Checkpoint {
            thread_id: self.thread,
            run_id: writer,
            ..new.checkpoint
        };
        let key = (ns, checkpoint.id.clone());
        self.checkpoints.entry(key).or_insert(checkpoint);
    }

    /// Stores pending writes. A write of a special slot hides an earlier one; it replaces it only
    /// within a run, so that the earlier one is back when the run is discarded.
    pub(crate) fn put_writes(&mut self, writer: Option<RunId>, new: NewWrites) {
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

    /// Deletes checkpoints and writes of runs, and what is beside the checkpoints.
    pub(super) fn forget_runs(&mut self, runs: &[RunId]) {
        let is_theirs = |run: Option<RunId>| run.is_some_and(|run| runs.contains(&run));
        let rows = self.checkpoints.iter();
        let theirs = rows.filter(|(_, row)| is_theirs(row.run_id));
        let theirs: Vec<_> = theirs.map(|(key, _)| key.clone()).collect();
        self.writes.retain(|row| !is_theirs(row.run));
        self.forget(&theirs);
    }

    /// Deletes the history. Says how many checkpoints that were.
    pub(super) fn prune(&mut self) -> usize {
        let links = self.checkpoints.values();
        let links: Vec<_> = links
            .map(|row| {
                let (ns, id, parent) = (row.ns.clone(), row.id.clone(), row.parent.clone());
                Link::new(ns, id, parent, &row.metadata)
            })
            .collect();
        let superfluous = superfluous(&links).into_iter();
        let superfluous: Vec<_> = superfluous
            .map(|link| (link.ns.clone(), link.id.clone()))
            .collect();
        self.forget(&superfluous);
        superfluous.len()
    }

    /// Deletes checkpoints with what is beside them, and values that no other one names.
    fn forget(&mut self, keys: &[(String, CheckpointId)]) {
        for key in keys {
            self.checkpoints.remove(key);
        }
        self.writes
            .retain(|row| !keys.contains(&(row.ns.clone(), row.checkpoint_id.clone())));
        let checkpoints = &self.checkpoints;
        self.blobs.retain(|(ns, channel, version), _| {
            let mut of_ns = checkpoints.values().filter(|row| row.ns == *ns);
            of_ns.any(|row| row.versions.get(channel) == Some(version))
        });
    }

    /// Deletes all that a run wrote. What it had hidden is visible again.
    pub(super) fn discard(&mut self, run: RunId) {
        self.checkpoints.retain(|_, row| row.run_id != Some(run));
        self.blobs.retain(|_, (writer, _)| *writer != Some(run));
        self.writes.retain(|row| row.run != Some(run));
    }
}
