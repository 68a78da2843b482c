//! What an executor reads checkpoints from, and writes those of an update to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use runloom_core::checkpoint::{
    CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites, PendingWrite,
};
use runloom_core::database::{Database, DatabaseError, Items};
use runloom_core::executor::{CheckpointReader, Emission, Host, HostError};
use runloom_core::ids::{CheckpointId, ThreadId};
use runloom_core::search::map_contains;

use crate::Gateway;

/// The stored checkpoints of a thread.
pub(super) struct Reader {
    database: Arc<dyn Database>,
    thread: ThreadId,
}

impl Reader {
    pub(super) fn new(gateway: &Gateway, thread: ThreadId) -> Arc<Self> {
        let database = gateway.ports.database.clone();
        Arc::new(Self { database, thread })
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
        found.map_err(|error| unavailable(&error))
    }

    async fn checkpoints(&self, query: CheckpointQuery) -> Result<Vec<CheckpointTuple>, HostError> {
        let found = self.database.checkpoints(self.thread, query).await;
        found.map_err(|error| unavailable(&error))
    }
}

fn unavailable(error: &DatabaseError) -> HostError {
    HostError::Unavailable(error.to_string())
}

/// Keeps what an update writes until all of it is known, so that it is stored whole or not at all.
/// What is kept reads back as if it were stored: a second superstep builds upon the first.
pub(super) struct Buffer {
    reader: Arc<Reader>,
    kept: Mutex<Kept>,
}

/// What an update wrote, in order.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) checkpoints: Vec<NewCheckpoint>,
    pub(super) writes: Vec<NewWrites>,
    /// The checkpoints as they read back, without the writes.
    tuples: Vec<CheckpointTuple>,
}

impl Buffer {
    pub(super) fn new(gateway: &Gateway, thread: ThreadId) -> Arc<Self> {
        Arc::new(Self {
            reader: Reader::new(gateway, thread),
            kept: Mutex::default(),
        })
    }

    /// Takes what was kept.
    pub(super) fn take(&self) -> Kept {
        std::mem::take(&mut *self.kept())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// `tuple` with the writes that were kept beside it.
    fn complete(&self, mut tuple: CheckpointTuple) -> CheckpointTuple {
        let of = &tuple.checkpoint;
        let kept = self.writes.iter();
        let kept = kept.filter(|new| new.ns == of.ns && new.checkpoint_id == of.id);
        for write in kept.flat_map(|new| &new.writes) {
            put_write(&mut tuple.writes, write);
        }
        tuple.writes.sort_by(|one, other| {
            let key = |write: &PendingWrite| (write.task_path.clone(), write.task_id.clone());
            (key(one), one.index).cmp(&(key(other), other.index))
        });
        tuple
    }

    /// The kept checkpoint `id`, or the latest, of namespace `ns`.
    fn checkpoint(&self, ns: &str, id: Option<&CheckpointId>) -> Option<CheckpointTuple> {
        let mut newest_first = self.tuples.iter().rev();
        let found = newest_first.find(|tuple| {
            let checkpoint = &tuple.checkpoint;
            checkpoint.ns == ns && id.is_none_or(|id| checkpoint.id == *id)
        });
        found.cloned().map(|tuple| self.complete(tuple))
    }
}

/// Adds a write. Special slots may be overwritten, others are written once.
fn put_write(writes: &mut Vec<PendingWrite>, write: &PendingWrite) {
    let same = |known: &PendingWrite| known.task_id == write.task_id && known.index == write.index;
    match writes.iter().position(same) {
        None => writes.push(write.clone()),
        Some(place) if write.index < 0 => writes[place] = write.clone(),
        Some(_) => {}
    }
}

#[async_trait]
impl CheckpointReader for Buffer {
    async fn checkpoint(
        &self,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, HostError> {
        let kept = self.kept().checkpoint(ns, id);
        if kept.is_some() {
            return Ok(kept);
        }
        let stored = self.reader.checkpoint(ns, id).await?;
        Ok(stored.map(|tuple| self.kept().complete(tuple)))
    }

    async fn checkpoints(&self, query: CheckpointQuery) -> Result<Vec<CheckpointTuple>, HostError> {
        let stored = self.reader.checkpoints(query.clone()).await?;
        let kept = self.kept();
        let matching = kept.tuples.iter().filter(|tuple| {
            let checkpoint = &tuple.checkpoint;
            query.ns.as_ref().is_none_or(|ns| *ns == checkpoint.ns)
                && query.before.as_ref().is_none_or(|id| checkpoint.id < *id)
                && map_contains(&checkpoint.metadata, &query.metadata)
        });
        let all = matching.cloned().chain(stored);
        let mut all: Vec<_> = all.map(|tuple| kept.complete(tuple)).collect();
        all.sort_by(|one, other| other.checkpoint.id.cmp(&one.checkpoint.id));
        all.truncate(query.limit.map_or(usize::MAX, |limit| limit as usize));
        Ok(all)
    }
}

#[async_trait]
impl Host for Buffer {
    async fn put_checkpoint(&self, new: NewCheckpoint) -> Result<(), HostError> {
        let parent = match &new.checkpoint.parent {
            Some(id) => self.checkpoint(&new.checkpoint.ns, Some(id)).await?,
            None => None,
        };
        let tuple = read_back(&new, parent.as_ref());
        let mut kept = self.kept();
        kept.tuples.push(tuple);
        kept.checkpoints.push(new);
        Ok(())
    }

    async fn put_writes(&self, writes: NewWrites) -> Result<(), HostError> {
        self.kept().writes.push(writes);
        Ok(())
    }

    async fn emit(&self, _: Vec<Emission>) {
        // An update belongs to no run, so nobody follows what it says.
    }

    fn items(&self) -> Arc<dyn Items> {
        self.reader.database.clone()
    }
}

/// `new` as it will read back: values that are not new come from its parent, which shares them.
fn read_back(new: &NewCheckpoint, parent: Option<&CheckpointTuple>) -> CheckpointTuple {
    let value = |channel: &String, version: &String| {
        let own = new.blobs.iter();
        let mut own = own.filter(|blob| blob.channel == *channel && blob.version == *version);
        own.next().map(|blob| blob.blob.clone()).or_else(|| {
            let parent =
                parent.filter(|parent| parent.checkpoint.versions.get(channel) == Some(version))?;
            parent.channels.get(channel).cloned()
        })
    };
    let versions = new.checkpoint.versions.iter();
    let channels = versions
        .filter_map(|(channel, version)| Some((channel.clone(), value(channel, version)?)))
        .collect();
    CheckpointTuple {
        checkpoint: new.checkpoint.clone(),
        channels,
        writes: Vec::new(),
    }
}
