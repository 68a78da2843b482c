//! Questions about graphs and states, as the executor answers them.

use std::sync::Arc;

use runloom_core::executor::{CheckpointReader, ExecutorError, GraphSchemas, Host};
use runloom_core::ids::GraphId;
use runloom_core::json::Json;
use runloom_core::state::{Head, HistoryQuery, NodeUpdate, StateQuery, StateUpdate, ThreadState};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::convert::{document, json_bytes};
use super::desk::Desk;
use super::{RemoteExecutor, convert, errors};
use crate::peer::Answers;
use crate::protocol::{
    DrawingQuestion, HeadBody, HistoryQuestion, JsonBytes, SchemasQuestion, StateQuestion,
    SubgraphSchemas, SubgraphsQuestion, UpdateBody, UpdateQuestion,
};

impl RemoteExecutor {
    async fn ask<B, R>(
        &self,
        graph: &GraphId,
        method: &str,
        body: &B,
        desk: Option<Arc<Desk>>,
    ) -> Result<R, ExecutorError>
    where
        B: Serialize + Sync,
        R: DeserializeOwned,
    {
        self.is_usable(graph)?;
        let answers = desk.map(|desk| desk as Arc<dyn Answers>);
        let answer = self.pool.ask(method, body, answers).await;
        answer.map_err(|error| errors::of_question(error, graph))
    }

    pub(super) async fn ask_state(
        &self,
        graph: &GraphId,
        query: StateQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Option<ThreadState>, ExecutorError> {
        let desk = Desk::of_reader(query.thread_id, reader);
        let question = StateQuestion {
            graph_id: graph.to_string(),
            thread_id: query.thread_id.to_string(),
            ns: query.ns,
            checkpoint_id: query.checkpoint_id.map(|id| id.0),
            subgraphs: query.subgraphs,
            config: None,
        };
        let state: Option<JsonBytes> = self.ask(graph, "state", &question, Some(desk)).await?;
        state.as_ref().map(parsed).transpose()
    }

    pub(super) async fn ask_history(
        &self,
        graph: &GraphId,
        query: HistoryQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Vec<ThreadState>, ExecutorError> {
        let desk = Desk::of_reader(query.thread_id, reader);
        let question = HistoryQuestion {
            graph_id: graph.to_string(),
            thread_id: query.thread_id.to_string(),
            ns: query.ns,
            checkpoint_id: query.checkpoint_id.map(|id| id.0),
            before: query.before.map(|id| id.0),
            metadata: json_bytes(&query.metadata),
            limit: query.limit,
        };
        let states: Vec<JsonBytes> = self.ask(graph, "history", &question, Some(desk)).await?;
        states.iter().map(parsed).collect()
    }

    pub(super) async fn ask_update(
        &self,
        graph: &GraphId,
        update: StateUpdate,
        host: Arc<dyn Host>,
    ) -> Result<Head, ExecutorError> {
        let change = |update: NodeUpdate| UpdateBody {
            values: update.values.as_ref().map(document),
            command: update.command.as_ref().map(document),
            as_node: update.as_node,
        };
        let supersteps = update.supersteps.into_iter();
        let question = UpdateQuestion {
            graph_id: graph.to_string(),
            thread_id: update.thread_id.to_string(),
            ns: update.ns,
            checkpoint_id: update.checkpoint_id.map(|id| id.0),
            metadata: json_bytes(&update.metadata),
            supersteps: supersteps
                .map(|changes| changes.into_iter().map(change).collect())
                .collect(),
        };
        let desk = Desk::of_update(update.thread_id, host);
        let head: HeadBody = self
            .ask(graph, "update_state", &question, Some(desk))
            .await?;
        convert::head(head).map_err(|error| ExecutorError::Failed(error.to_string()))
    }

    pub(super) async fn ask_drawing(
        &self,
        graph: &GraphId,
        xray: u32,
    ) -> Result<Json, ExecutorError> {
        let graph_id = graph.to_string();
        let question = DrawingQuestion { graph_id, xray };
        let drawing: JsonBytes = self.ask(graph, "drawing", &question, None).await?;
        parsed(&drawing)
    }

    pub(super) async fn ask_schemas(&self, graph: &GraphId) -> Result<GraphSchemas, ExecutorError> {
        let graph_id = graph.to_string();
        let question = SchemasQuestion { graph_id };
        let schemas: JsonBytes = self.ask(graph, "schemas", &question, None).await?;
        parsed(&schemas)
    }

    pub(super) async fn ask_subgraphs(
        &self,
        graph: &GraphId,
        recurse: bool,
    ) -> Result<Vec<(String, GraphSchemas)>, ExecutorError> {
        let graph_id = graph.to_string();
        let question = SubgraphsQuestion { graph_id, recurse };
        let all: Vec<SubgraphSchemas> = self.ask(graph, "subgraphs", &question, None).await?;
        let one = |SubgraphSchemas(ns, schemas)| Ok((ns, parsed(&schemas)?));
        all.into_iter().map(one).collect()
    }
}

fn parsed<T: DeserializeOwned>(document: &JsonBytes) -> Result<T, ExecutorError> {
    serde_json::from_slice(document)
        .map_err(|error| ExecutorError::Failed(format!("an executor answered oddly: {error}")))
}
