//! The queue: claim, renew, settle, sweep.

use std::time::Duration;

use async_trait::async_trait;
use runloom_core::database::decisions::after;
use runloom_core::database::{DatabaseError, Queue, Settled, Settlement, Sweep};
use runloom_core::ids::{ClaimId, ThreadId, WorkerId};
use runloom_core::lease::{ClaimReply, Fence, Held, Lease};
use runloom_core::run::CancelAction;
use rusqlite::params;
use uuid::Uuid;

use crate::attempts::{self, claim_due, claimed};
use crate::change::Change;
use crate::convert::{before, micros};
use crate::error::Result;
use crate::statement::{Id, Word, all, columns, execute, is_any};
use crate::{Sqlite, threads};

#[async_trait]
impl Queue for Sqlite {
    async fn enlist(&self, worker: WorkerId, lease: Duration) -> Result<(), DatabaseError> {
        self.change(0, move |change| enlist(change, worker, lease))
            .await
    }

    async fn renew(&self, worker: WorkerId, lease: Duration) -> Result<Vec<Held>, DatabaseError> {
        let renew = move |change: &Change<'_>| {
            if !extend(change, worker, lease)? {
                return Err(DatabaseError::Fenced.into());
            }
            held_by(change, worker)
        };
        self.change(0, renew).await
    }

    async fn retire(&self, worker: WorkerId) -> Result<(), DatabaseError> {
        self.change(0, move |change| bury(change, worker)).await
    }

    async fn claim(
        &self,
        thread: ThreadId,
        worker: WorkerId,
        claim: ClaimId,
    ) -> Result<ClaimReply, DatabaseError> {
        self.change(0, move |change| take(change, thread, worker, claim))
            .await
    }

    async fn settle(
        &self,
        lease: &Lease,
        settlement: Settlement,
        next: Option<ClaimId>,
    ) -> Result<Settled, DatabaseError> {
        let lease = Lease { ..*lease };
        let weight = attempts::weight(&settlement);
        self.change(weight, move |change| {
            attempts::settle(change, &lease, settlement, next)
        })
        .await
    }

    async fn sweep(&self, limit: u32) -> Result<Sweep, DatabaseError> {
        self.change(0, move |change| sweep(change, limit)).await
    }

    async fn waiting(&self, age: Duration, limit: u32) -> Result<Vec<ThreadId>, DatabaseError> {
        self.change(0, move |change| waiting(change, age, limit))
            .await
    }

    async fn prune_temporary(&self, age: Duration, limit: u32) -> Result<u32, DatabaseError> {
        self.change(0, move |change| prune(change, age, limit))
            .await
    }
}

/// Announces a worker, unless its lease was ended for good.
fn enlist(change: &Change<'_>, worker: WorkerId, lease: Duration) -> Result<()> {
    let enlisted = execute(
        change,
        "insert into workers (id, lease_until) values (?, ?)
        on conflict (id) do update set lease_until = excluded.lease_until where dead = 0",
        params![worker.0, micros(after(change.now, lease))],
    )?;
    if enlisted == 0 {
        return Err(DatabaseError::Fenced.into());
    }
    Ok(())
}

/// Extends a worker's lease, unless it was ended for good.
fn extend(change: &Change<'_>, worker: WorkerId, lease: Duration) -> Result<bool> {
    let extended = execute(
        change,
        "update workers set lease_until = ? where id = ? and dead = 0",
        params![micros(after(change.now, lease)), worker.0],
    )?;
    Ok(extended > 0)
}

/// Ends a worker's lease for good.
fn bury(change: &Change<'_>, worker: WorkerId) -> Result<()> {
    execute(
        change,
        "update workers set dead = 1 where id = ?",
        params![worker.0],
    )?;
    Ok(())
}

columns! {
    /// What is read of a thread that is held.
    struct HeldColumns {
        id: Uuid,
        epoch: i64,
        claim: Uuid,
        run_id: Uuid,
        cancel: Option<Word<CancelAction>>,
    }
}

