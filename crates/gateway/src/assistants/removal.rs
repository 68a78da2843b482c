//! Deleting an assistant, with what depends on it.

use axum::extract::State;
use axum::http::StatusCode;
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use runloom_core::database::CancelRequest;
use runloom_core::ids::{AssistantId, RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::run::{CancelAction, RunStatus};
use runloom_core::search::{CancelSelection, Page, RunFilter, SortOrder, ThreadFilter, ThreadSort};
use runloom_core::thread::ThreadStatus;

use super::{TAG, missing, system};
use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{AssistantPath, QueryParams};

/// How many rows to read at a time.
const BATCH: u32 = 500;

/// Delete an assistant.
///
/// Its runs in flight are stopped. An assistant that the server itself keeps for a graph comes back
/// at once as it was at first: clients name it by its graph, which would otherwise be unusable.
#[utoipa::path(delete, path = paths::ASSISTANT, tag = TAG,
    params(("assistant_id" = String, Path, description = "Its id, or the name of a graph"),
        ("delete_threads" = Option<bool>, Query,
            description = "Whether to delete the threads that it ran last on, too")),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn delete_assistant(
    State(gateway): State<Gateway>,
    AssistantPath(id): AssistantPath,
    query: QueryParams,
) -> Result<StatusCode, Refusal> {
    gateway.assistant(id).await?;
    stop_runs(&gateway, id).await?;
    // Threads go first, so that the request can be repeated if one of them cannot be stopped.
    if query.flag("delete_threads") {
        let id = [("assistant_id".to_owned(), id.to_string().into())];
        let filter = ThreadFilter {
            metadata: JsonMap::from_iter(id),
            ..ThreadFilter::default()
        };
        for thread in threads(&gateway, filter).await? {
            gateway.remove_thread(thread).await?;
        }
    }
    let deleted = gateway.database().delete_assistant(id).await;
    deleted.map_err(missing(id))?;
    system::restore(&gateway, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks all runs of the assistant that are in flight to stop.
async fn stop_runs(gateway: &Gateway, id: AssistantId) -> Result<(), Refusal> {
    let busy = ThreadFilter {
        status: Some(ThreadStatus::Busy),
        ..ThreadFilter::default()
    };
    for thread in threads(gateway, busy).await? {
        let runs = in_flight(gateway, thread, id).await?;
        if runs.is_empty() {
            continue;
        }
        let request = CancelRequest {
            selection: CancelSelection::Runs(thread, runs),
            action: CancelAction::Interrupt,
            reason: "the assistant was deleted".to_owned(),
        };
        let cancelled = gateway.database().cancel_runs(request).await?;
        gateway.follow_up(cancelled.effects).await;
    }
    Ok(())
}

/// The runs of the assistant that are in flight on `thread`.
async fn in_flight(
    gateway: &Gateway,
    thread: ThreadId,
    assistant: AssistantId,
) -> Result<Vec<RunId>, Refusal> {
    let mut found = Vec::new();
    for status in [RunStatus::Pending, RunStatus::Running] {
        let filter = RunFilter {
            status: Some(status),
        };
        let mut page = Page {
            limit: BATCH,
            offset: 0,
        };
        loop {
            let runs = gateway.database().runs(thread, filter, page).await?;
            let full = runs.len() == BATCH as usize;
            let own = runs.into_iter().filter(|run| run.assistant_id == assistant);
            found.extend(own.map(|run| run.id));
            if !full {
                break;
            }
            page.offset += BATCH;
        }
    }
    Ok(found)
}

/// The ids of all threads that match.
async fn threads(gateway: &Gateway, filter: ThreadFilter) -> Result<Vec<ThreadId>, Refusal> {
    let mut found = Vec::new();
    let mut page = Page {
        limit: BATCH,
        offset: 0,
    };
    loop {
        let sort = (ThreadSort::ThreadId, SortOrder::Asc);
        let threads = gateway
            .database()
            .search_threads(&filter, sort, page)
            .await?;
        let full = threads.len() == BATCH as usize;
        found.extend(threads.into_iter().map(|thread| thread.id));
        if !full {
            return Ok(found);
        }
        page.offset += BATCH;
    }
}
