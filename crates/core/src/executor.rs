//! The port to what executes graphs: in process, or in a supervised child.
//!
//! An executor holds no database and no bus. It says what happened through [`Host`]; the worker
//! stores and publishes it, fenced, so all writes of an attempt pass one place.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::checkpoint::{CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites, Put};
use crate::database::Items;
use crate::ids::{AssistantId, CheckpointId, GraphId, RunId, ThreadId};
use crate::json::{Json, JsonMap};
use crate::run::{RunError, RunKwargs};
use crate::state::{Head, HistoryQuery, StateQuery, StateUpdate, ThreadState};

/// What can run graphs.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// The graphs it can run, as they are now: a reload may add, remove or repair some.
    fn graphs(&self) -> Vec<GraphInfo>;

    /// What others must know of one of them; `None` if it is not there. Asked for every run.
    fn info(&self, graph: &GraphId) -> Option<GraphInfo> {
        self.graphs().into_iter().find(|info| info.id == *graph)
    }

    /// Runs one attempt of one run to its end.
    ///
    /// Returns only when every call to `host` that the attempt ever made was answered and, unless
    /// the outcome says so, none of its code executes any more. Dropping the future abandons the
    /// attempt: its code is stopped at the next possible point and `host` is not called again.
    ///
    /// A retry is idempotent: if the latest checkpoint of the thread was written by this very run,
    /// the run continues from it and its input is not applied a second time.
    async fn execute(&self, attempt: Attempt, host: Arc<dyn Host>) -> Outcome;

    /// The state at a checkpoint; `None` if there is no such checkpoint.
    async fn state(
        &self,
        graph: &GraphId,
        query: StateQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Option<ThreadState>, ExecutorError>;

    /// The states of a thread, newest first.
    async fn history(
        &self,
        graph: &GraphId,
        query: HistoryQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Vec<ThreadState>, ExecutorError>;

    /// Writes a change of state as checkpoints through `host` and says what the head is then.
    async fn update_state(
        &self,
        graph: &GraphId,
        update: StateUpdate,
        host: Arc<dyn Host>,
    ) -> Result<Head, ExecutorError>;

    /// The drawing of a graph, `{nodes, edges}`; subgraphs are unfolded `xray` levels deep.
    async fn drawing(&self, graph: &GraphId, xray: u32) -> Result<Json, ExecutorError>;

    /// The JSON Schemas of a graph.
    async fn schemas(&self, graph: &GraphId) -> Result<GraphSchemas, ExecutorError>;

    /// The schemas of a graph's subgraphs by namespace, of all levels if `recurse`.
    async fn subgraphs(
        &self,
        graph: &GraphId,
        recurse: bool,
    ) -> Result<Vec<(String, GraphSchemas)>, ExecutorError>;
}

/// What others must know of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphInfo {
    /// Its name.
    pub id: GraphId,
    /// For people.
    pub description: Option<String>,
    /// The channel of its chat messages, if it has one that merges messages by id.
    pub messages_channel: Option<String>,
}

/// JSON Schemas; `None` where the graph declares none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GraphSchemas {
    /// What a run takes as input.
    pub input_schema: Option<Json>,
    /// What a run's values are.
    pub output_schema: Option<Json>,
    /// All channels.
    pub state_schema: Option<Json>,
    /// What `config.configurable` takes.
    pub config_schema: Option<Json>,
    /// What `context` takes.
    pub context_schema: Option<Json>,
}

/// One try at a run.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The run.
    pub run_id: RunId,
    /// Its thread.
    pub thread_id: ThreadId,
    /// Its assistant.
    pub assistant_id: AssistantId,
    /// The graph to run.
    pub graph_id: GraphId,
    /// Counts tries, from 1.
    pub attempt: u32,
    /// Input, command, configuration, what to stream.
    pub kwargs: RunKwargs,
    /// Goes into the metadata of every checkpoint.
    pub metadata: JsonMap,
    /// Whether to run, or only to record the input of a run that was superseded before it started.
    pub work: Work,
    /// Says when to stop.
    pub stop: StopSignal,
}

/// How much of a run to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Run the graph.
    Run,
    /// Write the checkpoint that applies the run's input to the thread, execute no node, and end as
    /// [`Ended::Stopped`]. Nothing is written if the run has no input or it was applied before.
    ApplyInput,
}

