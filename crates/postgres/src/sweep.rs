//! What is looked for now and then: workers that are lost, runs that nobody fetches, threads that
//! have served their purpose.
//!
//! Any number of sweeps may be under way at once: what one has locked, the others pass over.

use std::time::Duration;

use runloom_core::database::Sweep;
use runloom_core::ids::{ThreadId, WorkerId};
use sqlx::types::Uuid;

use crate::connections::Change;
use crate::convert::before;
use crate::error::Result;
use crate::{attempts, threads};

/// How long a dead worker is remembered.
const REMEMBERED: Duration = Duration::from_hours(24);

/// Takes attempts from workers whose lease ran out.
pub(crate) async fn sweep(change: &mut Change, limit: u32) -> Result<Sweep> {
    let mut sweep = Sweep::default();
    if just_started(change).await? {
        return Ok(sweep);
    }
    bury_the_dead(change).await?;
    for id in orphans(change, limit).await? {
        let Some(mut row) = threads::lock(change, id).await? else {
            continue;
        };
        // The search may have seen the thread as it is now and the workers as they were before.
        let holder = row.holder.map(|holder| holder.worker_id);
        if let Some(worker) = holder
            && is_lost(change, worker).await?
        {
            attempts::reap(change, &mut row, &mut sweep.effects).await?;
            sweep.reaped += 1;
        }
    }
    Ok(sweep)
}

/// Whether the server has not been up for as long as the longest lease: nobody could renew while it
/// was down, so a lease that ran out says nothing yet.
async fn just_started(change: &mut Change) -> Result<bool> {
    if change.has_own_clock() {
        return Ok(false);
    }
    let just_started = sqlx::query_scalar!(
        r#"select coalesce(
            clock_timestamp() < pg_postmaster_start_time() + max(lease), false
        ) as "just_started!" from workers where not dead"#
    );
    Ok(just_started.fetch_one(&mut **change).await?)
}

/// Ends leases that ran out for good, and forgets workers that are long dead and hold nothing.
async fn bury_the_dead(change: &mut Change) -> Result<()> {
    sqlx::query!(
        "update workers set dead = true where id in (
            select id from workers where not dead and lease_until <= $1
            for no key update skip locked
        )",
        change.now
    )
    .execute(&mut **change)
    .await?;
    sqlx::query!(
        "delete from workers where id in (
            select id from workers w where dead and lease_until <= $1
                and not exists (select 1 from threads t where t.worker_id = w.id)
            for update skip locked
        )",
        before(change.now, REMEMBERED)
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Threads held by nobody who lives. Locks them.
async fn orphans(change: &mut Change, limit: u32) -> Result<Vec<ThreadId>> {
    let ids = sqlx::query_scalar!(
        "select id from threads t
        where worker_id is not null and not exists (
            select 1 from workers w where w.id = t.worker_id and not w.dead
        )
        order by worker_id limit $1
        for no key update of t skip locked",
        i64::from(limit)
    );
    let ids = ids.fetch_all(&mut **change).await?;
    Ok(ids.into_iter().map(ThreadId).collect())
}

async fn is_lost(change: &mut Change, worker: WorkerId) -> Result<bool> {
    let alive = sqlx::query_scalar!("select 1 from workers where id = $1 and not dead", worker.0);
    Ok(alive.fetch_optional(&mut **change).await?.is_none())
}

/// Finds free threads whose first run has been due for `age`, and marks them as hinted at.
pub(crate) async fn waiting(
    change: &mut Change,
    age: Duration,
    limit: u32,
) -> Result<Vec<ThreadId>> {
    let ids = sqlx::query_scalar!(
        r#"select id from threads t
        where claim is null and status = 'busy' and hinted_at <= $1 and (
            select greatest(created_at, not_before) <= $1 from runs
            where thread_id = t.id and status in ('pending', 'running') and status = 'pending'
                and created_at <= $2
            order by created_at, seq limit 1
        )
        order by hinted_at, id limit $3
        for no key update skip locked"#,
        before(change.now, age),
        change.now,
        i64::from(limit)
    );
    let ids = ids.fetch_all(&mut **change).await?;
    sqlx::query!(
        "update threads set hinted_at = $2 where id = any($1)",
        &ids,
        change.now
    )
    .execute(&mut **change)
    .await?;
    Ok(ids.into_iter().map(ThreadId).collect())
}

/// Deletes threads whose only run has been over for `age`.
pub(crate) async fn prune(change: &mut Change, age: Duration, limit: u32) -> Result<u32> {
    let ids = sqlx::query_scalar!(
        "select id from threads where temporary and at_rest_since <= $1
        order by at_rest_since limit $2
        for update skip locked",
        before(change.now, age),
        i64::from(limit)
    );
    let ids: Vec<Uuid> = ids.fetch_all(&mut **change).await?;
    sqlx::query!("delete from threads where id = any($1)", &ids)
        .execute(&mut **change)
        .await?;
    Ok(u32::try_from(ids.len()).unwrap_or(u32::MAX))
}
