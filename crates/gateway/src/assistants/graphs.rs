//! What an assistant's graph looks like. Its executor knows; nothing of it is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use runloom_api::assistants::AssistantSchemas;
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use runloom_core::executor::{Executor, GraphSchemas};
use runloom_core::ids::{AssistantId, GraphId};
use runloom_core::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::TAG;
use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{AssistantPath, NamespacePath, QueryParams};

pub(super) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .routes(routes!(get_assistant_graph))
        .routes(routes!(get_assistant_schemas))
        .routes(routes!(list_assistant_subgraphs))
        .routes(routes!(get_assistant_subgraphs))
}

/// Draw the graph of an assistant.
#[utoipa::path(get, path = paths::ASSISTANT_GRAPH, tag = TAG,
    params(("assistant_id" = String, Path, description = "Its id, or the name of a graph"),
        ("xray" = Option<String>, Query,
            description = "How many levels of subgraphs to unfold, or `true` for all")),
    responses((status = 200, body = Object, description = "`{nodes, edges}`"),
        (status = 404, body = ErrorBody)))]
async fn get_assistant_graph(
    State(gateway): State<Gateway>,
    AssistantPath(id): AssistantPath,
    query: QueryParams,
) -> Result<Json<json::Json>, Refusal> {
    let levels = xray(query.get("xray"))?;
    let (graph, executor) = gateway.graph_of(id).await?;
    Ok(Json(executor.drawing(&graph, levels).await?))
}

fn xray(value: Option<&str>) -> Result<u32, Refusal> {
    let Some(value) = value else {
        return Ok(0);
    };
    match value.to_ascii_lowercase().as_str() {
        "false" => Ok(0),
        "true" => Ok(u32::MAX),
        levels => levels
            .parse()
            .ok()
            .filter(|levels| *levels > 0)
            .ok_or_else(|| Refusal::invalid("xray must be true, false or a positive integer")),
    }
}

/// Show the JSON Schemas of an assistant's graph.
#[utoipa::path(get, path = paths::ASSISTANT_SCHEMAS, tag = TAG,
    params(("assistant_id" = String, Path, description = "Its id, or the name of a graph")),
    responses((status = 200, body = AssistantSchemas), (status = 404, body = ErrorBody)))]
async fn get_assistant_schemas(
    State(gateway): State<Gateway>,
    AssistantPath(id): AssistantPath,
) -> Result<Json<AssistantSchemas>, Refusal> {
    let (graph, executor) = gateway.graph_of(id).await?;
    let schemas = executor.schemas(&graph).await?;
    Ok(Json(AssistantSchemas::new(graph, schemas)))
}

/// Show the JSON Schemas of the subgraphs of an assistant's graph, by namespace.
#[utoipa::path(get, path = paths::ASSISTANT_SUBGRAPHS, tag = TAG,
    params(("assistant_id" = String, Path, description = "Its id, or the name of a graph"),
        ("recurse" = Option<bool>, Query, description = "Whether to show those of all levels")),
    responses((status = 200, body = Object), (status = 404, body = ErrorBody)))]
async fn list_assistant_subgraphs(
    State(gateway): State<Gateway>,
    AssistantPath(id): AssistantPath,
    query: QueryParams,
) -> Result<Json<BTreeMap<String, GraphSchemas>>, Refusal> {
    let (graph, executor) = gateway.graph_of(id).await?;
    let subgraphs = executor.subgraphs(&graph, query.flag("recurse")).await?;
    Ok(Json(subgraphs.into_iter().collect()))
}

/// Show the JSON Schemas of one subgraph, and of those below it if asked for.
#[utoipa::path(get, path = paths::ASSISTANT_SUBGRAPH, tag = TAG,
    params(("assistant_id" = String, Path, description = "Its id, or the name of a graph"),
        ("namespace" = String, Path, description = "The namespace of the subgraph"),
        ("recurse" = Option<bool>, Query, description = "Whether to show those below it")),
    responses((status = 200, body = Object), (status = 404, body = ErrorBody)))]
async fn get_assistant_subgraphs(
    State(gateway): State<Gateway>,
    AssistantPath(id): AssistantPath,
    NamespacePath(namespace): NamespacePath,
    query: QueryParams,
) -> Result<Json<BTreeMap<String, GraphSchemas>>, Refusal> {
    let (graph, executor) = gateway.graph_of(id).await?;
    let below = format!("{namespace}|");
    let recurse = query.flag("recurse");
    let mut subgraphs = executor.subgraphs(&graph, true).await?;
    subgraphs.retain(|(ns, _)| *ns == namespace || recurse && ns.starts_with(&below));
    Ok(Json(subgraphs.into_iter().collect()))
}

impl Gateway {
    /// The graph of an assistant, and what can run it.
    async fn graph_of(&self, id: AssistantId) -> Result<(GraphId, Arc<dyn Executor>), Refusal> {
        let graph = self.assistant(id).await?.graph_id;
        let executor = self.executor(&graph)?;
        Ok((graph, executor))
    }

    /// What can run `graph`.
    pub(crate) fn executor(&self, graph: &GraphId) -> Result<Arc<dyn Executor>, Refusal> {
        let executor = self.registry().executor(graph).cloned();
        executor.ok_or_else(|| Refusal::no_graph(graph, self.registry()))
    }
}
