//! Wake-ups, signals and changes over channels.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use runloom_core::bus::{BusError, Delivery, Notifier, RunChange, Signal, SignalReply, Wake};
use runloom_core::ids::{ThreadId, WorkerId};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::timeout;

use super::wakes::Wakes;

/// When a wake-up that was taken and not answered comes again.
const ACK_WAIT: Duration = Duration::from_secs(5);

/// Changes of one thread that a reader may lag behind. A reader that missed some looks at the
/// database anyway.
const CHANGES_KEPT: usize = 64;

/// A [`Notifier`] inside one process.
#[derive(Clone)]
pub struct LocalNotifier {
    shared: Arc<Shared>,
}

struct Shared {
    wakes: Arc<Wakes>,
    workers: Mutex<HashMap<WorkerId, mpsc::UnboundedSender<Delivery>>>,
    threads: Mutex<HashMap<ThreadId, broadcast::Sender<RunChange>>>,
}

impl LocalNotifier {
    /// A bus without listeners.
    pub fn new() -> Self {
        Self::with_ack_wait(ACK_WAIT)
    }

    /// A bus on which a wake-up that was not answered comes again after `ack_wait`.
    pub fn with_ack_wait(ack_wait: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                wakes: Arc::new(Wakes::new(ack_wait)),
                workers: Mutex::default(),
                threads: Mutex::default(),
            }),
        }
    }
}

impl Default for LocalNotifier {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Notifier for LocalNotifier {
    async fn wake(&self, thread: ThreadId) -> Result<(), BusError> {
        self.shared.wakes.add(thread)
    }

    async fn wakes(&self, max: usize, wait: Duration) -> Result<Vec<Wake>, BusError> {
        Ok(Wakes::take(&self.shared.wakes, max, wait).await)
    }

    async fn signal(&self, worker: WorkerId, signal: Signal, wait: Duration) -> SignalReply {
        let (sender, answer) = oneshot::channel();
        let reply = Box::new(move |reply| {
            // A receiver that is gone by the time of the answer no longer wants it.
            let _ = sender.send(reply);
        });
        let delivered = match lock(&self.shared.workers).get(&worker) {
            Some(inbox) => inbox.send(Delivery { signal, reply }).is_ok(),
            None => false,
        };
        if !delivered {
            return SignalReply::NoReceiver;
        }
        match timeout(wait, answer).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_dropped_unanswered)) => SignalReply::NoReceiver,
            Err(_elapsed) => SignalReply::NoAnswer,
        }
    }

    async fn signals(&self, worker: WorkerId) -> Result<BoxStream<'static, Delivery>, BusError> {
        let (inbox, deliveries) = mpsc::unbounded_channel();
        let mut workers = lock(&self.shared.workers);
        workers.retain(|_, inbox| !inbox.is_closed());
        workers.insert(worker, inbox);
        Ok(stream::unfold(deliveries, async |mut deliveries| {
            deliveries
                .recv()
                .await
                .map(|delivery| (delivery, deliveries))
        })
        .boxed())
    }

    async fn announce(&self, change: RunChange) -> Result<(), BusError> {
        if let Some(readers) = lock(&self.shared.threads).get(&change.thread_id) {
            // Without readers there is nobody to tell.
            let _ = readers.send(change);
        }
        Ok(())
    }

    async fn changes(&self, thread: ThreadId) -> Result<BoxStream<'static, RunChange>, BusError> {
        let receiver = lock(&self.shared.threads)
            .entry(thread)
            .or_insert_with(|| broadcast::channel(CHANGES_KEPT).0)
            .subscribe();
        let reader = ChangeReader {
            receiver: Some(receiver),
            thread,
            shared: self.shared.clone(),
        };
        Ok(stream::unfold(reader, async |mut reader| {
            let change = reader.next().await?;
            Some((change, reader))
        })
        .boxed())
    }
}

/// Reads a thread's changes; the last reader to go takes the channel with it.
struct ChangeReader {
    receiver: Option<broadcast::Receiver<RunChange>>,
    thread: ThreadId,
    shared: Arc<Shared>,
}

impl ChangeReader {
    async fn next(&mut self) -> Option<RunChange> {
        let receiver = self.receiver.as_mut()?;
        loop {
            match receiver.recv().await {
                Ok(change) => return Some(change),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for ChangeReader {
    fn drop(&mut self) {
        self.receiver = None;
        let mut threads = lock(&self.shared.threads);
        if threads
            .get(&self.thread)
            .is_some_and(|readers| readers.receiver_count() == 0)
        {
            threads.remove(&self.thread);
        }
    }
}

/// The maps stay whole even if a holder panicked: each change to them is a single call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
