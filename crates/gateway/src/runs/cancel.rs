//! Cancelling runs.

use axum::extract::State;
use axum::http::header::{CONTENT_LOCATION, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use runloom_api::runs::CancelMany;
use runloom_core::database::CancelRequest;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::run::CancelAction;
use runloom_core::search::CancelSelection;
use runloom_core::trace::TraceParent;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::attendance::Attendance;
use super::{TAG, waiting};
use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{Body, QueryParams, RunPath};
use crate::traces;
use crate::wait::Watch;

/// Why a run was cancelled, for people.
const REQUESTED: &str = "cancelled on request";

const NONE_FOUND: &str = "No runs found to cancel.";

const NONE_MATCHING: &str = "No matching runs to cancel. Please verify the thread ID and the run \
                             IDs, and that the runs have not been deleted or completed.";

pub(super) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .routes(routes!(cancel_run))
        .routes(routes!(cancel_runs))
}

/// Cancel a run. With `wait`, answers when its code has stopped.
#[utoipa::path(post, path = paths::THREAD_RUN_CANCEL, tag = TAG,
    params(("thread_id" = uuid::Uuid, Path, description = "Its thread"),
        ("run_id" = uuid::Uuid, Path, description = "Its id"),
        ("action" = Option<String>, Query, description = "`interrupt` (the default): the run is \
            kept as far as it came; `rollback`: it is deleted with all it did"),
        ("wait" = Option<bool>, Query, description = "Whether to wait for its end")),
    responses((status = 200, body = serde_json::Value), (status = 202),
        (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
async fn cancel_run(
    State(gateway): State<Gateway>,
    path: RunPath,
    query: QueryParams,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let RunPath { thread, run } = path;
    let trace = traces::parent(&headers);
    let selection = CancelSelection::Runs(thread, vec![run]);
    if !query.flag("wait") {
        return match gateway.cancel(selection, action(&query), trace).await? {
            0 => Err(nothing_to_cancel(&gateway, thread, run).await),
            _ => Ok(StatusCode::ACCEPTED.into_response()),
        };
    }
    let watch = Watch::new(&gateway, thread, run).await;
    if gateway.cancel(selection, action(&query), trace).await? == 0 {
        return Err(nothing_to_cancel(&gateway, thread, run).await);
    }
    let places = [
        (LOCATION, paths::thread_run_join(thread, run)),
        (CONTENT_LOCATION, paths::thread_run(thread, run)),
    ];
    let attendance = Attendance::new(&gateway, thread, run);
    Ok((places, waiting::for_run(watch, attendance)).into_response())
}

/// Cancel many runs, by status or by id. Those that are over are passed over.
#[utoipa::path(post, path = paths::RUNS_CANCEL, tag = TAG, request_body = CancelMany,
    params(("action" = Option<String>, Query, description = "`interrupt` or `rollback`")),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
async fn cancel_runs(
    State(gateway): State<Gateway>,
    query: QueryParams,
    headers: HeaderMap,
    Body(body): Body<CancelMany>,
) -> Result<StatusCode, Refusal> {
    let trace = traces::parent(&headers);
    match gateway
        .cancel(body.try_into()?, action(&query), trace)
        .await?
    {
        0 => Err(Refusal::not_found(NONE_FOUND)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// How to cancel. Whatever is not a rollback is an interrupt.
fn action(query: &QueryParams) -> CancelAction {
    let action = query.get("action").and_then(|action| action.parse().ok());
    action.unwrap_or_default()
}

async fn nothing_to_cancel(gateway: &Gateway, thread: ThreadId, run: RunId) -> Refusal {
    match gateway.database().run(Some(thread), run).await {
        Ok(Some(_over)) => Refusal::not_found(NONE_MATCHING),
        Ok(None) => Refusal::not_found(NONE_FOUND),
        Err(error) => error.into(),
    }
}

impl Gateway {
    /// Asks runs to stop, and says how many there are. The caller does not wait for the workers'
    /// answers, and may leave: what must follow is done nevertheless.
    pub(super) async fn cancel(
        &self,
        selection: CancelSelection,
        action: CancelAction,
        trace: Option<TraceParent>,
    ) -> Result<usize, Refusal> {
        let request = CancelRequest {
            selection,
            action,
            reason: REQUESTED.to_owned(),
        };
        let gateway = self.clone();
        let asking = self.tasks.spawn(async move {
            let cancelled = gateway.database().cancel_runs(request).await?;
            let follower = gateway.clone();
            let mut effects = cancelled.effects;
            effects.asked_in(trace);
            gateway
                .tasks
                .spawn(async move { follower.follow_up(effects).await });
            Ok(cancelled.runs.len())
        });
        let dead = |error| Err(Refusal::internal(&error));
        asking.await.unwrap_or_else(dead)
    }
}
