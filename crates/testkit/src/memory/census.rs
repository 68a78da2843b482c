//! How much there is in the model.

use async_trait::async_trait;
use runloom_core::database::{Census, DatabaseError, TableSize, Tally};
use runloom_core::run::RunStatus;

use super::Memory;
use super::thread_row::{RunRow, ThreadRow};

#[async_trait]
impl Census for Memory {
    async fn tally(&self) -> Result<Tally, DatabaseError> {
        let (state, now) = self.begin();
        let is_due = |row: &&RunRow| row.run.created_at.max(row.not_before) <= now;
        let is_running = |row: &&RunRow| row.run.status == RunStatus::Running;
        let is_pending = |row: &&RunRow| row.run.status == RunStatus::Pending;
        let rows = || {
            state
                .threads
                .values()
                .flat_map(|thread| thread.runs.values())
        };
        let has_work = |thread: &&ThreadRow| {
            let mut rows = thread.runs.values();
            rows.any(|row| is_running(&row) || (is_pending(&row) && is_due(&row)))
        };
        let claimable_since = |thread: &ThreadRow| {
            let due = thread.due(now).filter(|_| thread.holder.is_none())?;
            let since = due.run.created_at.max(due.not_before);
            let since = since.max(due.run.updated_at);
            Some(since.max(thread.thread.state_updated_at))
        };
        let oldest = state.threads.values().filter_map(claimable_since).min();
        let count = |counted: usize| u64::try_from(counted).unwrap_or(u64::MAX);
        let pending = count(rows().filter(is_pending).filter(is_due).count());
        Ok(Tally {
            at: now,
            pending,
            scheduled: count(rows().filter(is_pending).count()) - pending,
            running: count(rows().filter(is_running).count()),
            backlog_threads: count(state.threads.values().filter(has_work).count()),
            oldest_due: oldest.map(|since| (now - since).to_std().unwrap_or_default()),
            untold: None,
        })
    }

    /// It has no tables.
    async fn sizes(&self) -> Result<Vec<TableSize>, DatabaseError> {
        Ok(Vec::new())
    }
}
