//! The states of threads: now, then, and changed from outside a run. What a state is only the
//! graph's executor knows; it reads checkpoints through this module and writes them here.

mod checkpoints;
mod history;
mod kept;
mod update;

use axum::Json;
use axum::extract::State;
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use runloom_api::state::{CheckpointChoice, StateAt, ThreadState};
use runloom_core::executor::ExecutorError;
use runloom_core::ids::{CheckpointId, GraphId, ThreadId};
use runloom_core::state::{StateQuery, ThreadState as CoreState};
use runloom_core::thread::Thread;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{Body, CheckpointPath, QueryParams, ThreadPath, checkpoint_id};
use checkpoints::Reader;

pub(crate) use update::FirstState;

const TAG: &str = "Threads";

pub(crate) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .routes(routes!(
            get_thread_state,
            update::update_thread_state,
            update::patch_thread_state
        ))
        .routes(routes!(get_thread_state_at))
        .routes(routes!(get_thread_state_at_checkpoint))
        .merge(history::router())
}

/// Show the state of a thread.
#[utoipa::path(get, path = paths::THREAD_STATE, tag = TAG,
    params(("thread_id" = uuid::Uuid, Path, description = "The thread"),
        ("subgraphs" = Option<bool>, Query,
            description = "Whether to show the states of subgraphs, too")),
    responses((status = 200, body = ThreadState), (status = 404, body = ErrorBody)))]
async fn get_thread_state(
    State(gateway): State<Gateway>,
    ThreadPath(thread_id): ThreadPath,
    query: QueryParams,
) -> Result<Json<ThreadState>, Refusal> {
    let query = StateQuery {
        thread_id,
        ns: String::new(),
        checkpoint_id: None,
        subgraphs: query.flag("subgraphs"),
    };
    gateway.state(query).await.map(Json)
}

/// Show the state of a thread at a checkpoint.
#[utoipa::path(get, path = paths::THREAD_STATE_AT, tag = TAG,
    params(("thread_id" = uuid::Uuid, Path, description = "The thread"),
        ("checkpoint_id" = uuid::Uuid, Path, description = "The checkpoint"),
        ("subgraphs" = Option<bool>, Query,
            description = "Whether to show the states of subgraphs, too")),
    responses((status = 200, body = ThreadState), (status = 404, body = ErrorBody)))]
async fn get_thread_state_at(
    State(gateway): State<Gateway>,
    CheckpointPath { thread, checkpoint }: CheckpointPath,
    query: QueryParams,
) -> Result<Json<ThreadState>, Refusal> {
    let query = StateQuery {
        thread_id: thread,
        ns: String::new(),
        checkpoint_id: Some(checkpoint),
        subgraphs: query.flag("subgraphs"),
    };
    gateway.state(query).await.map(Json)
}

/// Show the state of a thread at a checkpoint of any of its graphs.
#[utoipa::path(post, path = paths::THREAD_STATE_CHECKPOINT, tag = TAG, request_body = StateAt,
    params(("thread_id" = uuid::Uuid, Path, description = "The thread")),
    responses((status = 200, body = ThreadState), (status = 404, body = ErrorBody)))]
async fn get_thread_state_at_checkpoint(
    State(gateway): State<Gateway>,
    ThreadPath(thread_id): ThreadPath,
    Body(body): Body<StateAt>,
) -> Result<Json<ThreadState>, Refusal> {
    let (ns, checkpoint_id) = chosen(thread_id, Some(body.checkpoint))?;
    let query = StateQuery {
        thread_id,
        ns,
        checkpoint_id,
        subgraphs: body.subgraphs.unwrap_or_default(),
    };
    gateway.state(query).await.map(Json)
}

impl Gateway {
    /// The state that is asked for; an empty one where there is no such checkpoint.
    async fn state(&self, query: StateQuery) -> Result<ThreadState, Refusal> {
        let thread = self.thread(query.thread_id).await?;
        let Some(graph) = graph_of(&thread) else {
            return Ok(CoreState::empty().into());
        };
        let executor = self.executor(&graph)?;
        let reader = Reader::new(self, query.thread_id);
        let is_kept = kept::answers(&query);
        let state = match executor.state(&graph, query, reader).await {
            Err(ExecutorError::Unavailable(reason)) if is_kept => {
                tracing::warn!(thread.id = %thread.id, reason, "a state is shown without its graph");
                Some(kept::state(self, thread).await?)
            }
            computed => computed?,
        };
        Ok(state.unwrap_or_else(CoreState::empty).into())
    }
}

/// The graph that a thread belongs to, once it had a run or was created with one.
fn graph_of(thread: &Thread) -> Option<GraphId> {
    let graph = thread.metadata.get("graph_id")?.as_str()?;
    Some(GraphId::from(graph))
}

/// The namespace and the checkpoint that a request chooses on `thread`.
fn chosen(
    thread: ThreadId,
    choice: Option<CheckpointChoice>,
) -> Result<(String, Option<CheckpointId>), Refusal> {
    let choice = choice.unwrap_or_default();
    match choice.thread_id.map(ThreadId) {
        Some(other) if other != thread => {
            return Err(Refusal::invalid(format!(
                "The checkpoint belongs to thread {other}, not to thread {thread}."
            )));
        }
        _ => {}
    }
    let id = choice.checkpoint_id.as_deref().map(checkpoint_id);
    Ok((choice.checkpoint_ns.unwrap_or_default(), id.transpose()?))
}
