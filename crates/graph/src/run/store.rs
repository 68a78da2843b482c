//! Checkpoints and pending writes on their way to the host, one call at a time and in order.
//!
//! Whoever asks may be dropped at any moment without breaking off a call to the host: the calls are
//! made by the [`Service`], which lives as long as the attempt.

use std::sync::{Arc, OnceLock};

use runloom_core::checkpoint::{CheckpointTuple, NewCheckpoint, NewWrites, Put};
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
    Put(Put),
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
        self.tell(Request::Put(Put::Checkpoint(Box::new(checkpoint))));
    }

    /// Queues pending writes.
    pub(crate) fn writes(&self, writes: NewWrites) {
        if !writes.writes.is_empty() {
            self.tell(Request::Put(Put::Writes(writes)));
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

/// How many requests are looked at together.
const BATCH: usize = 32;

/// What is to be stored together, and who waits for that.
#[derive(Default)]
struct Batch {
    puts: Vec<Put>,
    flushes: Vec<Reply<()>>,
}

/// Makes the calls to the host.
pub(crate) struct Service {
    requests: mpsc::UnboundedReceiver<Request>,
    host: Arc<dyn Host>,
    failure: Arc<OnceLock<StoreError>>,
    broken: CancellationToken,
}

impl Service {
    /// Serves until the queue is closed. What has gathered while the host was busy goes to it at
    /// once. After the first failure nothing is stored any more, so that what is stored has no gaps.
    pub(crate) async fn run(mut self) {
        let mut requests = Vec::new();
        while self.requests.recv_many(&mut requests, BATCH).await > 0 {
            let mut batch = Batch::default();
            for request in requests.drain(..) {
                match request {
                    Request::Put(put) => batch.puts.push(put),
                    Request::Flush(reply) => batch.flushes.push(reply),
                    Request::Read { ns, id, reply } => {
                        self.store(std::mem::take(&mut batch)).await;
                        let found = self.host.checkpoint(&ns, id.as_ref()).await;
                        let found = self.note(found);
                        let _ = reply.send(found);
                    }
                    Request::Close => return self.store(batch).await,
                }
            }
            self.store(batch).await;
        }
    }

    /// Stores what has gathered, and tells those who wait for it.
    async fn store(&self, batch: Batch) {
        if !batch.puts.is_empty() && self.failure.get().is_none() {
            let stored = self.host.put(batch.puts).await;
            let _ = self.note(stored);
        }
        for flush in batch.flushes {
            let _ = flush.send(self.failure.get().cloned().map_or(Ok(()), Err));
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use runloom_core::checkpoint::{Blob, CheckpointQuery, PendingWrite};
    use runloom_core::clock::SystemClock;
    use runloom_core::database::Items;
    use runloom_core::executor::{CheckpointReader, Emission};
    use runloom_core::ids::ThreadId;
    use runloom_testkit::doubles::HostDouble;

    use super::*;

    /// Takes note of what comes together, and refuses the batch `refused`, counted from 0.
    struct Batches {
        host: Arc<HostDouble>,
        seen: Mutex<Vec<Vec<String>>>,
        refused: Option<usize>,
    }

    #[async_trait]
    impl CheckpointReader for Batches {
        async fn checkpoint(
            &self,
            ns: &str,
            id: Option<&CheckpointId>,
        ) -> Result<Option<CheckpointTuple>, HostError> {
            self.host.checkpoint(ns, id).await
        }

        async fn checkpoints(
            &self,
            query: CheckpointQuery,
        ) -> Result<Vec<CheckpointTuple>, HostError> {
            self.host.checkpoints(query).await
        }
    }

    #[async_trait]
    impl Host for Batches {
        async fn put_checkpoint(&self, checkpoint: NewCheckpoint) -> Result<(), HostError> {
            self.host.put_checkpoint(checkpoint).await
        }

        async fn put_writes(&self, writes: NewWrites) -> Result<(), HostError> {
            self.host.put_writes(writes).await
        }

        async fn put(&self, gathered: Vec<Put>) -> Result<(), HostError> {
            let tasks = gathered.iter().map(|put| match put {
                Put::Checkpoint(new) => new.checkpoint.id.0.clone(),
                Put::Writes(new) => new.writes[0].task_id.clone(),
            });
            let mut seen = self.seen.lock().unwrap();
            seen.push(tasks.collect());
            if self.refused == Some(seen.len() - 1) {
                return Err(HostError::Fenced);
            }
            Ok(())
        }

        async fn emit(&self, events: Vec<Emission>) {
            self.host.emit(events).await;
        }

        fn items(&self) -> Arc<dyn Items> {
            self.host.items()
        }
    }

    fn writes(task: &str) -> NewWrites {
        NewWrites {
            ns: String::new(),
            checkpoint_id: CheckpointId("c".to_owned()),
            writes: vec![PendingWrite {
                task_id: task.to_owned(),
                task_path: String::new(),
                index: 0,
                channel: "messages".to_owned(),
                blob: Blob::json(&1).unwrap(),
            }],
        }
    }

    fn batches(refused: Option<usize>) -> (Arc<Batches>, Store, Service) {
        let batches = Arc::new(Batches {
            host: HostDouble::new(ThreadId::new(), Arc::new(SystemClock)),
            seen: Mutex::default(),
            refused,
        });
        let (store, service) = Store::new(batches.clone());
        (batches, store, service)
    }

    #[tokio::test]
    async fn what_gathers_before_a_read_is_stored_at_once_and_before_it() {
        let (batches, store, service) = batches(None);
        store.writes(writes("1"));
        let first = store.ticket();
        store.writes(writes("2"));
        let reading = async {
            store.read("", None).await.unwrap();
            assert_eq!(*batches.seen.lock().unwrap(), [["1", "2"]]);
            store.writes(writes("3"));
            store.close();
            store.writes(writes("left behind"));
        };
        let (first, (), ()) = tokio::join!(first.wait(), reading, service.run());
        assert_eq!(first, Ok(()));
        let seen = batches.seen.lock().unwrap();
        assert_eq!(*seen, [vec!["1", "2"], vec!["3"]]);
    }

    #[tokio::test]
    async fn nothing_is_stored_after_what_was_refused() {
        let (batches, store, service) = batches(Some(0));
        store.writes(writes("1"));
        let refused = store.ticket();
        let later = async {
            assert_eq!(refused.wait().await, Err(StoreError::Fenced));
            store.writes(writes("2"));
            assert_eq!(store.flush().await, Err(StoreError::Fenced));
            assert!(store.broken().is_cancelled());
            store.close();
        };
        tokio::join!(later, service.run());
        assert_eq!(*batches.seen.lock().unwrap(), [["1"]]);
    }
}
