//! What can be set about a worker: plain data.

use std::time::Duration;

/// How a worker works. Every worker of a deployment should have the same leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many runs it executes at once; at least one.
    pub slots: usize,
    /// How many runs of one thread it executes in a row before it lets others have a turn.
    pub max_consecutive: u32,
    /// How long it may be silent before others take over what it holds.
    pub lease: Duration,
    /// How much earlier than the database it considers its own lease to have run out. Covers clocks
    /// that run at different rates.
    pub margin: Duration,
    /// How often it looks into the database for runs that nobody told it of.
    pub poll: Duration,
    /// How long a run may wait, since somebody was last told of it, before it is looked for.
    pub hint_age: Duration,
    /// How often it looks for threads whose worker is gone.
    pub sweep: Duration,
    /// How often it deletes what was only temporary.
    pub prune: Duration,
    /// How long a thread made for one run outlives that run.
    pub temporary_age: Duration,
    /// How often it looks for what was kept for long enough.
    pub expire: Duration,
    /// How many threads whose time is up it deals with in one look.
    pub expire_limit: u32,
    /// How long the record of a run is kept after the run is over; for good if none.
    pub run_age: Option<Duration>,
    /// How long an executor may take to stop; somewhat later it is abandoned.
    pub grace: Duration,
    /// How long attempts may take to reach the end of a superstep when the worker shuts down.
    pub drain: Duration,
    /// How long an attempt may take.
    pub run_timeout: Option<Duration>,
    /// The delay before the second attempt after an infrastructure fault; it doubles each time.
    pub retry_first: Duration,
    /// The longest delay before another attempt.
    pub retry_longest: Duration,
    /// How long a call to the database may take before it is repeated.
    pub call_timeout: Duration,
    /// How many events are published at once, at most; at least one.
    pub event_batch: usize,
    /// How many events may wait to be published before the graph has to wait; at least one.
    pub event_buffer: usize,
    /// How long to wait, at the end of an attempt, for its last events to be published.
    pub event_flush: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            slots: 64,
            max_consecutive: 16,
            lease: Duration::from_secs(10),
            margin: Duration::from_secs(1),
            poll: Duration::from_secs(1),
            hint_age: Duration::from_secs(2),
            sweep: Duration::from_secs(1),
            prune: Duration::from_secs(2),
            temporary_age: Duration::from_secs(5),
            expire: Duration::from_mins(1),
            expire_limit: 10_000,
            run_age: None,
            grace: Duration::from_secs(10),
            drain: Duration::from_secs(20),
            run_timeout: None,
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_mins(1),
            call_timeout: Duration::from_millis(1_500),
            event_batch: 256,
            event_buffer: 1_024,
            event_flush: Duration::from_secs(1),
        }
    }
}

/// What an abandoned executor gets on top of its own grace, which it needs to say that it ended.
const SLACK: Duration = Duration::from_secs(2);

impl Config {
    /// How often the lease is renewed.
    pub fn renew(&self) -> Duration {
        self.lease / 4
    }

    /// How long after a hard stop an attempt is abandoned.
    pub fn patience(&self) -> Duration {
        self.grace + SLACK
    }
}
