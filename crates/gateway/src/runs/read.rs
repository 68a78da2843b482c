//! Looking at runs.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use runloom_api::runs::{Run, RunField};
use runloom_core::search::{Page, RunFilter};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{TAG, create, delete};
use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{LoneRunPath, QueryParams, RunPath, ThreadPath};

/// How many runs a list shows unless it is told otherwise.
const DEFAULT_LIMIT: u32 = 10;

pub(super) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .routes(routes!(list_runs, create::create_run))
        .routes(routes!(get_run, delete::delete_run))
        .routes(routes!(get_lone_run))
}

/// List the runs of a thread, newest first.
#[utoipa::path(get, path = paths::THREAD_RUNS, tag = TAG,
    params(("thread_id" = uuid::Uuid, Path, description = "Their thread"),
        ("limit" = Option<u32>, Query, description = "At most so many; 10 by default"),
        ("offset" = Option<u32>, Query, description = "After skipping so many"),
        ("status" = Option<String>, Query, description = "Only those that stand here"),
        ("select" = Option<Vec<String>>, Query, description = "Only these fields")),
    responses((status = 200, body = Vec<Run>), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
async fn list_runs(
    State(gateway): State<Gateway>,
    ThreadPath(thread): ThreadPath,
    query: QueryParams,
) -> Result<Response, Refusal> {
    let page = Page {
        limit: query.number("limit")?.unwrap_or(DEFAULT_LIMIT),
        offset: query.number("offset")?.unwrap_or_default(),
    };
    let selected: Vec<RunField> = query
        .all("select")
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let runs = match query.get("status").map(str::parse) {
        // There are no runs with a status that does not exist.
        Some(Err(_unknown)) => Vec::new(),
        status => {
            let status = status.and_then(Result::ok);
            let filter = RunFilter { status };
            gateway.database().runs(thread, filter, page).await?
        }
    };
    if runs.is_empty() {
        gateway.thread(thread).await?;
    }
    let runs = runs.into_iter().map(Run::from);
    Ok(if selected.is_empty() {
        Json(runs.collect::<Vec<_>>()).into_response()
    } else {
        let runs: Vec<_> = runs.map(|run| run.select(&selected)).collect();
        Json(runs).into_response()
    })
}

/// Get a run.
#[utoipa::path(get, path = paths::THREAD_RUN, tag = TAG,
    params(("thread_id" = uuid::Uuid, Path, description = "Its thread"),
        ("run_id" = uuid::Uuid, Path, description = "Its id")),
    responses((status = 200, body = Run), (status = 404, body = ErrorBody)))]
async fn get_run(State(gateway): State<Gateway>, path: RunPath) -> Result<Json<Run>, Refusal> {
    let run = gateway.database().run(Some(path.thread), path.run).await?;
    run.map(|run| Json(run.into())).ok_or_else(not_found)
}

/// Get a run by its id alone.
#[utoipa::path(get, path = paths::RUN, tag = TAG,
    params(("run_id" = uuid::Uuid, Path, description = "Its id")),
    responses((status = 200, body = Run), (status = 404, body = ErrorBody)))]
async fn get_lone_run(
    State(gateway): State<Gateway>,
    LoneRunPath(run): LoneRunPath,
) -> Result<Json<Run>, Refusal> {
    let run = gateway.database().run(None, run).await?;
    run.map(|run| Json(run.into())).ok_or_else(not_found)
}

fn not_found() -> Refusal {
    Refusal::not_found("Not Found")
}
