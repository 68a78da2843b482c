//! Where a run's or a question's requests for stored things are answered: by its host.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use runloom_core::executor::{Attempt, CheckpointReader, Host, HostError};
use runloom_core::ids::{CheckpointId, RunId, ThreadId};
use tokio_util::sync::CancellationToken;

use super::errors::refusal;
use super::{convert, memory};
use crate::peer::Answers;
use crate::protocol::{
    GetCheckpoint, ListCheckpoints, PutCheckpoint, PutWrites, RemoteError, StoreRequest, decode,
    encode,
};

/// Answers on behalf of one call.
pub struct Desk {
    thread: ThreadId,
    run: Option<RunId>,
    reader: Arc<dyn CheckpointReader>,
    /// Nothing can be stored without it.
    host: Option<Arc<dyn Host>>,
    /// Cancelled when nobody waits for what is asked any more.
    left: CancellationToken,
}

impl Desk {
    /// For an attempt at a run. Everything is refused once it was `left`.
    pub fn of_run(attempt: &Attempt, host: Arc<dyn Host>, left: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            thread: attempt.thread_id,
            run: Some(attempt.run_id),
            reader: host.clone(),
            host: Some(host),
            left,
        })
    }

    /// For a change of the state of `thread` from outside any run.
    pub fn of_update(thread: ThreadId, host: Arc<dyn Host>) -> Arc<Self> {
        Arc::new(Self {
            thread,
            run: None,
            reader: host.clone(),
            host: Some(host),
            left: CancellationToken::new(),
        })
    }

    /// For a question about `thread`, which may only read.
    pub fn of_reader(thread: ThreadId, reader: Arc<dyn CheckpointReader>) -> Arc<Self> {
        Arc::new(Self {
            thread,
            run: None,
            reader,
            host: None,
            left: CancellationToken::new(),
        })
    }

    fn host(&self) -> Result<&dyn Host, RemoteError> {
        let refused = || RemoteError::new(RemoteError::INVALID, "a question stores nothing");
        self.host.as_deref().ok_or_else(refused)
    }

    async fn get(&self, get: GetCheckpoint) -> Result<Bytes, RemoteError> {
        let id = get.id.map(CheckpointId);
        let found = self.reader.checkpoint(&get.ns, id.as_ref()).await;
        let found = found.map_err(|error| refusal(&error))?;
        Ok(encode(&found.map(convert::tuple))?)
    }

    async fn list(&self, list: ListCheckpoints) -> Result<Bytes, RemoteError> {
        let found = self.reader.checkpoints(convert::query(list)?).await;
        let found = found.map_err(|error| refusal(&error))?;
        let found: Vec<_> = found.into_iter().map(convert::tuple).collect();
        Ok(encode(&found)?)
    }

    async fn put(&self, put: PutCheckpoint) -> Result<Bytes, RemoteError> {
        let new = convert::new_checkpoint(put, self.thread, self.run)?;
        let stored = self.host()?.put_checkpoint(new).await;
        stored.map_err(|error| refusal(&error))?;
        Ok(encode(&())?)
    }

    async fn put_writes(&self, put: PutWrites) -> Result<Bytes, RemoteError> {
        let stored = self.host()?.put_writes(convert::new_writes(put)).await;
        stored.map_err(|error| refusal(&error))?;
        Ok(encode(&())?)
    }

    async fn remember(&self, request: StoreRequest) -> Result<Bytes, RemoteError> {
        let items = self.host()?.items();
        let mut answers = Vec::with_capacity(request.ops.len());
        for op in request.ops {
            answers.push(memory::carry_out(&*items, op).await?);
        }
        Ok(encode(&answers)?)
    }
}

#[async_trait]
impl Answers for Desk {
    async fn answer(&self, method: &str, body: Bytes) -> Result<Bytes, RemoteError> {
        if self.left.is_cancelled() {
            return Err(refusal(&HostError::Fenced));
        }
        match method {
            "get_checkpoint" => self.get(decode(&body)?).await,
            "list_checkpoints" => self.list(decode(&body)?).await,
            "put_checkpoint" => self.put(decode(&body)?).await,
            "put_writes" => self.put_writes(decode(&body)?).await,
            "store" => self.remember(decode(&body)?).await,
            other => {
                let message = format!("no method named {other}");
                Err(RemoteError::new(RemoteError::UNSUPPORTED, message))
            }
        }
    }
}
