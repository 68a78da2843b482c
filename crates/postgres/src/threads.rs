//! Threads: their rows and their locks.

use runloom_core::ids::ThreadId;
use sqlx::types::{Json, Text};

use crate::connections::Change;
use crate::error::Result;
use crate::rows::{ThreadColumns, ThreadRow};
use crate::session::Session;

/// Locks the thread, waiting for whoever has it, and reads it without its values; from then on the
/// change happens now. The first step of every change of a thread or of its runs.
pub(crate) async fn lock(change: &mut Change, id: ThreadId) -> Result<Option<ThreadRow>> {
    let row = sqlx::query_as!(
        ThreadColumns,
        r#"select *, null as "values: _", null as "interrupts: _" from threads where id = $1
        for no key update"#,
        id.0
    );
    let row = row.fetch_optional(&mut **change).await?;
    change.read_clock().await?;
    Ok(row.map(ThreadRow::from))
}

/// Like [`lock`], but others may share it: nobody claims, settles or frees the thread until the
/// change is over, so what holds of its fence holds until then.
pub(crate) async fn lock_shared(change: &mut Change, id: ThreadId) -> Result<Option<ThreadRow>> {
    let row = sqlx::query_as!(
        ThreadColumns,
        r#"select *, null as "values: _", null as "interrupts: _" from threads where id = $1
        for share"#,
        id.0
    );
    let row = row.fetch_optional(&mut **change).await?;
    change.read_clock().await?;
    Ok(row.map(ThreadRow::from))
}

/// The thread with its values, as it was committed last.
pub(crate) async fn load_whole(db: &mut Session, id: ThreadId) -> Result<Option<ThreadRow>> {
    let row = sqlx::query_as!(
        ThreadColumns,
        r#"select t.*, v."values" as "values?", v.interrupts as "interrupts?"
        from threads t left join thread_values v on v.thread_id = t.id
        where t.id = $1"#,
        id.0
    );
    Ok(row.fetch_optional(db).await?.map(ThreadRow::from))
}

/// Stores a thread that is not there. False if it is, with nothing changed.
pub(crate) async fn insert(change: &mut Change, row: &ThreadRow) -> Result<bool> {
    let inserted = sqlx::query!(
        "insert into threads (
            id, created_at, updated_at, state_updated_at, metadata, config, status, failed,
            unfinished, temporary, at_rest_since, hinted_at
        ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict do nothing",
        row.thread.id.0,
        row.thread.created_at,
        row.thread.updated_at,
        row.thread.state_updated_at,
        Json(&row.thread.metadata) as _,
        Json(&row.thread.config) as _,
        Text(row.thread.status) as _,
        row.failed,
        row.unfinished,
        row.temporary,
        row.at_rest_since,
        row.hinted_at
    );
    Ok(inserted.execute(&mut **change).await?.rows_affected() > 0)
}

/// Writes what may change of a thread that is locked, without its values.
pub(crate) async fn store(change: &mut Change, row: &ThreadRow) -> Result<()> {
    sqlx::query!(
        "update threads set
            updated_at = $2, state_updated_at = $3, metadata = $4, config = $5, status = $6,
            error = $7, failed = $8, unfinished = $9, at_rest_since = $10, hinted_at = $11,
            next_seq = $12, accepted_at = $13, epoch = $14, claim = $15, worker_id = $16,
            held_run = $17, claimed_at = $18
        where id = $1",
        row.thread.id.0,
        row.thread.updated_at,
        row.thread.state_updated_at,
        Json(&row.thread.metadata) as _,
        Json(&row.thread.config) as _,
        Text(row.thread.status) as _,
        row.thread.error.as_ref().map(Json) as _,
        row.failed,
        row.unfinished,
        row.at_rest_since,
        row.hinted_at,
        row.next_seq,
        row.accepted_at,
        row.epoch,
        row.holder.map(|holder| holder.fence.claim.0),
        row.holder.map(|holder| holder.worker_id.0),
        row.holder.map(|holder| holder.run_id.0),
        row.holder.map(|holder| holder.claimed_at)
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Writes what the thread's last run left.
pub(crate) async fn store_values(change: &mut Change, row: &ThreadRow) -> Result<()> {
    let Some(values) = &row.thread.values else {
        return Ok(());
    };
    sqlx::query!(
        r#"insert into thread_values (thread_id, "values", interrupts) values ($1, $2, $3)
        on conflict (thread_id) do update set
            "values" = excluded."values", interrupts = excluded.interrupts"#,
        row.thread.id.0,
        Json(values) as _,
        Json(&row.thread.interrupts) as _
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}
