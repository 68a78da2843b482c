//! A thread's state as clients see it, computed by the graph's executor from a checkpoint.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::CheckpointRef;
use crate::ids::{CheckpointId, ThreadId};
use crate::json::{Json, JsonMap};

/// The state at one checkpoint, field for field as on the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ThreadState {
    /// The output channels of the graph.
    pub values: Json,
    /// The nodes that would run next.
    pub next: Vec<String>,
    /// The tasks that would run next, with what is known of them.
    pub tasks: Vec<TaskState>,
    /// The metadata of the checkpoint.
    pub metadata: Option<JsonMap>,
    /// When the checkpoint was made.
    pub created_at: Option<DateTime<Utc>>,
    /// The checkpoint.
    pub checkpoint: Option<CheckpointRef>,
    /// The checkpoint it was built upon.
    pub parent_checkpoint: Option<CheckpointRef>,
    /// The pending interrupts of all tasks.
    pub interrupts: Vec<Value>,
}

impl ThreadState {
    /// The state of a thread that has no checkpoint.
    pub fn empty() -> Self {
        Self {
            values: Json::from_value(&Value::Object(JsonMap::new())),
            next: Vec::new(),
            tasks: Vec::new(),
            metadata: None,
            created_at: None,
            checkpoint: None,
            parent_checkpoint: None,
            interrupts: Vec::new(),
        }
    }
}

/// A task that would run next from a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskState {
    /// Derived from the checkpoint and the task's place, so that writes can be matched on resume.
    pub id: String,
    /// The node.
    pub name: String,
    /// The task's place in the graph.
    pub path: Value,
    /// Why it failed or was stopped, if it was.
    pub error: Option<String>,
    /// The interrupts it waits on.
    pub interrupts: Vec<Value>,
    /// Where its subgraph's checkpoints are, if it has any.
    pub checkpoint: Option<Value>,
    /// The state of its subgraph, when asked for.
    pub state: Option<Box<ThreadState>>,
    /// What it wrote, if it finished.
    pub result: Option<Value>,
}

/// Which state to compute.
#[derive(Clone, Debug)]
pub struct StateQuery {
    /// The thread.
    pub thread_id: ThreadId,
    /// The namespace, empty for the root graph.
    pub ns: String,
    /// The checkpoint; the latest if none.
    pub checkpoint_id: Option<CheckpointId>,
    /// Whether to compute the states of subgraphs too.
    pub subgraphs: bool,
}

/// Which states to list; newest first.
#[derive(Clone, Debug)]
pub struct HistoryQuery {
    /// The thread.
    pub thread_id: ThreadId,
    /// The namespace, empty for the root graph.
    pub ns: String,
    /// Only this checkpoint.
    pub checkpoint_id: Option<CheckpointId>,
    /// Only states older than this checkpoint.
    pub before: Option<CheckpointId>,
    /// Only states whose checkpoint's metadata contains this.
    pub metadata: JsonMap,
    /// At most so many.
    pub limit: u32,
}

/// A change of a thread's state from outside any run.
#[derive(Clone, Debug)]
pub struct StateUpdate {
    /// The thread.
    pub thread_id: ThreadId,
    /// The namespace, empty for the root graph.
    pub ns: String,
    /// The checkpoint to build upon; the latest if none.
    pub checkpoint_id: Option<CheckpointId>,
    /// Supersteps to write, each a list of node updates, each making one checkpoint.
    pub supersteps: Vec<Vec<NodeUpdate>>,
    /// Goes into the metadata of the checkpoints.
    pub metadata: JsonMap,
}

/// An update as if a node had made it.
#[derive(Clone, Debug)]
pub struct NodeUpdate {
    /// What the node would have written. `None` marks the node as done without a write.
    pub values: Option<Json>,
    /// A command that the node would have returned.
    pub command: Option<Json>,
    /// The node; guessed from the checkpoint if none.
    pub as_node: Option<String>,
}

/// What is known of a thread's latest checkpoint without the graph: kept on the thread and shown
/// where no executor is at hand.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The latest checkpoint of the root graph; none when nothing was stored.
    pub checkpoint_id: Option<CheckpointId>,
    /// The output channels of the graph.
    pub values: Json,
    /// The nodes that would run next.
    pub next: Vec<String>,
    /// Pending interrupts by task id.
    pub interrupts: JsonMap,
}
