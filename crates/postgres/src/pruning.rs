//! Deletes checkpoints of threads at rest.

use runloom_core::database::DatabaseError;
use runloom_core::ids::{CheckpointId, RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::pruning::{Link, superfluous};
use sqlx::types::{Json, Uuid};

use crate::connections::Change;
use crate::error::Result;
use crate::{runs, threads};

/// Deletes checkpoints and pending writes of runs, with what is kept beside the checkpoints.
pub(crate) async fn delete_of_runs(
    change: &mut Change,
    thread: ThreadId,
    runs: &[RunId],
) -> Result<()> {
    see_at_rest(change, thread).await?;
    let runs: Vec<Uuid> = runs.iter().map(|run| run.0).collect();
    let places = sqlx::query!(
        "select ns, id from checkpoints where thread_id = $1 and run_id = any($2)",
        thread.0,
        &runs[..]
    );
    let places = places.fetch_all(&mut **change).await?.into_iter();
    let (namespaces, ids): (Vec<_>, Vec<_>) = places.map(|row| (row.ns, row.id)).unzip();
    delete(change, thread, &namespaces, &ids).await?;
    sqlx::query!(
        "delete from pending_writes where thread_id = $1 and run_id = any($2)",
        thread.0,
        &runs[..]
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Deletes what can go of a thread's history, unless a run is in flight.
pub(crate) async fn prune(change: &mut Change, thread: ThreadId) -> Result<()> {
    see_at_rest(change, thread).await?;
    trim(change, thread).await?;
    Ok(())
}

/// Deletes what can go of the history of a thread that is locked and at rest. Says how many checkpoints
/// that were.
pub(crate) async fn trim(change: &mut Change, thread: ThreadId) -> Result<u64> {
    let rows = sqlx::query!(
        r#"select ns, id, parent, metadata as "metadata: Json<JsonMap>"
        from checkpoints where thread_id = $1"#,
        thread.0
    );
    let rows = rows.fetch_all(&mut **change).await?.into_iter();
    let links: Vec<_> = rows
        .map(|row| {
            let parent = row.parent.map(CheckpointId);
            Link::new(row.ns, CheckpointId(row.id), parent, &row.metadata)
        })
        .collect();
    let places = superfluous(&links).into_iter();
    let places = places.map(|link| (link.ns.clone(), link.id.0.clone()));
    let (namespaces, ids): (Vec<_>, Vec<_>) = places.unzip();
    if ids.is_empty() {
        return Ok(0);
    }
    delete(change, thread, &namespaces, &ids).await?;
    Ok(ids.len() as u64)
}

/// Locks the thread, which must have no run in flight.
async fn see_at_rest(change: &mut Change, thread: ThreadId) -> Result<()> {
    if threads::lock(change, thread).await?.is_none() {
        return Err(DatabaseError::NotFound("thread").into());
    }
    if runs::outlook(change, thread).await?.in_flight {
        return Err(DatabaseError::Busy.into());
    }
    Ok(())
}

/// Deletes checkpoints with the writes beside them, and values that no other one names.
async fn delete(
    change: &mut Change,
    thread: ThreadId,
    namespaces: &[String],
    ids: &[String],
) -> Result<()> {
    sqlx::query!(
        "delete from checkpoints where thread_id = $1
            and (ns, id) in (select * from unnest($2::text[], $3::text[]))",
        thread.0,
        namespaces,
        ids
    )
    .execute(&mut **change)
    .await?;
    sqlx::query!(
        "delete from pending_writes where thread_id = $1
            and (ns, checkpoint_id) in (select * from unnest($2::text[], $3::text[]))",
        thread.0,
        namespaces,
        ids
    )
    .execute(&mut **change)
    .await?;
    sqlx::query!(
        "delete from channel_blobs where thread_id = $1 and (ns, channel, version) not in (
            select c.ns, v.key, v.value from checkpoints c, json_each_text(c.versions) v
            where c.thread_id = $1
        )",
        thread.0
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}
