//! Deletes checkpoints of threads at rest.

use runloom_core::database::DatabaseError;
use runloom_core::ids::{CheckpointId, RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::pruning::{Link, superfluous};
use rusqlite::params;

use crate::change::Change;
use crate::error::Result;
use crate::statement::{Json, all, columns, execute};
use crate::{runs, threads};

/// Deletes checkpoints and pending writes of runs, with what is kept beside the checkpoints.
pub(crate) fn delete_of_runs(change: &Change<'_>, thread: ThreadId, runs: &[RunId]) -> Result<()> {
    see_at_rest(change, thread)?;
    let mut places = Vec::new();
    // Ids are stored as bytes, which JSON has not, so one statement takes one of them.
    for run in runs {
        let own: Vec<(String, String)> = all(
            change,
            "select ns, id from checkpoints where thread_id = ? and run_id = ?",
            params![thread.0, run.0],
        )?;
        places.extend(own);
        execute(
            change,
            "delete from pending_writes where thread_id = ? and run_id = ?",
            params![thread.0, run.0],
        )?;
    }
    delete(change, thread, places)
}

columns! {
    /// What is read of a checkpoint to see whether it can go.
    struct LinkColumns {
        ns: String,
        id: String,
        parent: Option<String>,
        metadata: Json<JsonMap>,
    }
}

/// Deletes what can go of a thread's history, unless a run is in flight.
pub(crate) fn prune(change: &Change<'_>, thread: ThreadId) -> Result<()> {
    see_at_rest(change, thread)?;
    trim(change, thread)?;
    Ok(())
}

/// Deletes what can go of the history of a thread at rest. Says how many checkpoints that were.
pub(crate) fn trim(change: &Change<'_>, thread: ThreadId) -> Result<usize> {
    let rows: Vec<LinkColumns> = all(
        change,
        "select ns, id, parent, metadata
        from checkpoints where thread_id = ?",
        params![thread.0],
    )?;
    let links: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let parent = row.parent.map(CheckpointId);
            Link::new(row.ns, CheckpointId(row.id), parent, &row.metadata.0)
        })
        .collect();
    let places = superfluous(&links).into_iter();
    let places: Vec<_> = places
        .map(|link| (link.ns.clone(), link.id.0.clone()))
        .collect();
    let count = places.len();
    delete(change, thread, places)?;
    Ok(count)
}

fn see_at_rest(change: &Change<'_>, thread: ThreadId) -> Result<()> {
    if threads::load(change, thread)?.is_none() {
        return Err(DatabaseError::NotFound("thread").into());
    }
    if runs::outlook(change, thread)?.in_flight {
        return Err(DatabaseError::Busy.into());
    }
    Ok(())
}

/// Deletes checkpoints with the writes beside them, and values that no other one names.
fn delete(change: &Change<'_>, thread: ThreadId, places: Vec<(String, String)>) -> Result<()> {
    if places.is_empty() {
        return Ok(());
    }
    let places = Json(places);
    execute(
        change,
        "delete from checkpoints where thread_id = ?1 and (ns, id) in (
            select v.value ->> 0, v.value ->> 1 from json_each(?2) v
        )",
        params![thread.0, places],
    )?;
    execute(
        change,
        "delete from pending_writes where thread_id = ?1 and (ns, checkpoint_id) in (
            select v.value ->> 0, v.value ->> 1 from json_each(?2) v
        )",
        params![thread.0, places],
    )?;
    execute(
        change,
        "delete from channel_blobs where thread_id = ?1 and (ns, channel, version) not in (
            select c.ns, v.key, v.value from checkpoints c, json_each(c.versions) v
            where c.thread_id = ?1
        )",
        params![thread.0],
    )?;
    Ok(())
}
