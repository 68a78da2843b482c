//! Deletes what was made for one run only.

use super::measures::{self, Kept};
use crate::incarnation::Incarnation;

/// How many threads are deleted at once.
const LIMIT: u32 = 1_000;

/// Deletes temporary threads whose run has been over for a while.
pub(super) async fn prune(worker: &Incarnation) {
    let age = worker.config.temporary_age;
    match worker.ports.database.prune_temporary(age, LIMIT).await {
        Ok(0) => {}
        Ok(count) => {
            measures::pruned(Kept::Threads, count.into());
            tracing::debug!(count, "deleted temporary threads");
        }
        Err(error) => tracing::warn!(%error, "cannot delete temporary threads"),
    }
}
