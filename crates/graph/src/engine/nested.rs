//! Subgraphs: a loop inside a task.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use serde_json::Value;

use super::begin::{apply_pending_start, give_answers};
use super::looping::read;
use super::{End, Fault, Level, Loop, accepted_input};
use crate::error::{Interrupt, NodeError};
use crate::node::Values;
use crate::state::{Origin, Readers, Snapshot};

/// How a subgraph ended.
pub(crate) enum Nested {
    /// It came to its end, with these values.
    Done(Values),
    /// It waits for a human.
    Interrupted(Vec<Interrupt>),
    /// It was stopped.
    Stopped,
    /// It stopped between supersteps, as it was asked to.
    Drained,
}

/// Runs the graph of `level` on `input`, or, if it may have run `again`, what is left of it.
///
/// Boxed, since graphs are nested in tasks of graphs.
pub(crate) fn run_nested(
    level: Arc<Level>,
    input: Value,
    again: bool,
) -> BoxFuture<'static, Result<Nested, NodeError>> {
    let ended = run(level, input, again).map_err(|fault| match fault {
        Fault::Failed(failure) => failure.into(),
        // The root finds out from the store what happened.
        Fault::Store(_) => NodeError::cancelled(),
    });
    ended.boxed()
}

async fn run(level: Arc<Level>, input: Value, again: bool) -> Result<Nested, Fault> {
    let mut subgraph = begin(&level, input, again).await?;
    Ok(match subgraph.run().await? {
        End::Done => Nested::Done(subgraph.values().clone()),
        End::Paused(interrupts) => Nested::Interrupted(interrupts),
        End::Stopped => Nested::Stopped,
        End::Drained => Nested::Drained,
    })
}

async fn begin(level: &Arc<Level>, input: Value, again: bool) -> Result<Loop, Fault> {
    let run = &level.run;
    if again && let Some(tuple) = run.store.read(&level.stamp.ns, None).await? {
        let at = read(level, tuple, Readers::WithoutResidue)?;
        let mut subgraph = Loop::resume(level, at);
        if apply_pending_start(&mut subgraph).await? {
            return Ok(subgraph);
        }
        give_answers(&mut subgraph)?;
        subgraph.passes_breakpoints = true;
        level.show_values(&subgraph.at.values, &[]).await;
        level.show_checkpoint(&subgraph).await;
        return Ok(subgraph);
    }
    let graph = level.graph.parts();
    let input = accepted_input(graph, input)?;
    let first = Snapshot::first(graph, &level.stamp, Origin::Input, run.clock.now());
    let mut subgraph = Loop::fresh(level, first.clone());
    subgraph.take_input(first.with_input(input)).await?;
    Ok(subgraph)
}
