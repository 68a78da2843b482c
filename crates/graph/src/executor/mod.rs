//! The executor of this crate's graphs: a set of them, by name.

mod attempt;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runloom_core::clock::Clock;
use runloom_core::executor::{
    Attempt, CheckpointReader, Ended, Executor, ExecutorError, GraphInfo, GraphSchemas, Host,
    Outcome,
};
use runloom_core::ids::GraphId;
use runloom_core::json::Json;
use runloom_core::run::RunError;
use runloom_core::state::{Head, HistoryQuery, StateQuery, StateUpdate, ThreadState};
use tokio::runtime::Handle;

use crate::compiled::CompiledGraph;
use crate::{drawing, schema, view};

/// Runs graphs in this process.
pub struct GraphExecutor {
    graphs: BTreeMap<GraphId, CompiledGraph>,
    clock: Arc<dyn Clock>,
    runtime: Option<Handle>,
    grace: Duration,
}

impl GraphExecutor {
    /// An executor without graphs. Checkpoints are dated by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            graphs: BTreeMap::new(),
            clock,
            runtime: None,
            grace: Duration::from_secs(5),
        }
    }

    /// Offers `graph` under `name`.
    pub fn with(mut self, name: impl Into<String>, graph: CompiledGraph) -> Self {
        self.graphs.insert(GraphId(name.into()), graph);
        self
    }

    /// Where nodes execute. If it is not the runtime that drives the worker, a node that blocks its
    /// thread cannot hold up leases and signals.
    pub fn on(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// How long to wait for nodes that do not stop when they are asked to. After that they are left
    /// behind, cut off from everything.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    fn graph(&self, id: &GraphId) -> Result<&CompiledGraph, ExecutorError> {
        let graph = self.graphs.get(id);
        graph.ok_or_else(|| ExecutorError::UnknownGraph(id.clone()))
    }
}

fn info(id: &GraphId, graph: &CompiledGraph) -> GraphInfo {
    GraphInfo {
        id: id.clone(),
        description: graph.parts().description.clone(),
        messages_channel: graph.messages_channel().map(str::to_owned),
    }
}

#[async_trait]
impl Executor for GraphExecutor {
    fn graphs(&self) -> Vec<GraphInfo> {
        let graphs = self.graphs.iter();
        graphs.map(|(id, graph)| info(id, graph)).collect()
    }

    fn info(&self, graph: &GraphId) -> Option<GraphInfo> {
        self.graphs.get(graph).map(|found| info(graph, found))
    }

    async fn execute(&self, attempt: Attempt, host: Arc<dyn Host>) -> Outcome {
        match self.graph(&attempt.graph_id) {
            Ok(graph) => attempt::execute(self, graph, attempt, host).await,
            Err(error) => Outcome {
                ended: Ended::Failed(RunError::new("UnknownGraphError", error.to_string())),
                head: None,
            },
        }
    }

    async fn state(
        &self,
        graph: &GraphId,
        query: StateQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Option<ThreadState>, ExecutorError> {
        view::state(self.graph(graph)?, query, &*reader).await
    }

    async fn history(
        &self,
        graph: &GraphId,
        query: HistoryQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Vec<ThreadState>, ExecutorError> {
        view::history(self.graph(graph)?, query, &*reader).await
    }

    async fn update_state(
        &self,
        graph: &GraphId,
        update: StateUpdate,
        host: Arc<dyn Host>,
    ) -> Result<Head, ExecutorError> {
        view::update_state(self.graph(graph)?, update, &*self.clock, &*host).await
    }

    async fn drawing(&self, graph: &GraphId, xray: u32) -> Result<Json, ExecutorError> {
        Ok(drawing::drawing(self.graph(graph)?, xray))
    }

    async fn schemas(&self, graph: &GraphId) -> Result<GraphSchemas, ExecutorError> {
        Ok(schema::schemas(self.graph(graph)?.parts()))
    }

    async fn subgraphs(
        &self,
        graph: &GraphId,
        recurse: bool,
    ) -> Result<Vec<(String, GraphSchemas)>, ExecutorError> {
        Ok(schema::subgraphs(self.graph(graph)?, recurse))
    }
}
