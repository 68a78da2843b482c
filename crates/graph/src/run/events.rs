//! Events on their way from nodes and supersteps to the host, in one order.

use std::sync::Arc;

use runloom_core::executor::{Emission, Host};
use tokio::sync::{mpsc, oneshot};

/// How many events may wait for the host before nodes have to wait, too.
const QUEUE: usize = 256;

/// How many events go to the host at once.
const BATCH: usize = 64;

/// Takes events. Clones feed the same queue.
#[derive(Clone)]
pub(crate) struct EventSink(mpsc::Sender<Emission>);

impl EventSink {
    /// Queues an event, waiting for space. `false` if the attempt is over.
    pub(crate) async fn send(&self, event: Emission) -> bool {
        self.0.send(event).await.is_ok()
    }
}

/// What becomes of events that wait when the attempt is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// They are passed on.
    Drain,
    /// They are dropped: the attempt was stopped, and nobody was shown them.
    Discard,
}

/// Passes queued events on to the host.
pub(crate) struct Pump {
    queue: mpsc::Receiver<Emission>,
    host: Arc<dyn Host>,
    closing: oneshot::Receiver<Closing>,
}

impl Pump {
    /// A queue, what empties it, and what closes it.
    pub(crate) fn new(host: Arc<dyn Host>) -> (EventSink, Self, oneshot::Sender<Closing>) {
        let (sink, queue) = mpsc::channel(QUEUE);
        let (close, closing) = oneshot::channel();
        let pump = Self {
            queue,
            host,
            closing,
        };
        (EventSink(sink), pump, close)
    }

    /// Passes on what comes, until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        let mut open = true;
        loop {
            let first = tokio::select! {
                biased;
                closing = &mut self.closing, if open => {
                    open = false;
                    self.queue.close();
                    if closing != Ok(Closing::Drain) {
                        return;
                    }
                    continue;
                }
                first = self.queue.recv() => first,
            };
            let Some(first) = first else {
                return;
            };
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = self.queue.try_recv()
            {
                batch.push(next);
            }
            self.host.emit(batch).await;
        }
    }
}
