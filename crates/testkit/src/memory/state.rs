//! What the model holds, apart from what happens inside a thread.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use runloom_core::assistant::Assistant;
use runloom_core::database::DatabaseError;
use runloom_core::ids::{AssistantId, RunId, ThreadId, WorkerId};
use runloom_core::item::Item;
use runloom_core::run::Run;
use runloom_core::search::{Page, SortOrder};

use super::thread_row::ThreadRow;

/// Everything.
#[derive(Default)]
pub(super) struct State {
    pub(super) threads: BTreeMap<ThreadId, ThreadRow>,
    pub(super) workers: BTreeMap<WorkerId, WorkerRow>,
    pub(super) assistants: BTreeMap<AssistantId, AssistantRow>,
    /// By namespace and key.
    pub(super) items: BTreeMap<(Vec<String>, String), Item>,
}

/// A worker's lease.
pub(super) struct WorkerRow {
    /// From this moment on the lease is over.
    pub(super) until: DateTime<Utc>,
    /// Whether the lease was ended for good, by its worker or by a sweep.
    pub(super) dead: bool,
}

/// An assistant with all its versions.
pub(super) struct AssistantRow {
    /// As it is now.
    pub(super) current: Assistant,
    /// Each version as it was made, from 1.
    pub(super) versions: Vec<Assistant>,
}

impl State {
    /// The thread, to be changed.
    pub(super) fn thread(&mut self, id: ThreadId) -> Result<&mut ThreadRow, DatabaseError> {
        self.threads
            .get_mut(&id)
            .ok_or(DatabaseError::NotFound("thread"))
    }

    /// The run, on whatever thread.
    pub(super) fn run(&self, id: RunId) -> Option<&Run> {
        let mut rows = self.threads.values();
        rows.find_map(|thread| thread.runs.get(&id))
            .map(|row| &row.run)
    }

    /// Whether the worker's lease covers what it does now.
    pub(super) fn is_alive(&self, worker: WorkerId, now: DateTime<Utc>) -> bool {
        let row = self.workers.get(&worker);
        row.is_some_and(|row| !row.dead && now < row.until)
    }
}

/// The part `page` of a list.
pub(super) fn paged<T>(list: impl IntoIterator<Item = T>, page: Page) -> Vec<T> {
    list.into_iter()
        .skip(page.offset as usize)
        .take(page.limit as usize)
        .collect()
}

/// Sorts by `key`, which must tell all elements apart.
pub(super) fn sort_by<T, K: Ord>(list: &mut [T], order: SortOrder, key: impl Fn(&T) -> K) {
    match order {
        SortOrder::Asc => list.sort_by_key(key),
        SortOrder::Desc => list.sort_by_key(|element| std::cmp::Reverse(key(element))),
    }
}
