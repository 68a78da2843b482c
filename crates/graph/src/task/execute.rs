//! Runs one task to its end, with retries.

use std::sync::Arc;

use runloom_core::trace::{self, Span};
use tokio_util::sync::CancellationToken;

use super::Task;
use super::subgraph;
use crate::command::Command;
use crate::compiled::CompiledGraph;
use crate::context::{Answers, NodeContext};
use crate::error::{Failure, Interrupt, NodeError, Reason};
use crate::node::{Body, Node};
use crate::run::Run;
use crate::state::{self, Finished};

/// How a task ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It finished.
    Finished(Finished),
    /// It waits for a human.
    Interrupted(Vec<Interrupt>),
    /// It failed.
    Failed(Failure),
    /// It was stopped.
    Cancelled,
    /// Its subgraph stopped between supersteps, as it was asked to.
    Drained,
}

/// Runs `task` of `graph`, until it ends or `token` trips.
pub(crate) async fn execute(
    run: Arc<Run>,
    graph: CompiledGraph,
    task: Arc<Task>,
    token: CancellationToken,
) -> Ended {
    let mut span = begin(&run, &task);
    let outcome = if let Some(node) = graph.parts().nodes.get(&task.slot.name) {
        with_retries(&run, &graph, node, &task, &token).await
    } else {
        let text = format!("the graph no longer has a node {:?}", task.slot.name);
        Err(NodeError::new("UnknownNodeError", text))
    };
    let ended = match outcome {
        Ok(finished) => Ended::Finished(finished),
        Err(NodeError(reason)) => match *reason {
            Reason::Failed(failure) => Ended::Failed(failure),
            Reason::Interrupted(interrupts) => Ended::Interrupted(interrupts),
            Reason::Cancelled => Ended::Cancelled,
            Reason::Drained => Ended::Drained,
        },
    };
    span.set("outcome", || ended.name());
    if let Ended::Failed(failure) = &ended {
        span.fail(|| failure.shown());
    }
    ended
}

/// The task in the trace of its run, if anybody records.
fn begin(run: &Run, task: &Task) -> Span {
    let Some(above) = run.attempt.kwargs.trace.as_ref() else {
        return Span::none();
    };
    let mut span = trace::node_span(above, &task.slot.name);
    span.set("run.id", || run.attempt.run_id.to_string());
    span.set("step", || task.step);
    if !task.graph_ns.is_empty() {
        span.set("subgraph", || task.graph_ns.join("|"));
    }
    span
}

impl Ended {
    /// What traces call it.
    fn name(&self) -> &'static str {
        match self {
            Self::Finished(_) => "success",
            Self::Interrupted(_) => "paused",
            Self::Failed(_) => "error",
            Self::Cancelled => "stopped",
            Self::Drained => "drained",
        }
    }
}

async fn with_retries(
    run: &Arc<Run>,
    graph: &CompiledGraph,
    node: &Node,
    task: &Arc<Task>,
    token: &CancellationToken,
) -> Result<Finished, NodeError> {
    let mut waits = node.retry.as_ref().map(|policy| (policy, policy.waits()));
    let mut again = task.again;
    loop {
        let error = match attempt(run, graph, node, task, again, token).await {
            Ok(finished) => return Ok(finished),
            Err(error) => error,
        };
        again = true;
        let Some((policy, waits)) = &mut waits else {
            return Err(error);
        };
        let Some(wait) = policy.wants(&error).then(|| waits.next()).flatten() else {
            return Err(error);
        };
        tracing::debug!(run.id = %run.attempt.run_id, thread.id = %run.attempt.thread_id,
            node = %task.slot.name, ?error, ?wait,
            "the node failed and is tried again");
        tokio::select! {
            biased;
            () = token.cancelled() => return Err(NodeError::cancelled()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn attempt(
    run: &Arc<Run>,
    graph: &CompiledGraph,
    node: &Node,
    task: &Arc<Task>,
    again: bool,
    token: &CancellationToken,
) -> Result<Finished, NodeError> {
    let command = match &node.body {
        Body::Function(function) => {
            // The superstep may have begun before the process was stopped in its tracks.
            if !run.may_act() {
                return Err(NodeError::cancelled());
            }
            let context = NodeContext {
                run: run.clone(),
                task: task.clone(),
                answers: Arc::new(Answers::new(task.answers.clone())),
                token: token.clone(),
                speaks: true,
            };
            // Dropping the future is how a node is stopped: it never runs past the point where it
            // waits when the token trips.
            tokio::select! {
                biased;
                () = token.cancelled() => return Err(NodeError::cancelled()),
                command = function.run(task.slot.input.clone(), context) => command?,
            }
        }
        Body::Subgraph(subgraph) => subgraph::run(run, graph, subgraph, task, again, token).await?,
    };
    finished(graph, task, command)
}

/// The command's effects, checked, in the form in which they are stored.
fn finished(graph: &CompiledGraph, task: &Task, command: Command) -> Result<Finished, NodeError> {
    let graph = graph.parts();
    let mut writes = Vec::with_capacity(command.update.writes.len());
    for (name, value) in command.update.writes {
        let normalised = graph.normalised(&name, value);
        writes.push((name, normalised.map_err(|error| state::refused(&error))?));
    }
    let mut places = command.goto;
    state::check(graph, &task.slot.name, &places)?;
    places.extend(state::routes(
        graph,
        &task.slot.name,
        &task.values,
        &writes,
    )?);
    Ok(Finished { writes, places })
}
