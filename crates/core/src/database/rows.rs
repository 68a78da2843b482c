//! Threads and runs as drivers load them, change them by the rules and write them back.

use chrono::{DateTime, Utc};

use crate::bus::RunChange;
use crate::ids::{ClaimId, RunId, ThreadId, WorkerId};
use crate::json::JsonMap;
use crate::lease::Fence;
use crate::run::{IllegalTransition, Run, RunError, RunStatus, Transition};
use crate::state::Head;
use crate::thread::{Thread, ThreadFacts, ThreadStatus};

/// A thread with what only the queue needs to know.
pub struct ThreadRow {
    /// As clients see it; its values and interrupts only where they were loaded.
    pub thread: Thread,
    /// Whether the last run to end failed or timed out.
    pub failed: bool,
    /// Whether the latest checkpoint has nodes left to run.
    pub unfinished: bool,
    /// Whether it was made for one run only.
    pub temporary: bool,
    /// When its last run in flight ended.
    pub at_rest_since: Option<DateTime<Utc>>,
    /// When somebody was last told that it has a due run.
    pub hinted_at: DateTime<Utc>,
    /// The place of the next run in the order of acceptance.
    pub next_seq: i64,
    /// When the last run was accepted, delays left out. Never falls.
    pub accepted_at: DateTime<Utc>,
    /// Grows with each claim.
    pub epoch: i64,
    /// The attempt that holds it.
    pub holder: Option<Holder>,
}

/// The attempt that holds a thread.
#[derive(Clone, Copy)]
pub struct Holder {
    /// Its run.
    pub run_id: RunId,
    /// Who executes it.
    pub worker_id: WorkerId,
    /// What its writes must carry.
    pub fence: Fence,
    /// When it was claimed.
    pub claimed_at: DateTime<Utc>,
}

impl ThreadRow {
    /// A thread that nothing has happened to.
    pub fn new(id: ThreadId, metadata: JsonMap, now: DateTime<Utc>) -> Self {
        Self {
            thread: Thread {
                id,
                created_at: now,
                updated_at: now,
                state_updated_at: now,
                metadata,
                status: ThreadStatus::Idle,
                config: JsonMap::new(),
                values: None,
                interrupts: JsonMap::new(),
                error: None,
                ttl: None,
            },
            failed: false,
            unfinished: false,
            temporary: false,
            at_rest_since: None,
            hinted_at: now,
            next_seq: 1,
            accepted_at: DateTime::UNIX_EPOCH,
            epoch: 0,
            holder: None,
        }
    }

    /// Whether `fence` is that of the attempt that holds it for `run`.
    pub fn is_held(&self, fence: Fence, run: RunId) -> bool {
        let holder = self.holder.as_ref();
        holder.is_some_and(|holder| holder.fence == fence && holder.run_id == run)
    }

    /// Gives it to an attempt, under the next epoch.
    pub fn hold(
        &mut self,
        run_id: RunId,
        worker_id: WorkerId,
        claim: ClaimId,
        now: DateTime<Utc>,
    ) -> Holder {
        self.epoch += 1;
        let holder = Holder {
            run_id,
            worker_id,
            fence: Fence {
                epoch: self.epoch,
                claim,
            },
            claimed_at: now,
        };
        self.holder = Some(holder);
        holder
    }

    /// Recomputes its status, now that facts may have changed.
    pub fn refresh(&mut self, in_flight: bool, now: DateTime<Utc>) {
        let facts = ThreadFacts {
            in_flight,
            failed: self.failed,
            unfinished: self.unfinished,
        };
        if self.thread.status != facts.status() {
            self.thread.status = facts.status();
            self.thread.updated_at = now;
        }
        let since = self.at_rest_since.unwrap_or(now);
        self.at_rest_since = (!in_flight).then_some(since);
    }

    /// Takes over what is known of the latest checkpoint.
    pub fn apply_head(&mut self, head: Head) {
        self.unfinished = !head.next.is_empty();
        self.thread.values = Some(head.values);
        self.thread.interrupts = head.interrupts;
    }

    /// Notes how its last run ended, or that somebody wrote its state from outside.
    pub fn note_end(&mut self, failed: bool, error: Option<RunError>, now: DateTime<Utc>) {
        self.failed = failed;
        self.thread.error = error;
        self.thread.state_updated_at = now;
        self.thread.updated_at = now;
    }
}

/// A run with what only the queue needs to know.
pub struct RunRow {
    /// As clients see it.
    pub run: Run,
    /// When a retry is due. The run keeps its place meanwhile: nothing overtakes it.
    pub not_before: DateTime<Utc>,
    /// How many of its attempts were handed back and don't count.
    pub handed_back: u32,
}

impl RunRow {
    /// Moves it to the status after `transition`.
    pub fn apply(
        &mut self,
        transition: Transition,
        now: DateTime<Utc>,
    ) -> Result<(), IllegalTransition> {
        self.run.status = self.run.status.after(transition)?;
        self.run.updated_at = now;
        if self.run.status != RunStatus::Running {
            self.run.worker_id = None;
        }
        Ok(())
    }

    /// Whether another attempt may start after one that counts has failed.
    pub fn has_attempts_left(&self, max_attempts: u32) -> bool {
        self.run.attempt.saturating_sub(self.handed_back) < max_attempts
    }

    /// What must be told of it now.
    pub fn told(&self) -> RunChange {
        RunChange {
            thread_id: self.run.thread_id,
            run_id: self.run.id,
            status: Some(self.run.status),
        }
    }

    /// What must be told of it once it is discarded.
    pub fn told_gone(&self) -> RunChange {
        RunChange {
            status: None,
            ..self.told()
        }
    }
}
