//! Joining a run that is there: its output, or its stream.

use axum::extract::State;
use axum::http::header::{CONTENT_LOCATION, LOCATION};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use runloom_api::stream::{End, Modes, end_frame, error_frame, place_after};
use runloom_core::bus::From as Place;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::run::Run;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::attendance::Attendance;
use super::outcome::{failure, no_run};
use super::{TAG, waiting};
use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{LoneRunPath, QueryParams, RunPath};
use crate::sse;
use crate::wait::Watch;

pub(super) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .routes(routes!(join_run))
        .routes(routes!(join_lone_run))
        .routes(routes!(join_stream))
        .routes(routes!(join_lone_stream))
}

/// Wait for a run and get its output.
#[utoipa::path(get, path = paths::THREAD_RUN_JOIN, tag = TAG,
    params(("thread_id" = uuid::Uuid, Path, description = "Its thread"),
        ("run_id" = uuid::Uuid, Path, description = "Its id"),
        ("cancel_on_disconnect" = Option<bool>, Query,
            description = "Cancel the run if the connection closes before its end")),
    responses((status = 200, body = serde_json::Value), (status = 422, body = ErrorBody)))]
async fn join_run(
    State(gateway): State<Gateway>,
    path: RunPath,
    query: QueryParams,
) -> Result<Response, Refusal> {
    let places = [
        (LOCATION, paths::thread_run_join(path.thread, path.run)),
        (CONTENT_LOCATION, paths::thread_run(path.thread, path.run)),
    ];
    join(gateway, Some(path.thread), path.run, &query, places).await
}

/// Wait for a run, named by its id alone, and get its output.
#[utoipa::path(get, path = paths::RUN_JOIN, tag = TAG,
    params(("run_id" = uuid::Uuid, Path, description = "Its id"),
        ("cancel_on_disconnect" = Option<bool>, Query,
            description = "Cancel the run if the connection closes before its end")),
    responses((status = 200, body = serde_json::Value), (status = 422, body = ErrorBody)))]
async fn join_lone_run(
    State(gateway): State<Gateway>,
    LoneRunPath(run): LoneRunPath,
    query: QueryParams,
) -> Result<Response, Refusal> {
    let places = [
        (LOCATION, paths::run_join(run)),
        (CONTENT_LOCATION, paths::run(run)),
    ];
    join(gateway, None, run, &query, places).await
}

/// Stream what a run emits: from now on or, if it can be resumed, after the `Last-Event-ID`.
#[utoipa::path(get, path = paths::THREAD_RUN_STREAM, tag = TAG,
    params(("thread_id" = uuid::Uuid, Path, description = "Its thread"),
        ("run_id" = uuid::Uuid, Path, description = "Its id"),
        ("stream_mode" = Option<Vec<String>>, Query, description = "Only events of these modes"),
        ("cancel_on_disconnect" = Option<bool>, Query,
            description = "Cancel the run if the connection closes before its end"),
        ("last-event-id" = Option<String>, Header,
            description = "The last event seen; `-1` or `-` for none")),
    responses((status = 200, content_type = "text/event-stream", body = String),
        (status = 422, body = ErrorBody)))]
async fn join_stream(
    State(gateway): State<Gateway>,
    path: RunPath,
    query: QueryParams,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let places = [
        (LOCATION, paths::thread_run_stream(path.thread, path.run)),
        (CONTENT_LOCATION, paths::thread_run(path.thread, path.run)),
    ];
    let body = stream(gateway, Some(path.thread), path.run, &query, &headers).await?;
    Ok((places, body).into_response())
}

/// Stream what a run, named by its id alone, emits.
#[utoipa::path(get, path = paths::RUN_STREAM, tag = TAG,
    params(("run_id" = uuid::Uuid, Path, description = "Its id"),
        ("stream_mode" = Option<Vec<String>>, Query, description = "Only events of these modes"),
        ("cancel_on_disconnect" = Option<bool>, Query,
            description = "Cancel the run if the connection closes before its end"),
        ("last-event-id" = Option<String>, Header,
            description = "The last event seen; `-1` or `-` for none")),
    responses((status = 200, content_type = "text/event-stream", body = String),
        (status = 422, body = ErrorBody)))]
async fn join_lone_stream(
    State(gateway): State<Gateway>,
    LoneRunPath(run): LoneRunPath,
    query: QueryParams,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let places = [
        (LOCATION, paths::run_stream(run)),
        (CONTENT_LOCATION, paths::run(run)),
    ];
    let body = stream(gateway, None, run, &query, &headers).await?;
    Ok((places, body).into_response())
}

async fn join(
    gateway: Gateway,
    thread: Option<ThreadId>,
    run: RunId,
    query: &QueryParams,
    places: [(HeaderName, String); 2],
) -> Result<Response, Refusal> {
    let Some(run) = gateway.database().run(thread, run).await? else {
        // The published server has answered 200 by the time it looks.
        return Ok((places, waiting::answered(&failure(&no_run()))).into_response());
    };
    if run.status.is_terminal() {
        let answer = gateway.outcome(run.thread_id, Some(&run)).await?;
        return Ok((places, waiting::answered(&answer)).into_response());
    }
    let attendance = Attendance::new(&gateway, run.thread_id, run.id)
        .required(query.flag("cancel_on_disconnect"));
    let watch = Watch::new(&gateway, run.thread_id, run.id).await;
    Ok((places, waiting::for_run(watch, attendance)).into_response())
}

async fn stream(
    gateway: Gateway,
    thread: Option<ThreadId>,
    run: RunId,
    query: &QueryParams,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let modes = Modes::parse(query.all("stream_mode"))
        .map_err(|unknown| Refusal::invalid(format!("{unknown:?} is not a stream mode")))?;
    let Some(run) = gateway.database().run(thread, run).await? else {
        return Ok(sse::finished(vec![error_frame(&no_run())]));
    };
    let place = place(&run, headers);
    if run.status.is_terminal() && place == Place::Now {
        let last = gateway.config.end_event.then(|| end_frame(&End::of(&run)));
        return Ok(sse::finished(last.into_iter().collect()));
    }
    let attendance = Attendance::new(&gateway, run.thread_id, run.id)
        .required(query.flag("cancel_on_disconnect"));
    let reader = gateway.fanout.join(&run, place).await?;
    Ok(sse::open(&gateway, reader, modes, attendance))
}

/// Where a reader begins. What cannot be resumed has no past.
fn place(run: &Run, headers: &HeaderMap) -> Place {
    let last = headers.get("last-event-id");
    match last.and_then(|id| id.to_str().ok()) {
        Some(last) if run.kwargs.resumable => place_after(last),
        _ => Place::Now,
    }
}
