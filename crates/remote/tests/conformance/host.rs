//! A host that stores straight in a database, as the worker's does.

use std::sync::Arc;

use async_trait::async_trait;
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites};
use runloom_core::database::{Database, DatabaseError, Guard, Items};
use runloom_core::executor::{CheckpointReader, Emission, Host, HostError};
use runloom_core::ids::{CheckpointId, ThreadId};

/// One thread in a database; stored to under `guard`.
pub(crate) struct Stored {
    pub(crate) database: Arc<dyn Database>,
    pub(crate) thread: ThreadId,
    pub(crate) guard: Option<Guard>,
}

impl Stored {
    async fn put(
        &self,
        checkpoints: Vec<NewCheckpoint>,
        writes: Vec<NewWrites>,
    ) -> Result<(), HostError> {
        let guard = self.guard.clone().ok_or(HostError::Fenced)?;
        let stored = self
            .database
            .put_checkpoints(self.thread, guard, checkpoints, writes);
        stored.await.map_err(refusal)
    }
}

fn refusal(error: DatabaseError) -> HostError {
    match error {
        DatabaseError::Fenced => HostError::Fenced,
        other => HostError::Unavailable(other.to_string()),
    }
}

#[async_trait]
impl CheckpointReader for Stored {
    async fn checkpoint(
        &self,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, HostError> {
        let found = self.database.checkpoint(self.thread, ns, id).await;
        found.map_err(refusal)
    }

    async fn checkpoints(&self, query: CheckpointQuery) -> Result<Vec<CheckpointTuple>, HostError> {
        let found = self.database.checkpoints(self.thread, query).await;
        found.map_err(refusal)
    }
}

#[async_trait]
impl Host for Stored {
    async fn put_checkpoint(&self, checkpoint: NewCheckpoint) -> Result<(), HostError> {
        self.put(vec![checkpoint], vec![]).await
    }

    async fn put_writes(&self, writes: NewWrites) -> Result<(), HostError> {
        self.put(vec![], vec![writes]).await
    }

    async fn emit(&self, _: Vec<Emission>) {
        unreachable!("a checkpointer says nothing");
    }

    fn items(&self) -> Arc<dyn Items> {
        self.database.clone()
    }
}
