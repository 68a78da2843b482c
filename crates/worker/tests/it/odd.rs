//! An executor that executes in a way of its own, and is a scripted one otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::future::BoxFuture;
use runloom_core::checkpoint::CheckpointTuple;
use runloom_core::executor::{
    Attempt, CheckpointReader, Executor, ExecutorError, GraphInfo, GraphSchemas, Host, Outcome,
};
use runloom_core::ids::GraphId;
use runloom_core::json::Json;
use runloom_core::state::{Head, HistoryQuery, StateQuery, StateUpdate, ThreadState};
use runloom_testkit::doubles::ScriptedExecutor;

/// How an odd executor executes.
pub(crate) type Execute = dyn Fn(Arc<ScriptedExecutor>, Attempt, Arc<dyn Host>) -> BoxFuture<'static, Outcome>
    + Send
    + Sync;

/// An executor with an oddity.
pub(crate) struct Odd {
    inner: Arc<ScriptedExecutor>,
    execute: Box<Execute>,
    /// Whether it answers questions.
    answers: AtomicBool,
}

impl Odd {
    pub(crate) fn new<F>(inner: ScriptedExecutor, execute: F) -> Arc<Self>
    where
        F: Fn(Arc<ScriptedExecutor>, Attempt, Arc<dyn Host>) -> BoxFuture<'static, Outcome>
            + Send
            + Sync
            + 'static,
    {
        Arc::new(Self {
            inner: Arc::new(inner),
            execute: Box::new(execute),
            answers: AtomicBool::new(true),
        })
    }

    /// Answers no questions, or does again.
    pub(crate) fn answer_questions(&self, answers: bool) {
        self.answers.store(answers, Ordering::Relaxed);
    }
}

#[async_trait]
impl Executor for Odd {
    fn graphs(&self) -> Vec<GraphInfo> {
        self.inner.graphs()
    }

    async fn execute(&self, attempt: Attempt, host: Arc<dyn Host>) -> Outcome {
        (self.execute)(self.inner.clone(), attempt, host).await
    }

    async fn state(
        &self,
        graph: &GraphId,
        query: StateQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Option<ThreadState>, ExecutorError> {
        if !self.answers.load(Ordering::Relaxed) {
            return Err(ExecutorError::Unavailable("nobody is there".to_owned()));
        }
        self.inner.state(graph, query, reader).await
    }

    async fn history(
        &self,
        graph: &GraphId,
        query: HistoryQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Vec<ThreadState>, ExecutorError> {
        Executor::history(&*self.inner, graph, query, reader).await
    }

    async fn update_state(
        &self,
        graph: &GraphId,
        update: StateUpdate,
        host: Arc<dyn Host>,
    ) -> Result<Head, ExecutorError> {
        self.inner.update_state(graph, update, host).await
    }

    async fn drawing(&self, graph: &GraphId, xray: u32) -> Result<Json, ExecutorError> {
        self.inner.drawing(graph, xray).await
    }

    async fn schemas(&self, graph: &GraphId) -> Result<GraphSchemas, ExecutorError> {
        self.inner.schemas(graph).await
    }

    async fn subgraphs(
        &self,
        graph: &GraphId,
        recurse: bool,
    ) -> Result<Vec<(String, GraphSchemas)>, ExecutorError> {
        self.inner.subgraphs(graph, recurse).await
    }
}

/// The run that wrote each checkpoint, and its attempt, oldest first.
pub(crate) fn writers(tuples: &[CheckpointTuple]) -> Vec<(Option<runloom_core::ids::RunId>, u64)> {
    let writer = |tuple: &CheckpointTuple| {
        let attempt = tuple.checkpoint.metadata["attempt"].as_u64();
        (tuple.checkpoint.run_id, attempt.unwrap_or(0))
    };
    tuples.iter().rev().map(writer).collect()
}
