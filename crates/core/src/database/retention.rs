//! What is deleted in time. Any number of workers may do it at once, in small batches: what one of them
//! has in hand, the others pass over.

use std::time::Duration;

use async_trait::async_trait;

use super::DatabaseError;

/// What became of threads whose time was up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// How many were looked at: fewer than the limit if there are no more to look at now.
    pub seen: u32,
    /// How many were deleted.
    pub deleted: u32,
    /// How many lost their history.
    pub trimmed: u32,
    /// How many checkpoints the latter lost.
    pub checkpoints: u64,
}

/// Deletes what was kept for long enough.
#[async_trait]
pub trait Retention: Send + Sync + 'static {
    /// Looks at threads whose time seems to be up, at most `limit`, and deals with those for which that
    /// is so ([`Thread::expires_at`](crate::thread::Thread::expires_at)) as their
    /// [`TtlStrategy`](crate::thread::TtlStrategy) says. A thread with a run in flight is left alone. One
    /// that has lost its history is not looked at again until something happens on it.
    async fn expire_threads(&self, limit: u32) -> Result<Expired, DatabaseError>;

    /// Deletes records of runs that have been over for `age`, at most `limit`. What the runs left on their
    /// threads stays. Says how many.
    async fn prune_runs(&self, age: Duration, limit: u32) -> Result<u32, DatabaseError>;
}
