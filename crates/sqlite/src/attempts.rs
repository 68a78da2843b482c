//! What an attempt goes through: it is claimed, and it is settled by its worker or taken from a
//! worker that is lost.

use runloom_core::bus::RunChange;
use runloom_core::database::decisions::Left;
use runloom_core::database::{DatabaseError, Settled, Settlement};
use runloom_core::effects::Effects;
use runloom_core::ids::{ClaimId, WorkerId};
use runloom_core::json::Json;
use runloom_core::lease::{Claimed, Lease};
use runloom_core::run::{RunStatus, Transition};
use rusqlite::params;
use uuid::Uuid;

use crate::change::Change;
use crate::checkpoints::put_writes;
use crate::error::Result;
use crate::queue::is_alive;
use crate::rollback::discard;
use crate::rows::{Holder, RunRow, ThreadRow};
use crate::statement::{Word, columns, execute, first};
use crate::{checkpoints, runs, threads};

/// How many settlements of a thread are remembered, so that they can be repeated.
const REMEMBERED: i64 = 32;

/// Claims the run of `thread` that is due, if one is. The thread is left to be stored.
pub(crate) fn claim_due(
    change: &Change<'_>,
    thread: &mut ThreadRow,
    worker: WorkerId,
    claim: ClaimId,
) -> Result<Option<Claimed>> {
    let now = change.now;
    let Some(mut row) = runs::due(change, thread.thread.id)? else {
        return Ok(None);
    };
    row.apply(Transition::Claim, now)?;
    row.run.attempt += 1;
    row.run.worker_id = Some(worker);
    runs::store(change, &row)?;
    let fence = thread.hold(row.run.id, worker, claim, now).fence;
    Ok(Some(Claimed::new(row.run, worker, fence, now)))
}

/// What the holder of a thread was told when it claimed.
pub(crate) fn claimed(change: &Change<'_>, holder: Holder) -> Result<Option<Claimed>> {
    let row = runs::load(change, holder.run_id)?;
    let Holder {
        worker_id,
        fence,
        claimed_at,
        ..
    } = holder;
    Ok(row.map(|row| Claimed::new(row.run, worker_id, fence, claimed_at)))
}

/// How many bytes a settlement brings, roughly.
pub(crate) fn weight(settlement: &Settlement) -> usize {
    let json = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.as_str().len());
    let values = settlement
        .head
        .as_ref()
        .map_or(0, |head| head.values.as_str().len());
    let residue = settlement.residue.as_ref().map_or(0, checkpoints::weight);
    values + residue + json(&settlement.output) + json(&settlement.interrupted_output)
}

/// Ends an attempt as its worker says, and claims the next run if that is wanted.
pub(crate) fn settle(
    change: &Change<'_>,
    lease: &Lease,
    settlement: Settlement,
    next: Option<ClaimId>,
) -> Result<Settled> {
    let thread = threads::load(change, lease.thread_id)?;
    let mut thread = thread.ok_or(DatabaseError::Fenced)?;
    if !thread.is_held(lease.fence, lease.run_id) {
        return repeat(change, lease, thread, next);
    }
    let row = runs::load(change, lease.run_id)?;
    let row = row.ok_or_else(|| DatabaseError::Internal("a held run is gone".to_owned()))?;
    let mut settled = Settled {
        effects: Effects::default(),
        next: None,
    };
    thread.holder = None;
    let status = leave(change, &mut thread, row, settlement, &mut settled.effects)?;
    remember(change, lease, status)?;
    let queue = runs::outlook(change, lease.thread_id)?;
    if let Some(claim) = next.filter(|_| queue.due)
        && is_alive(change, lease.worker_id)?
    {
        let claimed = claim_due(change, &mut thread, lease.worker_id, claim)?;
        settled
            .effects
            .changes
            .extend(claimed.as_ref().map(RunChange::started));
        settled.next = claimed.map(Box::new);
    }
    threads::finish_with(change, &mut thread, &queue, &mut settled.effects)?;
    Ok(settled)
}