fn held_by(change: &Change<'_>, worker: WorkerId) -> Result<Vec<Held>> {
    let rows: Vec<HeldColumns> = all(
        change,
        "select t.id, t.epoch, t.claim, r.id as run_id, r.cancel
        from threads t join runs r on r.id = t.held_run
        where t.worker_id = ? order by t.id",
        params![worker.0],
    )?;
    let held = rows.into_iter().map(|row| Held {
        run_id: row.run_id.into(),
        thread_id: row.id.into(),
        fence: Fence {
            epoch: row.epoch,
            claim: row.claim.into(),
        },
        cancel: row.cancel.map(|cancel| cancel.0),
    });
    Ok(held.collect())
}

/// Whether the worker's lease covers what it does now.
pub(crate) fn is_alive(change: &Change<'_>, worker: WorkerId) -> Result<bool> {
    is_any(
        change,
        "select 1 from workers where id = ? and dead = 0 and lease_until > ?",
        params![worker.0, micros(change.now)],
    )
}

fn take(
    change: &Change<'_>,
    thread: ThreadId,
    worker: WorkerId,
    claim: ClaimId,
) -> Result<ClaimReply> {
    let row = threads::load(change, thread)?;
    if let Some(holder) = row.as_ref().and_then(|row| row.holder) {
        let is_mine = holder.fence.claim == claim && holder.worker_id == worker;
        return Ok(match claimed(change, holder)? {
            Some(claimed) if is_mine => ClaimReply::Claimed(Box::new(claimed)),
            _ => ClaimReply::Busy,
        });
    }
    if !is_alive(change, worker)? {
        return Ok(ClaimReply::NotAlive);
    }
    let Some(mut row) = row else {
        return Ok(ClaimReply::Empty);
    };
    let Some(claimed) = claim_due(change, &mut row, worker, claim)? else {
        return Ok(ClaimReply::Empty);
    };
    threads::store(change, &row)?;
    Ok(ClaimReply::Claimed(Box::new(claimed)))
}

fn sweep(change: &Change<'_>, limit: u32) -> Result<Sweep> {
    execute(
        change,
        "update workers set dead = 1 where dead = 0 and lease_until <= ?",
        params![micros(change.now)],
    )?;
    let orphans = all(
        change,
        "select id from threads
        where worker_id is not null and not exists (
            select 1 from workers w where w.id = threads.worker_id and w.dead = 0
        )
        order by worker_id limit ?",
        params![limit],
    )?;
    let mut sweep = Sweep::default();
    for Id(id) in orphans {
        if let Some(mut row) = threads::load(change, id.into())? {
            attempts::reap(change, &mut row, &mut sweep.effects)?;
            sweep.reaped += 1;
        }
    }
    Ok(sweep)
}

/// Finds free threads whose first run has been due for `age`, and marks them as hinted at.
fn waiting(change: &Change<'_>, age: Duration, limit: u32) -> Result<Vec<ThreadId>> {
    let ids: Vec<Id> = all(
        change,
        "select id from threads t
        where claim is null and status = 'busy' and hinted_at <= ?1 and (
            select max(created_at, not_before) <= ?1 from runs
            where thread_id = t.id and status in ('pending', 'running') and status = 'pending'
                and created_at <= ?2
            order by created_at, seq limit 1
        )
        order by hinted_at, id limit ?3",
        params![micros(before(change.now, age)), micros(change.now), limit],
    )?;
    for Id(id) in &ids {
        execute(
            change,
            "update threads set hinted_at = ? where id = ?",
            params![micros(change.now), id],
        )?;
    }
    Ok(ids.into_iter().map(|Id(id)| ThreadId(id)).collect())
}

fn prune(change: &Change<'_>, age: Duration, limit: u32) -> Result<u32> {
    let ids = all(
        change,
        "select id from threads where temporary = 1 and at_rest_since <= ?
        order by at_rest_since limit ?",
        params![micros(before(change.now, age)), limit],
    )?;
    let mut pruned = 0;
    for Id(id) in ids {
        threads::remove(change, id.into())?;
        pruned += 1;
    }
    Ok(pruned)
}
