//! The ports for hints and for history.
//!
//! A [`Notifier`] carries wake-ups and signals: each may be lost, doubled or late. An [`EventLog`]
//! keeps what a run emits, in order, for a while. Nothing durable depends on either: with all of it
//! gone, the database and the sweeps bring every run to its end.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::event::{Event, EventId, Retention};
use crate::ids::{ClaimId, RunId, ThreadId, WorkerId};
use crate::lease::Claimed;
use crate::run::{CancelAction, RunStatus};
use crate::trace::TraceParent;

/// Why a bus did not do it. Callers go on without: it was only a hint.
#[derive(Debug, thiserror::Error)]
#[error("the bus is unavailable: {0}")]
pub struct BusError(pub String);

/// Asks the worker that holds a run to stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The run.
    pub run_id: RunId,
    /// The attempt that is meant. A signal for another claim is ignored.
    pub claim: ClaimId,
    /// How to stop it.
    pub action: CancelAction,
    /// What asks for it, in a trace.
    pub trace: Option<TraceParent>,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum SignalReply {
    /// The worker stops the run.
    Stopping,
    /// The worker does not know this attempt (yet, or any more).
    Unknown,
    /// Nobody listens under that worker's id.
    NoReceiver,
    /// No answer in time.
    NoAnswer,
}

/// A run changed its status. Wakes those who wait for it; the database has the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunChange {
    /// The thread.
    pub thread_id: ThreadId,
    /// The run.
    pub run_id: RunId,
    /// The new status; `None` if the run was discarded.
    pub status: Option<RunStatus>,
}

impl RunChange {
    /// That a run was claimed.
    pub fn started(claimed: &Claimed) -> Self {
        Self {
            thread_id: claimed.lease.thread_id,
            run_id: claimed.lease.run_id,
            status: Some(RunStatus::Running),
        }
    }

    /// Whether nothing more will come from the run.
    pub fn is_end(&self) -> bool {
        self.status.is_none_or(RunStatus::is_terminal)
    }
}

/// A signal on its way to a worker; to be answered.
pub struct Delivery {
    /// What is asked.
    pub signal: Signal,
    /// Takes the answer.
    pub reply: Box<dyn FnOnce(SignalReply) + Send>,
}

/// A wake-up that was taken: "look at this thread". It is to be answered once the claim was. A
/// wake-up that is dropped unanswered comes again, to whoever asks then, after the bus's ack wait
/// (some seconds).
#[must_use = "a wake-up that is not answered comes again"]
pub struct Wake {
    /// The thread to look at.
    pub thread: ThreadId,
    answer: Box<dyn FnOnce(WakeAnswer) + Send>,
}

/// What became of a wake-up that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeAnswer {
    /// The claim was answered: nobody else need look.
    Done,
    /// Not now: it is to come again after this time.
    Later(Duration),
}

impl Wake {
    /// A wake-up for `thread` whose answer, if there is one, goes to `answer`.
    pub fn new(thread: ThreadId, answer: impl FnOnce(WakeAnswer) + Send + 'static) -> Self {
        Self {
            thread,
            answer: Box::new(answer),
        }
    }

    /// Says that a claim of the thread was answered, whatever the answer.
    pub fn done(self) {
        (self.answer)(WakeAnswer::Done);
    }

    /// Gives it back, to come again to somebody after `delay`.
    pub fn later(self, delay: Duration) {
        (self.answer)(WakeAnswer::Later(delay));
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wake").field(&self.thread).finish()
    }
}

/// Hints.
#[async_trait]
pub trait Notifier: Send + Sync + 'static {
    /// Says that `thread` has a run that can be claimed. Some worker hears it, if any listens.
    async fn wake(&self, thread: ThreadId) -> Result<(), BusError>;

    /// Takes up to `max` wake-ups (which no other worker gets until they come again), waiting up to
    /// `wait` for the first. Cancel-safe: a wake-up that was not returned goes to others.
    async fn wakes(&self, max: usize, wait: Duration) -> Result<Vec<Wake>, BusError>;

    /// Asks `worker` to stop a run and waits up to `wait` for its answer.
    async fn signal(&self, worker: WorkerId, signal: Signal, wait: Duration) -> SignalReply;

    /// The signals to `worker`. Subscribed when this returns.
    async fn signals(&self, worker: WorkerId) -> Result<BoxStream<'static, Delivery>, BusError>;

    /// Says that a run changed.
    async fn announce(&self, change: RunChange) -> Result<(), BusError>;

    /// Ends in order, when nobody in this process needs it any more: gives back what came and was not
    /// taken, and sends what was not sent yet. Dropped instead, it costs others some seconds.
    async fn close(&self) {}

    /// The changes of the runs of `thread`. Subscribed when this returns.
    async fn changes(&self, thread: ThreadId) -> Result<BoxStream<'static, RunChange>, BusError>;
}

/// From where to read a run's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The first one that is kept.
    Start,
    /// The first one after this.
    After(EventId),
    /// The next one to come.
    Now,
}

/// What a reader of a run's events gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The next event.
    Event(Event),
    /// Events are missing here: the log no longer had them, or the reader was too slow.
    Gap,
    /// The run is over. Nothing follows.
    End,
}

/// The events of runs.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Adds events of a run, in order. Without an answer it may be repeated: what was added before
    /// is left out.
    async fn append(
        &self,
        thread: ThreadId,
        run: RunId,
        events: Vec<Event>,
        retention: Retention,
    ) -> Result<(), BusError>;

    /// Says that a run is over: to be called after its terminal status is committed, or after it
    /// was discarded. Harmless when repeated.
    async fn end(&self, thread: ThreadId, run: RunId) -> Result<(), BusError>;

    /// Reads a run's events. Subscribed when this returns. The stream follows the run over all its
    /// attempts; events of superseded epochs are left out. It ends after [`Tail::End`]; the reader
    /// of a run that ended long ago must look at the database, as nothing may ever come.
    async fn tail(
        &self,
        thread: ThreadId,
        run: RunId,
        from: From,
    ) -> Result<BoxStream<'static, Tail>, BusError>;
}