/// Why an attempt should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum StopKind {
    /// Stop now, keep what is finished.
    Interrupt,
    /// Stop now; what the run did will be deleted.
    Rollback,
    /// Stop before the next superstep; the run will go on elsewhere.
    Drain,
    /// The run took longer than it may; stop now, keep what is finished.
    Timeout,
    /// The attempt no longer holds its thread; stop now, nothing can be written any more.
    LeaseLost,
}

/// Becomes `Some` when the attempt should stop. A drain may be followed by a harder kind.
pub type StopSignal = watch::Receiver<Option<StopKind>>;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The kind of end.
    pub ended: Ended,
    /// The thread's latest stored checkpoint as the executor knows it; `None` if it cannot tell.
    pub head: Option<Head>,
}

/// The ways an attempt can end.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// The graph came to its end, or had nothing to do. Wins over a stop that came too late.
    Success,
    /// The graph waits for a human: `interrupt()` or a breakpoint.
    Paused,
    /// It was asked to stop, and did.
    Stopped,
    /// It was asked to drain and stopped at the boundary of a superstep.
    Drained,
    /// What executed it had to end for a reason that is not the run's own, such as another run that
    /// could not be stopped. It goes on elsewhere from its last checkpoint and loses no attempt.
    Evicted,
    /// User code or the graph itself failed.
    Failed(RunError),
    /// Something around the graph failed; another attempt may succeed.
    Retry(RunError),
}

/// Reads checkpoints of one thread.
#[async_trait]
pub trait CheckpointReader: Send + Sync {
    /// The checkpoint `id`, or the latest one, of namespace `ns`.
    async fn checkpoint(
        &self,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, HostError>;

    /// Checkpoints that match `query`, newest first.
    async fn checkpoints(&self, query: CheckpointQuery) -> Result<Vec<CheckpointTuple>, HostError>;
}

/// What the worker does for an attempt.
#[async_trait]
pub trait Host: CheckpointReader {
    /// Stores a checkpoint. Checkpoints of one namespace must be put in order.
    async fn put_checkpoint(&self, checkpoint: NewCheckpoint) -> Result<(), HostError>;

    /// Stores pending writes.
    async fn put_writes(&self, writes: NewWrites) -> Result<(), HostError>;

    /// Stores what has gathered, in this order. After a refusal some of it may be stored, but nothing
    /// that comes after what is not.
    async fn put(&self, gathered: Vec<Put>) -> Result<(), HostError> {
        for put in gathered {
            match put {
                Put::Checkpoint(checkpoint) => self.put_checkpoint(*checkpoint).await?,
                Put::Writes(writes) => self.put_writes(writes).await?,
            }
        }
        Ok(())
    }

    /// Publishes events in order. Waits while readers cannot keep up with what is buffered.
    async fn emit(&self, events: Vec<Emission>);

    /// Whether the attempt may still act. Asked before each superstep and before each node: a process
    /// that was stopped in its tracks and goes on may have lost its thread meanwhile, and nobody has
    /// told it yet.
    fn may_act(&self) -> bool {
        true
    }

    /// The long-term memory, closed to this attempt once it is settled.
    fn items(&self) -> Arc<dyn Items>;
}

/// An event on its way to the clients.
#[derive(Clone, Debug)]
pub struct Emission {
    /// Its name without namespace: `values`, `messages/partial`, …
    pub event: &'static str,
    /// The subgraph it comes from, from the outside in; empty for the root graph.
    pub ns: Vec<String>,
    /// One JSON document in one line.
    pub data: Bytes,
    /// What of a chat message this event showed to the clients, if anything.
    pub said: Option<Said>,
}

/// A piece of an AI message that was streamed to somebody. The worker keeps these until the task's
/// result is stored, so that an interrupt loses nothing the user saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The task of the root graph that speaks.
    pub task_id: String,
    /// The node it belongs to.
    pub node: String,
    /// The id of the message, the same that the finished message will have.
    pub message_id: String,
    /// Text to be appended to what was said under this id before.
    pub text: String,
}

/// Why a host refused.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The attempt no longer holds its thread. Stop at once.
    #[error("the attempt no longer holds its thread")]
    Fenced,
    /// Storage is out of reach.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
}

/// Why a question about a graph has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// No such graph here.
    #[error("no graph named {0}")]
    UnknownGraph(GraphId),
    /// The request does not fit the graph: an unknown node, a value its reducer refuses.
    #[error("{0}")]
    Invalid(String),
    /// Nothing can answer for the graph now: its process is starting or failed to. Worth another try.
    #[error("no executor can answer now: {0}")]
    Unavailable(String),
    /// Storage refused.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The executor itself failed.
    #[error("{0}")]
    Failed(String),
}
