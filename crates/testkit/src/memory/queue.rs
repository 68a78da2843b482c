//! The queue of the model.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runloom_core::database::{DatabaseError, Queue, Settled, Settlement, Sweep, Transit};
use runloom_core::effects::Effects;
use runloom_core::ids::{ClaimId, ThreadId, WorkerId};
use runloom_core::lease::{ClaimReply, Held, Lease};
use runloom_core::run::{CancelAction, RunError, RunStatus, Transition};

use super::Memory;
use super::state::WorkerRow;
use super::thread_row::{PastSettlement, ThreadRow};

#[async_trait]
impl Queue for Memory {
    async fn enlist(&self, worker: WorkerId, lease: Duration) -> Result<(), DatabaseError> {
        let (mut state, now) = self.begin();
        let row = state.workers.entry(worker).or_insert(WorkerRow {
            until: now,
            dead: false,
        });
        if row.dead {
            return Err(DatabaseError::Fenced);
        }
        row.until = now + delta(lease);
        Ok(())
    }

    async fn renew(&self, worker: WorkerId, lease: Duration) -> Result<Vec<Held>, DatabaseError> {
        let (mut state, now) = self.begin();
        match state.workers.get_mut(&worker) {
            Some(row) if !row.dead => row.until = now + delta(lease),
            _ => return Err(DatabaseError::Fenced),
        }
        let held = |row: &ThreadRow| {
            let holder = row
                .holder
                .as_ref()
                .filter(|holder| holder.worker == worker)?;
            Some(Held {
                run_id: holder.run,
                thread_id: row.thread.id,
                fence: holder.fence,
                cancel: row.runs.get(&holder.run)?.run.cancel,
            })
        };
        Ok(state.threads.values().filter_map(held).collect())
    }

    async fn retire(&self, worker: WorkerId) -> Result<(), DatabaseError> {
        let (mut state, _) = self.begin();
        if let Some(row) = state.workers.get_mut(&worker) {
            row.dead = true;
        }
        Ok(())
    }

    async fn claim(
        &self,
        thread: ThreadId,
        worker: WorkerId,
        claim: ClaimId,
    ) -> Result<ClaimReply, DatabaseError> {
        let (mut state, now) = self.begin();
        let alive = state.is_alive(worker, now);
        let row = state.threads.get_mut(&thread);
        if let Some(holder) = row.as_ref().and_then(|row| row.holder.as_ref()) {
            let mine = holder.fence.claim == claim && holder.worker == worker;
            let claimed = row.and_then(|row| row.claimed()).filter(|_| mine);
            return Ok(claimed.map_or(ClaimReply::Busy, |claimed| {
                ClaimReply::Claimed(Box::new(claimed))
            }));
        }
        if !alive {
            return Ok(ClaimReply::NotAlive);
        }
        let claimed = match row {
            Some(row) => row.claim_due(worker, claim, now)?,
            None => None,
        };
        Ok(claimed.map_or(ClaimReply::Empty, |claimed| {
            ClaimReply::Claimed(Box::new(claimed))
        }))
    }

    async fn settle(
        &self,
        lease: &Lease,
        settlement: Settlement,
        next: Option<ClaimId>,
    ) -> Result<Settled, DatabaseError> {
        let (mut state, now) = self.begin();
        let alive = state.is_alive(lease.worker_id, now);
        let row = state
            .threads
            .get_mut(&lease.thread_id)
            .ok_or(DatabaseError::Fenced)?;
        if let Some(past) = row.settled.iter().find(|past| past.fence == lease.fence) {
            let past = past.clone();
            return Ok(repeat(row, &past, next, now));
        }
        if !row.is_held(lease.fence, lease.run_id) {
            return Err(DatabaseError::Fenced);
        }
        self.leave(row, lease, settlement, now)?;
        let mut settled = Settled {
            effects: Effects::default(),
            next: None,
        };
        let change = row.told(lease.run_id);
        row.settled.push(PastSettlement {
            fence: lease.fence,
            run: lease.run_id,
            status: change.status,
        });
        settled.effects.changes.push(change);
        row.holder = None;
        if let Some(claim) = next.filter(|_| alive) {
            settled.next = row.claim_due(lease.worker_id, claim, now)?.map(Box::new);
        }
        if let Some(next) = &settled.next {
            settled.effects.changes.push(row.told(next.run.id));
        }
        row.wake_if_due(now, &mut settled.effects);
        row.refresh(now);
        Ok(settled)
    }

    async fn sweep(&self, limit: u32) -> Result<Sweep, DatabaseError> {
        let (mut state, now) = self.begin();
        for row in state.workers.values_mut() {
            row.dead |= row.until <= now;
        }
        let state = &mut *state;
        let orphaned = |row: &&mut ThreadRow| {
            let worker = row.holder.as_ref().map(|holder| holder.worker);
            worker.is_some_and(|worker| state.workers.get(&worker).is_none_or(|row| row.dead))
        };
        let mut sweep = Sweep::default();
        let orphans = state.threads.values_mut().filter(orphaned);
        for row in orphans.take(limit as usize) {
            self.free(row, &mut sweep.effects, now)?;
            sweep.reaped += 1;
        }
        Ok(sweep)
    }

