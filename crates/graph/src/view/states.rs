//! The states of a thread.

use futures::FutureExt;
use futures::future::BoxFuture;
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple};
use runloom_core::executor::{CheckpointReader, ExecutorError};
use runloom_core::ids::ThreadId;
use runloom_core::json::JsonMap;
use runloom_core::state::{HistoryQuery, StateQuery, TaskState, ThreadState};
use serde_json::{Value, json};

use super::glance::{Glance, result};
use super::place::{graph_at, stamp};
use crate::compiled::CompiledGraph;
use crate::engine::reference;
use crate::state::{Progress, Slot};

/// The state at a checkpoint; `None` if there is no such checkpoint.
pub(crate) async fn state(
    root: &CompiledGraph,
    query: StateQuery,
    reader: &dyn CheckpointReader,
) -> Result<Option<ThreadState>, ExecutorError> {
    let graph = graph_at(root, &query.ns)?;
    let tuple = reader
        .checkpoint(&query.ns, query.checkpoint_id.as_ref())
        .await?;
    let Some(tuple) = tuple else {
        return Ok(None);
    };
    let latest = query.checkpoint_id.is_none();
    let state = shown(
        graph,
        query.thread_id,
        tuple,
        latest,
        query.subgraphs.then_some(reader),
    );
    state.await.map(Some)
}

/// The states of a thread, newest first.
pub(crate) async fn history(
    root: &CompiledGraph,
    query: HistoryQuery,
    reader: &dyn CheckpointReader,
) -> Result<Vec<ThreadState>, ExecutorError> {
    let graph = graph_at(root, &query.ns)?;
    let tuples = if let Some(id) = &query.checkpoint_id {
        let tuple = reader.checkpoint(&query.ns, Some(id)).await?;
        tuple.into_iter().collect()
    } else {
        let query = CheckpointQuery {
            ns: Some(query.ns.clone()),
            before: query.before.clone(),
            metadata: query.metadata.clone(),
            limit: Some(query.limit),
        };
        reader.checkpoints(query).await?
    };
    let mut states = Vec::with_capacity(tuples.len());
    for tuple in tuples {
        states.push(shown(graph, query.thread_id, tuple, false, None).await?);
    }
    Ok(states)
}

/// The state at one checkpoint; with those of its subgraphs if there is a reader to look them up.
fn shown<'a>(
    graph: &'a CompiledGraph,
    thread: ThreadId,
    tuple: CheckpointTuple,
    latest: bool,
    reader: Option<&'a dyn CheckpointReader>,
) -> BoxFuture<'a, Result<ThreadState, ExecutorError>> {
    async move {
        let ns = tuple.checkpoint.ns.clone();
        let glance = Glance::at(graph, tuple, latest)?;
        let place = stamp(thread, &ns, Some(&glance.at), JsonMap::new());
        let mut tasks = Vec::with_capacity(glance.tasks.len());
        for (slot, progress) in &glance.tasks {
            tasks.push(task(graph, thread, slot, progress, reader).await?);
        }
        let at = &glance.at;
        Ok(ThreadState {
            values: glance.values(graph),
            next: glance.next(),
            tasks,
            metadata: Some(at.metadata.clone()),
            created_at: Some(at.created_at),
            checkpoint: Some(reference(&place, &at.id)),
            parent_checkpoint: at.parent.as_ref().map(|parent| reference(&place, parent)),
            interrupts: glance
                .interrupts()
                .map(|interrupt| json!(interrupt))
                .collect(),
        })
    }
    .boxed()
}

async fn task(
    graph: &CompiledGraph,
    thread: ThreadId,
    slot: &Slot,
    progress: &Progress,
    reader: Option<&dyn CheckpointReader>,
) -> Result<TaskState, ExecutorError> {
    let node = graph.parts().nodes.get(&slot.name);
    let subgraph = node.and_then(|node| node.as_subgraph());
    let state = match (subgraph, reader) {
        (Some(subgraph), Some(reader)) => match reader.checkpoint(&slot.ns, None).await? {
            Some(tuple) => {
                let state = shown(&subgraph.graph, thread, tuple, true, Some(reader)).await?;
                Some(Box::new(state))
            }
            None => None,
        },
        _ => None,
    };
    // With its state at hand, the place of the subgraph's checkpoints is in there.
    let place = (subgraph.is_some() && state.is_none())
        .then(|| json!({"thread_id": thread, "checkpoint_ns": slot.ns}));
    Ok(TaskState {
        id: slot.id.clone(),
        name: slot.name.clone(),
        path: Value::Array(slot.path.clone()),
        error: progress.error.clone(),
        interrupts: progress
            .interrupts
            .iter()
            .map(|interrupt| json!(interrupt))
            .collect(),
        checkpoint: place,
        state,
        result: result(graph, slot, progress),
    })
}
