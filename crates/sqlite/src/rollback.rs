//! Rollback: a run is deleted with everything that it wrote.

use rusqlite::params;

use crate::change::Change;
use crate::error::Result;
use crate::rows::RunRow;
use crate::runs;
use crate::statement::execute;

/// Deletes a run, its checkpoints, its values and its pending writes, those on checkpoints of
/// earlier runs too. What it had hidden there is visible again, so the state of its thread is as it
/// was before it, byte for byte.
pub(crate) fn discard(change: &Change<'_>, row: &RunRow) -> Result<()> {
    let (thread, run) = (row.run.thread_id.0, row.run.id.0);
    execute(
        change,
        "delete from checkpoints where thread_id = ? and run_id = ?",
        params![thread, run],
    )?;
    execute(
        change,
        "delete from channel_blobs where thread_id = ? and run_id = ?",
        params![thread, run],
    )?;
    execute(
        change,
        "delete from pending_writes where thread_id = ? and run_id = ?",
        params![thread, run],
    )?;
    runs::remove(change, row.run.id)
}
