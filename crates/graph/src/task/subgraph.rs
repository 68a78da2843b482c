//! A graph as a node of another graph.

use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Task;
use crate::command::{Command, NodeOutput, Update};
use crate::compiled::CompiledGraph;
use crate::engine::{self, Level, Nested};
use crate::error::NodeError;
use crate::node::{self, Input, Subgraph};
use crate::run::Run;

/// Runs `subgraph` in the namespace of `task`, or, if it may have run `again`, what is left of it.
pub(crate) async fn run(
    run: &Arc<Run>,
    outer: &CompiledGraph,
    subgraph: &Subgraph,
    task: &Arc<Task>,
    again: bool,
    token: &CancellationToken,
) -> Result<Command, NodeError> {
    let input = match &subgraph.maps {
        Some((map, _)) => map(&task.slot.input)?,
        None => shared_input(&subgraph.graph, &task.slot.input),
    };
    let level = Level::below(run, outer, subgraph, task, token);
    let values = match engine::run_nested(level, input, again).await? {
        Nested::Done(values) => values,
        Nested::Interrupted(interrupts) => return Err(NodeError::interrupted(interrupts)),
        Nested::Stopped => return Err(NodeError::cancelled()),
        Nested::Drained => return Err(NodeError::drained()),
    };
    let mut output = node::to_map(&values);
    output.retain(|channel, _| subgraph.graph.parts().shows(channel));
    if let Some((_, map)) = &subgraph.maps {
        return map(output);
    }
    output.retain(|channel, _| outer.parts().channels.contains_key(channel));
    Update::from(output).into_command()
}

/// The part of the state that the subgraph takes.
fn shared_input(graph: &CompiledGraph, input: &Input) -> Value {
    let mut input = input.to_value();
    if let Value::Object(channels) = &mut input {
        channels.retain(|channel, _| graph.parts().takes_input(channel));
    }
    input
}