/// Leaves the run of an attempt as the settlement says. Answers with its status, none if it was
/// discarded.
fn leave(
    change: &Change<'_>,
    thread: &mut ThreadRow,
    mut row: RunRow,
    settlement: Settlement,
    effects: &mut Effects,
) -> Result<Option<RunStatus>> {
    let now = change.now;
    match row.leave(&settlement.transit, change.max_attempts, now) {
        Left::Discarded => {
            discard(change, &row)?;
            effects.changes.push(row.told_gone());
            return Ok(None);
        }
        Left::Released => row.apply(Transition::Release, now)?,
        Left::Ended(transition, error) => {
            if let Some(residue) = &settlement.residue {
                put_writes(change, row.run.thread_id, Some(row.run.id), residue)?;
            }
            if let Some(head) = settlement.head {
                thread.apply_head(head);
                threads::store_values(change, thread)?;
            }
            row.run.output = settlement.output;
            row.run.interrupted_output = settlement.interrupted_output;
            thread.end(&mut row, transition, error, now)?;
        }
    }
    runs::store(change, &row)?;
    effects.changes.push(row.told());
    Ok(Some(row.run.status))
}

/// Frees a thread whose worker is lost.
pub(crate) fn reap(
    change: &Change<'_>,
    thread: &mut ThreadRow,
    effects: &mut Effects,
) -> Result<()> {
    let Some(holder) = thread.holder.take() else {
        return Ok(());
    };
    let row = runs::load(change, holder.run_id)?;
    let mut row = row.ok_or_else(|| DatabaseError::Internal("a held run is gone".to_owned()))?;
    match row.lose_worker(change.max_attempts) {
        Left::Discarded => {
            discard(change, &row)?;
            effects.changes.push(row.told_gone());
            return threads::finish(change, thread, effects);
        }
        Left::Released => row.apply(Transition::Release, change.now)?,
        Left::Ended(transition, error) => {
            thread.end(&mut row, transition, error, change.now)?;
        }
    }
    runs::store(change, &row)?;
    effects.changes.push(row.told());
    threads::finish(change, thread, effects)
}

/// Remembers how an attempt left its run.
fn remember(change: &Change<'_>, lease: &Lease, status: Option<RunStatus>) -> Result<()> {
    execute(
        change,
        "insert or replace into settlements (thread_id, slot, epoch, claim, run_id, status)
        values (?, ?, ?, ?, ?, ?)",
        params![
            lease.thread_id.0,
            lease.fence.epoch % REMEMBERED,
            lease.fence.epoch,
            lease.fence.claim.0,
            lease.run_id.0,
            status.map(Word)
        ],
    )?;
    Ok(())
}

columns! {
    /// How an attempt left its run.
    struct PastColumns {
        run_id: Uuid,
        status: Option<Word<RunStatus>>,
    }
}

/// The answer to a settlement that was made already: the same, as far as it still holds.
fn repeat(
    change: &Change<'_>,
    lease: &Lease,
    mut thread: ThreadRow,
    next: Option<ClaimId>,
) -> Result<Settled> {
    let past: Option<PastColumns> = first(
        change,
        "select run_id, status from settlements
        where thread_id = ? and slot = ? and epoch = ? and claim = ?",
        params![
            lease.thread_id.0,
            lease.fence.epoch % REMEMBERED,
            lease.fence.epoch,
            lease.fence.claim.0
        ],
    )?;
    let past = past.ok_or(DatabaseError::Fenced)?;
    let mut effects = Effects::default();
    effects.changes.push(RunChange {
        thread_id: lease.thread_id,
        run_id: past.run_id.into(),
        status: past.status.map(|status| status.0),
    });
    let adopted = thread
        .holder
        .filter(|holder| Some(holder.fence.claim) == next);
    let next = match adopted {
        Some(holder) => claimed(change, holder)?,
        None => None,
    };
    effects
        .changes
        .extend(next.as_ref().map(RunChange::started));
    threads::finish(change, &mut thread, &mut effects)?;
    Ok(Settled {
        effects,
        next: next.map(Box::new),
    })
}
