//! Runs in the database, as those who ask for them see them.

use async_trait::async_trait;

use super::DatabaseError;
use crate::compose::NewRun;
use crate::effects::Effects;
use crate::ids::{RunId, ThreadId};
use crate::run::{CancelAction, Run};
use crate::search::{CancelSelection, Page, RunFilter};

/// The answer to a new run.
#[derive(Debug, PartialEq)]
pub enum Submission {
    /// It is stored, pending.
    Accepted(Box<Run>, Effects),
    /// Its strategy refuses the thread as it is; nothing changed.
    Rejected,
}

/// Who wants which runs stopped, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct CancelRequest {
    /// Which ones.
    pub selection: CancelSelection,
    /// How.
    pub action: CancelAction,
    /// Why, for people.
    pub reason: String,
}

/// The answer to a request to stop runs.
#[derive(Debug, Default, PartialEq)]
pub struct Cancelled {
    /// The runs in flight that the request named, now stopping or stopped; also those that were
    /// stopping already.
    pub runs: Vec<(ThreadId, RunId)>,
    /// What must follow.
    pub effects: Effects,
}

/// Runs.
#[async_trait]
pub trait Runs: Send + Sync + 'static {
    /// Accepts a run or refuses it, in one transaction: the thread is locked (or created), runs in
    /// flight are judged by [`admit`](crate::admission::admit) and changed accordingly, the run is
    /// stored as pending, the thread is busy from now on.
    ///
    /// Idempotent by the run's id. [`DatabaseError::NotFound`] if the thread is missing and must
    /// not be created.
    async fn submit_run(&self, new: NewRun) -> Result<Submission, DatabaseError>;

    /// The run; with a thread, only if it belongs to it.
    async fn run(&self, thread: Option<ThreadId>, id: RunId) -> Result<Option<Run>, DatabaseError>;

    /// Runs of a thread, newest first.
    async fn runs(
        &self,
        thread: ThreadId,
        filter: RunFilter,
        page: Page,
    ) -> Result<Vec<Run>, DatabaseError>;

    /// Asks runs to stop. Pending ones end at once where they may
    /// (see [`stop`](crate::admission::stop)); running ones keep their status until their code has
    /// stopped or is fenced. Runs that are over are passed over.
    async fn cancel_runs(&self, request: CancelRequest) -> Result<Cancelled, DatabaseError>;

    /// Deletes the record of a run that is over; the thread's state stays. For a run in flight the
    /// answer is [`DatabaseError::Busy`]: roll it back instead.
    async fn delete_run(&self, thread: ThreadId, id: RunId) -> Result<(), DatabaseError>;
}
