//! How much there is.

use std::time::Duration;

use async_trait::async_trait;
use runloom_core::database::{Census, DatabaseError, TableSize, Tally};
use rusqlite::{Connection, params};

use crate::Sqlite;
use crate::convert::{micros, time};
use crate::error::Result;
use crate::statement::{columns, first};

columns! {
    /// Runs that are not over, and their threads.
    struct InFlight {
        pending: u32,
        scheduled: u32,
        running: u32,
        threads: u32,
    }
}

columns! {
    /// Since when the run waits that has waited longest.
    struct Oldest {
        since: Option<i64>,
    }
}

columns! {
    /// The file.
    struct Pages {
        bytes: i64,
    }
}

#[async_trait]
impl Census for Sqlite {
    async fn tally(&self) -> Result<Tally, DatabaseError> {
        let now = micros(self.clock.now());
        self.read(move |connection| tally(connection, now)).await
    }

    /// The file as a whole: what of it belongs to which table could only be told by reading all of it.
    async fn sizes(&self) -> Result<Vec<TableSize>, DatabaseError> {
        self.read(sizes).await
    }
}

fn tally(connection: &Connection, now: i64) -> Result<Tally> {
    let counted: Option<InFlight> = first(
        connection,
        "select count(*) filter (where status = 'pending' and max(created_at, not_before) <= ?1)
                as pending,
            count(*) filter (where status = 'pending' and max(created_at, not_before) > ?1)
                as scheduled,
            count(*) filter (where status = 'running') as running,
            count(distinct thread_id) filter (
                where status = 'running' or max(created_at, not_before) <= ?1
            ) as threads
        from runs indexed by runs_in_flight where status in ('pending', 'running')",
        params![now],
    )?;
    let oldest: Option<Oldest> = first(
        connection,
        "select min(since) as since from (
            select max(t.state_updated_at, (
                select case when not_before <= ?1 then max(created_at, not_before, updated_at) end
                from runs
                where thread_id = t.id and status in ('pending', 'running') and status = 'pending'
                    and created_at <= ?1
                order by created_at, seq limit 1
            )) as since
            from threads t indexed by threads_waiting where claim is null and status = 'busy'
        )",
        params![now],
    )?;
    let counted = counted.unwrap_or(InFlight {
        pending: 0,
        scheduled: 0,
        running: 0,
        threads: 0,
    });
    let since = oldest.and_then(|oldest| oldest.since);
    Ok(Tally {
        at: time(now),
        pending: counted.pending.into(),
        scheduled: counted.scheduled.into(),
        running: counted.running.into(),
        backlog_threads: counted.threads.into(),
        oldest_due: since
            .map(|since| Duration::from_micros(now.saturating_sub(since).max(0).cast_unsigned())),
        untold: None,
    })
}

fn sizes(connection: &Connection) -> Result<Vec<TableSize>> {
    let file: Option<Pages> = first(
        connection,
        "select page_count * page_size as bytes from pragma_page_count, pragma_page_size",
        (),
    )?;
    let file = file.map(|file| TableSize {
        table: "all",
        bytes: file.bytes.cast_unsigned(),
        rows: None,
    });
    Ok(file.into_iter().collect())
}
