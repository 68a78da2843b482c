//! The past states of a thread.

use axum::Json;
use axum::extract::State;
use runloom_api::error::ErrorBody;
use runloom_api::page::Limit;
use runloom_api::paths;
use runloom_api::state::{Before, HistorySearch, ThreadState};
use runloom_core::ids::ThreadId;
use runloom_core::state::HistoryQuery;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::checkpoints::Reader;
use super::{TAG, chosen, graph_of};
use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{Body, QueryParams, ThreadPath, checkpoint_id};

pub(super) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default().routes(routes!(get_thread_history, search_thread_history))
}

/// List the latest states of a thread, newest first.
#[utoipa::path(get, path = paths::THREAD_HISTORY, tag = TAG,
    params(("thread_id" = uuid::Uuid, Path, description = "The thread"),
        ("limit" = Option<u32>, Query, description = "At most so many; 1 if none"),
        ("before" = Option<String>, Query, description = "Only states older than this one")),
    responses((status = 200, body = Vec<ThreadState>), (status = 404, body = ErrorBody)))]
async fn get_thread_history(
    State(gateway): State<Gateway>,
    ThreadPath(id): ThreadPath,
    query: QueryParams,
) -> Result<Json<Vec<ThreadState>>, Refusal> {
    let limit = query.number::<u32>("limit")?.map(Limit::try_from);
    let limit = limit.transpose();
    let search = HistorySearch {
        limit: limit.map_err(|error| Refusal::invalid(error.to_string()))?,
        before: query.get("before").map(|id| Before::Id(id.to_owned())),
        ..HistorySearch::default()
    };
    gateway.history(id, search).await.map(Json)
}

/// List past states of a thread, newest first.
#[utoipa::path(post, path = paths::THREAD_HISTORY, tag = TAG, request_body = HistorySearch,
    params(("thread_id" = uuid::Uuid, Path, description = "The thread")),
    responses((status = 200, body = Vec<ThreadState>), (status = 404, body = ErrorBody)))]
async fn search_thread_history(
    State(gateway): State<Gateway>,
    ThreadPath(id): ThreadPath,
    Body(search): Body<HistorySearch>,
) -> Result<Json<Vec<ThreadState>>, Refusal> {
    gateway.history(id, search).await.map(Json)
}

impl Gateway {
    async fn history(
        &self,
        thread_id: ThreadId,
        search: HistorySearch,
    ) -> Result<Vec<ThreadState>, Refusal> {
        let before = search.before.as_ref().and_then(Before::id);
        let before = before.map(checkpoint_id).transpose()?;
        let (ns, checkpoint_id) = chosen(thread_id, search.checkpoint)?;
        let thread = self.thread(thread_id).await?;
        let Some(graph) = graph_of(&thread) else {
            return Ok(Vec::new());
        };
        let executor = self.executor(&graph)?;
        let query = HistoryQuery {
            thread_id,
            ns,
            checkpoint_id,
            before,
            metadata: search.metadata.unwrap_or_default(),
            limit: search.limit.map_or(1, Limit::get),
        };
        let reader = Reader::new(self, thread_id);
        let states = executor.history(&graph, query, reader).await?;
        Ok(states.into_iter().map(ThreadState::from).collect())
    }
}
