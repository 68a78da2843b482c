//! The right to execute a run, and the token that keeps everybody else from writing.

use chrono::{DateTime, Utc};

use crate::ids::{ClaimId, RunId, ThreadId, WorkerId};
use crate::run::{CancelAction, Run};

/// The fencing token of an attempt, kept on its *thread*: two attempts on one thread, even of
/// different runs, are ordered by it. Every write of the attempt presents it and is refused unless
/// the thread still carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// Grows with each claim on the thread.
    pub epoch: i64,
    /// Made by the claimer.
    pub claim: ClaimId,
}

/// A worker's right over a run. It lasts as long as the worker's own lease, which covers all its
/// runs. Only a database driver makes one; it is deliberately not `Clone`.
///
/// Settling does not take it by value: a settle whose answer was lost must be repeated, and is
/// idempotent by its claim.
#[derive(Debug, PartialEq)]
pub struct Lease {
    /// The run.
    pub run_id: RunId,
    /// The thread it holds.
    pub thread_id: ThreadId,
    /// The worker that holds it.
    pub worker_id: WorkerId,
    /// Proves it.
    pub fence: Fence,
}

/// A run that was claimed.
#[derive(Debug, PartialEq)]
pub struct Claimed {
    /// The right to execute it.
    pub lease: Lease,
    /// The run as it is now: `running`, its attempt counted.
    pub run: Run,
    /// The time of the claim by the database's clock. Event ids count from here.
    pub claimed_at: DateTime<Utc>,
}

impl Claimed {
    /// What `worker` is told that has claimed `run`.
    pub fn new(run: Run, worker: WorkerId, fence: Fence, claimed_at: DateTime<Utc>) -> Self {
        Self {
            lease: Lease {
                run_id: run.id,
                thread_id: run.thread_id,
                worker_id: worker,
                fence,
            },
            run,
            claimed_at,
        }
    }
}

/// What a claim found.
#[derive(Debug, PartialEq)]
pub enum ClaimReply {
    /// A run, now held by the claimer.
    Claimed(Box<Claimed>),
    /// Another attempt holds the thread; its settlement will take the next run.
    Busy,
    /// Nothing is due on the thread.
    Empty,
    /// The claimer itself has no valid lease; it must start anew.
    NotAlive,
}

/// A run that a worker holds according to the database; read back with each renewal, so that a lost
/// signal costs a heartbeat and a lost claim reply is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The run.
    pub run_id: RunId,
    /// Its thread.
    pub thread_id: ThreadId,
    /// The token of the attempt.
    pub fence: Fence,
    /// How it is asked to stop, if it is.
    pub cancel: Option<CancelAction>,
}
