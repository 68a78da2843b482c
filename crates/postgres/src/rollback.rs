//! Rollback: a run is deleted with everything that it wrote.

use crate::connections::Change;
use crate::error::Result;
use crate::rows::RunRow;
use crate::runs;

/// Deletes a run, its checkpoints, its values and its pending writes, those on checkpoints of
/// earlier runs too. What it had hidden there is visible again, so the state of its thread is as it
/// was before it, byte for byte.
pub(crate) async fn discard(change: &mut Change, row: &RunRow) -> Result<()> {
    let (thread, run) = (row.run.thread_id.0, row.run.id.0);
    sqlx::query!(
        "delete from checkpoints where thread_id = $1 and run_id = $2",
        thread,
        run
    )
    .execute(&mut **change)
    .await?;
    sqlx::query!(
        "delete from channel_blobs where thread_id = $1 and run_id = $2",
        thread,
        run
    )
    .execute(&mut **change)
    .await?;
    sqlx::query!(
        "delete from pending_writes where thread_id = $1 and run_id = $2",
        thread,
        run
    )
    .execute(&mut **change)
    .await?;
    runs::remove(change, row.run.id).await
}