    async fn waiting(&self, age: Duration, limit: u32) -> Result<Vec<ThreadId>, DatabaseError> {
        let (mut state, now) = self.begin();
        let waits = |row: &&mut ThreadRow| {
            let due = row.due(now).filter(|_| row.holder.is_none());
            due.is_some_and(|due| {
                let since = due.run.created_at.max(due.not_before);
                since.max(row.hinted_at) + delta(age) <= now
            })
        };
        let rows = state.threads.values_mut().filter(waits);
        let hinted = rows.take(limit as usize).map(|row| {
            row.hinted_at = now;
            row.thread.id
        });
        Ok(hinted.collect())
    }

    async fn prune_temporary(&self, age: Duration, limit: u32) -> Result<u32, DatabaseError> {
        let (mut state, now) = self.begin();
        let over = |row: &&ThreadRow| {
            let since = row.at_rest_since.filter(|_| row.temporary);
            since.is_some_and(|since| since + delta(age) <= now)
        };
        let ids = state.threads.values().filter(over).map(|row| row.thread.id);
        let ids: Vec<_> = ids.take(limit as usize).collect();
        for id in &ids {
            state.threads.remove(id);
        }
        Ok(u32::try_from(ids.len()).unwrap_or(u32::MAX))
    }
}

impl Memory {
    /// Leaves the run of an attempt as the settlement says.
    fn leave(
        &self,
        row: &mut ThreadRow,
        lease: &Lease,
        settlement: Settlement,
        now: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        let queued = row.row(lease.run_id)?;
        if queued.run.cancel == Some(CancelAction::Rollback) {
            row.discard(lease.run_id);
            return Ok(());
        }
        let (transition, error) = match settlement.transit {
            Transit::HandBack => {
                queued.handed_back += 1;
                (Transition::Release, None)
            }
            Transit::Retry(delay, _)
                if self.has_attempts_left(queued.run.attempt, queued.handed_back) =>
            {
                queued.not_before = now + delta(delay);
                (Transition::Release, None)
            }
            Transit::Succeed => (Transition::Succeed, None),
            Transit::Interrupt => (Transition::Interrupt, None),
            Transit::TimeOut(error) => (Transition::TimeOut, Some(error)),
            Transit::Fail(error) | Transit::Retry(_, error) => (Transition::Fail, Some(error)),
        };
        if transition == Transition::Release {
            row.change(lease.run_id, transition, now)?.worker_id = None;
            return Ok(());
        }
        if let Some(residue) = settlement.residue {
            row.shelf.put_writes(Some(lease.run_id), residue);
        }
        if let Some(head) = settlement.head {
            row.apply_head(head);
        }
        let run = row.end(lease.run_id, transition, error, now)?;
        run.output = settlement.output;
        run.interrupted_output = settlement.interrupted_output;
        Ok(())
    }

    /// Frees a thread whose worker is lost.
    fn free(
        &self,
        row: &mut ThreadRow,
        effects: &mut Effects,
        now: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        let Some(holder) = row.holder.take() else {
            return Ok(());
        };
        let queued = row.row(holder.run)?;
        match queued.run.cancel {
            Some(CancelAction::Rollback) => row.discard(holder.run),
            // A run that was to be interrupted, too, goes to another worker: what the lost one left
            // must be mended, and its input must not be lost.
            _ if self.has_attempts_left(queued.run.attempt, queued.handed_back) => {
                row.change(holder.run, Transition::Release, now)?.worker_id = None;
            }
            Some(CancelAction::Interrupt) => {
                row.end(holder.run, Transition::Interrupt, None, now)?;
            }
            None => {
                let error = Some(RunError::worker_lost());
                row.end(holder.run, Transition::Fail, error, now)?;
            }
        }
        effects.changes.push(row.told(holder.run));
        row.wake_if_due(now, effects);
        row.refresh(now);
        Ok(())
    }

    fn has_attempts_left(&self, started: u32, handed_back: u32) -> bool {
        started - handed_back < self.max_attempts
    }
}

/// The answer to a settlement that was made already: the same, as far as it still holds.
fn repeat(
    row: &mut ThreadRow,
    past: &PastSettlement,
    next: Option<ClaimId>,
    now: DateTime<Utc>,
) -> Settled {
    let mut effects = Effects::default();
    let mut change = row.told(past.run);
    change.status = past.status;
    effects.changes.push(change);
    let adopted = row.claimed();
    let adopted = adopted.filter(|claimed| Some(claimed.lease.fence.claim) == next);
    if let Some(next) = &adopted {
        let mut change = row.told(next.run.id);
        change.status = Some(RunStatus::Running);
        effects.changes.push(change);
    }
    row.wake_if_due(now, &mut effects);
    Settled {
        effects,
        next: adopted.map(Box::new),
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
