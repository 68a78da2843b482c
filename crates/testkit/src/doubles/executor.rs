//! An executor whose graphs are scripts. Its state is a list of chat messages, kept in checkpoints
//! like that of any graph, so that continuing, superseding and rolling back can be seen in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use runloom_core::checkpoint::{CheckpointQuery, CheckpointRef, CheckpointTuple};
use runloom_core::clock::Clock;
use runloom_core::executor::{
    Attempt, CheckpointReader, Ended, Executor, ExecutorError, GraphInfo, GraphSchemas, Host,
    Outcome,
};
use runloom_core::ids::GraphId;
use runloom_core::json::Json;
use runloom_core::run::RunError;
use runloom_core::state::{Head, HistoryQuery, StateQuery, StateUpdate, ThreadState};
use serde_json::json;

use super::player::{MESSAGES, NODE, Player, messages_of};
use super::script::Step;
use crate::history::History;

/// Plays scripts.
pub struct ScriptedExecutor {
    clock: Arc<dyn Clock>,
    scripts: BTreeMap<GraphId, Vec<Step>>,
    history: Arc<History>,
}

impl ScriptedExecutor {
    /// An executor without graphs.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            scripts: BTreeMap::new(),
            history: Arc::default(),
        }
    }

    /// Adds a graph.
    pub fn with(mut self, graph: &str, script: impl IntoIterator<Item = Step>) -> Self {
        self.scripts
            .insert(graph.into(), script.into_iter().collect());
        self
    }

    /// Records into `history` from now on, which several executors may share.
    pub fn recording(mut self, history: Arc<History>) -> Self {
        self.history = history;
        self
    }

    /// What was executed.
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }
}

#[async_trait]
impl Executor for ScriptedExecutor {
    fn graphs(&self) -> Vec<GraphInfo> {
        let info = |id: &GraphId| GraphInfo {
            id: id.clone(),
            description: None,
            messages_channel: Some(MESSAGES.to_owned()),
        };
        self.scripts.keys().map(info).collect()
    }

    async fn execute(&self, attempt: Attempt, host: Arc<dyn Host>) -> Outcome {
        let Some(script) = self.scripts.get(&attempt.graph_id) else {
            let error = RunError::new("UnknownGraph", attempt.graph_id.to_string());
            return Outcome {
                ended: Ended::Failed(error),
                head: None,
            };
        };
        let _executing = self.history.begin(&attempt);
        let player = Player::new(attempt, host, self.clock.clone(), script);
        player.play(script).await
    }

    async fn state(
        &self,
        _: &GraphId,
        query: StateQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Option<ThreadState>, ExecutorError> {
        let found = reader
            .checkpoint(&query.ns, query.checkpoint_id.as_ref())
            .await?;
        Ok(found.map(|tuple| state_of(&tuple)))
    }

    async fn history(
        &self,
        _: &GraphId,
        query: HistoryQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Vec<ThreadState>, ExecutorError> {
        let query = CheckpointQuery {
            ns: Some(query.ns),
            before: query.before,
            metadata: query.metadata,
            limit: Some(query.limit),
        };
        let found = reader.checkpoints(query).await?;
        Ok(found.iter().map(state_of).collect())
    }

    async fn update_state(
        &self,
        graph: &GraphId,
        _: StateUpdate,
        _: Arc<dyn Host>,
    ) -> Result<Head, ExecutorError> {
        Err(ExecutorError::Invalid(format!("{graph} is a script")))
    }

    async fn drawing(&self, _: &GraphId, _: u32) -> Result<Json, ExecutorError> {
        let nodes = json!({"nodes": [{"id": NODE, "type": "runnable"}], "edges": []});
        Ok(Json::from_value(&nodes))
    }

    async fn schemas(&self, _: &GraphId) -> Result<GraphSchemas, ExecutorError> {
        Ok(GraphSchemas::default())
    }

    async fn subgraphs(
        &self,
        _: &GraphId,
        _: bool,
    ) -> Result<Vec<(String, GraphSchemas)>, ExecutorError> {
        Ok(Vec::new())
    }
}

fn state_of(tuple: &CheckpointTuple) -> ThreadState {
    ThreadState {
        values: Json::from_value(&json!({ MESSAGES: messages_of(tuple, true) })),
        metadata: Some(tuple.checkpoint.metadata.clone()),
        created_at: Some(tuple.checkpoint.created_at),
        checkpoint: Some(CheckpointRef {
            thread_id: tuple.checkpoint.thread_id,
            checkpoint_ns: tuple.checkpoint.ns.clone(),
            checkpoint_id: Some(tuple.checkpoint.id.clone()),
            checkpoint_map: None,
        }),
        ..ThreadState::empty()
    }
}
