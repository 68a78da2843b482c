//! Tasks: nodes as they run in one superstep.

mod execute;
mod subgraph;

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use runloom_core::ids::CheckpointId;
use runloom_core::json::JsonMap;
use serde_json::Value;

pub(crate) use execute::{Ended, execute};

use crate::node::Values;
use crate::run::Run;
use crate::state::Slot;

/// One node's part of one superstep.
pub(crate) struct Task {
    /// Its place.
    pub(crate) slot: Slot,
    /// The superstep.
    pub(crate) step: i64,
    /// The namespace of its graph, in parts.
    pub(crate) graph_ns: Vec<String>,
    /// The checkpoints of its graph and of those above, by namespace.
    pub(crate) parents: BTreeMap<String, CheckpointId>,
    /// The state when the superstep began.
    pub(crate) values: Arc<Values>,
    /// The answers to its interrupts that are known.
    pub(crate) answers: Vec<Value>,
    /// Whether its subgraph may have checkpoints of an earlier attempt.
    pub(crate) again: bool,
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

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no reason given".to_owned())
}
