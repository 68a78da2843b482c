//! What the model deletes in time.

use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use runloom_core::database::{DatabaseError, Expired, Retention};
use runloom_core::thread::TtlStrategy;

use super::Memory;
use super::thread_row::ThreadRow;

#[async_trait]
impl Retention for Memory {
    async fn expire_threads(&self, limit: u32) -> Result<Expired, DatabaseError> {
        let (mut state, now) = self.begin();
        let is_due = |row: &&ThreadRow| {
            let due = row.thread.expires_at().is_some_and(|at| at <= now);
            due && row.in_flight().is_empty() && row.trimmed != Some(row.thread.updated_at)
        };
        let due = state.threads.values().filter(is_due);
        let due: Vec<_> = due.map(|row| (row.thread.id, row.thread.ttl)).collect();
        let mut expired = Expired::default();
        for (id, ttl) in due.into_iter().take(limit as usize) {
            expired.seen += 1;
            if ttl.is_none_or(|ttl| ttl.strategy == TtlStrategy::Delete) {
                state.threads.remove(&id);
                expired.deleted += 1;
            } else {
                let row = state.thread(id)?;
                row.trimmed = Some(row.thread.updated_at);
                expired.checkpoints += row.shelf.prune() as u64;
                expired.trimmed += 1;
            }
        }
        Ok(expired)
    }

    async fn prune_runs(&self, age: Duration, limit: u32) -> Result<u32, DatabaseError> {
        let (mut state, now) = self.begin();
        let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        let mut pruned = 0;
        for row in state.threads.values_mut() {
            row.runs.retain(|_, row| {
                let stays = pruned >= limit
                    || !row.run.status.is_terminal()
                    || now - row.run.updated_at < age;
                pruned += u32::from(!stays);
                stays
            });
        }
        Ok(pruned)
    }
}
