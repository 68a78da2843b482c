//! The queue: runs as the workers see them. Claim, renew, settle, sweep.

use std::time::Duration;

use async_trait::async_trait;

use super::DatabaseError;
use crate::checkpoint::NewWrites;
use crate::effects::Effects;
use crate::ids::{ClaimId, ThreadId, WorkerId};
use crate::json::Json;
use crate::lease::{ClaimReply, Claimed, Held, Lease};
use crate::run::RunError;
use crate::state::Head;

/// Where an attempt leaves its run.
#[derive(Clone, Debug, PartialEq)]
pub enum Transit {
    /// It ended well, or waits for a human.
    Succeed,
    /// It failed.
    Fail(RunError),
    /// It took longer than it may.
    TimeOut(RunError),
    /// It was stopped on request.
    Interrupt,
    /// It is given back because its worker stops: another attempt may start at once, and this one
    /// does not count.
    HandBack,
    /// Infrastructure failed: another attempt may start after the delay, if any is left; otherwise
    /// the run fails with the error.
    Retry(Duration, RunError),
}

/// How an attempt ended, with everything that becomes true in the same transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// Where it leaves the run. If the run was asked to roll back, the run is discarded whatever
    /// this says, and if it was asked to interrupt, a hand-back keeps that request.
    pub transit: Transit,
    /// What the thread's latest checkpoint is now; `None` leaves the thread's values, interrupts
    /// and unfinished work as they are. Ignored when the run goes back to pending.
    pub head: Option<Head>,
    /// Pending writes to add to the head: what the run had said, answers to open tool calls.
    pub residue: Option<NewWrites>,
    /// What `wait` and `join` answer from now on.
    pub output: Option<Json>,
    /// What the run had said when it was stopped: a list of messages.
    pub interrupted_output: Option<Json>,
}

/// The answer to a settlement.
#[derive(Debug, PartialEq)]
pub struct Settled {
    /// What must follow.
    pub effects: Effects,
    /// The next run of the same thread, already claimed.
    pub next: Option<Box<Claimed>>,
}

/// What a sweep found.
#[derive(Debug, Default, PartialEq)]
pub struct Sweep {
    /// What must follow: ends of runs, wake-ups of freed threads.
    pub effects: Effects,
    /// How many attempts were taken from workers whose lease ran out.
    pub reaped: u32,
}

/// The queue.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Announces a worker and gives it a lease.
    async fn enlist(&self, worker: WorkerId, lease: Duration) -> Result<(), DatabaseError>;

    /// Extends a worker's lease and says what it holds. [`DatabaseError::Fenced`] if the lease ran
    /// out and was swept: the worker must stop everything and start anew under a new id.
    async fn renew(&self, worker: WorkerId, lease: Duration) -> Result<Vec<Held>, DatabaseError>;

    /// Ends a worker's lease at once, so that a sweep frees whatever it still holds.
    async fn retire(&self, worker: WorkerId) -> Result<(), DatabaseError>;

    /// Claims the run of `thread` that is due first, by `(created_at, seq)`. Raises the thread's
    /// epoch and the run's attempt. Idempotent by `claim`: asked again by the same worker it gives
    /// the same answer.
    async fn claim(
        &self,
        thread: ThreadId,
        worker: WorkerId,
        claim: ClaimId,
    ) -> Result<ClaimReply, DatabaseError>;

    /// Writes how an attempt ended, frees the thread and, if `next` is given, claims the thread's
    /// next due run under that claim. One transaction.
    ///
    /// Idempotent by the lease's claim, so it can be repeated when an answer was lost.
    /// [`DatabaseError::Fenced`] if the attempt no longer holds its thread.
    async fn settle(
        &self,
        lease: &Lease,
        settlement: Settlement,
        next: Option<ClaimId>,
    ) -> Result<Settled, DatabaseError>;

    /// Frees threads held by workers whose lease ran out, at most `limit` of them. A run that was to
    /// be rolled back is discarded. Any other goes back to pending if it has an attempt left, even if
    /// it was to be interrupted: another worker then sees to its input and to what the lost one left.
    /// With no attempt left it is interrupted, or it fails.
    ///
    /// Looks at who holds a thread, not at the moment a lease ends, so nothing can slip through.
    async fn sweep(&self, limit: u32) -> Result<Sweep, DatabaseError>;

    /// Threads that are free and have had a due run for at least `age` since it was last hinted at,
    /// at most `limit`; marks them as hinted at now.
    async fn waiting(&self, age: Duration, limit: u32) -> Result<Vec<ThreadId>, DatabaseError>;

    /// Deletes threads that were made for one run only, once that run has been over for `age`, at
    /// most `limit`. Says how many.
    async fn prune_temporary(&self, age: Duration, limit: u32) -> Result<u32, DatabaseError>;
}
