//! Threads in the model.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runloom_core::admission::{InFlight, Origin, stop};
use runloom_core::database::{DatabaseError, ThreadDeletion, ThreadPatch, Threads};
use runloom_core::effects::Effects;
use runloom_core::ids::ThreadId;
use runloom_core::json::{Json, JsonMap};
use runloom_core::run::CancelAction;
use runloom_core::search::{Page, SortOrder, ThreadFilter, ThreadSort, map_contains};
use runloom_core::thread::{IfExists, NewThread, Thread, ThreadStatus};

use super::Memory;
use super::state::{paged, sort_by};
use super::thread_row::{Asker, ThreadRow};

/// A thread that nothing has happened on.
pub(super) fn blank(id: ThreadId, metadata: JsonMap, now: DateTime<Utc>) -> Thread {
    Thread {
        id,
        created_at: now,
        updated_at: now,
        state_updated_at: now,
        metadata,
        status: ThreadStatus::Idle,
        config: JsonMap::new(),
        values: None,
        interrupts: JsonMap::new(),
        error: None,
        ttl: None,
    }
}

#[async_trait]
impl Threads for Memory {
    async fn create_thread(&self, new: NewThread) -> Result<Thread, DatabaseError> {
        let (mut state, now) = self.begin();
        if let Some(row) = state.threads.get(&new.id) {
            return match new.if_exists {
                IfExists::Raise => Err(DatabaseError::Exists("thread")),
                IfExists::DoNothing => Ok(row.thread.clone()),
            };
        }
        let row = ThreadRow::new(Thread {
            ttl: new.ttl,
            ..blank(new.id, new.metadata, now)
        });
        let thread = row.thread.clone();
        state.threads.insert(new.id, row);
        Ok(thread)
    }

    async fn thread(&self, id: ThreadId) -> Result<Option<Thread>, DatabaseError> {
        let (state, _) = self.begin();
        Ok(state.threads.get(&id).map(|row| row.thread.clone()))
    }

    async fn patch_thread(
        &self,
        id: ThreadId,
        patch: ThreadPatch,
    ) -> Result<Thread, DatabaseError> {
        let (mut state, now) = self.begin();
        let thread = &mut state.thread(id)?.thread;
        thread.metadata.extend(patch.metadata);
        thread.ttl = patch.ttl.unwrap_or(thread.ttl);
        thread.updated_at = now;
        Ok(thread.clone())
    }

    async fn delete_thread(&self, id: ThreadId) -> Result<ThreadDeletion, DatabaseError> {
        let (mut state, now) = self.begin();
        let row = state.thread(id)?;
        let mut effects = Effects::default();
        let asker = Asker {
            superseded_by: None,
            reason: None,
        };
        let rollback = |run: InFlight| {
            let stop = stop(run, CancelAction::Rollback, Origin::Cancelled);
            stop.map(|stop| (run.id, stop))
        };
        for (run, stop) in row.in_flight().into_iter().filter_map(rollback) {
            effects.extend(row.stop(run, stop, &asker, now)?);
        }
        if row.holder.is_some() {
            return Ok(ThreadDeletion::Stopping(effects));
        }
        state.threads.remove(&id);
        Ok(ThreadDeletion::Deleted(effects))
    }

    async fn search_threads(
        &self,
        filter: &ThreadFilter,
        (key, order): (ThreadSort, SortOrder),
        page: Page,
    ) -> Result<Vec<Thread>, DatabaseError> {
        let (state, _) = self.begin();
        let threads = state.threads.values().map(|row| &row.thread);
        let mut found: Vec<_> = threads
            .filter(|thread| matches(thread, filter))
            .cloned()
            .collect();
        match key {
            ThreadSort::ThreadId => sort_by(&mut found, order, |thread| thread.id),
            ThreadSort::Status => sort_by(&mut found, order, |thread| {
                (<&str>::from(thread.status), thread.id)
            }),
            ThreadSort::CreatedAt => {
                sort_by(&mut found, order, |thread| (thread.created_at, thread.id));
            }
            ThreadSort::UpdatedAt => {
                sort_by(&mut found, order, |thread| (thread.updated_at, thread.id));
            }
            ThreadSort::StateUpdatedAt => sort_by(&mut found, order, |thread| {
                (thread.state_updated_at, thread.id)
            }),
        }
        Ok(paged(found, page))
    }

    async fn count_threads(&self, filter: &ThreadFilter) -> Result<u64, DatabaseError> {
        let (state, _) = self.begin();
        let threads = state.threads.values().map(|row| &row.thread);
        Ok(threads.filter(|thread| matches(thread, filter)).count() as u64)
    }

    async fn copy_thread(&self, from: ThreadId, to: ThreadId) -> Result<Thread, DatabaseError> {
        let (mut state, now) = self.begin();
        let source = state.thread(from)?.clone();
        if state.threads.contains_key(&to) {
            return Err(DatabaseError::Exists("thread"));
        }
        let mut copy = ThreadRow::new(Thread {
            config: source.thread.config,
            values: source.thread.values,
            interrupts: source.thread.interrupts,
            ttl: source.thread.ttl,
            ..blank(to, source.thread.metadata, now)
        });
        copy.unfinished = source.unfinished;
        copy.shelf = source.shelf.copy_for(to);
        copy.refresh(now);
        let thread = copy.thread.clone();
        state.threads.insert(to, copy);
        Ok(thread)
    }
}

fn matches(thread: &Thread, filter: &ThreadFilter) -> bool {
    let values = || thread.values.as_ref().map(Json::to_value);
    filter
        .ids
        .as_ref()
        .is_none_or(|ids| ids.contains(&thread.id))
        && filter.status.is_none_or(|status| thread.status == status)
        && map_contains(&thread.metadata, &filter.metadata)
        && (filter.values.is_empty()
            || values().is_some_and(|values| {
                let values = values.as_object();
                values.is_some_and(|values| map_contains(values, &filter.values))
            }))
}
