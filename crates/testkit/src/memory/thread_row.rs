//! A thread with all that belongs to it, and what transactions on it have in common.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use runloom_core::admission::{InFlight, Stop};
use runloom_core::bus::{RunChange, Signal};
use runloom_core::database::DatabaseError;
use runloom_core::effects::Effects;
use runloom_core::ids::{ClaimId, RunId, WorkerId};
use runloom_core::lease::{Claimed, Fence, Lease};
use runloom_core::run::{CancelAction, Run, RunError, RunStatus, Transition};
use runloom_core::state::Head;
use runloom_core::thread::{Thread, ThreadFacts};

use super::shelf::Shelf;

/// A thread with its runs and checkpoints.
#[derive(Clone)]
pub(super) struct ThreadRow {
    /// As clients see it.
    pub(super) thread: Thread,
    /// Whether the last run to end failed or timed out.
    pub(super) failed: bool,
    /// Whether the latest checkpoint has nodes left to run.
    pub(super) unfinished: bool,
    /// Whether it was made for one run only.
    pub(super) temporary: bool,
    /// When its last run in flight ended.
    pub(super) at_rest_since: Option<DateTime<Utc>>,
    /// When somebody was last told that it has a due run.
    pub(super) hinted_at: DateTime<Utc>,

    pub(super) runs: BTreeMap<RunId, RunRow>,
    pub(super) last_seq: i64,
    /// When its last run was accepted, delays left out. Never falls.
    pub(super) last_accepted_at: Option<DateTime<Utc>>,

    pub(super) epoch: i64,
    pub(super) holder: Option<Holder>,
    /// All settlements, so that each can be repeated.
    pub(super) settled: Vec<PastSettlement>,

    pub(super) shelf: Shelf,
    /// How the thread was, by its `updated_at`, when its time was up and its history was deleted.
    pub(super) trimmed: Option<DateTime<Utc>>,
}

/// A run with what only the queue needs to know.
#[derive(Clone)]
pub(super) struct RunRow {
    pub(super) run: Run,
    /// When a retry is due. The run keeps its place meanwhile: nothing overtakes it.
    pub(super) not_before: DateTime<Utc>,
    /// How many of its attempts were handed back and don't count.
    pub(super) handed_back: u32,
}

/// The attempt that holds a thread.
#[derive(Clone)]
pub(super) struct Holder {
    pub(super) run: RunId,
    pub(super) worker: WorkerId,
    pub(super) fence: Fence,
    pub(super) claimed_at: DateTime<Utc>,
}

/// How an attempt left its run.
#[derive(Clone)]
pub(super) struct PastSettlement {
    pub(super) fence: Fence,
    pub(super) run: RunId,
    /// `None` if the run was discarded.
    pub(super) status: Option<RunStatus>,
}

/// Who asked a run to stop, and why.
pub(super) struct Asker {
    pub(super) superseded_by: Option<RunId>,
    pub(super) reason: Option<String>,
}

impl ThreadRow {
    pub(super) fn new(thread: Thread) -> Self {
        let shelf = Shelf::new(thread.id);
        Self {
            hinted_at: thread.created_at,
            thread,
            failed: false,
            unfinished: false,
            temporary: false,
            at_rest_since: None,
            runs: BTreeMap::new(),
            last_seq: 0,
            last_accepted_at: None,
            epoch: 0,
            holder: None,
            settled: Vec::new(),
            shelf,
            trimmed: None,
        }
    }

    /// Runs that are pending or running, in the order of acceptance.
    pub(super) fn in_flight(&self) -> Vec<InFlight> {
        let runs = self.runs.values().map(|row| &row.run);
        let mut runs: Vec<_> = runs.filter(|run| !run.status.is_terminal()).collect();
        runs.sort_by_key(|run| run.seq);
        runs.into_iter().map(InFlight::of).collect()
    }

