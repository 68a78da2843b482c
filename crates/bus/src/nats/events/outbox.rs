//! What was published and is not known to be kept, to be published again when a connection was lost.
//!
//! A publication says nothing about its arrival. So now and then one asks the stream for an
//! acknowledgement, which covers all of the run before it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runloom_core::bus::BusError;
use runloom_core::event::EventId;
use runloom_core::ids::RunId;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::{Instant, timeout};

use super::frame::{self, Message};

/// How often an acknowledgement is asked for, for each run.
const ASK: Duration = Duration::from_millis(250);

/// The most that is remembered of one run.
const BYTES: usize = 4 << 20;

/// What is remembered of a run of which nothing is heard is forgotten after this time: longer than a
/// connection can be dead without anybody noticing.
const IDLE: Duration = Duration::from_mins(1);

/// How long the end of a run waits to know that what came before is kept.
const ANSWERED: Duration = Duration::from_millis(500);

/// The outboxes of all runs that this process publishes for.
#[derive(Default)]
pub(super) struct Outboxes {
    runs: Mutex<Runs>,
}

#[derive(Default)]
struct Runs {
    outboxes: HashMap<RunId, Entry>,
    swept: Option<Instant>,
}

struct Entry {
    outbox: Arc<AsyncMutex<Outbox>>,
    answers: watch::Sender<Answers>,
    used: Instant,
}

/// What streams answered to a run's messages.
#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    /// Everything up to this number is kept.
    kept: Option<u64>,
    /// How often nobody was there to keep something.
    refusals: u64,
}

/// One run's.
pub(super) struct Outbox {
    /// Where all of it goes.
    pub(super) subject: String,
    /// Messages with their numbers, in order.
    unconfirmed: VecDeque<(u64, Message)>,
    bytes: usize,
    next: u64,
    /// The connection on which they were published; zero if they are known to be lost.
    pub(super) connection: u64,
    /// The last message that asked for an acknowledgement.
    asked: Option<u64>,
    /// When that was, or when this began: a short run asks only with its end.
    asked_at: Instant,
    answers: watch::Receiver<Answers>,
    /// So many refusals were acted on.
    refusals: u64,
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
            runs.outboxes.retain(|_, entry| entry.used + IDLE > now);
        }
        let entry = runs.outboxes.entry(run).or_insert_with(|| {
            let (sender, answers) = watch::channel(Answers::default());
            Entry {
                outbox: Arc::new(AsyncMutex::new(Outbox::new(subject.to_owned(), answers))),
                answers: sender,
                used: now,
            }
        });
        entry.used = now;
        entry.outbox.clone()
    }

    /// Takes the answer to the message `number` of `run`: it is kept, or nobody was there to keep it.
    pub(super) fn answer(&self, run: RunId, number: u64, is_kept: bool) {
        if let Some(entry) = self.lock().outboxes.get(&run) {
            entry.answers.send_modify(|answers| {
                if is_kept {
                    answers.kept = answers.kept.max(Some(number));
                } else {
                    answers.refusals += 1;
                }
            });
        }
    }

    /// The runs that there are outboxes for.
    pub(super) fn all(&self) -> Vec<RunId> {
        self.lock().outboxes.keys().copied().collect()
    }

    /// The outbox of `run`, if there is one.
    pub(super) fn find(&self, run: RunId) -> Option<Arc<AsyncMutex<Outbox>>> {
        let runs = self.lock();
        runs.outboxes.get(&run).map(|entry| entry.outbox.clone())
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
    fn new(subject: String, answers: watch::Receiver<Answers>) -> Self {
        Self {
            subject,
            unconfirmed: VecDeque::new(),
            bytes: 0,
            next: 0,
            connection: 0,
            asked: None,
            asked_at: Instant::now(),
            answers,
            refusals: 0,
            last: None,
        }
    }

    /// Acts on what was answered.
    pub(super) fn settle(&mut self) {
        let answers = *self.answers.borrow();
        if let Some(kept) = answers.kept {
            self.confirm(kept);
        }
        if std::mem::replace(&mut self.refusals, answers.refusals) != answers.refusals {
            self.connection = 0;
        }
    }

    /// Waits, not for long, for the answer to what asked last.
    pub(super) async fn answered(&mut self) {
        if let Some(asked) = self.asked {
            let known = self.refusals;
            let is_answered =
                |answers: &Answers| answers.kept >= Some(asked) || answers.refusals != known;
            let answered = timeout(ANSWERED, self.answers.wait_for(is_answered)).await;
            if answered.is_err() {
                self.connection = 0;
            }
        }
        self.settle();
    }

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
        if self.asked_at + ASK > now {
            return None;
        }
        (self.asked, self.asked_at) = (Some(number), now);
        Some(number)
    }

    /// Takes note of a publication: what failed is lost, and so may be what came before it.
    pub(super) fn note(&mut self, sent: &Result<(), BusError>) {
        if let Err(error) = sent {
            tracing::debug!(%error, subject = self.subject, "events wait for a connection");
            self.connection = 0;
        }
    }

    /// Remembers that the run is over, to be published with the rest.
    pub(super) fn end(&mut self) {
        self.connection = 0;
        self.add(Message {
            headers: None,
            body: frame::end(self.last),
        });
    }

    /// Everything up to this number is kept.
    fn confirm(&mut self, number: u64) {
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
