//! Threads in the database.

use async_trait::async_trait;

use super::DatabaseError;
use crate::effects::Effects;
use crate::ids::ThreadId;
use crate::json::JsonMap;
use crate::search::{Page, SortOrder, ThreadFilter, ThreadSort};
use crate::thread::{NewThread, Thread, Ttl};

/// A change of a thread's own fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadPatch {
    /// Merged into the metadata, key by key.
    pub metadata: JsonMap,
    /// How long the thread is kept from now on: `Some(None)` for good, none as before.
    pub ttl: Option<Option<Ttl>>,
}

/// The answer to deleting a thread.
#[derive(Debug, PartialEq)]
pub enum ThreadDeletion {
    /// It is gone with all that belonged to it.
    Deleted(Effects),
    /// A worker still executes one of its runs. All runs in flight are now asked to roll back; try
    /// again when they are gone.
    Stopping(Effects),
}

/// Threads.
#[async_trait]
pub trait Threads: Send + Sync + 'static {
    /// Creates a thread, or answers with the one that is there if the request allows it
    /// (otherwise [`DatabaseError::Exists`]).
    async fn create_thread(&self, new: NewThread) -> Result<Thread, DatabaseError>;

    /// The thread.
    async fn thread(&self, id: ThreadId) -> Result<Option<Thread>, DatabaseError>;

    /// Changes a thread and answers with it.
    async fn patch_thread(&self, id: ThreadId, patch: ThreadPatch)
    -> Result<Thread, DatabaseError>;

    /// Deletes a thread with its runs and checkpoints, unless one of them is executing: a thread
    /// of the same id could otherwise be created and run beside the old one.
    async fn delete_thread(&self, id: ThreadId) -> Result<ThreadDeletion, DatabaseError>;

    /// Threads that match, in order.
    async fn search_threads(
        &self,
        filter: &ThreadFilter,
        sort: (ThreadSort, SortOrder),
        page: Page,
    ) -> Result<Vec<Thread>, DatabaseError>;

    /// How many threads match.
    async fn count_threads(&self, filter: &ThreadFilter) -> Result<u64, DatabaseError>;

    /// Copies a thread with its metadata, configuration, values, checkpoints and time to live, without
    /// its runs.
    async fn copy_thread(&self, from: ThreadId, to: ThreadId) -> Result<Thread, DatabaseError>;
}
