//! What was published and is not known to be kept, to be published again when a connection was lost.
//!
//! A publication says nothing about its arrival. So now and then one asks the stream for an
//! acknowledgement, which covers all of the run before it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runloom_core::event::EventId;
use runloom_core::ids::RunId;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::frame::Message;

/// How often an acknowledgement is asked for, for each run.
const ASK: Duration = Duration::from_millis(250);

/// The most that is remembered of one run.
const BYTES: usize = 4 << 20;

/// What is remembered of a run of which nothing is heard is forgotten after this time: longer than a
/// connection can be dead without anybody noticing.
const IDLE: Duration = Duration::from_mins(1);

/// The outboxes of all runs that this process publishes for.
#[derive(Default)]
pub(super) struct Outboxes {
    runs: Mutex<Runs>,
}

#[derive(Default)]
struct Runs {
    outboxes: HashMap<RunId, (Arc<AsyncMutex<Outbox>>, Instant)>,
    swept: Option<Instant>,
}

/// One run's.
#[derive(Default)]
pub(super) struct Outbox {
    /// Where all of it goes.
    pub(super) subject: String,
    /// Messages with their numbers, in order.
    unconfirmed: VecDeque<(u64, Message)>,
    bytes: usize,
    next: u64,
    /// The connection on which they were published.
    pub(super) connection: u64,
    asked: Option<Instant>,
    /// The last event.
    pub(super) last: Option<EventId>,
}

impl Outboxes {
    /// The outbox of `run`, which goes to `subject`. Whoever publishes for the run holds its lock meanwhile.
    pub(super) fn of(&self, run: RunId, subject: &str) -> Arc<AsyncMutex<Outbox>> {
        let now = Instant::now();
        let mut runs = self.lock();
        if runs.swept.is_none_or(|swept| swept + IDLE < now) {
            runs.swept = Some(now);
            runs.outboxes.retain(|_, (_, used)| *used + IDLE > now);
        }
        let entry = runs.outboxes.entry(run).or_insert_with(|| {
            let outbox = Outbox {
                subject: subject.to_owned(),
                ..Outbox::default()
            };
            (Arc::new(AsyncMutex::new(outbox)), now)
        });
        entry.1 = now;
        entry.0.clone()
    }

    /// The runs that there are outboxes for.
    pub(super) fn all(&self) -> Vec<RunId> {
        self.lock().outboxes.keys().copied().collect()
    }

    /// The outbox of `run`, if there is one.
    pub(super) fn find(&self, run: RunId) -> Option<Arc<AsyncMutex<Outbox>>> {
        self.lock()
            .outboxes
            .get(&run)
            .map(|(outbox, _)| outbox.clone())
    }

    /// The run is over and all of it is kept.
    pub(super) fn forget(&self, run: RunId) {
        self.lock().outboxes.remove(&run);
    }

    /// The maps stay whole even if a holder panicked: each change to them is a single call.
    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    /// Remembers a message that is about to be published. Answers with its number, if this one is to
    /// ask for an acknowledgement.
    pub(super) fn add(&mut self, message: Message) -> Option<u64> {
        let number = self.next;
        self.next += 1;
        self.bytes += message.body.len();
        self.unconfirmed.push_back((number, message));
        while self.bytes > BYTES && self.unconfirmed.len() > 1 {
            self.drop_first();
        }
        let now = Instant::now();
        if self.asked.is_some_and(|asked| asked + ASK > now) {
            return None;
        }
        self.asked = Some(now);
        Some(number)
    }

    /// Everything up to this number is kept.
    pub(super) fn confirm(&mut self, number: u64) {
        while self
            .unconfirmed
            .front()
            .is_some_and(|(first, _)| *first <= number)
        {
            self.drop_first();
        }
    }

    /// What is to be published again, with numbers.
    pub(super) fn unconfirmed(&self) -> Vec<(u64, Message)> {
        self.unconfirmed.iter().cloned().collect()
    }

    fn drop_first(&mut self) {
        if let Some((_, message)) = self.unconfirmed.pop_front() {
            self.bytes -= message.body.len();
        }
    }
}
