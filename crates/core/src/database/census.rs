//! How much there is: of work that waits, and of what is stored. For whoever watches over an
//! installation; nothing is decided by it.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::DatabaseError;

/// How much work there is at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The moment, by the database's clock.
    pub at: DateTime<Utc>,
    /// Runs that wait and are due, whether or not their thread is free.
    pub pending: u64,
    /// Runs that wait and are not due yet: they were delayed, or are between two attempts.
    pub scheduled: u64,
    /// Runs that a worker holds.
    pub running: u64,
    /// Threads that have a due or a running run: as many slots as could be busy now, since a thread
    /// executes one run at a time.
    pub backlog_threads: u64,
    /// For how long the run has waited that waits longest among those that could be claimed: it is due
    /// and first on its thread, and nobody holds that. None if there is no such run.
    pub oldest_due: Option<Duration>,
    /// What happened and is still to be told; none where nobody else is told of it.
    pub untold: Option<Untold>,
}

/// Events that wait to be told, see [`Outbox`](super::Outbox).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// How many; counted up to [`Untold::MOST`].
    pub rows: u64,
    /// For how long the oldest has waited.
    pub age: Duration,
}

impl Untold {
    /// As far as events are counted, so that the question stays cheap when nobody tells them.
    pub const MOST: u32 = 100_000;
}

/// How large a table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Its name; one of a fixed list.
    pub table: &'static str,
    /// Bytes that it takes with its indexes, and with what is stored beside it.
    pub bytes: u64,
    /// How many rows it has, roughly; none where nobody knows without counting.
    pub rows: Option<u64>,
}

/// How connections are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionUse {
    /// Connections that are there and that nobody uses.
    pub idle: u32,
    /// Those that are in use.
    pub busy: u32,
    /// How many there may be.
    pub max: u32,
}

/// How much there is.
#[async_trait]
pub trait Census: Send + Sync + 'static {
    /// Counts the work that there is. Its cost grows with the runs that are not over and with nothing
    /// else, so it can be asked every few seconds.
    async fn tally(&self) -> Result<Tally, DatabaseError>;

    /// How large the tables are. To be asked each minute at most.
    async fn sizes(&self) -> Result<Vec<TableSize>, DatabaseError>;

    /// How this process uses its connections, if it has any. Asks nobody.
    fn connections(&self) -> Option<ConnectionUse> {
        None
    }
}
