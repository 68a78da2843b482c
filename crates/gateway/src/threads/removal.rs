//! Deleting threads. One with an executing run goes only when that has stopped: a thread of the same
//! id could otherwise be made and run beside the old one.

use std::pin::pin;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use runloom_api::error::{ErrorBody, ErrorCode};
use runloom_api::paths;
use runloom_api::threads::{Pruned, ThreadPrune};
use runloom_api::ttl::PruneStrategy;
use runloom_core::bus::RunChange;
use runloom_core::database::{DatabaseError, ThreadDeletion};
use runloom_core::ids::ThreadId;
use tokio::time::{Instant, timeout};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::TAG;
use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{Body, ThreadPath};

/// How often to look when no change is announced: announcements may be lost.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How many threads of one request are deleted at a time.
const AT_ONCE: usize = 8;

pub(super) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default().routes(routes!(prune_threads))
}

/// Delete a thread with its runs and its history. A run that executes is stopped first.
#[utoipa::path(delete, path = paths::THREAD, tag = TAG,
    params(("thread_id" = uuid::Uuid, Path, description = "Its id")),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn delete_thread(
    State(gateway): State<Gateway>,
    ThreadPath(id): ThreadPath,
) -> Result<StatusCode, Refusal> {
    gateway.remove_thread(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete many threads, or their history. Unknown ones are passed over, and so are those that cannot be
/// stopped; where only the history is to go, those that are busy.
#[utoipa::path(post, path = paths::THREADS_PRUNE, tag = TAG, request_body = ThreadPrune,
    responses((status = 200, body = Pruned)))]
async fn prune_threads(
    State(gateway): State<Gateway>,
    Body(body): Body<ThreadPrune>,
) -> Result<Json<Pruned>, Refusal> {
    let removals = body.thread_ids.into_iter().map(|id| {
        let gateway = gateway.clone();
        async move {
            let id = ThreadId(id);
            let done = match body.strategy {
                PruneStrategy::Delete => gateway.remove_thread(id).await,
                PruneStrategy::KeepLatest => gateway.trim_thread(id).await,
            };
            match done {
                Ok(()) => Ok(1),
                Err(Refusal {
                    code: ErrorCode::NotFound | ErrorCode::Conflict,
                    ..
                }) => Ok(0),
                Err(refusal) => Err(refusal),
            }
        }
    });
    let removals = stream::iter(removals).buffer_unordered(AT_ONCE);
    let count = removals.try_fold(0, async |sum, one| Ok(sum + one));
    Ok(Json(Pruned {
        pruned_count: count.await?,
    }))
}

impl Gateway {
    /// Deletes a thread, waiting for its executing run to stop.
    pub(crate) async fn remove_thread(&self, id: ThreadId) -> Result<(), Refusal> {
        let deadline = Instant::now() + self.config.stop_wait();
        if self.try_to_remove(id).await.map_err(gone(id))? {
            return Ok(());
        }
        // Only now: most threads go at once. Subscribed first, looked at again after that, so that
        // no change falls between the two.
        let changes = self.ports.notifier.changes(id).await;
        // A stream that ends would wake us without end.
        let changes = changes.map_or_else(|_| nothing(), |some| some.chain(nothing()).boxed());
        let mut changes = pin!(changes);
        loop {
            match self.try_to_remove(id).await {
                Ok(true) | Err(DatabaseError::NotFound(_)) => return Ok(()),
                Ok(false) => {}
                Err(error) => return Err(error.into()),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Refusal::conflict(format!(
                    "Thread {id} has a run that has not stopped yet. Try again."
                )));
            }
            // Whatever wakes us, and even if nothing does: the database has the answer.
            let _ = timeout(left.min(LOOK_AGAIN), changes.next()).await;
        }
    }

    /// Deletes the history of a thread at rest.
    async fn trim_thread(&self, id: ThreadId) -> Result<(), Refusal> {
        let trimmed = self.database().prune_checkpoints(id).await;
        trimmed.map_err(|error| match error {
            DatabaseError::Busy => Refusal::conflict("the thread is busy"),
            DatabaseError::NotFound(_) => Refusal::no_thread(id),
            other => other.into(),
        })
    }

    async fn try_to_remove(&self, id: ThreadId) -> Result<bool, DatabaseError> {
        let (gone, effects) = match self.database().delete_thread(id).await? {
            ThreadDeletion::Deleted(effects) => (true, effects),
            ThreadDeletion::Stopping(effects) => (false, effects),
        };
        self.follow_up(effects).await;
        Ok(gone)
    }
}

fn nothing() -> BoxStream<'static, RunChange> {
    stream::pending().boxed()
}

fn gone(id: ThreadId) -> impl Fn(DatabaseError) -> Refusal {
    move |error| match error {
        DatabaseError::NotFound(_) => Refusal::no_thread(id),
        other => other.into(),
    }
}
