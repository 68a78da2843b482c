//! States of threads on the wire.

use runloom_core::checkpoint::CheckpointRef;
use runloom_core::ids::{CheckpointId, ThreadId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::state as core;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::page::Limit;
use crate::schema;
use crate::time::Timestamp;

/// The state of a thread at one checkpoint.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ThreadState {
    /// The output channels of the graph.
    #[schema(schema_with = schema::any)]
    pub values: Json,
    /// The nodes that would run next.
    pub next: Vec<String>,
    /// The tasks that would run next.
    pub tasks: Vec<ThreadTask>,
    /// The metadata of the checkpoint.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<JsonMap>,
    /// When the checkpoint was made.
    pub created_at: Option<Timestamp>,
    /// The checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// The checkpoint it was built upon.
    pub parent_checkpoint: Option<Checkpoint>,
    /// The pending interrupts of all tasks.
    #[schema(value_type = Vec<Object>)]
    pub interrupts: Vec<Value>,
    /// The same as in `checkpoint`, for older clients.
    #[schema(value_type = Option<String>)]
    pub checkpoint_id: Option<CheckpointId>,
    /// The same as in `parent_checkpoint`, for older clients.
    #[schema(value_type = Option<String>)]
    pub parent_checkpoint_id: Option<CheckpointId>,
}

impl From<core::ThreadState> for ThreadState {
    fn from(state: core::ThreadState) -> Self {
        let id = |checkpoint: &Option<CheckpointRef>| checkpoint.as_ref()?.checkpoint_id.clone();
        Self {
            checkpoint_id: id(&state.checkpoint),
            parent_checkpoint_id: id(&state.parent_checkpoint),
            values: state.values,
            next: state.next,
            tasks: state.tasks.into_iter().map(ThreadTask::from).collect(),
            metadata: state.metadata,
            created_at: state.created_at.map(Timestamp),
            checkpoint: state.checkpoint.map(Checkpoint::from),
            parent_checkpoint: state.parent_checkpoint.map(Checkpoint::from),
            interrupts: state.interrupts,
        }
    }
}

/// A task that would run next.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ThreadTask {
    /// Its id.
    pub id: String,
    /// Its node.
    pub name: String,
    /// Its place in the graph.
    #[schema(value_type = Vec<Object>)]
    pub path: Value,
    /// Why it failed or was stopped, if it was.
    pub error: Option<String>,
    /// The interrupts it waits on.
    #[schema(value_type = Vec<Object>)]
    pub interrupts: Vec<Value>,
    /// Where its subgraph's checkpoints are, if it has any.
    #[schema(value_type = Option<Object>)]
    pub checkpoint: Option<Value>,
    /// The state of its subgraph, when asked for.
    #[schema(no_recursion)]
    pub state: Option<Box<ThreadState>>,
    /// What it wrote, if it finished.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
}

impl From<core::TaskState> for ThreadTask {
    fn from(task: core::TaskState) -> Self {
        Self {
            id: task.id,
            name: task.name,
            path: task.path,
            error: task.error,
            interrupts: task.interrupts,
            checkpoint: task.checkpoint,
            state: task.state.map(|state| Box::new((*state).into())),
            result: task.result,
        }
    }
}

/// Where a checkpoint is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Checkpoint {
    /// The thread.
    #[schema(value_type = uuid::Uuid)]
    pub thread_id: ThreadId,
    /// The namespace of its graph; empty for the root graph.
    pub checkpoint_ns: String,
    /// The checkpoint.
    #[schema(value_type = Option<String>)]
    pub checkpoint_id: Option<CheckpointId>,
    /// The checkpoints of the graphs above and below, by namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub checkpoint_map: Option<JsonMap>,
}

impl From<CheckpointRef> for Checkpoint {
    fn from(checkpoint: CheckpointRef) -> Self {
        Self {
            thread_id: checkpoint.thread_id,
            checkpoint_ns: checkpoint.checkpoint_ns,
            checkpoint_id: checkpoint.checkpoint_id,
            checkpoint_map: checkpoint.checkpoint_map,
        }
    }
}

/// A checkpoint of the thread that the path names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub struct CheckpointChoice {
    /// The thread that it is of; the same as in the path.
    pub thread_id: Option<uuid::Uuid>,
    /// The namespace of its graph; the root graph if none.
    pub checkpoint_ns: Option<String>,
    /// The checkpoint; the latest if none.
    pub checkpoint_id: Option<String>,
}

/// Which state to show.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct StateAt {
    /// The checkpoint.
    pub checkpoint: CheckpointChoice,
    /// Whether to show the states of subgraphs too.
    pub subgraphs: Option<bool>,
}

/// A change of a thread's state from outside any run.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct StateUpdate {
    /// What the node would have written; null marks it as done without a write.
    #[schema(schema_with = schema::any, required = false)]
    pub values: Option<Json>,
    /// The node; guessed from the checkpoint if none.
    pub as_node: Option<String>,
    /// The checkpoint to build upon; the latest if none.
    pub checkpoint: Option<CheckpointChoice>,
    /// The same, by its id alone.
    pub checkpoint_id: Option<String>,
}

/// What an update of state answers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StateUpdated {
    /// The checkpoint it wrote.
    pub checkpoint: Checkpoint,
    /// The same, as part of a configuration.
    pub configurable: Checkpoint,
    /// The id of the same.
    #[schema(value_type = Option<String>)]
    pub checkpoint_id: Option<CheckpointId>,
}

impl From<Checkpoint> for StateUpdated {
    fn from(checkpoint: Checkpoint) -> Self {
        Self {
            checkpoint_id: checkpoint.checkpoint_id.clone(),
            configurable: checkpoint.clone(),
            checkpoint,
        }
    }
}

/// Metadata to be merged into a thread's.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct StatePatch {
    /// The metadata.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<JsonMap>,
}

/// Which past states to show, newest first.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct HistorySearch {
    /// At most so many; 1 if none.
    pub limit: Option<Limit>,
    /// Only states older than this checkpoint.
    pub before: Option<Before>,
    /// Only states whose checkpoint's metadata contains this.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<JsonMap>,
    /// Only this checkpoint, or the checkpoints of this namespace.
    pub checkpoint: Option<CheckpointChoice>,
}

/// A checkpoint, in each form that clients send.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Before {
    /// Its id.
    Id(String),
    /// A configuration that names it.
    Config {
        /// The configuration.
        configurable: CheckpointChoice,
    },
    /// The checkpoint.
    Checkpoint(CheckpointChoice),
}

impl Before {
    /// The id of the checkpoint.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Id(id) => Some(id),
            Self::Config { configurable } => configurable.checkpoint_id.as_deref(),
            Self::Checkpoint(checkpoint) => checkpoint.checkpoint_id.as_deref(),
        }
    }
}
