//! The queue, as workers see it: claim, renew, settle.

use std::time::Duration;

use async_trait::async_trait;
use runloom_core::database::{DatabaseError, Queue, Settled, Settlement, Sweep};
use runloom_core::ids::{ClaimId, ThreadId, WorkerId};
use runloom_core::lease::{ClaimReply, Fence, Held, Lease};

use crate::attempts::{self, claim_due, claimed};
use crate::connections::Change;
use crate::convert::after;
use crate::error::Result;
use crate::{Postgres, sweep, threads};

#[async_trait]
impl Queue for Postgres {
    async fn enlist(&self, worker: WorkerId, lease: Duration) -> Result<(), DatabaseError> {
        let mut change = self.change().await?;
        if !announce(&mut change, worker, lease).await? {
            return Err(DatabaseError::Fenced);
        }
        Ok(change.commit().await?)
    }

    async fn renew(&self, worker: WorkerId, lease: Duration) -> Result<Vec<Held>, DatabaseError> {
        let mut change = self.change().await?;
        if !extend(&mut change, worker, lease).await? {
            return Err(DatabaseError::Fenced);
        }
        let held = held_by(&mut change, worker).await?;
        change.commit().await?;
        Ok(held)
    }

    async fn retire(&self, worker: WorkerId) -> Result<(), DatabaseError> {
        let mut change = self.change().await?;
        bury(&mut change, worker).await?;
        Ok(change.commit().await?)
    }

    async fn claim(
        &self,
        thread: ThreadId,
        worker: WorkerId,
        claim: ClaimId,
    ) -> Result<ClaimReply, DatabaseError> {
        let mut change = self.change().await?;
        let reply = take(&mut change, thread, worker, claim).await?;
        change.commit().await?;
        Ok(reply)
    }

    async fn settle(
        &self,
        lease: &Lease,
        settlement: Settlement,
        next: Option<ClaimId>,
    ) -> Result<Settled, DatabaseError> {
        let mut change = self.change().await?;
        let settled = attempts::settle(&mut change, lease, settlement, next).await?;
        change.commit().await?;
        Ok(settled)
    }

    async fn sweep(&self, limit: u32) -> Result<Sweep, DatabaseError> {
        let mut change = self.change().await?;
        let sweep = sweep::sweep(&mut change, limit).await?;
        change.commit().await?;
        Ok(sweep)
    }

    async fn waiting(&self, age: Duration, limit: u32) -> Result<Vec<ThreadId>, DatabaseError> {
        let mut change = self.change().await?;
        let threads = sweep::waiting(&mut change, age, limit).await?;
        change.commit().await?;
        Ok(threads)
    }

    async fn prune_temporary(&self, age: Duration, limit: u32) -> Result<u32, DatabaseError> {
        let mut change = self.change().await?;
        let pruned = sweep::prune(&mut change, age, limit).await?;
        change.commit().await?;
        Ok(pruned)
    }
}

/// Gives a worker a lease, unless one was ended for good.
async fn announce(change: &mut Change, worker: WorkerId, lease: Duration) -> Result<bool> {
    let announced = sqlx::query!(
        r#"insert into workers as w (id, lease_until, lease) values ($1, $2, $2 - $3::timestamptz)
        on conflict (id) do update set lease_until = excluded.lease_until, lease = excluded.lease
            where not w.dead"#,
        worker.0,
        after(change.now, lease),
        change.now
    );
    Ok(announced.execute(&mut **change).await?.rows_affected() > 0)
}

/// Extends a worker's lease, unless it was ended for good.
async fn extend(change: &mut Change, worker: WorkerId, lease: Duration) -> Result<bool> {
    let extended = sqlx::query!(
        "update workers set lease_until = $2, lease = $2 - $3::timestamptz
        where id = $1 and not dead",
        worker.0,
        after(change.now, lease),
        change.now
    );
    Ok(extended.execute(&mut **change).await?.rows_affected() > 0)
}

/// Ends a worker's lease for good.
async fn bury(change: &mut Change, worker: WorkerId) -> Result<()> {
    sqlx::query!("update workers set dead = true where id = $1", worker.0)
        .execute(&mut **change)
        .await?;
    Ok(())
}

async fn held_by(change: &mut Change, worker: WorkerId) -> Result<Vec<Held>> {
    let rows = sqlx::query!(
        r#"select t.id, t.epoch, t.claim as "claim!", r.id as run_id, r.cancel
        from threads t join runs r on r.id = t.held_run
        where t.worker_id = $1 order by t.id"#,
        worker.0
    );
    let rows = rows.fetch_all(&mut **change).await?;
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
pub(crate) async fn is_alive(change: &mut Change, worker: WorkerId) -> Result<bool> {
    let alive = sqlx::query_scalar!(
        "select 1 from workers where id = $1 and not dead and lease_until > $2",
        worker.0,
        change.now
    );
    Ok(alive.fetch_optional(&mut **change).await?.is_some())
}

async fn take(
    change: &mut Change,
    thread: ThreadId,
    worker: WorkerId,
    claim: ClaimId,
) -> Result<ClaimReply> {
    let row = threads::lock(change, thread).await?;
    if let Some(holder) = row.as_ref().and_then(|row| row.holder) {
        let is_mine = holder.fence.claim == claim && holder.worker_id == worker;
        return Ok(match claimed(change, holder).await? {
            Some(claimed) if is_mine => ClaimReply::Claimed(Box::new(claimed)),
            _ => ClaimReply::Busy,
        });
    }
    if !is_alive(change, worker).await? {
        return Ok(ClaimReply::NotAlive);
    }
    let Some(mut row) = row else {
        return Ok(ClaimReply::Empty);
    };
    let Some(claimed) = claim_due(change, &mut row, worker, claim).await? else {
        return Ok(ClaimReply::Empty);
    };
    threads::store(change, &row).await?;
    Ok(ClaimReply::Claimed(Box::new(claimed)))
}
