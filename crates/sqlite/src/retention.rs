//! Deletes what was kept for long enough.

use std::time::Duration;

use async_trait::async_trait;
use runloom_core::database::{DatabaseError, Expired, Retention};
use runloom_core::thread::TtlStrategy;
use rusqlite::params;
use uuid::Uuid;

use crate::change::Change;
use crate::convert::{before, micros};
use crate::error::Result;
use crate::statement::{Word, all, columns, execute};
use crate::{Sqlite, pruning, threads};

#[async_trait]
impl Retention for Sqlite {
    async fn expire_threads(&self, limit: u32) -> Result<Expired, DatabaseError> {
        self.change(0, move |change| expire(change, limit)).await
    }

    async fn prune_runs(&self, age: Duration, limit: u32) -> Result<u32, DatabaseError> {
        self.change(0, move |change| prune_runs(change, age, limit))
            .await
    }
}

columns! {
    /// A thread whose time is up.
    struct Due {
        id: Uuid,
        ttl_strategy: Word<TtlStrategy>,
    }
}

/// Deals with threads at rest whose time is up.
fn expire(change: &Change<'_>, limit: u32) -> Result<Expired> {
    let due: Vec<Due> = all(
        change,
        "select id, ttl_strategy from threads
        where ttl_minutes is not null and status <> 'busy' and trimmed_at is not updated_at
            and updated_at + cast(ttl_minutes * 60000000 as integer) <= ?
        order by updated_at + cast(ttl_minutes * 60000000 as integer) limit ?",
        params![micros(change.now), limit],
    )?;
    let mut expired = Expired::default();
    for thread in due {
        let id = thread.id.into();
        expired.seen += 1;
        match thread.ttl_strategy.0 {
            TtlStrategy::Delete => {
                threads::remove(change, id)?;
                expired.deleted += 1;
            }
            TtlStrategy::KeepLatest => {
                expired.checkpoints += pruning::trim(change, id)? as u64;
                expired.trimmed += 1;
                execute(
                    change,
                    "update threads set trimmed_at = updated_at where id = ?",
                    params![thread.id],
                )?;
            }
        }
    }
    Ok(expired)
}

/// Deletes records of runs that have been over for `age`.
fn prune_runs(change: &Change<'_>, age: Duration, limit: u32) -> Result<u32> {
    let pruned = execute(
        change,
        "delete from runs where id in (
            select id from runs
            where status not in ('pending', 'running') and updated_at <= ?
            order by updated_at limit ?
        )",
        params![micros(before(change.now, age)), limit],
    )?;
    Ok(u32::try_from(pruned).unwrap_or(u32::MAX))
}
