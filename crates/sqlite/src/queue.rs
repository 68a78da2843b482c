//! The queue: claim, renew, settle, sweep.

use std::time::Duration;

use async_trait::async_trait;
use runloom_core::database::decisions::after;
use runloom_core::database::{DatabaseError, Queue, Settled, Settlement, Sweep};
use runloom_core::ids::{ClaimId, ThreadId, WorkerId};
use runloom_core::lease::{ClaimReply, Fence, Held, Lease};

use crate::attempts::{self, claim_due, claimed};
use crate::connections::Change;
use crate::convert::{before, micros};
use crate::error::Result;
use crate::{Sqlite, threads};

#[async_trait]
impl Queue for Sqlite {
    async fn enlist(&self, worker: WorkerId, lease: Duration) -> Result<(), DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        let enlisted = sqlx::query!(
            "insert into workers (id, lease_until) values (?, ?)
            on conflict (id) do update set lease_until = excluded.lease_until where dead = 0",
            worker.0,
            micros(after(change.now, lease))
        );
        let enlisted = enlisted.execute(&mut *change).await;
        if enlisted.map_err(crate::error::Error::from)?.rows_affected() == 0 {
            return Err(DatabaseError::Fenced);
        }
        Ok(change.commit().await?)
    }

    async fn renew(&self, worker: WorkerId, lease: Duration) -> Result<Vec<Held>, DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        if !extend(&mut change, worker, lease).await? {
            return Err(DatabaseError::Fenced);
        }
        let held = held_by(&mut change, worker).await?;
        change.commit().await?;
        Ok(held)
    }

    async fn retire(&self, worker: WorkerId) -> Result<(), DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        bury(&mut change, worker).await?;
        Ok(change.commit().await?)
    }

    async fn claim(
        &self,
        thread: ThreadId,
        worker: WorkerId,
        claim: ClaimId,
    ) -> Result<ClaimReply, DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
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
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        let settled = attempts::settle(&mut change, lease, settlement, next).await?;
        change.commit().await?;
        Ok(settled)
    }

    async fn sweep(&self, limit: u32) -> Result<Sweep, DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        let sweep = sweep(&mut change, limit).await?;
        change.commit().await?;
        Ok(sweep)
    }

    async fn waiting(&self, age: Duration, limit: u32) -> Result<Vec<ThreadId>, DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        let threads = waiting(&mut change, age, limit).await?;
        change.commit().await?;
        Ok(threads)
    }

    async fn prune_temporary(&self, age: Duration, limit: u32) -> Result<u32, DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        let pruned = prune(&mut change, age, limit).await?;
        change.commit().await?;
        Ok(pruned)
    }
}

/// Extends a worker's lease, unless it was ended for good.
async fn extend(change: &mut Change<'_>, worker: WorkerId, lease: Duration) -> Result<bool> {
    let extended = sqlx::query!(
        "update workers set lease_until = ? where id = ? and dead = 0",
        micros(after(change.now, lease)),
        worker.0
    );
    Ok(extended.execute(&mut **change).await?.rows_affected() > 0)
}

/// Ends a worker's lease for good.
async fn bury(change: &mut Change<'_>, worker: WorkerId) -> Result<()> {
    sqlx::query!("update workers set dead = 1 where id = ?", worker.0)
        .execute(&mut **change)
        .await?;
    Ok(())
}

async fn held_by(change: &mut Change<'_>, worker: WorkerId) -> Result<Vec<Held>> {
    let rows = sqlx::query!(
        r#"select t.id, t.epoch, t.claim as "claim!", r.id as run_id, r.cancel
        from threads t join runs r on r.id = t.held_run
        where t.worker_id = ? order by t.id"#,
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
pub(crate) async fn is_alive(change: &mut Change<'_>, worker: WorkerId) -> Result<bool> {
    let alive = sqlx::query_scalar!(
        "select 1 from workers where id = ? and dead = 0 and lease_until > ?",
        worker.0,
        micros(change.now)
    );
    Ok(alive.fetch_optional(&mut **change).await?.is_some())
}

async fn take(
    change: &mut Change<'_>,
    thread: ThreadId,
    worker: WorkerId,
    claim: ClaimId,
) -> Result<ClaimReply> {
    let row = threads::load(change, thread).await?;
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

async fn sweep(change: &mut Change<'_>, limit: u32) -> Result<Sweep> {
    sqlx::query!(
        "update workers set dead = 1 where dead = 0 and lease_until <= ?",
        micros(change.now)
    )
    .execute(&mut **change)
    .await?;
    let orphans = sqlx::query_scalar!(
        "select id from threads
        where worker_id is not null and not exists (
            select 1 from workers w where w.id = threads.worker_id and w.dead = 0
        )
        order by worker_id limit ?",
        limit
    );
    let mut sweep = Sweep::default();
    for id in orphans.fetch_all(&mut **change).await? {
        if let Some(mut row) = threads::load(change, id.into()).await? {
            attempts::reap(change, &mut row, &mut sweep.effects).await?;
            sweep.reaped += 1;
        }
    }
    Ok(sweep)
}

/// Finds free threads whose first run has been due for `age`, and marks them as hinted at.
async fn waiting(change: &mut Change<'_>, age: Duration, limit: u32) -> Result<Vec<ThreadId>> {
    let ids = sqlx::query_scalar!(
        r#"select id from threads t
        where claim is null and status = 'busy' and hinted_at <= ?1 and (
            select max(created_at, not_before) <= ?1 from runs
            where thread_id = t.id and status in ('pending', 'running') and status = 'pending'
                and created_at <= ?2
            order by created_at, seq limit 1
        )
        order by hinted_at, id limit ?3"#,
        micros(before(change.now, age)),
        micros(change.now),
        limit
    );
    let ids = ids.fetch_all(&mut **change).await?;
    for id in &ids {
        sqlx::query!(
            "update threads set hinted_at = ? where id = ?",
            micros(change.now),
            id
        )
        .execute(&mut **change)
        .await?;
    }
    Ok(ids.into_iter().map(ThreadId).collect())
}

async fn prune(change: &mut Change<'_>, age: Duration, limit: u32) -> Result<u32> {
    let ids = sqlx::query_scalar!(
        "select id from threads where temporary = 1 and at_rest_since <= ?
        order by at_rest_since limit ?",
        micros(before(change.now, age)),
        limit
    );
    let mut pruned = 0;
    for id in ids.fetch_all(&mut **change).await? {
        threads::remove(change, id.into()).await?;
        pruned += 1;
    }
    Ok(pruned)
}
