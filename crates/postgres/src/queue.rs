//! The queue, as workers see it: claim, renew, settle.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runloom_core::database::decisions::after;
use runloom_core::database::{DatabaseError, Queue, Settled, Settlement, Sweep};
use runloom_core::ids::{ClaimId, ThreadId, WorkerId};
use runloom_core::lease::{ClaimReply, Fence, Held, Lease};
use runloom_core::run::CancelAction;
use sqlx::types::{Text, Uuid};

use crate::attempts::{self, claim_due, claimed};
use crate::claims::Claim;
use crate::connections::Change;
use crate::error::Result;
use crate::session::Session;
use crate::settle::Settle;
use crate::{Postgres, sweep, threads};

#[async_trait]
impl Queue for Postgres {
    async fn enlist(&self, worker: WorkerId, lease: Duration) -> Result<(), DatabaseError> {
        let mut change = self.server.change().await?;
        if !announce(&mut change, worker, lease).await? {
            return Err(DatabaseError::Fenced);
        }
        Ok(change.commit().await?)
    }

    async fn renew(&self, worker: WorkerId, lease: Duration) -> Result<Vec<Held>, DatabaseError> {
        let mut session = self.server.statement().await?;
        let held = renew(&mut session, worker, lease, self.server.set_time()).await?;
        session.commit().await?;
        Ok(held)
    }

    async fn retire(&self, worker: WorkerId) -> Result<(), DatabaseError> {
        let mut change = self.server.change().await?;
        bury(&mut change, worker).await?;
        Ok(change.commit().await?)
    }

    async fn claim(
        &self,
        thread: ThreadId,
        worker: WorkerId,
        claim: ClaimId,
    ) -> Result<ClaimReply, DatabaseError> {
        let request = Claim {
            thread,
            worker,
            id: claim,
        };
        if self.server.config.one_trip
            && let Some(reply) = self.claims.ask(&self.server, Arc::new(request)).await?
        {
            return Ok(reply);
        }
        let mut change = self.server.change().await?;
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
        if self.server.config.one_trip
            && let Some(request) = Settle::of(lease, &settlement, next)
        {
            let request = Arc::new(request);
            let settled = self.settlements.ask(&self.server, request.clone()).await?;
            let settled = match settled {
                Some(settled) => Some(settled),
                None => request.alone(&self.server).await?,
            };
            if let Some(settled) = settled {
                return Ok(settled);
            }
        }
        let mut change = self.server.change().await?;
        let settled = attempts::settle(&mut change, lease, settlement, next).await?;
        change.commit().await?;
        Ok(settled)
    }

    async fn sweep(&self, limit: u32) -> Result<Sweep, DatabaseError> {
        let mut change = self.server.change().await?;
        let sweep = sweep::sweep(&mut change, limit).await?;
        change.commit().await?;
        Ok(sweep)
    }

    async fn waiting(&self, age: Duration, limit: u32) -> Result<Vec<ThreadId>, DatabaseError> {
        let mut change = self.server.change().await?;
        let threads = sweep::waiting(&mut change, age, limit).await?;
        change.commit().await?;
        Ok(threads)
    }

    async fn prune_temporary(&self, age: Duration, limit: u32) -> Result<u32, DatabaseError> {
        let mut change = self.server.change().await?;
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

/// A row that says that a lease was extended, and an attempt under it, if there is one.
struct HeldColumns {
    thread_id: Option<Uuid>,
    run_id: Option<Uuid>,
    epoch: Option<i64>,
    claim: Option<Uuid>,
    cancel: Option<Text<CancelAction>>,
}

impl HeldColumns {
    fn held(self) -> Option<Held> {
        Some(Held {
            run_id: self.run_id?.into(),
            thread_id: self.thread_id?.into(),
            fence: Fence {
                epoch: self.epoch?,
                claim: self.claim?.into(),
            },
            cancel: self.cancel.map(|cancel| cancel.0),
        })
    }
}

/// Extends a worker's lease, unless it was ended for good, and says what it holds.
async fn renew(
    session: &mut Session,
    worker: WorkerId,
    lease: Duration,
    set_time: Option<DateTime<Utc>>,
) -> Result<Vec<Held>> {
    let rows = sqlx::query_as!(
        HeldColumns,
        r#"with renewed as (
            update workers w
            set lease_until = coalesce($3, clock_timestamp()) + l.lease, lease = l.lease
            from (select make_interval(secs => $2) as lease) l
            where id = $1 and not dead
            returning w.id
        )
        select t.id as "thread_id?", r.id as "run_id?", t.epoch as "epoch?", t.claim as "claim?",
            r.cancel as "cancel?"
        from renewed
            left join (threads t join runs r on r.id = t.held_run) on t.worker_id = renewed.id
        order by t.id"#,
        worker.0,
        lease.as_secs_f64(),
        set_time
    );
    let rows = rows.fetch_all(session).await?;
    if rows.is_empty() {
        return Err(DatabaseError::Fenced.into());
    }
    Ok(rows.into_iter().filter_map(HeldColumns::held).collect())
}

/// Ends a worker's lease for good.
async fn bury(change: &mut Change, worker: WorkerId) -> Result<()> {
    sqlx::query!("update workers set dead = true where id = $1", worker.0)
        .execute(&mut **change)
        .await?;
    Ok(())
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
