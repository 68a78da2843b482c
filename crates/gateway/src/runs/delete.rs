//! Deleting runs. One in flight is rolled back first, so that nobody goes on writing for it.

use axum::extract::State;
use axum::http::StatusCode;
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use runloom_core::database::DatabaseError;
use runloom_core::run::CancelAction;
use runloom_core::search::CancelSelection;
use tokio::time::timeout;

use super::TAG;
use crate::Gateway;
use crate::error::Refusal;
use crate::extract::RunPath;
use crate::wait::Watch;

/// Delete a run. One in flight is rolled back first; the answer comes when its code has stopped.
#[utoipa::path(delete, path = paths::THREAD_RUN, tag = TAG,
    params(("thread_id" = uuid::Uuid, Path, description = "Its thread"),
        ("run_id" = uuid::Uuid, Path, description = "Its id")),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn delete_run(
    State(gateway): State<Gateway>,
    path: RunPath,
) -> Result<StatusCode, Refusal> {
    match gateway.database().delete_run(path.thread, path.run).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(DatabaseError::NotFound(_)) => Err(Refusal::not_found("Run not found")),
        Err(DatabaseError::Busy) => roll_back(&gateway, path).await,
        Err(error) => Err(error.into()),
    }
}

async fn roll_back(gateway: &Gateway, path: RunPath) -> Result<StatusCode, Refusal> {
    let RunPath { thread, run } = path;
    let mut watch = Watch::new(gateway, thread, run).await;
    let selection = CancelSelection::Runs(thread, vec![run]);
    gateway
        .cancel(selection, CancelAction::Rollback, None)
        .await?;
    let stopped = timeout(gateway.config.stop_wait(), watch.end()).await;
    let over = stopped.map_err(|_elapsed| {
        Refusal::conflict("The run was asked to stop but has not stopped yet. Try again.")
    })?;
    // It may have ended by itself before it was asked.
    if over.is_some() {
        match gateway.database().delete_run(thread, run).await {
            Ok(()) | Err(DatabaseError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
