//! How much there is. Only what is not over is read, by the partial indexes that the queue has.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runloom_core::database::{Census, ConnectionUse, DatabaseError, TableSize, Tally, Untold};

use crate::Postgres;
use crate::error::{Error, Result};
use crate::session::Session;

/// All tables of the schema, as they are named where their sizes are shown.
pub const TABLES: [&str; 15] = [
    "assistant_versions",
    "assistants",
    "channel_blobs",
    "checkpoints",
    "items",
    "outbox",
    "outbox_relay",
    "pending_writes",
    "runs",
    "settlements",
    "thread_metadata",
    "thread_ttls",
    "thread_values",
    "threads",
    "workers",
];

#[async_trait]
impl Census for Postgres {
    async fn tally(&self) -> Result<Tally, DatabaseError> {
        // Not as a statement of its own: the server would go on counting when nobody waits any more.
        let mut reader = self.server.moment().await?;
        let tally = tally(&mut reader, self.server.set_time()).await?;
        reader.commit().await?;
        Ok(tally)
    }

    async fn sizes(&self) -> Result<Vec<TableSize>, DatabaseError> {
        let mut reader = self.server.moment().await?;
        let sizes = sizes(&mut reader).await?;
        reader.commit().await?;
        Ok(sizes)
    }

    fn connections(&self) -> Option<ConnectionUse> {
        Some(self.server.connections.usage())
    }
}

async fn tally(reader: &mut Session, set_time: Option<DateTime<Utc>>) -> Result<Tally> {
    let row = sqlx::query!(
        r#"with clock as materialized (
            select coalesce($1::timestamptz, clock_timestamp()) as now
        ), counted as (
            select count(*) filter (where status = 'pending' and greatest(created_at, not_before) <= now)
                    as pending,
                count(*) filter (where status = 'pending' and greatest(created_at, not_before) > now)
                    as scheduled,
                count(*) filter (where status = 'running') as running,
                count(distinct thread_id) filter (
                    where status = 'running' or greatest(created_at, not_before) <= now
                ) as threads
            from clock, runs where status in ('pending', 'running')
        ), oldest as (
            select min(greatest(r.created_at, r.not_before, r.updated_at, t.state_updated_at)) as since
            from clock, threads t cross join lateral (
                select created_at, not_before, updated_at from runs
                where thread_id = t.id and status in ('pending', 'running') and status = 'pending'
                    and created_at <= now
                order by created_at, seq limit 1
            ) r
            where t.claim is null and t.status = 'busy' and r.not_before <= now
        ), untold as (
            select count(*) as rows from (select from outbox limit $2) counted
        )
        select now as "now!", pending as "pending!", scheduled as "scheduled!",
            running as "running!", threads as "threads!", since, rows as "rows!",
            (select at from outbox order by id limit 1) as told_from
        from clock, counted, oldest, untold"#,
        set_time,
        i64::from(Untold::MOST),
    );
    let row = row.fetch_one(reader).await?;
    let since = |moment: DateTime<Utc>| (row.now - moment).to_std().unwrap_or_default();
    Ok(Tally {
        at: row.now,
        pending: row.pending.cast_unsigned(),
        scheduled: row.scheduled.cast_unsigned(),
        running: row.running.cast_unsigned(),
        backlog_threads: row.threads.cast_unsigned(),
        oldest_due: row.since.map(since),
        untold: Some(Untold {
            rows: row.rows.cast_unsigned(),
            age: row.told_from.map_or(Duration::ZERO, since),
        }),
    })
}

/// Sizes as the catalogue has them: no table is read. Rows are what the statistics count as they go
/// or, after a crash took these, what the last vacuum found.
async fn sizes(reader: &mut Session) -> Result<Vec<TableSize>> {
    let tables = TABLES.map(str::to_owned).to_vec();
    let rows = sqlx::query!(
        r#"select relname::text as "name!", pg_total_relation_size(oid) as "bytes!",
            coalesce(nullif(pg_stat_get_live_tuples(oid), 0), greatest(reltuples, 0)::bigint) as "rows!"
        from pg_class
        where relname = any($1) and relkind = 'r'
            and relnamespace = (select relnamespace from pg_class where oid = 'runs'::regclass)"#,
        &tables[..]
    );
    let rows = rows.fetch_all(reader).await.map_err(Error::from)?;
    let sizes = rows.into_iter().filter_map(|row| {
        let table = TABLES.into_iter().find(|table| *table == row.name)?;
        Some(TableSize {
            table,
            bytes: row.bytes.cast_unsigned(),
            rows: Some(row.rows.cast_unsigned()),
        })
    });
    Ok(sizes.collect())
}
