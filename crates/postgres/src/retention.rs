//! Deletes what was kept for long enough. What others have locked is passed over, so nothing here waits
//! for anybody, and any number of workers may do it at once.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runloom_core::database::{DatabaseError, Expired, Retention};
use runloom_core::ids::ThreadId;
use runloom_core::thread::{Thread, Ttl, TtlStrategy};
use sqlx::types::{Text, Uuid};
use tokio::time::Instant;

use crate::Postgres;
use crate::connections::Change;
use crate::convert::before;
use crate::error::Result;
use crate::pruning;

/// When a thread is looked at again that could not be dealt with.
const LATER: TimeDelta = TimeDelta::hours(1);

/// How long one change deletes histories: whoever comes back to one of its threads waits for it. The rest
/// is still due then.
const TRIMMING: Duration = Duration::from_millis(200);

#[async_trait]
impl Retention for Postgres {
    async fn expire_threads(&self, limit: u32) -> Result<Expired, DatabaseError> {
        let mut change = self.server.change().await?;
        go_by_indexes(&mut change).await?;
        let due = due(&mut change, limit).await?;
        let alone = due.keys().next().copied().filter(|_| due.len() == 1);
        match expire(change, &due, limit).await {
            Ok(expired) => Ok(expired),
            Err(error) => {
                if let Some(thread) = alone {
                    self.put_off(thread).await?;
                }
                Err(error.into())
            }
        }
    }

    async fn prune_runs(&self, age: Duration, limit: u32) -> Result<u32, DatabaseError> {
        let mut change = self.server.change().await?;
        go_by_indexes(&mut change).await?;
        let pruned = prune_runs(&mut change, age, limit).await?;
        change.commit().await?;
        Ok(pruned)
    }
}

impl Postgres {
    /// Has a thread looked at later that cannot be dealt with even alone, as when there is too much of it
    /// for one transaction: those that are due after it must not wait for it.
    async fn put_off(&self, thread: Uuid) -> Result<()> {
        let mut change = self.server.change().await?;
        let later = change.now + LATER;
        look_later(&mut change, &[(thread, later)]).await?;
        change.commit().await
    }
}

/// Has the statements of this change planned for tables that are full, whatever they were like when the
/// connection first saw these statements: it keeps to the plans that it made then.
async fn go_by_indexes(change: &mut Change) -> Result<()> {
    for setting in [
        "set local enable_seqscan = off",
        "set local enable_bitmapscan = off",
    ] {
        sqlx::query(setting).execute(&mut **change).await?;
    }
    Ok(())
}

/// Deals with threads that are due to be looked at.
async fn expire(mut change: Change, due: &HashMap<Uuid, Ttl>, limit: u32) -> Result<Expired> {
    let mut expired = Expired {
        seen: u32::try_from(due.len()).unwrap_or(u32::MAX),
        ..Expired::default()
    };
    let (mut deleted, mut trimmed, mut later) = (Vec::new(), Vec::new(), Vec::new());
    for thread in at_hand(&mut change, due).await? {
        let Some(ttl) = due.get(&thread.id).copied() else {
            continue;
        };
        // If a run is in flight it will end, and its thread has all its time again then.
        let since = if thread.at_rest {
            thread.updated_at
        } else {
            change.now
        };
        match (since + ttl.span(), ttl.strategy) {
            (at, _) if at > change.now => later.push((thread.id, at)),
            (_, TtlStrategy::Delete) => deleted.push(thread.id),
            (_, TtlStrategy::KeepLatest) => trimmed.push(thread.id),
        }
    }
    look_later(&mut change, &later).await?;
    delete(&mut change, &deleted).await?;
    let (began, mut done) = (Instant::now(), 0);
    for id in &trimmed {
        expired.checkpoints += pruning::trim(&mut change, ThreadId(*id)).await?;
        done += 1;
        if began.elapsed() >= TRIMMING {
            break;
        }
    }
    if done < trimmed.len() {
        trimmed.truncate(done);
        // There are more to look at now.
        expired.seen = limit;
    }
    note_trimmed(&mut change, &trimmed).await?;
    let count = |ids: &[Uuid]| u32::try_from(ids.len()).unwrap_or(u32::MAX);
    expired.deleted = count(&deleted);
    expired.trimmed = count(&trimmed);
    change.commit().await?;
    Ok(expired)
}

