//! Graphs of other languages behind the executor port: each run gets a place in one of the processes of
//! its project, and talks to its host through this module.

mod attempt;
mod convert;
pub mod desk;
mod drive;
mod errors;
mod events;
mod launch;
mod memory;
mod nodes;
mod questions;
mod request;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runloom_core::executor::{
    Attempt, CheckpointReader, Executor, ExecutorError, GraphInfo, GraphSchemas, Host, Outcome,
};
use runloom_core::ids::GraphId;
use runloom_core::json::Json;
use runloom_core::state::{Head, HistoryQuery, StateQuery, StateUpdate, ThreadState};
use tokio_util::task::TaskTracker;

use crate::pool::{Pool, PoolConfig};
use crate::process::{PATIENCE, StartError};
use crate::project::Project;
use crate::protocol::{LoadedGraph, Manifest, RemoteError};
use crate::python::Package;

/// How graphs are run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The processes, as far as the project does not say otherwise.
    pub pool: PoolConfig,
    /// How long a run may take to stop when it is asked to. One second later its process is killed. It
    /// must be the worker's own grace period, which abandons the run another second later.
    pub grace: Duration,
    /// How long a process may take to load its graphs.
    pub patience: Duration,
    /// The worker's lease: a process that hears nothing of its worker for so long ends itself, as its runs
    /// are somebody else's by then. None where no runs are executed.
    pub lease: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pool: PoolConfig::default(),
            patience: PATIENCE,
            grace: Duration::from_secs(10),
            lease: None,
        }
    }
}

/// How a graph was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphReport {
    /// The graph.
    pub id: GraphId,
    /// Why it cannot be run, if it cannot.
    pub error: Option<RemoteError>,
}

/// Runs the graphs of one project in child processes.
pub struct RemoteExecutor {
    config: Config,
    /// What the processes execute; it must be there as long as any of them may start.
    package: Package,
    pool: Pool,
    /// Runs under way, also those that nobody waits for any more.
    drives: TaskTracker,
}

impl RemoteExecutor {
    /// Starts the processes of `project`. Returns when the first one has loaded its graphs.
    ///
    /// A graph that cannot be loaded is no reason to fail: its runs fail, and [`Self::reports`] says why.
    pub async fn start(project: Arc<Project>, config: Config) -> Result<Arc<Self>, StartError> {
        let package = Package::unpack().map_err(|error| StartError::Spawn {
            interpreter: project.interpreter.path.display().to_string(),
            problem: format!("the executor's package cannot be written: {error}"),
        })?;
        let pool = launch::pool_config(&config.pool, &project);
        let pool = Pool::start(pool, launch::of(&project, &package, &config)).await?;
        Ok(Arc::new(Self {
            config,
            package,
            pool,
            drives: TaskTracker::new(),
        }))
    }

    /// Loads the graphs of `project` in new processes, which get the runs from now on; the old ones end
    /// when theirs are over. If no new process starts, everything stays as it was. How many processes
    /// there are does not change.
    pub async fn reload(&self, project: Arc<Project>) -> Result<Vec<GraphReport>, StartError> {
        let launch = launch::of(&project, &self.package, &self.config);
        let manifest = self.pool.replace(launch).await?;
        Ok(reports(&manifest))
    }

    /// How the graphs were loaded.
    pub fn reports(&self) -> Vec<GraphReport> {
        reports(&self.manifest())
    }

    /// What the newest process has.
    pub fn manifest(&self) -> Arc<Manifest> {
        self.pool.manifest().borrow().clone()
    }

    /// Ends all processes at once. Their runs, if there are any, go on elsewhere.
    pub async fn shutdown(&self) {
        self.pool.shutdown().await;
        self.drives.close();
        self.drives.wait().await;
    }

    /// Whether questions about `graph` can be asked.
    fn is_usable(&self, graph: &GraphId) -> Result<(), ExecutorError> {
        let manifest = self.manifest();
        let known = manifest.graph(&graph.0);
        let known = known.ok_or_else(|| ExecutorError::UnknownGraph(graph.clone()))?;
        known
            .problem()
            .map_or(Ok(()), |problem| Err(ExecutorError::Unavailable(problem)))
    }
}

fn reports(manifest: &Manifest) -> Vec<GraphReport> {
    let report = |graph: &LoadedGraph| GraphReport {
        id: GraphId(graph.id.clone()),
        error: graph.error.clone(),
    };
    manifest.graphs.iter().map(report).collect()
}

fn info(graph: &LoadedGraph) -> GraphInfo {
    GraphInfo {
        id: GraphId(graph.id.clone()),
        description: graph.description.clone(),
        messages_channel: graph.messages_channel.clone(),
    }
}

#[async_trait]
impl Executor for RemoteExecutor {
    fn graphs(&self) -> Vec<GraphInfo> {
        self.manifest().graphs.iter().map(info).collect()
    }

    fn info(&self, graph: &GraphId) -> Option<GraphInfo> {
        self.manifest().graph(&graph.0).map(info)
    }

    async fn execute(&self, attempt: Attempt, host: Arc<dyn Host>) -> Outcome {
        attempt::execute(self, attempt, host).await
    }

    async fn state(
        &self,
        graph: &GraphId,
        query: StateQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Option<ThreadState>, ExecutorError> {
        self.ask_state(graph, query, reader).await
    }

    async fn history(
        &self,
        graph: &GraphId,
        query: HistoryQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Vec<ThreadState>, ExecutorError> {
        self.ask_history(graph, query, reader).await
    }

    async fn update_state(
        &self,
        graph: &GraphId,
        update: StateUpdate,
        host: Arc<dyn Host>,
    ) -> Result<Head, ExecutorError> {
        self.ask_update(graph, update, host).await
    }

    async fn drawing(&self, graph: &GraphId, xray: u32) -> Result<Json, ExecutorError> {
        self.ask_drawing(graph, xray).await
    }

    async fn schemas(&self, graph: &GraphId) -> Result<GraphSchemas, ExecutorError> {
        self.ask_schemas(graph).await
    }

    async fn subgraphs(
        &self,
        graph: &GraphId,
        recurse: bool,
    ) -> Result<Vec<(String, GraphSchemas)>, ExecutorError> {
        self.ask_subgraphs(graph, recurse).await
    }
}

#[cfg(test)]
mod tests;
