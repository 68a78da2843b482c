//! Tasks: nodes as they run in one superstep.

use std::sync::Arc;

use runloom_core::json::JsonMap;
use serde_json::Value;

use crate::node::{Input, Values};
use crate::run::Run;

/// One node's part of one superstep.
pub(crate) struct Task {
    /// Derived from the checkpoint and the task's place, so that it is the same when the superstep
    /// runs again.
    pub(crate) id: String,
    /// The node.
    pub(crate) name: String,
    /// The task's place in the graph.
    pub(crate) path: Vec<Value>,
    /// Why it runs.
    pub(crate) triggers: Vec<String>,
    /// The superstep.
    pub(crate) step: i64,
    /// The namespace of its graph, in parts.
    pub(crate) graph_ns: Vec<String>,
    /// Its own namespace, where the checkpoints of its subgraph are.
    pub(crate) ns: String,
    /// What the node gets.
    pub(crate) input: Input,
    /// The state when the superstep began.
    pub(crate) values: Arc<Values>,
    /// In whose name the node speaks; none if its words are not the thread's.
    pub(crate) speaker: Option<Speaker>,
    /// Whether the node's chat messages are shown.
    pub(crate) shows_messages: bool,
    /// The node's own metadata.
    pub(crate) metadata: JsonMap,
}

/// The task of the root graph in whose name something is said.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    pub(crate) task_id: String,
    pub(crate) node: String,
}

impl Task {
    /// Whether events of this task's graph are shown: always of the root graph, of subgraphs when
    /// the run asks for them.
    pub(crate) fn streams_from_here(&self, run: &Run) -> bool {
        self.graph_ns.is_empty() || run.attempt.kwargs.subgraphs
    }
}