/// Threads that are to be looked at, longest due first. Locks what is known of their time.
async fn due(change: &mut Change, limit: u32) -> Result<HashMap<Uuid, Ttl>> {
    let rows = sqlx::query!(
        r#"select thread_id, minutes, strategy as "strategy: Text<TtlStrategy>"
        from thread_ttls where due_at <= $1
        order by due_at limit $2
        for update skip locked"#,
        change.now,
        i64::from(limit)
    );
    let rows = rows.fetch_all(&mut **change).await?.into_iter();
    let ttl = |minutes, strategy: Text<TtlStrategy>| Ttl {
        minutes,
        strategy: strategy.0,
    };
    Ok(rows
        .map(|row| (row.thread_id, ttl(row.minutes, row.strategy)))
        .collect())
}

/// A thread that nobody else changes meanwhile.
struct AtHand {
    id: Uuid,
    at_rest: bool,
    updated_at: DateTime<Utc>,
}

/// Those of the threads that nobody has locked. Locks them.
async fn at_hand(change: &mut Change, due: &HashMap<Uuid, Ttl>) -> Result<Vec<AtHand>> {
    let ids: Vec<_> = due.keys().copied().collect();
    let threads = sqlx::query_as!(
        AtHand,
        r#"select id, status <> 'busy' as "at_rest!", updated_at
        from threads where id = any($1)
        for update skip locked"#,
        &ids
    );
    Ok(threads.fetch_all(&mut **change).await?)
}

async fn look_later(change: &mut Change, later: &[(Uuid, DateTime<Utc>)]) -> Result<()> {
    let (ids, times): (Vec<_>, Vec<_>) = later.iter().copied().unzip();
    sqlx::query!(
        "update thread_ttls x set due_at = later.at
        from unnest($1::uuid[], $2::timestamptz[]) as later (id, at)
        where x.thread_id = later.id",
        &ids,
        &times
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

async fn delete(change: &mut Change, ids: &[Uuid]) -> Result<()> {
    sqlx::query!("delete from threads where id = any($1)", ids)
        .execute(&mut **change)
        .await?;
    Ok(())
}

/// Notes that these threads have lost their history: see `migrations/0008_retention.sql`.
async fn note_trimmed(change: &mut Change, ids: &[Uuid]) -> Result<()> {
    sqlx::query!(
        "update threads set at_rest_since = 'epoch' where id = any($1)",
        ids
    )
    .execute(&mut **change)
    .await?;
    sqlx::query!(
        "update thread_ttls set due_at = null where thread_id = any($1)",
        ids
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Notes how long a thread that is locked or new is kept.
pub(crate) async fn store_ttl(change: &mut Change, thread: &Thread) -> Result<()> {
    let Some(ttl) = thread.ttl else {
        sqlx::query!("delete from thread_ttls where thread_id = $1", thread.id.0)
            .execute(&mut **change)
            .await?;
        return Ok(());
    };
    sqlx::query!(
        "insert into thread_ttls (thread_id, minutes, strategy, due_at) values ($1, $2, $3, $4)
        on conflict (thread_id) do update set
            minutes = excluded.minutes, strategy = excluded.strategy, due_at = excluded.due_at",
        thread.id.0,
        ttl.minutes,
        Text(ttl.strategy) as _,
        thread.expires_at()
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Deletes records of runs that have been over for `age`.
async fn prune_runs(change: &mut Change, age: Duration, limit: u32) -> Result<u32> {
    let pruned = sqlx::query!(
        "delete from runs where id = any(array(
            select id from runs
            where status not in ('pending', 'running') and updated_at <= $1
            order by updated_at limit $2
            for update skip locked
        ))",
        before(change.now, age),
        i64::from(limit)
    );
    let pruned = pruned.execute(&mut **change).await?.rows_affected();
    Ok(u32::try_from(pruned).unwrap_or(u32::MAX))
}
