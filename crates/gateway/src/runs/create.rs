//! Creating runs: in the background, streamed, or waited for; on a thread of the caller's or alone.

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_LOCATION, LOCATION};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use runloom_api::runs::{OnDisconnect, Run, RunCreate};
use runloom_api::stream::Modes;
use runloom_core::ids::ThreadId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::attendance::Attendance;
use super::submit::Prepared;
use super::{TAG, waiting};
use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{Body, ListBody, ThreadPath};
use crate::sse;
use crate::wait::Watch;

pub(super) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .routes(routes!(stream_run))
        .routes(routes!(wait_run))
        .routes(routes!(create_lone_run))
        .routes(routes!(stream_lone_run))
        .routes(routes!(wait_lone_run))
        .routes(routes!(create_batch))
}

/// Create a run on a thread.
#[utoipa::path(post, path = paths::THREAD_RUNS, tag = TAG, request_body = RunCreate,
    params(("thread_id" = uuid::Uuid, Path, description = "Its thread")),
    responses((status = 200, body = Run), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn create_run(
    State(gateway): State<Gateway>,
    ThreadPath(thread): ThreadPath,
    headers: HeaderMap,
    Body(body): Body<RunCreate>,
) -> Result<Response, Refusal> {
    let request = body.on_thread(thread)?;
    let prepared = gateway.prepare(request, thread, &headers).await?;
    let run = gateway.submit(prepared.unattended()).await?;
    let place = paths::thread_run(thread, run.id);
    Ok(([(CONTENT_LOCATION, place)], Json(Run::from(run))).into_response())
}

/// Create a run on a thread and stream what it emits.
#[utoipa::path(post, path = paths::THREAD_RUNS_STREAM, tag = TAG, request_body = RunCreate,
    params(("thread_id" = uuid::Uuid, Path, description = "Its thread")),
    responses((status = 200, content_type = "text/event-stream", body = String),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
async fn stream_run(
    State(gateway): State<Gateway>,
    ThreadPath(thread): ThreadPath,
    headers: HeaderMap,
    Body(body): Body<RunCreate>,
) -> Result<Response, Refusal> {
    let request = body.on_thread(thread)?;
    let prepared = gateway.prepare(request, thread, &headers).await?;
    let run = prepared.new.id;
    let places = [
        (LOCATION, paths::thread_run_stream(thread, run)),
        (CONTENT_LOCATION, paths::thread_run(thread, run)),
    ];
    stream(gateway, prepared, places).await
}

/// Create a run on a thread and wait for its output.
#[utoipa::path(post, path = paths::THREAD_RUNS_WAIT, tag = TAG, request_body = RunCreate,
    params(("thread_id" = uuid::Uuid, Path, description = "Its thread")),
    responses((status = 200, body = serde_json::Value), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
async fn wait_run(
    State(gateway): State<Gateway>,
    ThreadPath(thread): ThreadPath,
    headers: HeaderMap,
    Body(body): Body<RunCreate>,
) -> Result<Response, Refusal> {
    let request = body.on_thread(thread)?;
    let prepared = gateway.prepare(request, thread, &headers).await?;
    wait(gateway, prepared).await
}

/// Create a run without a thread of one's own.
#[utoipa::path(post, path = paths::RUNS, tag = TAG, request_body = RunCreate,
    responses((status = 200, body = Run), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
async fn create_lone_run(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Body(body): Body<RunCreate>,
) -> Result<Response, Refusal> {
    let prepared = prepare_lone(&gateway, body, &headers).await?;
    let run = gateway.submit(prepared.unattended()).await?;
    let place = paths::run(run.id);
    Ok(([(CONTENT_LOCATION, place)], Json(Run::from(run))).into_response())
}

/// Create a run without a thread of one's own and stream what it emits.
#[utoipa::path(post, path = paths::RUNS_STREAM, tag = TAG, request_body = RunCreate,
    responses((status = 200, content_type = "text/event-stream", body = String),
        (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
async fn stream_lone_run(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Body(body): Body<RunCreate>,
) -> Result<Response, Refusal> {
    let prepared = prepare_lone(&gateway, body, &headers).await?;
    let run = prepared.new.id;
    let places = [
        (LOCATION, paths::run_stream(run)),
        (CONTENT_LOCATION, paths::run(run)),
    ];
    stream(gateway, prepared, places).await
}

/// Create a run without a thread of one's own and wait for its output.
#[utoipa::path(post, path = paths::RUNS_WAIT, tag = TAG, request_body = RunCreate,
    responses((status = 200, body = serde_json::Value), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
async fn wait_lone_run(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Body(body): Body<RunCreate>,
) -> Result<Response, Refusal> {
    let prepared = prepare_lone(&gateway, body, &headers).await?;
    wait(gateway, prepared).await
}

/// Create many runs, each without a thread of one's own. All are checked before any is created.
#[utoipa::path(post, path = paths::RUNS_BATCH, tag = TAG, request_body = Vec<RunCreate>,
    responses((status = 200, body = Vec<Run>), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
async fn create_batch(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    ListBody(bodies): ListBody<RunCreate>,
) -> Result<Json<Vec<Run>>, Refusal> {
    if bodies.is_empty() {
        return Err(Refusal::invalid("A batch needs at least one run"));
    }
    let mut batch = Vec::with_capacity(bodies.len());
    for body in bodies {
        batch.push(prepare_lone(&gateway, body, &headers).await?);
    }
    let mut runs = Vec::with_capacity(batch.len());
    for prepared in batch {
        runs.push(gateway.submit(prepared.unattended()).await?.into());
    }
    Ok(Json(runs))
}

async fn prepare_lone(
    gateway: &Gateway,
    body: RunCreate,
    headers: &HeaderMap,
) -> Result<Prepared, Refusal> {
    gateway
        .prepare(body.alone()?, ThreadId::new(), headers)
        .await
}

/// Submits a run and streams it from its first event.
async fn stream(
    gateway: Gateway,
    prepared: Prepared,
    places: [(HeaderName, String); 2],
) -> Result<Response, Refusal> {
    let (thread, run) = (prepared.new.thread_id, prepared.new.id);
    let resumable = prepared.new.kwargs.resumable;
    let attendance = prepared.attendance(&gateway);
    let reader = gateway.fanout.ahead(thread, run, resumable).await;
    gateway.submit(prepared).await?;
    reader.submitted();
    let body = sse::open(&gateway, reader, Modes::default(), attendance());
    Ok((places, body).into_response())
}

/// Submits a run and waits for its end.
async fn wait(gateway: Gateway, prepared: Prepared) -> Result<Response, Refusal> {
    let (thread, run) = (prepared.new.thread_id, prepared.new.id);
    let attendance = prepared.attendance(&gateway);
    let watch = Watch::new(&gateway, thread, run).await;
    gateway.submit(prepared).await?;
    let places = [
        (LOCATION, paths::thread_run_join(thread, run)),
        (CONTENT_LOCATION, paths::thread_run(thread, run)),
    ];
    Ok((places, waiting::for_new_run(watch, attendance())).into_response())
}

impl Prepared {
    /// No client watches a run in the background, so none can leave it.
    fn unattended(self) -> Self {
        Self {
            on_disconnect: OnDisconnect::Continue,
            ..self
        }
    }

    /// The presence of the client, to begin when the run was accepted.
    fn attendance(&self, gateway: &Gateway) -> impl FnOnce() -> Attendance + use<> {
        let (thread, run) = (self.new.thread_id, self.new.id);
        let cancel = self.on_disconnect == OnDisconnect::Cancel;
        let temporary = self.new.kwargs.temporary;
        let gateway = gateway.clone();
        move || {
            Attendance::new(&gateway, thread, run)
                .required(cancel)
                .last_guest(temporary)
        }
    }
}
