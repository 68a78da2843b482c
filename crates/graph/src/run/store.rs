//! Checkpoints and pending writes on their way to the host, one at a time and in order.
//!
//! Whoever asks may be dropped at any moment without breaking off a call to the host: the calls are
//! made by the [`Service`], which lives as long as the attempt.

use std::sync::{Arc, OnceLock};

use runloom_core::checkpoint::{CheckpointTuple, NewCheckpoint, NewWrites};
use runloom_core::executor::{Host, HostError};
use runloom_core::ids::CheckpointId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Why nothing can be stored any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// The attempt lost its thread.
    #[error("the attempt no longer holds its thread")]
    Fenced,
    /// The storage does not answer.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// The attempt is over.
    #[error("the attempt is over")]
    Closed,
}

impl From<HostError> for StoreError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Fenced => Self::Fenced,
            HostError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Request {
    Read {
        ns: String,
        id: Option<CheckpointId>,
        reply: Reply<Option<CheckpointTuple>>,
    },
    Checkpoint(Box<NewCheckpoint>),
    Writes(NewWrites),
    Flush(Reply<()>),
    Close,
}

/// Takes what is to be stored. Clones feed the same queue.
#[derive(Clone)]
pub(crate) struct Store {
    queue: mpsc::UnboundedSender<Request>,
    failure: Arc<OnceLock<StoreError>>,
    broken: CancellationToken,
}

impl Store {
    /// A queue and what empties it.
    pub(crate) fn new(host: Arc<dyn Host>) -> (Self, Service) {
        let (queue, requests) = mpsc::unbounded_channel();
        let store = Self {
            queue,
            failure: Arc::default(),
            broken: CancellationToken::new(),
        };
        let service = Service {
            requests,
            host,
            failure: store.failure.clone(),
            broken: store.broken.clone(),
        };
        (store, service)
    }

    /// The checkpoint `id`, or the latest one, of namespace `ns`, after all that was queued before.
    pub(crate) async fn read(
        &self,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let (ns, id) = (ns.to_owned(), id.cloned());
        self.ask(Request::Read { ns, id, reply }, answer).await
    }

    /// Queues a checkpoint.
    pub(crate) fn checkpoint(&self, checkpoint: NewCheckpoint) {
        self.tell(Request::Checkpoint(Box::new(checkpoint)));
    }

    /// Queues pending writes.
    pub(crate) fn writes(&self, writes: NewWrites) {
        if !writes.writes.is_empty() {
            self.tell(Request::Writes(writes));
        }
    }

    /// Becomes ready when all that was queued until now is stored.
    pub(crate) fn ticket(&self) -> Ticket {
        let (reply, answer) = oneshot::channel();
        self.tell(Request::Flush(reply));
        Ticket(answer)
    }

    /// Waits until all that was queued is stored.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        self.ticket().wait().await
    }

    /// Takes nothing more. The service ends once all that was queued is stored.
    pub(crate) fn close(&self) {
        self.tell(Request::Close);
    }

    /// Trips when nothing can be stored any more.
    pub(crate) fn broken(&self) -> &CancellationToken {
        &self.broken
    }

    /// A request after the end is dropped: its sender was left behind.
    fn tell(&self, request: Request) {
        let _ = self.queue.send(request);
    }

    async fn ask<T>(
        &self,
        request: Request,
        answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.tell(request);
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// A point in the queue.
pub(crate) struct Ticket(oneshot::Receiver<Result<(), StoreError>>);

impl Ticket {
    /// Waits until all that was queued before is stored.
    pub(crate) async fn wait(self) -> Result<(), StoreError> {
        self.0.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Makes the calls to the host.
pub(crate) struct Service {
    requests: mpsc::UnboundedReceiver<Request>,
    host: Arc<dyn Host>,
    failure: Arc<OnceLock<StoreError>>,
    broken: CancellationToken,
}

impl Service {
    /// Serves until the queue is closed. After the first failure nothing is stored any more, so
    /// that what is stored has no gaps.
    pub(crate) async fn run(mut self) {
        while let Some(request) = self.requests.recv().await {
            match request {
                Request::Close => return,
                Request::Flush(reply) => {
                    let _ = reply.send(self.failure.get().cloned().map_or(Ok(()), Err));
                }
                Request::Read { ns, id, reply } => {
                    let found = self.host.checkpoint(&ns, id.as_ref()).await;
                    let found = self.note(found);
                    let _ = reply.send(found);
                }
                Request::Checkpoint(checkpoint) if self.failure.get().is_none() => {
                    let stored = self.host.put_checkpoint(*checkpoint).await;
                    let _ = self.note(stored);
                }
                Request::Writes(writes) if self.failure.get().is_none() => {
                    let stored = self.host.put_writes(writes).await;
                    let _ = self.note(stored);
                }
                Request::Checkpoint(_) | Request::Writes(_) => {}
            }
        }
    }

    fn note<T>(&self, result: Result<T, HostError>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let error = StoreError::from(error);
            let _ = self.failure.set(error.clone());
            self.broken.cancel();
            error
        })
    }
}
