//! Between the pulls and those who wait for wake-ups: what came and was not taken yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runloom_core::bus::{BusError, Wake, WakeAnswer};
use runloom_core::ids::ThreadId;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::dispatch::Dispatcher;
use crate::nats::post::Post;
use crate::nats::tasks::Spawner;

/// A wake-up that came.
pub(super) struct Held {
    pub(super) thread: ThreadId,
    /// Where its answer goes; nothing if it did not come through the queue.
    pub(super) ack: Option<String>,
}

/// What came and was not taken yet.
pub(super) struct Shelf {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Wakes the pump: somebody asks, or nobody does any more.
    pub(super) demanded: Notify,
    post: Post,
    dispatcher: Arc<Dispatcher>,
    spawner: Spawner,
}

#[derive(Default)]
struct State {
    held: VecDeque<Held>,
    demand: usize,
    trouble: Option<String>,
    closed: bool,
}

/// So many are asked for as long as this lives.
struct Demand<'a>(&'a Shelf, usize);

impl Drop for Demand<'_> {
    fn drop(&mut self) {
        self.0.lock().demand -= self.1;
        self.0.demanded.notify_one();
    }
}

impl Shelf {
    pub(super) fn new(post: Post, dispatcher: Arc<Dispatcher>, spawner: Spawner) -> Self {
        Self {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            demanded: Notify::new(),
            post,
            dispatcher,
            spawner,
        }
    }

    /// Takes up to `max`, waiting up to `wait` for the first.
    pub(super) async fn take(&self, max: usize, wait: Duration) -> Result<Vec<Wake>, BusError> {
        let deadline = Instant::now() + wait;
        self.lock().demand += max;
        let _demand = Demand(self, max);
        self.demanded.notify_one();
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            // Nothing is awaited between taking and returning, so dropping this future loses none.
            let (taken, trouble) = {
                let mut state = self.lock();
                let count = state.held.len().min(max);
                let taken: Vec<_> = state.held.drain(..count).collect();
                (taken, state.trouble.clone())
            };
            if !taken.is_empty() || max == 0 {
                return Ok(taken.into_iter().map(|held| self.wake(held)).collect());
            }
            if let Some(trouble) = trouble {
                return Err(BusError(trouble));
            }
            if timeout_at(deadline, changed.changed()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    /// How many more are asked for than are here.
    pub(super) fn wanted(&self) -> usize {
        let state = self.lock();
        state.demand.saturating_sub(state.held.len())
    }

    /// Whether something is here that nobody asks for.
    pub(super) fn is_unwanted(&self) -> bool {
        let state = self.lock();
        state.demand == 0 && !state.held.is_empty()
    }

    pub(super) fn put(&self, held: Held) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return self.wake(held).later(Duration::ZERO);
        }
        state.held.push_back(held);
        drop(state);
        self.changed.send_replace(());
    }

    /// Gives everything back, and what is still to come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.clear();
    }

    /// Gives everything back, for others.
    pub(super) fn clear(&self) {
        let held = std::mem::take(&mut self.lock().held);
        for held in held {
            self.wake(held).later(Duration::ZERO);
        }
    }

    /// Whether nothing comes, as far as is known.
    pub(super) fn has_trouble(&self) -> bool {
        self.lock().trouble.is_some()
    }

    /// Says why nothing comes, or that it does again.
    pub(super) fn trouble(&self, trouble: Option<String>) {
        self.lock().trouble = trouble;
        self.changed.send_replace(());
    }

    fn wake(&self, held: Held) -> Wake {
        let (post, dispatcher) = (self.post.clone(), self.dispatcher.clone());
        let spawner = self.spawner.clone();
        let Held { thread, ack } = held;
        Wake::new(thread, move |answer| match (ack, answer) {
            (Some(ack), WakeAnswer::Done) => post.send(ack, "+ACK"),
            (Some(ack), WakeAnswer::Later(delay)) => {
                post.send(ack, format!("-NAK {{\"delay\":{}}}", delay.as_nanos()));
            }
            (None, WakeAnswer::Done) => {}
            // The queue may take it by now.
            (None, WakeAnswer::Later(delay)) => spawner.spawn(async move {
                tokio::time::sleep(delay).await;
                if let Err(error) = dispatcher.wake(thread).await {
                    tracing::debug!(%error, thread.id = %thread, "cannot pass on a wake-up");
                }
            }),
        })
    }

    /// The state stays whole even if a holder panicked: each change to it is a single call.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
