//! Deletes what was kept for long enough: threads whose time is up, or their history, and records of
//! runs. In small batches, each a transaction of its own, so that nobody waits for it.

use runloom_core::database::{DatabaseError, Expired};

use super::measures::{self, Kept};
use crate::incarnation::Incarnation;

/// How many threads are dealt with at once. One may have a long history.
const THREADS: u32 = 100;

/// How many records of runs are deleted at once.
const RUNS: u32 = 500;

/// How many records of runs are deleted in one look.
const MOST_RUNS: u32 = 100_000;

/// Looks for all that was kept for long enough.
pub(super) async fn expire(worker: &Incarnation) {
    if let Err(error) = expire_threads(worker).await {
        tracing::warn!(%error, "cannot delete threads whose time is up");
    }
    if let Err(error) = prune_runs(worker).await {
        tracing::warn!(%error, "cannot delete records of old runs");
    }
}

async fn expire_threads(worker: &Incarnation) -> Result<(), DatabaseError> {
    let (mut seen, mut batch) = (0, THREADS.min(worker.config.expire_limit));
    while seen < worker.config.expire_limit {
        match worker.ports.database.expire_threads(batch).await {
            Ok(expired) => {
                note(&expired);
                if expired.seen < batch {
                    break;
                }
                seen += expired.seen;
            }
            // Threads with a very long history may be too much for one transaction.
            Err(error) if batch > 1 => {
                tracing::debug!(%error, batch, "trying fewer threads at once");
                batch = (batch / 10).max(1);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn note(expired: &Expired) {
    measures::expired(expired);
    if expired.deleted + expired.trimmed > 0 {
        tracing::debug!(
            deleted = expired.deleted,
            trimmed = expired.trimmed,
            "dealt with threads whose time was up"
        );
    }
}

async fn prune_runs(worker: &Incarnation) -> Result<(), DatabaseError> {
    let Some(age) = worker.config.run_age else {
        return Ok(());
    };
    let mut sum = 0;
    while sum < MOST_RUNS {
        let pruned = worker.ports.database.prune_runs(age, RUNS).await?;
        measures::pruned(Kept::Runs, pruned.into());
        sum += pruned;
        if pruned < RUNS {
            break;
        }
    }
    if sum > 0 {
        tracing::debug!(runs = sum, "deleted records of old runs");
    }
    Ok(())
}
