//! Deletes checkpoints of threads at rest.

use runloom_core::database::DatabaseError;
use runloom_core::ids::{CheckpointId, RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::pruning::{Link, superfluous};
use sqlx::types::Json;

use crate::connections::Change;
use crate::error::Result;
use crate::{runs, threads};

/// Deletes checkpoints and pending writes of runs, with what is kept beside the checkpoints.
pub(crate) async fn delete_of_runs(
    change: &mut Change<'_>,
    thread: ThreadId,
    runs: &[RunId],
) -> Result<()> {
    see_at_rest(change, thread).await?;
    let mut places = Vec::new();
    // Ids are stored as bytes, which JSON has not, so one statement takes one of them.
    for run in runs {
        let own = sqlx::query!(
            "select ns, id from checkpoints where thread_id = ? and run_id = ?",
            thread.0,
            run.0
        );
        let own = own.fetch_all(&mut **change).await?.into_iter();
        places.extend(own.map(|row| (row.ns, row.id)));
        sqlx::query!(
            "delete from pending_writes where thread_id = ? and run_id = ?",
            thread.0,
            run.0
        )
        .execute(&mut **change)
        .await?;
    }
    delete(change, thread, places).await
}

/// Deletes what can go of a thread's history.
pub(crate) async fn prune(change: &mut Change<'_>, thread: ThreadId) -> Result<()> {
    see_at_rest(change, thread).await?;
    let rows = sqlx::query!(
        r#"select ns, id, parent, metadata as "metadata: Json<JsonMap>"
        from checkpoints where thread_id = ?"#,
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
    delete(change, thread, places.collect()).await
}

async fn see_at_rest(change: &mut Change<'_>, thread: ThreadId) -> Result<()> {
    if threads::load(change, thread).await?.is_none() {
        return Err(DatabaseError::NotFound("thread").into());
    }
    if runs::outlook(change, thread).await?.in_flight {
        return Err(DatabaseError::Busy.into());
    }
    Ok(())
}

/// Deletes checkpoints with the writes beside them, and values that no other one names.
async fn delete(
    change: &mut Change<'_>,
    thread: ThreadId,
    places: Vec<(String, String)>,
) -> Result<()> {
    let places = Json(places);
    sqlx::query!(
        "delete from checkpoints where thread_id = ?1 and (ns, id) in (
            select v.value ->> 0, v.value ->> 1 from json_each(?2) v
        )",
        thread.0,
        places
    )
    .execute(&mut **change)
    .await?;
    sqlx::query!(
        "delete from pending_writes where thread_id = ?1 and (ns, checkpoint_id) in (
            select v.value ->> 0, v.value ->> 1 from json_each(?2) v
        )",
        thread.0,
        places
    )
    .execute(&mut **change)
    .await?;
    sqlx::query!(
        "delete from channel_blobs where thread_id = ?1 and (ns, channel, version) not in (
            select c.ns, v.key, v.value from checkpoints c, json_each(c.versions) v
            where c.thread_id = ?1
        )",
        thread.0
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}
