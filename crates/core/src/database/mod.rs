//! The database port: the only truth.
//!
//! A method is one thing that the domain does; it is atomic and durable when it answers. Where a
//! decision depends on what is stored, the driver locks and reads, a pure function of this crate
//! decides, the driver carries it out. Every time that is stored or compared is taken from the
//! database's own clock, so several machines need not agree on theirs.
//!
//! Methods that change runs answer with the [`Effects`](crate::effects::Effects) the change must
//! have elsewhere (signals, wake-ups, ends of streams). They are hints: all may be lost, the database
//! alone brings everything to its end.

mod assistants;
mod census;
mod checkpoints;
pub mod decisions;
mod items;
mod outbox;
mod queue;
mod retention;
pub mod rows;
mod runs;
mod threads;

use uuid::Uuid;

use crate::ids::ThreadId;

pub use assistants::Assistants;
pub use census::{Census, ConnectionUse, TableSize, Tally, Untold};
pub use checkpoints::{Checkpoints, Guard};
pub use items::Items;
pub use outbox::Outbox;
pub use queue::{Queue, Settled, Settlement, Sweep, Transit};
pub use retention::{Expired, Retention};
pub use runs::{CancelRequest, Cancelled, Runs, Submission};
pub use threads::{ThreadDeletion, ThreadPatch, Threads};

/// Everything the server needs from a database.
pub trait Database:
    Threads + Runs + Queue + Retention + Checkpoints + Assistants + Items + Census
{
}

impl<T> Database for T where
    T: Threads + Runs + Queue + Retention + Checkpoints + Assistants + Items + Census
{
}

/// Whether the database answers: asks something that it finds by an index.
pub async fn ping(database: &dyn Database) -> Result<(), DatabaseError> {
    database.thread(ThreadId(Uuid::nil())).await.map(drop)
}

/// Why a database refused, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// What was named is not there.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// It exists already.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// The thread has runs in flight, which the operation does not allow.
    #[error("the thread has runs in flight")]
    Busy,
    /// What the caller read has changed meanwhile; read again.
    #[error("the thread's state has changed meanwhile")]
    Changed,
    /// The writer no longer holds the thread. Nothing was written.
    #[error("the attempt no longer holds its thread")]
    Fenced,
    /// The storage does not answer or cannot write: worth another try later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// What is stored makes no sense, or a statement is wrong: a bug, never worth another try.
    #[error("the database failed: {0}")]
    Internal(String),
}