    /// Recomputes the status. To be called at the end of every transaction that changed a fact.
    pub(super) fn refresh(&mut self, now: DateTime<Utc>) {
        let in_flight = !self.in_flight().is_empty();
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
    pub(super) fn apply_head(&mut self, head: Head) {
        self.thread.values = Some(head.values);
        self.thread.interrupts = head.interrupts;
        self.unfinished = !head.next.is_empty();
    }

    /// The run to be claimed next, if it is due: the first in the queue, unless it waits for
    /// another attempt.
    pub(super) fn due(&self, now: DateTime<Utc>) -> Option<&RunRow> {
        self.runs
            .values()
            .filter(|row| row.run.status == RunStatus::Pending && row.run.created_at <= now)
            .min_by_key(|row| (row.run.created_at, row.run.seq))
            .filter(|row| row.not_before <= now)
    }

    /// Asks for a wake-up if the thread is free and has a due run.
    pub(super) fn wake_if_due(&mut self, now: DateTime<Utc>, effects: &mut Effects) {
        if self.holder.is_none() && self.due(now).is_some() {
            effects.wakes.push(self.thread.id);
            self.hinted_at = now;
        }
    }

    /// Claims the run that is due.
    pub(super) fn claim_due(
        &mut self,
        worker: WorkerId,
        claim: ClaimId,
        now: DateTime<Utc>,
    ) -> Result<Option<Claimed>, DatabaseError> {
        let Some(run) = self.due(now).map(|row| row.run.id) else {
            return Ok(None);
        };
        self.epoch += 1;
        self.holder = Some(Holder {
            run,
            worker,
            fence: Fence {
                epoch: self.epoch,
                claim,
            },
            claimed_at: now,
        });
        let run = self.change(run, Transition::Claim, now)?;
        run.attempt += 1;
        run.worker_id = Some(worker);
        Ok(self.claimed())
    }

    /// What the holder of the thread was told when it claimed.
    pub(super) fn claimed(&self) -> Option<Claimed> {
        let holder = self.holder.as_ref()?;
        Some(Claimed {
            lease: Lease {
                run_id: holder.run,
                thread_id: self.thread.id,
                worker_id: holder.worker,
                fence: holder.fence,
            },
            run: self.runs.get(&holder.run)?.run.clone(),
            claimed_at: holder.claimed_at,
        })
    }

    /// Whether `fence` is that of the attempt that holds the thread for `run`.
    pub(super) fn is_held(&self, fence: Fence, run: RunId) -> bool {
        let holder = self.holder.as_ref();
        holder.is_some_and(|holder| holder.fence == fence && holder.run == run)
    }

    /// Changes the status of a run.
    pub(super) fn change(
        &mut self,
        run: RunId,
        transition: Transition,
        now: DateTime<Utc>,
    ) -> Result<&mut Run, DatabaseError> {
        let row = self.row(run)?;
        row.run.status = row
            .run
            .status
            .after(transition)
            .map_err(|error| DatabaseError::Internal(error.to_string()))?;
        row.run.updated_at = now;
        Ok(&mut row.run)
    }

    /// The run, to be changed.
    pub(super) fn row(&mut self, run: RunId) -> Result<&mut RunRow, DatabaseError> {
        self.runs
            .get_mut(&run)
            .ok_or(DatabaseError::NotFound("run"))
    }

    /// What must be told of a run that changed.
    pub(super) fn told(&self, run: RunId) -> RunChange {
        RunChange {
            thread_id: self.thread.id,
            run_id: run,
            status: self.runs.get(&run).map(|row| row.run.status),
        }
    }

    /// Carries out what the rules say about stopping a run.
    pub(super) fn stop(
        &mut self,
        run: RunId,
        stop: Stop,
        asker: &Asker,
        now: DateTime<Utc>,
    ) -> Result<Effects, DatabaseError> {
        let mut effects = Effects::default();
        if stop == Stop::Discard {
            self.discard(run);
            effects.changes.push(self.told(run));
            return Ok(effects);
        }
        let holder = self.holder.clone().filter(|holder| holder.run == run);
        let row = self.row(run)?;
        row.run.updated_at = now;
        row.run.cancel_reason = asker.reason.clone().or(row.run.cancel_reason.take());
        row.run.superseded_by = asker.superseded_by.or(row.run.superseded_by);
        row.run.cancel = Some(CancelAction::Interrupt);
        match stop {
            Stop::Signal(action) => {
                row.run.cancel = Some(action);
                let signal = |holder: Holder| Signal {
                    run_id: run,
                    claim: holder.fence.claim,
                    action,
                    trace: None,
                };
                let signal = holder.map(|holder| (holder.worker, signal(holder)));
                effects.signals.extend(signal);
            }
            Stop::Visit => {
                row.run.created_at = row.run.created_at.min(now);
                row.not_before = row.not_before.min(now);
            }
            Stop::End => {
                self.change(run, Transition::Interrupt, now)?;
                effects.changes.push(self.told(run));
            }
            Stop::Discard => {}
        }
        Ok(effects)
    }

    /// Ends a run that a worker held, in any way but rollback.
    pub(super) fn end(
        &mut self,
        run: RunId,
        transition: Transition,
        error: Option<RunError>,
        now: DateTime<Utc>,
    ) -> Result<&mut Run, DatabaseError> {
        self.failed = matches!(transition, Transition::Fail | Transition::TimeOut);
        self.thread.error.clone_from(&error);
        self.thread.state_updated_at = now;
        self.thread.updated_at = now;
        let run = self.change(run, transition, now)?;
        run.worker_id = None;
        run.error = error;
        Ok(run)
    }

    /// Deletes a run with all that it wrote. Values that it had replaced are visible again.
    pub(super) fn discard(&mut self, run: RunId) {
        self.runs.remove(&run);
        self.shelf.discard(run);
    }
}
