//! What a node can ask and do besides returning an update.

mod interrupt;
mod items;
mod messages;

use std::sync::Arc;

use bytes::Bytes;
use runloom_core::executor::{Emission, Said};
use runloom_core::ids::{AssistantId, GraphId, RunId, ThreadId};
use runloom_core::json::JsonMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(crate) use interrupt::{Answers, interrupt_id};
pub use messages::{MessageWriter, Messages};

use crate::error::NodeError;
use crate::node::{Input, unfit};
use crate::run::Run;
use crate::task::Task;

/// A node's view of its run. Cloning shares it. Once the run is being stopped, whatever has an
/// effect is refused.
#[derive(Clone)]
pub struct NodeContext {
    pub(crate) run: Arc<Run>,
    pub(crate) task: Arc<Task>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) token: CancellationToken,
    /// Whether what is said here may be kept if the run is stopped.
    pub(crate) speaks: bool,
}

impl NodeContext {
    /// The run.
    pub fn run_id(&self) -> RunId {
        self.run.attempt.run_id
    }

    /// The thread.
    pub fn thread_id(&self) -> ThreadId {
        self.run.attempt.thread_id
    }

    /// The assistant.
    pub fn assistant_id(&self) -> AssistantId {
        self.run.attempt.assistant_id
    }

    /// The graph that the run executes; this node may belong to a subgraph of it.
    pub fn graph_id(&self) -> &GraphId {
        &self.run.attempt.graph_id
    }

    /// Counts the tries at the run, from 1. What a node did in an earlier try it may do again.
    pub fn attempt(&self) -> u32 {
        self.run.attempt.attempt
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        &self.task.slot.name
    }

    /// The task: the same whenever this node runs again from the same checkpoint.
    pub fn task_id(&self) -> &str {
        &self.task.slot.id
    }

    /// The superstep.
    pub fn step(&self) -> i64 {
        self.task.step
    }

    /// The values of the graph's channels when the superstep began, also if the node got an input of
    /// its own.
    pub fn state<T: DeserializeOwned>(&self) -> Result<T, NodeError> {
        Input::State(self.task.values.clone())
            .read()
            .map_err(|error| unfit(&error))
    }

    /// The run's configuration: `{tags?, recursion_limit?, configurable?, metadata?}`.
    pub fn config(&self) -> &JsonMap {
        &self.run.attempt.kwargs.config
    }

    /// A key of `config.configurable`.
    pub fn configurable(&self, key: &str) -> Option<&Value> {
        self.run.attempt.kwargs.configurable()?.get(key)
    }

    /// The run's static context as a type; an absent one is empty.
    pub fn context<T: DeserializeOwned>(&self) -> Result<T, NodeError> {
        let context = self.run.attempt.kwargs.context.clone().unwrap_or_default();
        serde_json::from_value(Value::Object(context)).map_err(|error| unfit(&error))
    }

    /// Trips when the run is being stopped. The node is then dropped where it waits next.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.token
    }

    /// Sends an event of the mode `custom`.
    pub async fn emit(&self, data: impl Serialize) -> Result<(), NodeError> {
        self.check()?;
        if !self.run.modes.custom || !self.task.streams_from_here(&self.run) {
            return Ok(());
        }
        let data = serde_json::to_vec(&data)?;
        self.send("custom", data.into(), None).await
    }

    /// The same context for code that works on behalf of the node, such as a tool: its chat messages
    /// are shown, but not kept as the node's own words if the run is stopped.
    pub fn aside(&self) -> Self {
        Self {
            speaks: false,
            ..self.clone()
        }
    }

    /// Refuses if the run is being stopped.
    pub(crate) fn check(&self) -> Result<(), NodeError> {
        if self.token.is_cancelled() {
            Err(NodeError::cancelled())
        } else {
            Ok(())
        }
    }

    pub(crate) async fn send(
        &self,
        event: &'static str,
        data: Bytes,
        said: Option<Said>,
    ) -> Result<(), NodeError> {
        let event = Emission {
            event,
            ns: self.task.graph_ns.clone(),
            data,
            said,
        };
        tokio::select! {
            biased;
            () = self.token.cancelled() => Err(NodeError::cancelled()),
            sent = self.run.events.send(event) => {
                if sent { Ok(()) } else { Err(NodeError::cancelled()) }
            }
        }
    }
}
